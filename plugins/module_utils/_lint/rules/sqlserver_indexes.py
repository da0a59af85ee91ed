# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQL Server: indexes that are built, rebuilt or moved while users are on the table.

Facts relied on, from Microsoft Learn, "Perform index operations online" and "CREATE INDEX": ONLINE is Enterprise and Azure
only; RESUMABLE is for REBUILD from 2017 on, for CREATE from 2019 on; an online build takes short S and Sch-M locks at its
ends, for which WAIT_AT_LOW_PRIORITY exists (REBUILD 2014, CREATE INDEX 2022); without ONLINE a nonclustered build holds S,
which stops writers, a clustered one Sch-M, which stops everybody; a clustered index that is made, moved or dropped rebuilds
every nonclustered one.
"""

from __future__ import annotations

from ..ask import exists
from ..facts import Fact
from ..rule import ERROR, SQLSERVER, WARNING, Context, rule

_ENGINES = (SQLSERVER,)
_ONLINE = "-- everup: transaction=none\n"


def _builds(fact: Fact) -> bool:
    return fact.kind in ("create_index", "rebuild_index") and not fact.has("reorganize", "disable", "fulltext")


@rule(
    "sqlserver-index-offline",
    ERROR,
    engines=_ENGINES,
    kinds=("create_index", "rebuild_index"),
    scales=True,
    why="Without ONLINE a nonclustered build lets nobody write to the table until it is done, a clustered one lets "
    "nobody read it either.",
    instead={
        SQLSERVER: _ONLINE + "CREATE INDEX {name} ON {table} (...)\n"
        "WITH (ONLINE = ON (WAIT_AT_LOW_PRIORITY (MAX_DURATION = 1 MINUTES, ABORT_AFTER_WAIT = SELF)));  -- the wait from 2022 on"
    },
)
def index_offline(fact: Fact, context: Context) -> str | None:
    if not _builds(fact) or fact.has("online") or not exists(fact, context) or not context.target.is_enterprise:
        return None
    what = f"index {fact.name} on" if fact.kind == "create_index" else "an index of"
    return f"{what} {fact.table} is built without ONLINE, which this edition can"


@rule(
    "sqlserver-index-blocks-writers",
    WARNING,
    engines=_ENGINES,
    kinds=("create_index", "rebuild_index"),
    scales=True,
    why="This edition builds no index online: writers wait until the build is done, and with a clustered index readers do too.",
    instead={
        SQLSERVER: "-- on a large table in an hour when few write, with a lock_timeout in the header;\n"
        "-- on Enterprise or Azure WITH (ONLINE = ON), and tell the linter the edition"
    },
)
def index_blocks_writers(fact: Fact, context: Context) -> str | None:
    if not _builds(fact) or fact.has("online") or not exists(fact, context) or context.target.is_enterprise:
        return None
    return f"writers of {fact.table} wait until index {fact.name or '(all)'} is built"


@rule(
    "sqlserver-online-refused",
    ERROR,
    engines=_ENGINES,
    kinds=("create_index", "rebuild_index", "add_constraint", "drop_index", "drop_constraint", "alter_column"),
    why="Standard, Web and Express refuse ONLINE and RESUMABLE with error 1712, and so does a version that does not "
    "know them yet.",
    instead={SQLSERVER: "-- leave ONLINE out, and build the index in an hour when few write"},
)
def online_refused(fact: Fact, context: Context) -> str | None:
    edition = context.target.edition
    if fact.has("online", "resumable") and edition and not context.target.is_enterprise:
        return f"{edition} edition refuses ONLINE"
    if not fact.has("resumable") or edition == "azure":
        return None
    first = (14, "2017") if fact.kind == "rebuild_index" else (15, "2019") if fact.kind == "create_index" else (16, "2022")
    return f"RESUMABLE here needs SQL Server {first[1]}" if context.target.before(first[0]) else None


@rule(
    "sqlserver-online-in-transaction",
    ERROR,
    engines=_ENGINES,
    kinds=("create_index", "rebuild_index", "alter_column", "add_constraint"),
    why="Within a transaction the short locks at the ends of an online build last until the commit, so that it stops "
    "everybody after all;"
    " RESUMABLE is refused there.",
    instead={SQLSERVER: _ONLINE + "CREATE INDEX {name} ON {table} (...) WITH (ONLINE = ON);  -- alone in its script"},
)
def online_in_transaction(fact: Fact, context: Context) -> str | None:
    if not fact.has("online", "resumable") or not exists(fact, context):
        return None
    control = [other.kind for other in context.earlier(fact) if other.kind in ("begin", "commit", "rollback")]
    if not context.in_transaction and control[-1:] != ["begin"]:
        return None
    return f"an online build on {fact.table} runs inside a transaction: head the script with -- everup: transaction=none"


@rule(
    "sqlserver-clustered-index",
    ERROR,
    engines=_ENGINES,
    kinds=("create_index", "add_constraint", "drop_index", "drop_constraint"),
    scales=True,
    why="The clustered index is the table: making, moving or dropping it writes every row anew, and every nonclustered "
    "index with it.",
    instead={
        SQLSERVER: "-- a new table with the key it should have, kept in step by a trigger and filled by a backfill; or\n"
        "CREATE UNIQUE CLUSTERED INDEX {name} ON {table} (...) WITH (DROP_EXISTING = ON, ONLINE = ON);  -- once, on Enterprise"
    },
)
def clustered_index(fact: Fact, context: Context) -> str | None:
    if not exists(fact, context):
        return None
    if fact.kind == "create_index" and fact.has("clustered") and not (fact.has("online") and context.target.is_enterprise):
        return f"clustered index {fact.name} writes the whole of {fact.table} anew"
    if fact.kind == "add_constraint" and fact.values.get("type") == "primary_key" and not fact.has("nonclustered"):
        return f"a clustered primary key writes the whole of {fact.table} anew"
    if fact.kind == "drop_constraint" and (fact.values.get("type") == "primary_key" or fact.name.upper().startswith("PK_")):
        return f"dropping primary key {fact.name} turns {fact.table} into a heap and rebuilds its indexes"
    return None


@rule(
    "sqlserver-columnstore",
    WARNING,
    engines=_ENGINES,
    kinds=("create_index",),
    scales=True,
    why="A columnstore index changes how every write to the table costs, and its build cannot be online before SQL Server 2017"
    " (nonclustered) or 2019 (clustered).",
    instead={SQLSERVER: _ONLINE + "CREATE NONCLUSTERED COLUMNSTORE INDEX {name} ON {table} (...) WITH (ONLINE = ON);"},
)
def columnstore(fact: Fact, context: Context) -> str | None:
    if not fact.has("columnstore") or fact.has("online") or not exists(fact, context):
        return None
    return f"columnstore index {fact.name} is built on {fact.table} while it is written to"
