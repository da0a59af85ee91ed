# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Columns: which of them the server adds or changes at once, and which it pays for with the whole table."""

from __future__ import annotations

from ..ask import (
    above,
    exists,
    is_expression,
    is_nullable,
    is_serial,
    is_volatile,
    known_type,
    promised_online,
    proves_not_null,
)
from ..data_types import is_stored_alike
from ..facts import Fact
from ..rule import ERROR, MYSQLS, POSTGRESQL, SQLITE, Context, rule

_BACKFILL = """ALTER TABLE {table} ADD COLUMN {name} {type};
-- new rows get it from the default, old ones from a backfill
ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT ...;"""


@rule(
    "add-column-volatile-default",
    ERROR,
    engines=(POSTGRESQL, *MYSQLS),
    kinds=("add_column",),
    scales=True,
    peers=(
        "squawk:adding-field-with-default",
        "strong_migrations:add_column_default",
        "strong_migrations:add_column_default_callable",
        "atlas:PG302",
    ),
    why="""A default that is the same for all rows is kept in the catalog, and no row is touched (PostgreSQL 11, MySQL
    8.0.12, MariaDB 10.3). One that differs from row to row, like random() or gen_random_uuid(), has to be written into
    each: PostgreSQL rewrites the table under an ACCESS EXCLUSIVE lock, MySQL and MariaDB copy it with writes blocked, and
    with statement-based replication each replica makes up values of its own. PostgreSQL 10 rewrites for every default.""",
    instead={"postgresql": _BACKFILL, "mysql": _BACKFILL, "mariadb": _BACKFILL},
)
def add_column_volatile_default(fact: Fact, context: Context) -> str | None:
    column = fact.spec
    if not column.default or column.has("generated", "identity") or not exists(fact, context) or promised_online(fact):
        return None
    if context.target.engine in MYSQLS:
        if not is_expression(column.default):
            return None
        return f"the default of {fact.name} differs from row to row, so {fact.table} is copied with writes blocked"
    if is_volatile(column.default):
        return f"the default of {fact.name} may differ from row to row, so {fact.table} is rewritten while nobody can use it"
    if context.target.before(11) and column.default.strip().upper() != "NULL":
        return f"before version 11 a default rewrites {fact.table} while nobody can use it"
    return None


@rule(
    "add-column-stored-generated",
    ERROR,
    engines=(POSTGRESQL, *MYSQLS),
    kinds=("add_column",),
    scales=True,
    peers=(
        "squawk:adding-field-with-default",
        "strong_migrations:add_column_generated_stored",
        "atlas:PG309",
        "atlas:MY140",
    ),
    why="""A stored generated column is worked out for every row at once: PostgreSQL rewrites the table under an ACCESS
    EXCLUSIVE lock, MySQL and MariaDB copy it with writes blocked. A virtual one (PostgreSQL 18, MySQL, MariaDB) costs
    nothing; elsewhere an ordinary column that a trigger keeps and a backfill fills does the same.""",
    instead={
        "postgresql": "ALTER TABLE {table} ADD COLUMN {name} {type};\n-- a trigger keeps it for new rows, a backfill the old",
        "mysql": "ALTER TABLE {table} ADD COLUMN {name} {type} AS (...) VIRTUAL, ALGORITHM=INSTANT;",
        "mariadb": "ALTER TABLE {table} ADD COLUMN {name} {type} AS (...) VIRTUAL, ALGORITHM=INSTANT;",
    },
)
def add_column_stored_generated(fact: Fact, context: Context) -> str | None:
    if not (fact.spec.has("generated") and fact.spec.has("stored")) or not exists(fact, context) or promised_online(fact):
        return None
    if context.target.engine in MYSQLS:
        return f"the stored column {fact.name} copies {fact.table} with writes blocked"
    return f"the stored column {fact.name} rewrites {fact.table} while nobody can read or write it"


@rule(
    "add-column-numbered",
    ERROR,
    engines=(POSTGRESQL, *MYSQLS),
    kinds=("add_column",),
    scales=True,
    peers=("strong_migrations:add_column_auto_incrementing", "atlas:PG310", "atlas:MY141"),
    why="""A serial, identity or AUTO_INCREMENT column gives each old row a number at once: PostgreSQL rewrites the table
    under an ACCESS EXCLUSIVE lock, MySQL and MariaDB rebuild it with writes blocked, and replicas may number the rows
    differently.""",
    instead={
        "postgresql": "ALTER TABLE {table} ADD COLUMN {name} bigint;\nCREATE SEQUENCE {name}_seq OWNED BY {table}.{name};\n"
        "ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT nextval('{name}_seq');\n-- old rows by a backfill",
        "mysql": "ALTER TABLE {table} ADD COLUMN {name} bigint, ALGORITHM=INSTANT;\n-- old rows by a backfill",
        "mariadb": "ALTER TABLE {table} ADD COLUMN {name} bigint, ALGORITHM=INSTANT;\n-- old rows by a backfill",
    },
)
def add_column_numbered(fact: Fact, context: Context) -> str | None:
    if not is_serial(fact.spec) or not exists(fact, context) or promised_online(fact):
        return None
    blocked = "with writes blocked" if context.target.engine in MYSQLS else "while nobody can read or write it"
    return f"numbering the rows in {fact.name} rewrites {fact.table} {blocked}"


@rule(
    "set-not-null-scan",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("alter_column",),
    scales=True,
    peers=(
        "squawk:adding-not-nullable-field",
        "strong_migrations:change_column_null_postgresql",
        "strong_migrations:change_column_null",
        "strong_migrations:change_column_with_not_null",
        "atlas:PG303",
        "atlas:MF104",
    ),
    why="""SET NOT NULL reads the whole table under an ACCESS EXCLUSIVE lock, and fails on the first NULL. From version 12
    on it reads nothing where a valid CHECK (column IS NOT NULL) proves that there is none; from 18 on NOT NULL itself can
    be added NOT VALID.""",
    instead={
        "postgresql": "ALTER TABLE {table} ADD CONSTRAINT {name}_set CHECK ({name} IS NOT NULL) NOT VALID;\n"
        "-- in the next script\nALTER TABLE {table} VALIDATE CONSTRAINT {name}_set;\n"
        "-- and in the one behind it\nALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL;\n"
        "ALTER TABLE {table} DROP CONSTRAINT {name}_set;",
    },
)
def set_not_null_scan(fact: Fact, context: Context) -> str | None:
    if not fact.has("set_not_null") or not exists(fact, context) or is_nullable(fact, context) is False:
        return None
    if not context.target.before(12) and proves_not_null(fact, context, fact.name):
        return None
    return f"SET NOT NULL reads all of {fact.table} while nobody else can, and fails if {fact.name} is NULL anywhere"


@rule(
    "change-type-rewrite",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("alter_column",),
    scales=True,
    peers=(
        "squawk:changing-column-type",
        "strong_migrations:change_column",
        "strong_migrations:change_column_constraint",
        "atlas:PG301",
    ),
    why="""A new type rewrites the table and each index of the column under an ACCESS EXCLUSIVE lock: nobody reads or writes
    it meanwhile, and checks on the column are proven again. Spared are varchar to text or to a longer varchar, numeric to
    one with more digits and the same scale, times and intervals to more precision, cidr to inet, and timestamp to
    timestamptz in a session whose time zone is UTC (12 and later). Even then the running version may not expect the new
    type.""",
    instead={
        "postgresql": "ALTER TABLE {table} ADD COLUMN {name}_next {type};\n"
        "-- a trigger writes both, a backfill fills the old rows; the new version reads {name}_next, contract drops {name}",
    },
)
def change_type_rewrite(fact: Fact, context: Context) -> str | None:
    if not fact.has("type") or not exists(fact, context):
        return None
    old, new = known_type(fact, context), fact.spec.type
    if old and new and not fact.values.get("using") and not fact.spec.has("collate"):
        utc = any(
            other.kind == "set" and other.name in ("TIMEZONE", "TIME") and "UTC" in other.to for other in above(fact, context)
        )
        if is_stored_alike(old, new, utc=utc):
            return None
    was = f" from {old.lower()}" if old else ""
    return f"changing {fact.name}{was} to {new.lower() or 'another type'} rewrites {fact.table} while nobody can read or write it"


@rule(
    "change-generated-expression",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("alter_column",),
    scales=True,
    peers=("squawk:ban-alter-generated-expression", "squawk:ban-drop-generated-expression"),
    why="""SET EXPRESSION (17 and later) works the column out anew for every row, under an ACCESS EXCLUSIVE lock, and the
    running version reads other values from then on. DROP EXPRESSION is done at once, but nobody keeps the column up to date
    any more.""",
    instead={
        "postgresql": "ALTER TABLE {table} ADD COLUMN {name}_next {type};\n"
        "-- a trigger keeps it, a backfill fills it, the new version reads it; {name} goes in contract",
    },
)
def change_generated_expression(fact: Fact, context: Context) -> str | None:
    if not exists(fact, context):
        return None
    if fact.has("drop_expression"):
        return f"{fact.name} is no longer worked out: the running version reads values that nobody keeps up to date"
    if fact.has("set_expression"):
        return f"another expression for {fact.name} rewrites {fact.table} and gives the running version other values"
    return None


@rule(
    "sqlite-add-column-refused",
    ERROR,
    engines=(SQLITE,),
    kinds=("add_column",),
    why="""SQLite's ADD COLUMN takes no PRIMARY KEY, no UNIQUE, no stored generated column and, in a table with rows, no
    default that has to be worked out, such as CURRENT_TIMESTAMP. With foreign keys on, a column with REFERENCES must be
    NULL by default.""",
    instead={
        "sqlite": "ALTER TABLE {table} ADD COLUMN {name} {type};\n-- fill it by a backfill, then\n"
        "CREATE UNIQUE INDEX {table}_{name} ON {table} ({name});"
    },
)
def sqlite_add_column_refused(fact: Fact, context: Context) -> str | None:
    column = fact.spec
    default = column.default.strip().upper()
    refused = None
    if column.has("primary_key", "unique"):
        refused = "a PRIMARY KEY or UNIQUE column"
    elif column.has("generated") and column.has("stored"):
        refused = "a stored generated column"
    elif default.startswith(("CURRENT_", "(")):
        refused = "a default that is worked out"
    elif (column.references or column.has("references")) and default not in ("", "NULL"):
        refused = "a reference with a default"
    return f"SQLite refuses to add {refused}: {fact.name}" if refused else None


@rule(
    "sqlite-version-refuses",
    ERROR,
    engines=(SQLITE,),
    kinds=("rename_column", "drop_column"),
    why="""SQLite knows RENAME COLUMN from 3.25 on and DROP COLUMN from 3.35 on. The library that counts is the one of the
    Python that runs the script, on the host of the database.""",
    instead={"sqlite": "-- leave the column alone until the host has a newer library: SELECT sqlite_version();"},
)
def sqlite_version_refuses(fact: Fact, context: Context) -> str | None:
    since = (3, 25) if fact.kind == "rename_column" else (3, 35)
    if not context.target.before(*since):
        return None
    return f"this SQLite is older than {since[0]}.{since[1]}, which brought {fact.kind.replace('_', ' ').upper()}"
