# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Splits a SQL script into statements with the place of each, by the lexical rules of one engine."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Iterator

from .._errors import EverupError


@dataclass(frozen=True)
class Lexis:
    """The lexical habits of an engine that decide where a statement ends.

    Attributes:
        nested_comments: block comments nest (PostgreSQL, SQL Server) or end at the first ``*/`` (SQLite, MySQL).
        escape_strings: ``E'...'`` strings with backslash escapes (PostgreSQL).
        dollar_quotes: ``$tag$ ... $tag$`` literals (PostgreSQL).
        quotes: opening characters of quoted identifiers, beside the string quote ``'``.
        trigger_bodies: in CREATE TRIGGER only ``; END ;`` ends the statement (SQLite, sqlite3_complete()).
        routine_bodies: in CREATE FUNCTION/PROCEDURE a ``BEGIN ATOMIC ... END`` body holds semicolons (PostgreSQL 14).
        client_command: pattern of a command that only the engine's own client understands (psql ``\\d``, sqlite3 ``.read``).
        client_command_anywhere: such a command may follow SQL on its line (psql), or only stand between statements at the
            left margin (sqlite3).
        batches: the script is sent in batches that end at GO, a semicolon ends nothing (SQL Server; see batches.py).
        backslash_escapes: a backslash escapes in every string (MySQL, unless sql_mode has NO_BACKSLASH_ESCAPES).
        hash_comments: ``#`` begins a comment, and ``--`` does only before white space (MySQL).
        executable_comments: ``/*! ... */`` and ``/*M! ... */`` are statements or parts of them (MySQL, MariaDB).
        delimiter_lines: a line ``DELIMITER //`` changes what ends a statement (mysql client).
    """

    nested_comments: bool = False
    escape_strings: bool = False
    dollar_quotes: bool = False
    quotes: str = '"'
    trigger_bodies: bool = False
    routine_bodies: bool = False
    client_command: str = ""
    client_command_anywhere: bool = False
    batches: bool = False
    backslash_escapes: bool = False
    hash_comments: bool = False
    executable_comments: bool = False
    delimiter_lines: bool = False


@dataclass(frozen=True)
class Statement:
    """One statement of a script.

    Attributes:
        text: the statement without its closing semicolon and without comments around it.
        line, column: where it starts, from 1.
        words: its first words in upper case, comments left out (at most eight).
        has_marker: a question mark stands outside literals, which ODBC would take for a parameter.
    """

    text: str
    line: int
    column: int
    words: tuple
    has_marker: bool = False


class ScriptError(EverupError):
    """A script cannot be read; the message names file, line and column."""

    def __init__(self, source: str, line: int, column: int, what: str) -> None:
        super().__init__(f"{source}:{line}:{column}: {what}", file=source, line=line, column=column)


class Places:
    """Turns an offset in a text into line and column, both from 1."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts: list[int] = []  # looked for when the first place is asked for, which is seldom

    def of(self, offset: int) -> tuple[int, int]:
        self._starts = self._starts or [0, *(match.end() for match in re.finditer("\n", self._text))]
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


@dataclass(frozen=True)
class Token:
    """A lexical unit: kind is one of word, number, string, comment, semicolon, space, marker, command, delimiter or other.

    A semicolon is whatever ends a statement; a delimiter is a line that says what does from there on.
    """

    kind: str
    text: str
    start: int


_CLOSERS = {"'": "'", '"': '"', "`": "`", "[": "]"}
# Any character beyond ASCII is a letter of an identifier, on PostgreSQL (scan.l, ident_start) and SQLite (IdChar).
_LETTER = r"A-Za-z_\x80-\U0010ffff"
_PLAIN = re.compile(
    rf"(?P<space>[ \t\n\r\f\v]+)|(?P<comment>--[^\n]*)|(?P<word>[{_LETTER}][{_LETTER}0-9$]*)"
    rf"|(?P<number>[0-9][{_LETTER}0-9.]*)|(?P<semicolon>;)|(?P<marker>\?)"
)
_DOLLAR = re.compile(rf"\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$")
_DELIMITER_LINE = re.compile(r"(?i)delimiter(?:[ \t]+(?P<text>\S+))?[^\n]*")
_EXECUTABLE = re.compile(r"/\*M?!")
_ROUTINES = ("PROCEDURE", "FUNCTION", "TRIGGER", "EVENT")
_SPECIAL = frozenset((*_ROUTINES, "BEGIN", "DELIMITER"))
# A string goes on behind a line break (SQL standard; PostgreSQL keeps the backslash escapes of its first part).
_CONTINUATION = re.compile(r"[ \t\f\v]*\n[ \t\n\f\v]*'")


# Statements that no lexical rule of any engine reads otherwise: no quotes, no escapes, no comment but lines in front.
_PLAIN_STATEMENT = re.compile(r"(?:[ \t\n]|--(?:[ \t][^\n]*)?(?:\n|\Z))*(?P<sql>[A-Za-z_][A-Za-z0-9_ \t\n(),.=<>*+]*)(?:;|\Z)")
_PLAIN_WORD = re.compile(r"(?P<word>[A-Za-z_][A-Za-z0-9_]*)|[0-9][A-Za-z0-9_.]*")
_BLANK = re.compile(r"[ \t\n]*")


def tokens(text: str, lexis: Lexis, source: str, position: int = 0) -> Iterator[Token]:
    """Yield every token of text from position on, where a statement may begin; joined together they are the text again.

    Raises:
        ScriptError: a quote, comment or dollar quote is not closed.
    """
    places = Places(text)
    client_command = re.compile(lexis.client_command) if lexis.client_command else None
    between, delimiter = True, ";"
    while position < len(text):
        start = position
        line = _DELIMITER_LINE.match(text, start) if lexis.delimiter_lines and between else None
        if line and not text[text.rfind("\n", 0, start) + 1 : start].strip():
            delimiter, position = _delimiter(line, places, source), line.end()
            yield Token("delimiter", line.group(), start)
            continue
        if delimiter != ";" and text.startswith(delimiter, start):
            position, between = start + len(delimiter), True
            yield Token("semicolon", delimiter, start)
            continue
        at_margin = start == 0 or text[start - 1] == "\n"
        if client_command and (lexis.client_command_anywhere or (between and at_margin)) and client_command.match(text, start):
            end = text.find("\n", start)
            kind, position = "command", len(text) if end < 0 else end
        else:
            kind, position = _next(text, start, lexis, places, source)
            if delimiter != ";" and kind in ("word", "number", "semicolon"):
                cut = text.find(delimiter, start, position)
                kind, position = ("other" if kind == "semicolon" else kind), (cut if cut > 0 else position)
        if kind not in ("space", "comment", "command"):
            between = kind == "semicolon"
        yield Token(kind, text[start:position], start)


def _delimiter(line: re.Match, places: Places, source: str) -> str:
    """Return what a DELIMITER line sets.

    Raises:
        ScriptError: it names none, or one that could not be told from a string or an escape.
    """
    text = line.group("text") or ""
    if not text or re.search(r"[\\'\"`]", text):
        raise ScriptError(source, *places.of(line.start()), "DELIMITER needs what shall end a statement, such as // or $$")
    return text


def _next(text: str, start: int, lexis: Lexis, places: Places, source: str) -> tuple[str, int]:
    """Return kind and end of the token that starts at start."""
    character = text[start]
    if lexis.escape_strings and character in "eE" and text.startswith("'", start + 1):
        return "string", _quoted_end(text, start + 1, "'", True, places, source, joined=True)
    if character == "'" or character in lexis.quotes:
        escaped = lexis.backslash_escapes and character in "'\""
        return "string", _quoted_end(text, start, _CLOSERS[character], escaped, places, source)
    if lexis.executable_comments and _EXECUTABLE.match(text, start):
        return "other", _comment_end(text, start, True, places, source)
    if lexis.hash_comments and (character == "#" or (text.startswith("--", start) and text[start + 2 : start + 3].strip())):
        end = text.find("\n", start)
        return ("comment", len(text) if end < 0 else end) if character == "#" else ("other", start + 1)
    if text.startswith("/*", start):
        return "comment", _comment_end(text, start, lexis.nested_comments, places, source)
    if lexis.dollar_quotes and character == "$":
        match = _DOLLAR.match(text, start)
        if match:
            end = text.find(match.group(), match.end())
            if end < 0:
                raise ScriptError(source, *places.of(start), f"the dollar quote {match.group()} is not closed")
            return "string", end + len(match.group())
    match = _PLAIN.match(text, start)
    if match:
        return match.lastgroup, match.end()
    return "other", start + 1


def _quoted_end(text: str, start: int, closer: str, backslash: bool, places: Places, source: str, joined: bool = False) -> int:
    position = start + 1
    while True:
        end = text.find(closer, position)
        if end < 0:
            raise ScriptError(source, *places.of(start), f"the quote {text[start]} is not closed")
        escape = text.find("\\", position, end) if backslash else -1
        if escape >= 0:
            position = escape + 2
        elif text.startswith(closer, end + 1):
            position = end + 2
        else:
            continuation = _CONTINUATION.match(text, end + 1) if joined else None
            if continuation is None:
                return end + 1
            position = continuation.end()


def _comment_end(text: str, start: int, nested: bool, places: Places, source: str) -> int:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(text, start):
        if match.group() == "*/":
            depth -= 1
        elif nested or depth == 0:
            depth += 1
        if depth == 0:
            return match.end()
    raise ScriptError(source, *places.of(start), "the comment /* is not closed")


def split(text: str, lexis: Lexis, source: str) -> list[Statement]:
    """Split a script into its statements; statements that are only comments are left out.

    Parameters:
        text: the script, newlines normalised.
        lexis: the engine's lexical rules.
        source: the file's name for errors.

    Raises:
        ScriptError: something is not closed, or a line is a command of the engine's own client.
    """
    places = Places(text)
    statements, position = _plain_statements(text, lexis, places)
    body = _Body(lexis)
    first = last = None
    ends = ";"
    for token in tokens(text, lexis, source, position):
        if token.kind in ("space", "comment"):
            continue
        if token.kind == "delimiter":
            ends = token.text.split()[1]
            continue
        if token.kind == "command":
            word = token.text.split()[0]
            raise ScriptError(
                source,
                *places.of(token.start),
                f"{word} is a command of the engine's own client, not SQL: take it out",
            )
        if token.kind == "semicolon" and not body.continues():
            if first is not None:
                if ends == ";" and body.is_cut():
                    why = "this body holds semicolons: put it between lines DELIMITER // and DELIMITER ;"
                    raise ScriptError(source, *places.of(first), why)
                statements.append(_statement(text, first, last, body, places))
            first, body = None, _Body(lexis)
            continue
        if first is None:
            first = token.start
        last = token.start + len(token.text)
        body.see(token)
    if first is not None:
        if body.is_open():
            raise ScriptError(source, *places.of(first), "the body of this statement has no END")
        if ends != ";":
            raise ScriptError(source, *places.of(first), f"DELIMITER {ends} is set, and nothing ends this statement")
        statements.append(_statement(text, first, last, body, places))
    return statements


def _plain_statements(text: str, lexis: Lexis, places: Places) -> tuple[list[Statement], int]:
    """Return the statements at the front that need no lexical rule, and where they end: most scripts are nothing else."""
    statements: list[Statement] = []
    position = 0
    command = re.compile(lexis.client_command) if lexis.client_command else None
    while True:
        match = _PLAIN_STATEMENT.match(text, position)
        if match is None:
            return statements, _BLANK.match(text, position).end()
        sql = match.group("sql").rstrip()
        start = match.start("sql")
        words = _first_words(sql)
        if not _SPECIAL.isdisjoint(words) or (command and command.match(text, start)):
            return statements, position
        statements.append(Statement(sql, *places.of(start), _shared(words)))
        position = match.end()


def _first_words(plain: str) -> tuple:
    """Return the first words of a plain statement in upper case, at most eight; numbers are none."""
    return tuple(word.upper() for word in islice(filter(None, (match["word"] for match in _PLAIN_WORD.finditer(plain))), 8))


def _statement(text: str, first: int, last: int, body: _Body, places: Places) -> Statement:
    return Statement(text[first:last], *places.of(first), _shared(tuple(body.words)), body.has_marker)


@lru_cache(maxsize=1024)
def _shared(words: tuple) -> tuple:
    """Return one tuple for all equal ones: a data script begins a hundred thousand statements with the same words."""
    return words


class _Body:
    """Watches one statement go by and says whether a semicolon ends it."""

    def __init__(self, lexis: Lexis) -> None:
        self._lexis = lexis
        self.words: list[str] = []
        self.has_marker = False
        self._depth = 0
        self._trigger_began = self._began = False
        self._recent: list[str] = []

    def see(self, token: Token) -> None:
        self.has_marker = self.has_marker or token.kind == "marker"
        word = token.text.upper() if token.kind == "word" else ";" if token.kind == "semicolon" else ""
        self._recent = [*self._recent[-1:], word]
        if not word or word == ";":
            return
        if len(self.words) < 8:
            self.words.append(word)
        self._began = self._began or word == "BEGIN"
        if self._is_trigger() and word == "BEGIN":
            self._trigger_began = True
        if self._is_routine():
            if word == "BEGIN" or (word == "CASE" and self._depth):
                self._depth += 1
            elif word == "END" and self._depth:
                self._depth -= 1

    def continues(self) -> bool:
        """Return whether the semicolon at hand belongs to the statement's body."""
        return self.is_open()

    def is_cut(self) -> bool:
        """Return whether a semicolon ends the statement inside its BEGIN ... END (MySQL without DELIMITER)."""
        compound = self.words[:3] == ["BEGIN", "NOT", "ATOMIC"] or (
            self.words[:1] == ["CREATE"] and any(word in _ROUTINES for word in self.words)
        )
        return self._lexis.delimiter_lines and compound and self._began and self._recent[-1:] != ["END"]

    def is_open(self) -> bool:
        """Return whether a body has begun and its END is missing."""
        return self._depth > 0 or (self._is_trigger() and self._trigger_began and self._recent != [";", "END"])

    def _created(self) -> str:
        kinds = [w for w in self.words[1:5] if w not in ("OR", "REPLACE", "TEMP", "TEMPORARY")]
        return kinds[0] if kinds and self.words[0] == "CREATE" else ""

    def _is_trigger(self) -> bool:
        return self._lexis.trigger_bodies and self._created() == "TRIGGER"

    def _is_routine(self) -> bool:
        return self._lexis.routine_bodies and self._created() in ("FUNCTION", "PROCEDURE")
