# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the ledger of each engine tells of a release, whatever happened on its way."""

from __future__ import annotations

import json
import threading
from contextlib import closing

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._release import report

ANN = {"host": "c1", "boot": "b", "namespace": "n", "pid": 7, "start": 100}


def advance(db, to: str, token: int, **options) -> None:
    db.release("advance", to=to, token=token, **options)


@pytest.fixture
def told(db) -> dict:
    """A release whose first host failed once, with a script, a backfill's row, gates, an override and a probe."""
    db.write("1_t.sql", "CREATE TABLE t (a int)")
    token = db.release("open", process=ANN)["token"]
    advance(db, "expanding", token)
    db.migrate(release_version="2.4.0", lease_token=token)
    advance(db, "expanded", token)
    advance(db, "rolling", token)
    for state in ("draining", "upgrading", "failed"):
        db.record("web1", state, token, version_before="1", reason="no disk" if state == "failed" else None)
    db.release("fail", token=token, reason="web1 failed")
    token = db.release("open", process=ANN)["token"]
    advance(db, "rolling", token)
    for host in ("web1", "web2"):
        for state in ("draining", "upgrading", "healthy", "ready"):
            db.record(host, state, token, version_before="1", version_after="2.4.0")
    advance(db, "rolled", token, hosts=["web1", "web2"])
    detail = {"bucket_s": 1, "buckets": [[0, 10, 0, 5.0, 9.0, 9.5]], "down": [], "rate": 10, "definition": "d", "latency": {}}
    with closing(db.engine_connection()) as engine, engine.transaction():
        ledger = db.ledger(engine)
        ledger.event("contract_evidence", 1, "2.4.0", gates=[{"name": "hosts", "state": "yes", "proof": "2 of 2 serve 2.4.0"}])
        ledger.event("contract_override", 1, "usage", reason="no counters here")
        now = engine.now()
        engine.execute(
            f"INSERT INTO {engine.table(ledger.names.probe)} (run, release_id, target, started_at, ended_at, requests, failed,"
            f" downtime_ms, longest_gap_ms, detail) VALUES ('r', 1, ?, {now}, {now}, 10, 0, 0, 100, ?)",
            (json.dumps(["http://shop/"]), json.dumps(detail)),
        )
    return db.release_report()


def test_every_part_of_a_release_is_told(told) -> None:
    assert (told["release"]["version"], told["release"]["state"]) == ("2.4.0", "rolled")
    assert [(phase["name"], phase["state"]) for phase in told["phases"]] == [
        ("expand", "expanded"),
        ("rolling upgrade", "failed"),
        ("rolling upgrade", "rolled"),
    ]
    assert [host["host"] for host in told["hosts"]] == ["web1", "web2"]
    web1 = told["hosts"][0]
    assert [step["state"] for step in web1["steps"]] == [
        "draining",
        "upgrading",
        "failed",
        "draining",
        "upgrading",
        "healthy",
        "ready",
    ]
    assert [step["reason"] for step in web1["steps"] if step["reason"]] == ["no disk"]
    assert all(step["seconds"] >= 0 for step in web1["steps"])
    [script] = told["scripts"]
    assert (script["script"], script["state"], script["tries"], script["waited_s"]) == ("expand/1_t.sql", "applied", 1, 0)
    assert [gate["proof"] for gate in told["gates"]] == ["2 of 2 serve 2.4.0"]
    assert [(override["subject"], override["reason"]) for override in told["overrides"]] == [("usage", "no counters here")]
    [probe] = told["probes"]
    assert (probe["requests"], probe["target"], probe["detail"]["rate"]) == (10, ["http://shop/"], 10)
    whats = [event["what"] for event in told["events"]]
    assert whats[0] == "release_opened" and "script_applied" in whats and "release_failed" in whats
    json.dumps(told)


def test_an_approval_ends_no_phase() -> None:
    """Somebody may approve while a contract that asks for nobody is under way."""
    whats = ("release_contracting", "release_approved", "release_contracted")
    events = [{"what": what, "at": f"2026-11-20T10:00:0{second}.000Z"} for second, what in enumerate(whats)]
    [contract] = report.phases(events, "2026-11-20T11:00:00.000Z")
    assert (contract["name"], contract["state"], contract["seconds"]) == ("contract", "contracted", 2.0)


def test_what_waited_for_a_lock_says_how_long(postgresql_database) -> None:
    db = postgresql_database
    db.write("1_t.sql", "CREATE TABLE t (a int)")
    db.migrate()
    db.write("2_a.sql", "ALTER TABLE t ADD b int")
    token = db.release("open", process=ANN)["token"]
    holder = db.connect()
    holder.autocommit = False
    holder.execute("SELECT * FROM t")
    threading.Timer(1.0, holder.close).start()
    db.migrate(release_version="2.4.0", lease_token=token, lock_timeout="200ms", lock_budget="30s")
    [script] = db.release_report()["scripts"]
    assert script["tries"] > 1
    assert 0.2 < script["waited_s"] <= script["seconds"] + 30


def test_a_release_is_named_or_the_newest(db) -> None:
    with pytest.raises(EverupError, match="has no ledger"):
        db.release_report()
    for version in ("1.0.0", "2.4.0"):
        token = db.release("open", version, process=ANN)["token"]
        db.release("abort", version, token=token)
    assert db.release_report()["release"]["version"] == "2.4.0"
    assert db.release_report(version="1.0.0")["release"]["version"] == "1.0.0"
    assert {event["release_id"] for event in db.release_report(version="1.0.0")["events"]} == {1}
    with pytest.raises(EverupError, match=r"no release 9\.9"):
        db.release_report(version="9.9")
