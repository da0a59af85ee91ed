# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lab's database servers have in common: folders, a free port, start, stop, crash and cleaning up."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from lab.ports import free_port
from lab.process import Child, LabError

PASSWORD = "p@ss w0rd:/%;{}'\"é"  # noqa: S105 - awkward on purpose: whatever builds a connection string must quote it


def find_program(name: str, label: str, package: str) -> str:
    """Path of a server's program on PATH, in /usr/sbin or beside this Python; raises LabError."""
    for path in (None, "/usr/sbin", str(Path(sys.executable).parent)):
        if found := shutil.which(name, path=path):
            return found
    raise LabError(f"{label}'s {name} is not on PATH: install {package}")


class LabServer(ABC):
    """One database server with its own data folder, and a user and database for the shop.

    Attributes:
        label: its name in messages.
        account: the system user that it runs as when this process is root.
        stop_signal, crash_signal: what ends it without waiting for clients, and what ends it as a crash would.

    Parameters: see the servers.
    """

    label = ""
    account = ""
    user = ""
    database = ""
    stop_signal = signal.SIGTERM
    crash_signal = signal.SIGKILL

    def __init__(
        self,
        directory: Path | None,
        port: int | None,
        settings: Mapping[str, str],
        dies_with_parent: bool,
        host: str,
        password: str,
    ) -> None:
        self.host = host
        self.password = password
        self._temporary = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix=f"everup-{self.label.lower()}-"))
        self._wanted_port = port
        self.port = port or 0
        self._settings = dict(settings)
        self._dies_with_parent = dies_with_parent
        self._run_as = self.account if os.geteuid() == 0 else None
        self._child: Child | None = None

    @property
    def log(self) -> Path:
        return self.directory / f"{self.label.lower()}.log"

    @abstractmethod
    def _initialise(self) -> None:
        """Create the data folder when it is missing."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The command that runs the server in the foreground."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it takes connections."""

    @abstractmethod
    def _create_role_and_database(self) -> None:
        """Create the shop's user and database when they are missing."""

    def start(self):
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
        """Stop the server without waiting for its clients; the data stay."""
        if self._child:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End the server as a crash would, without a checkpoint; `start` recovers it."""
        if self._child:
            self._child.send(self.crash_signal)
            self._child.wait(10)
            self._child = None

    def close(self) -> None:
        """Stop the server and remove its temporary folder."""
        if self._temporary:
            self.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            self.stop()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_exception) -> None:
        self.close()

    def _make_folders(self, *folders: Path) -> None:
        """Create folders that the server's own account may write to."""
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            if self._run_as:
                account = pwd.getpwnam(self._run_as)
                os.chown(folder, account.pw_uid, account.pw_gid)

    def _as_account(self) -> dict:
        """Arguments of subprocess.run() that make a program run as the server's account."""
        return {
            "user": self._run_as,
            "group": self._run_as,
            "extra_groups": [] if self._run_as else None,
            "cwd": "/",
        }

    @staticmethod
    def _failed(program: str, where: Path, done: subprocess.CompletedProcess) -> LabError:
        return LabError(f"{program} in {where} ended with {done.returncode}: {done.stderr or done.stdout}")

    def _launch(self) -> None:
        self._child = Child(
            self.label,
            self._command(),
            self.log,
            cwd=Path("/"),
            user=self._run_as,
            dies_with_parent=self._dies_with_parent,
            stop_signal=self.stop_signal,
        )
        self._child.wait_until(self._answers)
