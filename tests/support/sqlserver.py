"""Empty databases on a real SQL Server, which EVERUP_TEST_SQLSERVER leads to; nothing here runs without it.

``EVERUP_TEST_SQLSERVER`` is an ODBC connection string of a login that may create databases and see the server's state, such as
``DRIVER={ODBC Driver 18 for SQL Server};SERVER=127.0.0.1;UID=sa;PWD={...};TrustServerCertificate=yes``. It names no database.
The databases have READ_COMMITTED_SNAPSHOT on, as Azure SQL Database has it; EVERUP_TEST_SQLSERVER_RCSI=off turns it off.
"""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

import pyodbc
from ansible_collections.everup.deploy.plugins.module_utils._redact import odbc_parts
from ansible_collections.everup.deploy.tests.support.databases import Database

VARIABLE = "EVERUP_TEST_SQLSERVER"
SNAPSHOT = os.environ.get(f"{VARIABLE}_RCSI", "on").lower() == "on"


class Sqlserver(Database):
    """A new database of a running server, for scripts in T-SQL; dropped by close()."""

    engine = "sqlserver"
    transactional = True
    readers_wait = not SNAPSHOT
    begin = "BEGIN TRANSACTION"
    doubtful = "EXEC (N'{0}')"
    # Without a semicolon, at which a portable script is taken apart.
    slow = "DECLARE @pause datetime = DATEADD(millisecond, {0} * 1000, 0) WAITFOR DELAY @pause INSERT INTO log VALUES ('slow')"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "migrations"
        self.folder.mkdir()
        self.login = os.environ[VARIABLE].rstrip("; ")
        self.user = odbc_parts(self.login).get("uid", "")
        self.name = f"everup_{uuid.uuid4().hex[:12]}"
        self._on_server(
            f"CREATE DATABASE [{self.name}]",
            f"ALTER DATABASE [{self.name}] SET READ_COMMITTED_SNAPSHOT {'ON' if SNAPSHOT else 'OFF'}",
            f"ALTER DATABASE [{self.name}] SET RECOVERY SIMPLE",
        )
        self.options = {"engine": "sqlserver", "connection_string": f"{self.login};DATABASE={self.name}"}

    def _on_server(self, *statements: str) -> None:
        with pyodbc.connect(f"{self.login};DATABASE=master", autocommit=True, timeout=30) as server:
            for statement in statements:
                server.execute(statement)
        server.close()

    def close(self) -> None:
        """End every session of the database and drop it."""
        self._on_server(
            f"IF DB_ID(N'{self.name}') IS NOT NULL ALTER DATABASE [{self.name}] SET SINGLE_USER WITH ROLLBACK IMMEDIATE",
            f"DROP DATABASE IF EXISTS [{self.name}]",
        )

    def connect(self) -> pyodbc.Connection:
        return pyodbc.connect(f"{self.login};DATABASE={self.name};APP=the shop", autocommit=True, timeout=30)

    def tables(self) -> set[str]:
        """Return what is there for good: a table that another transaction is making or dropping is waited for."""
        return {name for (name,) in self.query("SELECT name FROM sys.tables")}


def batches(text: str) -> str:
    """Return a script with a line GO behind each semicolon that another statement follows."""
    return re.sub(r";[ \t]*\n?(?=\s*\w)", ";\nGO\n", text)


class GivenSqlserver(Sqlserver):
    """The same for the scripts of all engines: each of their statements becomes a batch.

    Parameters:
        name: as GIVEN has it.
        folder: an empty folder.
    """

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(folder)
        self._written: dict[str, str] = {}

    def write(self, name: str, text: str, phase: str = "expand") -> Path:
        self._written[f"{phase}/{name}"] = text
        return super().write(name, batches(text) if name.endswith(".sql") else text, phase)

    def line(self, source: str, number: int) -> int:
        before = self._written[source].splitlines(keepends=True)[: number - 1]
        return batches("".join([*before, "SELECT"])).count("\n") + 1
