# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads views, procedures, functions and triggers: what they are called with, what they return and what they read."""

from __future__ import annotations

from .._db.lexis import Lexis, ScriptError
from .collect import Collector
from .read_columns import is_constraint
from .read_query import hints_of, reads_of, result_columns
from .tokens import Cursor, Token, names_in, read_tokens, split_commas, text_of

_FAILING = ("RAISERROR", "THROW", "RAISE", "SIGNAL", "ROLLBACK", "RESIGNAL")
# RAISE NOTICE of PL/pgSQL and RAISE(IGNORE) of SQLite let the write go on.
_TELLING = ("NOTICE", "WARNING", "INFO", "LOG", "DEBUG", "IGNORE")
_EVENTS = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")


def _inside(tokens: list[Token], lexis: Lexis) -> list[Token]:
    """Return tokens with the SQL of a dollar-quoted or quoted body in the place of its literal."""
    found: list[Token] = []
    for token, before in zip(tokens, [None, *tokens]):
        is_body = token.kind == "string" and (token.text.startswith("$") or (before is not None and before.upper == "AS"))
        if not is_body:
            found.append(token)
            continue
        try:
            found += read_tokens(token.literal, lexis, token.line, token.column + token.literal_at)
        except ScriptError:  # a body in a language that is not SQL
            found.append(token)
    return found


def read_view(cursor: Cursor, out: Collector, at: Token, kind: str, flags: tuple) -> None:
    """Read what stands behind CREATE or ALTER [MATERIALIZED] VIEW.

    Parameters:
        kind: create_view, alter_view or create_materialized_view.
    """
    flags += cursor.take_if_exists()
    name = cursor.name()
    listed = names_in(cursor.group())
    head = cursor.until("AS")
    flags += ("schemabinding",) if Cursor(head).has("SCHEMABINDING") else ()
    if not cursor.take("AS"):
        cursor.doubtful |= kind != "alter_view"  # PostgreSQL's ALTER VIEW ... SET and the like
        return out.add("alter_other", at, name=name, object="VIEW", action=text_of(head).upper()) and None
    body = cursor.rest()
    out.add(
        kind,
        at,
        name=name,
        flags=flags,
        columns=listed or result_columns(body),
        body=text_of(body),
        reads=reads_of(body),
        hints=hints_of(body),
    )


def read_routine(cursor: Cursor, out: Collector, at: Token, routine: str, kind: str, flags: tuple, lexis: Lexis) -> None:
    """Read what stands behind CREATE or ALTER PROCEDURE or FUNCTION.

    Parameters:
        routine: PROCEDURE or FUNCTION.
        kind: create_routine or alter_routine.
    """
    flags += cursor.take_if_exists()
    name = cursor.name()
    if cursor.peek(";"):  # SQL Server's numbered procedures
        cursor.position += 2
    listed = cursor.group()
    if listed is None and out.engine == "sqlserver":
        listed = cursor.until("AS", "WITH", "FOR") if not cursor.peek("AS") else []
        listed = _with_as(listed, cursor)
    head = cursor.until("AS", "BEGIN", "LANGUAGE", "RETURN", "SELECT") if out.engine != "sqlserver" else cursor.until("AS")
    returns = _returns(head)
    body = _inside(cursor.rest(), lexis)
    if kind == "alter_routine" and out.engine != "sqlserver":
        out.add("alter_other", at, name=name, object=routine, action=text_of(head + body).upper())
        return
    out.add(
        kind,
        at,
        name=name,
        flags=flags + _can_fail(body),
        routine=routine,
        parameters=[parameter for part in split_commas(listed or []) if (parameter := _parameter(part, out.engine))],
        returns=returns,
        columns=_table_columns(head) or (_last_result(body) if routine == "PROCEDURE" or "TABLE" in returns.upper() else []),
        body=text_of(body),
        reads=reads_of(body),
        hints=hints_of(body),
    )


def _with_as(listed: list[Token], cursor: Cursor) -> list[Token]:
    """Return SQL Server's parameters without parentheses: ``@a AS int`` has an AS that does not end them."""
    while cursor.peek("AS") and listed and listed[-1].text.startswith("@"):
        listed = [*listed, cursor.skip(), *cursor.until("AS", "WITH", "FOR")]
    return listed


def _returns(head: list[Token]) -> str:
    cursor = Cursor(head)
    cursor.until("RETURNS")
    return text_of(cursor.rest()[1:])


def _table_columns(head: list[Token]) -> list[str]:
    """Return the columns of ``RETURNS TABLE (a int, b text)`` and of SQL Server's ``RETURNS @rows TABLE (a int)``."""
    cursor = Cursor(head)
    cursor.until("TABLE")
    cursor.take("TABLE")
    parts = [Cursor(part) for part in split_commas(cursor.group() or [])]
    return [name for part in parts if not is_constraint(part) and (name := part.name())]


def _parameter(part: list[Token], engine: str) -> dict | None:
    cursor = Cursor(part)
    mode = cursor.take_one("IN", "OUT", "INOUT", "VARIADIC")
    has_default = cursor.has("=") or cursor.has("DEFAULT") or cursor.has(":=")
    is_named = engine != "postgresql" or len([token for token in cursor.until("=", "DEFAULT", ":=") if token.is_name]) > 1
    cursor.position = 1 if mode else 0
    name = cursor.name() if is_named else ""
    mode = mode or cursor.take_one("IN", "OUT", "INOUT")
    cursor.take("AS")
    data_type = text_of(cursor.until("=", "DEFAULT", ":=", "OUTPUT", "OUT", "READONLY")).upper()
    if cursor.has("OUTPUT") or cursor.has("OUT"):
        mode = "OUT"
    if not data_type and not name:
        return None
    return {"name": name, "type": data_type, "has_default": has_default, "mode": mode or "IN"}


def _last_result(body: list[Token]) -> list[str]:
    """Return the columns of the last query that a body sends to its caller, empty when they cannot be told."""
    found: list[str] = []
    depth = 0
    returned = Cursor(body)
    returned.take("AS")
    if returned.take("RETURN") and returned.peek("("):  # an inline table function
        body = returned.group() or []
    behind_tables = _behind_tables(body)
    for position, token in enumerate(body):
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "symbol" else 0
        if token.upper == "SELECT" and depth == 0:
            before = body[position - 1] if position else None
            behind = Cursor(body[position + 1 :])
            is_assigning = not behind.at_end and behind.token.text.startswith("@") and behind.peek("=", ahead=1)
            is_inner = before is not None and (before.is_name or before.text == ")") and before.upper not in _BEFORE_RESULT
            if is_assigning or (is_inner and position not in behind_tables):
                continue
            found = result_columns(body[position:])
    return found


def _behind_tables(body: list[Token]) -> set[int]:
    """Return the positions behind each WITH and its common table expressions."""
    found = set()
    for position, token in enumerate(body):
        if token.upper != "WITH":
            continue
        cursor = Cursor(body)
        cursor.position = position + 1
        cursor.take("RECURSIVE")
        while not cursor.at_end and cursor.name():
            cursor.group()
            if not cursor.take("AS") or cursor.group() is None:
                break
            found.add(cursor.position)
            if not cursor.take(","):
                break
    return found


_BEFORE_RESULT = ("AS", "BEGIN", "ON", "OFF", "END", "THEN", "ELSE", "QUERY", "RETURN")


def _can_fail(body: list[Token]) -> tuple:
    """Return the flag of a body that raises an error of its own, or rolls back."""
    following = [*body[1:], None, None]
    for token, after, further in zip(body, following, following[1:]):
        word = further if after is not None and after.text == "(" else after
        if token.upper in _FAILING and (word is None or word.upper not in _TELLING):
            return ("can_fail",)
    return ()


def read_trigger(cursor: Cursor, out: Collector, at: Token, kind: str, flags: tuple, lexis: Lexis) -> None:
    """Read what stands behind CREATE or ALTER TRIGGER."""
    flags += cursor.take_if_exists()
    name = cursor.name()
    table = timing = ""
    events: list[str] = []
    while not cursor.at_end and not cursor.peek("AS") and not cursor.peek("BEGIN") and not cursor.peek("EXECUTE"):
        if cursor.take("ON"):
            table = cursor.name()
        elif cursor.take("FOR", "EACH"):
            cursor.take_one("ROW", "STATEMENT")
            break
        elif cursor.take("INSTEAD", "OF"):
            timing = "INSTEAD OF"
        elif cursor.token.upper in ("BEFORE", "AFTER", "FOR") and not timing:
            timing = "AFTER" if cursor.skip().upper != "BEFORE" else "BEFORE"
        else:
            word = cursor.skip().upper
            events += [word] if word in _EVENTS else []
    body = _inside(cursor.rest(), lexis)
    out.add(
        kind,
        at,
        table,
        name,
        flags=flags + _can_fail(body),
        events=events,
        timing=timing,
        body=text_of(body),
        reads=reads_of(body),
    )


def read_drop_module(cursor: Cursor, out: Collector, at: Token, kind: str, routine: str = "") -> None:
    """Read what stands behind DROP VIEW, PROCEDURE, FUNCTION or TRIGGER."""
    flags = ("concurrently",) if cursor.take("CONCURRENTLY") else ()
    flags += cursor.take_if_exists()
    for part in split_commas(cursor.rest()):
        inner = Cursor(part)
        name = inner.name()
        arguments = inner.group()
        table = inner.name() if inner.take("ON") and not inner.peek("ALL") else ""
        more = ("cascade",) if inner.take("CASCADE") else ()
        if name:
            values = {} if arguments is None else {"arguments": text_of(arguments)}
            out.add(kind, at, table, name, flags=flags + more, routine=routine, **values)
