"""What the status says, and how long the soak lasts yet."""

import subprocess
import sys

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._release.commands import soak_left
from ansible_collections.everup.deploy.plugins.module_utils._release.process import identity
from ansible_collections.everup.deploy.plugins.module_utils._release.status import status_lines

PHASE = {"current": None, "pending": [], "unfinished": [], "changed_since": [], "missing": []}
MIGRATIONS = {"engine": "sqlite", "server_version": "3.40", "expand": PHASE, "contract": PHASE}
EMPTY = {"release": None, "lease": None, "members": {}, "next_step": None, "downtime": {"runs": [], "budget": None}}


def test_an_empty_database():
    assert status_lines(EMPTY, MIGRATIONS) == [
        "database    sqlite 3.40",
        "expand      at nothing yet, pending: none",
        "contract    at nothing yet, pending: none",
        "release     none yet",
    ]


def test_everything():
    expand = {
        "current": "0007",
        "pending": [{"version": "0008"}, {"version": "0009"}],
        "unfinished": [{"script": "expand/8.sql", "state": "failed", "error": "no disk"}],
        "changed_since": [{"script": "expand/7.sql"}],
        "missing": ["expand/1.sql"],
    }
    release = {"id": 7, "version": "2", "state": "rolling", "reached": "expanded", "opened_by": "ann", "reason": "late"}
    release |= {"opened_at": "T0", "rolling_at": "T1"}
    lease = {"holder": "ann@c1", "holder_process": {"pid": 7}, "taken_at": "T2", "seconds_left": 59.6}
    row = {"state": "ready", "version_before": None, "version_after": "2", "changed_at": "T3", "reason": "why"}
    run = {"downtime_ms": 1500, "longest_gap_ms": 900, "failed": 7, "requests": 60, "started_at": "T1", "ended_at": "T4"}
    budget = {"budget": "30m per 7d", "spent_ms": 61_000, "left_ms": 1_739_000, "enough_at": None}
    facts = {"release": release, "lease": lease, "members": {"web1": row}, "next_step": "run everup.deploy.rollout again"}
    earlier = [{"id": number, "version": f"1.{number}", "state": "contracted"} for number in range(1, 7)]
    facts |= {"downtime": {"runs": [run], "budget": budget}, "releases": [*earlier, release], "events": []}
    lines = status_lines(facts, {**MIGRATIONS, "expand": expand})
    assert lines == [
        "database    sqlite 3.40",
        "expand      at 0007, pending: 0008, 0009",
        "            expand/8.sql failed: no disk",
        "            expand/7.sql was edited after it was applied",
        "            expand/1.sql is in the history and not on disk",
        "contract    at nothing yet, pending: none",
        "release     2 is rolling since T1, opened by ann",
        "            late",
        "next        run everup.deploy.rollout again, once the run that holds the lease is over",
        "downtime    1.5 s, longest gap 900 ms; 7 of 60 requests failed from T1 to T4",
        "budget      30m per 7d: 1 min 1 s spent, 28 min 59 s left",
        "lease       ann@c1, process 7, since T2, expires in 60 s",
        "web1        ready       ? -> 2               T3  why",
        "before      1.6 contracted, 1.5 contracted, 1.4 contracted, 1.3 contracted, 1.2 contracted",
    ]
    expired = {**lease, "seconds_left": -1}
    assert any(line.endswith("since T2, expired") for line in status_lines({**facts, "lease": expired}, MIGRATIONS))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        killed = identity(child.pid)
        child.kill()
    told = status_lines({**facts, "lease": {**lease, "holder_process": killed}}, MIGRATIONS)
    assert "next        run everup.deploy.rollout again" in told
    assert f"lease       ann@c1, process {child.pid}, since T2, which is dead: the same command goes on at once" in told
    free = {**lease, "holder": None}
    assert not any(line.startswith("lease") for line in status_lines({**facts, "lease": free}, MIGRATIONS))


def test_what_the_contract_waits_for():
    release = {"id": 1, "version": "2", "state": "rolled", "reached": "rolled", "opened_by": "ann", "reason": None}
    release |= {"opened_at": "T0", "rolled_at": "T1"}
    gates = [
        {"name": "hosts", "passes": True, "proof": "all"},
        {"name": "soak", "passes": False, "proof": "not yet"},
        {"name": "sessions", "passes": False, "proof": "session 7 is of 1.0"},
    ]
    event = {"what": "contract_evidence", "at": "T2", "detail": {"gates": gates}}
    facts = {**EMPTY, "release": release, "releases": [release], "next_step": "n", "events": [event], "soak_seconds_left": 3700.0}

    def waits(**more):
        return [line for line in status_lines({**facts, **more}, MIGRATIONS) if line.startswith("waits for")]

    assert waits() == ["waits for   the rest of the soak, 1 h 1 min", "waits for   the gate sessions, at T2: session 7 is of 1.0"]
    assert waits(soak_seconds_left=-5.0) == ["waits for   the gate sessions, at T2: session 7 is of 1.0"]
    assert waits(release={**release, "state": "contracted", "reached": "contracted"}) == []


@pytest.mark.parametrize(
    ("reached", "rolled_at", "expected"),
    [
        ("rolled", "2026-11-20T10:00:00.000Z", 3600 - 90.5),
        ("contracted", "2026-11-20T10:00:00.000Z", 3600 - 90.5),
        ("rolled", "2026-11-20T08:00:00.500Z", 3600 - 7290),
        ("expanded", "2026-11-20T10:00:00.000Z", None),
        ("rolled", None, None),
    ],
)
def test_soak(reached, rolled_at, expected):
    left = soak_left({"reached": reached, "rolled_at": rolled_at}, "2026-11-20T10:01:30.500Z", 3600)
    assert left == (pytest.approx(expected) if expected is not None else None)
