# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether one data type holds everything that another one does: what a column may become while old code uses it."""

from __future__ import annotations

import re

_TYPE = re.compile(r"(?P<base>[^()]+)(?:\((?P<arguments>[^)]*)\)(?P<rest>[^()]*))?")
_UNBOUNDED = 1 << 40
_INTEGERS = {
    "TINYINT": 1, "SMALLINT": 2, "INT2": 2, "SMALLSERIAL": 2, "MEDIUMINT": 3, "INT": 4, "INTEGER": 4, "INT4": 4, "SERIAL": 4,
    "BIGINT": 8, "INT8": 8, "BIGSERIAL": 8,
}  # fmt: skip
_TEXTS = {
    "VARCHAR": "char", "CHARACTER VARYING": "char", "CHAR VARYING": "char", "NVARCHAR": "nchar", "NATIONAL VARCHAR": "nchar",
    "VARBINARY": "binary",
}  # fmt: skip
_LONG_TEXTS = {"TEXT": "char", "TINYTEXT": "char", "MEDIUMTEXT": "char", "LONGTEXT": "char", "NTEXT": "nchar"}
_LONG_SIZES = {"TINYTEXT": 255, "TEXT": 65_535, "MEDIUMTEXT": 16_777_215}
_BY_LENGTH = ("TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT")  # of MySQL; that TEXT holds the most elsewhere does not matter here
_SYNONYMS = {
    "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITHOUT TIME ZONE": "TIMESTAMP", "BOOL": "BOOLEAN",
    "DECIMAL": "NUMERIC", "DEC": "NUMERIC", "FLOAT8": "DOUBLE PRECISION",
    "DOUBLE": "DOUBLE PRECISION", "FLOAT4": "REAL", "CHARACTER": "CHAR",
    "TIME WITHOUT TIME ZONE": "TIME",
}  # fmt: skip


def parts(data_type: str) -> tuple[str, list[str], str]:
    """Return a type's name, its arguments, and what stands behind them, all in upper case: ``('VARCHAR', ['50'], '')``."""
    match = _TYPE.fullmatch(data_type.upper().strip())
    if match is None:
        return data_type.upper().strip(), [], ""
    base, rest = " ".join(match["base"].split()), (match["rest"] or "").strip()
    for word in (" ZEROFILL", " UNSIGNED"):
        if base.endswith(word):
            base, rest = base.removesuffix(word), f"{word.strip()} {rest}".strip()
    arguments = [part.strip() for part in (match["arguments"] or "").split(",") if part.strip()]
    full = f"{base} {rest}".strip() if rest.startswith(("WITH", "WITHOUT")) else base
    return _SYNONYMS.get(full, full), arguments, "" if full != base else rest


def is_same(one: str, other: str) -> bool:
    """Return whether two ways to write a type mean the same one."""
    return _normal(one) == _normal(other)


def _normal(data_type: str) -> tuple:
    base, arguments, rest = parts(data_type)
    if base in _INTEGERS:
        return _INTEGERS[base], "UNSIGNED" in rest  # a display width means nothing
    if base in _TEXTS:
        return _TEXTS[base], tuple(arguments)
    return base, tuple(arguments), rest


def is_widening(before: str, after: str) -> bool:
    """Return whether every value of a type fits the other one unchanged, so that code which knows the first goes on working."""
    if is_same(before, after):
        return True
    old, old_arguments, old_rest = parts(before)
    new, new_arguments, new_rest = parts(after)
    if old in _INTEGERS and new in _INTEGERS:
        return _INTEGERS[new] >= _INTEGERS[old] and ("UNSIGNED" in old_rest) == ("UNSIGNED" in new_rest)
    if old in _BY_LENGTH and new in _BY_LENGTH:
        return _BY_LENGTH.index(new) >= _BY_LENGTH.index(old)
    if _text(old) and _text(old) == _text(new):
        return _length(new, new_arguments) >= _length(old, old_arguments)
    if old == new == "NUMERIC":
        return _digits(new_arguments) >= _digits(old_arguments) and _scale(new_arguments) >= _scale(old_arguments)
    if old == new and old in (
        "TIMESTAMP",
        "TIMESTAMP WITH TIME ZONE",
        "TIME",
        "DATETIME2",
        "DATETIMEOFFSET",
        "DATETIME",
        "BINARY",
    ):
        return _number(new_arguments, 7) >= _number(old_arguments, 7)
    return (old, new) in (
        ("REAL", "DOUBLE PRECISION"),
        ("DATE", "DATETIME"),
        ("SMALLDATETIME", "DATETIME2"),
        ("DATETIME", "DATETIME2"),
    )


def _text(base: str) -> str:
    return _TEXTS.get(base) or _LONG_TEXTS.get(base, "")


def _number(arguments: list[str], otherwise: int) -> int:
    """Return the first argument, 0 when it is no number."""
    if not arguments:
        return otherwise
    return int(arguments[0]) if arguments[0].isdecimal() else 0


def _length(base: str, arguments: list[str]) -> int:
    if base in _LONG_TEXTS:
        return _LONG_SIZES.get(base, _UNBOUNDED) if base != "TEXT" else _UNBOUNDED
    if not arguments or arguments[0] == "MAX":
        return _UNBOUNDED
    return _number(arguments, 0)


def _scale(arguments: list[str]) -> int:
    return int(arguments[1]) if len(arguments) > 1 and arguments[1].lstrip("-").isdecimal() else 0


def _digits(arguments: list[str]) -> int:
    """Return the digits before the point."""
    return int(arguments[0]) - _scale(arguments) if arguments and arguments[0].isdecimal() else _UNBOUNDED
