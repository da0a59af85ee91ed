# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""New members are judged by what balancers counted of them in a window, beside the others of their pool."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._release.canary import verdict
from hypothesis import given
from hypothesis import strategies as st

BOUNDS = {"requests": 100, "error_percent": 1.0, "slowdown": 2.0}
NONE = {"requests": 0, "errors": 0}
PLANNED = ["web1", "web2", "web3"]


def looked(*balancers: dict) -> dict:
    """A registered loop of lb_member_info with these counters by member, one dict a balancer, all of one address."""
    results = []
    for number, members in enumerate(balancers, 1):
        counted = [
            {
                "balancer": "/run/haproxy/admin.sock",
                "member": name,
                "counters": {"response_ms": None, "response_over": None, **counters},
            }
            for name, counters in members.items()
        ]
        results.append({"ansible_loop_var": "balancer", "balancer": f"lb{number}", "members": counted})
    return {"results": results}


def judge(new_errors: int, old_errors: int = 0, requests: int = 200, **bounds) -> dict:
    before = looked({"web1": NONE, "web2": NONE, "web3": NONE})
    after = looked(
        {
            "web1": {"requests": requests, "errors": new_errors},
            "web2": {"requests": 100, "errors": old_errors},
            "web3": {"requests": 100, "errors": 0},
        }
    )
    return verdict(before, after, ["web1"], PLANNED, BOUNDS | bounds)


def test_as_many_errors_as_the_others_and_the_bound_are_no_reason():
    assert judge(2) == {
        "enough": True,
        "reasons": [],
        "said": "web1: 2 of 200 requests failed (1.0 %); web2, web3: 0 of 200 requests failed (0.0 %)",
    }
    assert judge(4, old_errors=2)["reasons"] == []


def test_more_errors_than_that_are():
    assert judge(3)["reasons"] == ["more than 1 % more requests fail"]
    assert judge(5, old_errors=2)["reasons"] == ["more than 1 % more requests fail"]
    assert judge(5, error_percent=2)["reasons"] == ["more than 2 % more requests fail"]


def test_too_few_requests_are_no_evidence_of_anything():
    assert judge(99, requests=99)["enough"] is False
    assert judge(99, requests=99)["reasons"] == []
    assert judge(100, requests=100)["enough"] is True


def test_balancers_are_added_up_and_one_that_did_not_answer_is_left_out():
    before = looked({"web1": {"requests": 50, "errors": 5}}, {"web1": NONE}, {"web1": NONE})
    after = looked({"web1": {"requests": 90, "errors": 5}}, {"web1": {"requests": 60, "errors": 1}})
    after["results"].append({"failed": True, "balancer": "lb3", "msg": "no answer"})
    assert verdict(before, after, ["web1"], ["web1"], BOUNDS)["said"].startswith("web1: 1 of 100 requests failed (1.0 %)")


def test_the_others_are_those_of_the_version_before_while_there_are_any():
    before = looked({name: NONE for name in [*PLANNED, "stranger"]})
    after = looked({name: {"requests": 100, "errors": 0} for name in [*PLANNED, "stranger"]})
    assert "; web3: 0 of 100" in verdict(before, after, ["web2"], PLANNED, BOUNDS)["said"]
    assert "; stranger, web1, web2: 0 of 300" in verdict(before, after, ["web3"], PLANNED, BOUNDS)["said"]
    alone = verdict(looked({"web1": NONE}), looked({"web1": {"requests": 100, "errors": 9}}), ["web1"], ["web1"], BOUNDS)
    assert alone["reasons"] == ["more than 1 % more requests fail"]
    assert "; no other member: 0 of 0" in alone["said"]


def test_counters_that_were_reset_count_from_0():
    before = looked({"web1": {"requests": 5000, "errors": 40}})
    after = looked({"web1": {"requests": 120, "errors": 3}})
    assert verdict(before, after, ["web1"], ["web1"], BOUNDS)["said"].startswith("web1: 3 of 120 requests failed (2.5 %)")


class MovingAverage:
    """HAProxy's average of a server's response times, as its swrate_add_dynamic() keeps and shows it."""

    def __init__(self) -> None:
        self.sum, self.count = 0, 0

    def add(self, milliseconds: int) -> None:
        window = min(self.count + 1, 512)
        old = self.sum if window == self.count + 1 else self.sum - -(-self.sum // window)
        self.sum = old + milliseconds
        self.count += 1

    def counters(self) -> dict:
        window = min(self.count, 512)
        average = -(-self.sum // window) if window else 0
        return {"requests": self.count, "errors": 0, "response_ms": average, "response_over": 512}


@given(
    old=st.tuples(st.integers(0, 3000), st.integers(1, 500)),
    new=st.tuples(st.integers(300, 3000), st.integers(1, 500)),
)
def test_the_response_time_of_the_window_is_recovered_from_the_moving_average(old, new):
    average = MovingAverage()
    for _number in range(old[0]):
        average.add(old[1])
    before = looked({"web1": average.counters()})
    for _number in range(new[0]):
        average.add(new[1])
    said = verdict(before, looked({"web1": average.counters()}), ["web1"], ["web1"], BOUNDS)["said"]
    recovered, doubt = (float(part) for part in said.split("), ")[1].split(" ms)")[0].replace(" ms (within", "").split())
    assert abs(recovered - new[1]) <= doubt + 1


@pytest.mark.parametrize(("milliseconds", "reasons"), [(20, []), (50, ["answers take more than 2 times as long"])])
def test_members_that_answer_far_more_slowly_are_found(milliseconds, reasons):
    slow, quick = MovingAverage(), MovingAverage()
    before = looked({"web1": slow.counters(), "web2": quick.counters()})
    for _number in range(400):
        slow.add(milliseconds)
        quick.add(18)
    after = looked({"web1": slow.counters(), "web2": quick.counters()})
    assert verdict(before, after, ["web1"], ["web1", "web2"], BOUNDS)["reasons"] == reasons
    assert verdict(before, after, ["web1"], ["web1", "web2"], {**BOUNDS, "slowdown": 0})["reasons"] == []
    assert verdict(before, after, ["web1"], ["web1", "web2"], {**BOUNDS, "requests": 401})["reasons"] == []
