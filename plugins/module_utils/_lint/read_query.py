# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads statements about rows, and finds which tables a query reads, whatever it looks like otherwise."""

from __future__ import annotations

from typing import Iterator

from .collect import Collector
from .tokens import Cursor, Token, split_commas, text_of

_SOURCES = ("FROM", "JOIN", "USING", "INTO", "UPDATE", "APPLY", "TABLE", "REFERENCES")
# Behind a name in a FROM list, these say that it has no alias.
_BEHIND = frozenset((
    "WHERE", "JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "OUTER", "NATURAL", "ON", "USING", "GROUP", "ORDER",
    "HAVING", "UNION", "EXCEPT", "INTERSECT", "LIMIT", "OFFSET", "FETCH", "SET", "WITH", "VALUES", "WHEN", "SELECT",
    "OPTION", "FOR", "WINDOW", "RETURNING", "OUTPUT", "DEFAULT", "AS", "FORCE", "USE", "IGNORE",
))  # fmt: skip
_HINTS = frozenset((
    "NOLOCK", "READUNCOMMITTED", "UPDLOCK", "HOLDLOCK", "ROWLOCK", "PAGLOCK", "TABLOCK", "TABLOCKX", "XLOCK", "READPAST",
    "NOWAIT", "NOEXPAND", "FORCESEEK", "FORCESCAN", "SERIALIZABLE", "REPEATABLEREAD", "READCOMMITTED", "SNAPSHOT", "INDEX",
))  # fmt: skip


# Behind these, UPDATE is no statement: FOR UPDATE, ON DUPLICATE KEY UPDATE, DO UPDATE, AFTER UPDATE, THEN UPDATE.
_BEFORE_NO_UPDATE = ("FOR", "KEY", "DO", "ON", "AFTER", "BEFORE", "OF", "OR", ",", "THEN")


def reads_of(tokens: list[Token], own: set | None = None) -> list[str]:
    """Return the names of the tables, views and table functions that a query names, in order and each once.

    Common table expressions and aliases are none of them.

    Parameters:
        own: names of common table expressions in front of these tokens, in lower case.
    """
    own = _common_tables(tokens) | (own or set())
    found: dict[str, None] = {}
    for position, token in enumerate(tokens):
        if token.upper not in _SOURCES or token.kind != "word":
            continue
        if token.upper == "UPDATE" and position and tokens[position - 1].upper in _BEFORE_NO_UPDATE:
            continue
        cursor = Cursor(tokens)
        cursor.position = position + 1
        while True:
            cursor.take_one("ONLY", "LATERAL", "TABLE", "IGNORE", "LOW_PRIORITY", "TEMP", "TEMPORARY", "UNLOGGED")
            if cursor.at_end or not cursor.token.is_name or cursor.token.upper in _BEHIND:
                break
            name = cursor.name()
            if name.lower() not in own and not name.startswith(("@", "#")):
                found.setdefault(name)
            if token.upper != "FROM" or not _take_to_comma(cursor):
                break
    return list(found)


def _take_to_comma(cursor: Cursor) -> bool:
    """Read arguments, an alias, hints and the comma behind them, if the FROM list goes on."""
    cursor.group()
    cursor.take("AS")
    if not cursor.at_end and cursor.token.is_name and cursor.token.upper not in _BEHIND:
        cursor.skip()
    if cursor.peek("(") or cursor.peek("WITH", "("):
        cursor.take("WITH")
        cursor.group()
    return cursor.take(",")


def _common_tables(tokens: list[Token]) -> set[str]:
    """Return the names that ``name AS (`` defines, in lower case."""
    return set(_bodies(tokens))


def _bodies(tokens: list[Token]) -> dict[str, list[Token]]:
    """Return what stands in the parentheses of each common table expression, by its name in lower case."""
    found: dict[str, list[Token]] = {}
    pairs = _pairs(tokens)
    opened = {end: begin for begin, end in pairs.items()}
    for position, token in enumerate(tokens):
        if token.upper != "AS" or not position:
            continue
        cursor = Cursor(tokens)
        cursor.position = position + 1
        cursor.take("NOT")
        cursor.take("MATERIALIZED")
        if not cursor.peek("("):
            continue
        at = position - 1
        if at in opened:  # name (a, b) AS (
            at = opened[at] - 1
            if at < 1 or tokens[at - 1].upper not in ("WITH", "RECURSIVE", ","):
                continue
        if tokens[at].is_name:
            end = pairs.get(cursor.position, len(tokens))
            found.setdefault(tokens[at].identifier.lower(), tokens[cursor.position + 1 : end])
    return found


def _pairs(tokens: list[Token]) -> dict[int, int]:
    """Return the position of each opening parenthesis with that of the one that closes it."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for position, token in enumerate(tokens):
        if token.kind == "symbol" and token.text == "(":
            opened.append(position)
        elif token.kind == "symbol" and token.text == ")" and opened:
            found[opened.pop()] = position
    return found


def _outer(tokens: list[Token]) -> Iterator[tuple[int, Token]]:
    """Yield the tokens outside of parentheses with their positions."""
    depth = 0
    for position, token in enumerate(tokens):
        if token.kind == "symbol" and token.text in "()":
            depth += 1 if token.text == "(" else -1
        elif depth == 0:
            yield position, token


def hints_of(tokens: list[Token]) -> list[str]:
    """Return the table hints of SQL Server and the index hints of MySQL that a query holds, in upper case."""
    found: list[str] = []
    for position, token in enumerate(tokens):
        if token.upper == "WITH":
            cursor = Cursor(tokens)
            cursor.position = position + 1
            found += [text_of(part).upper() for part in split_commas(cursor.group() or []) if part and part[0].upper in _HINTS]
        elif token.upper == "NOLOCK" and position > 1 and tokens[position - 1].text == "(" and tokens[position - 2].is_name:
            found.append("NOLOCK")  # the old way: FROM orders (NOLOCK)
        elif token.upper in ("FORCE", "USE", "IGNORE") and Cursor(tokens[position + 1 :]).take_one("INDEX", "KEY"):
            found.append(f"{token.upper} INDEX")
    return list(dict.fromkeys(found))


def result_columns(tokens: list[Token]) -> list[str]:
    """Return the names of a query's columns as far as all of them can be told; empty when one cannot, as with ``*``."""
    position = next((position for position, token in _outer(tokens) if token.upper == "SELECT"), None)
    if position is None:
        return []
    cursor = Cursor(tokens)
    cursor.position = position + 1
    cursor.take_one("DISTINCT", "ALL")
    if cursor.take("TOP"):
        if cursor.group() is None:
            cursor.skip()
        cursor.take("PERCENT")
        cursor.take("WITH", "TIES")
    names = []
    for part in split_commas(
        cursor.until("FROM", "WHERE", "INTO", "UNION", "EXCEPT", "INTERSECT", "ORDER", "GROUP", "FOR", "LIMIT", ";")
    ):
        name = _column_name(part)
        if not name:
            return []
        names.append(name)
    return names


def _column_name(part: list[Token]) -> str:
    if not part or part[-1].text == "*":
        return ""
    if len(part) > 2 and part[1].text == "=" and part[0].is_name and not part[0].text.startswith("@"):
        return part[0].identifier  # SQL Server's name = expression
    last = part[-1]
    if last.kind == "string" and len(part) > 1 and part[-2].upper == "AS":
        return last.literal
    if not last.is_name or last.upper in ("END", "NULL"):
        return ""
    return last.identifier


def read_insert(cursor: Cursor, out: Collector, at: Token, own: dict | None = None) -> None:
    """Read what stands behind INSERT or REPLACE; see _changed() for own."""
    cursor.until("INTO") if cursor.has("INTO") and cursor.token.upper in (
        "LOW_PRIORITY",
        "IGNORE",
        "OR",
        "TOP",
        "DELAYED",
    ) else None
    cursor.take("INTO")
    table = cursor.name()
    columns = (
        [text_of(part) for part in split_commas(cursor.group() or [])]
        if cursor.peek("(") and not cursor.peek("SELECT", ahead=1)
        else []
    )
    rest = cursor.rest()
    query = Cursor(rest)
    flags = ("select",) if query.has("SELECT") or query.has("EXEC") else ()
    flags += ("columns",) if columns else ()
    flags += ("upsert",) if query.has("ON", "CONFLICT") or query.has("ON", "DUPLICATE") else ()
    out.add("insert", at, table, flags=flags, reads=_reads(rest, own), hints=hints_of(rest), columns=columns)


def read_update(cursor: Cursor, out: Collector, at: Token, own: dict | None = None) -> None:
    """Read what stands behind UPDATE; see _changed() for own."""
    limit = _top(cursor)
    cursor.take_one("LOW_PRIORITY", "IGNORE", "ONLY")
    _changed("update", cursor, out, at, cursor.name(), limit, own)


def read_delete(cursor: Cursor, out: Collector, at: Token, own: dict | None = None) -> None:
    """Read what stands behind DELETE; see _changed() for own."""
    limit = _top(cursor)
    cursor.take_one("LOW_PRIORITY", "QUICK", "IGNORE")
    cursor.take("FROM")
    cursor.take("ONLY")
    _changed("delete", cursor, out, at, cursor.name(), limit, own)


def _reads(rest: list[Token], own: dict[str, list[Token]] | None) -> list[str]:
    """Return what a statement reads, itself and by way of the common table expressions in front of it."""
    names = set(own or ())
    found = [name for tokens in (rest, *(own or {}).values()) for name in reads_of(tokens, names)]
    return list(dict.fromkeys(found))


def _top(cursor: Cursor) -> str:
    """Read SQL Server's TOP, and return its number or expression."""
    if not cursor.take("TOP"):
        return ""
    begin = cursor.position
    if cursor.group() is None:
        cursor.skip()
    return text_of(cursor.tokens[begin : cursor.position])


def _changed(
    kind: str, cursor: Cursor, out: Collector, at: Token, table: str, limit: str, own: dict[str, list[Token]] | None
) -> None:
    """Add the fact of an update or delete.

    Parameters:
        own: the common table expressions in front of it, as of _bodies(): SQL Server changes rows by way of one.
    """
    rest = cursor.rest()
    query = Cursor(rest)
    named = _behind_alias(table, rest)
    through = (own or {}).get(named.lower())
    if through is not None:
        rest = rest + through  # DELETE FROM old is about the table behind it, and bounded as that is
    flags = ("bounded",) if limit else ()
    outer = [token.upper for _position, token in _outer(rest)]
    flags += ("where",) if "WHERE" in outer else ()
    flags += ("bounded",) if any(token.upper in ("LIMIT", "TOP") for token in rest) or query.has("FETCH", "FIRST") else ()
    joins = ("FROM", "JOIN", "USING") if through is None else ("JOIN", "USING")
    is_list = kind == "update" and len(split_commas(Cursor(rest).until("SET"))) > 1
    flags += ("joined",) if is_list or any(word in joins for word in outer) else ()
    reads = _reads(rest, own)
    if through is not None:
        named = (reads_of(through) or [named])[0]
    out.add(kind, at, named, flags=flags, reads=reads, hints=hints_of(rest), where=_where(rest), limit=limit)


def _where(rest: list[Token]) -> str:
    cursor = Cursor(rest)
    cursor.until("WHERE")
    return text_of(cursor.rest()[1:])


def _behind_alias(name: str, rest: list[Token]) -> str:
    """Return the table that an alias stands for: UPDATE o SET ... FROM orders o."""
    for position, token in enumerate(rest):
        if token.upper not in ("FROM", "JOIN"):
            continue
        cursor = Cursor(rest)
        cursor.position = position + 1
        table = cursor.name()
        cursor.take("AS")
        if not cursor.at_end and cursor.token.is_name and cursor.token.identifier.lower() == name.lower():
            return table
    return name


def read_merge(cursor: Cursor, out: Collector, at: Token, own: dict | None = None) -> None:
    """Read what stands behind MERGE; see _changed() for own."""
    if cursor.take("TOP"):
        cursor.group()
    cursor.take("INTO")
    table = cursor.name()
    rest = cursor.rest()
    out.add("merge", at, table, reads=_reads(rest, own), hints=hints_of(rest))


def read_select(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read a query, from its SELECT or WITH on."""
    rest = cursor.tokens[cursor.position :]
    flags: tuple = ()
    table = ""
    for position, token in _outer(rest):
        if token.upper == "INTO":
            into = Cursor(rest[position + 1 :])
            into.take_one("TEMP", "TEMPORARY", "UNLOGGED", "TABLE")
            if not into.at_end and not into.token.text.startswith("@") and out.engine in ("sqlserver", "postgresql"):
                flags, table = ("into",), into.name()
    flags += ("for_update",) if Cursor(rest).has("FOR", "UPDATE") else ()
    calls = [name for name in _called(rest) if name in ("pg_sleep", "setval", "dblink_exec")]
    reads = [name for name in reads_of(rest) if name != table]
    out.add("select", at, table, flags=flags, reads=reads, hints=hints_of(rest), calls=calls)
    cursor.rest()


def _called(tokens: list[Token]) -> list[str]:
    return [token.text.lower() for token, after in zip(tokens, tokens[1:]) if token.kind == "word" and after.text == "("]


def read_with(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read what begins with common table expressions: a query, or a change of rows behind them."""
    rest = cursor.tokens[cursor.position :]
    own = _bodies(rest)
    for body in own.values():
        if body and body[0].upper in _CHANGING:  # PostgreSQL's WITH gone AS (DELETE ... RETURNING *)
            _CHANGING[body[0].upper](Cursor(body[1:]), out, body[0], own)
    for position, token in _outer(rest):
        if token.upper in _CHANGING:
            inner = Cursor(rest)
            inner.position = position + 1
            _CHANGING[token.upper](inner, out, token, own)
            cursor.rest()
            return
        if token.upper == "SELECT":
            break
    read_select(cursor, out, at)


_CHANGING = {"INSERT": read_insert, "UPDATE": read_update, "DELETE": read_delete, "MERGE": read_merge}
