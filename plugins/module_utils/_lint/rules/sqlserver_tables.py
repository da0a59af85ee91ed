# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQL Server: statements that rewrite or scan a table under a lock that stops everybody.

Facts relied on, from Microsoft Learn, "ALTER TABLE (Transact-SQL)": every ALTER TABLE takes Sch-M, which stops readers with
NOLOCK and under RCSI too; a NOT NULL column with a runtime constant default is metadata only on Enterprise and Azure, not
for LOB, xml, CLR and hierarchyid types, and elsewhere every row is updated; ALTER COLUMN WITH (ONLINE = ON) is Enterprise
from 2016 on; WITH NOCHECK leaves a constraint that the optimizer does not trust.
"""

from __future__ import annotations

import re

from ..ask import action, exists
from ..data_types import is_same, is_widening, read_type
from ..facts import Fact, bare, same_name
from ..rule import CONTRACT, ERROR, NOTICE, SQLSERVER, WARNING, Context, rule

_ENGINES = (SQLSERVER,)
_SCH_M = "It holds Sch-M on the table meanwhile, which stops every reader, also those with NOLOCK or under row versioning. "
# Defaults that have another value in each row; every other function is worked out once for the statement.
_BY_ROW = re.compile(r"(?i)\b(newid|newsequentialid|rand|next\s+value\s+for|crypt_gen_random)\b|\bdbo\s*\.")
_LARGE = ("XML", "TEXT", "NTEXT", "IMAGE", "GEOGRAPHY", "GEOMETRY", "HIERARCHYID", "SQL_VARIANT")


def _is_lob(data_type: str) -> bool:
    name, arguments, _rest = read_type(data_type)
    return name in _LARGE or arguments == ("MAX",)


@rule(
    "sqlserver-add-column-rewrites",
    ERROR,
    engines=_ENGINES,
    kinds=("add_column",),
    scales=True,
    why="Every row is updated, and logged, in the one statement. "
    + _SCH_M
    + "Only Enterprise and Azure keep a NOT NULL column with a "
    "runtime constant as its default in the metadata, and not for max, xml and CLR types.",
    instead={
        SQLSERVER: "ALTER TABLE {table} ADD {name} {type} NULL;\n"
        "ALTER TABLE {table} ADD CONSTRAINT DF_{name} DEFAULT ... FOR {name};  -- new rows have it from now on\n"
        "-- older rows by a backfill; NOT NULL in contract/"
    },
)
def add_column_rewrites(fact: Fact, context: Context) -> str | None:
    column = fact.spec
    if not exists(fact, context):
        return None
    if column.has("generated"):
        return (
            f"computed column {fact.name} is PERSISTED: it is worked out for every row of {fact.table}"
            if column.has("stored")
            else None
        )
    if column.has("identity"):
        return f"column {fact.name} numbers every row of {fact.table}"
    if not column.has("default") or not column.has("not_null", "with_values"):
        return None
    if _BY_ROW.search(column.default):
        return f"the default of {fact.name} has a value of its own for each row of {fact.table}"
    if _is_lob(column.type):
        return f"a column of type {column.type} with a default is written into every row of {fact.table}"
    if column.has("not_null") and not context.target.is_enterprise:
        edition = context.target.edition or "an edition that nobody told, taken for standard,"
        return f"NOT NULL with a default updates every row of {fact.table} on {edition.rstrip(',')}".replace(" ,", ",")
    if column.has("with_values") and not column.has("not_null"):
        return f"WITH VALUES writes the default into every row of {fact.table}"
    return None


@rule(
    "sqlserver-alter-column",
    ERROR,
    engines=_ENGINES,
    kinds=("alter_column",),
    scales=True,
    why="Another type is written into every row, NOT NULL reads every row. " + _SCH_M,
    instead={
        SQLSERVER: "ALTER TABLE {table} ALTER COLUMN {name} {type} WITH (ONLINE = ON);  -- Enterprise from 2016 on, Azure\n"
        "-- elsewhere a new column beside it, kept in step by a trigger and filled by a backfill"
    },
)
def alter_column(fact: Fact, context: Context) -> str | None:
    if not fact.has("whole") or not exists(fact, context):
        return None
    if fact.has("online") and (context.target.is_enterprise or not context.target.edition):
        return None
    before = context.column_before(fact.table, fact.name, fact)
    if before is None or not before.type:
        return f"ALTER COLUMN {fact.name} reads or writes every row of {fact.table}, unless it only makes room for longer values"
    if not is_same(before.type, fact.spec.type) and not _only_longer(before.type, fact.spec.type):
        return f"column {fact.name} goes from {before.type} to {fact.spec.type}, which reads every row of {fact.table}"
    if fact.has("set_not_null") and not before.has("not_null"):
        return f"NOT NULL on {fact.name} reads every row of {fact.table}"
    return None


def _only_longer(before: str, after: str) -> bool:
    """Return whether only the metadata changes: a variable length grows, but not to MAX."""
    old, new = read_type(before), read_type(after)
    is_variable = old.name == new.name and old.name in ("VARCHAR", "NVARCHAR", "VARBINARY")
    return is_variable and is_widening(before, after) and new.arguments != ("MAX",)


@rule(
    "sqlserver-rename-named-elsewhere",
    ERROR,
    engines=_ENGINES,
    kinds=("rename_object", "rename_column", "rename_table"),
    why="sp_rename changes the name and nothing else: procedures, views and triggers keep their text, and fail when "
    "they are next "
    "compiled. It takes Sch-M on the object.",
    instead={SQLSERVER: "-- change what still names {name} first: CREATE OR ALTER in expand/ or repeatable/"},
)
def rename_named_elsewhere(fact: Fact, context: Context) -> str | None:
    pattern = re.compile(rf"(?<![\w@#]){re.escape(bare(fact.name))}(?!\w)", re.IGNORECASE)
    modules = (context.live.modules if context.live else {}).items()
    users = [name for name, text in sorted(modules) if not same_name(name, fact.name) and pattern.search(text)]
    for script in context.repeatable:
        users += [f"{script.source}:{other.line}" for other in script.facts if pattern.search(other.values.get("body", ""))]
    return f"{fact.name} is renamed to {fact.to}, and its old name stands in {', '.join(users[:3])}" if users else None


@rule(
    "sqlserver-switch-partition",
    WARNING,
    engines=_ENGINES,
    kinds=("alter_table",),
    why="SWITCH takes Sch-M on both tables: it waits for every reader, and everybody behind it waits for it.",
    instead={
        SQLSERVER: "ALTER TABLE {table} SWITCH ... WITH (WAIT_AT_LOW_PRIORITY (MAX_DURATION = 1 MINUTES, "
        "ABORT_AFTER_WAIT = SELF));"
    },
)
def switch_partition(fact: Fact, context: Context) -> str | None:
    if not action(fact).startswith("SWITCH") or "WAIT_AT_LOW_PRIORITY" in action(fact) or not exists(fact, context):
        return None
    return f"SWITCH on {fact.table} without WAIT_AT_LOW_PRIORITY lets everybody queue up behind it"


@rule(
    "sqlserver-rebuild-table",
    ERROR,
    engines=_ENGINES,
    kinds=("alter_table",),
    scales=True,
    why="REBUILD writes the whole table again. Without ONLINE nobody reads or writes it meanwhile.",
    instead={SQLSERVER: "-- Enterprise and Azure:\n-- everup: transaction=none\nALTER TABLE {table} REBUILD WITH (ONLINE = ON);"},
)
def rebuild_table(fact: Fact, context: Context) -> str | None:
    if not action(fact).startswith("REBUILD") or not exists(fact, context) or re.search(r"ONLINE\s*=\s*ON", action(fact)):
        return None
    return f"the whole of {fact.table} is written again, and nobody gets at it meanwhile"


@rule(
    "sqlserver-trigger-switched-off",
    WARNING,
    engines=_ENGINES,
    kinds=("alter_table",),
    why="Whatever the trigger keeps in step is not kept while it is off, for every session; and a script that fails in "
    "between leaves it off.",
    instead={SQLSERVER: "-- let the trigger itself pass over the rows: IF SESSION_CONTEXT(N'migration') = 1 RETURN;"},
)
def trigger_switched_off(fact: Fact, context: Context) -> str | None:
    if not action(fact).startswith("DISABLE TRIGGER") or not exists(fact, context):
        return None
    return f"a trigger of {fact.table} is switched off for everybody"


@rule(
    "sqlserver-truncate",
    WARNING,
    engines=_ENGINES,
    phases=(CONTRACT,),
    kinds=("truncate", "checkident"),
    why="TRUNCATE takes Sch-M and resets the IDENTITY; a reseeded IDENTITY hands out numbers that are taken, or leaves a hole.",
    instead={SQLSERVER: "-- DELETE TOP (2000) FROM {table} as a backfill, or DROP TABLE {table} where nobody needs it"},
)
def truncate(fact: Fact, context: Context) -> str | None:
    if not exists(fact, context) or (fact.kind == "checkident" and not fact.has("reseed")):
        return None
    return f"{fact.table} is {'emptied' if fact.kind == 'truncate' else 'reseeded'} while users are on it"


@rule(
    "sqlserver-identity-reseed",
    WARNING,
    engines=_ENGINES,
    phases=("expand", "repeatable"),
    kinds=("checkident",),
    why="A lower seed hands out numbers that are taken: the old version's INSERTs fail, or two rows mean the same to "
    "somebody outside.",
    instead={SQLSERVER: "-- leave the IDENTITY alone; a new range belongs to a new table or a SEQUENCE"},
)
def identity_reseed(fact: Fact, context: Context) -> str | None:
    if not fact.has("reseed") or not exists(fact, context):
        return None
    return f"the IDENTITY of {fact.table} is reseeded while both versions insert"


@rule(
    "sqlserver-drop-column-leaves-room",
    NOTICE,
    engines=_ENGINES,
    phases=(CONTRACT,),
    kinds=("drop_column",),
    why="DROP COLUMN changes the metadata alone: a fixed-length column's room in each row comes back only when the "
    "table is rebuilt.",
    instead={SQLSERVER: "-- later, in a quiet hour: ALTER INDEX ALL ON {table} REBUILD WITH (ONLINE = ON);"},
)
def drop_column_leaves_room(fact: Fact, context: Context) -> str | None:
    before = context.column_before(fact.table, fact.name, fact)
    if before is None or not re.match(r"CHAR|NCHAR|BINARY", before.type):
        return None
    return f"the room of {fact.name} ({before.type}) stays in every row of {fact.table}"
