# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A member that says itself that it wants no traffic, behind a real balancer that only checks its health."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.modules import lb_member, lb_member_info

ONE_MEMBER = "a flag is of one member, in whatever pool the user calls it: there is no list to look into"
NO_OTHER = "a flag has one address, the file on the member itself: there is no pair"
ELSEWHERE = {
    "test_info_lists_every_member_with_its_balancer": ONE_MEMBER,
    "test_info_of_one_pool_and_of_one_member": ONE_MEMBER,
    "test_changed_is_true_once": "test_changed_is_true_once",
    "test_check_mode_says_what_would_change_and_changes_nothing": "test_check_mode_sets_no_flag",
    "test_check_mode_does_not_wait": "test_check_mode_sets_no_flag",
    "test_result_tells_before_and_after_on_the_balancer": "test_the_result_tells_before_and_after",
    "test_diff_shows_states_and_no_counters": "test_the_result_tells_before_and_after",
    "test_unknown_pool_fails_and_names_it": ONE_MEMBER,
    "test_unknown_member_fails_and_names_the_known_ones": ONE_MEMBER,
    "test_info_fails_for_unknown_pool_and_member": ONE_MEMBER,
    "test_a_name_that_could_be_a_command_is_refused": "no name leaves the module",
    "test_denied_connection_fails_also_in_check_mode": "test_a_folder_that_cannot_be_written_is_refused",
    "test_denied_command_fails": "test_a_folder_that_cannot_be_written_is_refused",
    "test_denied_connection_may_look": "test_a_folder_that_cannot_be_written_is_refused",
    "test_unreachable_balancer_fails_and_is_named": "test_a_missing_folder_is_named",
    "test_silent_balancer_fails_within_its_bound": "a file answers, or is not there",
    "test_a_member_of_several_pools_is_moved_in_all_of_them_at_once": ONE_MEMBER,
    "test_info_counts_what_a_member_answered_or_says_that_it_cannot": "test_nothing_is_counted",
    "test_drain_waits_for_a_running_request_and_does_not_cut_it": "test_a_running_request_is_waited_for_and_not_cut",
    "test_drained_member_gets_no_new_session": "test_the_balancer_takes_the_member_out_and_puts_it_back",
    "test_drain_without_sessions_is_quick": "the balancers' time to notice is waited for in any case",
    "test_drain_time_out_names_what_it_saw": "test_a_request_that_does_not_end_hits_the_bound",
    "test_drain_time_out_can_proceed_with_a_warning": "test_a_request_that_does_not_end_can_be_told_as_a_warning",
    "test_drain_again_waits_for_what_is_still_running": "test_a_request_that_does_not_end_hits_the_bound",
    "test_drain_without_wait_returns_at_once": "the balancers' time to notice is waited for in any case",
    "test_ready_waits_until_the_member_serves": "test_the_balancer_takes_the_member_out_and_puts_it_back",
    "test_ready_of_a_broken_member_times_out_naming_what_it_saw": "test_an_application_that_is_not_healthy_is_not_opened",
    "test_a_broken_member_fresh_from_maintenance_gets_no_request": "test_an_application_that_is_not_healthy_is_not_opened",
    "test_ready_waits_for_an_application_that_is_still_starting": "test_an_application_that_is_not_healthy_is_not_opened",
    "test_ready_of_a_ready_but_broken_member_fails_without_change": "test_an_application_that_is_not_healthy_is_not_opened",
    "test_ready_without_wait_does_not_look_at_health": "wait is decided above the providers, the same for all",
    "test_maint_takes_out_at_once_and_does_not_cut": "test_from_drain_to_maint_nothing_is_waited_for_again",
    "test_pair_moves_together": NO_OTHER,
    "test_pair_is_changed_when_one_differs": NO_OTHER,
    "test_pair_is_drained_only_when_both_say_so": NO_OTHER,
    "test_pair_with_one_unreachable_is_not_changed": NO_OTHER,
    "test_pair_with_one_denied_is_not_changed": NO_OTHER,
    "test_pair_opens_only_when_both_see_it_healthy": NO_OTHER,
    "test_same_address_twice_is_one_balancer": NO_OTHER,
    "test_no_address_is_refused": "test_no_address_is_refused",
}
NOTICE = 0.6  # HAProxy here checks every 50 ms, and believes three of them


@pytest.fixture(params=["haproxy"])
def rig_class(request, rig_classes):
    """HAProxy stands for any balancer: nobody here talks to it."""
    return rig_classes[request.param]


@pytest.fixture
def flag(tmp_path, apps):
    """The flag of web1, which its health check obeys."""
    path = tmp_path / "run" / "drain"
    path.parent.mkdir()
    apps["web1"].flag = path
    return path


@pytest.fixture
def move(flag, apps):
    """Run lb_member on the member itself."""

    def run(state: str, check_mode: bool = False, **options) -> dict:
        return lb_member.run(
            {**_options(lb_member, flag, apps), "pool": "shop", "member": "web1", "state": state, **options}, check_mode
        )

    return run


@pytest.fixture
def state(flag, apps):
    """Return the state that lb_member_info tells."""
    return lambda: lb_member_info.run(_options(lb_member_info, flag, apps), False)["members"][0]["state"]


def _options(module, flag, apps) -> dict:
    defaults = {name: option.get("default") for name, option in module.ARGUMENT_SPEC.items()}
    listen = "{}:{}".format(*apps["web1"].at)
    given = {"provider": "health_flag", "address": [str(flag)], "listen": listen, "notice_seconds": NOTICE, "interval": 0.02}
    return {**defaults, **given, "timeout": 5}


def test_every_conformance_test_has_its_place_here_or_a_reason():
    suite = Path(__file__).with_name("test_conformance.py").read_text()
    assert list(ELSEWHERE) == re.findall(r"^def (test_\w+)", suite, re.M)
    assert {name for name in ELSEWHERE.values() if name.startswith("test_")} <= set(globals())


def test_the_result_tells_before_and_after(move, flag):
    result = move("drain")
    (member,) = result["members"]
    assert (member["balancer"], member["before"]["state"], member["after"]["state"]) == (str(flag), "ready", "drain")
    assert (result["diff"]["before"], result["diff"]["after"]) == ({str(flag): "ready"}, {str(flag): "drain"})


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_folder_that_cannot_be_written_is_refused(flag, apps, monkeypatch, state, check_mode):
    """The tests may run as root, who may write everywhere."""
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != flag.parent)
    options = {**_options(lb_member, flag, apps), "pool": "shop", "member": "web1", "state": "drain"}
    with pytest.raises(EverupError, match=r"would answer 'Permission denied'.* cannot be written by this user"):
        lb_member.run(options, check_mode)
    assert (flag.exists(), state()) == (False, "ready")


def test_nothing_is_counted(flag, apps):
    with pytest.raises(EverupError, match=r"/drain does not tell how many requests"):
        lb_member_info.run({**_options(lb_member_info, flag, apps), "pool": "shop", "counters": True}, False)


def test_a_request_that_does_not_end_can_be_told_as_a_warning(lb, rig, apps, move):
    lb.Request(rig.port("solo"), "/hold")
    time.sleep(0.2)
    assert re.search(r"\d sessions? on balancer .*/drain", move("drain", timeout=1, on_timeout="proceed")["warnings"][0])
    apps["web1"].released.set()


def ask(lb, rig, pool="shop"):
    request = lb.Request(rig.port(pool), "/")
    request.join(5)
    return request.status


def test_the_balancer_takes_the_member_out_and_puts_it_back(lb, rig, apps, move):
    result = move("drain")
    assert (result["changed"], result["members"][0]["after"]["state"]) == (True, "drain")
    assert [ask(lb, rig) for _number in range(6)] == [200] * 6
    assert (apps["web1"].served, apps["web2"].served) == (0, 6)
    assert move("ready")["members"][0]["after"]["serving"] is True
    assert [ask(lb, rig) for _number in range(6)] == [200] * 6
    assert apps["web1"].served == 3


@pytest.mark.parametrize("wanted", ["drain", "maint", "ready"])
def test_changed_is_true_once(move, wanted):
    move("drain" if wanted == "ready" else "ready")
    first, second = move(wanted), move(wanted)
    assert (first["changed"], second["changed"]) == (True, False)


def test_a_running_request_is_waited_for_and_not_cut(lb, start_rig, move):
    rig = start_rig(server_options={"solo/web1": "check pool-max-conn 0"})  # which keeps no idle connection
    request = lb.Request(rig.port("solo"), "/slow/2")
    time.sleep(0.2)
    started = time.monotonic()
    result = move("drain")
    assert time.monotonic() - started > 1.2
    assert result["members"][0]["after"]["sessions"] == 0
    request.join(5)
    assert request.status == 200


def test_a_request_that_does_not_end_hits_the_bound(lb, rig, apps, move):
    lb.Request(rig.port("solo"), "/hold")
    time.sleep(0.2)
    # A health check of the balancer's that is under way counts as well.
    with pytest.raises(EverupError, match=r"not drained after 1 s: last seen (1 session|2 sessions) on balancer .*/drain"):
        move("drain", timeout=1)
    apps["web1"].released.set()


def test_a_change_counts_only_once_the_balancers_have_noticed(flag, state):
    """As after a kill while it waited: the flag is there, and requests still come."""
    flag.write_text("drain\n")
    assert state() == "ready"
    time.sleep(NOTICE)
    assert state() == "drain"


def test_a_return_counts_only_once_the_balancers_have_noticed(flag, move, state):
    move("drain")
    opening = threading.Thread(target=move, args=("ready",))
    opening.start()
    time.sleep(NOTICE / 2)
    assert (flag.exists(), state()) == (False, "drain")
    opening.join(5)
    assert state() == "ready"
    assert list(flag.parent.iterdir()) == []


def test_from_drain_to_maint_nothing_is_waited_for_again(move, state):
    move("drain")
    started = time.monotonic()
    move("maint")
    assert time.monotonic() - started < NOTICE / 2
    assert state() == "maint"


def test_a_flag_that_somebody_else_has_set_is_maintenance(flag, state):
    flag.touch()
    time.sleep(NOTICE)
    assert state() == "maint"


def test_check_mode_sets_no_flag(flag, apps):
    options = {**_options(lb_member, flag, apps), "pool": "shop", "member": "web1", "state": "drain"}
    assert lb_member.run(options, True)["changed"] is True
    assert not flag.exists()


def test_an_application_that_is_not_healthy_is_not_opened(apps, move, state, flag):
    url = "http://{address}/slow/0"
    move("drain", health_url=url)
    apps["web1"].stop()
    with pytest.raises(EverupError, match=r"is not healthy after 1 s: last seen DOWN"):
        move("ready", health_url=url, timeout=1)
    assert flag.exists()


@pytest.mark.parametrize("address", [["run/drain"], ["/a", "/b"]])
def test_an_address_that_is_no_file_is_refused(move, address):
    with pytest.raises(EverupError, match="is the path of one file on the member itself"):
        move("drain", address=address)


def test_no_address_is_refused(move):
    with pytest.raises(EverupError, match="The list of balancer addresses is empty"):
        move("drain", address=[])


def test_a_flag_that_can_be_no_file_is_refused(move, flag, tmp_path):
    (tmp_path / "file").touch()
    (flag.parent / "folder").mkdir()
    places = {
        flag.parent / "folder": "Is a directory",
        tmp_path / "file" / "drain": "Not a directory",
        flag.parent / ("x" * 300): "File name too long",
        flag.parent / ("x" * 253): "File name too long",  # with what the module writes beside
    }
    for place, why in places.items():
        for check_mode in (True, False):
            with pytest.raises(EverupError, match=rf": {why}\. The address must be the path of a file"):
                move("drain", address=[str(place)], check_mode=check_mode)


def test_a_missing_folder_is_named(move, tmp_path):
    with pytest.raises(EverupError, match=r"cannot be reached: the folder .*/nowhere does not exist"):
        move("drain", address=[str(tmp_path / "nowhere" / "drain")])


@pytest.mark.parametrize("listen", ["web1:80", "http", "1.2.3:x", "127.0.0.1:99999", "99999", "0"])
def test_where_the_application_listens_must_be_said(move, listen):
    with pytest.raises(EverupError, match=rf"^listen '{listen}' is not where an application listens"):
        move("drain", listen=listen)
