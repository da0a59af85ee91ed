# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every balancer must do; a new provider joins by a rig in conftest.py and passes all of it."""

from __future__ import annotations

import re
import threading
import time

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError

# --- what it says ---------------------------------------------------------------------------------------------------


@pytest.mark.core
def test_info_lists_every_member_with_its_balancer(lb, rig, apps):
    members = lb.info(rig)["members"]
    assert [(member["pool"], member["member"]) for member in members] == [
        ("shop", "web1"),
        ("shop", "web2"),
        ("solo", "web1"),
    ]
    assert members[0] == {
        "balancer": rig.address,
        "pool": "shop",
        "member": "web1",
        "address": "127.0.0.1:{}".format(apps["web1"].at[1]),
        "state": "ready",
        "health": members[0]["health"],
        "healthy": True,
        "serving": True,
        "sessions": 0,
        "weight": 1,
        "backup": False,
    }


def test_info_of_one_pool_and_of_one_member(lb, rig):
    assert [member["member"] for member in lb.info(rig, pool="shop")["members"]] == ["web1", "web2"]
    assert [member["member"] for member in lb.info(rig, pool="shop", member="web2")["members"]] == ["web2"]


@pytest.mark.core
@pytest.mark.parametrize("state", ["ready", "drain", "maint"])
def test_changed_is_true_once(lb, rig, state):
    lb.move(rig, "drain" if state == "ready" else "ready")
    first, second = lb.move(rig, state), lb.move(rig, state)
    assert (first["changed"], second["changed"]) == (True, False)
    assert lb.facts(rig)["state"] == state
    assert second["diff"]["before"] == second["diff"]["after"] == {rig.address: state}


@pytest.mark.core
@pytest.mark.parametrize("state", ["drain", "maint"])
def test_check_mode_says_what_would_change_and_changes_nothing(lb, rig, state):
    result = lb.move(rig, state, check_mode=True)
    assert result["changed"] is True
    assert result["diff"]["before"] == {rig.address: "ready"}
    assert result["diff"]["after"] == {rig.address: state}
    assert lb.facts(rig)["state"] == "ready"
    assert lb.move(rig, "ready", check_mode=True)["changed"] is False


def test_check_mode_does_not_wait(lb, rig, apps):
    apps["web1"].health_code = 503
    lb.move(rig, "maint")
    result = lb.move(rig, "ready", check_mode=True, timeout=60)
    assert result["changed"] is True
    assert result["waited_seconds"] == 0


def test_result_tells_before_and_after_on_the_balancer(lb, rig):
    (member,) = lb.move(rig, "drain")["members"]
    assert member["balancer"] == rig.address
    assert (member["before"]["state"], member["after"]["state"]) == ("ready", "drain")
    assert member["after"]["sessions"] == 0


def test_diff_shows_states_and_no_counters(lb, rig):
    diff = lb.move(rig, "drain")["diff"]
    assert diff == {
        "before_header": "shop/web1",
        "after_header": "shop/web1",
        "before": {rig.address: "ready"},
        "after": {rig.address: "drain"},
    }


# --- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_mode", [False, True])
def test_unknown_pool_fails_and_names_it(lb, rig, check_mode):
    with pytest.raises(EverupError, match="nowhere") as error:
        lb.move(rig, "drain", pool="nowhere", check_mode=check_mode)
    assert rig.address in str(error.value)


@pytest.mark.core
@pytest.mark.parametrize("check_mode", [False, True])
def test_unknown_member_fails_and_names_the_known_ones(lb, rig, check_mode):
    with pytest.raises(EverupError, match="no member web9; its members are: web1, web2") as error:
        lb.move(rig, "drain", member="web9", check_mode=check_mode)
    assert rig.address in str(error.value)


def test_info_fails_for_unknown_pool_and_member(lb, rig):
    with pytest.raises(EverupError, match="nowhere"):
        lb.info(rig, pool="nowhere")
    with pytest.raises(EverupError, match="web9"):
        lb.info(rig, pool="shop", member="web9")


@pytest.mark.parametrize("name", ["web1;show env", "web1\nset server solo/web1 state maint", "web 1", "", "a/b"])
def test_a_name_that_could_be_a_command_is_refused(lb, rig, name):
    with pytest.raises(EverupError):
        lb.move(rig, "maint", member=name)
    with pytest.raises(EverupError):
        lb.move(rig, "maint", pool=name)
    assert lb.facts(rig, pool="solo")["state"] == "ready"


@pytest.mark.core
@pytest.mark.parametrize("check_mode", [False, True])
def test_denied_connection_fails_also_in_check_mode(lb, rig, check_mode):
    with pytest.raises(EverupError, match="Permission denied") as error:
        lb.move(rig.denied_address, "drain", check_mode=check_mode)
    assert rig.denied_address in str(error.value)
    assert lb.facts(rig)["state"] == "ready"


def test_denied_command_fails(lb, rig):
    with pytest.raises(EverupError, match="Permission denied"):
        lb.balancer(rig.denied_address).set_state("shop", "web1", "drain")


def test_denied_connection_may_look(lb, rig):
    assert lb.facts(rig.denied_address)["state"] == "ready"


@pytest.mark.core
def test_unreachable_balancer_fails_and_is_named(lb, dead_address):
    with pytest.raises(EverupError, match="cannot be reached") as error:
        lb.move(dead_address, "drain")
    assert dead_address in str(error.value)


@pytest.mark.core
def test_silent_balancer_fails_within_its_bound(lb, silent_address):
    started = time.monotonic()
    with pytest.raises(EverupError, match=r"within 0\.3 s") as error:
        lb.move(silent_address, "drain", connect_timeout=0.3)
    assert time.monotonic() - started < 30
    assert silent_address in str(error.value)


@pytest.mark.core
def test_a_member_of_several_pools_is_moved_in_all_of_them_at_once(lb, rig):
    foreseen = lb.move(rig, "drain", pool="*", check_mode=True)
    result = lb.move(rig, "drain", pool="*")
    assert foreseen["changed"] and result["changed"]
    assert [(member["pool"], member["after"]["state"]) for member in result["members"]] == [("shop", "drain"), ("solo", "drain")]
    at = {f"shop on {rig.address}", f"solo on {rig.address}"}
    assert set(result["diff"]["after"]) == set(foreseen["diff"]["after"]) == at
    states = {(member["pool"], member["member"]): member["state"] for member in lb.info(rig, pool="*")["members"]}
    assert states == {("shop", "web1"): "drain", ("shop", "web2"): "ready", ("solo", "web1"): "drain"}
    lb.move(rig, "ready", pool="*")
    assert not lb.move(rig, "ready", pool="*")["changed"]
    assert {member["state"] for member in lb.info(rig, pool="*", member="web1")["members"]} == {"ready"}
    with pytest.raises(EverupError, match=r"No pool on balancer .* has a member web9; the members are: web1, web2"):
        lb.move(rig, "drain", pool="*", member="web9")


@pytest.mark.core
def test_info_counts_what_a_member_answered_or_says_that_it_cannot(lb, rig):
    if not rig.counts_answers:
        with pytest.raises(EverupError, match=rf"{re.escape(rig.address)} does not tell how many requests"):
            lb.info(rig, pool="solo", counters=True)
        return
    before = lb.facts(rig, pool="solo", counters=True)["counters"]
    for path in ["/"] * 6 + ["/status/404", "/status/500", "/status/503", "/cut"]:
        request = lb.Request(rig.port("solo"), path)
        request.join(5)
    after = lb.facts(rig, pool="solo", counters=True)["counters"]
    assert (after["requests"] - before["requests"], after["errors"] - before["errors"]) == (10, 3)


# --- drain ----------------------------------------------------------------------------------------------------------


@pytest.mark.core
def test_drain_waits_for_a_running_request_and_does_not_cut_it(lb, rig, apps):
    request = lb.Request(rig.port("solo"), "/slow/2")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    result = lb.move(rig, "drain", pool="solo")
    assert 0.2 < result["waited_seconds"] < 15
    assert result["members"][0]["before"]["sessions"] == 1
    assert result["members"][0]["after"]["sessions"] == 0
    request.join(5)
    assert request.status == 200
    assert lb.facts(rig, pool="solo")["state"] == "drain"


@pytest.mark.core
def test_drained_member_gets_no_new_session(lb, rig, apps):
    lb.move(rig, "drain")
    served = apps["web1"].served
    requests = [lb.Request(rig.port("shop"), "/") for _number in range(10)]
    for request in requests:
        request.join(5)
    assert [request.status for request in requests] == [200] * 10
    assert (apps["web1"].served - served, apps["web2"].served) == (0, 10)


def test_drain_without_sessions_is_quick(lb, rig):
    started = time.monotonic()
    assert lb.move(rig, "drain", timeout=600, interval=300)["changed"] is True
    assert time.monotonic() - started < 120


@pytest.mark.core
def test_drain_time_out_names_what_it_saw(lb, rig, apps):
    requests = [lb.Request(rig.port("solo"), "/hold") for _number in range(3)]
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 3)
    with pytest.raises(EverupError) as error:
        lb.move(rig, "drain", pool="solo", timeout=1)
    for part in ("web1", "solo", "after 1 s", f"3 sessions on balancer {rig.address}", "not drained"):
        assert part in str(error.value)
    assert error.value.details["changed"] is True
    assert error.value.details["members"][0]["after"]["sessions"] == 3
    assert lb.facts(rig, pool="solo")["state"] == "drain"
    apps["web1"].released.set()
    for request in requests:
        request.join(5)
    assert [request.status for request in requests] == [200] * 3


def test_drain_time_out_can_proceed_with_a_warning(lb, rig, apps):
    request = lb.Request(rig.port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    result = lb.move(rig, "drain", pool="solo", timeout=0, on_timeout="proceed")
    assert result["changed"] is True
    assert "1 session on balancer" in result["warnings"][0]
    assert result["members"][0]["after"]["sessions"] == 1
    apps["web1"].released.set()
    request.join(5)
    assert request.status == 200


def test_drain_again_waits_for_what_is_still_running(lb, rig, apps):
    lb.Request(rig.port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    lb.move(rig, "drain", pool="solo", wait=False)
    with pytest.raises(EverupError, match="1 session on balancer") as error:
        lb.move(rig, "drain", pool="solo", timeout=0)
    assert error.value.details["changed"] is False


def test_drain_without_wait_returns_at_once(lb, rig, apps):
    lb.Request(rig.port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    result = lb.move(rig, "drain", pool="solo", wait=False)
    assert result["waited_seconds"] == 0
    assert result["members"][0]["after"]["state"] == "drain"
    assert result["members"][0]["after"]["sessions"] == 1


# --- ready ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way_out", ["drain", "maint"])
def test_ready_waits_until_the_member_serves(lb, rig, way_out):
    lb.move(rig, way_out)
    result = lb.move(rig, "ready")
    assert result["members"][0]["after"]["serving"] is True
    assert lb.facts(rig)["serving"] is True


@pytest.mark.parametrize("way_out", ["drain", "maint"])
def test_ready_of_a_broken_member_times_out_naming_what_it_saw(lb, rig, apps, way_out):
    apps["web1"].health_code = 503
    lb.move(rig, way_out)
    if way_out == "drain":
        lb.eventually(lambda: not lb.facts(rig)["healthy"])
    with pytest.raises(EverupError) as error:
        lb.move(rig, "ready", timeout=1)
    for part in ("web1", "shop", "after 1 s", "last seen", *rig.says_down, rig.address):
        assert part in str(error.value)


@pytest.mark.core
def test_a_broken_member_fresh_from_maintenance_gets_no_request(lb, rig, apps):
    lb.move(rig, "maint")
    apps["web1"].health_code = 503
    with pytest.raises(EverupError, match="not healthy"):
        lb.move(rig, "ready", timeout=1)
    assert lb.facts(rig)["state"] == "drain"
    for _number in range(6):
        lb.Request(rig.port("shop"), "/").join(5)
    assert (apps["web1"].served, apps["web2"].served) == (0, 6)


def test_ready_waits_for_an_application_that_is_still_starting(lb, rig, apps):
    apps["web1"].health_code = 503
    lb.move(rig, "maint")
    threading.Timer(0.8, lambda: setattr(apps["web1"], "health_code", 200)).start()
    result = lb.move(rig, "ready")
    assert result["waited_seconds"] > 0.7
    assert lb.facts(rig)["serving"] is True


def test_ready_of_a_ready_but_broken_member_fails_without_change(lb, rig, apps):
    apps["web1"].health_code = 503
    lb.eventually(lambda: not lb.facts(rig)["healthy"])
    with pytest.raises(EverupError, match="does not serve") as error:
        lb.move(rig, "ready", timeout=0)
    assert error.value.details["changed"] is False
    assert lb.facts(rig)["state"] == "ready"


def test_ready_without_wait_does_not_look_at_health(lb, rig, apps):
    apps["web1"].health_code = 503
    lb.move(rig, "maint")
    assert lb.move(rig, "ready", wait=False)["changed"] is True
    assert lb.facts(rig)["state"] == "ready"


def test_maint_takes_out_at_once_and_does_not_cut(lb, rig, apps):
    request = lb.Request(rig.port("solo"), "/slow/0.5")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    result = lb.move(rig, "maint", pool="solo")
    assert result["waited_seconds"] == 0
    assert result["members"][0]["after"]["state"] == "maint"
    assert result["members"][0]["after"]["serving"] is False
    request.join(5)
    assert request.status == 200


# --- a pair ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(lb, rig, start_rig):
    other = start_rig()
    lb.eventually(lambda: all(member["serving"] for member in lb.info(other)["members"]))
    return [rig, other]


@pytest.mark.core
def test_pair_moves_together(lb, pair):
    result = lb.move(pair, "drain")
    assert [member["balancer"] for member in result["members"]] == [rig.address for rig in pair]
    assert [lb.facts(rig)["state"] for rig in pair] == ["drain", "drain"]
    assert lb.move(pair, "ready")["changed"] is True
    assert [lb.facts(rig)["serving"] for rig in pair] == [True, True]


def test_pair_is_changed_when_one_differs(lb, pair):
    lb.move(pair[0], "drain")
    result = lb.move(pair, "drain")
    assert result["changed"] is True
    assert result["diff"]["before"] == {pair[0].address: "drain", pair[1].address: "ready"}
    assert lb.move(pair, "drain")["changed"] is False


def test_pair_is_drained_only_when_both_say_so(lb, pair, apps):
    lb.Request(pair[1].port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(pair[1], pool="solo")["sessions"] == 1)
    with pytest.raises(EverupError) as error:
        lb.move(pair, "drain", pool="solo", timeout=0)
    assert f" 1 session on balancer {pair[1].address}." in str(error.value)
    assert (pair[0].address in str(error.value)) is pair[0].counts_host


@pytest.mark.core
@pytest.mark.parametrize("state", ["drain", "maint"])
def test_pair_with_one_unreachable_is_not_changed(lb, rig, dead_address, state):
    for addresses in ([rig.address, dead_address], [dead_address, rig.address]):
        with pytest.raises(EverupError, match="Nothing was changed") as error:
            lb.move(addresses, state)
        assert dead_address in str(error.value)
        assert error.value.details["changed"] is False
        assert lb.facts(rig)["state"] == "ready"


def test_pair_with_one_denied_is_not_changed(lb, pair):
    with pytest.raises(EverupError, match="Nothing was changed"):
        lb.move([pair[0].address, pair[1].denied_address], "drain")
    assert [lb.facts(rig)["state"] for rig in pair] == ["ready", "ready"]


def test_pair_opens_only_when_both_see_it_healthy(lb, pair, start_rig):
    if not pair[0].checks_health:
        pytest.skip("the module checks the members, the same for every balancer")
    lb.move(pair, "drain")
    blind = start_rig(health="/hold")  # its health check never gets an answer
    lb.move(blind, "drain")
    lb.eventually(lambda: not lb.facts(blind)["healthy"], timeout=10)
    with pytest.raises(EverupError, match="not healthy") as error:
        lb.move([pair[0], blind], "ready", timeout=1)
    assert blind.address in str(error.value)
    assert [lb.facts(rig)["state"] for rig in (pair[0], blind)] == ["drain", "drain"]


def test_same_address_twice_is_one_balancer(lb, rig):
    assert len(lb.move([rig, rig], "drain")["members"]) == 1


def test_no_address_is_refused(lb):
    with pytest.raises(EverupError, match="empty"):
        lb.move([], "drain")
