# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real MariaDB server of its own: `with Mariadb() as mariadb: ... mariadb.create_database("t")`."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pyodbc

from lab.server import PASSWORD, LabServer, find_program

USER = "shop"
DATABASE = "shop"
SETTINGS = {
    "innodb-buffer-pool-size": "32M",
    "innodb-log-file-size": "16M",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-flush-method": "nosync",
    "innodb-doublewrite": "0",
    "aria-pagecache-buffer-size": "4M",
    "key-buffer-size": "1M",
    "max-connections": "200",
    "plugin-load-add": "metadata_lock_info",
    "skip-name-resolve": "1",
}


class Mariadb(LabServer):
    """One MariaDB server with its own data folder, and a user and database for the shop.

    Parameters:
        directory: where data, socket and log live, kept afterwards and reused; default: a temporary folder,
            removed at the end. When this process is root, user mysql must be able to reach it.
        port: default: a free one.
        settings: server settings on top of `SETTINGS`, by their option names.
        dies_with_parent: see `lab.process.Child`.
        password: of the shop's user.
    """

    label = "MariaDB"
    account = "mysql"
    user = USER
    database = DATABASE

    def __init__(
        self,
        directory: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        dies_with_parent: bool = True,
        password: str = PASSWORD,
    ) -> None:
        super().__init__(directory, port, SETTINGS | dict(settings or {}), dies_with_parent, "127.0.0.1", password)

    @property
    def socket(self) -> Path:
        return self.directory / "socket" / "mariadb.sock"

    def connect(self, database: str | None = None) -> pyodbc.Connection:
        """A connection as the shop's user, over TCP with its password, in autocommit mode."""
        quoted = "{" + self.password.replace("}", "}}") + "}"
        return self._connect(f"SERVER={self.host};PORT={self.port};UID={self.user};PWD={quoted}", database or self.database)

    def connect_admin(self, database: str = "mysql") -> pyodbc.Connection:
        """A connection as root over the server's own socket, in autocommit mode."""
        return self._connect(f"SOCKET={self.socket};UID=root", database)

    def _connect(self, login: str, database: str) -> pyodbc.Connection:
        return pyodbc.connect(f"DRIVER={{MariaDB Unicode}};{login};DATABASE={database}", timeout=5, autocommit=True)

    def create_database(self, name: str) -> None:
        """A new, empty database of the shop's user."""
        with self.connect_admin() as admin:
            admin.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
            admin.execute(f"GRANT ALL ON `{name}`.* TO '{self.user}'@'%'")

    def _initialise(self) -> None:
        data = self.directory / "data"
        if (data / "mysql").exists():
            return
        self._make_folders(self.directory, self.directory / "socket")
        # Killed half-way, the installer leaves a folder that looks finished: make it beside, move it when it is.
        unfinished = self.directory / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        done = subprocess.run(
            [
                find_program("mariadb-install-db", self.label, "mariadb-server"),
                "--no-defaults",
                f"--datadir={unfinished}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
                "--innodb-log-file-size=16M",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            **self._as_account(),
        )
        if done.returncode:
            raise self._failed("mariadb-install-db", unfinished, done)
        unfinished.rename(data)

    def _command(self) -> list[str]:
        command = [
            find_program("mariadbd", self.label, "mariadb-server"),
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            f"--socket={self.socket}",
            f"--bind-address={self.host}",
            f"--port={self.port}",
            f"--pid-file={self.directory / 'socket' / 'mariadb.pid'}",
        ]
        return command + [f"--{name}={value}" for name, value in self._settings.items()]

    stop_signal = signal.SIGTERM
    crash_signal = signal.SIGKILL

    def _answers(self) -> bool:
        try:
            self.connect_admin().close()
        except pyodbc.Error:
            return False
        return True

    def _create_role_and_database(self) -> None:
        quoted = "'" + self.password.replace("\\", "\\\\").replace("'", "\\'") + "'"
        with self.connect_admin() as admin:
            admin.execute(f"CREATE USER IF NOT EXISTS '{self.user}'@'%' IDENTIFIED BY {quoted}")
            admin.execute(f"ALTER USER '{self.user}'@'%' IDENTIFIED BY {quoted}")
            # What a deploy's user needs to see who is in its way.
            admin.execute(f"GRANT PROCESS ON *.* TO '{self.user}'@'%'")
            if not admin.execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = ?", self.database).fetchone():
                self.create_database(self.database)
