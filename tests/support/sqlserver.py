"""Empty databases on a real SQL Server, which EVERUP_TEST_SQLSERVER leads to; nothing here runs without it.

``EVERUP_TEST_SQLSERVER`` is an ODBC connection string of a login that may create databases and see the server's state, such as
``DRIVER={ODBC Driver 18 for SQL Server};SERVER=127.0.0.1;UID=sa;PWD={...};TrustServerCertificate=yes``. It names no database.
The databases have READ_COMMITTED_SNAPSHOT on, as Azure SQL Database has it; EVERUP_TEST_SQLSERVER_RCSI=off turns it off.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pyodbc
from ansible_collections.everup.deploy.tests.support.databases import Database

VARIABLE = "EVERUP_TEST_SQLSERVER"


class Sqlserver(Database):
    """A new database of a running server; dropped by close()."""

    engine = "sqlserver"
    transactional = True
    doubtful = "EXEC (N'{0}')"
    slow = "WAITFOR DELAY '{0}'; INSERT INTO log VALUES ('slow')"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "migrations"
        self.folder.mkdir()
        self.login = os.environ[VARIABLE].rstrip("; ")
        self.name = f"everup_{uuid.uuid4().hex[:12]}"
        snapshot = os.environ.get(f"{VARIABLE}_RCSI", "on").upper()
        self._on_server(
            f"CREATE DATABASE [{self.name}]",
            f"ALTER DATABASE [{self.name}] SET READ_COMMITTED_SNAPSHOT {snapshot}",
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
        return {name for (name,) in self.query("SELECT name FROM sys.tables WITH (NOLOCK)")}

    @staticmethod
    def delay(seconds: float) -> str:
        """Return seconds as WAITFOR takes them."""
        return f"{int(seconds // 3600):02}:{int(seconds // 60) % 60:02}:{seconds % 60:06.3f}"
