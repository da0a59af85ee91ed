# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real PostgreSQL server of its own: `with Postgres() as postgres: ... postgres.url`.

`python -m lab.postgres --directory DIR --host ADDRESS --port PORT` starts one that stays; it reads the shop's password from
standard input.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from lab.process import LabError
from lab.server import PASSWORD, LabServer

ROLE = "shop"
DATABASE = "shop"
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
}


def find_binary(name: str) -> str:
    """Path of a PostgreSQL program, the newest version of Debian's first; raises LabError."""
    roots = Path("/usr/lib/postgresql").glob("*/bin")
    for folder in sorted(roots, key=lambda path: float(path.parent.name), reverse=True):
        if (folder / name).exists():
            return str(folder / name)
    if found := shutil.which(name):
        return found
    raise LabError(f"PostgreSQL's {name} is neither below /usr/lib/postgresql nor on PATH: install postgresql")


class Postgres(LabServer):
    """One PostgreSQL server with its own data folder, and a role and database for the shop.

    Parameters:
        directory: where data, socket and log live, kept afterwards and reused; default: a temporary folder,
            removed at the end. When this process is root, user postgres must be able to reach it.
        port: default: a free one.
        settings: server settings on top of `SETTINGS`.
        dies_with_parent: see `lab.process.Child`.
        host: address it listens on; on another one than 127.0.0.1, its whole network may log in with the password.
        password: of the shop's role.
    """

    label = "PostgreSQL"
    account = "postgres"
    user = ROLE
    database = DATABASE
    stop_signal = signal.SIGINT  # "fast": it does not wait for clients to leave
    crash_signal = signal.SIGQUIT  # "immediate": after SIGKILL of the first process the others would go on for a while

    def __init__(
        self,
        directory: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        dies_with_parent: bool = True,
        host: str = "127.0.0.1",
        password: str = PASSWORD,
    ) -> None:
        super().__init__(directory, port, SETTINGS | dict(settings or {}), dies_with_parent, host, password)

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the shop's role."""
        where = f"{self.host}:{self.port}/{self.database}"
        return f"postgresql+psycopg://{self.user}:{quote(self.password, safe='')}@{where}"

    @property
    def parameters(self) -> dict:
        """psycopg keyword arguments of the shop's role."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
        }

    def connect(self, **options) -> psycopg.Connection:
        """A connection as the shop's role, over TCP with its password."""
        return psycopg.connect(**(self.parameters | {"connect_timeout": 5} | options))

    def connect_admin(self, database: str = "postgres") -> psycopg.Connection:
        """A superuser connection over the server's own socket, in autocommit mode."""
        return psycopg.connect(
            host=str(self.directory / "socket"),
            port=self.port,
            user="postgres",
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def create_database(self, name: str) -> str:
        """A new, empty database of the shop's role; returns its SQLAlchemy URL."""
        with self.connect_admin() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(self.user)))
        return self.url.rpartition("/")[0] + f"/{name}"

    def _initialise(self) -> None:
        data = self.directory / "data"
        if (data / "PG_VERSION").exists():
            return
        self._make_folders(self.directory, self.directory / "socket")
        # Killed half-way, initdb leaves a folder that looks finished: make it beside, move it when it is.
        unfinished = self.directory / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        done = subprocess.run(
            [
                find_binary("initdb"),
                f"--pgdata={unfinished}",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--no-sync",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            **self._as_account(),
        )
        if done.returncode:
            raise self._failed("initdb", unfinished, done)
        if self.host != "127.0.0.1":
            with (unfinished / "pg_hba.conf").open("a", encoding="utf-8") as access:
                access.write("host all all samenet scram-sha-256\n")
        unfinished.rename(data)

    def _command(self) -> list[str]:
        command = [find_binary("postgres"), "-D", str(self.directory / "data"), "-p", str(self.port)]
        command += ["-h", self.host, "-k", str(self.directory / "socket")]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _answers(self) -> bool:
        try:
            self.connect_admin().close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_role_and_database(self) -> None:
        role = sql.Identifier(self.user)
        with self.connect_admin() as admin:
            known = admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [self.user]).fetchone()
            verb = sql.SQL("ALTER" if known else "CREATE")
            admin.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, sql.Literal(self.password)))
            if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.database]).fetchone():
                admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(self.database), role))


def main() -> int:
    """Start a server that outlives this process; prints its log's path, or a sentence on standard error."""
    parser = argparse.ArgumentParser(
        description="Start a PostgreSQL server for the shop; its password comes from standard input."
    )
    parser.add_argument("--directory", type=Path, required=True, help="where data, socket and log live")
    parser.add_argument("--host", default="127.0.0.1", help="the address it listens on")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    password = sys.stdin.read().rstrip("\n")
    server = Postgres(options.directory, options.port, dies_with_parent=False, host=options.host, password=password)
    try:
        server.start()
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"log": str(server.log)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
