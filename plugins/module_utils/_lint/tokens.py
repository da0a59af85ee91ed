# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A statement's tokens, and a cursor that reads them word by word."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .._db.lexis import Lexis, Places
from .._db.lexis import tokens as lexical_tokens

WORD, QUOTED, STRING, NUMBER, SYMBOL = "word", "quoted", "string", "number", "symbol"
_IDENTIFIER_QUOTES = {"[": "]", "`": "`", '"': '"'}
_EXECUTABLE_COMMENT = re.compile(r"/\*M?!\d*(?P<sql>.*)\*/", re.DOTALL)
_TIGHT_BEFORE, _TIGHT_AFTER = frozenset(".,);:]"), frozenset(".(:[@")


@dataclass(frozen=True)
class Token:
    """One token that means something: no space, no comment.

    Attributes:
        kind: word, quoted (an identifier in quotes), string, number or symbol.
        text: as written.
        start, end: offsets in the text it was read from.
        line, column: its place in the file.
    """

    kind: str
    text: str
    start: int
    end: int
    line: int
    column: int

    @property
    def upper(self) -> str:
        """A keyword to compare with; empty for everything that cannot be one."""
        return self.text.upper() if self.kind in (WORD, SYMBOL) else ""

    @property
    def identifier(self) -> str:
        """The name without its quotes."""
        if self.kind != QUOTED:
            return self.text
        closer = self.text[-1]
        return self.text[1:-1].replace(closer * 2, closer)

    @property
    def is_name(self) -> bool:
        return self.kind in (WORD, QUOTED)

    @property
    def literal(self) -> str:
        """The value of a string, as far as reading SQL inside of it needs it: doubled quotes are single ones."""
        return "".join(self.pieces)

    @property
    def pieces(self) -> list[str]:
        """The value of a string in pieces that stand as they are in its text: each but the last ends with a doubled quote."""
        text, begin = self.text, self.literal_at
        if text.startswith("$"):
            return [text[begin:-begin]]
        closer = text[-1]
        pieces = text[begin:-1].split(closer * 2)
        return [*(piece + closer for piece in pieces[:-1]), pieces[-1]]

    @property
    def literal_at(self) -> int:
        """Where the value of a string begins inside its text."""
        if self.text.startswith("$"):
            return self.text.index("$", 1) + 1
        return self.text.find(self.text[-1]) + 1  # N'...', E'...' and the like have a letter in front


def read_tokens(
    text: str, lexis: Lexis, line: int = 1, column: int = 1, ansi_quotes: bool = True, offset: int = 0
) -> list[Token]:
    """Return the tokens of a piece of SQL.

    Parameters:
        text: the SQL; it is lexically sound, as everything that the splitter has let through.
        lexis: the engine's lexical rules.
        line, column: the place in the file of the text's first character.
        ansi_quotes: ``"x"`` is an identifier, not a string as on MySQL.
        offset: of the text's first character, from which the tokens' own are counted.

    Raises:
        ScriptError: something is not closed.
    """
    places = Places(text)
    found: list[Token] = []
    for token in lexical_tokens(text, lexis, "sql"):
        if token.kind in ("space", "comment", "delimiter", "command"):
            continue
        at_line, at_column = places.of(token.start)
        place = (line + at_line - 1, at_column + (column - 1 if at_line == 1 else 0))
        if token.kind == "other" and token.text.startswith("/*"):
            inside = _EXECUTABLE_COMMENT.match(token.text)
            if inside:
                begin = token.start + inside.start("sql")
                at_line, at_column = places.of(begin)
                place = (line + at_line - 1, at_column + (column - 1 if at_line == 1 else 0))
                found += read_tokens(inside["sql"], lexis, *place, ansi_quotes, offset + begin)
            continue
        start = offset + token.start
        end = start + len(token.text)
        before = found[-1] if found and found[-1].end == start else None
        kind = _kind(token, ansi_quotes)
        if before and _belongs(before, kind, token.text):
            found[-1] = Token(_joined_kind(before, kind), before.text + token.text, before.start, end, before.line, before.column)
        else:
            found.append(Token(kind, token.text, start, end, *place))
    return found


def _kind(token, ansi_quotes: bool) -> str:
    if token.kind == "word":
        return WORD
    if token.kind == "number":
        return NUMBER
    if token.kind != "string":
        return SYMBOL
    opening = token.text[0]
    if opening == '"' and not ansi_quotes:
        return STRING
    return QUOTED if opening in _IDENTIFIER_QUOTES else STRING


def _belongs(before: Token, kind: str, text: str) -> bool:
    """Return whether a token belongs to the one right before it: ``@name``, ``#temp``, ``N'text'``, ``::``, ``<=``."""
    if before.text in ("@", "@@", "#", "##"):
        return kind in (WORD, NUMBER) or text in ("@", "#")
    if kind == STRING and before.kind == WORD and before.text.upper() in ("N", "E", "B", "X", "R", "Q"):
        return text.startswith("'")
    if kind == SYMBOL and before.kind == WORD and before.text.startswith(("@", "#")) and text in ("@", "#", "$"):
        return True
    return before.text + text in ("::", "<=", ">=", "<>", "!=", "||", "->", ":=", "+=", "-=")


def _joined_kind(before: Token, kind: str) -> str:
    if kind == STRING:
        return STRING
    return WORD if before.text[0] in "@#" and kind != SYMBOL else before.kind


def text_of(tokens: list[Token]) -> str:
    """Return tokens as text with single spaces where SQL is written with one."""
    written = ""
    before = ""
    for token in tokens:
        tight = not before or token.text in _TIGHT_BEFORE or before in _TIGHT_AFTER or token.text == "::" or before == "::"
        if token.text == "(" and before and (before[-1].isalnum() or before[-1] in '_]"`'):
            tight = True
        written += token.text if tight else f" {token.text}"
        before = token.text
    return written


class Cursor:
    """Reads a list of tokens from the left; whatever it is asked for beyond the end is simply not there.

    Attributes:
        doubtful: something was read that nobody could make sense of.
    """

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.doubtful = False

    @property
    def at_end(self) -> bool:
        return self.position >= len(self.tokens)

    @property
    def token(self) -> Token | None:
        return None if self.at_end else self.tokens[self.position]

    def peek(self, *words: str, ahead: int = 0) -> bool:
        """Return whether these words come next, behind as many tokens as are given."""
        begin = self.position + ahead
        return [token.upper for token in self.tokens[begin : begin + len(words)]] == list(words)

    def take(self, *words: str) -> bool:
        """Read these words if they come next, and say whether they did."""
        if not self.peek(*words):
            return False
        self.position += len(words)
        return True

    def take_one(self, *words: str) -> str:
        """Read one word of these if it comes next, and return it; otherwise nothing is read and the answer is empty."""
        word = "" if self.at_end else self.token.upper
        if word and word in words:
            self.position += 1
            return word
        return ""

    def take_if_exists(self) -> tuple:
        """Read IF [NOT] EXISTS, and return it as flags."""
        if self.take("IF", "NOT", "EXISTS"):
            return ("if_not_exists",)
        return ("if_exists",) if self.take("IF", "EXISTS") else ()

    def skip(self) -> Token | None:
        """Read one token, whatever it is."""
        token = self.token
        self.position += 1
        return token

    def name(self) -> str:
        """Read a name with its dots, and return it without quotes; empty when none comes next."""
        parts: list[str] = []
        while not self.at_end:
            if self.token.is_name:
                parts.append(self.skip().identifier)
                if not self.peek("."):
                    break
            elif not self.peek("."):
                break
            while self.take("."):
                pass
        return ".".join(parts)

    def group(self) -> list[Token] | None:
        """Read what stands in parentheses if they come next, and return it without them; None when there are none."""
        if not self.peek("("):
            return None
        depth = 0
        begin = self.position + 1
        while not self.at_end:
            depth += {"(": 1, ")": -1}.get(self.token.text, 0) if self.token.kind == SYMBOL else 0
            self.position += 1
            if depth == 0:
                return self.tokens[begin : self.position - 1]
        return self.tokens[begin:]

    def until(self, *words: str) -> list[Token]:
        """Read up to one of these words, outside of parentheses, or to the end, and return what was read."""
        begin = self.position
        while not self.at_end and self.token.upper not in words:
            if self.group() is None:
                self.position += 1
        return self.tokens[begin : self.position]

    def rest(self) -> list[Token]:
        """Read everything that is left."""
        begin, self.position = self.position, len(self.tokens)
        return self.tokens[begin:]

    def has(self, *words: str) -> bool:
        """Return whether these words follow one another anywhere in what is left, outside of parentheses or in them."""
        uppers = [token.upper for token in self.tokens[self.position :]]
        return any(uppers[i : i + len(words)] == list(words) for i in range(len(uppers) - len(words) + 1))


def split_commas(tokens: list[Token]) -> list[list[Token]]:
    """Return the parts between the commas that stand outside of parentheses; an empty list for no tokens."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == SYMBOL:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if token.text == "," and depth == 0:
                parts.append([])
                continue
        parts[-1].append(token)
    return parts if tokens else []


def names_in(tokens: list[Token] | None) -> list[str]:
    """Return the first name of each part between commas: the columns of a list such as ``(a, b DESC, lower(c))``."""
    names = []
    for part in split_commas(tokens or []):
        cursor = Cursor(part)
        name = cursor.name()
        names.append(name if name and not cursor.peek("(") else text_of(part))
    return names
