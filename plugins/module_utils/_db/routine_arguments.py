# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says whether two lists of a PostgreSQL routine's arguments are of the same types, however they are written."""

from __future__ import annotations

_ALIASES = {
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "bool": "boolean",
    "varchar": "character varying",
    "char": "character",
    "float4": "real",
    "float8": "double precision",
    "decimal": "numeric",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
}


def same_arguments(given: str, known: str) -> bool:
    """Return whether a script's arguments of a routine are those of the catalog; names may be left out, types be short.

    Parameters:
        given: as the script writes them.
        known: as pg_get_function_identity_arguments() does.
    """
    ours, theirs = _arguments(given), _arguments(known)
    return len(ours) == len(theirs) and all(
        mine == yours or yours.endswith(f" {mine}") or mine.endswith(f" {yours}") for mine, yours in zip(ours, theirs)
    )


def _arguments(text: str) -> list[str]:
    found = []
    for argument in text.lower().replace('"', "").split(","):
        words = argument.split()
        if words[:1] and words[0] in ("in", "inout", "variadic", "out"):
            mode, words = words[0], words[1:]
            if mode == "out":
                continue
        if words:
            words[-1] = _ALIASES.get(words[-1], words[-1])
            found.append(" ".join(words))
    return found
