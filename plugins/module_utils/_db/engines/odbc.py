# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the engines that are reached through pyodbc have in common: the connection, statements, transactions, errors.

Facts relied on: ``commit()`` and ``rollback()`` of pyodbc end a transaction only while autocommit is off, and setting autocommit
commits an open one (pyodbc wiki, "Connection"); the pyodbc wheel needs the system's unixODBC.
"""

from __future__ import annotations

import datetime
import re
from abc import abstractmethod
from contextlib import contextmanager
from typing import Callable, Iterator

from ..errors import DatabaseError
from ..lexis import Statement
from .base import Blocker, Engine

try:
    import pyodbc

    PYODBC_ERROR = ""
except ImportError as import_error:  # said when an engine is used, with what to install
    pyodbc = None
    PYODBC_ERROR = str(import_error)


class OdbcEngine(Engine):
    """One session of a server behind an ODBC driver.

    Attributes:
        label: the server's name in messages.
        packages: what to install for the driver on Debian and on RHEL.

    Parameters:
        connection_string: a whole ODBC connection string.
        schema: schema of the collection's own tables; empty for the session's default.
        connect_timeout: seconds to wait for the server.

    Raises:
        DatabaseError: pyodbc or the driver is missing, or the server cannot be reached or refuses us.
    """

    label = ""
    packages = ("", "")

    def __init__(self, connection_string: str, schema: str, connect_timeout: int) -> None:
        self._require_pyodbc()
        self._connection_string = connection_string
        self._connect_timeout = connect_timeout
        self._connection = self._connect()
        self.schema = schema

    @classmethod
    def from_options(cls, params: dict, create: bool) -> OdbcEngine:
        cls._require_pyodbc()
        if not params["login_db"] and not params["connection_string"]:
            raise DatabaseError("login_db or connection_string is missing: which database is it?")
        text = cls.connection_string(params, params["application_name"])
        return cls(text, params["schema"], params["connect_timeout"])

    @classmethod
    def _require_pyodbc(cls) -> None:
        if pyodbc is None:
            raise DatabaseError(
                f"pyodbc cannot be imported ({PYODBC_ERROR}): install it with 'pip install pyodbc', and unixODBC and the "
                f"driver with 'apt install unixodbc {cls.packages[0]}' (or 'dnf install unixODBC {cls.packages[1]}')."
            )

    @staticmethod
    @abstractmethod
    def connection_string(params: dict, application_name: str) -> str:
        """Return the ODBC connection string of the connection options, with the settings that the engine relies on.

        Parameters:
            params: the module's connection options; connection_string may be a whole one.
            application_name: what the server's session list shows of us.

        Raises:
            DatabaseError: no driver is installed, or an option cannot be written for this driver.
        """

    def _connect(self):
        try:
            return pyodbc.connect(self._connection_string, timeout=self._connect_timeout, autocommit=True)
        except pyodbc.Error as error:
            raise DatabaseError(f"{self.label}: no connection: {driver_text(error)}") from None

    @abstractmethod
    def _mapped(self, error) -> DatabaseError:
        """Return a driver's error as ours, a lock time-out as LockTimeout."""

    @abstractmethod
    def _blockers(self, connection) -> list[Blocker]:
        """Return who blocks this session, asked through another connection."""

    def close(self) -> None:
        self._connection.close()

    def query(self, sql: str, parameters: tuple = ()) -> list[dict]:
        cursor = self._run(sql, parameters)
        try:
            return rows_of(cursor)
        except pyodbc.Error as error:
            raise self._mapped(error) from error

    def execute(self, sql: str, parameters: tuple = ()) -> int:
        return self._run(sql, parameters).rowcount

    def run_script_statement(self, statement: Statement) -> None:
        self._drain(self._run(statement.text, ()))

    def _drain(self, cursor) -> None:
        """Go to the end of every result: an error of a later one only comes up there."""
        try:
            while cursor.nextset():
                continue
        except pyodbc.Error as error:
            raise self._mapped(error) from error

    def _run(self, sql: str, parameters: tuple):
        try:
            return self._connection.execute(sql, *parameters)
        except pyodbc.Error as error:
            raise self._mapped(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            self._connection.autocommit = False
        except pyodbc.Error as error:
            raise self._mapped(error) from error
        try:
            yield
            try:
                self._connection.commit()
            except pyodbc.Error as error:
                raise self._mapped(error) from error
        except BaseException:
            self._give_up()
            raise
        finally:
            self._back_to_autocommit()

    def _give_up(self) -> None:
        try:
            self._connection.rollback()
        except pyodbc.Error:
            return  # the session is gone, and its transaction with it

    def _back_to_autocommit(self) -> None:
        try:
            self._connection.autocommit = True
        except pyodbc.Error:
            return  # the session is gone; the next statement says so

    def driver(self) -> str:
        return " ".join(str(self._connection.getinfo(kind)) for kind in (pyodbc.SQL_DRIVER_NAME, pyodbc.SQL_DRIVER_VER))

    def blockers(self) -> list[Blocker]:
        with self.watch() as look:
            return look()

    @contextmanager
    def watch(self) -> Iterator[Callable[[], list[Blocker]]]:
        connection = self._connect()

        def look() -> list[Blocker]:
            try:
                return self._blockers(connection)
            except pyodbc.Error as error:
                raise self._mapped(error) from error

        try:
            yield look
        finally:
            connection.close()


def installed_drivers() -> list[str]:
    """Return the names of the ODBC drivers that are registered on this host; none without pyodbc."""
    return pyodbc.drivers() if pyodbc else []


def rows_of(cursor) -> list[dict]:
    """Return what a cursor still holds as dicts with lower-case keys; nothing after a statement that has no rows to give."""
    if cursor.description is None:
        return []
    names = [column[0].lower() for column in cursor.description]
    return [dict(zip(names, map(_plain, row))) for row in cursor.fetchall()]


def _plain(value):
    """Return a value as JSON can hold it; times are UTC because our sessions are."""
    if isinstance(value, datetime.datetime):
        return f"{value.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    return value


def driver_text(error) -> str:
    """Return the server's own sentence out of a driver's message."""
    text = str(error.args[-1] if error.args else error)
    text = re.sub(r"^\[\w{5}\]\s*", "", text)
    text = re.sub(r";?\s*Error while executing the query|\s*\(\d+\) \(SQL\w+\)", "", text)
    return " ".join(text.split())
