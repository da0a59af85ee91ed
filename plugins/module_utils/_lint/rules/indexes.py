# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Indexes: built, rebuilt and dropped while people work."""

from __future__ import annotations

from ..ask import exists
from ..facts import Fact, same_name
from ..rule import CONTRACT, ENGINES, ERROR, MYSQLS, NOTICE, POSTGRESQL, REPEATABLE, WARNING, Context, rule

_DROP = {
    "postgresql": "-- everup: transaction=none\nDROP INDEX CONCURRENTLY IF EXISTS {name};",
}


def _made_here(fact: Fact, context: Context) -> Fact | None:
    """Return the statement of these scripts that made the index, None if it was there before."""
    made = [other for other in context.earlier(fact) if other.kind == "create_index" and other.name]
    return next((other for other in reversed(made) if same_name(other.name, fact.name)), None)


@rule(
    "create-index-blocking",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("create_index",),
    scales=True,
    peers=(
        "squawk:require-concurrent-index-creation",
        "strong_migrations:add_index",
        "strong_migrations:add_reference",
        "atlas:PG101",
        "atlas:PG108",
    ),
    why="""CREATE INDEX holds a SHARE lock until the index is built: reads go on, every INSERT, UPDATE and DELETE waits, on
    a large table for minutes or hours. CONCURRENTLY reads the table twice and blocks nobody; it cannot run in a
    transaction. On a partitioned table, where CONCURRENTLY is refused, build the index on ONLY the parent, CONCURRENTLY on
    each partition, and attach them.""",
    instead={
        "postgresql": "-- everup: transaction=none\nCREATE INDEX CONCURRENTLY {name} ON {table} (...);",
    },
)
def create_index_blocking(fact: Fact, context: Context) -> str | None:
    if fact.has("concurrently", "only") or not exists(fact, context):
        return None
    return (
        f"building index {fact.name or '(unnamed)'} blocks every write to {fact.table} until it is built: build it CONCURRENTLY"
    )


@rule(
    "create-special-index-blocking",
    ERROR,
    engines=MYSQLS,
    kinds=("create_index",),
    scales=True,
    peers=("atlas:MY134", "atlas:MY135"),
    why="""An ordinary index is built online, a FULLTEXT or SPATIAL one is not: InnoDB holds a shared lock for the whole
    build, so writes wait; the first FULLTEXT index of a table rebuilds the table as well. That is so in every version.""",
    instead=dict.fromkeys(
        MYSQLS,
        "-- in a new table, which is then filled by a backfill and read beside the old one\n"
        "CREATE TABLE {table}_search (id bigint PRIMARY KEY, words text, FULLTEXT KEY {name} (words));",
    ),
)
def create_special_index_blocking(fact: Fact, context: Context) -> str | None:
    if not fact.has("fulltext", "spatial") or not exists(fact, context):
        return None
    which = "FULLTEXT" if fact.has("fulltext") else "SPATIAL"
    return f"building {which} index {fact.name} blocks every write to {fact.table} until it is built"


@rule(
    "drop-index-blocking",
    WARNING,
    engines=(POSTGRESQL,),
    kinds=("drop_index",),
    peers=("squawk:require-concurrent-index-deletion", "strong_migrations:remove_index", "atlas:PG102"),
    why="""DROP INDEX takes an ACCESS EXCLUSIVE lock on the index's table. It holds it for a moment only, but in a
    transaction until the script's end, and while it waits for running queries everybody else queues up behind it.
    CONCURRENTLY waits without a queue; it cannot run in a transaction, and not on an index that a constraint needs.""",
    instead=_DROP,
)
def drop_index_blocking(fact: Fact, context: Context) -> str | None:
    if fact.has("concurrently"):
        return None
    made = _made_here(fact, context)
    if (made and context.is_new(made.table, made)) or (fact.table and not exists(fact, context)):
        return None
    return f"dropping index {fact.name} makes readers and writers of its table queue up: drop it CONCURRENTLY"


@rule(
    "reindex-blocking",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("rebuild_index",),
    scales=True,
    peers=("squawk:require-concurrent-reindex",),
    why="""REINDEX blocks writes to the table and every read that would use the index, until it is rebuilt. From version 12
    on REINDEX CONCURRENTLY builds the new index beside the old one; it cannot run in a transaction. REINDEX SYSTEM has no
    such form.""",
    instead={"postgresql": "-- everup: transaction=none\nREINDEX INDEX CONCURRENTLY {name};"},
)
def reindex_blocking(fact: Fact, context: Context) -> str | None:
    if fact.has("concurrently") or (fact.table and not exists(fact, context)):
        return None
    what = " ".join(part for part in (str(fact.values.get("object") or "INDEX"), fact.name or fact.table) if part)
    return f"REINDEX {what} blocks writes, and reads that need the index, until it is rebuilt: say CONCURRENTLY"


@rule(
    "concurrent-index-corrupts",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("create_index", "rebuild_index"),
    peers=("strong_migrations:add_index_corruption",),
    why="""PostgreSQL 14.0 to 14.3 can leave rows out of an index that is built CONCURRENTLY while rows are updated: queries
    then silently miss them. 14.4 corrected it.""",
    instead={"postgresql": "-- first upgrade the server to 14.4 or later\nCREATE INDEX CONCURRENTLY {name} ON {table} (...);"},
)
def concurrent_index_corrupts(fact: Fact, context: Context) -> str | None:
    if fact.has("concurrently") and context.target.at_least(14) and context.target.before(14, 4):
        return f"this server builds index {fact.name or '(unnamed)'} CONCURRENTLY with rows missing: upgrade to 14.4 first"
    return None


@rule(
    "index-many-columns",
    NOTICE,
    engines=ENGINES,
    kinds=("create_index",),
    peers=("strong_migrations:add_index_columns",),
    why="""Every write keeps every column of an index up to date. Behind the first three columns there is seldom anything
    left to narrow down, so such an index costs more than it gives.""",
    instead=dict.fromkeys(
        ENGINES, "-- only the columns that narrow the rows down most\nCREATE INDEX {name} ON {table} (a, b, c);"
    ),
)
def index_many_columns(fact: Fact, context: Context) -> str | None:
    columns = fact.values.get("columns", [])
    if len(columns) <= 3 or fact.has("unique", "columnstore", "fulltext", "clustered"):
        return None
    return f"index {fact.name} has {len(columns)} columns: each write pays for all of them, the last ones seldom help a query"


@rule(
    "unique-may-fail",
    NOTICE,
    engines=ENGINES,
    phases=(CONTRACT, REPEATABLE),
    kinds=("create_index", "add_constraint"),
    peers=("atlas:MF101", "atlas:MF102"),
    why="""If two rows are alike, the statement fails in the middle of the release; PostgreSQL's CONCURRENTLY then leaves an
    invalid index behind. A script in tests/ that looks for such rows says so before.""",
    instead=dict.fromkeys(
        ENGINES, "-- tests/: must return no row\nSELECT a, count(*) FROM {table} GROUP BY a HAVING count(*) > 1;"
    ),
)
def unique_may_fail(fact: Fact, context: Context) -> str | None:
    unique = fact.has("unique") if fact.kind == "create_index" else fact.values.get("type") in ("unique", "primary_key")
    if not unique or fact.values.get("using_index") or not exists(fact, context):
        return None
    return f"this fails if {fact.table} has two rows that are alike: look for them in a test first"
