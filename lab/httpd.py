# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts and stops a real Apache httpd that balances with mod_proxy_balancer, with its balancer-manager."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import signal
import tempfile
from pathlib import Path

from .ports import free_port
from .process import Child
from .server import find_program

_MODULES = Path("/usr/lib/apache2/modules")
_LOADED = (
    *("mpm_event", "authn_core", "authn_file", "auth_basic", "authz_core", "authz_user", "rewrite", "slotmem_shm"),
    *("proxy", "proxy_http", "proxy_balancer", "lbmethod_byrequests", "proxy_hcheck"),
)


class Httpd:
    """One httpd in the foreground, as a child of this process.

    Parameters:
        backends: ``{pool: {member: (host, port)}}``. Each pool is a balancer, each member's name its route.
        folder: an existing folder for configuration, process id and log.
        member_options: parameters of every BalancerMember.
        balancer_options: parameters of every balancer.
        server_name: what httpd calls itself, whatever name it is asked by.
        routes: whether members have their names; without, httpd knows them by their addresses only.
        persist: whether changes outlive a restart.
        user: name and password that the manager at ``/guarded`` wants.
    """

    def __init__(
        self,
        backends: dict,
        folder: Path | str,
        *,
        member_options: str = "",
        balancer_options: str = "",
        server_name: str | None = None,
        routes: bool = True,
        persist: bool = False,
        user: tuple | None = None,
    ) -> None:
        self.backends = backends
        self.folder = Path(folder)
        self.member_options, self.balancer_options = member_options, balancer_options
        self.server_name, self.routes, self.persist, self.user = server_name, routes, persist, user
        self.ports = {pool: free_port() for pool in backends}
        self.manager_port = free_port()
        self.log = self.folder / "httpd.log"
        self._child: Child | None = None
        self._users = None

    def manager(self, path: str = "/balancer-manager") -> str:
        """URL of a balancer-manager: this one, ``/look`` that takes no POST, or ``/guarded`` that wants a user."""
        return f"http://127.0.0.1:{self.manager_port}{path}"

    def start(self) -> None:
        """Write the configuration, start, and return once it answers."""
        if self.user:
            name, password = self.user
            digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()  # noqa: S324 - htpasswd's {SHA}
            # The workers of another user read it at every request, and the folder may be closed to them.
            self._users = tempfile.NamedTemporaryFile("w", prefix="everup-httpd-")  # noqa: SIM115 - lives as long as httpd
            self._users.write(f"{name}:{{SHA}}{digest}\n")
            self._users.flush()
            Path(self._users.name).chmod(0o644)
        config = self.folder / "httpd.conf"
        config.write_text(self.config())
        program = find_program("apache2", "httpd", "apache2-bin")
        self._child = Child("httpd", [program, "-D", "FOREGROUND", "-d", str(self.folder), "-f", str(config)], self.log)
        self._child.wait_until(self._answers)

    def stop(self) -> None:
        """Stop at once; running requests are cut."""
        if self._child:
            self._child.stop()
            self._child = None
        if self._users:
            self._users.close()
            self._users = None

    def reload(self) -> None:
        """Ask for a graceful restart; running requests end, and new workers have the configuration as it is then."""
        if self._child:
            self._child.send(signal.SIGUSR1)

    def config(self) -> str:
        """Return the configuration file's text."""
        # All is in the main server, whose balancers one manager shows; a port chooses its balancer by a rewrite.
        lines = [f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in _LOADED]
        if os.geteuid() == 0:  # httpd does not serve as root
            lines += ["User nobody", "Group nogroup"]
        lines += [
            f"ServerName {self.server_name or '127.0.0.1'}",
            f"UseCanonicalName {'On' if self.server_name else 'Off'}",
            f"DefaultRuntimeDir {self.folder}",
            f"PidFile {self.folder}/httpd.pid",
            f"ErrorLog {self.log}",
            "StartServers 1",
            "ServerLimit 2",
            "ThreadsPerChild 80",
            "MaxRequestWorkers 160",
            "ProxyTimeout 60",
            f"BalancerPersist {'On' if self.persist else 'Off'}",
            *[f"Listen 127.0.0.1:{port}" for port in (self.manager_port, *self.ports.values())],
            "RewriteEngine On",
        ]
        for pool, port in self.ports.items():
            lines += [f'RewriteCond "%{{SERVER_PORT}}" "={port}"', f'RewriteRule "^/(.*)" "balancer://{pool}/$1" [P,L]']
        for pool, servers in self.backends.items():
            lines += [f"<Proxy balancer://{pool}>"]
            for name, (host, port) in servers.items():
                route = f"route={name}" if self.routes else ""
                lines += [f"  BalancerMember http://{host}:{port} {route} {self.member_options}".rstrip()]
            if self.balancer_options:
                lines += [f"  ProxySet {self.balancer_options}"]
            lines += ["</Proxy>"]
        lines += [
            "<Location /balancer-manager>",
            "  SetHandler balancer-manager",
            "</Location>",
            "<Location /look>",
            "  SetHandler balancer-manager",
            "  <LimitExcept GET>",
            "    Require all denied",
            "  </LimitExcept>",
            "</Location>",
        ]
        if self._users:
            lines += [
                "<Location /guarded>",
                "  SetHandler balancer-manager",
                "  AuthType Basic",
                "  AuthName balancers",
                f"  AuthUserFile {self._users.name}",
                "  Require valid-user",
                "</Location>",
            ]
        return "\n".join(lines) + "\n"

    def _answers(self) -> bool:
        # Connections are taken before the threads that answer them are there.
        connection = http.client.HTTPConnection("127.0.0.1", self.manager_port, timeout=1)
        try:
            connection.request("GET", "/balancer-manager")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
