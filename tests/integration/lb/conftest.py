# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real members behind a real balancer; one rig a provider, and every conformance test runs on every rig."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.lab.caddy import Caddy
from ansible_collections.everup.deploy.lab.envoy import Envoy
from ansible_collections.everup.deploy.lab.haproxy import HAProxy
from ansible_collections.everup.deploy.lab.httpd import Httpd
from ansible_collections.everup.deploy.lab.nginx import Nginx
from ansible_collections.everup.deploy.lab.ports import free_port
from ansible_collections.everup.deploy.lab.traefik import Traefik
from ansible_collections.everup.deploy.plugins.module_utils._lb import providers
from ansible_collections.everup.deploy.plugins.modules import lb_member, lb_member_info


class App(ThreadingHTTPServer):
    """A small web application: ``/`` answers, ``/hold`` does once released, ``/health`` after ``health_seconds``.

    ``/status/500`` answers that, ``/slow/2`` after two seconds, ``/cut`` closes the connection.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.health_code = 200
        self.flag: Path | None = None  # while this file is there, its health check answers 503
        self.health_seconds = 0.0
        self.released = threading.Event()
        self.served = 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def at(self) -> tuple:
        return self.server_address

    def handle_error(self, request, client_address) -> None:
        """Say nothing: a user who went away, or a balancer that was stopped, is part of the tests."""

    def stop(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        flagged = self.server.flag is not None and self.server.flag.exists()
        code = (503 if flagged else self.server.health_code) if self.path == "/health" else 200
        if self.path == "/hold":
            self.server.released.wait(30)
        elif self.path == "/health":
            time.sleep(self.server.health_seconds)
        elif self.path.startswith("/slow/"):
            time.sleep(float(self.path.rpartition("/")[2]))
        elif self.path.startswith("/status/"):
            code = int(self.path.rpartition("/")[2])
        elif self.path == "/cut":
            self.close_connection = True
            return
        if self.path != "/health":
            self.server.served += 1
        self.send_response(code)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args) -> None:
        pass


class Request(threading.Thread):
    """One user's request on its way; ``status`` is the HTTP code once it is done, or the exception."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__(daemon=True)
        self.port, self.path, self.status = port, path, None
        self.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", self.path)
            self.status = connection.getresponse().status
        except OSError as error:
            self.status = error
        finally:
            connection.close()


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


def pytest_collection_modifyitems(config, items) -> None:
    """With EVERUP_BALANCERS=short leave out what only HAProxy, the default, proves in every run."""
    if os.environ.get("EVERUP_BALANCERS") != "short":
        return
    shared = ("test_conformance.py", "test_ansible_run.py", "test_known_flaws.py")

    def is_left_out(item) -> bool:
        provider = getattr(item, "callspec", None) and item.callspec.params.get("rig_class")
        return item.path.name in shared and provider not in (None, "haproxy") and not item.get_closest_marker("core")

    left_out = [item for item in items if item.path.parent == Path(__file__).parent and is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


RIGS = {
    "caddy": CaddyRig,
    "envoy": EnvoyRig,
    "haproxy": HAProxyRig,
    "httpd": HttpdRig,
    "nginx": NginxRig,
    "traefik": TraefikRig,
}


@pytest.fixture
def rig_classes():
    """The rigs by provider."""
    return RIGS


@pytest.fixture(params=sorted(RIGS))
def rig_class(request):
    """Each provider in turn; a file with tests of one alone overrides it."""
    return RIGS[request.param]


@pytest.fixture
def apps():
    """The members of pool ``shop``, by name."""
    running = {"web1": App(), "web2": App()}
    yield running
    for app in running.values():
        app.stop()


@pytest.fixture
def start_rig(rig_class, apps, tmp_path):
    """Start a balancer with pools ``shop`` (web1, web2) and ``solo`` (web1); stopped after the test."""
    started = []

    def start(**options):
        folder = tmp_path / f"lb{len(started) + 1}"
        folder.mkdir()
        pools = {"shop": {name: app.at for name, app in apps.items()}, "solo": {"web1": apps["web1"].at}}
        rig = rig_class(pools, folder, **options)
        rig.start()
        started.append(rig)
        return rig

    yield start
    for rig in started:
        rig.stop()


@pytest.fixture
def rig(start_rig):
    """One balancer whose members have all been checked and are up."""
    rig = start_rig()
    modules = Modules(type(rig))
    eventually(lambda: all(member["serving"] for member in modules.info(rig)["members"]))
    return rig


@pytest.fixture
def silent_address(rig_class, tmp_path):
    """Address of something that can be reached and never answers."""
    if rig_class is NginxRig:
        os.mkfifo(tmp_path / "silent.conf")
        yield str(tmp_path / "silent.conf")
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield rig_class.address_at(f"127.0.0.1:{server.getsockname()[1]}", tmp_path)


@pytest.fixture
def answering(rig_class, tmp_path):
    """Start a TCP server that answers every connection with the given chunks, 0.1 s apart; returns its address."""
    servers = []

    def start(*chunks):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve():
            while True:
                try:
                    connection, _address = server.accept()
                    with connection:
                        connection.recv(10000)
                        for chunk in chunks:
                            connection.sendall(chunk)
                            time.sleep(0.1)
                        # Closing with something unread would cut the answer.
                        connection.settimeout(0.5)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(10000):
                            pass
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        return rig_class.address_at(f"127.0.0.1:{server.getsockname()[1]}", tmp_path)

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture
def dead_address(rig_class, tmp_path):
    """Address where nobody is."""
    return rig_class.dead_address(tmp_path)


def eventually(true, timeout: float = 5.0) -> None:
    """Wait until true() is; fail when it never is."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.01)


class Modules:
    """The modules, called with the options that a provider's rigs need."""

    Request, App, HAProxyRig, NginxRig = Request, App, HAProxyRig, NginxRig
    eventually = staticmethod(eventually)

    def __init__(self, rig_class) -> None:
        self.rig_class = rig_class

    def task_options(self, rig) -> dict:
        """The options of a task that reaches one rig."""
        return {"provider": self.rig_class.provider, "address": [rig.address], **self.rig_class.options}

    def _params(self, module, rigs, options: dict) -> dict:
        rigs = rigs if isinstance(rigs, list) else [rigs]
        addresses = [rig if isinstance(rig, str) else rig.address for rig in rigs]
        defaults = {name: option.get("default") for name, option in module.ARGUMENT_SPEC.items()}
        usual = {"provider": self.rig_class.provider, "address": addresses, "interval": 0.02, "timeout": 5}
        given = {**usual, **self.rig_class.options, **options}
        return {**defaults, **{name: value for name, value in given.items() if name in defaults}}

    def move(self, rigs, state: str, pool: str = "shop", member: str = "web1", check_mode: bool = False, **options) -> dict:
        """Run lb_member on one rig, or several, or addresses."""
        options = {"pool": pool, "member": member, "state": state, **options}
        return lb_member.run(self._params(lb_member, rigs, options), check_mode)

    def info(self, rigs, **options) -> dict:
        """Run lb_member_info."""
        return lb_member_info.run(self._params(lb_member_info, rigs, options), False)

    def facts(self, rig, pool: str = "shop", member: str = "web1", **options) -> dict:
        """What lb_member_info says of one member on one rig."""
        (found,) = self.info(rig, pool=pool, member=member, **options)["members"]
        return found

    def served(self, rig, apps) -> list[bool]:
        """Say which members of pool ``shop`` get requests."""
        before = [app.served for app in apps.values()]
        for _number in range(10):
            request = Request(rig.port("shop"), "/")
            request.join(5)
            assert request.status == 200
        return [app.served > count for app, count in zip(apps.values(), before)]

    def killed_at_the_rename(self, provider, rig, state: str, renamed: bool) -> None:
        """Move web1 in a process that is killed right before or after it renames the balancer's file."""
        real = provider.replace_text

        def kill(path, text):
            if renamed:
                real(path, text)
            os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if not child:
            provider.replace_text = kill
            try:
                self.move(rig, state, wait=False)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    def balancer(self, rig, **options):
        """The provider's own object behind the module."""
        (one,) = providers.connect(self._params(lb_member, rig, options))
        return one


@pytest.fixture
def lb(rig_class):
    """The modules as the tests call them."""
    return Modules(rig_class)
