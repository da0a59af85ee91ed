# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Transactions: who begins and ends them, what cannot run in one, what may run twice."""

from __future__ import annotations

import re

from ..ask import opens_table
from ..facts import Fact, same_name
from ..rule import ENGINES, ERROR, MARIADB, MYSQL, MYSQLS, NOTICE, POSTGRESQL, SERVERS, SQLITE, SQLSERVER, WARNING, Context, rule

_NONE = "-- everup: transaction=none"


@rule(
    "cannot-run-in-transaction",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=(
        "create_index",
        "drop_index",
        "rebuild_index",
        "alter_table",
        "maintenance",
        "create_other",
        "drop_other",
        "alter_other",
    ),
    peers=("squawk:ban-concurrent-index-creation-in-transaction", "atlas:PG103", "atlas:TX101"),
    why="""CREATE, DROP and REINDEX INDEX CONCURRENTLY, DETACH PARTITION CONCURRENTLY, VACUUM, REINDEX of a schema or
    database, CREATE and DROP DATABASE or TABLESPACE, CREATE and DROP SUBSCRIPTION, ALTER SYSTEM, and before version 12
    ALTER TYPE ADD VALUE are refused within a transaction. The runner puts a script into one unless its header says
    otherwise.""",
    instead={"postgresql": f"{_NONE}\n-- and nothing but this statement in the script"},
)
def cannot_run_in_transaction(fact: Fact, context: Context) -> str | None:
    if not opens_table(fact, context) or "dynamic" in fact.within:
        return None
    what = _refused(fact, context)
    return f"{what} is refused in a transaction: head the script with {_NONE}" if what else None


def _refused(fact: Fact, context: Context) -> str | None:
    action = str(fact.values.get("action", "")).upper()
    if fact.has("concurrently") or (fact.kind == "alter_table" and re.match(r"DETACH PARTITION\b.*\bCONCURRENTLY\b", action)):
        return "CONCURRENTLY"
    if fact.kind == "maintenance" and action.startswith("VACUUM"):
        return "VACUUM"
    if fact.kind == "rebuild_index" and fact.values.get("object") in ("SCHEMA", "DATABASE", "SYSTEM"):
        return f"REINDEX {fact.values['object']}"
    kind = str(fact.values.get("object", "")).upper()
    if fact.kind in ("create_other", "drop_other") and kind in ("DATABASE", "TABLESPACE", "SUBSCRIPTION"):
        return f"{fact.kind[:-6].upper()} {kind}"
    if fact.kind == "alter_other" and kind == "SYSTEM":
        return "ALTER SYSTEM"
    if fact.kind == "alter_other" and kind == "TYPE" and action.startswith("ADD VALUE") and context.target.before(12):
        return "ALTER TYPE ADD VALUE"
    return None


@rule(
    "transaction-control",
    ERROR,
    engines=(POSTGRESQL, SQLITE, *MYSQLS),
    kinds=("begin", "commit", "rollback"),
    peers=("squawk:transaction-nesting", "squawk:ban-uncommitted-transaction", "atlas:TX201"),
    why="""The runner begins a transaction in front of the script and commits it together with the note that the script was
    applied. A COMMIT in the script ends that transaction too early: what follows, and the note, is no longer undone
    together; a BEGIN within it does nothing (PostgreSQL), fails (SQLite) or commits what was done (MySQL). In a script
    without a transaction of the runner's, each BEGIN needs its COMMIT.""",
    instead={
        **dict.fromkeys((POSTGRESQL, SQLITE), f"-- leave out BEGIN and COMMIT, or, where the steps have to be apart,\n{_NONE}"),
        **dict.fromkeys(MYSQLS, "START TRANSACTION;\nUPDATE ...;\nCOMMIT;"),
    },
)
def transaction_control(fact: Fact, context: Context) -> str | None:
    if {"block", "try"} & set(fact.within):
        return None
    if context.in_transaction and context.target.engine not in MYSQLS:
        if fact.kind == "rollback" and fact.name:
            return None
        return f"{fact.kind.upper()} in a script that the runner puts into a transaction: leave it out"
    control = [other for other in context.script.facts if other.kind in ("begin", "commit", "rollback") and not other.name]
    index = next((at for at, other in enumerate(control) if other == fact), None)
    if index is None:
        return None
    before = control[index - 1].kind if index else ""
    if fact.kind == "begin":
        if before == "begin":
            return "BEGIN while the transaction of the BEGIN before it is still open"
        return None if index + 1 < len(control) else "this transaction is never committed: what it does is undone at the end"
    return None if before == "begin" else f"{fact.kind.upper()} without a BEGIN in front of it"


_GUARDABLE = {
    "create_table": "if_not_exists",
    "add_column": "if_not_exists",
    "create_index": "if_not_exists",
    "create_other": "if_not_exists",
    "drop_table": "if_exists",
    "drop_column": "if_exists",
    "drop_constraint": "if_exists",
    "drop_index": "if_exists",
    "drop_view": "if_exists",
    "drop_materialized_view": "if_exists",
    "drop_routine": "if_exists",
    "drop_trigger": "if_exists",
    "drop_other": "if_exists",
}
_ONCE = ("add_constraint", "rename_table", "rename_column", "rename_constraint", "rename_index", "rename_object", "insert")
_REPLACEABLE = ("create_view", "create_routine", "create_trigger", "create_materialized_view")
_TWICE = (*_GUARDABLE, *_ONCE, *_REPLACEABLE)


def _only_once(fact: Fact, context: Context) -> str | None:
    """Return why a statement cannot run a second time, None if it can."""
    if fact.guarded or fact.has("if_exists", "if_not_exists", "or_replace", "temporary") or {"block", "try"} & set(fact.within):
        return None
    if fact.kind in _GUARDABLE:
        return f"it fails the second time: say {_GUARDABLE[fact.kind].replace('_', ' ').upper()}"
    if fact.kind in _REPLACEABLE:
        return "it fails the second time: say OR REPLACE"
    if fact.kind == "add_constraint":
        dropped = [other for other in context.earlier(fact) if other.kind == "drop_constraint" and other.has("if_exists")]
        if any(same_name(other.table, fact.table) and other.name.lower() == fact.name.lower() for other in dropped):
            return None
    if fact.kind == "insert":
        return None if fact.has("upsert") or fact.values.get("reads") else "its rows come a second time"
    return "it fails the second time"


@rule(
    "not-rerunnable",
    NOTICE,
    engines=(POSTGRESQL, SQLSERVER),
    kinds=_TWICE,
    peers=("squawk:prefer-robust-stmts",),
    why="""A script without a transaction can stop in the middle. The runner notes each statement that is done and goes on
    behind it; of the one it was in when it was killed it asks the catalog, and where that cannot tell, a person. A
    statement that may run twice spares that question.""",
    instead={
        "postgresql": "CREATE TABLE IF NOT EXISTS {table} (...);\nDROP INDEX IF EXISTS {name};\n"
        "ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} ...;",
        "sqlserver": "IF COL_LENGTH('{table}', '{name}') IS NULL ALTER TABLE {table} ADD {name} {type} NULL;",
    },
)
def not_rerunnable(fact: Fact, context: Context) -> str | None:
    if context.in_transaction or context.script.idempotent or opens_table(fact, context):
        return None
    if fact.kind == "create_index" and fact.has("concurrently") and not fact.name:
        return "an index without a name: after a failed try nobody can tell which one it left behind"
    why = _only_once(fact, context)
    return f"{fact.kind.replace('_', ' ')} {fact.name or fact.table} in a script without a transaction: {why}" if why else None


@rule(
    "idempotent-is-not",
    ERROR,
    engines=ENGINES,
    kinds=_TWICE,
    why="""The script's header says that every statement may run twice, and after a crash the runner takes it at its
    word.""",
    instead={
        **dict.fromkeys((POSTGRESQL, MARIADB), "ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {type};"),
        **dict.fromkeys((MYSQL, SQLITE), "-- take `idempotent` out of the header: the runner then notes each statement"),
        "sqlserver": "IF COL_LENGTH('{table}', '{name}') IS NULL ALTER TABLE {table} ADD {name} {type} NULL;",
    },
)
def idempotent_is_not(fact: Fact, context: Context) -> str | None:
    why = _only_once(fact, context) if context.script.idempotent else None
    return (
        f"the header promises that {fact.kind.replace('_', ' ')} {fact.name or fact.table} may run twice, but {why}"
        if why
        else None
    )


@rule(
    "lock-timeout-disabled",
    WARNING,
    engines=SERVERS,
    kinds=("set",),
    why="""The runner sets a lock time-out in front of each script, so that nobody waits long behind it, tries again when it
    is spent, and names who blocked. A script that switches it off waits without end, and everybody else behind it.""",
    instead=dict.fromkeys(SERVERS, "-- everup: lock_timeout=5s"),
)
def lock_timeout_disabled(fact: Fact, context: Context) -> str | None:
    name = fact.name.upper().lstrip("@").rpartition(".")[2]
    if name not in ("LOCK_TIMEOUT", "LOCK_WAIT_TIMEOUT", "INNODB_LOCK_WAIT_TIMEOUT", "STATEMENT_TIMEOUT", "TRANSACTION_TIMEOUT"):
        return None
    value = fact.to.strip("'\"").upper().replace(" ", "")
    off = ("-1",) if context.target.engine == SQLSERVER else ("DEFAULT",) if context.target.engine in MYSQLS else ("0", "DEFAULT")
    zero = context.target.engine == POSTGRESQL and bool(re.fullmatch(r"0\s*(MS|S|MIN|H|D)?", value))
    if value not in off and not zero:
        return None
    return f"{name} is switched off for the script: let its header say how long it may wait"
