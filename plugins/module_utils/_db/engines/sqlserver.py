# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQL Server 2016 and newer, and Azure SQL, through pyodbc and Microsoft's driver or FreeTDS.

Facts relied on, from Microsoft Learn: DDL is transactional ("Transact-SQL statements allowed in transactions"); error 1222
cancels the statement and leaves the transaction open, so we roll back ("SET LOCK_TIMEOUT", remarks); a deadlock victim (1205)
has been rolled back ("Deadlocks guide"); XACT_STATE() is -1 for a transaction that cannot commit ("XACT_STATE"); a SET
sticks to the session ("SET statements"), also LOCK_TIMEOUT; NOEXEC, PARSEONLY, FMTONLY and SHOWPLAN keep everything behind
them from running (each its own page); ROLLBACK without a transaction is error 3903 ("Database engine events and errors");
sp_getapplock gives 0 granted, 1 granted after a wait, -1 time-out, -2 cancelled, -3 deadlock victim, -999 bad call
("sp_getapplock"), and a session's lock ends with it; SERVERPROPERTY is sql_variant and wants a CAST ("SERVERPROPERTY").
Transactions are ours in T-SQL and not the driver's, since the driver's would be implicit ones that any SELECT begins.
Errors of later results come only when these are read.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager, suppress
from typing import Iterator

from ..._redact import odbc_parts
from ..errors import DatabaseError
from ..keyset import SQL_SERVER
from ..lexis import Lexis, Statement
from . import odbc, sqlserver_sessions
from .base import Blocker
from .odbc import OdbcEngine, rows_of
from .sqlserver_connection import sqlserver_connection_string
from .sqlserver_errors import mapped, news_of, plain_text
from .sqlserver_statements import changes_at_most_once, check_batch, has_words, is_one_piece
from .stored import run_tsqlt

_DEFAULT_LOCK_SECONDS = 10.0
_OLDEST_MAJOR = 13
_AZURE_EDITIONS = (5, 8, 12)  # SQL Database, Managed Instance, SQL database in Fabric: their version number says 12
_ONLINE_EDITIONS = (3, *_AZURE_EDITIONS)
_MOST_MESSAGES = 200
_ROWS_AT_ONCE = 1000
_CHANGES = re.compile(r"(?is)(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:INSERT|UPDATE|DELETE|MERGE|WITH)\b")
_MISMATCH = 266  # a procedure or dynamic SQL ended with another @@TRANCOUNT than it began with
_COMMITTED = "A COMMIT has made permanent what the script did until there: look what is there before it runs again"
_CONNECT_HINTS = {
    "certificate verify failed": ". Give the server a certificate that this host trusts, or set trust_server_certificate: true.",
    "Can't open lib": ". Is the driver installed on this host? odbcinst -q -d lists the registered ones.",
}
_SLEEPERS = ("NOEXEC", "PARSEONLY", "FMTONLY", "SHOWPLAN_ALL", "SHOWPLAN_TEXT", "SHOWPLAN_XML")
_FIRST_LOOK = """
SELECT @@SPID AS spid, DB_NAME() AS db, USER_NAME() AS user_name, @@LANGUAGE AS language, @@DATEFIRST AS first_day,
       CAST(SERVERPROPERTY('EngineEdition') AS int) AS edition,
       CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS version
"""
_STATE = "SELECT @@TRANCOUNT AS open_transactions, CAST(XACT_STATE() AS int) AS state, DB_NAME() AS db"
_ROLL_BACK = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION; SELECT @@TRANCOUNT AS open_transactions"
_RESET = """
DECLARE @left int = 32;
WHILE USER_NAME() <> {user} AND @left > 0 BEGIN REVERT; SET @left -= 1 END;
SET LANGUAGE {language};
SET DATEFIRST {first_day};
SET ANSI_NULLS, ANSI_NULL_DFLT_ON, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, QUOTED_IDENTIFIER ON;
SET NUMERIC_ROUNDABORT OFF;
SET CURSOR_CLOSE_ON_COMMIT OFF;
SET IMPLICIT_TRANSACTIONS OFF;
SET FORCEPLAN OFF;
SET NOCOUNT OFF;
SET STATISTICS IO OFF;
SET STATISTICS TIME OFF;
SET XACT_ABORT ON;
SET ROWCOUNT 0;
SET TEXTSIZE 2147483647;
SET DEADLOCK_PRIORITY LOW;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET LOCK_TIMEOUT {lock_timeout};
SELECT DB_NAME() AS db
"""
_SETTINGS = """
SELECT CAST(SERVERPROPERTY('Edition') AS nvarchar(128)) AS edition,
       CAST(SERVERPROPERTY('EngineEdition') AS int) AS engine_edition,
       CAST(SERVERPROPERTY('ProductLevel') AS nvarchar(128)) AS product_level,
       CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128)) AS updateability,
       CAST(d.compatibility_level AS int) AS compatibility_level, d.collation_name,
       CAST(d.is_read_committed_snapshot_on AS int) AS is_read_committed_snapshot_on,
       d.snapshot_isolation_state_desc AS snapshot_isolation_state, d.recovery_model_desc AS recovery_model,
       d.containment_desc AS containment, CASE WHEN d.replica_id IS NULL THEN 0 ELSE 1 END AS in_group
FROM sys.databases d WHERE d.database_id = DB_ID()
"""
_LAG = """
SELECT MAX(CAST(secondary_lag_seconds AS bigint)) AS lag FROM sys.dm_hadr_database_replica_states
WHERE database_id = DB_ID() AND is_local = 0
"""


class SqlserverEngine(OdbcEngine):
    """One session of a SQL Server."""

    name = "sqlserver"
    label = "SQL Server"
    packages = ("tdsodbc", "msodbcsql18")
    lexis = Lexis(nested_comments=True, quotes='"[', batches=True)
    transactional_ddl = True
    keeps_zone = False
    keyset = SQL_SERVER
    types = {  # noqa: RUF012 - a constant
        "text": "nvarchar(max)",
        "name": "nvarchar(255)",
        "time": "datetime2(3)",
        "count": "bigint",
        "serial": "bigint IDENTITY(1, 1) NOT NULL PRIMARY KEY",
    }

    def __init__(self, connection_string: str, schema: str, connect_timeout: int) -> None:
        super().__init__(connection_string, schema, connect_timeout)
        self._in_transaction = False
        self._statement_timeout = 0
        self._messages: list[str] = []
        self._locks: set[str] = set()
        self._home = self.query(_FIRST_LOOK)[0]
        self._version = str(self._home["version"])
        if self._home["edition"] not in _AZURE_EDITIONS and self._major() < _OLDEST_MAJOR:
            self.close()
            raise DatabaseError(f"SQL Server {self._version} is too old: everup.deploy needs SQL Server 2016 (13.0) or newer.")
        self.reset_session()

    @classmethod
    def from_options(cls, params: dict, create: bool) -> SqlserverEngine:
        if params["login_unix_socket"]:
            raise DatabaseError("SQL Server has no Unix socket: give login_host.")
        release = params.get("release_version") or params.get("version")
        if release and params["application_name"] == "everup.deploy":
            params = {**params, "application_name": f"everup.deploy {release}"}
        return super().from_options(params, create)

    @staticmethod
    def connection_string(params: dict, application_name: str) -> str:
        return sqlserver_connection_string(params, application_name)

    def _connect(self):
        # A pooled connection would live on with its session lock and settings after close().
        odbc.pyodbc.pooling = False
        try:
            return odbc.pyodbc.connect(self._connection_string, timeout=self._connect_timeout, autocommit=True)
        except odbc.pyodbc.Error as error:
            text = plain_text(str(error.args[-1] if error.args else error))
            hint = next((hint for sign, hint in _CONNECT_HINTS.items() if sign in text), "")
            server = odbc_parts(self._connection_string).get("server", "the server of the DSN")
            raise DatabaseError(f"SQL Server: no connection to {server}: {text}{hint}") from None

    def close(self) -> None:
        """End the session, also one that was closed because it would not roll back."""
        with suppress(odbc.pyodbc.Error):
            self._connection.close()

    def _major(self) -> int:
        return int(self._version.partition(".")[0])

    # Statements

    def query(self, sql: str, parameters: tuple = ()) -> list[dict]:
        """Return the rows of the first result that has any columns, once everything behind it has been read."""
        found = self._results(sql, parameters)
        return found[0] if found else []

    def assertion_rows(self, statement: Statement) -> list[dict]:
        return [row for rows in self._results(statement.text, ()) for row in rows]

    def _results(self, sql: str, parameters: tuple) -> list[list[dict]]:
        """Return the rows of each result that has columns."""
        cursor = self._run(sql, parameters)
        try:
            found = []
            while True:
                if cursor.description:
                    found.append(rows_of(cursor))
                if not cursor.nextset():
                    return found
        except odbc.pyodbc.Error as error:
            raise self._mapped(error) from error
        finally:
            _close(cursor)

    def execute(self, sql: str, parameters: tuple = ()) -> int:
        """Run one statement; the count is asked for, since NOCOUNT or a trigger would hide what the driver says."""
        if _CHANGES.match(sql):
            # The line may end in a comment.
            return self.query(f"SET NOCOUNT ON; {sql}\n; SELECT @@ROWCOUNT AS changed", parameters)[0]["changed"]
        self.query(sql, parameters)
        return -1

    def _run(self, sql: str, parameters: tuple):
        """Write a NULL into the text: as a parameter it has no type, and the drivers differ in what they guess."""
        if None in parameters and sql.count("?") == len(parameters):
            pieces = sql.split("?")
            marks = ["NULL" if value is None else "?" for value in parameters]
            sql = "".join(piece + mark for piece, mark in zip(pieces, [*marks, ""]))
            parameters = tuple(value for value in parameters if value is not None)
        return super()._run(sql, parameters)

    def run_script_statement(self, statement: Statement) -> None:
        """Run one batch to the end of its last result, then see that it left the session as it was.

        Raises:
            LockTimeout, DatabaseError: any of its results is an error, or the batch ended or left a transaction, or it left
                the database.
        """
        try:
            heard = self._run_batch(statement.text)
            self._check_state()
        except DatabaseError as error:
            self._recover()
            if error.details.get("number") == _MISMATCH:
                raise type(error)(f"{error}. {_COMMITTED}", **error.details) from error
            raise
        self._messages = (self._messages + heard)[:_MOST_MESSAGES]

    def _run_batch(self, sql: str) -> list[str]:
        """Return what PRINT and RAISERROR up to severity 10 have said; the driver gives it with the result it came before."""
        heard: list[str] = []
        cursor = self._connection.cursor()
        try:
            cursor.noscan = True  # braces are no ODBC escapes
            cursor.execute(sql)
            seen = None
            while True:
                if cursor.messages is not seen:
                    seen = cursor.messages
                    heard += news_of(seen)
                _read_away(cursor)
                if not cursor.nextset():
                    break
            if cursor.messages is not seen:
                heard += news_of(cursor.messages)
            return heard
        except odbc.pyodbc.Error as error:
            raise self._mapped(error) from error
        finally:
            _close(cursor)

    def take_messages(self) -> list[str]:
        taken, self._messages = self._messages, []
        return taken

    def _check_state(self) -> None:
        rows = self.query(_STATE)
        if not rows or "open_transactions" not in rows[0]:
            raise DatabaseError(
                "SQL Server: the batch has left NOEXEC, PARSEONLY, FMTONLY or SHOWPLAN on, and nothing behind it would have run: "
                "take it out"
            )
        state = rows[0]
        found, expected = state["open_transactions"], 1 if self._in_transaction else 0
        if found < expected:
            raise DatabaseError(
                "SQL Server: the batch has ended everup's transaction, by a COMMIT or ROLLBACK in a procedure or in dynamic SQL. "
                + _COMMITTED
            )
        if found > expected:
            raise DatabaseError(
                f"SQL Server: the batch has left {found - expected} transaction(s) open, begun in a procedure or in dynamic SQL; "
                "rolled back"
            )
        if state["state"] == -1:
            raise DatabaseError("SQL Server: the transaction cannot commit any more (XACT_STATE() is -1); rolled back")
        if state["db"] != self._home["db"]:
            raise DatabaseError(
                f"SQL Server: the batch has gone to the database {state['db']} by USE: a script stays in {self._home['db']}; "
                "write names of three parts, or go back in the same batch"
            )

    def _recover(self) -> None:
        """Bring the session back after a batch that failed; the caller's own transaction is the caller's to roll back."""
        self._wake()
        if not self._in_transaction:
            self._roll_back()
        with suppress(DatabaseError):
            self.reset_session()

    def _wake(self) -> None:
        """Let statements run again, one batch each, as SHOWPLAN wants; a right that lacks now was lacking for ON as well."""
        for option in _SLEEPERS:
            with suppress(DatabaseError):
                self.query(f"SET {option} OFF")

    # Transactions

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.query("BEGIN TRANSACTION")
        self._in_transaction = True
        try:
            yield
            if self.query("COMMIT TRANSACTION; SELECT @@TRANCOUNT AS open_transactions") != [{"open_transactions": 0}]:
                raise DatabaseError("SQL Server: a transaction was left open inside everup's own; everything was rolled back.")
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._in_transaction = False

    def _roll_back(self) -> None:
        """End every open transaction; a session that will not is closed, and the server does it."""
        try:
            if self.query(_ROLL_BACK) == [{"open_transactions": 0}]:
                return
        except DatabaseError:
            pass  # closing it is what is left to do
        with suppress(odbc.pyodbc.Error):
            self._connection.close()

    # The session's settings

    def set_lock_timeout(self, seconds: float | None) -> None:
        self.query(f"SET LOCK_TIMEOUT {_milliseconds(_DEFAULT_LOCK_SECONDS if seconds is None else seconds)}")

    def set_statement_timeout(self, seconds: float | None) -> None:
        """Bound every statement; the driver counts in whole seconds, and cancels by an attention to the server."""
        whole = 0 if seconds is None else max(1, math.ceil(seconds))
        if whole == self._statement_timeout:
            return
        try:
            self._connection.timeout = whole
        except odbc.pyodbc.Error as error:
            raise self._mapped(error) from error
        self._statement_timeout = whole

    def reset_session(self, lock_timeout: float | None = None) -> None:
        """Set every option as a new connection of ours has it, end impersonation and go back to the database.

        A deadlock is decided against us, since we try again and the application may not. What no statement can undo stays:
        IDENTITY_INSERT of a table, temporary tables, and EXECUTE AS ... WITH NO REVERT.
        """
        self.set_statement_timeout(None)
        reset = _RESET.format(
            user=_literal(self._home["user_name"]),
            language=_literal(self._home["language"]),
            first_day=int(self._home["first_day"]),
            lock_timeout=_milliseconds(_DEFAULT_LOCK_SECONDS if lock_timeout is None else lock_timeout),
        )
        found = self.query(reset)
        if not found or "db" not in found[0]:
            self._wake()
            found = self.query(reset)
        if found[0]["db"] != self._home["db"]:
            self.query(f"USE {self.quote(self._home['db'])}")

    def is_online(self, statement: Statement) -> bool:
        """Return whether it waits at low priority: others pass it while it waits for its lock."""
        return has_words(statement, self.lexis, "WAIT_AT_LOW_PRIORITY")

    def joins_transaction(self, statement: Statement) -> bool:
        """Return whether a batch commits together with its count: any that may stand in a transaction and begins no loop."""
        return is_one_piece(statement, self.lexis)

    def is_atomic(self, statement: Statement) -> bool:
        """Return whether at most one statement of a batch changes anything: outside a transaction each commits by itself."""
        return self.joins_transaction(statement) or changes_at_most_once(statement, self.lexis)

    # Session locks and sessions

    def try_session_lock(self, name: str) -> bool:
        resource = sqlserver_sessions.lock_resource(name)
        result = self.query(
            f"DECLARE @result int; EXEC @result = sys.sp_getapplock @Resource = {_literal(resource)}, @LockMode = N'Exclusive',"
            " @LockOwner = N'Session', @LockTimeout = 0, @DbPrincipal = N'public'; SELECT @result AS result"
        )[0]["result"]
        if result in (0, 1):
            self._locks.add(resource)
            return True
        if result in (-1, -3):  # held by another; or we lost a deadlock over it, which leaves nothing to roll back here
            return False
        why = {-2: "the request was cancelled", -999: "the call was refused"}.get(result, "an unknown answer")
        raise DatabaseError(f"SQL Server: sp_getapplock gave {result} for '{resource}': {why}.")

    def release_session_lock(self, name: str) -> None:
        resource = sqlserver_sessions.lock_resource(name)
        if resource not in self._locks:
            return
        self._locks.discard(resource)
        with suppress(DatabaseError):  # a session that is gone has no lock either
            self.query(
                f"EXEC sys.sp_releaseapplock @Resource = {_literal(resource)}, @LockOwner = N'Session', @DbPrincipal = N'public'"
            )

    def session_lock_holder(self, name: str) -> Blocker | None:
        resource = _literal(sqlserver_sessions.lock_resource(name))
        free = self.query(f"SELECT APPLOCK_TEST(N'public', {resource}, N'Exclusive', N'Session') AS free")[0]["free"]
        if free == 1:
            return None
        try:
            rows = self.query(sqlserver_sessions.HOLDER.format(name=resource))
        except DatabaseError as error:
            if error.details.get("number") in sqlserver_sessions.NOT_PERMITTED:
                return sqlserver_sessions.unseen()
            raise
        return sqlserver_sessions.blocker_of(rows[0]) if rows else None

    def _blockers(self, connection) -> list[Blocker]:
        rows = rows_of(connection.execute(sqlserver_sessions.BLOCKERS.format(spid=int(self._home["spid"]))))
        permitted = bool(rows) or any(rows_of(connection.execute(sqlserver_sessions.MAY_SEE))[0].values())
        return sqlserver_sessions.blockers_of(rows, permitted)

    def _mapped(self, error) -> DatabaseError:
        return mapped(error)

    # The collection's own tables

    def quote(self, identifier: str) -> str:
        return "[" + identifier.replace("]", "]]") + "]"

    def settle_schema(self, table: str) -> None:
        if not self.schema:
            name = _literal(self.quote(table))
            found = f"COALESCE(OBJECT_SCHEMA_NAME(OBJECT_ID({name}, N'U')), SCHEMA_NAME(), N'dbo')"
            self.schema = self.query(f"SELECT {found} AS name")[0]["name"]

    def create_schema(self) -> None:
        if self.schema:
            create = _literal(f"CREATE SCHEMA {self.quote(self.schema)}")
            self.query(f"IF SCHEMA_ID({_literal(self.schema)}) IS NULL EXEC ({create})")

    def table_exists(self, table: str) -> bool:
        return self.query(f"SELECT OBJECT_ID({_literal(self.table(table))}, N'U') AS id")[0]["id"] is not None

    def first_rows(self, select: str, count: int) -> str:
        return re.sub(r"(?i)^\s*SELECT\b", f"SELECT TOP ({int(count)})", select, count=1)

    def settled_rows(self, table: str) -> str:
        """Skip rows in flight: without READ_COMMITTED_SNAPSHOT a reader would wait until the other transaction ends."""
        return f"{table} WITH (READPAST)"

    def now(self) -> str:
        return "CAST(SYSUTCDATETIME() AS datetime2(3))"

    def later(self, seconds: float) -> str:
        whole = math.floor(seconds)
        return f"DATEADD(millisecond, {round((seconds - whole) * 1000)}, DATEADD(second, {whole}, {self.now()}))"

    def recent_sessions(self) -> int | None:
        """Return None without VIEW SERVER STATE: only our own session is seen then, and nobody's work."""
        if not any(self.query(sqlserver_sessions.MAY_SEE)[0].values()):
            return None
        return self.query(sqlserver_sessions.RECENT)[0]["n"]

    # What this server is and can

    def server_version(self) -> str:
        return self._version

    def capabilities(self) -> dict[str, bool]:
        online = self._home["edition"] in _ONLINE_EDITIONS
        return {
            **super().capabilities(),
            "session_lock": True,
            "online_index": online,
            "resumable_index": online and (self._home["edition"] in _AZURE_EDITIONS or self._major() >= 15),
            "instant_add_column": online,
            "instant_drop_column": True,
            "statement_timeout": True,
            "subsecond_lock_timeout": True,
            "sequences": True,
        }

    def settings(self) -> dict:
        """Return edition, isolation, recovery and availability of the database; what may not be seen is None."""
        found = self.query(_SETTINGS)[0]
        replicated = bool(found.pop("in_group"))
        lag = None
        if replicated:
            with suppress(DatabaseError):  # needs VIEW SERVER STATE
                lag = self.query(_LAG)[0]["lag"]
        return {
            **found,
            "is_read_committed_snapshot_on": bool(found["is_read_committed_snapshot_on"]),
            "replication": replicated,
            "replication_lag_seconds": lag,
        }

    def run_test_suites(self) -> list[dict]:
        return run_tsqlt(self.query)

    def check_statement(self, statement: Statement, source: str, in_transaction: bool) -> None:
        check_batch(statement, self.lexis, source, in_transaction)


def _literal(text: str) -> str:
    return "N'" + str(text).replace("'", "''") + "'"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _read_away(cursor) -> None:
    """Read the rows of a result that nobody wants, since its error may come with any of them."""
    if not cursor.description:
        return
    try:
        while cursor.fetchmany(_ROWS_AT_ONCE):
            continue
    except odbc.pyodbc.Error as error:
        # A column type that pyodbc cannot read, such as geography, is no error of the batch.
        if "HY106" not in str(error.args) and "not yet supported" not in str(error):
            raise


def _close(cursor) -> None:
    with suppress(odbc.pyodbc.Error):
        cursor.close()
