# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real PostgreSQL server of its own: `with Postgres() as postgres: ... postgres.url`.

`python -m lab.postgres --directory DIR --host ADDRESS --port PORT` starts one that stays; it reads the shop's password from
standard input.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from lab.ports import free_port
from lab.process import Child, LabError

ROLE = "shop"
DATABASE = "shop"
PASSWORD = "p@ss w0rd:/%;{}'\"é"  # noqa: S105 - awkward on purpose: whatever builds a connection string must quote it
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


class Postgres:
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

    user = ROLE
    database = DATABASE

    def __init__(
        self,
        directory: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        dies_with_parent: bool = True,
        host: str = "127.0.0.1",
        password: str = PASSWORD,
    ) -> None:
        self.host = host
        self.password = password
        self._temporary = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="everup-pg-"))
        self._wanted_port = port
        self.port = port or 0
        self._settings = SETTINGS | dict(settings or {})
        self._dies_with_parent = dies_with_parent
        self._run_as = "postgres" if os.geteuid() == 0 else None
        self._child: Child | None = None

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

    @property
    def log(self) -> Path:
        return self.directory / "postgres.log"

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

    def start(self) -> Postgres:
        """Create what is missing and start the server; returns when it answers. Raises LabError."""
        self._initialise()
        for attempts_left in (2, 1, 0):
            self.port = self._wanted_port or free_port(self.host)
            try:
                self._launch()
                break
            except LabError:
                self.stop()
                # Between the choice of a free port and its use another process may take it.
                if self._wanted_port or not attempts_left:
                    raise
        self._create_role_and_database()
        return self

    def stop(self) -> None:
        """Stop the server (fast shutdown); the data stay."""
        if self._child:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End the server as a crash would, without a checkpoint; `start` recovers it."""
        if self._child:
            # SIGQUIT is "immediate": after SIGKILL of the first process the others would go on for a while.
            self._child.send(signal.SIGQUIT)
            self._child.wait(10)
            self._child = None

    def close(self) -> None:
        """Stop the server and remove its temporary folder."""
        if self._temporary:
            self.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            self.stop()

    def __enter__(self) -> Postgres:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_exception) -> None:
        self.close()

    def create_database(self, name: str) -> str:
        """A new, empty database of the shop's role; returns its SQLAlchemy URL."""
        with self.connect_admin() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(self.user)))
        return self.url.rpartition("/")[0] + f"/{name}"

    def _initialise(self) -> None:
        data = self.directory / "data"
        if (data / "PG_VERSION").exists():
            return
        (self.directory / "socket").mkdir(parents=True, exist_ok=True)
        if self._run_as:
            account = pwd.getpwnam(self._run_as)
            for path in (self.directory, self.directory / "socket"):
                os.chown(path, account.pw_uid, account.pw_gid)
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
            user=self._run_as,
            group=self._run_as,
            extra_groups=[] if self._run_as else None,
            cwd="/",
        )
        if done.returncode:
            raise LabError(f"initdb in {unfinished} ended with {done.returncode}: {done.stderr or done.stdout}")
        if self.host != "127.0.0.1":
            with (unfinished / "pg_hba.conf").open("a", encoding="utf-8") as access:
                access.write("host all all samenet scram-sha-256\n")
        unfinished.rename(data)

    def _launch(self) -> None:
        command = [find_binary("postgres"), "-D", str(self.directory / "data"), "-p", str(self.port)]
        command += ["-h", self.host, "-k", str(self.directory / "socket")]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        # SIGINT is PostgreSQL's "fast" shutdown: it does not wait for clients to leave.
        self._child = Child(
            "PostgreSQL",
            command,
            self.log,
            cwd=Path("/"),
            user=self._run_as,
            dies_with_parent=self._dies_with_parent,
            stop_signal=signal.SIGINT,
        )
        self._child.wait_until(self._answers)

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
