# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads statements about rows, and finds which tables a query reads, whatever it looks like otherwise."""

from __future__ import annotations

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


def reads_of(tokens: list[Token]) -> list[str]:
    """Return the names of the tables, views and table functions that a query names, in order and each once.

    Common table expressions and aliases are none of them.
    """
    own = _common_tables(tokens)
    found: dict[str, None] = {}
    for position, token in enumerate(tokens):
        if token.upper not in _SOURCES or token.kind != "word":
            continue
        cursor = Cursor(tokens)
        cursor.position = position + 1
        while True:
            cursor.take_one("ONLY", "LATERAL", "TABLE", "IGNORE", "LOW_PRIORITY")
            if cursor.at_end or not cursor.token.is_name or cursor.token.upper in _BEHIND:
                break
            name = cursor.name()
            if name.lower() not in own and not name.startswith(("@", "#")):
                found.setdefault(name)
            if token.upper != "FROM" or not _take_to_comma(cursor):
                break
    return list(found)


def _take_to_comma(cursor: Cursor) -> bool:
    """Read an alias and the comma behind it, if the FROM list goes on."""
    cursor.take("AS")
    if not cursor.at_end and cursor.token.is_name and cursor.token.upper not in _BEHIND:
        cursor.skip()
    return cursor.take(",")


def _common_tables(tokens: list[Token]) -> set[str]:
    """Return the names that ``name AS (`` defines, in lower case."""
    return {
        name.identifier.lower()
        for name, as_, bracket in zip(tokens, tokens[1:], tokens[2:])
        if (name.is_name and as_.upper == "AS" and bracket.text == "(") or (name.is_name and _columns_then_as(tokens, name))
    }


def _columns_then_as(tokens: list[Token], name: Token) -> bool:
    """Return whether ``name (a, b) AS (`` begins at a token: WITH or a comma stands in front of it."""
    index = next(i for i, token in enumerate(tokens) if token is name)
    if index == 0 or tokens[index - 1].upper not in ("WITH", "RECURSIVE", ","):
        return False
    cursor = Cursor(tokens)
    cursor.position = index + 1
    return cursor.group() is not None and cursor.peek("AS", "(")


def hints_of(tokens: list[Token]) -> list[str]:
    """Return the table hints of SQL Server and the index hints of MySQL that a query holds, in upper case."""
    found: list[str] = []
    for position, token in enumerate(tokens):
        if token.upper == "WITH" or (token.text == "(" and position and tokens[position - 1].is_name):
            cursor = Cursor(tokens)
            cursor.position = position + (1 if token.upper == "WITH" else 0)
            for part in split_commas(cursor.group() or []):
                if part and part[0].upper in _HINTS and (token.upper == "WITH" or (len(part) == 1 and part[0].upper == "NOLOCK")):
                    found.append(text_of(part).upper())
        elif token.upper in ("FORCE", "USE", "IGNORE") and Cursor(tokens[position + 1 :]).take_one("INDEX", "KEY"):
            found.append(f"{token.upper} INDEX")
    return list(dict.fromkeys(found))


def result_columns(tokens: list[Token]) -> list[str]:
    """Return the names of a query's columns as far as all of them can be told; empty when one cannot, as with ``*``."""
    position = next((i for i, token in enumerate(tokens) if token.upper == "SELECT" and _depth(tokens, i) == 0), None)
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


def _depth(tokens: list[Token], end: int) -> int:
    return sum({"(": 1, ")": -1}.get(token.text, 0) for token in tokens[:end] if token.kind == "symbol")


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


def read_insert(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read what stands behind INSERT or REPLACE."""
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
    out.add("insert", at, table, flags=flags, reads=reads_of(rest), hints=hints_of(rest), columns=columns)


def read_update(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read what stands behind UPDATE."""
    limit = _top(cursor)
    cursor.take_one("LOW_PRIORITY", "IGNORE", "ONLY")
    _changed("update", cursor, out, at, cursor.name(), limit)


def read_delete(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read what stands behind DELETE."""
    limit = _top(cursor)
    cursor.take_one("LOW_PRIORITY", "QUICK", "IGNORE")
    cursor.take("FROM")
    cursor.take("ONLY")
    _changed("delete", cursor, out, at, cursor.name(), limit)


def _top(cursor: Cursor) -> str:
    """Read SQL Server's TOP, and return its number or expression."""
    if not cursor.take("TOP"):
        return ""
    begin = cursor.position
    if cursor.group() is None:
        cursor.skip()
    return text_of(cursor.tokens[begin : cursor.position])


def _changed(kind: str, cursor: Cursor, out: Collector, at: Token, table: str, limit: str) -> None:
    rest = cursor.rest()
    query = Cursor(rest)
    flags = ("bounded",) if limit else ()
    flags += ("where",) if any(token.upper == "WHERE" and _depth(rest, i) == 0 for i, token in enumerate(rest)) else ()
    flags += ("bounded",) if any(token.upper in ("LIMIT", "TOP") for token in rest) or query.has("FETCH", "FIRST") else ()
    flags += (
        ("joined",)
        if any(token.upper in ("FROM", "JOIN", "USING") and _depth(rest, i) == 0 for i, token in enumerate(rest))
        else ()
    )
    reads = reads_of(rest)
    out.add(kind, at, _behind_alias(table, rest), flags=flags, reads=reads, hints=hints_of(rest), where=_where(rest), limit=limit)


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


def read_merge(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read what stands behind MERGE."""
    if cursor.take("TOP"):
        cursor.group()
    cursor.take("INTO")
    table = cursor.name()
    rest = cursor.rest()
    out.add("merge", at, table, reads=reads_of(rest), hints=hints_of(rest))


def read_select(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read a query, from its SELECT or WITH on."""
    rest = cursor.tokens[cursor.position :]
    flags: tuple = ()
    table = ""
    for position, token in enumerate(rest):
        if token.upper == "INTO" and _depth(rest, position) == 0:
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
    for position, token in enumerate(rest):
        if token.upper in ("INSERT", "UPDATE", "DELETE", "MERGE") and _depth(rest, position) == 0:
            inner = Cursor(rest)
            inner.position = position + 1
            {"INSERT": read_insert, "UPDATE": read_update, "DELETE": read_delete, "MERGE": read_merge}[token.upper](
                inner, out, token
            )
            cursor.rest()
            return
    read_select(cursor, out, at)
