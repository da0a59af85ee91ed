# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a MariaDB or MySQL server tells of itself: objects, sessions and who blocks whom, settings and abilities.

Facts relied on: information_schema (both manuals); INFORMATION_SCHEMA.METADATA_LOCK_INFO is a plugin of MariaDB that has to be
loaded, and lists the locks that are held; innodb_trx.trx_started is in the time zone of the machine; seeing other users' sessions
needs PROCESS, seeing replication a monitoring privilege.
"""

from __future__ import annotations

from ..errors import DatabaseError
from ..lexis import Statement, tokens
from ..questions import Question
from .base import Blocker, Engine
from .odbc import pyodbc, rows_of

_SYSTEM = "('mysql', 'information_schema', 'performance_schema', 'sys')"
# Plain equality is what lets the server look at one table instead of opening every table that there is.
_TABLE = "SELECT table_name AS name, table_type AS type FROM information_schema.tables WHERE table_schema = ? AND table_name = ?"
_RELATIONS = ("table", "view", "sequence")
_OTHERS = {
    "trigger": ("triggers", "trigger_schema", "trigger_name", ""),
    "function": ("routines", "routine_schema", "routine_name", " AND routine_type = 'FUNCTION'"),
    "procedure": ("routines", "routine_schema", "routine_name", " AND routine_type = 'PROCEDURE'"),
    "event": ("events", "event_schema", "event_name", ""),
}
_OF_TABLE = {
    "column": ("columns", "column_name"),
    "index": ("statistics", "index_name"),
    "constraint": ("table_constraints", "constraint_name"),
}
_AGE = "timestampdiff(SECOND, t.trx_started, convert_tz(utc_timestamp(), '+00:00', 'SYSTEM'))"
_SESSION = f"""
SELECT p.id, p.user, p.host, p.command, p.info, p.time AS state_age, {_AGE} AS age
FROM information_schema.processlist p LEFT JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id
WHERE {{which}} ORDER BY coalesce({_AGE}, p.time) DESC LIMIT 5
"""
# Without PROCESS a user sees its own sessions and no transactions.
_OWN_SESSION = (
    "SELECT id, user, host, command, info, time AS state_age, NULL AS age FROM information_schema.processlist WHERE id = {id}"
)
_ROW_LOCKS = (
    "SELECT DISTINCT b.trx_mysql_thread_id AS id FROM information_schema.innodb_lock_waits w"
    " JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_trx_id"
    " JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_trx_id WHERE r.trx_mysql_thread_id = {id}",
    "SELECT DISTINCT b.trx_mysql_thread_id AS id FROM performance_schema.data_lock_waits w"
    " JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_engine_transaction_id"
    " JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_engine_transaction_id WHERE r.trx_mysql_thread_id = {id}",
)
_METADATA_LOCKS = (
    "SELECT DISTINCT m.thread_id AS id FROM information_schema.metadata_lock_info m JOIN information_schema.processlist p"
    " ON p.id = {id} WHERE m.thread_id <> {id} AND m.table_name <> ''"
    " AND locate(lower(m.table_name), lower(coalesce(p.info, ''))) > 0",
    "SELECT DISTINCT h.processlist_id AS id FROM performance_schema.metadata_locks w"
    " JOIN performance_schema.threads me ON me.thread_id = w.owner_thread_id AND me.processlist_id = {id}"
    " JOIN performance_schema.metadata_locks g ON g.object_type = w.object_type AND g.object_schema = w.object_schema"
    " AND g.object_name = w.object_name AND g.lock_status = 'GRANTED' AND g.owner_thread_id <> w.owner_thread_id"
    " JOIN performance_schema.threads h ON h.thread_id = g.owner_thread_id WHERE w.lock_status = 'PENDING'",
)
_SUSPECT = (
    "t.trx_id IS NOT NULL AND p.id NOT IN ({id}, connection_id()) AND EXISTS (SELECT 1 FROM information_schema.processlist me"
    " LEFT JOIN information_schema.innodb_trx mine ON mine.trx_mysql_thread_id = me.id"
    " WHERE me.id = {id} AND (me.state LIKE 'Waiting for%' OR mine.trx_state = 'LOCK WAIT'))"
)
_PROGRAM = (
    "SELECT attr_value AS program FROM performance_schema.session_connect_attrs"
    " WHERE processlist_id = {id} AND attr_name = 'program_name'"
)
_SETTINGS = (
    "sql_mode",
    "tx_isolation",
    "transaction_isolation",
    "log_bin",
    "log_bin_trust_function_creators",
    "lock_wait_timeout",
    "innodb_lock_wait_timeout",
    "read_only",
    "foreign_key_checks",
    "wsrep_on",
)
# Of a sleeping session TIME is how long ago its last statement ended; those of other users need the PROCESS right.
RECENT = (
    "SELECT count(*) AS n FROM information_schema.processlist WHERE id <> connection_id() AND time <= 1"
    " AND command <> 'Daemon' AND user NOT IN ('system user', 'event_scheduler')"
)
MAY_SEE_OTHERS = (
    "SELECT count(*) AS n FROM information_schema.user_privileges WHERE privilege_type IN ('PROCESS', 'SUPER')"
    " AND grantee = concat(char(39), replace(current_user(), '@', concat(char(39), '@', char(39))), char(39))"
)


def _unquoted(part: str) -> str:
    return part[1:-1].replace(part[0] * 2, part[0]) if part[:1] in '`"' else part


def has_happened(db: Engine, question: Question) -> bool | None:
    """Return whether an object is as a statement leaves it; see :meth:`Engine.has_happened`."""
    there = _is_there(db, question)
    if there is None or (there and question.there and question.filled):
        return None
    return there == question.there


def _is_there(db: Engine, question: Question) -> bool | None:
    session = db.query("SELECT database() AS home, @@lower_case_table_names AS folded")[0]
    folded, home = bool(session["folded"]), session["home"]
    name = [_unquoted(part) for part in question.name]
    table = [_unquoted(part) for part in question.table]
    kind = question.kind
    if kind in ("schema", "database"):
        found = db.query("SELECT schema_name AS name FROM information_schema.schemata WHERE schema_name = ?", (name[-1],))
        return any(_same(row["name"], name[-1], folded) for row in found)
    if kind in _RELATIONS:
        found = db.query(_TABLE, (name[0] if len(name) > 1 else home, name[-1]))
        types = {_kind(row["type"]) for row in found if _same(row["name"], name[-1], folded)}
        return kind in types or (kind == "table" and "sequence" in types)
    if kind in _OTHERS:
        view, schema_column, column, more = _OTHERS[kind]
        sql = f"SELECT {column} AS name FROM information_schema.{view} WHERE {schema_column} = ? AND {column} = ?{more}"
        found = db.query(sql, (name[0] if len(name) > 1 else home, name[-1]))
        return any(_same(row["name"], name[-1], folded or kind != "trigger") for row in found)
    if not table or (kind not in _OF_TABLE and kind != "primary_key"):
        return None
    view, column = _OF_TABLE.get(kind, ("statistics", "index_name"))
    sql = (
        f"SELECT DISTINCT table_name AS of_table, {column} AS name FROM information_schema.{view}"
        " WHERE table_schema = ? AND table_name = ?"
    )
    found = db.query(sql, (table[0] if len(table) > 1 else home, table[-1]))
    wanted = name[-1] if name else "PRIMARY"
    return any(_same(row["of_table"], table[-1], folded) and _same(row["name"], wanted, True) for row in found)


def _same(found: str, wanted: str, folded: bool) -> bool:
    return found == wanted or (folded and found.lower() == wanted.lower())


def _kind(table_type: str) -> str:
    return {"VIEW": "view", "SEQUENCE": "sequence"}.get(table_type, "table")


def may_be_beyond_transactions(db: Engine, statement: Statement) -> bool:
    """Return whether a statement could have changed a table whose engine has no transactions: by name, view or trigger."""
    rows = db.query(
        "SELECT lower(t.table_name) AS name, t.table_type AS type FROM information_schema.tables t"
        " LEFT JOIN information_schema.engines e ON e.engine = t.engine"
        f" WHERE t.table_schema NOT IN {_SYSTEM} AND (t.table_type = 'VIEW' OR e.transactions <> 'YES')"
    )
    if all(row["type"] == "VIEW" for row in rows):
        return False
    if db.query(f"SELECT 1 FROM information_schema.triggers WHERE trigger_schema NOT IN {_SYSTEM} LIMIT 1"):
        return True
    words = {_unquoted(token.text).lower() for token in tokens(statement.text, db.lexis, "") if token.kind in ("word", "string")}
    return bool(words & {row["name"] for row in rows})


def session(db: Engine, number: int) -> Blocker:
    """Return what is known of one session; its number where this user may see no more."""
    found = _try(db.query, _SESSION.format(which=f"p.id = {number}")) or _try(db.query, _OWN_SESSION.format(id=number))
    programs = _try(db.query, _PROGRAM.format(id=number))
    return _blocker(found[0], programs, True) if found else Blocker(session=str(number), since="connected")


def blockers(connection, number: int) -> list[Blocker]:
    """Return who holds what a session waits for; without a view of the locks, who could: sessions in a transaction.

    Parameters:
        connection: one of its own.
        number: the waiting session's id.
    """

    def ask(sql: str) -> list[dict]:
        return rows_of(connection.execute(sql))

    for sql in (*_ROW_LOCKS, *_METADATA_LOCKS):
        ids = [int(row["id"]) for row in _try(ask, sql.format(id=number)) if row["id"]]
        if ids:
            which, certain = f"p.id IN ({', '.join(map(str, ids))})", True
            break
    else:
        which, certain = _SUSPECT.format(id=number), False
    return [_blocker(row, _try(ask, _PROGRAM.format(id=row["id"])), certain) for row in _try(ask, _SESSION.format(which=which))]


def _try(ask, sql: str) -> list[dict]:
    """Return the rows of a view that this server may not have or this user may not see."""
    try:
        return ask(sql)
    except (DatabaseError, pyodbc.Error):
        return []


def _blocker(row: dict, programs: list[dict], certain: bool) -> Blocker:
    address = (row["host"] or "").rpartition(":")[0] or row["host"] or ""
    in_transaction = row["age"] is not None
    return Blocker(
        session=str(row["id"]),
        user=row["user"] or "",
        program=programs[0]["program"] if programs else "",
        host="local socket" if address == "localhost" else address,
        statement=row["info"] or "",
        age_seconds=float(row["age"] if in_transaction else row["state_age"] or 0),
        since="in a transaction" if in_transaction else "idle" if row["command"] == "Sleep" else "busy",
        certain=certain,
    )


def capabilities(db: Engine, version: tuple) -> dict[str, bool]:
    """Return what the server can do, by its numbers; see :meth:`Engine.capabilities`.

    GET_LOCK does nothing across the nodes of a Galera cluster (MariaDB, "GET_LOCK"; "Galera Cluster limitations").
    """
    mariadb = db.name == "mariadb"
    cluster = any(row["value"] == "ON" for row in db.query("SHOW VARIABLES LIKE 'wsrep_on'"))
    return {
        "session_lock": not cluster,
        "online_index": True,
        "instant_add_column": mariadb or version >= (8, 0, 12),
        "instant_drop_column": mariadb or version >= (8, 0, 29),
        "statement_timeout": mariadb,
        "sequences": mariadb,
    }


def settings(db: Engine) -> dict:
    """Return the settings that matter for a deploy; see :meth:`Engine.settings`."""
    names = ", ".join(f"'{name}'" for name in _SETTINGS)
    known = {r["variable_name"]: r["value"] for r in db.query(f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({names})")}
    isolation = known.pop("tx_isolation", None)
    known.setdefault("transaction_isolation", isolation)
    dumps = db.query("SELECT count(*) AS n FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")[0]["n"]
    status = _try(db.query, "SHOW REPLICA STATUS")
    lags = [row.get("seconds_behind_master", row.get("seconds_behind_source")) for row in status]
    return {
        **known,
        "replication": bool(dumps or status),
        "replication_lag_seconds": max((float(lag) for lag in lags if lag is not None), default=None),
    }
