# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real members behind a real balancer; every conformance test runs on every rig."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.tests.support.lb_modules import Modules, eventually
from ansible_collections.everup.deploy.tests.support.members import App
from ansible_collections.everup.deploy.tests.support.rigs import RIGS, NginxRig


def pytest_collection_modifyitems(config, items) -> None:
    """With EVERUP_TESTS=short leave out what only HAProxy, the default, proves in every run."""
    if os.environ.get("EVERUP_TESTS") != "short":
        return
    shared = ("test_conformance.py", "test_ansible_run.py", "test_known_flaws.py")

    def is_left_out(item) -> bool:
        provider = getattr(item, "callspec", None) and item.callspec.params.get("rig_class")
        return item.path.name in shared and provider not in (None, "haproxy") and not item.get_closest_marker("core")

    left_out = [item for item in items if item.path.parent == Path(__file__).parent and is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


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


@pytest.fixture
def lb(rig_class):
    """The modules as the tests call them."""
    return Modules(rig_class)
