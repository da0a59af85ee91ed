# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""service.py brings a web server into the wanted state from any state it may find."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from examples.shop import service
from lab.process import LabError
from lab.shop import SERVICE, activate, install_release

# The service does not care which database it is.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def server(prepare, migrate, database):
    migrate(database, "expand")
    return prepare("web1", "1.0.0", database.url)


def running(server):
    return service.processes(f"shop:{server.home}")


def version(server, ask):
    return ask("GET", f"{server.url}/health")[1]["version"]


def test_a_restart_runs_the_current_release_and_only_a_restart_does(server, archives, ask):
    assert server.service("status") == {"changed": False, "running": False}
    started = server.service("start")
    assert started["changed"] and started["release"] == str(server.home / "releases" / "1.0.0")
    assert server.service("start") == started | {"changed": False}

    install_release(server.home, archives["2.0.0"], "2.0.0")
    activate(server.home, "2.0.0")
    [worker] = [pid for pid, parent in running(server).items() if parent == started["pid"]]
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while worker in running(server) or len(running(server)) < 2:
        assert time.monotonic() < deadline, "gunicorn did not replace its worker within 10 s"
        time.sleep(0.05)
    assert version(server, ask) == "1.0.0", "a new worker of a running server took the new release"

    restarted = server.service("restart")
    assert restarted["changed"] and restarted["pid"] != started["pid"]
    assert version(server, ask) == "2.0.0"
    assert server.service("stop")["changed"]
    assert not server.service("stop")["changed"]


def test_a_broken_release_starts_and_says_that_it_is_unhealthy(prepare, migrate, database, ask):
    migrate(database, "expand")
    server = prepare("web1", "2.0.1-broken", database.url)
    server.service("start")
    status, report = ask("GET", f"{server.url}/health")
    assert (status, report["status"], report["version"]) == (500, "broken", "2.0.1-broken")


def test_two_restarts_at_once_leave_one_server(server, ask):
    threads = [threading.Thread(target=server.service, args=["restart"]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(service.masters(running(server))) == 1
    assert version(server, ask) == "1.0.0"


@pytest.mark.parametrize("after", [0.2, 0.6])
def test_a_restart_that_was_killed_can_be_repeated(server, ask, after):
    server.service("start")
    killed = subprocess.Popen([sys.executable, str(SERVICE), "restart", "--home", str(server.home)])
    time.sleep(after)
    killed.kill()
    killed.wait()
    server.service("restart")
    assert len(service.masters(running(server))) == 1
    assert version(server, ask) == "1.0.0"


def test_a_request_under_way_is_answered_before_the_server_ends(server, database, ask):
    server.service("start")
    answers = []
    order = {"customer": 1, "item": "pan", "quantity": 1}
    request = threading.Thread(target=lambda: answers.append(ask("POST", f"{server.url}/orders", order)))
    connection = database.connect()
    connection.execute("BEGIN IMMEDIATE")
    request.start()
    time.sleep(0.3)
    stopping = threading.Thread(target=server.service, args=["stop"])
    stopping.start()
    time.sleep(0.5)
    connection.execute("COMMIT")
    connection.close()
    request.join(20)
    stopping.join(20)
    assert [status for status, _ in answers] == [201]
    assert not running(server)


def test_strangers_are_left_alone(server):
    pretender = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"shop:{server.home}"])
    neighbour = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "gunicorn", f"shop:{server.home}2"])
    try:
        (server.home / "service.pid").write_text(f"{pretender.pid}\n")
        server.service("restart")
        server.service("stop")
        assert pretender.poll() is None and neighbour.poll() is None
    finally:
        for process in (pretender, neighbour):
            process.kill()
            process.wait()


def test_a_port_in_somebody_elses_use_is_said(server):
    with (
        socket.create_server((server.bind, server.port)),
        pytest.raises(LabError, match="in use by a process"),
    ):
        server.service("start")


def test_a_release_that_cannot_start_is_said_with_its_log(server):
    (server.home / "shop.env").write_text(f"SHOP_PORT={server.port}\n")
    with pytest.raises(LabError, match=r"(?s)gunicorn ended with .*DATABASE_URL"):
        server.service("restart")
    assert not running(server)
    Path(server.home / "current").unlink()
    with pytest.raises(LabError, match="does not lead to a release"):
        server.service("restart")
