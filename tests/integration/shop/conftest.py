# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Databases for the shop's tests, a SQLite file and a PostgreSQL database, and how to ask a shop."""

import json
import re
import sqlite3
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from lab.ports import free_port
from lab.postgres import Postgres
from lab.shop import SHOP, WebServer, build_archives


class Sqlite:
    """A SQLite file."""

    engine = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    def script(self, text: str) -> None:
        with closing(self.connect()) as connection:
            connection.executescript(f"BEGIN IMMEDIATE;\n{text}\nCOMMIT;")


class Postgresql:
    """The database of a PostgreSQL server, emptied."""

    engine = "postgresql"

    def __init__(self, server: Postgres) -> None:
        self.url = server.url
        self.parameters = server.parameters
        with closing(self.connect()) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(**self.parameters, autocommit=True)

    def script(self, text: str) -> None:
        with closing(self.connect()) as connection:
            connection.execute("SET lock_timeout = '5s'")
            if "everup: transaction=none" in text:
                for statement in re.sub(r"--.*", "", text).split(";"):
                    if statement.strip():
                        connection.execute(statement)
            else:
                with connection.transaction():
                    connection.execute(text)


def apply(database, phase: str, first: int = 0, last: int = 9999) -> None:
    """Run the scripts of a phase whose version is in the range, in order."""
    for script in sorted((SHOP / "migrations" / database.engine / phase).glob("*.sql")):
        if first <= int(script.name.split("_")[0]) <= last:
            database.script(script.read_text(encoding="utf-8"))


def ask(method: str, url: str, body: dict | None = None) -> tuple[int, object]:
    """One HTTP request; returns the status and the JSON content, of errors as well."""
    request = urllib.request.Request(  # noqa: S310
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    return status, json.loads(content)


@pytest.fixture(scope="session")
def postgres():
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        return Sqlite(tmp_path / "shop.db")
    return Postgresql(request.getfixturevalue("postgres"))


@pytest.fixture
def migrate():
    return apply


@pytest.fixture(name="ask")
def ask_fixture():
    return ask


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    return build_archives(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def prepare(tmp_path, archives):
    """Make a home of the shop, stopped; whatever runs in it at the end of the test is ended."""
    servers = []

    def prepare(name: str, version: str, database_url: str) -> WebServer:
        server = WebServer(name, tmp_path / name, "127.0.0.1", free_port())
        servers.append(server.prepare(archives[version], version, database_url))
        return server

    yield prepare
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda server: server.service("stop"), servers))
