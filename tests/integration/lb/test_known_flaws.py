# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What other balancer modules get wrong, each under its own name."""

from __future__ import annotations

import time

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError


def test_drain_without_wait_and_57_sessions_stays_in_drain(lb, rig, apps):
    requests = [lb.Request(rig.port("solo"), "/hold") for _number in range(57)]
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 57)
    result = lb.move(rig, "drain", pool="solo", wait=False)
    assert result["members"][0]["after"]["state"] == "drain"
    assert result["members"][0]["after"]["sessions"] == 57
    with pytest.raises(EverupError, match="57 sessions on balancer"):
        lb.move(rig, "drain", pool="solo", timeout=0)
    assert lb.facts(rig, pool="solo")["state"] == "drain"
    apps["web1"].released.set()
    for request in requests:
        request.join(5)
    assert [request.status for request in requests] == [200] * 57


def test_permission_denied_is_a_failure(lb, rig):
    with pytest.raises(EverupError, match="Permission denied"):
        lb.move(rig.denied_address, "drain")


def test_unknown_member_is_a_failure(lb, rig):
    with pytest.raises(EverupError, match="web9"):
        lb.move(rig, "maint", member="web9")


def test_a_session_counter_that_moves_is_no_change(lb, rig, apps):
    lb.move(rig, "ready")
    held = lb.Request(rig.port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    result = lb.move(rig, "ready", pool="solo")
    assert result["members"][0]["after"]["sessions"] == 1
    assert result["changed"] is False
    assert result["diff"]["before"] == result["diff"]["after"]
    apps["web1"].released.set()
    held.join(5)
    lb.move(rig, "drain", pool="solo")
    assert lb.move(rig, "drain", pool="solo")["changed"] is False


def test_one_look_is_enough_when_it_is_already_true(lb, rig):
    assert lb.move(rig, "ready", timeout=0)["changed"] is False
    assert lb.move(rig, "drain", timeout=0)["changed"] is True


def test_check_mode_is_not_skipped(lb, rig):
    assert lb.move(rig, "drain", check_mode=True)["changed"] is True


def test_a_socket_that_says_nothing_is_given_up(lb, silent_address):
    started = time.monotonic()
    with pytest.raises(EverupError, match="did not answer"):
        lb.move(silent_address, "ready", connect_timeout=0.2)
    assert time.monotonic() - started < 30
