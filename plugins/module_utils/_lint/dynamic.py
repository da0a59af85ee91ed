# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks into SQL that a script runs from text: literals that are executed, at once or by way of a variable."""

from __future__ import annotations

from bisect import bisect_right

from .._db.lexis import Places, ScriptError
from .collect import Collector
from .segments import segments_of_batch, segments_of_block
from .tokens import Cursor, Token, read_tokens, text_of

_VERBS = (
    "ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE", "INSERT", "UPDATE", "DELETE", "MERGE", "SELECT", "EXEC", "EXECUTE", "WITH",
    "LOCK", "REINDEX", "BEGIN", "IF", "SET", "DECLARE", "GRANT", "USE", "VACUUM", "REFRESH", "CLUSTER",
)  # fmt: skip
# A text that is put together from more tokens cannot be read: variables that hold each other several times grow without end.
_MOST_TOKENS = 50_000
_JOINING = ("+", "||", "(", ")", ",", ";")
_JOINERS = ("CONCAT", "FORMAT", "QUOTENAME", "QUOTE_IDENT", "REPLACE", "COALESCE", "ISNULL")


class _Joined:
    """The text of several literals, which knows the place in the file of each of its characters.

    Parameters:
        literals: in the order of the text.
        inside: of literals that stand in such a text themselves, that text.
    """

    def __init__(self, literals: list[Token], inside: dict[Token, _Joined]) -> None:
        self._inside = inside
        self._begins: list[int] = []
        self._pieces: list[tuple[Token, int]] = []
        self._lines: dict[Token, Places] = {}
        text: list[str] = []
        length = 0
        for literal in literals:
            position = literal.literal_at
            for piece in literal.pieces:
                self._begins.append(length)
                self._pieces.append((literal, position))
                text.append(piece)
                length += len(piece)
                position += len(piece) + 1  # a quote that is doubled in the file is one in the text
        self.text = "".join(text)

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column in the file of a character."""
        number = max(bisect_right(self._begins, offset) - 1, 0)
        literal, position = self._pieces[number]
        position += offset - self._begins[number]
        if literal in self._inside:
            return self._inside[literal].place(literal.start + position)
        if literal not in self._lines:
            self._lines[literal] = Places(literal.text)
        line, column = self._lines[literal].of(position)
        return literal.line + line - 1, column + (literal.column - 1 if line == 1 else 0)


class Literals:
    """The texts that one script has put into variables, and what is done with them.

    Parameters:
        reader: reads the statements of a text.
        out: where it is said that a text cannot be read.
    """

    def __init__(self, reader, out: Collector) -> None:
        self._reader = reader
        self._out = out
        self._known: dict[str, list[Token] | None] = {}
        self._looked_at = 0
        self._places: dict[Token, _Joined] = {}

    def remember(self, cursor: Cursor) -> bool:
        """Keep the text that SET or DECLARE gives a variable; returns whether it was one, and then all of it is read."""
        if cursor.at_end or not (cursor.token.text.startswith("@") and not cursor.token.text.startswith("@@")):
            return False
        while not cursor.at_end:
            name = cursor.skip().text.lower()
            cursor.until("=", ":=", "+=", ",")
            adds = cursor.peek("+=")
            if cursor.take_one("=", ":=", "+="):
                value = cursor.until(",")
                if adds or any(token.text.lower() == name for token in value):  # SET @sql = @sql + '...'
                    value = (self._known.get(name) or []) + value
                self._known[name] = value
            cursor.take(",")
        return True

    def remember_select(self, tokens: list[Token]) -> None:
        """Keep the text that ``SELECT @sql = '...'`` gives a variable."""
        for position, token in enumerate(tokens[:-2]):
            if token.text.startswith("@") and tokens[position + 1].text in ("=", ":=", "+="):
                self._known[token.text.lower()] = tokens[position + 2 :]

    def read_block(self, cursor: Cursor, at: Token) -> bool:
        """Read PostgreSQL's DO: its body is a block of PL/pgSQL."""
        body = next((token for token in cursor.rest() if token.kind == "string"), None)
        if body is None:
            self._out.add("other", at, name="DO")
            return True
        return self._read_text([body], "block")

    def runs_text(self, word: str, cursor: Cursor, at: Token) -> bool:
        """Read EXEC('...'), sp_executesql, EXECUTE IMMEDIATE, EXECUTE format(...) or PREPARE ... FROM, if it is one."""
        begin = cursor.position
        if word == "PREPARE":
            cursor.until("FROM")
            if not cursor.take("FROM"):
                cursor.position = begin
                return False
            self._run(cursor.rest(), at)
            return True
        if cursor.take("IMMEDIATE"):
            self._run(cursor.until("USING"), at)
            return True
        if word in ("EXEC", "EXECUTE") and cursor.peek("("):
            self._run(cursor.group(), at)
            cursor.rest()
            return True
        if word in ("EXEC", "EXECUTE"):
            name = cursor.name().lower().rpartition(".")[2]
            if name == "sp_executesql":
                cursor.take("@stmt", "=")
                if not cursor.at_end and cursor.token.text.lower() in ("@stmt", "@statement") and cursor.peek("=", ahead=1):
                    cursor.position += 2
                self._run(cursor.until(","), at)
                cursor.rest()
                return True
            cursor.position = begin
            if not cursor.at_end and (cursor.token.kind == "string" or name in ("format", "concat", "replace", "coalesce")):
                self._run(cursor.until("USING", "INTO"), at)
                return True
        return False

    def _run(self, tokens: list[Token], at: Token) -> None:
        """Read a text that is executed: literals, or variables that hold some."""
        self._looked_at = 0
        is_whole, literals = self._literals(tokens)
        if is_whole and literals:
            if self._read_text(literals, "dynamic"):
                return
            if len(literals) == 1:
                self._out.give_up(literals)
                return
        self._out.add("dynamic", at, text=" ".join(token.literal for token in literals) or text_of(tokens))

    def _literals(self, tokens: list[Token], depth: int = 0) -> tuple[bool, list[Token]]:
        """Return whether a text is made of literals alone, and the literals."""
        whole, found = True, []
        for token in tokens:
            self._looked_at += 1
            if self._looked_at > _MOST_TOKENS:
                return False, found
            if token.kind == "string":
                found.append(token)
            elif token.text.startswith("@") and token.text.lower() in self._known and depth < 8:
                known = [other for other in self._known[token.text.lower()] if other.text.lower() != token.text.lower()]
                inner_whole, inner = self._literals(known, depth + 1)
                whole &= inner_whole
                found += inner
            elif (
                token.text not in _JOINING
                and token.upper not in ("N", "CHAR", "NCHAR", "CHR", "10", "13")
                and token.kind != "number"
            ):
                whole = False
        if any(token.upper in ("IF", "IIF", "CASE") for token in tokens):
            return bool(found), [token for token in found if self._is_sql(token)][:1] if not found else self._alternatives(found)
        return whole and bool(found), found

    def _alternatives(self, found: list[Token]) -> list[Token]:
        """Return the one of several texts that changes anything: IF(@missing, 'ALTER ...', 'SELECT 1')."""
        changing = [token for token in found if self._is_sql(token) and token.literal.lstrip()[:6].upper() != "SELECT"]
        return changing[:1] or found[:1]

    def _is_sql(self, token: Token) -> bool:
        words = token.literal.split(None, 1)
        return bool(words) and words[0].upper() in _VERBS

    def _read_text(self, literals: list[Token], within: str) -> bool:
        """Read the statements of a text that literals make up; returns whether all of them were understood."""
        out = self._out
        text = _Joined(literals, self._places)
        try:
            tokens = read_tokens(text.text, self._reader.lexis, ansi_quotes=out.engine not in ("mysql", "mariadb"))
        except ScriptError:
            return False
        tokens = [Token(each.kind, each.text, each.start, each.end, *text.place(each.start)) for each in tokens]
        self._places.update({token: text for token in tokens if token.kind == "string"})
        outer = out.setting
        if len(outer.within) > 8:
            return False
        segments = segments_of_batch if out.engine == "sqlserver" else segments_of_block
        understood = True
        try:
            for leaf, setting in segments(tokens, outer.inside(within)):
                out.setting = setting
                if not self._reader.read(leaf):
                    understood = False
        finally:
            out.setting = outer
        return understood
