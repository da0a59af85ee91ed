"""A simulated SQL Server behind a simulated pyodbc: enough of both to drive the engine where no server runs.

It is a simulation, and what it simulates is what the engine's docstrings say of SQL Server and its drivers: @@TRANCOUNT and
XACT_STATE(), the database context, session settings and locks, errors that only come with a later result, PRINT, the two
drivers' texts. Plain statements run on SQLite, so that the collection's own tables are real ones. In scripts a few procedures
stand for what a server may do: ``EXEC fail NUMBER, 'text'``, ``EXEC doom``, ``EXEC('COMMIT')``, ``EXEC rows_then_fail``.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from datetime import datetime
from types import SimpleNamespace

from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import Lexis, split

DRIVERS = {
    "microsoft": ("[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]", "libmsodbcsql-18.6.so.2.1", "18.06.0002"),
    "freetds": ("[FreeTDS][SQL Server]", "libtdsodbc.so", "01.03.0017"),
}
STATES = {1222: "42000", 1205: "40001", 208: "42S02", 300: "42000", 2627: "23000", 3902: "25000"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now'{0})"


class Error(Exception):
    """pyodbc's."""


class ProgrammingError(Error):
    """pyodbc's."""


class Server:
    """What every session sees. Tests set its attributes.

    Attributes:
        path: the SQLite file behind it.
        flavour: microsoft or freetds.
        permitted: the login has VIEW SERVER STATE.
        blocker_rows: what sys.dm_exec_requests names.
        first_look, settings: what the engine's questions about the server find.
        seen: every batch that arrived, with the session it came from.
        lock_results: what sp_getapplock gives next, in place of the truth.
        failures: (pattern, number, text) of statements that fail, once each.
    """

    def __init__(self, path, flavour="microsoft") -> None:
        self.path, self.flavour = str(path), flavour
        self.permitted = True
        self.blocker_rows: list[dict] = []
        self.first_look = {"edition": 3, "version": "16.0.4105.2"}
        self.settings = {"edition": "Simulated Edition", "is_read_committed_snapshot_on": 1, "in_group": 0}
        self.locks: dict = {}
        self.lock_results: list[int] = []
        self.seen: list[tuple] = []
        self.failures: list[tuple] = []
        self.sessions: list[Connection] = []
        self._numbers = itertools.count(51)

    def module(self) -> SimpleNamespace:
        """Return what stands in for the module pyodbc."""
        return SimpleNamespace(
            Error=Error,
            ProgrammingError=ProgrammingError,
            SQL_DRIVER_NAME=6,
            SQL_DRIVER_VER=7,
            pooling=True,
            connect=self.connect,
            drivers=lambda: ["FreeTDS" if self.flavour == "freetds" else "ODBC Driver 18 for SQL Server"],
        )

    def connect(self, connection_string, timeout, autocommit):
        assert autocommit, "the driver's own transactions are implicit ones"
        session = Connection(self, next(self._numbers), connection_string)
        self.sessions.append(session)
        return session

    def error(self, number: int, text: str, function="SQLExecDirectW", more=()) -> Error:
        """Return an error as this flavour writes it; FreeTDS puts a following record first."""
        prefix = DRIVERS[self.flavour][0]
        records = [(number, text), *more]
        if self.flavour == "freetds":
            records.reverse()
        state = STATES.get(records[0][0], "42000")
        shown = [f"[{STATES.get(n, '42000')}] {prefix}{t} ({n})" for n, t in records]
        shown[0] += f" ({function})"
        return ProgrammingError(state, "; ".join(shown))


class Connection:
    """One session."""

    def __init__(self, server: Server, number: int, connection_string: str) -> None:
        self.server, self.number, self.connection_string = server, number, connection_string
        self.database = sqlite3.connect(server.path, isolation_level=None, timeout=1, check_same_thread=False)
        self.database.execute("PRAGMA synchronous = OFF")
        self.closed = False
        self.timeout = 0
        self.trancount, self.doomed, self.changed = 0, False, 0
        self.db, self.user, self.asleep = "shop", "dbo", False
        self.options: dict = {}

    def getinfo(self, kind):
        return DRIVERS[self.server.flavour][kind - 5]

    def cursor(self):
        return Cursor(self)

    def execute(self, sql, *parameters):
        return Cursor(self).execute(sql, *parameters)

    def commit(self):
        raise AssertionError("transactions are T-SQL here")

    def rollback(self):
        if self.trancount == 0 and self.server.flavour == "freetds":
            raise self.server.error(3903, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        raise AssertionError("transactions are T-SQL here")

    def close(self):
        if self.closed:
            raise ProgrammingError("Attempt to use a closed connection.")
        if not self.closed:
            self.closed = True
            self.server.locks = {name: holder for name, holder in self.server.locks.items() if holder is not self}
            self.database.close()

    def begin(self):
        if self.trancount == 0:
            self.database.execute("BEGIN IMMEDIATE")
        self.trancount += 1

    def commit_one(self):
        if self.trancount == 0:
            raise self.server.error(3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        if self.doomed:
            raise self.server.error(3930, "The current transaction cannot be committed.")
        self.trancount -= 1
        if self.trancount == 0:
            self.database.execute("COMMIT")

    def roll_back(self):
        if self.trancount:
            self.database.execute("ROLLBACK")
        self.trancount, self.doomed = 0, False


class Cursor:
    """Runs one statement of a batch at each step, as results arrive."""

    def __init__(self, session: Connection) -> None:
        self.session = session
        self.noscan = False
        self.messages: list = []
        self.description = None
        self.rowcount = -1
        self._rows: list = []
        self._error_at_fetch = None
        self._steps: list = []

    def execute(self, sql, *parameters):
        if self.session.closed:
            raise Error("08S01", "[08S01] the connection is closed (0) (SQLExecDirectW)")
        self.session.server.seen.append((self.session.number, sql))
        self._steps = steps_of(self.session, sql, parameters)
        self.nextset()
        return self

    def nextset(self):
        self.description, self._rows, self._error_at_fetch = None, [], None
        self.messages = []
        while self._steps:
            step = self._steps.pop(0)
            if self.session.asleep and not re.match(r"SET (NOEXEC|PARSEONLY|FMTONLY)", step[0]):
                continue
            try:
                rows = run_step(self, *step)
            except Error:
                self._steps = []
                raise
            if rows is not None:
                self.description = [(name,) for name in rows[0]] if rows and isinstance(rows[0], dict) else [("a",)]
                self._rows = [tuple(row.values()) if isinstance(row, dict) else row for row in rows]
                return True
            if self.messages:
                return True
        return False

    def fetchmany(self, count):
        taken, self._rows = self._rows[:count], self._rows[count:]
        if not taken and self._error_at_fetch:
            error, self._error_at_fetch = self._error_at_fetch, None
            raise error
        return taken

    def fetchall(self):
        rows = []
        while True:
            taken = self.fetchmany(100)
            if not taken:
                return rows
            rows += taken

    def close(self):
        self._steps, self._rows = [], []


def steps_of(session: Connection, sql: str, parameters: tuple) -> list:
    """Return the statements of a batch; what belongs together stays one."""
    for whole in (
        "sp_getapplock",
        "sp_releaseapplock",
        "dm_tran_locks",
        "WITH waits",
        "HAS_PERMS_BY_NAME",
        "@@SPID",
        "sys.databases",
    ):
        if whole in sql:
            return [(sql, ())]
    statements = [statement.text for statement in split(sql, Lexis(nested_comments=True, quotes='"['), "batch")]
    with_markers = [text for text in statements if "?" in text]
    return [(text, parameters if with_markers and text == with_markers[0] else ()) for text in statements]


def run_step(cursor: Cursor, sql: str, parameters: tuple):
    """Run one statement; returns its rows, or None when it has no result set."""
    session, server = cursor.session, cursor.session.server
    for failure in server.failures:
        if re.search(failure[0], sql):
            server.failures.remove(failure)
            raise failed(session, failure[1], failure[2])
    for pattern, answer in ANSWERS:
        match = re.match(pattern, sql.strip(), re.IGNORECASE | re.DOTALL)
        if match:
            return answer(cursor, match, sql)
    return on_sqlite(session, sql, parameters)


def failed(session: Connection, number: int, text: str, more=()) -> Error:
    """Return an error; with XACT_ABORT ON it takes the transaction along, but for a lock time-out."""
    if number != 1222 and session.options.get("XACT_ABORT") == "ON":
        session.roll_back()
    return session.server.error(number, text, more=more)


def on_sqlite(session: Connection, sql: str, parameters: tuple):
    text = re.sub(r"\bN'", "'", sql)
    text = text.replace("[dbo].", "").replace(" WITH (READPAST)", "").replace("nvarchar(max)", "text")
    text = text.replace("bigint IDENTITY(1, 1) NOT NULL PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT")
    text = text.replace("CAST(SYSUTCDATETIME() AS datetime2(3))", NOW.format(""))
    later = re.compile(r"DATEADD\(millisecond, (\d+), DATEADD\(second, (-?\d+), strftime\('%Y-%m-%dT%H:%M:%fZ', 'now'\)\)\)")
    text = later.sub(lambda m: NOW.format(f", '{m.group(2)}.{int(m.group(1)):03} seconds'"), text)
    text = re.sub(r"CAST\('([\d:.T-]+)' AS datetime2\(3\)\)", r"'\1Z'", text)
    text = text.replace("@@ROWCOUNT", str(session.changed))
    top = re.match(r"SELECT TOP \((\d+)\)", text)
    if top:
        text = f"SELECT {text[top.end() :]} LIMIT {top.group(1)}"
    try:
        done = session.database.execute(text, parameters)
    except sqlite3.Error as error:
        number = 2627 if isinstance(error, sqlite3.IntegrityError) else 208
        raise failed(session, number, str(error)) from None
    session.changed = max(done.rowcount, 0)
    if done.description is None:
        return None
    names = [column[0] for column in done.description]
    return [dict(zip(names, map(_typed, row))) for row in done.fetchall()]


def _typed(value):
    if isinstance(value, str) and TIME.fullmatch(value):
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ")
    return value


def _print(cursor, match, _sql):
    prefix = DRIVERS[cursor.session.server.flavour][0]
    cursor.messages = [*cursor.messages, ("[01000] (0)", prefix + match.group(1).replace("''", "'"))]


def _raiserror(cursor, match, sql):
    if int(match.group(2)) <= 10:
        return _print(cursor, match, sql)
    raise failed(cursor.session, 50000, match.group(1))


def _transaction(cursor, match, _sql):
    session, verb = cursor.session, match.group(1).upper().split()[0]
    {"BEGIN": session.begin, "COMMIT": session.commit_one, "ROLLBACK": session.roll_back}[verb]()


def _roll_back_if_open(cursor, _match, _sql):
    cursor.session.roll_back()


def _set(cursor, match, _sql):
    session = cursor.session
    words = match.group(1).replace(",", " ").split()
    if words[0].upper() in ("NOEXEC", "PARSEONLY", "FMTONLY") or words[0].upper().startswith("SHOWPLAN"):
        session.asleep = words[1].upper() == "ON"
        return
    if words[0].upper() in ("LANGUAGE", "LOCK_TIMEOUT", "DEADLOCK_PRIORITY", "DATEFORMAT", "DATEFIRST", "ROWCOUNT"):
        session.options[words[0].upper()] = words[-1]
    for name in words[:-1]:
        session.options[name.upper()] = words[-1].upper()
    if words[0].upper() == "LANGUAGE":
        cursor.messages = [*cursor.messages, ("[01000] (5703)", "Changed language setting to us_english.")]


def _use(cursor, match, _sql):
    cursor.session.db = match.group(1)
    cursor.messages = [*cursor.messages, ("[01000] (5701)", f"Changed database context to '{match.group(1)}'.")]


def _execute_as(cursor, match, _sql):
    cursor.session.user = match.group(1)


def _state(cursor, _match, _sql):
    session = cursor.session
    state = -1 if session.doomed else 1 if session.trancount else 0
    return [{"open_transactions": session.trancount, "state": state, "db": session.db}]


def _trancount(cursor, _match, _sql):
    return [{"open_transactions": cursor.session.trancount}]


def _first_look(cursor, _match, _sql):
    session = cursor.session
    look = {"spid": session.number, "db": session.db, "user_name": session.user, "language": "us_english", "first_day": 7}
    return [{**look, **session.server.first_look}]


def _lock(cursor, match, _sql):
    session, server = cursor.session, cursor.session.server
    if server.lock_results:
        return [{"result": server.lock_results.pop(0)}]
    holder = server.locks.setdefault(match.group(1), session)
    return [{"result": 0 if holder is session else -1}]


def _unlock(cursor, match, _sql):
    cursor.session.server.locks.pop(match.group(1), None)


def _lock_test(cursor, match, _sql):
    holder = cursor.session.server.locks.get(match.group(1))
    return [{"free": 1 if holder in (None, cursor.session) else 0}]


def _holder(cursor, match, _sql):
    server = cursor.session.server
    if not server.permitted:
        raise server.error(300, "VIEW SERVER STATE permission was denied on object 'server', database 'master'.")
    holder = server.locks[match.group(1)]
    row = {"login_name": "deploy", "program_name": "everup.deploy 2.4.0", "host_name": "control", "age": 12, "since": "connected"}
    return [{"session_id": holder.number, **row, "statement": None}]


def _waits(cursor, _match, _sql):
    server = cursor.session.server
    return server.blocker_rows if server.permitted else []


def _permissions(cursor, _match, _sql):
    return [{"server_state": int(cursor.session.server.permitted), "performance_state": 0, "database_state": 0}]


def _settings(cursor, _match, _sql):
    return [dict(cursor.session.server.settings)]


def _lag(cursor, _match, _sql):
    if not cursor.session.server.permitted:
        raise cursor.session.server.error(300, "VIEW SERVER STATE permission was denied.")
    return [{"lag": 7}]


def _object_id(cursor, match, _sql):
    name = match.group(1).split("].[")[-1].strip("[]")
    rows = cursor.session.database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchall()
    return [{"id": rows[0][0] if rows else None}]


def _fail(cursor, match, _sql):
    raise failed(cursor.session, int(match.group(1)), match.group(2), more=[(8180, "Statement(s) could not be prepared.")])


def _doom(cursor, _match, _sql):
    cursor.session.doomed = True


def _rows_then_fail(cursor, _match, _sql):
    cursor._error_at_fetch = cursor.session.server.error(245, "Conversion failed when converting the varchar value.")
    return [(1,), (2,)]


def _nothing(_cursor, _match, _sql):
    return None


def _stored_objects(_cursor, _match, _sql):
    return [{"schema": "dbo", "name": "spFind", "kind": "procedure"}]


ANSWERS = (
    (r"SELECT SCHEMA_NAME\(schema_id\) .* FROM sys\.objects", _stored_objects),
    (r"PRINT N?'(.*)'$", _print),
    (r"RAISERROR\s*\(N?'(.*?)',\s*(\d+)", _raiserror),
    (r"EXEC fail (\d+), '(.*)'$", _fail),
    (r"EXEC doom", _doom),
    (r"EXEC rows_then_fail", _rows_then_fail),
    (r"EXEC\s*\(\s*'(COMMIT|BEGIN TRAN|ROLLBACK)'\s*\)", _transaction),
    (r"(BEGIN TRANSACTION|COMMIT TRANSACTION)$", _transaction),
    (r"IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION$", _roll_back_if_open),
    (r"SELECT @@TRANCOUNT AS open_transactions, .*XACT_STATE", _state),
    (r"SELECT @@TRANCOUNT AS open_transactions$", _trancount),
    (r"SELECT DB_NAME\(\) AS db$", lambda cursor, _match, _sql: [{"db": cursor.session.db}]),
    (r"SELECT @@SPID", _first_look),
    (r"DECLARE @result.*sp_getapplock @Resource = N'([^']*)'", _lock),
    (r"EXEC sys\.sp_releaseapplock @Resource = N'([^']*)'", _unlock),
    (r"SELECT APPLOCK_TEST\(N'public', N'([^']*)'", _lock_test),
    (r".*dm_tran_locks.*N'\[' \+ N'([^']*)'", _holder),
    (r"WITH waits", _waits),
    (r"SELECT COALESCE\(HAS_PERMS_BY_NAME", _permissions),
    (r"SELECT CAST\(SERVERPROPERTY\('Edition'", _settings),
    (r"SELECT MAX\(CAST\(secondary_lag_seconds", _lag),
    (r"SELECT OBJECT_ID\(N'([^']*)', N'U'\)", _object_id),
    (r"SELECT COALESCE\(OBJECT_SCHEMA_NAME", lambda _cursor, _match, _sql: [{"name": "dbo"}]),
    (r"IF SCHEMA_ID", _nothing),
    (r"USE \[(.*)\]$", _use),
    (r"EXECUTE AS USER = N?'(.*)'", _execute_as),
    (r"DECLARE @left", _nothing),
    (r"WHILE USER_NAME\(\) <> N'(.*?)'", _execute_as),
    (r"SET @left", _nothing),
    (r"SET (.*)$", _set),
)
