# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moves the members of nginx's upstreams by ``down`` in their configuration file and a graceful reload.

Facts relied on: ``nginx -T`` tests the configuration and prints every file of it behind ``# configuration file <path>:``; on a
reload the master process starts new workers, and 0.1 s later asks the old ones to end once their requests have ("Controlling
nginx", nginx documentation; ``-T`` in "Command-line parameters"). A reload is only asked for by ``nginx -s reload``: that it
happened is seen by the new workers, and by the titles of the old ones. nginx without a subscription checks no health and counts
no sessions of a member.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

from .._errors import EverupError
from .addresses import told
from .base import READY, Balancer, Member
from .checks import check_all
from .connections import sessions_of
from .files import check_replaceable, locked, read_text, replace_text
from .nginx_conf import Server, first_argument, upstreams

_FILE = re.compile(r"(?m)^# configuration file (?P<path>.+):$")
_COMPILED_PID = re.compile(r"--pid-path=(?P<path>\S+)")
_COMPILED_PREFIX = re.compile(r"--prefix=(?P<path>\S+)")
_LOOK_SECONDS = 0.01


class Nginx(Balancer):
    """One nginx on this host.

    Parameters:
        address: path of its main configuration file.
        program: nginx.
        timeout: seconds for one command, for a reload to take effect, and for one health check.
        health_url: asked to learn a member's health, with ``{address}`` in it; without it a member counts as healthy.
        validate_certs: for a health check by https.
    """

    way_to_names = "give each a name of its own in a comment behind its line, such as '# web1'"

    def __init__(self, address: str, program: str, timeout: float, health_url: str | None, validate_certs: bool) -> None:
        self.address = address
        self.program, self.timeout = program, timeout
        self.health_url, self.validate_certs = health_url, validate_certs

    def list_members(self, pool: str | None = None) -> list[Member]:
        configuration = self._configuration()
        return self._looked_at(configuration, [(name, server) for _path, name, server in self._servers(configuration, pool)])

    def list_names(self) -> list[tuple[str, str]]:
        return [(name, server.name) for _path, name, server in self._servers(self._configuration(), None)]

    def get_member(self, pool: str, name: str) -> Member:
        configuration = self._configuration()
        servers = [server for _path, _pool, server in self._servers(configuration, pool)]
        (member,) = self._looked_at(configuration, [(pool, self.pick(servers, pool, name))])
        return member

    def _looked_at(self, configuration: str, servers: list[tuple[str, Server]]) -> list[Member]:
        """Return members, each with its pool, as they are now."""
        processes = _children(self._master(configuration))
        addresses = [server.address for _name, server in servers]
        health = check_all(addresses, self.health_url, self.validate_certs, self.timeout)
        return [
            Member(
                pool=name,
                name=server.name,
                address=server.address,
                state=server.state,
                health=text,
                healthy=healthy,
                sessions=sessions_of(f"Balancer {self.address}, member {server.name} of pool {name}", server.address, processes),
                weight=server.weight,
                backup=server.backup,
            )
            for (name, server), (text, healthy) in zip(servers, health)
        ]

    def check_writable(self, pool: str) -> None:
        configuration = self._configuration()
        paths = {path for path, _name, _server in self._servers(configuration, pool)}
        for path in sorted(paths):
            check_replaceable(self.address, path)
        try:
            os.kill(self._master(configuration), 0)
        except PermissionError:
            raise EverupError(f"Balancer {self.address} would answer 'Permission denied' to a reload by this user.") from None

    def check_change(self, pool: str, name: str, state: str) -> None:
        super().check_change(pool, name, state)
        for path, server in self._of_name(pool, name):
            self._check_movable(path, pool, server)

    def set_state(self, pool: str, name: str, state: str) -> None:
        self.get_member(pool, name)
        self.check_writable(pool)
        path, _server = self._of_name(pool, name)[0]
        with locked(self.address, path.parent, 2 * self.timeout):
            self._change(path, pool, name, state)

    def _change(self, path: Path, pool: str, name: str, state: str) -> None:
        """Write the state as pending, reload, and write it as settled once nginx has loaded it.

        Killed in between, the state stays pending, and whoever comes next reloads.
        """
        before = read_text(path)
        server = self._found(before, pool, name)
        self._check_movable(path, pool, server)
        if server.pending or server.down == (state == READY):
            replace_text(path, _replaced(before, server, server.written(state, pending=True)))
            try:
                self._reload()
            except BaseException:
                replace_text(path, before)
                raise
        text = read_text(path)
        server = self._found(text, pool, name)
        replace_text(path, _replaced(text, server, server.written(state, pending=False)))

    def _check_movable(self, path: Path, pool: str, server: Server) -> None:
        if server.obstacle:
            raise EverupError(
                f"Balancer {self.address} cannot move member {server.name} of pool {pool}: in {path} {server.obstacle}. Give "
                "each server a line of its own, with no other comment than the one behind it."
            )

    def _found(self, text: str, pool: str, name: str) -> Server:
        return self.pick(upstreams(text).get(pool, []), pool, name)

    def _reload(self) -> None:
        """Test the configuration, reload it, and return once nginx works with it."""
        self._run("-t", "-q")
        master = self._master(self._configuration())
        old = _children(master)
        self._run("-s", "reload")
        deadline = time.monotonic() + self.timeout
        # For a tenth of a second both take requests; an old worker that no longer does says so in its title.
        while not _children(master) - old or any(map(_takes_requests, old)):
            if time.monotonic() >= deadline:
                raise EverupError(
                    f"Balancer {self.address} has not loaded the new configuration within {self.timeout:g} s: it goes on with "
                    "the one before, which stands in the file again. Look at nginx's error log."
                )
            time.sleep(_LOOK_SECONDS)

    def _servers(self, configuration: str, pool: str | None) -> list[tuple[Path, str, Server]]:
        """Return every member with its file and its pool, as the files of a configuration are now.

        Raises:
            EverupError: there is no such pool.
        """
        found = []
        pools = set()
        for path in dict.fromkeys(_FILE.findall(configuration)):
            real = Path(os.path.realpath(path))
            for name, servers in upstreams(read_text(real)).items():
                pools.add(name)
                found += [(real, name, server) for server in servers if pool in (None, name)]
        if pool is not None and pool not in pools:
            known = ", ".join(sorted(pools)) or "none"
            raise EverupError(f"Balancer {self.address} has no pool {pool}: the upstreams of its configuration are: {known}.")
        return found

    def _of_name(self, pool: str, name: str) -> list[tuple[Path, Server]]:
        return [(path, server) for path, _pool, server in self._servers(self._configuration(), pool) if server.name == name]

    def _configuration(self) -> str:
        """Return what ``nginx -T`` prints."""
        return self._run("-T")

    def _master(self, configuration: str) -> int:
        """Return the process id of the master process.

        Raises:
            EverupError: nginx does not run.
        """
        path = first_argument(configuration, "pid") or _compiled(_COMPILED_PID, self._run("-V"), "/run/nginx.pid")
        if not path.startswith("/"):
            path = f"{_compiled(_COMPILED_PREFIX, self._run('-V'), '/usr/local/nginx')}/{path}"
        try:
            pid = int(Path(path).read_text(encoding="ascii"))
            _parent(pid)
        except (OSError, ValueError):
            raise EverupError(
                f"Balancer {self.address} cannot be reached: nginx does not run (there is no process of {path})."
            ) from None
        return pid

    def _run(self, *arguments: str) -> str:
        """Run nginx with the configuration file, and return what it says."""
        command = [self.program, *arguments, "-c", self.address]
        shown = " ".join(["nginx", *arguments])
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="surrogateescape", timeout=self.timeout, check=False
            )
        except subprocess.TimeoutExpired:
            raise EverupError(f"Balancer {self.address} did not answer '{shown}' within {self.timeout:g} s.") from None
        except OSError as error:
            raise EverupError(f"Balancer {self.address} cannot be reached: {self.program}: {error.strerror or error}.") from None
        if done.returncode:
            said = " ".join(done.stderr.split())[-1000:]
            if not os.access(self.address, os.F_OK):
                raise EverupError(f"Balancer {self.address} cannot be reached: there is no such file on this host.")
            raise EverupError(f"Balancer {self.address} refuses '{shown}': {said}")
        return done.stdout + done.stderr


def connect(params: dict) -> list[Balancer]:
    """Return one balancer a configuration file of the module's parameters; nothing is run yet."""
    for address in params["address"]:
        if not address.startswith("/"):
            raise EverupError(f"Balancer address {told(address)!r} is not the path of nginx's main configuration file.")
    options = (params["nginx_program"], params["connect_timeout"], params["health_url"], params["validate_certs"])
    return [Nginx(address, *options) for address in params["address"]]


def _replaced(text: str, server: Server, line: str) -> str:
    return text[: server.start] + line + text[server.end :]


def _compiled(option: re.Pattern, version: str, default: str) -> str:
    """Return the value of an option that nginx was built with, as ``nginx -V`` tells it."""
    found = option.search(version)
    return found["path"] if found else default


def _parent(pid: int) -> int:
    """Return the parent of a process; its name may hold anything, and stands in parentheses."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])


def _takes_requests(worker: int) -> bool:
    try:
        return b"shutting down" not in Path(f"/proc/{worker}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return False


def _children(pid: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if _parent(int(entry.name)) == pid:
                    found.add(int(entry.name))
            except (OSError, ValueError):
                continue
    return found
