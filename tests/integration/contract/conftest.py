"""A release that may contract, on each engine, with a server that counts who uses what."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from ansible_collections.everup.deploy.tests.support.contract_world import World
from ansible_collections.everup.deploy.tests.support.databases import GIVEN, Mariadb, Postgresql, Sqlite
from ansible_collections.everup.deploy.tests.support.sqlserver import GivenSqlserver

from lab.mariadb import Mariadb as MariadbServer
from lab.postgres import Postgres

# On MariaDB the deploy has a user of its own: what the application prepares can only be told by its account.
DEPLOY = "everup"


@pytest.fixture(scope="session")
def counting_servers():
    """Servers that count; each is started when it is first asked for."""
    with ExitStack() as stack:
        started: dict = {}

        def start(engine: str):
            if engine not in started:
                if engine == "postgresql":
                    settings = {"shared_preload_libraries": "pg_stat_statements", "track_functions": "all"}
                    server = Postgres(settings=settings)
                else:
                    server = MariadbServer(settings={"performance-schema": "ON"})
                started[engine] = stack.enter_context(server)
            return started[engine]

        yield start


@pytest.fixture
def make_world(counting_servers, tmp_path):
    """Make a world on an engine; it is gone behind the test."""
    with ExitStack() as stack:
        made: list = []

        def make(engine: str) -> World:
            folder = tmp_path / f"world{len(made)}"
            folder.mkdir()
            made.append(folder)
            if engine == "sqlite":
                return World(Sqlite(folder))
            if engine == "sqlserver":
                db = GivenSqlserver("sqlserver", folder)
            else:
                server = counting_servers(engine)
                db = (Postgresql if engine == "postgresql" else Mariadb)(server, folder)
                admin = server.connect_admin(db.name)
                stack.callback(lambda: db.admin.close())
                if engine == "postgresql":
                    admin.autocommit = True
                    admin.execute("CREATE EXTENSION pg_stat_statements")
                    admin.execute(f"GRANT pg_read_all_stats TO {server.user}")
                else:
                    deploy = f"'{DEPLOY}'@'%'"
                    admin.execute(f"CREATE USER IF NOT EXISTS {deploy} IDENTIFIED BY '{DEPLOY}'")
                    admin.execute(f"GRANT ALL ON `{db.name}`.* TO {deploy}")
                    admin.execute(f"GRANT PROCESS ON *.* TO {deploy}")
                    admin.execute(f"GRANT SELECT ON performance_schema.* TO {deploy}")
                    admin.execute(f"GRANT SELECT ON mysql.proc TO {deploy}")
                    db.options |= {"login_user": DEPLOY, "login_password": DEPLOY}
                db.admin = admin
            stack.callback(db.close)
            return World(db)

        yield make


SERVERS = ["postgresql", "mariadb", *(["sqlserver"] if "sqlserver" in GIVEN else [])]


@pytest.fixture(params=SERVERS)
def counted(request, make_world):
    """A world on each engine that counts."""
    return make_world(request.param)


@pytest.fixture(params=["sqlite", *SERVERS])
def world(request, make_world):
    """A world on each engine."""
    return make_world(request.param)
