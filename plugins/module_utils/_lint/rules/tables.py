# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tables as a whole: emptied, rewritten, swapped, locked, changed row by row."""

from __future__ import annotations

import re

from ..ask import above, action, exists, is_keyed, opens_table
from ..facts import Fact, same_name
from ..rule import ENGINES, ERROR, MYSQLS, NOTICE, POSTGRESQL, SQLITE, WARNING, Context, rule

_BACKFILL = dict.fromkeys(
    ENGINES,
    "-- a file in backfill/: small batches by the key, with pauses, that go on where they were stopped\n"
    "-- table: {table}\n-- key: id\n-- set:\n--   a: ...\n-- where: a IS NULL",
)


@rule(
    "truncate-cascade",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("truncate",),
    peers=("squawk:ban-truncate-cascade",),
    why="""CASCADE empties every table that has a foreign key to this one, and those that have one to them, also such as
    came along after the script was written.""",
    instead={"postgresql": "TRUNCATE {table}, every_other_table_by_name;"},
)
def truncate_cascade(fact: Fact, context: Context) -> str | None:
    return f"whatever refers to {fact.table} is emptied with it: name the tables" if fact.has("cascade") else None


@rule(
    "rewrite-table",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("alter_table",),
    scales=True,
    peers=("atlas:PG307", "atlas:PG311"),
    why="""SET LOGGED, SET UNLOGGED, SET ACCESS METHOD and SET TABLESPACE write the whole table again under an ACCESS
    EXCLUSIVE lock: nobody reads or writes it until that is done.""",
    instead={"postgresql": "CREATE TABLE {table}_next (LIKE {table} INCLUDING ALL) TABLESPACE fast;\n-- then backfill it"},
)
def rewrite_table(fact: Fact, context: Context) -> str | None:
    found = re.match(r"SET (LOGGED|UNLOGGED|ACCESS METHOD|TABLESPACE)\b", action(fact))
    if not found or not exists(fact, context):
        return None
    return f"{found.group()} writes all of {fact.table} again while nobody can read or write it"


@rule(
    "vacuum-full",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("maintenance",),
    scales=True,
    peers=("squawk:prefer-repack",),
    why="""VACUUM FULL, CLUSTER and REPACK write the table and its indexes again under an ACCESS EXCLUSIVE lock. Plain
    VACUUM makes the room usable again while everybody works; the pg_repack and pg_squeeze extensions shrink a table
    online.""",
    instead={"postgresql": "-- everup: transaction=none\nVACUUM (ANALYZE) {table};"},
)
def vacuum_full(fact: Fact, context: Context) -> str | None:
    if not re.match(r"VACUUM\b.*\bFULL\b|CLUSTER\b|REPACK\b(?!.*CONCURRENTLY)", action(fact)):
        return None
    if fact.table and not exists(fact, context):
        return None
    return f"{action(fact).split()[0]} writes all of {fact.table or 'every table'} again while nobody can read or write it"


@rule(
    "detach-partition-blocking",
    WARNING,
    engines=(POSTGRESQL,),
    kinds=("alter_table",),
    peers=("squawk:require-concurrent-partition-detach",),
    why="""DETACH PARTITION takes an ACCESS EXCLUSIVE lock on the whole partitioned table, and everybody queues behind it.
    From version 14 on CONCURRENTLY does without; it cannot run in a transaction, nor where there is a default partition.""",
    instead={"postgresql": "-- everup: transaction=none\nALTER TABLE {table} DETACH PARTITION {name} CONCURRENTLY;"},
)
def detach_partition_blocking(fact: Fact, context: Context) -> str | None:
    if not action(fact).startswith("DETACH PARTITION") or context.target.before(14) or not exists(fact, context):
        return None
    if re.search(r"\b(CONCURRENTLY|FINALIZE)\b", action(fact)) or fact.has("concurrently"):
        return None
    return f"everybody who uses {fact.table} queues behind this: detach CONCURRENTLY"


@rule(
    "attach-partition-scan",
    WARNING,
    engines=(POSTGRESQL,),
    kinds=("alter_table",),
    scales=True,
    why="""ATTACH PARTITION reads the whole new partition, under an ACCESS EXCLUSIVE lock on it, to see that its rows belong
    there, and the default partition, if there is one, to see that none of its rows do. A valid CHECK that says the same as
    the bounds spares both.""",
    instead={
        "postgresql": "ALTER TABLE part ADD CONSTRAINT bounds CHECK (...) NOT VALID;\n"
        "-- in the next script\nALTER TABLE part VALIDATE CONSTRAINT bounds;\n"
        "-- and in the one behind it\nALTER TABLE {table} ATTACH PARTITION part FOR VALUES ...;"
    },
)
def attach_partition_scan(fact: Fact, context: Context) -> str | None:
    found = re.match(r"ATTACH PARTITION\s+(\S+)", action(fact))
    if not found or not exists(fact, context):
        return None
    part = found.group(1).strip('"')
    checked = [other for other in context.earlier(fact) if other.kind == "validate_constraint" and same_name(other.table, part)]
    if checked or context.is_new(part, fact):
        return None
    return f"all rows of {part.lower()} are read under lock to see that they belong into {fact.table}"


@rule(
    "refresh-view-blocking",
    WARNING,
    engines=(POSTGRESQL,),
    kinds=("refresh_materialized_view",),
    why="""REFRESH MATERIALIZED VIEW holds an ACCESS EXCLUSIVE lock on the view while its query runs, so nobody reads it
    meanwhile. CONCURRENTLY needs a unique index over all rows and lets readers be.""",
    instead={"postgresql": "REFRESH MATERIALIZED VIEW CONCURRENTLY {name};"},
)
def refresh_view_blocking(fact: Fact, context: Context) -> str | None:
    made = any(other.kind == "create_materialized_view" and same_name(other.name, fact.name) for other in context.earlier(fact))
    if fact.has("concurrently") or made:
        return None
    return f"nobody can read {fact.name} while its query runs: refresh it CONCURRENTLY"


@rule(
    "create-trigger-blocking",
    NOTICE,
    engines=(POSTGRESQL,),
    kinds=("create_trigger",),
    peers=("atlas:PG308",),
    why="""CREATE TRIGGER takes a SHARE ROW EXCLUSIVE lock: it waits for running writes, new writes wait behind it. That is
    over in a moment, unless the script goes on to do slow work in the same transaction.""",
    instead={"postgresql": "-- in a script of its own\nCREATE TRIGGER {name} ...;"},
)
def create_trigger_blocking(fact: Fact, context: Context) -> str | None:
    if not exists(fact, context) or not opens_table(fact, context):
        return None
    slow = ("update", "delete", "insert", "merge", "validate_constraint", "create_index")
    after = next((other for other in context.later(fact) if other.kind in slow), None)
    if after is None:
        return None
    return f"writes to {fact.table} wait until the script ends, so also for line {after.line}"


@rule(
    "lock-table",
    WARNING,
    engines=(POSTGRESQL, *MYSQLS),
    kinds=("lock_table",),
    why="""An explicit lock is held until the transaction ends, or the session unlocks (MySQL, MariaDB); everybody who wants
    something that does not go with it waits as long.""",
    instead=dict.fromkeys(
        (POSTGRESQL, *MYSQLS), "-- leave it out: each statement takes the lock that it needs, and the runner bounds the wait"
    ),
)
def lock_table(fact: Fact, context: Context) -> str | None:
    mode = str(fact.values.get("mode", "")).upper()
    if mode.startswith(("ACCESS SHARE", "ROW SHARE", "READ")) or not exists(fact, context):
        return None
    return f"{fact.table} is locked{f' in mode {mode}' if mode else ''} for the rest of the script"


@rule(
    "autovacuum-off",
    WARNING,
    engines=(POSTGRESQL,),
    kinds=("alter_table", "create_table"),
    peers=("atlas:PG320",),
    why="""Without autovacuum dead rows stay for ever: the table grows, its statistics age, and in the end the server stops
    taking writes to keep transaction numbers from running out.""",
    instead={"postgresql": "ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.01);"},
)
def autovacuum_off(fact: Fact, context: Context) -> str | None:
    text = re.sub(r"\s+", "", f"{action(fact)} {fact.values.get('options', '')}".upper())
    if not re.search(r"AUTOVACUUM_ENABLED='?(FALSE|OFF|0|NO)\b", text):
        return None
    return f"nothing clears dead rows from {fact.table} any more"


@rule(
    "recreate-table",
    ERROR,
    engines=ENGINES,
    kinds=("create_table",),
    peers=("strong_migrations:create_table",),
    why="""Dropping a table to create it anew loses its rows, whatever phase the script is in, and the running version meets
    an empty table, or none.""",
    instead=dict.fromkeys(ENGINES, "CREATE TABLE {table}_next (...);\n-- backfill it; contract drops {table}"),
)
def recreate_table(fact: Fact, context: Context) -> str | None:
    if fact.has("temporary"):
        return None
    dropped = [other for other in context.earlier(fact) if other.kind == "drop_table" and same_name(other.table, fact.table)]
    if fact.has("or_replace") and exists(fact, context):
        return f"OR REPLACE drops {fact.table} with all its rows"
    if not dropped or not exists(dropped[-1], context):
        return None
    return f"{fact.table} is dropped in line {dropped[-1].line} and comes back empty"


@rule(
    "swap-table",
    ERROR,
    engines=(POSTGRESQL, *MYSQLS, SQLITE),
    kinds=("rename_table",),
    peers=("atlas:LT101",),
    why="""Copying the rows into a new table and giving it the old one's name loses what is written between copy and rename,
    unless writes are blocked for as long as both take (as on SQLite, for the whole database). Foreign keys, triggers, views
    and rights stay with the old table. A column that became NOT NULL on the way fails on the first NULL.""",
    instead={
        **dict.fromkeys(
            (POSTGRESQL, *MYSQLS),
            "CREATE TABLE {to}_next (...);\n-- triggers keep it in step, a backfill fills it; contract drops {to}",
        ),
        "sqlite": "-- what can be done in place\nALTER TABLE {to} ADD COLUMN ...;\nALTER TABLE {to} RENAME COLUMN a TO b;",
    },
)
def swap_table(fact: Fact, context: Context) -> str | None:
    gone = [
        other
        for other in context.earlier(fact)
        if (other.kind == "drop_table" and same_name(other.table, fact.to))
        or (other.kind == "rename_table" and same_name(other.table, fact.to))
    ]
    if not gone or not exists(gone[-1], context):
        return None
    slow = "" if context.target.engine != SQLITE else " and every writer of the database waits for the copy"
    return f"{fact.table} takes the place of {fact.to}: rows written meanwhile are lost{slow}"


@rule(
    "update-all-rows",
    WARNING,
    engines=ENGINES,
    kinds=("update", "delete"),
    scales=True,
    peers=("strong_migrations:change_column_null",),
    why="""One statement over all rows holds its locks until it ends: whoever wants one of those rows waits, SQL Server
    locks the whole table from some 5,000 rows on, and an old PostgreSQL row stays as a dead one. A backfill does the same
    in short transactions, with pauses, and goes on where it was stopped.""",
    instead=_BACKFILL,
)
def update_all_rows(fact: Fact, context: Context) -> str | None:
    if fact.has("where", "bounded") or not exists(fact, context):
        return None
    return f"{fact.kind.upper()} of every row of {fact.table} in one transaction: make it a backfill"


@rule(
    "update-many-rows",
    NOTICE,
    engines=ENGINES,
    kinds=("update", "delete"),
    scales=True,
    why="""The WHERE may still leave most of the table, and all of its rows are locked until the statement ends. Unless it
    is about a few rows by their key, a backfill is the safer place.""",
    instead=_BACKFILL,
)
def update_many_rows(fact: Fact, context: Context) -> str | None:
    if not fact.has("where") or fact.has("bounded") or is_keyed(fact) or not exists(fact, context):
        return None
    return (
        f"{fact.kind.upper()} locks each row of {fact.table} that its WHERE leaves, until it ends: a backfill does it in batches"
    )


@rule(
    "backfill-behind-lock",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("update", "delete", "insert", "merge"),
    scales=True,
    why="""ALTER TABLE's lock, under which nobody reads or writes the table, is kept until the transaction ends. Data that
    is changed behind it in the same script is changed while everybody waits.""",
    instead={"postgresql": "-- expand/: the ALTER TABLE alone\n-- backfill/: the rows, in batches"},
)
def backfill_behind_lock(fact: Fact, context: Context) -> str | None:
    if not opens_table(fact, context) or is_keyed(fact) or (fact.kind == "insert" and not fact.has("select")):
        return None
    locking = ("add_column", "drop_column", "alter_column", "add_constraint", "drop_constraint", "rename_column", "alter_table")
    held = [other for other in above(fact, context) if other.kind in locking and exists(other, context)]
    if not held:
        return None
    return f"this runs behind the lock that line {held[-1].line} took on {held[-1].table}, which everybody waits for"
