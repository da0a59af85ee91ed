# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ALTER TABLE of MySQL and MariaDB: what is instant, what rebuilds the table, what copies it with writes blocked.

Source: the tables of online DDL operations in the manual of MySQL 8.0 and 8.4, and MariaDB's pages on ALGORITHM and LOCK.
"""

from __future__ import annotations

import re

from ..ask import action, exists, instant_add, instant_anywhere, is_nullable, known_type, promised_online
from ..data_types import INTEGER_BYTES, read_type
from ..facts import Fact
from ..rule import ERROR, MARIADB, MYSQLS, NOTICE, WARNING, Context, rule

_ONLINE = "ALTER TABLE {table} ..., ALGORITHM=INPLACE, LOCK=NONE;"
_NEXT = (
    "ALTER TABLE {table} ADD COLUMN {name}_next {type}, ALGORITHM=INSTANT;\n"
    "-- a trigger writes both, a backfill fills the old rows; contract drops {name}"
)
_COPY = (
    "CREATE TABLE {table}_next (...);\n"
    "-- triggers keep it in step, a backfill fills it; or an online tool (gh-ost, pt-online-schema-change) does both"
)
_VALUES = re.compile(r"'((?:[^']|'')*)'")


@rule(
    "modify-column-copy",
    ERROR,
    engines=MYSQLS,
    kinds=("alter_column",),
    scales=True,
    peers=("strong_migrations:change_column", "atlas:MY130", "atlas:MY143", "atlas:MY148"),
    why="""A new type, character set or collation of a column, or another expression of a generated one, copies the table:
    reads go on, writes wait until the copy is done. Spared is a VARCHAR that grows without passing 255 bytes, and what only
    changes the default, the comment or the name. MODIFY and CHANGE state the whole column, so that what they leave out is
    lost, and without a connection nobody can tell whether the type is another.""",
    instead={"mysql": _NEXT, "mariadb": _NEXT},
)
def modify_column_copy(fact: Fact, context: Context) -> str | None:
    if not fact.has("type") or not exists(fact, context) or promised_online(fact):
        return None
    new, old = fact.spec.type, known_type(fact, context)
    if read_type(new).name in ("ENUM", "SET"):
        return None
    if old and not fact.spec.has("collate", "generated") and "CHARACTER SET" not in new and _same_size(old, new):
        return None
    known = f"from {old.lower()} " if old else ""
    return f"stating {fact.name} {known}as {new.lower()} copies {fact.table} with writes blocked if that changes its type"


def _same_size(old: str, new: str) -> bool:
    before, after = read_type(old), read_type(new)
    if (before.name, before.rest) != (after.name, after.rest):
        return False
    sizes, limits = before.arguments, after.arguments
    if before.name == "VARCHAR" and sizes and limits:
        was, wanted = int(sizes[0]), int(limits[0])
        # utf8mb4 takes up to four bytes a character, and 255 bytes is where the length itself needs a second byte.
        return was == wanted or (was < wanted and (wanted * 4 <= 255 or was * 4 > 255))
    # The width of INT(11) is nothing but a hint to clients.
    return sizes == limits or before.name in INTEGER_BYTES


@rule(
    "modify-enum",
    WARNING,
    engines=MYSQLS,
    kinds=("alter_column",),
    scales=True,
    peers=tuple(f"atlas:MY{code}" for code in (110, 111, 112, 113, 120, 121, 122, 123)),
    why="""A new value at the end of an ENUM or SET is added at once. A value that goes, moves or comes in between gives the
    others new numbers, and so does the 256th of an ENUM or the 9th, 17th, 25th or 33rd of a SET, which needs another byte:
    the table is copied with writes blocked, and rows with a value that is gone fail or turn to ''.""",
    instead=dict.fromkeys(
        MYSQLS, "ALTER TABLE {table} MODIFY COLUMN {name} ENUM('old', 'values', 'then new'), ALGORITHM=INSTANT;"
    ),
)
def modify_enum(fact: Fact, context: Context) -> str | None:
    kind = read_type(fact.spec.type).name
    if not fact.has("type") or not kind.startswith(("ENUM", "SET")) or not exists(fact, context) or promised_online(fact):
        return None
    old = known_type(fact, context)
    if not old:
        return f"{fact.table} is copied unless the new values of {fact.name} stand at the end: assert ALGORITHM=INSTANT"
    had, has = ([value.upper() for value in _VALUES.findall(text)] for text in (old, fact.spec.type))
    if has[: len(had)] == had and _bytes(kind, len(had)) == _bytes(kind, len(has)):
        return None
    gone = [value for value in had if value not in has]
    why = f"{', '.join(gone)} goes" if gone else "values move" if has[: len(had)] != had else "it needs another byte"
    return f"{fact.table} is copied with writes blocked, because in {fact.name} {why}"


def _bytes(kind: str, values: int) -> int:
    if kind.startswith("ENUM"):
        return 1 if values < 256 else 2
    return min((values + 7) // 8, 5)


@rule(
    "alter-rebuilds-table",
    WARNING,
    engines=MYSQLS,
    kinds=("add_column", "drop_column", "alter_column", "maintenance", "alter_table"),
    scales=True,
    peers=("strong_migrations:add_column_default", "strong_migrations:change_column_null_mysql", "atlas:MY142", "atlas:MY147"),
    why="""The table is built anew. Reads and writes go on, but for as long as it takes the disk holds it twice, and a
    replica stands still behind it. Another nullability, ROW_FORMAT and OPTIMIZE always do so, on MySQL also FIRST and AFTER
    of an existing column; a new column that is not the last and DROP COLUMN do before MySQL 8.0.29 and MariaDB 10.4, any
    new column before MySQL 8.0.12 and MariaDB 10.3. NOT NULL fails on the first NULL, or without strict mode turns it to 0
    or ''.""",
    instead={
        "mysql": "-- refuses rather than rebuilds\nALTER TABLE {table} ..., ALGORITHM=INSTANT;",
        "mariadb": "-- refuses rather than rebuilds\nALTER TABLE {table} ..., ALGORITHM=INSTANT;",
    },
)
def alter_rebuilds_table(fact: Fact, context: Context) -> str | None:
    if not exists(fact, context) or fact.values.get("algorithm") == "INSTANT":
        return None
    what = _rebuilds(fact, context)
    return f"{what} rebuilds all of {fact.table}" if what else None


def _rebuilds(fact: Fact, context: Context) -> str | None:
    if fact.kind == "add_column":
        if fact.spec.has("generated", "identity"):
            return None
        if not instant_add(context):
            return f"on this version adding {fact.name}"
        if fact.spec.has("first", "after") and not instant_anywhere(context):
            return f"adding {fact.name} before other columns"
    elif fact.kind == "drop_column":
        return None if instant_anywhere(context) else f"on this version dropping {fact.name}"
    elif fact.kind == "alter_column":
        # MariaDB moves a column at once since it can add one anywhere; MySQL rebuilds for it still.
        is_moved = fact.has("first", "after") or fact.spec.has("first", "after")
        if is_moved and not (context.target.engine == MARIADB and instant_anywhere(context)):
            return f"moving {fact.name}"
        nullable = is_nullable(fact, context)
        if nullable is not None and fact.has("whole") and nullable == fact.spec.has("not_null"):
            return f"{'NOT NULL' if nullable else 'NULL'} for {fact.name}"
        if nullable is None and (fact.has("set_not_null") or (fact.has("whole") and fact.spec.has("not_null"))):
            return f"NOT NULL for {fact.name}, if it may be NULL now,"
    elif fact.kind == "maintenance":
        return "OPTIMIZE" if action(fact).startswith("OPTIMIZE") else None
    elif re.match(r"(ROW_FORMAT|KEY_BLOCK_SIZE|FORCE|ENGINE\s*=?\s*INNODB)\b", action(fact)):
        return action(fact)
    return None


@rule(
    "alter-copies-table",
    ERROR,
    engines=MYSQLS,
    kinds=("alter_table",),
    scales=True,
    peers=("atlas:MY136", "atlas:MY138", "atlas:MY139"),
    why="""Another character set or storage engine for the whole table, and partitioning it or ending that, copies it: reads
    go on, writes wait until every row is written again.""",
    instead={"mysql": _COPY, "mariadb": _COPY},
)
def alter_copies_table(fact: Fact, context: Context) -> str | None:
    if not exists(fact, context) or promised_online(fact):
        return None
    copies = r"(CONVERT TO|PARTITION BY|REMOVE PARTITIONING|COALESCE PARTITION|REORGANIZE PARTITION|ENGINE\s*=?\s*(?!INNODB)\w+)"
    if not re.match(copies, action(fact)):
        return None
    return f"{action(fact)[:40]} copies {fact.table} with writes blocked"


@rule(
    "drop-system-versioning",
    ERROR,
    engines=(MARIADB,),
    kinds=("alter_table",),
    peers=("atlas:MY146",),
    why="""DROP SYSTEM VERSIONING deletes every old version of every row, which nothing brings back, and rebuilds the
    table.""",
    instead={
        "mariadb": "CREATE TABLE {table}_history AS SELECT *, row_start, row_end FROM {table} FOR SYSTEM_TIME ALL;\n"
        "-- then, in contract\nALTER TABLE {table} DROP SYSTEM VERSIONING;"
    },
)
def drop_system_versioning(fact: Fact, context: Context) -> str | None:
    if not action(fact).startswith(("DROP SYSTEM VERSIONING", "DROP PARTITION")) or not exists(fact, context):
        return None
    if action(fact).startswith("DROP PARTITION"):
        return None
    return f"the history of {fact.table} is deleted"


_CLAUSES = (
    "add_column",
    "drop_column",
    "alter_column",
    "add_constraint",
    "drop_constraint",
    "create_index",
    "drop_index",
    "alter_table",
)


@rule(
    "alter-asks-for-copy",
    ERROR,
    engines=MYSQLS,
    kinds=_CLAUSES,
    scales=True,
    why="""ALGORITHM=COPY copies the table although the server might know better, LOCK=SHARED blocks writes and
    LOCK=EXCLUSIVE reads as well, for as long as the statement runs.""",
    instead=dict.fromkeys(MYSQLS, _ONLINE),
)
def alter_asks_for_copy(fact: Fact, context: Context) -> str | None:
    asked = [f"ALGORITHM={fact.values['algorithm']}"] if fact.values.get("algorithm") == "COPY" else []
    asked += [f"LOCK={fact.values['lock']}"] if fact.values.get("lock") in ("SHARED", "EXCLUSIVE") else []
    if not asked or not exists(fact, context) or not _is_first(fact, context):
        return None
    return f"{', '.join(asked)} blocks writes to {fact.table} until the statement is done"


@rule(
    "alter-without-algorithm",
    NOTICE,
    engines=MYSQLS,
    kinds=_CLAUSES,
    scales=True,
    why="""Without ALGORITHM and LOCK the server takes the best way it has, and where it has none copies the table with
    writes blocked, without a word. A statement that asserts what is expected of it fails instead, at once and with nothing
    changed.""",
    instead=dict.fromkeys(MYSQLS, "ALTER TABLE {table} ..., ALGORITHM=INSTANT;\n-- or\n" + _ONLINE),
)
def alter_without_algorithm(fact: Fact, context: Context) -> str | None:
    if fact.values.get("algorithm") or fact.values.get("lock") or not exists(fact, context) or not _is_first(fact, context):
        return None
    return f"nothing keeps this from copying {fact.table} if the server knows no better: assert ALGORITHM or LOCK"


def _is_first(fact: Fact, context: Context) -> bool:
    """Return whether it is the first clause of its statement, the one that speaks for all of them."""
    return next(other for other in context.script.facts if other.statement == fact.statement and other.kind in _CLAUSES) == fact
