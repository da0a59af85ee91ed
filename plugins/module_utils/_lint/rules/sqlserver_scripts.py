# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQL Server: transactions, settings of the database, loops, and hints.

Facts relied on, from Microsoft Learn: without XACT_ABORT most errors end their statement and leave the transaction open ("SET
XACT_ABORT"); ALTER DATABASE is refused inside a transaction and does not heed LOCK_TIMEOUT; READ_COMMITTED_SNAPSHOT needs that no
other connection is in the database; a statement that holds some 5,000 locks on one table escalates to a table lock ("Transaction
locking and row versioning guide"); NOLOCK may read rows twice, or not at all.
"""

from __future__ import annotations

import re

from ..ask import action, exists
from ..facts import Fact
from ..rule import ERROR, NOTICE, SQLSERVER, WARNING, Context, rule

_ENGINES = (SQLSERVER,)
ESCALATION_ROWS = 5_000
BATCH_ROWS = 2_000
_QUERIES = (
    "create_view", "alter_view", "create_routine", "alter_routine", "create_trigger", "select", "update", "delete", "insert",
)  # fmt: skip


@rule(
    "sqlserver-transaction-left-open",
    ERROR,
    engines=_ENGINES,
    kinds=("begin",),
    why="A transaction that a batch leaves open goes on holding its locks, the next batch runs inside of it, and what "
    "came before is"
    " undone together with whatever fails later.",
    instead={SQLSERVER: "SET XACT_ABORT ON;\nBEGIN TRANSACTION;\n...\nCOMMIT TRANSACTION;  -- in the same batch"},
)
def transaction_left_open(fact: Fact, context: Context) -> str | None:
    batch = [other for other in context.script.facts if other.statement == fact.statement]
    depth = 0
    for other in batch:
        depth += 1 if other.kind == "begin" else -1 if other.kind == "commit" else 0
    is_last = not any(other.kind == "begin" for other in batch if (other.line, other.column) > (fact.line, fact.column))
    return "BEGIN TRANSACTION has no COMMIT in its batch" if depth > 0 and is_last else None


@rule(
    "sqlserver-transaction-control",
    WARNING,
    engines=_ENGINES,
    kinds=("begin",),
    why="The runner gives each script a transaction, with XACT_ABORT, and commits it together with the note that the "
    "script was applied. A"
    " transaction within only counts up; a ROLLBACK in the script takes the runner's along, and the run stops.",
    instead={
        SQLSERVER: "-- leave BEGIN TRANSACTION and COMMIT out; or, where the steps have to be apart:\n-- everup: transaction=none"
    },
)
def transaction_control(fact: Fact, context: Context) -> str | None:
    return "BEGIN TRANSACTION inside the transaction of the runner" if context.in_transaction else None


@rule(
    "sqlserver-xact-abort",
    WARNING,
    engines=_ENGINES,
    kinds=("begin", "set"),
    why="Without XACT_ABORT an error in the middle ends one statement and the rest goes on, inside a transaction that "
    "is then committed"
    " half done.",
    instead={SQLSERVER: "SET XACT_ABORT ON;  -- in front of BEGIN TRANSACTION"},
)
def xact_abort(fact: Fact, context: Context) -> str | None:
    if fact.kind == "set":
        return "XACT_ABORT is switched off for what follows" if fact.name == "XACT_ABORT" and fact.to == "OFF" else None
    is_on = any(other.kind == "set" and other.name == "XACT_ABORT" and other.to == "ON" for other in context.earlier(fact))
    return None if is_on or "try" in fact.within else "a transaction of several statements without SET XACT_ABORT ON"


@rule(
    "sqlserver-alter-database",
    ERROR,
    engines=_ENGINES,
    kinds=("alter_other",),
    why="ALTER DATABASE does not heed LOCK_TIMEOUT and is refused inside a transaction. Some options wait until every "
    "other session has"
    " left the database, with everybody who comes later waiting behind; WITH ROLLBACK IMMEDIATE throws them out.",
    instead={
        SQLSERVER: "-- with the operations team, in a window, not in a release:\nALTER DATABASE CURRENT SET ... WITH NO_WAIT;"
    },
)
def alter_database(fact: Fact, context: Context) -> str | None:
    if fact.values.get("object") != "DATABASE":
        return None
    text = action(fact)
    if re.search(r"READ_COMMITTED_SNAPSHOT|ALLOW_SNAPSHOT_ISOLATION", text) and "NO_WAIT" not in text:
        return "row versioning is switched while users are connected: it waits until they have gone, or throws them out"
    if "ROLLBACK IMMEDIATE" in text or "SINGLE_USER" in text or "ROLLBACK AFTER" in text:
        return "other sessions are thrown out of the database"
    return "the database itself is changed in the middle of a release"


@rule(
    "sqlserver-use-database",
    ERROR,
    engines=_ENGINES,
    kinds=("use",),
    why="The ledger, the lock and the transaction belong to the database that the connection names. What runs behind "
    "USE changes another"
    " one, which differs by environment, and the runner refuses to go on there.",
    instead={SQLSERVER: "-- one migrations folder and one release for each database"},
)
def use_database(fact: Fact, context: Context) -> str | None:
    return f"USE {fact.to} leaves the database of the connection"


@rule(
    "sqlserver-batch-escalates",
    WARNING,
    engines=_ENGINES,
    kinds=("update", "delete"),
    scales=True,
    why=f"From some {ESCALATION_ROWS:,} locks on, one statement takes the whole table: everybody else waits. Batches of at most"
    f" {BATCH_ROWS:,} rows stay below it, with room for the indexes.",
    instead={SQLSERVER: "UPDATE TOP (2000) {table} SET ... WHERE ...;  -- better as a backfill, which measures and pauses"},
)
def batch_escalates(fact: Fact, context: Context) -> str | None:
    limit = str(fact.values.get("limit", "")).strip("() ")
    if not limit.isdigit() or int(limit) < ESCALATION_ROWS or not exists(fact, context):
        return None
    return f"batches of {limit} rows of {fact.table} lock the whole table"


@rule(
    "sqlserver-loop-in-script",
    NOTICE,
    engines=_ENGINES,
    kinds=("update", "delete", "insert", "merge"),
    scales=True,
    why="A loop over a large table runs inside the script's one transaction: its batches free nothing until the end, "
    "and a failure undoes"
    " hours. A backfill commits each batch, pauses, and goes on where it stopped.",
    instead={SQLSERVER: "-- backfill/: a definition with the table, the key and the statement of one batch"},
)
def loop_in_script(fact: Fact, context: Context) -> str | None:
    if "loop" not in fact.within or not exists(fact, context):
        return None
    return f"a loop changes {fact.table} batch by batch: make it a backfill"


@rule(
    "sqlserver-nolock",
    WARNING,
    engines=_ENGINES,
    kinds=_QUERIES,
    why="NOLOCK reads what is not committed, and during a page split rows twice or not at all. Under row versioning "
    "readers do not block"
    " anyway.",
    instead={SQLSERVER: "-- leave the hint out; READ_COMMITTED_SNAPSHOT on the database does what it was meant for"},
)
def nolock(fact: Fact, context: Context) -> str | None:
    dirty = [hint for hint in fact.values.get("hints", []) if hint in ("NOLOCK", "READUNCOMMITTED")]
    return f"{dirty[0]} in {fact.name or fact.kind.upper()}" if dirty else None


@rule(
    "sqlserver-index-hint",
    WARNING,
    engines=_ENGINES,
    kinds=_QUERIES,
    why="A query that names an index fails when contract drops or renames it, and does not follow when the data changes.",
    instead={SQLSERVER: "-- leave the hint out, or force a plan in Query Store, which can be taken back"},
)
def index_hint(fact: Fact, context: Context) -> str | None:
    named = [hint for hint in fact.values.get("hints", []) if hint.startswith("INDEX")]
    return f"{named[0]} in {fact.name or fact.kind.upper()}" if named else None


@rule(
    "sqlserver-merge-races",
    WARNING,
    engines=_ENGINES,
    kinds=("merge",),
    why="MERGE does not lock the gap between its search and its INSERT: two at once insert one key twice, or one of them fails.",
    instead={SQLSERVER: "MERGE {table} WITH (HOLDLOCK) AS target USING ...;"},
)
def merge_races(fact: Fact, context: Context) -> str | None:
    if {"HOLDLOCK", "SERIALIZABLE"} & set(fact.values.get("hints", [])) or not exists(fact, context):
        return None
    return f"MERGE into {fact.table} without HOLDLOCK"
