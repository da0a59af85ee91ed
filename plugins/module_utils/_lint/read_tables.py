# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads CREATE TABLE and DROP TABLE."""

from __future__ import annotations

from .collect import Collector
from .read_columns import is_constraint, read_column, read_constraint
from .read_query import reads_of
from .tokens import Cursor, Token, split_commas, text_of

_TEMPORARY = ("TEMP", "TEMPORARY")


def read_create_table(cursor: Cursor, out: Collector, at: Token, flags: tuple = ()) -> None:
    """Read what stands behind CREATE ... TABLE."""
    flags += cursor.take_if_exists()
    name = cursor.name()
    if name.startswith(("#", "@")):
        flags += ("temporary",)
    columns, constraints = [], []
    body = cursor.group()
    for part in split_commas(body or []):
        inner = Cursor(part)
        if is_constraint(inner):
            constraint = read_constraint(inner)
            constraints.append({"name": constraint.name, "flags": list(constraint.flags), **constraint.values()})
        elif not inner.at_end:
            columns.append(read_column(inner).as_dict())
        cursor.doubtful |= inner.doubtful
    tail = cursor.rest()
    rest = Cursor(tail)
    if rest.has("SELECT") and (rest.has("AS") or out.engine in ("mysql", "mariadb")):
        flags += ("as_select",)
    if (body is None and rest.peek("LIKE")) or rest.peek("AS"):
        flags += () if "as_select" in flags else ("like",)
    elif body is None and not rest.peek("PARTITION", "OF") and "as_select" not in flags:
        cursor.doubtful = True
    out.add(
        "create_table",
        at,
        name,
        name,
        flags=flags,
        columns=columns,
        constraints=constraints,
        reads=reads_of(tail),
        tail=text_of(tail).upper(),
    )


def read_drop_table(cursor: Cursor, out: Collector, at: Token, flags: tuple = ()) -> None:
    """Read what stands behind DROP TABLE."""
    flags += cursor.take_if_exists()
    names = [Cursor(part).name() for part in split_commas(cursor.until("CASCADE", "RESTRICT", "WAIT", "NOWAIT"))]
    flags += ("cascade",) if cursor.take("CASCADE") else ()
    for name in names:
        out.add("drop_table", at, name, name, flags=flags + (("temporary",) if name.startswith("#") else ()))
