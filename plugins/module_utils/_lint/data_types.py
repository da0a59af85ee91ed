# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data types: one name for each, whether one holds everything that another does, and whether it is stored the same way."""

from __future__ import annotations

import re
from typing import NamedTuple

_TYPE = re.compile(
    r"(?P<name>[^()]+?)\s*(?:\((?P<arguments>(?:'(?:[^']|'')*'|[^()'])*)\))?\s*"
    r"(?P<zone>WITH(?:OUT)? TIME ZONE)?\s*(?P<signs>(?:(?:UN)?SIGNED|ZEROFILL|\s)*)(?P<array>\[.*\])?"
)
_ALIASES = {
    "BIT VARYING": "VARBIT",
    "BOOL": "BOOLEAN",
    "BPCHAR": "CHAR",
    "CHAR VARYING": "VARCHAR",
    "CHARACTER": "CHAR",
    "CHARACTER VARYING": "VARCHAR",
    "DEC": "NUMERIC",
    "DECIMAL": "NUMERIC",
    "DOUBLE": "DOUBLE PRECISION",
    "FLOAT4": "REAL",
    "FLOAT8": "DOUBLE PRECISION",
    "INT": "INTEGER",
    "INT2": "SMALLINT",
    "INT4": "INTEGER",
    "INT8": "BIGINT",
    "NATIONAL VARCHAR": "NVARCHAR",
    "SERIAL2": "SMALLSERIAL",
    "SERIAL4": "SERIAL",
    "SERIAL8": "BIGSERIAL",
    "TIME WITH TIME ZONE": "TIMETZ",
    "TIME WITHOUT TIME ZONE": "TIME",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ",
    "TIMESTAMP WITHOUT TIME ZONE": "TIMESTAMP",
}
SERIALS = ("SERIAL", "BIGSERIAL", "SMALLSERIAL")
INTEGER_BYTES = {
    "TINYINT": 1, "SMALLINT": 2, "SMALLSERIAL": 2, "MEDIUMINT": 3, "INTEGER": 4, "SERIAL": 4, "BIGINT": 8, "BIGSERIAL": 8,
}  # fmt: skip
_UNBOUNDED = 1 << 40
_TEXTS = {"VARCHAR": "char", "NVARCHAR": "nchar", "VARBINARY": "binary"}
_LONG_TEXTS = {"TEXT": "char", "TINYTEXT": "char", "MEDIUMTEXT": "char", "LONGTEXT": "char", "NTEXT": "nchar"}
_LONG_SIZES = {"TINYTEXT": 255, "MEDIUMTEXT": 16_777_215}
_BY_LENGTH = ("TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT")  # of MySQL; that TEXT holds the most elsewhere does not matter here
# More digits of a second, or more bytes, hold everything that fewer do.
_GROWING = ("BINARY", "DATETIME", "DATETIME2", "DATETIMEOFFSET", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "TIMETZ")
_HELD_BY_ANOTHER = (
    ("REAL", "DOUBLE PRECISION"),
    ("DATE", "DATETIME"),
    ("SMALLDATETIME", "DATETIME2"),
    ("DATETIME", "DATETIME2"),
)


class DataType(NamedTuple):
    """A type as read from its text, in upper case.

    Attributes:
        name: one for all the names that mean it, with the brackets of an array: ``INTEGER``, ``TIMESTAMPTZ``, ``TEXT[]``.
        arguments: what stands in its parentheses: ``("10", "2")``.
        rest: ``UNSIGNED`` or ``UNSIGNED ZEROFILL``.
    """

    name: str
    arguments: tuple[str, ...] = ()
    rest: str = ""


def read_type(text: str) -> DataType:
    """Read a type; what cannot be taken apart is a name as a whole."""
    text = " ".join(text.upper().replace('"', "").split())
    match = _TYPE.fullmatch(text)
    if match is None:
        return DataType(text)
    name = _ALIASES.get(match["name"], match["name"])
    if match["zone"]:
        name = _ALIASES.get(f"{name} {match['zone']}", f"{name} {match['zone']}")
    arguments = (part.strip() for part in (match["arguments"] or "").split(","))
    return DataType(name + (match["array"] or ""), tuple(part for part in arguments if part), match["signs"].strip())


def is_same(one: str, other: str) -> bool:
    """Return whether two ways to write a type mean the same one."""
    return _comparable(read_type(one)) == _comparable(read_type(other))


def _comparable(data_type: DataType) -> tuple:
    if data_type.name in INTEGER_BYTES:
        return INTEGER_BYTES[data_type.name], "UNSIGNED" in data_type.rest  # a display width means nothing
    return data_type


def is_widening(before: str, after: str) -> bool:
    """Return whether every value of a type fits the other one unchanged, so that code which knows the first goes on working."""
    if is_same(before, after):
        return True
    old, new = read_type(before), read_type(after)
    if old.name in INTEGER_BYTES and new.name in INTEGER_BYTES:
        is_longer = INTEGER_BYTES[new.name] >= INTEGER_BYTES[old.name]
        return is_longer and ("UNSIGNED" in old.rest) == ("UNSIGNED" in new.rest)
    if old.name in _BY_LENGTH and new.name in _BY_LENGTH:
        return _BY_LENGTH.index(new.name) >= _BY_LENGTH.index(old.name)
    if _text(old.name) and _text(old.name) == _text(new.name):
        return _length(new) >= _length(old)
    if old.name == new.name == "NUMERIC":
        return _digits(new.arguments) >= _digits(old.arguments) and _scale(new.arguments) >= _scale(old.arguments)
    if old.name == new.name and old.name in _GROWING:
        return _number(new.arguments, 7) >= _number(old.arguments, 7)
    return (old.name, new.name) in _HELD_BY_ANOTHER


def is_stored_alike(before: str, after: str, utc: bool = False) -> bool:
    """Return whether PostgreSQL takes the new type without touching the rows: they are stored the same way and all fit.

    Source: ALTER TABLE's notes on binary coercible types, and the transform functions of varchar, varbit, numeric, the times
    and interval.

    Parameters:
        utc: the session's time zone is UTC.
    """
    (old, sizes, _rest), (new, limits, _rest) = read_type(before), read_type(after)
    if old == new and sizes == limits:
        return True
    if new == "TEXT":
        return old in ("VARCHAR", "TEXT", "CITEXT")
    if new == "VARCHAR":
        return old in ("VARCHAR", "TEXT") and _has_room(sizes, limits) and not (old == "TEXT" and limits)
    if new in ("VARBIT", "INTERVAL", "TIMESTAMP", "TIMESTAMPTZ", "TIME", "TIMETZ"):
        moved = {old, new} == {"TIMESTAMP", "TIMESTAMPTZ"} and utc
        return (old == new or moved) and _has_room(sizes, limits)
    if new == "NUMERIC":
        return old == "NUMERIC" and _has_room(sizes, limits) and (not limits or _scale(sizes) == _scale(limits))
    return (old, new) == ("CIDR", "INET")


def _has_room(sizes: tuple[str, ...], limits: tuple[str, ...]) -> bool:
    return not limits or (bool(sizes) and _number(limits, 0) >= _number(sizes, 0))


def _text(name: str) -> str:
    return _TEXTS.get(name) or _LONG_TEXTS.get(name, "")


def _number(arguments: tuple[str, ...], otherwise: int) -> int:
    """Return the first argument, 0 when it is no number."""
    if not arguments:
        return otherwise
    return int(arguments[0]) if arguments[0].isdecimal() else 0


def _length(data_type: DataType) -> int:
    if data_type.name in _LONG_TEXTS:
        return _LONG_SIZES.get(data_type.name, _UNBOUNDED)
    if not data_type.arguments or data_type.arguments[0] == "MAX":
        return _UNBOUNDED
    return _number(data_type.arguments, 0)


def _scale(arguments: tuple[str, ...]) -> int:
    return int(arguments[1]) if len(arguments) > 1 and arguments[1].lstrip("-").isdecimal() else 0


def _digits(arguments: tuple[str, ...]) -> int:
    """Return the digits before the point."""
    return int(arguments[0]) - _scale(arguments) if arguments and arguments[0].isdecimal() else _UNBOUNDED
