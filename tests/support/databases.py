"""Empty databases of every engine, and how to run the modules' functions on them without a process each."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import uuid
from abc import ABC, abstractmethod
from contextlib import closing, redirect_stdout, suppress
from pathlib import Path

import psycopg
import pyodbc
from ansible.module_utils import basic
from ansible_collections.everup.deploy.plugins.module_utils._db.connection import connect
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import Ledger, Names
from ansible_collections.everup.deploy.plugins.module_utils._lint.run import lint
from ansible_collections.everup.deploy.plugins.module_utils._migrations.amend import amend
from ansible_collections.everup.deploy.plugins.module_utils._migrations.assertions import run_assertions
from ansible_collections.everup.deploy.plugins.module_utils._migrations.backfill import run_backfill
from ansible_collections.everup.deploy.plugins.module_utils._migrations.migrate import inform, migrate
from ansible_collections.everup.deploy.plugins.module_utils._migrations.trash import run_trash, trash_info
from ansible_collections.everup.deploy.plugins.module_utils._redact import odbc_parts
from ansible_collections.everup.deploy.plugins.module_utils._release import commands
from ansible_collections.everup.deploy.plugins.modules import (
    availability_record,
    backfill,
    migration,
    migration_history,
    migration_info,
    migration_lint,
    migration_test,
    release,
    release_guard,
    release_info,
    release_member,
    release_report,
    trash,
)
from ansible_collections.everup.deploy.plugins.modules import trash_info as trash_info_module

# Any engine joins by the connection string of an empty database on a real server, which is emptied behind each test:
# EVERUP_TEST_MYSQL='DRIVER=...;SERVER=...;DATABASE=everup_test;UID=...;PWD=...' pytest tests/integration/migrations
# That of SQL Server names no database: each test has a new one (sqlserver.py).
GIVEN = {
    name: os.environ[f"EVERUP_TEST_{name.upper()}"]
    for name in ("postgresql", "mariadb", "mysql", "sqlserver")
    if f"EVERUP_TEST_{name.upper()}" in os.environ
}


def given(*names: str) -> tuple:
    """Return the parameters of the fixture ``db`` for those of the engines that are given."""
    return tuple(f"given_{name}" for name in names if name in GIVEN)


TRANSACTIONAL = ("sqlite", "postgresql", *given("postgresql", "sqlserver"))
ENGINES = ("sqlite", "postgresql", "mariadb", *given(*GIVEN))


def _params(module, options: dict) -> dict:
    defaults = {name: option.get("default") for name, option in module.ARGUMENT_SPEC.items()}
    unknown = set(options) - set(defaults)
    assert not unknown, unknown
    return {**defaults, **options}


def run_main(module, options: dict, **controls) -> dict:
    """Run a module's main() in this process, through Ansible's argument spec and exit; returns what it printed."""
    arguments = {**options, **{f"_ansible_{name}": value for name, value in controls.items()}}
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    basic._ANSIBLE_PROFILE = "legacy"  # asked for by ansible-core 2.19 and newer
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            module.main()
    except SystemExit as ended:
        return {"failed": bool(ended.code), **json.loads(printed.getvalue())}
    finally:
        basic._ANSIBLE_ARGS = None
    raise AssertionError("the module did not exit")


class Database(ABC):
    """One empty database; ``options`` are the module options that lead to it, ``user`` is whom its server sees."""

    engine = ""
    transactional = True
    # Whether a reader waits for rows that another session has changed.
    readers_wait = False
    options: dict = {}  # noqa: RUF012
    folder: Path
    user = "shop"
    # How a transaction begins, how a statement that lasts some seconds looks, and one that a transaction does not hold.
    begin = "BEGIN"
    slow = ""
    doubtful = ""

    @abstractmethod
    def connect(self):
        """Return a connection of another program, in autocommit mode."""

    def query(self, sql: str) -> list[tuple]:
        with closing(self.connect()) as connection:
            return [tuple(row) for row in connection.execute(sql).fetchall()]

    def execute(self, sql: str) -> None:
        with closing(self.connect()) as connection:
            connection.execute(sql)

    def write(self, name: str, text: str, phase: str = "expand") -> Path:
        """Write a script of the migrations folder."""
        path = self.folder / phase / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def line(self, source: str, number: int) -> int:
        """Return the line of a script, such as ``expand/1_a.sql``, to which :meth:`write` has brought a line of its text."""
        return number

    def place(self, source: str, line: int, column: int = 1) -> str:
        """Return file, line and column as messages name them."""
        return f"{source}:{self.line(source, line)}:{column}"

    def migration_options(self, phase: str = "expand", **options) -> dict:
        return {**self.options, "path": str(self.folder), "phase": phase, **options}

    def migrate(self, phase: str = "expand", check: bool = False, **options) -> dict:
        """Run the migration module's function."""
        return migrate(_params(migration, self.migration_options(phase, **options)), check)

    def backfill_options(self, **options) -> dict:
        return {**self.options, "path": str(self.folder), **options}

    def backfill(self, check: bool = False, **options) -> dict:
        """Run one slice of the backfill module's function."""
        return run_backfill(_params(backfill, self.backfill_options(**options)), check)

    def inform(self, **options) -> dict:
        return inform(_params(migration_info, {**self.options, "path": str(self.folder), **options}))

    def amend(self, action: str, check: bool = False, **options) -> dict:
        """Run the migration_history module's function."""
        return amend(_params(migration_history, {**self.options, "path": str(self.folder), "action": action, **options}), check)

    def assert_all(self, check: bool = False, **options) -> dict:
        """Run the migration_test module's function."""
        return run_assertions(_params(migration_test, {**self.options, "path": str(self.folder), **options}), check)

    def lint(self, check: bool = False, **options) -> dict:
        """Run the migration_lint module's function on this database; nothing is bad enough to fail."""
        options = {"live": True, "fail_on": "never", "cache": str(self.folder.parent / "lint-cache"), **options}
        return lint(_params(migration_lint, {**self.options, "path": str(self.folder), **options}), check)

    def trash(self, action: str, object: str | None = None, check: bool = False, **options) -> dict:
        """Run the trash module's function."""
        return run_trash(_params(trash, {**self.options, "action": action, "object": object, **options}), check)

    def trash_info(self, **options) -> dict:
        return trash_info(_params(trash_info_module, {**self.options, **options}), False)

    def release(self, action: str, version: str = "2.4.0", check: bool = False, **options) -> dict:
        """Run the release module's function."""
        return commands.run_release(_params(release, {**self.options, "action": action, "version": version, **options}), check)

    def release_info(self, **options) -> dict:
        return commands.release_info(_params(release_info, {**self.options, **options}))

    def release_report(self, **options) -> dict:
        return commands.release_report(_params(release_report, {**self.options, **options}))["report"]

    def record(self, host: str, state: str, token: int, version: str = "2.4.0", check: bool = False, **options) -> dict:
        """Run the release_member module's function."""
        options = {"web_group": "web", "host": host, "state": state, "token": token, "version": version, **options}
        return commands.record_member(_params(release_member, {**self.options, **options}), check)

    def record_availability(self, check: bool = False, version: str = "2.4.0", **options) -> dict:
        """Run the availability_record module's function."""
        return commands.record_availability(_params(availability_record, {**self.options, "version": version, **options}), check)

    def guard(self, check: bool = False, **options) -> dict:
        return commands.guard(_params(release_guard, {**self.options, **options}), check)

    def history(self, phase: str = "expand") -> dict:
        """Return the history's rows by version."""
        facts = self.inform()[phase]
        return {row["version"]: row for row in facts["applied"] + facts["unfinished"]}

    def events(self) -> list[str]:
        return [what for (what,) in self.query("SELECT what FROM everup_event ORDER BY id")]

    def engine_connection(self):
        """Return a connection of ours to this database."""
        return connect({**_params(release_info, self.options)}, create=True)

    def ledger(self, db) -> Ledger:
        return Ledger(db, Names.of(_params(release_info, self.options)))


class Sqlite(Database):
    """A SQLite file that does not exist yet."""

    engine = "sqlite"
    user = "root"
    begin = "BEGIN IMMEDIATE"
    # A statement that lasts about as many seconds as it is given.
    slow = (
        "INSERT INTO log SELECT 'slow' FROM (WITH RECURSIVE n(i) AS"
        " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {0} * 4000000) SELECT max(i) AS i FROM n)"
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "migrations"
        self.folder.mkdir()
        self.path = folder / "shop.sqlite"
        self.options = {"engine": "sqlite", "login_db": str(self.path)}

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, timeout=20)

    def tables(self) -> set[str]:
        if not self.path.exists():
            return set()
        return {
            name for (name,) in self.query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        }


class Postgresql(Database):
    """A database of a running server, new or emptied: a new one costs a hundred files."""

    engine = "postgresql"
    slow = "INSERT INTO log SELECT 'slow' FROM pg_sleep({0})"
    doubtful = "DO $$ BEGIN {0}; END $$"
    _emptied: dict = {}  # noqa: RUF012

    def __init__(self, server, folder: Path) -> None:
        self.folder = folder / "migrations"
        self.folder.mkdir()
        self.server = server
        names = self._emptied.setdefault(server.port, [])
        self.name = names.pop() if names else f"t_{uuid.uuid4().hex[:12]}"
        with server.connect_admin() as admin:
            if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.name]).fetchone():
                server.create_database(self.name)
        self.options = {
            "engine": "postgresql",
            "login_db": self.name,
            "login_host": server.host,
            "login_port": server.port,
            "login_user": server.user,
            "login_password": server.password,
            "ssl_mode": "disable",
        }

    def close(self) -> None:
        """End every session and make the database as it was when it was new, for another test."""
        with self.server.connect_admin(self.name) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            schemas = admin.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
            ).fetchall()
            for (schema,) in schemas:
                admin.execute(f'DROP SCHEMA "{schema}" CASCADE')
            admin.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner")
            admin.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
            admin.execute(f"ALTER DATABASE {self.name} RESET ALL")
        self._emptied[self.server.port].append(self.name)

    def connect(self) -> psycopg.Connection:
        return self.server.connect(dbname=self.name, autocommit=True, application_name="the shop")

    def tables(self) -> set[str]:
        return {
            name
            for (name,) in self.query(
                "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema')"
            )
        }


class Mariadb(Database):
    """A database of a running server, new or emptied."""

    engine = "mariadb"
    transactional = False
    doubtful = "EXECUTE IMMEDIATE '{0}'"
    slow = "INSERT INTO log SELECT 'slow' FROM (SELECT sleep({0})) AS s"
    _emptied: dict = {}  # noqa: RUF012

    def __init__(self, server, folder: Path) -> None:
        self.folder = folder / "migrations"
        self.folder.mkdir()
        self.server = server
        names = self._emptied.setdefault(server.port, [])
        self.name = names.pop() if names else f"t_{uuid.uuid4().hex[:12]}"
        with server.connect_admin() as admin:
            if not admin.execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = ?", self.name).fetchone():
                server.create_database(self.name)
        self.options = {
            "engine": "mariadb",
            "login_db": self.name,
            "login_host": server.host,
            "login_port": server.port,
            "login_user": server.user,
            "login_password": server.password,
        }

    def close(self) -> None:
        """End every session and make the database as it was when it was new, for another test."""
        with closing(self.server.connect_admin()) as admin:
            sessions = "SELECT id FROM information_schema.processlist WHERE user = ? AND command <> 'Killed'"
            for (session,) in admin.execute(sessions, self.server.user).fetchall():
                with suppress(pyodbc.Error):
                    admin.execute(f"KILL {session}")
            for name in (self.name, "deploys"):
                admin.execute(f"DROP DATABASE IF EXISTS `{name}`")
        self.server.create_database(self.name)
        self._emptied[self.server.port].append(self.name)

    def connect(self) -> pyodbc.Connection:
        return self.server.connect(self.name)

    def tables(self) -> set[str]:
        return {
            name
            for (name,) in self.query(
                "SELECT table_name FROM information_schema.tables WHERE table_schema IN (database(), 'deploys')"
            )
        }


class Given:
    """A database on a server that was there before; mixed into the class of its engine's family."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder / "migrations"
        self.folder.mkdir()
        self.options = {"engine": name, "connection_string": GIVEN[name]}
        self.user = odbc_parts(GIVEN[name]).get("uid", "")
        if tables := self.tables():
            raise AssertionError(f"EVERUP_TEST_{name.upper()} names a database that is not empty: {', '.join(sorted(tables))}")

    def connect(self) -> pyodbc.Connection:
        return pyodbc.connect(self.options["connection_string"], autocommit=True)


class GivenPostgresql(Given, Postgresql):
    """PostgreSQL: every schema of ours is dropped behind a test."""

    def close(self) -> None:
        schemas = self.query("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'")
        for (schema,) in schemas:
            self.execute(f'DROP SCHEMA "{schema}" CASCADE')
        self.execute("CREATE SCHEMA public")


class GivenMariadb(Given, Mariadb):
    """MariaDB or MySQL: the database itself is made anew behind a test."""

    def close(self) -> None:
        ((name,),) = self.query("SELECT database()")
        with closing(self.connect()) as connection:
            for sql in (f"DROP DATABASE `{name}`", f"CREATE DATABASE `{name}`", "DROP DATABASE IF EXISTS deploys"):
                connection.execute(sql)
