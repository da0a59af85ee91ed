# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Cuts a compound statement into its single ones by its control words: for bodies that no grammar of sqlfluff reads.

These are DO blocks and routines of PostgreSQL, blocks of MySQL and MariaDB, literals that are executed, and batches of SQL Server
that hold something its grammar does not know yet.
"""

from __future__ import annotations

from typing import Iterator

from .collect import Setting
from .tokens import Cursor, Token

Leaf = tuple  # of (tokens, Setting)

# Words that begin a statement of SQL Server, which needs no semicolon in front of it.
_STARTERS = frozenset((
    "ALTER", "CREATE", "DROP", "TRUNCATE", "EXEC", "EXECUTE", "INSERT", "UPDATE", "DELETE", "MERGE", "SELECT", "DECLARE",
    "SET", "PRINT", "RAISERROR", "THROW", "RETURN", "IF", "WHILE", "BEGIN", "END", "ELSE", "COMMIT", "ROLLBACK", "SAVE",
    "GRANT", "DENY", "REVOKE", "USE", "DBCC", "WAITFOR", "BREAK", "CONTINUE", "GOTO", "OPEN", "FETCH", "CLOSE", "DEALLOCATE",
    "DISABLE", "ENABLE", "BULK", "KILL", "CHECKPOINT", "RECONFIGURE", "WITH",
))  # fmt: skip
_WHOLE_BATCH = ("PROC", "PROCEDURE", "FUNCTION", "TRIGGER", "VIEW")
# A statement's own second verb: behind these words the starter belongs to it.
_CONTINUES = {
    "UPDATE": ("SET",),
    "INSERT": ("SELECT", "EXEC", "EXECUTE", "WITH"),
    "DECLARE": ("SELECT",),
    "OPEN": (),
    "WITH": ("SELECT", "UPDATE", "DELETE", "INSERT", "MERGE", "SET"),
    "MERGE": ("UPDATE", "INSERT", "DELETE", "SET", "WITH"),
    "GRANT": ("SELECT", "INSERT", "UPDATE", "DELETE", "EXECUTE", "EXEC", "ALTER", "CREATE", "DROP", "WITH"),
}
_CONTINUES |= {word: _CONTINUES["GRANT"] for word in ("DENY", "REVOKE")}
_SET_OPERATORS = ("UNION", "ALL", "EXCEPT", "INTERSECT")
_BLOCK_WORDS = ("IF", "LOOP", "WHILE", "FOR", "FOREACH", "CASE", "REPEAT")


def segments_of_batch(tokens: list[Token], setting: Setting) -> Iterator[Leaf]:
    """Yield the single statements of a batch of SQL Server, each with its setting."""
    cursor = Cursor(tokens)
    while not cursor.at_end:
        before = cursor.position
        yield from _one(cursor, setting)
        if cursor.position == before:  # a word that closes nothing
            cursor.skip()


def _one(cursor: Cursor, setting: Setting) -> Iterator[Leaf]:
    if cursor.take(";"):
        return
    if cursor.take("IF"):
        _condition(cursor)
        yield from _one(cursor, setting.inside(guarded=True))
        cursor.take(";")
        if cursor.take("ELSE"):
            yield from _one(cursor, setting.inside(guarded=True))
    elif cursor.take("WHILE"):
        _condition(cursor)
        yield from _one(cursor, setting.inside("loop"))
    elif cursor.peek("BEGIN", "TRY") or cursor.peek("BEGIN", "CATCH"):
        word = cursor.tokens[cursor.position + 1].upper
        cursor.position += 2
        yield from _block(cursor, setting.inside("try"))
        cursor.take("END")
        cursor.take(word)
    elif cursor.peek("BEGIN") and not any(cursor.peek("BEGIN", word) for word in ("TRAN", "TRANSACTION", "DISTRIBUTED")):
        cursor.skip()
        yield from _block(cursor, setting)
        cursor.take("END")
    elif not cursor.at_end and not cursor.peek("END") and not cursor.peek("ELSE"):
        yield _leaf(cursor), setting


def _block(cursor: Cursor, setting: Setting) -> Iterator[Leaf]:
    while not cursor.at_end and not cursor.peek("END"):
        before = cursor.position
        yield from _one(cursor, setting)
        if cursor.position == before:
            cursor.skip()


def _condition(cursor: Cursor) -> None:
    """Read a condition: up to the word that begins a statement."""
    while not cursor.at_end and not (cursor.token.upper in _STARTERS and not cursor.peek("UPDATE", "(")) and not cursor.peek(";"):
        if cursor.group() is None:
            _step(cursor)


def _step(cursor: Cursor) -> None:
    """Read one token, or a whole CASE ... END."""
    if cursor.skip().upper != "CASE":
        return
    depth = 1
    while depth and not cursor.at_end:
        depth += {"CASE": 1, "END": -1}.get(cursor.skip().upper, 0)


def _leaf(cursor: Cursor) -> list[Token]:
    """Read one statement that is not made of others."""
    begin = cursor.position
    verb = cursor.skip().upper
    if verb in ("CREATE", "ALTER"):
        cursor.take("OR", "ALTER")
        if cursor.take_one(*_WHOLE_BATCH):
            cursor.rest()
            return cursor.tokens[begin:]
    if verb == "ALTER" and cursor.take("TABLE"):
        cursor.name()
        cursor.take_one("ALTER", "DROP", "SET", "WITH", "ENABLE", "DISABLE")
    while not cursor.at_end and not cursor.peek(";") and not _begins(cursor, verb):
        if cursor.group() is None:
            _step(cursor)
    return cursor.tokens[begin : cursor.position]


def _begins(cursor: Cursor, verb: str) -> bool:
    """Return whether the next token begins another statement than the one with this verb."""
    word = cursor.token.upper
    if word not in _STARTERS:
        return False
    before = cursor.tokens[cursor.position - 1].upper
    if word in _CONTINUES.get(verb, ()) and (verb != "INSERT" or not _seen(cursor, verb, "SELECT", "EXEC", "EXECUTE")):
        return False
    if word == "SELECT" and before in _SET_OPERATORS:
        return False
    if word == "IF" and verb in ("DROP", "ALTER") and cursor.peek("IF", "EXISTS") and not cursor.peek("(", ahead=2):
        return False  # DROP TABLE IF EXISTS t
    if word == "ROLLBACK" and before == "WITH" and verb == "ALTER":
        return False  # ALTER DATABASE ... WITH ROLLBACK IMMEDIATE
    if word == "WITH":
        return before == ";" or not (
            cursor.peek("(", ahead=1) or verb in ("ALTER", "CREATE", "DROP", "EXEC", "BULK", "RAISERROR")
        )
    if before in ("ON", "AFTER", "FOR", "OF") and word in ("UPDATE", "DELETE", "INSERT", "SELECT"):
        return False
    if (word == "SET" and before in ("UPDATE", "DELETE", "DATABASE")) or (word == "SET" and verb == "ALTER"):
        return verb != "ALTER"
    return not (before == "AS" and verb in ("EXEC", "EXECUTE")) and before != "."


def _seen(cursor: Cursor, verb: str, *words: str) -> bool:
    """Return whether the statement has had one of these words since its verb, outside of parentheses."""
    depth = 0
    for token in reversed(cursor.tokens[: cursor.position]):
        depth += {")": 1, "(": -1}.get(token.text, 0) if token.kind == "symbol" else 0
        if depth == 0 and token.upper in words:
            return True
        if depth == 0 and token.upper == verb:
            return False
    return False


def segments_of_block(tokens: list[Token], setting: Setting) -> Iterator[Leaf]:
    """Yield the single statements of a block whose statements end at semicolons: PL/pgSQL, SQL/PSM of MySQL and MariaDB."""
    cursor = Cursor(tokens)
    loops = guards = 0
    while not cursor.at_end:
        here = setting.inside(*(["loop"] if loops else []), guarded=guards > 0)
        if cursor.take(";") or cursor.take_one("BEGIN", "LOOP", "DO", "THEN", "EXCEPTION"):
            cursor.take("NOT", "ATOMIC")
        elif cursor.take("DECLARE"):
            _declarations(cursor)
        elif cursor.take("IF"):
            guards += 1
            cursor.until("THEN", ";")
        elif cursor.take_one("ELSIF", "ELSEIF", "WHEN"):
            cursor.until("THEN", ";")
        elif cursor.take("ELSE"):
            pass
        elif cursor.take_one("WHILE", "FOR", "FOREACH"):
            loops += 1
            cursor.until("LOOP", "DO", ";")
        elif cursor.take("REPEAT"):
            loops += 1
        elif cursor.take("CASE"):
            guards += 1
            cursor.until("WHEN", ";")
        elif cursor.take("END"):
            word = cursor.take_one(*_BLOCK_WORDS)
            loops -= 1 if word in ("LOOP", "WHILE", "FOR", "REPEAT") and loops else 0
            guards -= 1 if word in ("IF", "CASE") and guards else 0
            cursor.until(";")
        else:
            begin = cursor.position
            while not cursor.at_end and not cursor.peek(";"):
                if cursor.group() is None:
                    cursor.skip()
            yield cursor.tokens[begin : cursor.position], here


def _declarations(cursor: Cursor) -> None:
    """Read what PL/pgSQL or MySQL declares: up to the BEGIN, or the semicolon of the only one."""
    while not cursor.at_end and not cursor.peek("BEGIN"):
        cursor.until(";", "BEGIN")
        cursor.take(";")
        if cursor.at_end or not (cursor.token.is_name and cursor.token.upper != "BEGIN") or cursor.token.upper in _SQL_WORDS:
            return


_SQL_WORDS = frozenset((
    "IF", "SELECT", "INSERT", "UPDATE", "DELETE", "SET", "CALL", "OPEN", "FETCH", "CLOSE", "CREATE", "ALTER", "DROP",
    "WHILE", "LOOP", "REPEAT", "CASE", "PERFORM", "EXECUTE", "RAISE", "DECLARE",
))  # fmt: skip
