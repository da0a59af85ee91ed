# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moving a member, decided against scripted balancers: order of steps, what is awaited, what is reported."""

from __future__ import annotations

import time

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._lb.base import Balancer, Member
from ansible_collections.everup.deploy.plugins.module_utils._lb.members import apply_state, read_members


class Scripted(Balancer):
    """A balancer whose member is ``now``, changed by set_state and, look by look, by ``script``."""

    def __init__(self, address="lb1", script=(), refuses=None, **now) -> None:
        self.address, self.refuses, self.script = address, refuses, list(script)
        self.now = {"state": "ready", "health": "UP", "healthy": True, "sessions": 0, "weight": 1, **now}
        self.sets: list[str] = []
        self.looks = 0

    def list_members(self, pool=None):
        self.looks += 1
        if self.looks > 1 and self.script:
            step = self.script.pop(0)
            if isinstance(step, str):
                raise EverupError(step)
            self.now.update(step)
        return [Member(pool="shop", name="web1", address="192.0.2.11:8080", **self.now)]

    def check_writable(self, pool):
        pass

    def set_state(self, pool, name, state):
        if state == self.refuses:
            raise EverupError(f"{self.address} refuses {state}.")
        self.sets.append(state)
        self.now["state"] = state


def move(balancers, state, **options):
    return apply_state(balancers, "shop", "web1", state, **{"timeout": 0.1, "interval": 0.01, **options})


def test_from_maintenance_a_member_is_checked_in_drain_before_it_is_ready():
    lb = Scripted(
        state="maint",
        health="MAINT",
        healthy=False,
        script=[{"health": "DRAIN 1/3"}, {"health": "DRAIN", "healthy": True}],
    )
    assert move([lb], "ready")["members"][0]["after"]["serving"] is True
    assert lb.sets == ["drain", "ready"]


def test_from_drain_an_unhealthy_member_is_not_opened():
    lb = Scripted(state="drain", health="DOWN (L4CON)", healthy=False)
    with pytest.raises(EverupError, match=r"last seen DOWN \(L4CON\) on balancer lb1") as error:
        move([lb], "ready")
    assert lb.sets == []
    assert error.value.details["changed"] is False


def test_no_balancer_opens_before_all_see_it_healthy():
    first, second = Scripted("lb1", state="drain"), Scripted("lb2", state="drain", health="DOWN", healthy=False)
    with pytest.raises(EverupError, match="last seen DOWN on balancer lb2"):
        move([first, second], "ready")
    assert first.sets == second.sets == []


def test_a_member_that_falls_after_it_was_opened_is_reported():
    lb = Scripted(state="drain", script=[{}, {"health": "UP 2/3", "healthy": False}])
    with pytest.raises(EverupError, match=r"ready but does not serve after 0\.1 s: last seen UP 2/3"):
        move([lb], "ready")


def test_a_member_an_agent_drains_again_is_not_ready():
    lb = Scripted(state="drain", script=[{}, {"state": "drain", "health": "DRAIN (agent)"}])
    with pytest.raises(EverupError, match=r"last seen DRAIN \(agent\), state drain"):
        move([lb], "ready")


def test_drain_that_somebody_undoes_ends_at_once():
    lb = Scripted(script=[{"sessions": 5}, {"state": "ready", "sessions": 9}])
    with pytest.raises(EverupError, match=r"went back to ready on balancer lb1 while it drained \(9 sessions\)"):
        move([lb], "drain", timeout=60)


def test_drain_that_somebody_turns_into_maintenance_still_waits_for_sessions():
    lb = Scripted(script=[{"sessions": 5}, {"state": "maint"}, {"sessions": 0}])
    assert move([lb], "drain")["members"][0]["after"]["sessions"] == 0


def test_a_balancer_away_for_a_moment_is_asked_again():
    lb = Scripted(script=["lb1 cannot be reached.", "lb1 cannot be reached.", {"sessions": 0}])
    assert move([lb], "drain")["changed"] is True


def test_a_balancer_that_stays_away_is_what_the_time_out_names():
    lb = Scripted(script=["lb1 cannot be reached."] * 100)
    with pytest.raises(EverupError, match="last seen lb1 cannot be reached"):
        move([lb], "drain")


def test_a_balancer_that_stays_away_is_never_passed_by():
    """It may have been started again, and send users to an application that is about to be stopped."""
    pair = [Scripted("lb1", sessions=3), Scripted("lb2", script=["lb2 cannot be reached."] * 100)]
    with pytest.raises(EverupError, match=r"last seen 3 sessions .*lb2 cannot be reached.* must not be stopped") as error:
        move(pair, "drain", on_timeout="proceed")
    assert "it stays in drain" not in str(error.value)
    assert error.value.details["changed"] is True


def test_the_time_that_a_change_takes_is_not_waited_for():
    class Slow(Scripted):
        def set_state(self, pool, name, state):
            time.sleep(0.3)
            super().set_state(pool, name, state)

    lb = Slow(script=[{"sessions": 5}, {"sessions": 5}, {"sessions": 0}])
    assert move([lb], "drain", timeout=0.2)["waited_seconds"] < 0.2


def test_several_members_of_one_name_are_refused_also_in_check_mode():
    class Twins(Scripted):
        def list_members(self, pool=None):
            return super().list_members(pool) * 2

    pair = [Scripted("lb1"), Twins("lb2")]
    for check_mode in (True, False):
        with pytest.raises(EverupError, match="Pool shop on balancer lb2 has 2 members web1: give each a name of its own"):
            move(pair, "drain", check_mode=check_mode)
    assert pair[0].sets == pair[1].sets == []


def test_a_refusal_half_way_says_what_has_changed():
    with pytest.raises(EverupError, match="lb2 refuses drain") as error:
        move([Scripted("lb1"), Scripted("lb2", refuses="drain")], "drain")
    assert error.value.details["changed"] is True
    assert error.value.details["diff"]["after"] == {"lb1": "drain", "lb2": "ready"}


def test_drain_that_is_true_already_looks_but_does_not_set():
    lb = Scripted(state="drain")
    assert move([lb], "drain")["changed"] is False
    assert lb.sets == []


def test_health_that_moves_is_no_change():
    lb = Scripted(sessions=3, script=[{"sessions": 9, "health": "no check"}])
    result = move([lb], "ready")
    assert result["changed"] is False
    assert result["members"][0]["after"]["sessions"] == 9


def test_the_wait_goes_on_until_the_last_balancer_is_drained():
    pair = [Scripted("lb1"), Scripted("lb2", script=[{"sessions": 5}, {}, {}, {"sessions": 0}])]
    assert [member["after"]["sessions"] for member in move(pair, "drain")["members"]] == [0, 0]


def test_time_outs_say_how_many_sessions_on_which_balancers():
    pair = [Scripted("lb1", sessions=1), Scripted("lb2", sessions=57)]
    with pytest.raises(EverupError, match="last seen 1 session on balancer lb1; 57 sessions on balancer lb2"):
        move(pair, "drain")


@pytest.mark.parametrize("options", [{"interval": 0}, {"interval": -1}, {"timeout": -1}])
def test_senseless_waits_are_refused(options):
    lb = Scripted()
    with pytest.raises(EverupError, match="interval must be"):
        move([lb], "drain", **options)
    assert lb.looks == 0


def test_check_mode_sets_nothing():
    lb = Scripted(state="maint")
    result = move([lb], "ready", check_mode=True)
    assert (result["changed"], lb.sets, lb.looks) == (True, [], 1)


def test_read_members_names_the_balancer():
    found = read_members([Scripted("lb1"), Scripted("lb2", state="drain")], "shop")
    assert [(member["balancer"], member["state"], member["serving"]) for member in found] == [
        ("lb1", "ready", True),
        ("lb2", "drain", False),
    ]
