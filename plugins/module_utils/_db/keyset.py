# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes the SQL that walks a table along its key, in the form that each engine answers from the key's index.

Facts relied on: PostgreSQL (9.24.5) and SQLite (rowvalue.html) compare rows of values by an index; MySQL and MariaDB read the
whole index for it, and SQL Server has no such comparison, so the form with AND and OR begins with a bound on the first column.
SQL Server escalates to a table lock at 5,000 locks of one statement ("Transaction locking guide"), and a row whose indexed
column changes takes two in that index: 2,000 rows stay below.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import isnan

from .errors import DatabaseError


@dataclass(frozen=True)
class Column:
    """A column as the catalog knows it: data_type decides how a value is read, type is what CAST takes."""

    name: str
    data_type: str
    type: str
    nullable: bool


@dataclass(frozen=True)
class Sql:
    """A piece of SQL with zero bytes for markers and, for each in order, the (side, column number) of its value."""

    text: str
    refs: tuple = ()

    @property
    def sql(self) -> str:
        """The statement as the driver takes it."""
        return self.text.replace("\0", "?")

    def shown(self, key: tuple) -> str:
        """Return the statement with names such as ``:first_id`` in place of values, for people."""
        pieces = self.text.split("\0")
        names = [f":{side}_{key[number]}" if len(key) > 1 else f":{side}" for side, number in self.refs]
        return "".join(piece + name for piece, name in zip(pieces, [*names, ""]))

    def __add__(self, other: Sql | str) -> Sql:
        other = other if isinstance(other, Sql) else Sql(other)
        return Sql(self.text + other.text, self.refs + other.refs)

    def __radd__(self, other: str) -> Sql:
        return Sql(other) + self

    def values(self, sides: dict) -> tuple:
        """Return the parameters, from the values of each side: ``first`` and ``last``, or ``after`` and ``end``."""
        return tuple(sides[side][number] for side, number in self.refs)


def join(pieces: list[Sql], word: str) -> Sql:
    """Return pieces with a word in between."""
    joined = pieces[0]
    for piece in pieces[1:]:
        joined = joined + word + piece
    return joined


@dataclass(frozen=True)
class Keyset:
    """How an engine walks along a key.

    Attributes:
        row_values: ``(a, b) > (?, ?)`` is answered from an index.
        nth: the clause that leaves out {offset} rows and takes one.
        largest_batch: rows that one statement may change, 0 for no bound.
        forms: by data type, how a value is read and how its marker is written; ``*`` is for every other type. The value
            read is a number or a text that gives the same value again. A type without a form cannot be in a key.
        default_schema: expression for the schema of a table that is named without one.
        estimate: query for about how many rows a table has; {schema} is an expression, ``?`` the table.
        indexes: query for the columns (``name``) of each index (``number``) of a table in their order, likewise.
        busy: query whose last value is how many sessions are at work, this one among them.
    """

    row_values: bool = False
    nth: str = "LIMIT 1 OFFSET {offset}"
    largest_batch: int = 0
    forms: dict = field(default_factory=dict)
    default_schema: str = "DATABASE()"
    estimate: str = ""
    indexes: str = ""
    busy: str = ""

    def read(self, quoted: str, column: Column) -> str:
        """Return the expression that reads a key column's value so that it comes back exactly.

        Raises:
            DatabaseError: its type cannot be in a key.
        """
        return self._form(column)[0].format(column=quoted, type=column.type)

    def marker(self, column: Column) -> str:
        """Return the parameter marker for a value of :meth:`read`."""
        return self._form(column)[1].format(type=column.type).replace("?", "\0")

    def _form(self, column: Column) -> tuple[str, str]:
        form = self.forms.get(column.data_type.lower()) or self.forms.get("*")
        if form is None:
            known = ", ".join(sorted(self.forms))
            raise DatabaseError(
                f"The key column {column.name} is of type {column.data_type}, whose values do not survive being read and "
                f"written back, or change by themselves; a key is of: {known}."
            )
        return form

    def compare(self, quoted: list[str], markers: list[str], operator: str, side: str) -> Sql:
        """Return the condition that the key is before or behind the value of a side.

        Parameters:
            quoted: the key's columns.
            markers: a marker for each.
            operator: ``>``, ``>=`` or ``<=``.
            side: the name of the value.
        """
        if len(quoted) == 1:
            return Sql(f"{quoted[0]} {operator} {markers[0]}", ((side, 0),))
        if self.row_values:
            left, right = ", ".join(quoted), ", ".join(markers)
            return Sql(f"({left}) {operator} ({right})", tuple((side, number) for number in range(len(quoted))))
        strict = operator[0]
        ways = []
        for depth, name in enumerate(quoted):
            equal = [Sql(f"{quoted[n]} = {markers[n]}", ((side, n),)) for n in range(depth)]
            own = operator if depth == len(quoted) - 1 else strict
            ways.append(join([*equal, Sql(f"{name} {own} {markers[depth]}", ((side, depth),))], " AND "))
        bound = Sql(f"{quoted[0]} {strict}= {markers[0]}", ((side, 0),))
        return bound + " AND (" + join(ways, " OR ") + ")"


_PLAIN = ("{column}", "?")
_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "integer", "bigint")

# Every type has a text that gives it back, with the settings of our sessions (ISO dates, enough digits, UTC).
POSTGRESQL = Keyset(row_values=True, forms={"*": ("{column}::text", "CAST(? AS {type})")})

# Python's own types are SQLite's.
SQLITE = Keyset(row_values=True, forms={"*": _PLAIN})

MYSQL = Keyset(
    forms={
        **dict.fromkeys((*_INTEGERS, "char", "varchar", "tinytext", "text"), _PLAIN),
        "decimal": ("CAST({column} AS CHAR(70))", "CAST(? AS {type})"),
        "date": ("CAST({column} AS CHAR(32))", "CAST(? AS DATE)"),
        # A TIMESTAMP is read in the session's zone, where an hour a year comes twice: it is no key.
        "datetime": ("CAST({column} AS CHAR(32))", "CAST(? AS DATETIME(6))"),
        "uuid": ("CAST({column} AS CHAR(36))", "CAST(? AS UUID)"),
        **dict.fromkeys(("binary", "varbinary"), ("HEX({column})", "UNHEX(?)")),
    },
    estimate="SELECT table_rows AS n FROM information_schema.tables WHERE table_schema = {schema} AND table_name = ?",
    indexes=(
        "SELECT index_name AS number, column_name AS name FROM information_schema.statistics"
        " WHERE table_schema = {schema} AND table_name = ? AND index_type = 'BTREE' ORDER BY index_name, seq_in_index"
    ),
    busy="SHOW GLOBAL STATUS LIKE 'Threads_running'",
)

_BY_STYLE_126 = ("CONVERT(varchar(40), {column}, 126)", "CAST(? AS {type})")
SQL_SERVER = Keyset(
    nth="OFFSET {offset} ROWS FETCH NEXT 1 ROWS ONLY",
    largest_batch=2000,
    forms={
        **dict.fromkeys(_INTEGERS, _PLAIN),
        # A parameter is nvarchar: without the cast a varchar column would be converted, and its index not used.
        **dict.fromkeys(("char", "varchar", "nchar", "nvarchar"), ("{column}", "CAST(? AS {type})")),
        "uniqueidentifier": ("CONVERT(char(36), {column})", "CAST(? AS uniqueidentifier)"),
        **dict.fromkeys(("decimal", "numeric"), ("CONVERT(varchar(60), {column})", "CAST(? AS {type})")),
        **dict.fromkeys(("date", "datetime", "smalldatetime", "datetime2", "datetimeoffset"), _BY_STYLE_126),
        **dict.fromkeys(("binary", "varbinary"), ("CONVERT(varchar(max), {column}, 2)", "CONVERT({type}, ?, 2)")),
    },
    default_schema="SCHEMA_NAME()",
    estimate=(
        "SELECT sum(p.rows) AS n FROM sys.partitions p JOIN sys.tables t ON t.object_id = p.object_id"
        " WHERE p.index_id IN (0, 1) AND t.schema_id = SCHEMA_ID({schema}) AND t.name = ?"
    ),
    indexes=(
        "SELECT k.index_id AS number, c.name AS name FROM sys.index_columns k"
        " JOIN sys.indexes i ON i.object_id = k.object_id AND i.index_id = k.index_id"
        " JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id"
        " JOIN sys.tables t ON t.object_id = k.object_id"
        " WHERE t.schema_id = SCHEMA_ID({schema}) AND t.name = ? AND k.key_ordinal > 0 AND i.type IN (1, 2)"
        " AND i.has_filter = 0 AND i.is_disabled = 0 ORDER BY k.index_id, k.key_ordinal"
    ),
)


def type_text(row: dict) -> str:
    """Return the type that CAST takes from a row of information_schema.columns."""
    name = row["data_type"]
    if name in ("char", "varchar", "nchar", "nvarchar", "binary", "varbinary"):
        length = row["character_maximum_length"]
        return f"{name}({'max' if length == -1 else length})"
    if name in ("decimal", "numeric"):
        return f"{name}({row['numeric_precision']}, {row['numeric_scale']})"
    if name in ("datetime2", "datetimeoffset"):
        return f"{name}({row['datetime_precision']})"
    return name


def table_parts(table: str) -> tuple[str, str]:
    """Return schema (empty for the default) and name of a table written as ``name`` or ``schema.name``."""
    schema, _dot, name = table.rpartition(".")
    return schema, name


def encode_key(values: list | None) -> str | None:
    """Return a key as JSON text that :func:`decode_key` turns back into exactly the same values.

    Raises:
        DatabaseError: a value is of a kind that JSON would change.
    """
    if values is None:
        return None
    return json.dumps([{"hex": value.hex()} if isinstance(value, bytes) else _exact(value) for value in values])


def decode_key(text: str | None) -> list | None:
    """Return the values of a key from :func:`encode_key`."""
    if text is None:
        return None
    return [bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for value in json.loads(text)]


def _exact(value):
    if isinstance(value, (int, float, str)) and not isinstance(value, bool) and not (isinstance(value, float) and isnan(value)):
        return value
    raise DatabaseError(f"A key holds {value!r}, a {type(value).__name__}, which cannot be kept as a watermark.")
