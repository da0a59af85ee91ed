# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a schema statement from left to right, word by word, as its author wrote it."""

from __future__ import annotations

from .lexis import Lexis, Statement, Token, tokens


class NotUnderstood(Exception):
    """The statement goes on in a way that its reader does not know."""


class Reader:
    """The tokens of a statement, or of a part of one, comments and space left out.

    Attributes:
        lexis: the engine's lexical rules.
        source: the text that the tokens are of.

    Parameters:
        found: the tokens; by default all of the source.
    """

    def __init__(self, source: str, lexis: Lexis, found: list[Token] | None = None) -> None:
        self.source, self.lexis = source, lexis
        everything = tokens(source, lexis, "") if found is None else found
        self._tokens = [token for token in everything if token.kind not in ("space", "comment")]
        self._at = 0

    @classmethod
    def of(cls, statement: Statement, lexis: Lexis) -> Reader:
        """Return a reader of a whole statement."""
        return cls(statement.text, lexis)

    def _token(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def at_end(self) -> bool:
        """Return whether nothing comes next."""
        return self._token() is None

    def word(self) -> str:
        """Return the word that comes next in upper case, empty for anything else."""
        token = self._token()
        return token.text.upper() if token is not None and token.kind == "word" else ""

    def skip(self) -> str:
        """Step over one token and return its word.

        Raises:
            NotUnderstood: nothing comes next.
        """
        if self.at_end():
            raise NotUnderstood
        word = self.word()
        self._at += 1
        return word

    def accept(self, *words: str) -> bool:
        """Step over these words if they come next; return whether they did."""
        following = self._tokens[self._at : self._at + len(words)]
        if [t.text.upper() for t in following if t.kind == "word"] != list(words):
            return False
        self._at += len(words)
        return True

    def accept_one(self, *words: str) -> bool:
        """Step over one of these words if it comes next; return whether it did."""
        return any(self.accept(word) for word in words)

    def at_symbol(self, symbol: str) -> bool:
        """Return whether a symbol comes next."""
        token = self._token()
        return token is not None and token.text == symbol

    def accept_symbol(self, symbol: str) -> bool:
        """Step over a symbol if it comes next; return whether it did."""
        if not self.at_symbol(symbol):
            return False
        self._at += 1
        return True

    def guarded(self) -> bool:
        """Step over IF EXISTS or IF NOT EXISTS if it comes next; return whether it did."""
        return self.accept("IF", "NOT", "EXISTS") or self.accept("IF", "EXISTS")

    def name(self) -> tuple:
        """Step over a name and return its parts as they are written.

        Raises:
            NotUnderstood: no name comes next.
        """
        parts = [self._part()]
        while self.accept_symbol("."):
            parts.append(self._part())
        return tuple(parts)

    def _part(self) -> str:
        token = self._token()
        quoted = token is not None and token.kind == "string" and token.text[0] in self.lexis.quotes
        if token is None or not (token.kind == "word" or quoted):
            raise NotUnderstood
        self._at += 1
        return token.text

    def rest(self) -> list[Token]:
        """Return the tokens from here on."""
        return self._tokens[self._at :]

    def place(self) -> int:
        """Return where in the source the last token ends."""
        token = self._tokens[self._at - 1]
        return token.start + len(token.text)

    def text(self) -> str:
        """Return the source of all its tokens, also of those that were stepped over."""
        last = self._tokens[-1]
        return self.source[self._tokens[0].start : last.start + len(last.text)]

    def skip_number(self) -> None:
        """Step over a number if one comes next."""
        token = self._token()
        if token is not None and token.kind == "number":
            self._at += 1

    def skip_setting(self) -> None:
        """Step over the value of DEFINER = user@host, ALGORITHM = x or SQL SECURITY x."""
        self.accept_symbol("=")
        self._at += 1
        while self.at_symbol("@"):
            self._at += 2
        self.skip_parenthesis()

    def skip_parenthesis(self) -> bool:
        """Step over everything in parentheses if it comes next, to the end where they are not closed; return whether they are."""
        depth = 0
        while not self.at_end():
            depth += self.at_symbol("(") - self.at_symbol(")")
            if depth == 0 and not self.at_symbol(")"):
                return False
            self._at += 1
            if depth == 0:
                return True
        return False

    def parenthesis(self) -> str | None:
        """Step over everything in parentheses and return it without them; None if none come next.

        Raises:
            NotUnderstood: they are not closed.
        """
        token = self._token()
        if token is None or not self.at_symbol("("):
            return None
        if not self.skip_parenthesis():
            raise NotUnderstood
        return self.source[token.start + 1 : self.place() - 1].strip()

    def table_behind_on(self) -> tuple:
        """Go forward to the word ON and return the table's name behind it.

        Raises:
            NotUnderstood: there is none.
        """
        while not self.at_end():
            if self.accept("ON"):
                self.accept("ONLY")
                return self.name()
            self._at += 1
        raise NotUnderstood

    def actions(self, inside: bool = False) -> list[Reader]:
        """Return a reader of each part that commas outside parentheses separate, up to the end.

        Parameters:
            inside: up to the parenthesis that closes what the reader is inside of.
        """
        parts: list = [[]]
        depth = 0
        for token in self.rest():
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if inside and depth < 0:
                break
            if token.text == "," and depth == 0:
                parts.append([])
            else:
                parts[-1].append(token)
        return [Reader(self.source, self.lexis, part) for part in parts if part]
