# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is HAProxy's own: inherited states, weights, agents, members without a check, forgotten drains, strange answers."""

from __future__ import annotations

import socketserver
import threading
import time

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError


@pytest.fixture(params=["haproxy"])
def rig_class(request, rig_classes):
    """Only HAProxy here."""
    return rig_classes[request.param]


class Agent(socketserver.ThreadingTCPServer):
    """What HAProxy asks for an agent check: ``says`` is its answer."""

    daemon_threads = True
    says = "up\n"

    @property
    def port(self) -> int:
        return self.server_address[1]


class _Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(self.server.says.encode())


@pytest.fixture
def agent():
    """A running agent."""
    with Agent(("127.0.0.1", 0), _Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def test_member_disabled_in_the_configuration_can_be_put_back(lb, start_rig):
    rig = start_rig(server_options={"shop/web1": "check disabled"})
    assert lb.facts(rig)["state"] == "maint"
    assert lb.move(rig, "ready")["changed"] is True
    assert lb.facts(rig)["serving"] is True
    assert lb.move(rig, "ready")["changed"] is False


def test_member_without_a_check_is_healthy(lb, start_rig):
    rig = start_rig(server_options={"shop/web1": ""})
    lb.move(rig, "maint")
    assert lb.facts(rig)["healthy"] is False
    result = lb.move(rig, "ready")
    assert result["members"][0]["after"]["health"] == "no check"
    assert result["members"][0]["after"]["serving"] is True


def test_member_of_weight_0_is_ready_but_serves_nobody(lb, start_rig):
    rig = start_rig(server_options={"shop/web1": "check weight 0"})
    lb.eventually(lambda: lb.facts(rig)["healthy"])
    with pytest.raises(EverupError, match="weight 0: no new session"):
        lb.move(rig, "ready", timeout=0)


def test_a_backup_is_told(lb, start_rig):
    rig = start_rig(server_options={"shop/web2": "check backup"})
    assert [member["backup"] for member in lb.info(rig, pool="shop")["members"]] == [False, True]


def test_a_weight_that_was_set_by_hand_outlives_drain_and_ready(lb, start_rig):
    rig = start_rig(server_options={"shop/web1": "check weight 100"})
    rig.server.command("set weight shop/web1 40%")
    lb.move(rig, "drain")
    lb.move(rig, "ready")
    assert "40 (initial 100)" in rig.server.command("get weight shop/web1")


def test_a_slow_start_is_left_to_haproxy(lb, start_rig, apps):
    """A member that was down begins with a part of its weight; ready does not wait for all of it, and takes none of it away."""
    rig = start_rig(server_options={"shop/web1": "check weight 100 slowstart 60s", "shop/web2": "check weight 100"})
    lb.eventually(lambda: lb.facts(rig)["healthy"])
    lb.move(rig, "maint")
    assert lb.move(rig, "ready")["members"][0]["after"]["serving"]
    assert 0 < lb.facts(rig)["weight"] < 100
    assert lb.facts(rig, member="web2")["weight"] == 100


def test_what_an_agent_says_is_respected(lb, start_rig, agent):
    """The agent of a member may take it out and give it a weight, and has the last word."""
    options = f"check weight 100 agent-check agent-port {agent.port} agent-inter 50ms"
    rig = start_rig(server_options={"shop/web1": options})
    agent.says = "75%\n"
    lb.eventually(lambda: lb.facts(rig)["weight"] == 75)
    lb.move(rig, "drain")
    lb.move(rig, "ready")
    lb.eventually(lambda: lb.facts(rig)["weight"] == 75)
    agent.says = "drain\n"
    lb.eventually(lambda: not lb.facts(rig)["serving"])
    lb.move(rig, "ready", wait=False)
    lb.eventually(lambda: not lb.facts(rig)["serving"])
    agent.says = "ready\n"
    lb.eventually(lambda: lb.facts(rig)["serving"])


def test_state_inherited_from_a_tracked_server_fails_and_says_so(lb, start_rig):
    rig = start_rig(server_options={"solo/web1": "track shop/web1"})
    lb.move(rig, "maint")
    assert lb.facts(rig, pool="solo")["state"] == "maint"
    with pytest.raises(EverupError, match="inherited") as error:
        lb.move(rig, "ready", pool="solo", wait=False)
    assert "MAINT (via shop/web1)" in str(error.value)
    lb.move(rig, "drain")
    assert lb.facts(rig, pool="solo")["state"] == "drain"


def test_member_not_checked_since_the_start_is_not_healthy(lb, start_rig):
    rig = start_rig(inter="30s", fall=1)  # HAProxy spreads the first checks over the interval
    web2 = lb.facts(rig, member="web2")
    assert web2["health"] == "UP (INI)"
    assert (web2["healthy"], web2["serving"]) == (False, False)


def test_up_1_of_3_is_not_up(lb, start_rig):
    rig = start_rig(inter="30s")
    lb.move(rig, "maint")
    lb.move(rig, "ready", wait=False)
    assert lb.facts(rig)["health"].startswith("UP 1/3")
    assert lb.facts(rig)["healthy"] is False
    with pytest.raises(EverupError, match="last seen UP 1/3"):
        lb.move(rig, "ready", timeout=0)


def test_the_code_of_the_last_check_is_told_while_the_next_is_on_its_way(lb, rig, apps):
    apps["web1"].health_code = 503
    lb.eventually(lambda: "503" in lb.facts(rig)["health"])
    apps["web1"].health_seconds = 0.5
    with pytest.raises(EverupError, match=r"last seen \S+ \(L7STS 503\)"):
        lb.move(rig, "drain")
        lb.move(rig, "ready", timeout=1.25)


@pytest.mark.parametrize("level", ["operator", "user"])
def test_socket_below_level_admin_is_refused_before_anything_is_tried(lb, rig, level):
    with pytest.raises(EverupError, match=f"this socket has level {level}"):
        lb.move(rig.server.socket(level), "drain")


@pytest.fixture
def restart_soon(start_rig):
    """Restart a balancer while somebody waits, with or without its administrative states; over before it is stopped."""
    timers = []

    def start(rig, save: bool) -> None:
        def restart():
            if save:
                rig.server.save_state()
            rig.stop()
            time.sleep(0.1)
            rig.start()

        timers.append(threading.Timer(0.2, restart))
        timers[-1].start()

    yield start
    for timer in timers:
        timer.join(10)


def test_drain_forgotten_by_a_restart_fails_instead_of_waiting_on(lb, start_rig, restart_soon):
    rig = start_rig()
    lb.Request(rig.port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    restart_soon(rig, save=False)
    with pytest.raises(EverupError, match=r"went back to ready on balancer .* while it drained"):
        lb.move(rig, "drain", pool="solo")


def test_drain_outlives_a_restart_that_remembers(lb, start_rig, restart_soon, tmp_path):
    rig = start_rig(state_file=tmp_path / "states")
    lb.Request(rig.port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    restart_soon(rig, save=True)
    result = lb.move(rig, "drain", pool="solo")
    assert result["waited_seconds"] > 0.2
    assert result["members"][0]["after"]["state"] == "drain"


def test_state_file_keeps_the_drain_over_a_restart(lb, start_rig, tmp_path):
    rig = start_rig(state_file=tmp_path / "states")
    lb.move(rig, "drain")
    rig.server.save_state()
    rig.stop()
    rig.start()
    assert lb.facts(rig)["state"] == "drain"
    assert lb.facts(rig, member="web2")["state"] == "ready"


def test_an_answer_that_drips_is_bounded_as_a_whole(lb, answering):
    address = answering(*[b"1\n"] * 300)
    started = time.monotonic()
    with pytest.raises(EverupError, match=r"within 0\.3 s"):
        lb.move(address, "drain", connect_timeout=0.3)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"1\nno header here\n", b"\xff\xfe\n", b""])
def test_an_address_that_is_no_haproxy_fails_with_a_sentence(lb, answering, answer):
    with pytest.raises(EverupError) as error:
        lb.info(answering(answer))
    assert str(error.value).startswith("Balancer 127.0.0.1:")


@pytest.mark.parametrize("address", ["lb1", "lb1:", ":9999", "lb1:port", "run/haproxy.sock", ""])
def test_an_address_of_neither_form_is_refused(lb, address):
    with pytest.raises(EverupError, match="neither"):
        lb.info(address)


def test_ipv6_address_is_understood(lb):
    with pytest.raises(EverupError, match=r"\[::1\]:1 cannot be reached"):
        lb.info("[::1]:1")


def test_tcp_works_as_well_as_a_unix_socket(lb, start_rig):
    rig = start_rig(admin_port=0)
    address = rig.server.admin_address
    assert lb.move(address, "drain")["changed"] is True
    assert lb.facts(rig)["state"] == "drain"
