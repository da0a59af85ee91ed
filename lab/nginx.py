# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts and stops a real nginx in front of members."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from .ports import free_port
from .process import Child
from .server import find_program


class Nginx:
    """One nginx in the foreground, as a child of this process.

    Parameters:
        backends: ``{pool: {member: (host, port)}}``. Each pool is an upstream and a server of its own.
        folder: an existing folder for configuration, process id, logs and temporary files.
    """

    def __init__(self, backends: dict, folder: Path | str) -> None:
        self.backends = backends
        self.folder = Path(folder)
        self.ports = {pool: free_port() for pool in backends}
        self.config_file = self.folder / "nginx.conf"
        self.upstream_file = self.folder / "upstreams.conf"
        self.log = self.folder / "nginx.log"
        self._child: Child | None = None

    def start(self) -> None:
        """Write the configuration where it is missing, start, and return once it takes connections."""
        if not self.config_file.exists():
            self.config_file.write_text(self.config())
            self.upstream_file.write_text(self.upstreams())
        program = find_program("nginx", "nginx", "nginx")
        self._child = Child("nginx", [program, "-c", str(self.config_file), "-g", "daemon off;"], self.log)
        self._child.wait_until(self._answers)

    def stop(self) -> None:
        """Stop at once; running requests are cut."""
        if self._child:
            self._child.stop()
            self._child = None

    def upstreams(self) -> str:
        """Return the text of the file with the members."""
        lines = []
        for pool, servers in self.backends.items():
            lines += [f"upstream {pool} {{"]
            lines += [f"    server {host}:{port} max_fails=0; # {name}" for name, (host, port) in servers.items()]
            lines += ["}"]
        return "\n".join(lines) + "\n"

    def config(self) -> str:
        """Return the main configuration file's text."""
        temporary = " ".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        servers = "\n".join(
            f"    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{pool}; proxy_read_timeout 60s; }} }}"
            for pool, port in self.ports.items()
        )
        # Workers of another user could not reach the folder.
        user = "user root;\n" if os.geteuid() == 0 else ""
        return (
            f"{user}worker_processes 1;\npid {self.folder}/nginx.pid;\nerror_log {self.folder}/error.log;\n"
            "events { worker_connections 512; }\n"
            f"http {{\n    access_log off;\n    {temporary}\n    include {self.upstream_file};\n{servers}\n}}\n"
        )

    def _answers(self) -> bool:
        try:
            for port in self.ports.values():
                socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            return False
        return True
