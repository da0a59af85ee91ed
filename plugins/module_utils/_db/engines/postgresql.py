# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL through pyodbc and the psqlODBC driver.

Facts relied on: DDL is transactional but for CONCURRENTLY, VACUUM, ALTER SYSTEM and database-level commands
(PostgreSQL documentation, each command's notes); a lock time-out is SQLSTATE 55P03 and a statement time-out 57014
(appendix A); an advisory lock ends with its session (13.3.5), and a session that *waits* for one holds a snapshot that
CREATE INDEX CONCURRENTLY waits for, so the lock is only ever tried. psqlODBC: ``Protocol=7.4-1`` rolls the whole
transaction back on an error, ``7.4-0`` lets a later commit succeed with the work lost, ``7.4-2`` goes on as if nothing
had happened; ``pqopt`` hands libpq parameters through; a question mark outside literals is a parameter marker even
without parameters.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import Iterator

from ..._redact import odbc_parts, odbc_quote
from ..errors import DatabaseError, LockTimeout
from ..keyset import POSTGRESQL, Column
from ..lexis import Lexis, ScriptError, Statement, tokens
from ..questions import Question
from . import postgresql_catalog as catalog
from .base import Blocker
from .odbc import OdbcEngine, driver_text, installed_drivers, rows_of

_DRIVERS = ("PostgreSQL Unicode", "PostgreSQL Unicode(x64)", "PostgreSQL")
# A deadlock is found after deadlock_timeout, 1 s unless set, and so before the lock time-out: the way on is the same.
_LOCK_TIMEOUT_STATES = ("55P03", "40P01")
_DEFAULT_LOCK_SECONDS = 10.0
# Without server-side preparation a statement with parameters costs one round trip in place of three.
_DRIVER_OPTIONS = {"Protocol": "7.4-1", "BoolsAsChar": "0", "UseServerSidePrepare": "0"}
_DEAD_CLIENT_SECONDS = 2
_OWN_SETTINGS = "SET datestyle = 'ISO'; SET extra_float_digits = 2"
_LOOKS_FOR_CLIENT = "SELECT 1 FROM pg_settings WHERE name = 'client_connection_check_interval' AND version() ~ 'linux'"
_OUTSIDE_TRANSACTION = (
    ("VACUUM",),
    ("CREATE", "DATABASE"),
    ("DROP", "DATABASE"),
    ("CREATE", "TABLESPACE"),
    ("DROP", "TABLESPACE"),
    ("ALTER", "SYSTEM"),
    ("REINDEX", "DATABASE"),
    ("REINDEX", "SCHEMA"),
    ("REINDEX", "SYSTEM"),
)
_JOINS = ("INSERT", "UPDATE", "DELETE", "MERGE", "SELECT", "WITH", "VALUES", "TRUNCATE", "COMMENT", "GRANT", "REVOKE", "REFRESH")
_JOINING_KINDS = (
    "TABLE",
    "VIEW",
    "INDEX",
    "FUNCTION",
    "PROCEDURE",
    "TRIGGER",
    "SEQUENCE",
    "TYPE",
    "DOMAIN",
    "SCHEMA",
    "RULE",
    "POLICY",
)
# What a block must hold to commit in the middle of itself, in any language; behind a backslash anything may be hidden.
_COMMITTING = re.compile(r"(?i)commit|rollback|\bcall\b|\\")
_NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_CONCURRENT_INDEX = re.compile(
    rf"(?is)create\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?(?P<index>{_NAME})\s+on\s+(?:only\s+)?"
    rf"(?P<table>{_NAME}(?:\s*\.\s*{_NAME})?)"
)
_CARCASS = """
SELECT format('%I.%I', n.nspname, c.relname) AS name
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND i.indrelid = to_regclass(?) AND c.relname = ?
"""
_COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, (NOT a.attnotnull)::int AS nullable
FROM pg_attribute a WHERE a.attrelid = to_regclass(?) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_INDEXES = """
SELECT (SELECT string_agg(a.attname, '/' ORDER BY k.n)
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE k.n <= {count}) AS names
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
WHERE i.indrelid = to_regclass(?) AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'
"""
# pg_locks is for everybody to read, the activity of other users is not.
_BUSY = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'virtualxid' AND pid <> pg_backend_pid()"
# Of a session that this user may not see, the database's name is there and its type is not.
_RECENT = f"""
SELECT greatest(({_BUSY}), count(*) FILTER (WHERE state_change > clock_timestamp() - interval '1 s')) AS n,
       count(*) FILTER (WHERE backend_type IS NULL) AS hidden
FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()
"""
_LAG = """
SELECT count(*) AS replicas, count(*) FILTER (WHERE state IS NULL) AS hidden,
       coalesce(max(extract(epoch FROM replay_lag)), 0)::float8 AS seconds
FROM pg_stat_replication
"""
_BLOCKERS = """
SELECT a.pid, a.usename, a.application_name, host(a.client_addr) AS client_addr, a.query,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age
FROM pg_stat_activity a WHERE a.pid = ANY (pg_blocking_pids({pid}))
"""
_LOCK_HOLDER = """
SELECT a.pid, a.usename, a.application_name, host(a.client_addr) AS client_addr, a.query,
       extract(epoch FROM clock_timestamp() - a.backend_start)::float8 AS age
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND (l.classid::bigint << 32 | l.objid::bigint) = {key}
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class PostgresqlEngine(OdbcEngine):
    """One session of a PostgreSQL server, 13 or newer."""

    name = "postgresql"
    label = "PostgreSQL"
    packages = ("odbc-postgresql", "postgresql-odbc")
    lexis = Lexis(
        nested_comments=True,
        escape_strings=True,
        dollar_quotes=True,
        routine_bodies=True,
        client_command=r"\\",
        client_command_anywhere=True,
    )
    transactional_ddl = True
    repeatable = ("VACUUM", "REINDEX", "ANALYZE", "SET")
    keyset = POSTGRESQL
    types = {  # noqa: RUF012 - a constant
        "text": "text",
        "name": "varchar(255)",
        "time": "timestamptz",
        "count": "bigint",
        "serial": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    }

    def __init__(self, connection_string: str, schema: str, connect_timeout: int) -> None:
        super().__init__(connection_string, schema, connect_timeout)
        self._gathered: list[tuple[str, tuple]] | None = None
        self._own_settings = _OWN_SETTINGS
        if self.query(_LOOKS_FOR_CLIENT):
            self._own_settings += f"; SET client_connection_check_interval = '{_DEAD_CLIENT_SECONDS}s'"
        self.reset_session()
        self._pid: int | None = None  # asked for with the session lock: who works may have to blame somebody for another lock

    @staticmethod
    def connection_string(params: dict, application_name: str) -> str:
        name = odbc_quote("application_name='" + application_name.replace("\\", "\\\\").replace("'", "\\'") + "'")
        given = params.get("connection_string")
        if given:
            known = odbc_parts(given)
            ours = {**_DRIVER_OPTIONS, "pqopt": name}
            return given.rstrip("; ") + "".join(f";{key}={value}" for key, value in ours.items() if key.lower() not in known)
        parts = {
            "DRIVER": odbc_quote(params.get("odbc_driver") or _driver()),
            "SERVER": _bare(params, "login_unix_socket") or _bare(params, "login_host"),
            "PORT": params["login_port"] or 5432,
            "DATABASE": _bare(params, "login_db"),
            "UID": _bare(params, "login_user"),
            "PWD": odbc_quote(params["login_password"]) if params["login_password"] else "",
            "SSLmode": params["ssl_mode"],
            **_DRIVER_OPTIONS,
            "pqopt": name,
        }
        return ";".join(f"{key}={value}" for key, value in parts.items() if value != "")

    def run_script_statement(self, statement: Statement) -> None:
        sent = replace(statement, text=_without_markers(statement.text)) if statement.has_marker else statement
        super().run_script_statement(sent)

    @contextmanager
    def together(self, commit: bool = False) -> Iterator[None]:
        self._gathered = []
        try:
            yield
            gathered, self._gathered = self._gathered, None
        finally:
            self._gathered = None
        values = tuple(value for _sql, parameters in gathered for value in parameters)
        # Behind a statement that fails the server skips the rest, the COMMIT too.
        self._drain(self._run("; ".join([*(sql for sql, _parameters in gathered), *(["COMMIT"] if commit else [])]), values))

    def execute(self, sql: str, parameters: tuple = ()) -> int:
        if self._gathered is None:
            return super().execute(sql, parameters)
        self._gathered.append((sql, parameters))
        return -1

    def set_lock_timeout(self, seconds: float | None) -> None:
        self.execute(_set_lock_timeout(seconds))

    def set_statement_timeout(self, seconds: float | None) -> None:
        self.execute(f"SET statement_timeout = {'DEFAULT' if seconds is None else _milliseconds(seconds)}")

    def reset_session(self, lock_timeout: float | None = None) -> None:
        """Go back to the connection's own settings, and to the few that this class relies on.

        Every lock wait of ours is bounded. A server that can (version 14) looks whether we are still alive while a statement
        runs, so that the locks of a killed run do not stay until that statement ends. The driver reads dates in ISO style.
        """
        self.execute(f"{self._reset(lock_timeout)}; SET timezone = 'UTC'")

    def reset_for_script(self, lock_timeout: float | None = None) -> None:
        self.execute(self._reset(lock_timeout))

    def _reset(self, lock_timeout: float | None) -> str:
        return f"RESET SESSION AUTHORIZATION; RESET ALL; {self._own_settings}; {_set_lock_timeout(lock_timeout)}"

    def begin_script(self) -> None:
        """Let times be read in the zone of the database or role: a script that changes a column to timestamptz depends on it."""
        self.execute("RESET timezone")

    def settle_schema(self, table: str) -> None:
        if self.schema:
            return
        found = self.query(
            "SELECT coalesce((SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.oid = to_regclass(?)), current_schema())::text AS name",
            (self.quote(table),),
        )
        self.schema = found[0]["name"] or ""

    def clear_carcass(self, statement: Statement) -> None:
        """Drop the invalid index that a CREATE INDEX CONCURRENTLY leaves behind when it does not come to its end."""
        match = _CONCURRENT_INDEX.match(_without_comments(statement.text, self.lexis))
        if not match:
            return
        for row in self.query(_CARCASS, (match.group("table"), _folded(match.group("index")))):
            self.execute(f"DROP INDEX CONCURRENTLY {row['name']}")

    def joins_transaction(self, statement: Statement) -> bool:
        """Return whether it surely may run in a transaction; a procedure or a DO block could commit by itself."""
        words = statement.words
        if words[:1] in (("CREATE",), ("ALTER",), ("DROP",)):
            return "CONCURRENTLY" not in statement.text.upper() and self._joining(words)
        return words[:1] != () and words[0] in _JOINS

    def is_atomic(self, statement: Statement) -> bool:
        first = statement.words[:1]
        return first != ("CALL",) and not (first == ("DO",) and _COMMITTING.search(statement.text))

    @staticmethod
    def _joining(words: tuple) -> bool:
        before = ("OR", "REPLACE", "UNIQUE", "MATERIALIZED", "UNLOGGED", "RECURSIVE", "CONSTRAINT")
        kind = next((word for word in words[1:] if word not in before), "")
        return kind in _JOINING_KINDS

    def has_happened(self, question: Question) -> bool | None:
        return catalog.has_happened(self, question)

    def capabilities(self) -> dict[str, bool]:
        return {**super().capabilities(), **catalog.CAPABILITIES}

    def settings(self) -> dict:
        return catalog.settings(self)

    def is_online(self, statement: Statement) -> bool:
        """Return whether it is CONCURRENTLY: it waits for running transactions under a lock that writers do not mind."""
        return "CONCURRENTLY" in statement.words and statement.words[0] in ("CREATE", "DROP", "REINDEX")

    def try_session_lock(self, name: str) -> bool:
        row = self.query(f"SELECT pg_try_advisory_lock({_lock_key(name)})::int AS taken, pg_backend_pid() AS pid")[0]
        self._pid = row["pid"]
        return row["taken"] == 1

    def release_session_lock(self, name: str) -> None:
        self.query(f"SELECT pg_advisory_unlock({_lock_key(name)}) AS freed")

    def session_lock_holder(self, name: str) -> Blocker | None:
        rows = self.query(_LOCK_HOLDER.format(key=_lock_key(name)))
        return _blocker(rows[0], since="connected") if rows else None

    def _blockers(self, connection) -> list[Blocker]:
        if self._pid is None:
            return []
        return [_blocker(row) for row in rows_of(connection.execute(_BLOCKERS.format(pid=self._pid)))]

    def _mapped(self, error) -> DatabaseError:
        state = error.args[0] if error.args else ""
        kind = LockTimeout if state in _LOCK_TIMEOUT_STATES else DatabaseError
        return kind(f"PostgreSQL: {driver_text(error)} (SQLSTATE {state})", sqlstate=state)

    def create_schema(self) -> None:
        if self.schema and not self.query("SELECT 1 FROM pg_namespace WHERE nspname = ?", (self.schema,)):
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {self.quote(self.schema)}")

    def table_exists(self, table: str) -> bool:
        return self.query("SELECT (to_regclass(?) IS NOT NULL)::int AS there", (self.table(table),))[0]["there"] == 1

    def columns(self, table: str) -> list[Column]:
        rows = self.query(_COLUMNS, (self.table_of_user(table),))
        return [Column(row["name"], row["type"], row["type"], row["nullable"] == 1) for row in rows]

    def has_index(self, table: str, columns: list[str]) -> bool:
        rows = self.query(_INDEXES.format(count=len(columns)), (self.table_of_user(table),))
        return "/".join(columns) in [row["names"] for row in rows]

    def row_estimate(self, table: str) -> int | None:
        """Return the planner's count, which is -1 before the first ANALYZE; then the table's size decides."""
        rows = self.query(
            "SELECT CASE WHEN reltuples >= 0 THEN reltuples ELSE pg_relation_size(oid) / 100 END::bigint AS n"
            " FROM pg_class WHERE oid = to_regclass(?)",
            (self.table_of_user(table),),
        )
        return rows[0]["n"] if rows else None

    def busy_sessions(self) -> int | None:
        return self.query(_BUSY)[0]["n"]

    def recent_sessions(self) -> int | None:
        row = self.query(_RECENT)[0]
        return row["n"] or (None if row["hidden"] else 0)

    def replication_lag(self) -> float | None:
        row = self.query(_LAG)[0]
        return None if row["hidden"] else float(row["seconds"])

    def server_version(self) -> str:
        return self.query("SHOW server_version")[0]["server_version"]

    def now(self) -> str:
        return "clock_timestamp()"

    def later(self, seconds: float) -> str:
        return f"(clock_timestamp() + interval '{float(seconds):.3f} seconds')"

    def check_statement(self, statement: Statement, source: str, in_transaction: bool) -> None:
        super().check_statement(statement, source, in_transaction)
        words = statement.words
        if words[:1] == ("COPY",) and re.search(r"(?i)\bfrom\s+stdin\b", statement.text):
            raise ScriptError(
                source,
                statement.line,
                statement.column,
                "COPY FROM STDIN needs a client that streams: use INSERT instead",
            )
        # REFRESH MATERIALIZED VIEW CONCURRENTLY is the one that may.
        concurrent = "CONCURRENTLY" in words and words[0] in ("CREATE", "DROP", "REINDEX", "ALTER")
        alone = concurrent or any(words[: len(prefix)] == prefix for prefix in _OUTSIDE_TRANSACTION)
        if concurrent and statement.has_marker:
            raise ScriptError(
                source,
                statement.line,
                statement.column,
                "the operator '?' cannot be sent together with CONCURRENTLY: write jsonb_exists(column, 'key') instead",
            )
        if in_transaction and alone:
            raise ScriptError(
                source,
                statement.line,
                statement.column,
                f"{' '.join(words[:4])} cannot run in a transaction: "
                "put '-- everup: transaction=none' at the top of a script of its own",
            )


def _bare(params: dict, option: str) -> str:
    """Return an option as psqlODBC reads it: it knows braces for PWD and pqopt alone."""
    value = params[option] or ""
    if any(character in value for character in ";{}"):
        raise DatabaseError(f"{option} may not hold ';', '{{' or '}}' with psqlODBC: give a whole connection_string.")
    return value


def _driver() -> str:
    installed = installed_drivers()
    for driver in _DRIVERS:
        if driver in installed:
            return driver
    raise DatabaseError(
        f"No psqlODBC driver is registered (found: {', '.join(installed) or 'none'}): install it with "
        "'apt install odbc-postgresql' or 'dnf install postgresql-odbc', or name one with odbc_driver."
    )


def _milliseconds(seconds: float) -> str:
    return f"'{max(1, round(seconds * 1000))}ms'"


def _set_lock_timeout(seconds: float | None) -> str:
    return f"SET lock_timeout = {_milliseconds(_DEFAULT_LOCK_SECONDS if seconds is None else seconds)}"


def _lock_key(name: str) -> int:
    """Return the 63-bit advisory lock key of a name."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "big") >> 1


def _blocker(row: dict, since: str = "in a transaction") -> Blocker:
    return Blocker(
        since=since,
        session=str(row["pid"]),
        user=row["usename"] or "",
        program=row["application_name"] or "",
        host=row["client_addr"] or "local socket",
        statement=row["query"] or "",
        age_seconds=row["age"],
    )


def _without_comments(sql: str, lexis: Lexis) -> str:
    return "".join(" " if token.kind == "comment" else token.text for token in tokens(sql, lexis, ""))


def _folded(identifier: str) -> str:
    """Return a name as the catalog has it: unquoted ones in lower case."""
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier.lower()


def _without_markers(sql: str) -> str:
    """Return the statement inside a DO block, where the driver leaves question marks alone."""
    tag = "$everup$"
    inner = "$everup_statement$"
    if tag in sql or inner in sql:
        raise DatabaseError("A statement with the operator '?' may not hold the dollar quotes $everup$.")
    return f"DO {tag} BEGIN EXECUTE {inner}{sql}{inner}; END {tag}"
