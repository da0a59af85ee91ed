# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What molecule's scenarios do to their hosts, and what they ask of them: web servers and two balancers over SSH.

The hosts are those that molecule/resources/create.yml and prepare.yml have made; their database is a SQLite file here.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from lab.load_process import LoadProcess, StreamsProcess
from lab.namespaces import Namespaces
from lab.playbook import Playbook, Run
from lab.process import LabError
from lab.shop import SHOP, activate
from lab.site import BIN, ROOT, read_ledger

INVENTORY = ROOT / "molecule" / "resources" / "inventory"
OLD, NEW, BROKEN = "1.0.0", "2.0.0", "2.0.1-broken"
POOL, POOL_PORT, SHOP_PORT = "web", 8002, 8000
USERS = "users1"
SETTLE_S = 30

# Of each scenario there is a short form, which leaves the preflight and the expand scripts to other tests.
IS_SHORT = os.environ.get("EVERUP_SCENARIOS", "short") == "short"
RELEASE = "rollout" if IS_SHORT else "release"

# A link that is cut is noticed sooner than with the example's own settings.
SSH = "-C -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=2 -o ServerAliveCountMax=2"


class Scene:
    """The hosts of one lab.

    Parameters:
        directory: molecule's ephemeral directory; the lab is below it.
    """

    def __init__(self, directory: Path | str) -> None:
        self.ephemeral = Path(directory).resolve()
        self.directory = self.ephemeral / "lab"
        self.namespaces = Namespaces(self.directory)
        self.hosts = self.namespaces.read()["hosts"]
        self.web = [name for name in self.hosts if name.startswith("web")]
        self.balancers = [name for name in self.hosts if name.startswith("lb")]
        self.database = self.directory / "shop.sqlite"
        self.login = {"engine": "sqlite", "login_db": str(self.database)}
        self._playbooks: list[Playbook] = []

    # Playbooks

    def environment(self) -> dict:
        """Return the environment that Ansible runs in: nothing of a molecule that may run around it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
        return kept | {
            "ANSIBLE_CONFIG": str(SHOP / "ansible.cfg"),
            "ANSIBLE_SSH_ARGS": SSH,
            "ANSIBLE_TIMEOUT": "5",
            "MOLECULE_EPHEMERAL_DIRECTORY": str(self.ephemeral),
            "MOLECULE_PROJECT_DIRECTORY": str(ROOT),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }

    def start(self, playbook: str, *arguments: str, version: str = NEW) -> Playbook:
        """Start one of the collection's playbooks, such as ``release``, and return at once."""
        command = [str(BIN / "ansible-playbook"), "-i", str(INVENTORY), f"everup.deploy.{playbook}"]
        self._playbooks.append(
            Playbook([*command, "-e", f"release_version={version}", *arguments], self.environment(), ROOT, limit=300)
        )
        return self._playbooks[-1]

    def run(self, playbook: str, *arguments: str, version: str = NEW) -> Run:
        """Run one of the collection's playbooks to its end."""
        return self.start(playbook, *arguments, version=version).finish()

    def close(self) -> None:
        """End every playbook that still runs, and mend every link."""
        for playbook in self._playbooks:
            playbook.close()
        for host in self.hosts:
            self.namespaces.mend(host)

    # Users

    def url(self, balancer: str) -> str:
        """Return the base URL of the shop behind a balancer."""
        return f"http://{self.hosts[balancer]['address']}:{POOL_PORT}"

    @contextmanager
    def users(self, *balancers: str, rate: float = 15.0) -> Iterator[None]:
        """Let people read and write through each of the balancers (default: the first) until the block ends.

        Then it is an error when any request of theirs failed or was answered wrongly, or a write is lost.
        """
        through = self.namespaces.command(USERS)
        with ExitStack() as stack:
            loads = [
                stack.enter_context(LoadProcess(self.url(balancer), self.directory, rate, f"load-{balancer}", through))
                for balancer in balancers or self.balancers[:1]
            ]
            yield
            for load in loads:
                seen = load.finish()
                counts = {name: seen[name] for name in ("requests", "failed", "wrong", "acknowledged_writes", "lost_writes")}
                assert seen["failed"] == seen["wrong"] == seen["lost_writes"] == 0, (
                    f"{seen['url']}: {counts}; {seen['error_samples'][:5]}; {seen['lost_samples'][:5]}"
                )
                assert seen["requests"] > rate and seen["acknowledged_writes"] > 0, f"there was no load: {counts}"

    @contextmanager
    def streams(self, seconds: float, endless: str) -> Iterator[StreamsProcess]:
        """Let people stay connected through the first balancer, one of them for ever on a host; see lab/streams.py."""
        through = self.namespaces.command(USERS)
        with StreamsProcess(self.url(self.balancers[0]), self.directory, seconds, endless, through=through) as streams:
            yield streams

    # What is

    def versions(self) -> dict[str, str | None]:
        """Return the version that each web server answers with, None where it does not answer."""
        return {host: _health(self.hosts[host]["address"]).get("version") for host in self.web}

    def installed(self) -> dict[str, str]:
        """Return the release that each web server's link points to."""
        return {host: (self._home(host) / "current").readlink().name for host in self.web}

    def log(self, host: str, lines: int = 20) -> str:
        """Return the end of what the shop on a web server has logged."""
        return "\n".join((self._home(host) / "log" / "shop.log").read_text(encoding="utf-8").splitlines()[-lines:])

    def pool(self, balancer: str) -> dict[str, str]:
        """Return what a balancer says about each member."""
        rows = [line.split(",") for line in self._ask(balancer, "show stat").splitlines()]
        return {row[1]: row[17] for row in rows if len(row) > 17 and row[0] == POOL and row[1] in self.web}

    def ledger(self, version: str = NEW) -> dict:
        """Return what the ledger says about a release: row, members and events."""
        return read_ledger(self.login, version, events=1000)

    def members(self, version: str = NEW) -> dict[str, str]:
        """Return the state of each host that the release has touched."""
        return {host: row["state"] for host, row in self.ledger(version)["members"].items()}

    def snapshot(self) -> tuple:
        """Return all that a run could change, but for the orders of the users."""
        with closing(sqlite3.connect(self.database)) as database:
            tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'everup_%' ORDER BY name"
            names = [name for (name,) in database.execute(tables)]
            ledger = {name: database.execute(f"SELECT * FROM {name}").fetchall() for name in names}  # noqa: S608
            schema = database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        return ledger, schema, self.installed(), self.versions(), [self.pool(balancer) for balancer in self.balancers]

    def check_served(self, version: str) -> None:
        """Raise AssertionError unless every host runs a version and every balancer sends requests to every host."""
        everywhere = dict.fromkeys(self.web, version)
        assert self.installed() == everywhere, f"installed: {self.installed()}"
        assert self.versions() == everywhere, f"running: {self.versions()}"
        pools = {balancer: self.pool(balancer) for balancer in self.balancers}
        assert pools == dict.fromkeys(self.balancers, dict.fromkeys(self.web, "UP")), f"pools: {pools}"

    def check_rolled(self, version: str = NEW) -> None:
        """Raise AssertionError unless a release has come to its end, and nothing of what went wrong is left."""
        self.check_served(version)
        ledger = self.ledger(version)
        assert ledger["release"]["state"] == "rolled", ledger["release"]
        rows = {host: (row["state"], row["version_before"], row["version_after"]) for host, row in ledger["members"].items()}
        assert rows == dict.fromkeys(self.web, ("ready", OLD, version)), rows
        assert ledger["lease"]["holder"] is None, ledger["lease"]
        applied = [event["subject"] for event in ledger["events"] if event["what"] == "script_applied"]
        assert len(applied) == len(set(applied)), f"a script ran twice: {applied}"

    # What has been

    def reset(self, is_expanded: bool = IS_SHORT) -> None:
        """Bring everything back to where prepare.yml has left it: version 1.0.0 everywhere, and a ledger that knows nothing.

        Parameters:
            is_expanded: with release 2.0.0 expanded in the ledger, so that only the rolling upgrade is left to do: what
                `RELEASE` begins with.
        """
        self.close()
        self._on_web("stop")
        fresh = self.directory / "fresh.sqlite"
        if not fresh.exists():
            self._copy_database(self.database, fresh)
        self._copy_database(fresh, self.database)
        if is_expanded:
            self._expand(self.directory / "expanded.sqlite")
        for host in self.web:
            activate(self._home(host), OLD)
            for release in (self._home(host) / "releases").iterdir():
                if release.name != OLD:
                    shutil.rmtree(release)
        self._on_web("start")
        for balancer in self.balancers:
            for host in self.web:
                self._ask(balancer, f"set server {POOL}/{host} state ready")
        wait_until(lambda: all(set(self.pool(balancer).values()) == {"UP"} for balancer in self.balancers), "every member is up")
        self.check_served(OLD)

    def _expand(self, expanded: Path) -> None:
        if not expanded.exists():
            run = self.run("expand")
            if run.code:
                raise LabError(f"the database could not be expanded: {run.output[-4000:]}")
            self._copy_database(self.database, expanded)
        self._copy_database(expanded, self.database)

    @staticmethod
    def _copy_database(source: Path, target: Path) -> None:
        """Copy a database that nobody uses."""
        with closing(sqlite3.connect(source)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for rest in ("-wal", "-shm"):
            target.with_name(target.name + rest).unlink(missing_ok=True)
        shutil.copy(source, target)

    def _home(self, host: str) -> Path:
        return self.directory / host / "files" / "shop"

    def _on_web(self, action: str) -> None:
        """Start or stop the shop on every web server, by SSH: its processes are in the host's process table alone."""
        command = [sys.executable, "/run/host/service.py", action, "--home", "/run/host/shop"]
        with ThreadPoolExecutor(len(self.web)) as pool:
            for done in pool.map(lambda host: self.ssh(host, *command), self.web):
                if done.returncode:
                    raise LabError(f"'{' '.join(done.args)}' ended with {done.returncode}: {done.stderr}")

    def ssh(self, host: str, *command: str) -> subprocess.CompletedProcess:
        """Run a command on a host."""
        facts = self.hosts[host]
        options = ["-F", "none", "-i", facts["key"], "-o", f'UserKnownHostsFile="{self.directory}/known_hosts"']
        arguments = ["ssh", *options, "-o", "BatchMode=yes", f"root@{facts['address']}", shlex.join(command)]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)

    def _ask(self, balancer: str, command: str) -> str:
        """Send a command to a balancer's admin socket, whose path may be longer than an address of a socket can be."""
        folder = os.open(self.directory / balancer / "files" / "haproxy", os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(f"/proc/self/fd/{folder}/admin.sock")
                connection.sendall(command.encode() + b"\n")
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        finally:
            os.close(folder)


def wait_until(is_so: Callable[[], object], what: str, timeout: float = SETTLE_S) -> None:
    """Wait until something is so. Raises LabError, which says what, when it is not within the time-out, in seconds."""
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > deadline:
            raise LabError(f"not within {timeout:g} s: {what}")
        time.sleep(0.1)


def _health(address: str) -> dict:
    connection = http.client.HTTPConnection(address, SHOP_PORT, timeout=5)
    try:
        connection.request("GET", "/health")
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
