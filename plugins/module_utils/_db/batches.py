# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Splits a T-SQL script into its batches at GO, with the place of each.

Facts relied on: GO is no statement but a command of sqlcmd and Management Studio, alone on its line, with an optional count
of how often the batch runs and an optional comment; the server never sees it (Microsoft Learn, "SQL Server utilities
statements - GO"). Commands of sqlcmd begin with a colon or !! at the start of a line, and it fills in ``$(name)``
("sqlcmd utility", "sqlcmd - use with scripting variables"). Block comments nest ("Slash star (block comment)").
"""

from __future__ import annotations

import re

from .lexis import Lexis, Places, ScriptError, Statement, tokens

MOST_REPEATS = 100_000
_GO = re.compile(r"(?i)go(?:[ \t]+(?P<count>[0-9]+))?[ \t]*(?:--[^\n]*|(?:/\*(?:(?!\*/|/\*|\n).)*\*/[ \t]*)+)?(?=\n|\Z)")
_COMMAND = re.compile(r":[A-Za-z]\w*|!![ \t]*\S*")
_VARIABLE = re.compile(r"\$\([A-Za-z_][\w-]*\)")
_WAYS_ON = {
    ":setvar": "write ${name} and give its value in the placeholders",
    ":r": "give the other file a version of its own",
    ":on": "a script always ends at its first error",
}


def split_batches(text: str, lexis: Lexis, source: str) -> list[Statement]:
    """Split a script at GO; batches that are only comments are left out, a batch with ``GO 5`` is there five times.

    A batch keeps the comments around it: those above CREATE PROCEDURE belong to the text that the server stores. Its place is
    that of its first word.

    Parameters:
        text: the script, newlines normalised.
        lexis: the engine's lexical rules.
        source: the file's name for errors.

    Raises:
        ScriptError: something is not closed, GO is not alone on its line, or a line is meant for sqlcmd.
    """
    places = Places(text)
    batches: list[Statement] = []
    batch = _Batch()
    passed = 0
    line_begins, comment_before = True, False
    for token in tokens(text, lexis, source):
        if token.start < passed:
            continue
        if token.kind == "space":
            if "\n" in token.text:
                line_begins, comment_before = True, False
            continue
        if token.kind == "comment":
            comment_before = True
            line_begins = line_begins or "\n" in token.text
            batch.see_comment(token)
            continue
        if line_begins:
            if token.kind == "word" and token.text.upper() == "GO" and not text.startswith(("@", "#"), token.start + 2):
                count, passed = _read_go(text, token.start, comment_before, places, source)
                batches += batch.statements(text, places) * count
                batch, comment_before = _Batch(), False
                continue
            _refuse_command(text, token, places, source)
        line_begins = False
        _refuse_variable(text, token, places, source)
        batch.see(token)
    return batches + batch.statements(text, places)


def _read_go(text: str, start: int, comment_before: bool, places: Places, source: str) -> tuple[int, int]:
    """Return how often the batch runs, and where the line of its GO ends."""
    place = places.of(start)
    if comment_before:
        raise ScriptError(source, *place, "GO behind a comment: give it a line of its own, or write [GO] if it is a name")
    match = _GO.match(text, start)
    if not match:
        raise ScriptError(
            source,
            *place,
            "GO must stand alone on its line, with nothing but a count or a comment behind it; write [GO] if it is a name",
        )
    count = int(match.group("count") or 1)
    if not 1 <= count <= MOST_REPEATS:
        raise ScriptError(source, *place, f"GO {count}: a batch runs at least once and at most {MOST_REPEATS} times")
    return count, match.end()


def _refuse_command(text: str, token, places: Places, source: str) -> None:
    match = _COMMAND.match(text, token.start)
    if not match:
        return
    command = " ".join(match.group().split())
    way_on = _WAYS_ON.get(command.lower(), "take it out")
    raise ScriptError(source, *places.of(token.start), f"{command} is a command of sqlcmd, not SQL: {way_on}")


def _refuse_variable(text: str, token, places: Places, source: str) -> None:
    """Refuse what only sqlcmd fills in, outside of string literals: there it may be data."""
    match = None
    if token.text == "$":
        match = _VARIABLE.match(text, token.start)
    elif token.kind == "string" and token.text[0] in '["':
        match = _VARIABLE.search(token.text)
    if match:
        name = match.group()
        raise ScriptError(
            source,
            *places.of(token.start),
            f"{name} is a variable of sqlcmd, which nothing here fills in: write ${{{name[2:-1]}}} and give its value in the"
            " placeholders",
        )


class _Batch:
    """Watches one batch go by."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._place_at: int | None = None
        self._end = 0
        self._words: list[str] = []
        self._has_marker = False

    def see_comment(self, token) -> None:
        if self._first is None:
            self._first = token.start
        self._end = token.start + len(token.text)

    def see(self, token) -> None:
        self.see_comment(token)
        if self._place_at is None:
            self._place_at = token.start
        if token.kind == "marker":
            self._has_marker = True
        elif token.kind == "word" and len(self._words) < 8:
            self._words.append(token.text.upper())

    def statements(self, text: str, places: Places) -> list[Statement]:
        """Return the batch as a list of one; none when it holds nothing but comments."""
        if self._place_at is None:
            return []
        line, column = places.of(self._place_at)
        return [Statement(text[self._first : self._end], line, column, tuple(self._words), self._has_marker)]
