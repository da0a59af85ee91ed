# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts and stops a real HAProxy with a production-like configuration."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from .ports import free_port


def ask(path: str, text: str) -> str:
    """Send one command to the runtime API behind a Unix socket and return the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(text.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


class HAProxy:
    """One HAProxy in the foreground, as a child of this process; a context manager.

    Parameters:
        backends: ``{pool: {member: (host, port)}}``. Each pool gets a frontend of its own.
        folder: an existing folder for configuration, sockets and log. Its path must leave room for a socket name
            within the 107 bytes of a Unix socket address.
        ports: ``{pool: port}`` of the frontends; pools not named get a free port.
        bind: address the frontends and TCP admin sockets listen on.
        health: path of the health check.
        inter, rise, fall: the health check's interval (HAProxy's own time format) and its counts up and down.
        server_options: ``{"pool/member": "check weight 0"}``: words of one server line, in place of ``check``.
        levels: further admin sockets beside the one of level admin: ``operator``, ``user``. Each is a Unix socket,
            ``folder/<level>.sock``.
        admin_port: port of an admin socket of level admin over TCP; 0 for a free one, None for none.
        netns: name of a network namespace to run in.
        state_file: file that keeps administrative states over a restart (see ``save_state``).
    """

    def __init__(
        self,
        backends: dict,
        folder: Path | str,
        *,
        ports: dict | None = None,
        bind: str = "127.0.0.1",
        health: str = "/health",
        inter: str = "200ms",
        rise: int = 2,
        fall: int = 3,
        server_options: dict | None = None,
        levels: tuple = (),
        admin_port: int | None = None,
        netns: str | None = None,
        state_file: Path | str | None = None,
    ) -> None:
        self.backends = backends
        self.folder = Path(folder)
        self.bind = bind
        self.ports = {pool: (ports or {}).get(pool) or free_port() for pool in backends}
        self.health, self.inter, self.rise, self.fall = health, inter, rise, fall
        self.server_options = server_options or {}
        self.levels = ("admin", *levels)
        self.admin_port = free_port() if admin_port == 0 else admin_port
        self.netns = netns
        self.state_file = Path(state_file) if state_file else None
        self.log = self.folder / "haproxy.log"
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> HAProxy:
        self.start()
        return self

    def __exit__(self, *error) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def admin_address(self) -> str:
        """``host:port`` of the TCP admin socket."""
        if self.admin_port is None:
            raise ValueError("this HAProxy was made without admin_port")
        return f"{self.bind}:{self.admin_port}"

    def socket(self, level: str = "admin") -> str:
        """Path of the Unix admin socket of that level."""
        return str(self.folder / f"{level}.sock")

    def url(self, pool: str, path: str = "/") -> str:
        """URL of a path behind the pool's frontend."""
        return f"http://{self.bind}:{self.ports[pool]}{path}"

    def start(self, timeout: float = 5.0) -> None:
        """Start, and return once the admin socket answers; RuntimeError with the log's end when it does not in time."""
        config = self.folder / "haproxy.cfg"
        config.write_text(self.config())
        command = ["ip", "netns", "exec", self.netns] if self.netns else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "haproxy", "-db", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                code = self._process.poll()
                self.stop()
                state = "did not answer its admin socket" if code is None else f"ended with code {code}"
                raise RuntimeError(f"HAProxy {state} within {timeout:g} s:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.01)

    def stop(self, timeout: float = 5.0) -> None:
        """Stop at once; running sessions are cut."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout)
        self._process = None
        for level in self.levels:
            Path(self.socket(level)).unlink(missing_ok=True)

    def command(self, text: str) -> str:
        """Send one command to the runtime API at level admin and return the answer."""
        return ask(self.socket(), text)

    def save_state(self) -> None:
        """Write the administrative states to ``state_file``, which the next start loads."""
        if self.state_file is None:
            raise ValueError("this HAProxy was made without state_file")
        self.state_file.write_text(self.command("show servers state"))

    def config(self) -> str:
        """Return the configuration file's text."""
        lines = ["global", "  log stdout format raw local0 info", "  maxconn 4000", "  hard-stop-after 30s"]
        lines += [f'  stats socket "{self.socket(level)}" mode 600 level {level}' for level in self.levels]
        if self.admin_port is not None:
            lines.append(f"  stats socket ipv4@{self.admin_address} level admin")
        if self.state_file:
            lines.append(f'  server-state-file "{self.state_file}"')
        lines += [
            "defaults",
            "  mode http",
            "  log global",
            "  option httplog",
            "  option dontlognull",
            "  option redispatch",
            "  retries 3",
            "  http-reuse safe",
            "  timeout connect 2s",
            "  timeout client 60s",
            "  timeout server 60s",
            "  timeout queue 10s",
            "  timeout check 2s",
            f"  default-server inter {self.inter} rise {self.rise} fall {self.fall}",
        ]
        if self.state_file:
            lines.append("  load-server-state-from-file global")
        for pool, servers in self.backends.items():
            lines += [
                f"frontend {pool}_in",
                f"  bind {self.bind}:{self.ports[pool]}",
                f"  default_backend {pool}",
                f"backend {pool}",
                "  balance roundrobin",
                f"  option httpchk GET {self.health}",
            ]
            for name, (host, port) in servers.items():
                options = self.server_options.get(f"{pool}/{name}", "check")
                lines.append(f"  server {name} {host}:{port} {options}".rstrip())
        return "\n".join(lines) + "\n"

    def _answers(self) -> bool:
        try:
            return self.command("show version") != ""
        except OSError:
            return False
