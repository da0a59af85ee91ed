# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes the statements of a backfill: where a batch ends, what it changes, what is left."""

from __future__ import annotations

from typing import Callable

from .._db.keyset import Column, Keyset, Sql
from .._db.lexis import Lexis, tokens

_SIDES = ("first", "last")


def range_condition(keyset: Keyset, quoted: list[str], columns: list[Column]) -> Sql:
    """Return the condition for the keys of a batch, from its first to its last."""
    markers = [keyset.marker(column) for column in columns]
    low = keyset.compare(quoted, markers, ">=", "first")
    return low + " AND " + keyset.compare(quoted, markers, "<=", "last")


def bounds_in(sql: str, key: tuple, lexis: Lexis) -> set[str]:
    """Return the names of the bounds that stand in a user's statement, as ``range``, ``first`` or ``last_id``."""
    found: set[str] = set()

    def see(name: str, _alias: str) -> Sql:
        found.add(name)
        return Sql("")

    _replaced(sql, key, lexis, see)
    return found


def bind(sql: str, key: tuple, lexis: Lexis, keyset: Keyset, columns: list[Column], quote: Callable[[str], str]) -> Sql:
    """Return a user's statement with markers in place of the bounds of a batch.

    Parameters:
        sql: holds ``:range`` or ``:range(alias)``, or ``:first`` and ``:last`` (with ``_column`` for a key of several).
        key: the key's columns.
        lexis: the engine's lexical rules; what stands in quotes and comments is left alone.
        keyset, columns, quote: of the engine and the key.
    """

    def replacement(name: str, alias: str) -> Sql:
        if name == "range":
            quoted = [f"{alias}.{quote(column)}" if alias else quote(column) for column in key]
            return "(" + range_condition(keyset, quoted, columns) + ")"
        side, _dash, column = name.partition("_")
        number = list(key).index(column) if column else 0
        return Sql(keyset.marker(columns[number]), ((side, number),))

    return _replaced(sql, key, lexis, replacement)


def _replaced(sql: str, key: tuple, lexis: Lexis, replacement: Callable[[str, str], Sql]) -> Sql:
    """Walk over the tokens and put replacement(name, alias) in place of each bound."""
    names = {"range", *(f"{side}_{column}" for side in _SIDES for column in key)}
    names |= set(_SIDES) if len(key) == 1 else set()
    parts = [token.text for token in tokens(sql, lexis, "")]
    made, position = Sql(""), 0
    while position < len(parts):
        name = parts[position + 1] if position + 1 < len(parts) else ""
        # Two colons are PostgreSQL's cast.
        if parts[position] != ":" or name not in names or (position and parts[position - 1] == ":"):
            made, position = made + parts[position], position + 1
            continue
        alias, position = "", position + 2
        if name == "range" and parts[position : position + 1] == ["("] and parts[position + 2 : position + 3] == [")"]:
            alias, position = parts[position + 1], position + 3
        made = made + replacement(name, alias)
    return made


def verify_sql(definition, table: str) -> str:
    """Return the query for the rows that are left to do, as the definition says or by its ``where``."""
    return definition.verify or f"SELECT count(*) AS n FROM {table} WHERE {definition.where}"


class BatchSql:
    """The statements of one backfill on one engine.

    Parameters:
        definition: filled, or as it was written to be shown.
        keyset, lexis, quote: of the engine.
        table: the quoted table.
        columns: the key's columns, in the key's order.
    """

    def __init__(self, definition, keyset: Keyset, lexis: Lexis, quote: Callable[[str], str], table: str, columns: list[Column]):
        self._keyset, self._table = keyset, table
        self._quoted = [quote(column.name) for column in columns]
        self._markers = [keyset.marker(column) for column in columns]
        self._read = ", ".join(f"{keyset.read(q, column)} AS k{n}" for n, (q, column) in enumerate(zip(self._quoted, columns)))
        self._range = range_condition(keyset, self._quoted, columns)
        self.verify = verify_sql(definition, table)
        if definition.sql:
            self.change = bind(definition.sql, definition.key, lexis, keyset, columns, quote)
        else:
            assignments = ",\n  ".join(f"{quote(name)} = ({sql}\n)" for name, sql in definition.assignments.items())
            where = f"\n  AND ({definition.where}\n)" if definition.where else ""
            self.change = f"UPDATE {table} SET\n  {assignments}\nWHERE " + self._range + where

    def _order(self, descending: bool = False) -> str:
        return "ORDER BY " + ", ".join(f"{name} DESC" if descending else name for name in self._quoted)

    def _one(self, offset: int = 0) -> str:
        return self._keyset.nth.format(offset=offset)

    def lowest(self) -> Sql:
        """Select the first key of the table."""
        return Sql(f"SELECT {self._read} FROM {self._table} {self._order()} {self._one()}")

    def highest(self) -> Sql:
        """Select the last key of the table."""
        return Sql(f"SELECT {self._read} FROM {self._table} {self._order(descending=True)} {self._one()}")

    def next_first(self) -> Sql:
        """Select the first key behind ``after``, up to ``end``."""
        condition = self._keyset.compare(self._quoted, self._markers, ">", "after")
        condition = condition + " AND " + self._keyset.compare(self._quoted, self._markers, "<=", "end")
        return f"SELECT {self._read} FROM {self._table} WHERE " + condition + f" {self._order()} {self._one()}"

    def last_of(self, size: int) -> Sql:
        """Select the key of the row number size from ``first`` on, up to ``end``; no row when there are fewer.

        The key is written as text outside, for one row: PostgreSQL writes it for every row that OFFSET leaves out.
        """
        condition = self._keyset.compare(self._quoted, self._markers, ">=", "first")
        condition = condition + " AND " + self._keyset.compare(self._quoted, self._markers, "<=", "end")
        found = f"SELECT {self._read} FROM (SELECT {', '.join(self._quoted)} FROM {self._table} WHERE " + condition
        return found + f" {self._order()} {self._one(size - 1)}) the_last"

    def count(self) -> Sql:
        """Count the rows from ``first`` to ``last``."""
        return f"SELECT count(*) AS n FROM {self._table} WHERE " + self._range
