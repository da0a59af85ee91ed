# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A running balancer of each kind, as the suite of every balancer sees it."""

from __future__ import annotations

from ansible_collections.everup.deploy.lab.caddy import Caddy
from ansible_collections.everup.deploy.lab.envoy import Envoy
from ansible_collections.everup.deploy.lab.haproxy import HAProxy
from ansible_collections.everup.deploy.lab.httpd import Httpd
from ansible_collections.everup.deploy.lab.nginx import Nginx
from ansible_collections.everup.deploy.lab.ports import free_port
from ansible_collections.everup.deploy.lab.traefik import Traefik


class Rig:
    """A balancer as the conformance suite sees it.

    Attributes:
        provider: its name for the modules.
        options: what the modules need to know beside the address.
        checks_health: whether the balancer checks its members itself, by a path of its own.
        says_down: what it says of a member whose check gets status 503.
        counts_host: whether the sessions are those of all balancers on the host.
        counts_answers: whether the balancer tells how many requests of each member ended with an error.
        server: the running balancer, with ``start``, ``stop`` and ``ports`` by pool.
        address: where it is told.
    """

    provider = ""
    options: dict = {}  # noqa: RUF012 - a constant of each rig
    checks_health = False
    says_down = ("DOWN", "503")
    counts_host = False
    counts_answers = False

    def __init__(self, server, address: str) -> None:
        self.server, self.address = server, address

    @property
    def denied_address(self) -> str:
        """Where one may look and not change."""
        raise NotImplementedError

    @classmethod
    def dead_address(cls, folder) -> str:
        """Where nobody is."""
        return cls.address_at(f"127.0.0.1:{free_port()}", folder)

    @classmethod
    def address_at(cls, place: str, folder) -> str:
        """Address of a balancer that would answer at ``host:port``."""
        return place

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def port(self, pool: str) -> int:
        return self.server.ports[pool]


class HAProxyRig(Rig):
    """HAProxy."""

    provider = "haproxy"
    checks_health = True
    counts_answers = True

    def __init__(self, backends, folder, **options) -> None:
        server = HAProxy(backends, folder, levels=("operator", "user"), **{"inter": "50ms", **options})
        super().__init__(server, server.socket())

    @property
    def denied_address(self) -> str:
        return self.server.socket("operator")


class NginxRig(Rig):
    """nginx, whose members the module checks."""

    provider = "nginx"
    options = {"health_url": "http://{address}/health"}  # noqa: RUF012

    def __init__(self, backends, folder) -> None:
        server = Nginx(backends, folder)
        super().__init__(server, str(server.config_file))

    @property
    def denied_address(self) -> str:
        self.server.upstream_file.chmod(0o444)
        return self.address

    @classmethod
    def dead_address(cls, folder) -> str:
        return str(folder / "no.conf")


class CaddyRig(Rig):
    """Caddy, whose members the module checks."""

    provider = "caddy"
    options = {"health_url": "http://{address}/health"}  # noqa: RUF012

    def __init__(self, backends, folder, **options) -> None:
        server = Caddy(backends, folder, **options)
        super().__init__(server, server.admin)

    @property
    def denied_address(self) -> str:
        return self.server.look

    @classmethod
    def address_at(cls, place: str, folder) -> str:
        return f"http://{place}"


class HttpdRig(Rig):
    """Apache httpd, whose members the module checks beside httpd itself."""

    provider = "httpd"
    options = {"health_url": "http://{address}/health"}  # noqa: RUF012

    def __init__(self, backends, folder, **options) -> None:
        server = Httpd(backends, folder, **options)
        super().__init__(server, server.manager())

    @property
    def denied_address(self) -> str:
        return self.server.manager("/look")

    @classmethod
    def address_at(cls, place: str, folder) -> str:
        return f"http://{place}/balancer-manager"


class EnvoyRig(Rig):
    """Envoy, which does not tell the status that its check got."""

    provider = "envoy"
    checks_health = True
    counts_answers = True
    says_down = ("DOWN", "failed_active_health_check")

    def __init__(self, backends, folder, **options) -> None:
        server = Envoy(backends, folder, **options)
        super().__init__(server, server.admin_address)

    @property
    def denied_address(self) -> str:
        for pool in self.server.backends:
            self.server.eds_file(pool).chmod(0o444)
        return self.address


class TraefikRig(Rig):
    """Traefik, whose members the module checks."""

    provider = "traefik"
    options = {"health_url": "http://{address}/health"}  # noqa: RUF012
    counts_host = True

    def __init__(self, backends, folder, **options) -> None:
        server = Traefik(backends, folder, **options)
        super().__init__(server, f"{server.dynamic_file}@127.0.0.1:{server.api_port}")

    @property
    def denied_address(self) -> str:
        self.server.dynamic_file.chmod(0o444)
        return self.address

    @classmethod
    def address_at(cls, place: str, folder) -> str:
        file = folder / "members.yml"
        file.write_text('{"http": {"services": {"shop": {"loadBalancer": {"servers": []}}}}}')
        return f"{file}@{place}"


RIGS = {
    "caddy": CaddyRig,
    "envoy": EnvoyRig,
    "haproxy": HAProxyRig,
    "httpd": HttpdRig,
    "nginx": NginxRig,
    "traefik": TraefikRig,
}
