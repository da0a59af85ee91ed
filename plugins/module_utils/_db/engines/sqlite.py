# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQLite through Python's own sqlite3 module.

Facts relied on, from sqlite.org: DDL is transactional ("Transactional SQL", lang_transaction.html); there is one
writer at a time and BEGIN IMMEDIATE takes its place at once or waits for busy_timeout (pragma.html#pragma_busy_timeout);
strftime() gives UTC (lang_datefunc.html); DROP COLUMN came with 3.35 (lang_altertable.html).
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ..errors import DatabaseError, LockTimeout
from ..keyset import SQLITE, Column
from ..lexis import Lexis, ScriptError, Statement
from ..who import user_name
from .base import Blocker, Engine

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has none
    fcntl = None

_MINIMUM = (3, 35, 0)
_BUSY = ("database is locked", "database table is locked", "database schema is locked")
_DEFAULT_BUSY_SECONDS = 10.0
_LOCK_FILE_SUFFIX = "-everup-lock"


class SqliteEngine(Engine):
    """One SQLite database file.

    Parameters:
        path: the database file.
        application_name: written into the lock file, so that a waiting run can say who holds it.
        create: create the file when it is missing; otherwise a missing file reads as an empty database.

    Raises:
        DatabaseError: the library is too old, or the file cannot be opened.
    """

    name = "sqlite"
    lexis = Lexis(quotes='"`[', trigger_bodies=True, client_command=r"\.[a-z]")
    transactional_ddl = True
    repeatable = ("VACUUM", "PRAGMA")
    keyset = SQLITE
    types = {  # noqa: RUF012 - a constant
        "text": "TEXT",
        "name": "TEXT",
        "time": "TEXT",
        "count": "INTEGER",
        "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
    }

    def __init__(self, path: str, application_name: str, create: bool) -> None:
        if sqlite3.sqlite_version_info < _MINIMUM:
            raise DatabaseError(
                f"SQLite {sqlite3.sqlite_version} is too old: DROP COLUMN needs 3.35. Use a Python with a newer SQLite "
                "(ansible_python_interpreter)."
            )
        self._path = Path(path)
        self._program = application_name
        self._lock_file = None
        self._deadline: float | None = None
        exists = self._path.exists()
        if not exists and create and not self._path.parent.is_dir():
            raise DatabaseError(f"The folder of the SQLite database {path} does not exist: check login_db.")
        target = str(self._path) if exists or create else ":memory:"
        try:
            self._connection = sqlite3.connect(target, isolation_level=None, timeout=_DEFAULT_BUSY_SECONDS)
            self._connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.Error as error:
            raise DatabaseError(f"The SQLite database {path} cannot be opened: {error}") from error
        self._connection.set_progress_handler(self._over_deadline, 10_000)

    @classmethod
    def from_options(cls, params: dict, create: bool) -> SqliteEngine:
        if params["connection_string"]:
            raise DatabaseError("connection_string is for server engines: give the SQLite file as login_db.")
        if not params["login_db"]:
            raise DatabaseError("login_db is missing: it is the path of the SQLite database file.")
        if params["schema"]:
            raise DatabaseError("SQLite has no schemas: leave schema empty and use table_prefix.")
        return cls(params["login_db"], params["application_name"], create)

    def close(self) -> None:
        if self._lock_file:
            self._lock_file.close()
            self._lock_file = None
        self._connection.close()

    def query(self, sql: str, parameters: tuple = ()) -> list[dict]:
        cursor = self._run(sql, parameters)
        names = [column[0].lower() for column in cursor.description or ()]
        with self._mapped():
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    def execute(self, sql: str, parameters: tuple = ()) -> int:
        return self._run(sql, parameters).rowcount

    def run_script_statement(self, statement: Statement) -> None:
        cursor = self._run(statement.text, ())
        with self._mapped():
            for _row in cursor:
                continue

    def _run(self, sql: str, parameters: tuple) -> sqlite3.Cursor:
        with self._mapped():
            return self._connection.execute(sql, parameters)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """Turn the library's errors into ours; a statement may fail at its first row or at any later one."""
        try:
            yield
        except sqlite3.Error as error:
            if any(text in str(error) for text in _BUSY):
                raise LockTimeout(f"SQLite: {error}") from error
            if "interrupted" in str(error) and self._over_deadline():
                raise DatabaseError("SQLite: the statement was stopped by its statement time-out") from error
            raise DatabaseError(f"SQLite: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._run("BEGIN IMMEDIATE", ())
        try:
            yield
            self._run("COMMIT", ())
        except BaseException:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise

    def set_lock_timeout(self, seconds: float | None) -> None:
        milliseconds = round((_DEFAULT_BUSY_SECONDS if seconds is None else seconds) * 1000)
        self._connection.execute(f"PRAGMA busy_timeout = {milliseconds}")

    def set_statement_timeout(self, seconds: float | None) -> None:
        """Bound the time from here on: SQLite has no statement time-out, a progress handler interrupts instead."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def reset_session(self, lock_timeout: float | None = None) -> None:
        self.set_statement_timeout(None)
        self.set_lock_timeout(lock_timeout)

    def joins_transaction(self, statement: Statement) -> bool:
        """Return whether it may run in a transaction: all but these few do."""
        return statement.words[:1] not in (("VACUUM",), ("PRAGMA",), ("ATTACH",), ("DETACH",))

    def _over_deadline(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def try_session_lock(self, name: str) -> bool:
        """Lock a file beside the database with flock(2): it is freed when the process dies, however it dies."""
        if fcntl is None:
            return True
        try:
            lock_file = open(f"{self._path}{_LOCK_FILE_SUFFIX}", "a+", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise DatabaseError(f"The lock file beside {self._path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock_file.close()
            return False
        lock_file.truncate(0)
        json.dump(
            {"pid": os.getpid(), "user": user_name(), "program": self._program, "since": time.time()},
            lock_file,
        )
        lock_file.flush()
        self._lock_file = lock_file
        return True

    def release_session_lock(self, name: str) -> None:
        if self._lock_file:
            self._lock_file.truncate(0)
            self._lock_file.close()
            self._lock_file = None

    def session_lock_holder(self, name: str) -> Blocker | None:
        try:
            with open(f"{self._path}{_LOCK_FILE_SUFFIX}", encoding="utf-8") as lock_file:
                if self._is_free(lock_file):
                    return None
                holder = json.load(lock_file)
        except OSError:
            return None
        except ValueError:  # it holds the lock and has not yet written its name, or is taking it back
            return Blocker("an unknown process", host="this host")
        return Blocker(
            session=f"process {holder['pid']}",
            user=holder["user"],
            program=holder["program"],
            host="this host",
            age_seconds=time.time() - holder["since"],
            since="holding the lock",
        )

    @staticmethod
    def _is_free(lock_file) -> bool:
        """Return whether nobody holds the lock: a run that was killed leaves its name in the file, but no lock."""
        if fcntl is None:
            return True
        try:
            fcntl.flock(lock_file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def blockers(self) -> list[Blocker]:
        """Return the processes with a POSIX lock on the database or its WAL index (Linux, /proc/locks; proc(5)).

        A reader is named only where there is no writer: it holds up nothing but a commit.
        """
        inodes = set()
        for suffix in ("", "-shm", "-wal"):
            try:
                inodes.add(Path(f"{self._path}{suffix}").stat().st_ino)
            except OSError:
                continue
        try:
            lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        except OSError:
            return []
        pids: dict = {"WRITE": set(), "READ": set()}
        for fields in (line.split() for line in lines):
            if len(fields) >= 8 and fields[1] == "POSIX" and int(fields[5].split(":")[2]) in inodes:
                pids.setdefault(fields[3], set()).add(int(fields[4]))
        others = [found - {os.getpid(), -1, 0} for found in (pids["WRITE"], pids["READ"])]
        return [self._process(pid) for pid in sorted(others[0] or others[1])]

    @staticmethod
    def _process(pid: int) -> Blocker:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        except OSError:
            command = ""
        return Blocker(session=f"process {pid}", program=command[:200], host="this host")

    def table_exists(self, table: str) -> bool:
        return bool(self.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)))

    def driver(self) -> str:
        return "sqlite3"

    def capabilities(self) -> dict[str, bool]:
        """Return what the library can do: DROP COLUMN rewrites the table, ADD COLUMN does not (lang_altertable.html)."""
        able = ("instant_add_column", "statement_timeout", "subsecond_lock_timeout")
        return {**super().capabilities(), **dict.fromkeys(able, True), "session_lock": fcntl is not None}

    def settings(self) -> dict:
        names = ("journal_mode", "foreign_keys", "synchronous", "page_size", "user_version")
        values = {name: self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}
        return {**values, "version": sqlite3.sqlite_version, "replication": False, "replication_lag_seconds": None}

    def columns(self, table: str) -> list[Column]:
        rows = self.query('SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?)', (table,))
        return [Column(row["name"], row["type"], row["type"], not (row["notnull"] or row["pk"])) for row in rows]

    def has_index(self, table: str, columns: list[str]) -> bool:
        key = self.query("SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk", (table,))
        indexes = [[row["name"] for row in key]]
        for index in self.query("SELECT name FROM pragma_index_list(?) WHERE partial = 0", (table,)):
            rows = self.query("SELECT name FROM pragma_index_info(?) ORDER BY seqno", (index["name"],))
            indexes.append([row["name"] for row in rows])
        return any(names[: len(columns)] == columns for names in indexes)

    def row_estimate(self, table: str) -> int | None:
        """Count: SQLite reads its smallest index for it, and nobody else keeps a number."""
        return self.query(f"SELECT count(*) AS n FROM {self.table_of_user(table)}")[0]["n"]

    def exists(self) -> bool:
        return self._path.is_file()

    def server_version(self) -> str:
        return sqlite3.sqlite_version

    def now(self) -> str:
        return "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"

    def later(self, seconds: float) -> str:
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '{float(seconds):+.3f} seconds')"

    def check_statement(self, statement: Statement, source: str, in_transaction: bool) -> None:
        super().check_statement(statement, source, in_transaction)
        outside_only = statement.words[:1] == ("VACUUM",) or statement.words[:2] == ("PRAGMA", "JOURNAL_MODE")
        if in_transaction and outside_only:
            raise ScriptError(
                source,
                statement.line,
                statement.column,
                f"{' '.join(statement.words[:2])} cannot run in a transaction: "
                "put '-- everup: transaction=none' at the top of a script of its own",
            )
