"""A database of each engine, empty, for every test that asks for one."""

import pytest
from ansible_collections.everup.deploy.tests.support.databases import (
    ENGINES,
    GivenMariadb,
    GivenPostgresql,
    Mariadb,
    Postgresql,
    Sqlite,
)
from ansible_collections.everup.deploy.tests.support.sqlserver import GivenSqlserver

from lab.mariadb import Mariadb as MariadbServer
from lab.postgres import Postgres

GIVEN_CLASSES = {"postgresql": GivenPostgresql, "mariadb": GivenMariadb, "mysql": GivenMariadb, "sqlserver": GivenSqlserver}


@pytest.fixture(scope="session")
def postgres_server():
    """One PostgreSQL server for all tests; without it they fail."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server():
    """One MariaDB server for all tests; without it they fail."""
    with MariadbServer() as server:
        yield server


@pytest.fixture
def sqlite_database(tmp_path):
    return Sqlite(tmp_path)


@pytest.fixture
def postgresql_database(request, tmp_path):
    database = Postgresql(request.getfixturevalue("postgres_server"), tmp_path)
    yield database
    database.close()


@pytest.fixture
def mariadb_database(request, tmp_path):
    database = Mariadb(request.getfixturevalue("mariadb_server"), tmp_path)
    yield database
    database.close()


@pytest.fixture(params=ENGINES)
def db(request, tmp_path):
    """An empty database of each engine."""
    if not request.param.startswith("given_"):
        yield request.getfixturevalue(f"{request.param}_database")
        return
    name = request.param.removeprefix("given_")
    database = GIVEN_CLASSES[name](name, tmp_path)
    yield database
    database.close()
