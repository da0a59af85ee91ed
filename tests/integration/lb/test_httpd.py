# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is Apache httpd's own: the nonce, the Referer, flags set by hand, its own health checks, users, forgotten drains."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support.adhoc import run_task

PASSWORD = "Wq7:/ p&=%41ä"
CHECKED = "hcmethod=GET hcuri=/health hcinterval=1 hcpasses=1 hcfails=1"
UNASKED = {"health_url": None}


@pytest.fixture(params=["httpd"])
def rig_class(request, rig_classes):
    """Only httpd here."""
    return rig_classes[request.param]


def by_hand(lb, rig, flags: dict, member: str = "web1") -> None:
    """Set flags of a member of pool shop as an administrator would in the page."""
    balancer = lb.balancer(rig)
    page = balancer._read()
    balancer._post(page, balancer._worker(page, "shop", member), flags)


# --- members ---------------------------------------------------------------------------------------------------------


def test_a_member_without_a_route_has_its_address_as_its_name(lb, start_rig, apps):
    rig = start_rig(routes=False)
    name = "127.0.0.1:{}".format(apps["web1"].at[1])
    assert lb.move(rig, "drain", member=name)["changed"] is True
    assert lb.facts(rig, member=name)["state"] == "drain"


def test_two_members_with_one_route_are_not_told_apart(lb, start_rig):
    rig = start_rig(routes=False, member_options="route=same")
    with pytest.raises(EverupError, match="has 2 members same: give each BalancerMember a route of its own"):
        lb.move(rig, "drain", member="same")


def test_the_load_factor_is_the_weight(lb, start_rig):
    assert lb.facts(start_rig(member_options="loadfactor=3"))["weight"] == 3


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("flag", ["w_status_S", "w_status_D"])
def test_a_member_that_was_stopped_by_hand_is_out_and_comes_back(lb, rig, flag, wait):
    by_hand(lb, rig, {flag: "1"})
    assert lb.facts(rig)["state"] == "maint"
    assert lb.move(rig, "ready", wait=wait)["changed"] is True
    assert lb.facts(rig)["serving"] is True


def test_what_is_set_by_hand_beside_the_state_stays(lb, rig):
    by_hand(lb, rig, {"w_status_I": "1", "w_lf": "5"})
    lb.move(rig, "drain")
    lb.move(rig, "ready")
    (worker, _other) = [worker for worker in lb.balancer(rig)._read().workers if worker.pool == "shop"]
    assert "Ign" in worker.flags
    assert worker.weight == 5


def test_the_right_to_change_is_looked_at_without_a_change(lb, rig):
    before = lb.balancer(rig)._read()
    lb.balancer(rig).check_writable("shop")
    after = lb.balancer(rig)._read()
    assert [worker.flags for worker in before.workers] == [worker.flags for worker in after.workers]


@pytest.mark.parametrize("name", ["web1&w_status_D=1", "../balancer-manager", "web1'"])
def test_a_name_that_could_be_a_parameter_changes_nothing(lb, rig, name):
    for named in ({"member": name}, {"pool": name}):
        with pytest.raises(EverupError, match="has no"):
            lb.move(rig, "maint", **named)
    assert [member["state"] for member in lb.info(rig)["members"]] == ["ready"] * 3


# --- sessions --------------------------------------------------------------------------------------------------------


def test_the_count_of_running_requests_is_right_after_many_at_once(lb, rig):
    for _round in range(3):
        requests = [lb.Request(rig.port("solo"), "/slow/0.05") for _number in range(60)]
        for request in requests:
            request.join(10)
        assert [request.status for request in requests] == [200] * 60
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 0, timeout=20)


# --- health ----------------------------------------------------------------------------------------------------------


def test_the_checks_of_httpd_itself_are_told(lb, start_rig, apps):
    rig = start_rig(member_options=CHECKED)
    assert lb.info(rig, pool="shop", member="web1", **UNASKED)["members"][0]["health"] == "UP"
    apps["web1"].health_code = 503
    lb.eventually(lambda: not lb.info(rig, pool="shop", member="web1", **UNASKED)["members"][0]["healthy"], timeout=10)
    lb.move(rig, "drain", **UNASKED)
    with pytest.raises(EverupError, match=r"not healthy .* last seen DOWN \(HcFl\)"):
        lb.move(rig, "ready", timeout=0, **UNASKED)
    apps["web1"].health_code = 200
    lb.move(rig, "ready", timeout=10, **UNASKED)
    assert lb.info(rig, pool="shop", member="web1", **UNASKED)["members"][0]["serving"] is True


def test_a_member_that_nobody_checks_is_healthy(lb, rig):
    (member,) = lb.info(rig, pool="shop", member="web1", **UNASKED)["members"]
    assert (member["health"], member["healthy"]) == ("no check", True)


def test_an_error_counts_while_the_member_is_ready_and_not_once_it_is_out(lb, start_rig, apps):
    rig = start_rig(member_options="retry=1")
    apps["web1"].stop()
    lb.Request(rig.port("solo"), "/").join(5)
    (member,) = lb.info(rig, pool="solo", **UNASKED)["members"]
    assert (member["health"], member["healthy"]) == ("DOWN (Err)", False)
    lb.move(rig, "drain", pool="solo", **UNASKED)
    (member,) = lb.info(rig, pool="solo", **UNASKED)["members"]
    assert (member["health"], member["healthy"]) == ("no check", True)
    assert lb.facts(rig, pool="solo")["health"].startswith("DOWN (")


# --- the way in ------------------------------------------------------------------------------------------------------


def test_a_nonce_that_a_restart_made_stale_is_read_anew(lb, rig, monkeypatch):
    balancer = lb.balancer(rig)
    read, pages = balancer._read, []

    def read_and_restart():
        page = read()
        if not pages:
            rig.stop()
            rig.start()
        pages.append(page)
        return page

    monkeypatch.setattr(balancer, "_read", read_and_restart)
    balancer.set_state("shop", "web1", "drain")
    assert pages[0].workers[0].form["nonce"] != pages[1].workers[0].form["nonce"]
    assert lb.facts(rig)["state"] == "drain"


def test_a_server_that_names_itself_otherwise_takes_changes(lb, start_rig):
    rig = start_rig(server_name="lb.example.com")
    assert lb.move(rig, "drain")["changed"] is True
    assert lb.facts(rig)["state"] == "drain"


def test_a_balancer_that_takes_no_change_is_found_before_anything_is_tried(lb, start_rig):
    rig = start_rig(balancer_options="nonce=None")
    with pytest.raises(EverupError, match="balancer shop has nonce=None"):
        lb.move(rig, "drain", check_mode=True)
    with pytest.raises(EverupError, match=r"3 times and still reports ready \(Init Ok\)"):
        lb.balancer(rig).set_state("shop", "web1", "drain")


# --- restarts --------------------------------------------------------------------------------------------------------


def test_a_drain_forgotten_by_a_graceful_restart_fails_instead_of_waiting_on(lb, rig):
    lb.Request(rig.port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    timer = threading.Timer(0.3, rig.server.reload)
    timer.start()
    with pytest.raises(EverupError, match=r"went back to ready on balancer .* while it drained"):
        lb.move(rig, "drain", pool="solo", timeout=10)
    timer.join()


def test_states_outlive_a_restart_where_they_are_persistent(lb, start_rig):
    rig = start_rig(persist=True)
    lb.move(rig, "drain")
    rig.stop()
    rig.start()
    assert [member["state"] for member in lb.info(rig, pool="shop")["members"]] == ["drain", "ready"]


# --- users -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(start_rig):
    return start_rig(user=("deploy", PASSWORD)).server.manager("/guarded")


def test_a_user_and_password_open_the_manager(lb, guarded):
    known = {"url_username": "deploy", "url_password": PASSWORD}
    assert lb.move(guarded, "drain", **known)["changed"] is True
    assert lb.info(guarded, pool="shop", **known)["members"][0]["state"] == "drain"


@pytest.mark.parametrize("known", [{}, {"url_username": "deploy", "url_password": "wrong"}])
def test_a_stranger_is_told_what_is_missing(lb, guarded, known):
    with pytest.raises(EverupError, match=r"401 Unauthorized.*Give url_username and url_password") as error:
        lb.info(guarded, **known)
    assert guarded in str(error.value)
    assert "wrong" not in str(error.value)


@pytest.mark.parametrize("found", [True, False])
def test_no_output_has_the_password(tmp_path, guarded, found):
    options = {
        "provider": "httpd",
        "address": guarded,
        "url_username": "deploy",
        "url_password": PASSWORD,
        "pool": "shop",
        "member": "web1" if found else "web9",
        "state": "drain",
    }
    code, _result, output = run_task(tmp_path, "lb_member", options, "-vvv")
    assert code == (0 if found else 2), output
    assert PASSWORD not in output
    assert "Wq7" not in output


@pytest.mark.parametrize("address", ["http://deploy:Wq7@127.0.0.1/manager", "https://Wq7@lb1/manager"])
def test_an_address_with_a_password_is_refused_and_not_shown(lb, address):
    with pytest.raises(EverupError, match="url_password") as error:
        lb.info(address)
    assert "Wq7" not in str(error.value)


# --- odd answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *(
            "lb1",
            "127.0.0.1:80/manager",
            "ftp://lb1/manager",
            "http:///manager",
            "http://lb1:port/manager",
            "http://lb1/m?b=shop",
        ),
        *("", "http://lb1/a b", "http://lb1/m\r\nHost: other"),
    ],
)
def test_an_address_that_is_no_url_is_refused(lb, address):
    with pytest.raises(EverupError, match="not an http or https URL"):
        lb.info(address)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "closed the connection without answering"),
        (b"1\nno header here\n", "not HTTP's"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "not a balancer-manager's .* It began with: 'hello'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", "IncompleteRead"),
        (b"HTTP/1.1 500 Oh\r\n\r\n<h1>Broken</h1>", r"500 Oh \(Broken\)"),
        (b"HTTP/1.1 301 Moved\r\nLocation: https://lb1/\r\n\r\n", "leads to https://lb1/: give the address"),
        (b"HTTP/1.1 403 No\r\n\r\n", "Permission denied"),
        (
            b"HTTP/1.1 200 OK\r\n\r\n<h1>Load Balancer Manager for lb1</h1><h3><a>balancer://shop</a></h3><table><tr>"
            b"<th>Worker URL</th></tr><tr><td>http://192.0.2.11</td></tr></table>",
            "a worker of balancer shop cannot be read",
        ),
    ],
)
def test_an_answer_that_is_not_a_managers_is_a_sentence(lb, answering, answer, said):
    address = answering(answer)
    with pytest.raises(EverupError, match=said) as error:
        lb.info(address)
    assert str(error.value).startswith(f"Balancer {address}")


def test_a_manager_that_ignores_changes_is_found_before_anything_is_tried(lb, answering):
    row = (
        '<td><a href="/m?b=shop&amp;w=http://192.0.2.11:80&amp;nonce=n">http://192.0.2.11:80</a></td><td>web1</td><td>1.00</td>'
        "<td>Init Ok </td><td>0</td>"
    )
    page = (
        "<h1>Load Balancer Manager for other.example.com</h1><h3>For <a>balancer://shop</a></h3><table><tr><th>Worker URL</th>"
        f"<th>Route</th><th>Factor</th><th>Status</th><th>Busy</th></tr><tr>{row}</tr></table>"
    )
    address = answering(f"HTTP/1.1 200 OK\r\n\r\n{page}".encode())
    with pytest.raises(EverupError, match=r"would ignore a change .* names itself other\.example\.com"):
        lb.move(address, "drain", check_mode=True, health_url=None)


def test_an_answer_that_drips_is_bounded_as_a_whole(lb, answering):
    address = answering(b"HTTP/1.1 200 OK\r\n\r\n", *[b"<h1>"] * 300)
    started = time.monotonic()
    with pytest.raises(EverupError, match=r"within 0\.3 s"):
        lb.info(address, connect_timeout=0.3)
    assert time.monotonic() - started < 15
