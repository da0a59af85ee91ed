"""How much downtime releases may cause: what a budget is, what is spent of it, and when a roll-out is over its bound."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._release import budget
from ansible_collections.everup.deploy.plugins.module_utils._release.budget import Budget
from ansible_collections.everup.deploy.plugins.module_utils._release.downtime import windows
from hypothesis import given
from hypothesis import strategies as st

DAY = 86400.0
NOW = 100 * DAY
REPORT = {
    "downtime_ms": 12_300,
    "failed": 9,
    "requests": 80,
    "started_at": "T0",
    "ended_at": "T1",
    "end": "died",
    "reasons": {"HTTP 500": 8},
}
RUNS = st.lists(
    st.builds(
        lambda ago, down: {"started": NOW - ago, "ended": NOW - ago + 600, "downtime_ms": 0, "down": [down]},
        st.integers(600, 864000),
        st.tuples(st.integers(0, 600), st.integers(0, 600)).map(sorted),
    ),
    max_size=8,
)


def a_run(ago: float, seconds: float, lasted: float = 3600.0, down: list | None = None) -> dict:
    """Return a run that began so many seconds ago and saw so many of downtime."""
    found = [[0, seconds]] if down is None else down
    return {"started": NOW - ago, "ended": NOW - ago + lasted, "downtime_ms": seconds * 1000, "down": found}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m per 7d", Budget(1800, 7 * DAY)),
        (" 4.5m  per 1w ", Budget(270, 7 * DAY)),
        ("500ms per 1h", Budget(0.5, 3600)),
        ("0s per 30d", Budget(0, 30 * DAY)),
        ("", None),
        (None, None),
        ("  ", None),
    ],
)
def test_a_budget(text, expected):
    assert budget.parse_budget(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("30m", "write it as '30m per 7d'"),
        ("30m / 7d", "write it as '30m per 7d'"),
        ("soon per 7d", "'soon' is no duration: write it as 250ms, 2s, 5m, 1h, 7d or 4w"),
        ("30m per 7x", "'7x' is no duration"),
        ("-1m per 7d", "'-1m' is no duration"),
        ("7d per 7d", "must be shorter"),
        ("0s per 0d", "must be shorter"),
        ("30m per 0d", "must be shorter"),
        ("30m per 99999999999w", "3650d at most"),
    ],
)
def test_what_is_no_budget(text, said):
    with pytest.raises(EverupError, match=f"availability_budget is '{text}'.*{said}"):
        budget.parse_budget(text)


def test_a_bound():
    assert budget.parse_bound("10s") == 10
    assert budget.parse_bound("0s") == 0
    assert budget.parse_bound(0) == 0
    assert budget.parse_bound("") is None
    with pytest.raises(EverupError, match="availability_bound is 'much': 'much' is no duration"):
        budget.parse_bound("much")


def test_what_is_spent_is_what_lies_in_the_window():
    allowed = Budget(1800, 7 * DAY)
    runs = [a_run(8 * DAY, 3600), a_run(2 * DAY, 600), a_run(DAY, 300)]
    spent = budget.spend(allowed, runs, NOW)
    assert (spent["spent_ms"], spent["left_ms"], spent["enough_at"]) == (900_000, 900_000, None)


def test_a_run_that_lies_in_the_window_in_part_is_counted_in_part():
    half = [a_run(7 * DAY + 300, 600)]
    assert budget.spend(Budget(1800, 7 * DAY), half, NOW)["spent_ms"] == 300_000
    # Where the moments are not known, by its share of the time.
    spread = [{**a_run(7 * DAY + 900, 600, lasted=3600), "down": None}]
    assert budget.spend(Budget(1800, 7 * DAY), spread, NOW)["spent_ms"] == pytest.approx(450_000, rel=0.02)


def test_what_two_runs_saw_is_spent_once():
    twice = [a_run(DAY, 600), a_run(DAY - 300, 600)]
    assert budget.spend(Budget(1800, 7 * DAY), twice, NOW)["spent_ms"] == 900_000


def test_something_is_left_again_once_enough_of_the_oldest_is_out_of_the_window():
    allowed = Budget(600, 7 * DAY)
    runs = [a_run(6 * DAY, 400), a_run(2 * DAY, 500)]
    spent = budget.spend(allowed, runs, NOW)
    assert spent["left_ms"] == -300_000
    assert spent["enough_at"] == NOW - 6 * DAY + 300 + 7 * DAY
    assert budget.spend(allowed, runs, spent["enough_at"] - 1)["left_ms"] < 0
    assert budget.spend(allowed, runs, spent["enough_at"] + 1)["left_ms"] > 0


@given(RUNS, st.integers(0, 1200))
def test_enough_at_is_when_it_is_enough(runs, allowed):
    given_budget = Budget(allowed, 7 * DAY)
    spent = budget.spend(given_budget, runs, NOW)
    assert spent["spent_ms"] + spent["left_ms"] == spent["allowed_ms"]
    if spent["enough_at"] is None:
        assert spent["left_ms"] > 0 or spent["spent_ms"] == 0
    else:
        assert spent["left_ms"] <= 0
        assert spent["enough_at"] >= NOW
        before = budget.spend(given_budget, runs, spent["enough_at"])
        assert before["left_ms"] == pytest.approx(0, abs=1)


def test_a_spent_budget_is_refused_with_what_there_is_to_know():
    spent = {"budget": "30m per 7d", "allowed_ms": 1_800_000, "window_s": 7 * DAY, "spent_ms": 1_900_000, "left_ms": -100_000}
    said = budget.why_spent({**spent, "enough_at": "2026-11-20T10:00:00.000Z"})
    assert "The downtime budget of 30m per 7d is spent: releases of the last 7 d have cost 31 min 40 s of 30 min." in said
    assert "Something is left again from 2026-11-20T10:00:00.000Z on" in said
    assert budget.why_spent({**spent, "left_ms": 1}) == ""
    assert budget.why_spent(None) == ""


def seen(**more) -> dict:
    return {"running": True, "report": REPORT, **more}


FINE = {"reason": "", "takes_back": False, "warning": ""}


@pytest.mark.parametrize("bound", ["12.3s", "1m", ""])
def test_within_its_bound_a_release_goes_on(bound):
    assert budget.verdict(seen(), bound, "rollback") == FINE
    assert budget.verdict(seen(silent_s=3.0), bound, "rollback") == FINE


def test_beyond_its_bound_it_does_what_it_is_told():
    why = (
        "users have met 12.3 s of downtime since T0, more than the 10s of availability_bound (9 of 80 requests failed, "
        "most of them: HTTP 500)"
    )
    assert budget.verdict(seen(), "10s", "stop") == {**FINE, "reason": why}
    assert budget.verdict(seen(), "10s", "rollback") == {**FINE, "reason": why, "takes_back": True}
    assert budget.verdict(seen(), "10s", "warn") == {**FINE, "warning": why}
    of_one = seen(report={**REPORT, "failed_at": {"http://shop/orders": 8, "http://shop/": 1}})
    assert budget.verdict(of_one, "10s", "stop")["reason"].endswith("most of them: HTTP 500 at http://shop/orders)")
    without_time = seen(report={**REPORT, "missed": 800})
    assert budget.verdict(without_time, "10s", "rollback") == {**FINE, "reason": why, "takes_back": True}
    with pytest.raises(EverupError, match="availability_on_budget is 'explode'"):
        budget.verdict(seen(), "10s", "explode")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (seen(running=False), "the availability probe does not run, its journal ends at T1 (died)"),
        (seen(running=False, report=None), "the availability probe does not run, it has left no journal"),
        (
            seen(silent_s=15.1),
            "the availability probe runs and has written nothing since T1: look for a full disk, or a process that was halted",
        ),
        (
            seen(report=None),
            "the availability probe runs and has written nothing yet: look for a full disk, or a process that was halted",
        ),
        (
            seen(report={**REPORT, "requests": 7, "failed": 0, "downtime_ms": 0, "missed": 70}),
            "the availability probe got no time: it has asked 7 time(s) and missed 70",
        ),
        (
            seen(report={**REPORT, "requests": 0, "failed": 0, "downtime_ms": 0}),
            "the availability probe got no time: it has asked 0 time(s) and missed 0",
        ),
        ({"failed": True, "msg": "no disk"}, "the availability probe could not be asked (no disk)"),
        ({"unreachable": True, "msg": "gone"}, "the availability probe could not be asked (gone)"),
    ],
)
def test_what_nobody_measures_stops_and_takes_nothing_back(found, said):
    verdict = budget.verdict(found, "10s", "rollback")
    assert (verdict["reason"], verdict["takes_back"]) == (f"nobody knows how much downtime users have met: {said}", False)
    assert budget.verdict(found, "10s", "warn")["reason"] == ""
    assert budget.verdict(found, "", "stop") == FINE
    assert budget.verdict({"skipped": True}, "10s", "stop") == FINE


def test_hosts_go_back_for_the_first_that_says_so():
    verdicts = {"web1": {}, "web2": {"availability_verdict": {"reason": "much", "takes_back": True}}}
    assert budget.over_bound(["web1", "web2", "gone"], verdicts) == "much"
    stopped = {"web1": {"availability_verdict": {"reason": "much", "takes_back": False}}}
    assert budget.over_bound(["web1"], stopped) == ""


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        (None, []),
        ({}, []),
        ({"rolling_at": "T2"}, [("T2", None)]),
        ({"rolling_at": "T2", "rolled_at": "T3"}, [("T2", "T3")]),
        ({"rolling_at": "T2", "rolled_at": "T1"}, [("T2", None)]),
        ({"rolling_at": "T2", "failed_at": "T4"}, [("T2", "T4")]),
        ({"rolling_at": "T2", "rolled_at": "T3", "failed_at": "T1"}, [("T2", "T3")]),
        ({"rolling_at": "T2", "rolled_at": "T3", "rolling_back_at": "T5", "rolled_back_at": "T6"}, [("T2", "T3"), ("T5", "T6")]),
    ],
)
def test_windows(release, expected):
    assert [(window["from"], window["to"]) for window in windows(release)] == expected


def test_a_budget_of_nothing_lets_releases_begin_until_one_costs_something():
    nothing = Budget(0, 30 * DAY)
    for runs, is_spent in (([], False), ([a_run(DAY, 0, down=[])], False), ([a_run(DAY, 0.1)], True)):
        spent = {**budget.spend(nothing, runs, NOW), "budget": "0s per 30d"}
        assert bool(budget.why_spent(spent)) == is_spent


def test_downtime_lies_where_the_run_saw_it_and_evenly_where_nobody_knows():
    run = {"started": 1000.0, "ended": 1100.0, "downtime_ms": 5000, "down": [[10, 15]]}
    assert budget.down_of(run) == [(1010.0, 1015.0)]
    spread = budget.down_of({**run, "down": None})
    assert (len(spread), spread[0][0], round(spread[-1][1], 3)) == (100, 1000.0, 1099.05)
    assert abs(sum(end - start for start, end in spread) - 5) < 1e-6
    assert budget.down_of({**run, "down": None, "downtime_ms": 0}) == []
    assert budget.down_of({**run, "down": None, "ended": 1000.0}) == []


def test_a_budget_that_is_just_spent_is_spent():
    spent = {**budget.spend(Budget(60, DAY), [a_run(7200, 60)], NOW), "budget": "60s per 1d"}
    assert (spent["left_ms"], spent["enough_at"]) == (0, NOW - 7200 + DAY)
    assert "1 min of 1 min" in budget.why_spent({**spent, "enough_at": None})
    assert "Something is left again" not in budget.why_spent({**spent, "enough_at": None})
    assert "Something is left again from then on" in budget.why_spent({**spent, "enough_at": "then"})
