"""What a probe has measured is kept once a run, and later releases are held to the budget that is left."""

import json

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._moments import iso, unix
from ansible_collections.everup.deploy.tests.support.adhoc import run_task
from ansible_collections.everup.deploy.tests.support.probe_reports import a_report

CONTROLLER = {"host": "c1", "boot": "b", "namespace": "n", "pid": 7, "start": 100}


@pytest.fixture
def now(db):
    """The database's clock, with a release in its ledger."""
    db.release("open", process=CONTROLLER)
    return unix(db.release_info()["releases"][0]["opened_at"])


def test_a_run_is_one_row_however_often_it_is_recorded(db, now):
    report = a_report(now - 700, [[1.5, 3.0]])
    first = db.record_availability(report=report)
    assert (first["changed"], first["diff"]["before"]) == (True, {})
    again = db.record_availability(report=report)
    assert not again["changed"]
    longer = db.record_availability(report={**report, "requests": 7000, "ended_at": iso(now)})
    assert longer["changed"]
    assert db.query("SELECT run, requests, failed, downtime_ms, longest_gap_ms FROM everup_probe") == [("r1", 7000, 7, 1500, 900)]
    ((detail, target),) = db.query("SELECT detail, target FROM everup_probe")
    assert json.loads(target) == ["http://shop/"]
    detail = json.loads(detail)
    assert (detail["buckets"], detail["down"], detail["bucket_s"]) == ([[0, 10, 0, 1.5, 2.5, 3.5]], [[1.5, 3.0]], 1)
    assert set(detail) >= {"definition", "rate", "targets", "latency"}
    (told,) = db.release_info()["downtime"]["runs"]
    assert (told["started_at"], told["ended_at"], told["failed"]) == (iso(now - 700), iso(now), 7)
    assert [what for what in db.events() if what.startswith("availability")] == ["availability_recorded"] * 2


def test_a_budget_counts_what_lies_in_its_window(db, now):
    db.record_availability(report=a_report(now - 8 * 86400, [[0, 600]], "old"))
    db.record_availability(report=a_report(now - 3600, [[0, 60]], "new"))
    left = db.release_info(budget="2m per 7d")["downtime"]["budget"]
    assert (left["spent_ms"], left["left_ms"], left["enough_at"]) == (60_000, 60_000, None)
    over = db.release_info(budget="30s per 7d")["downtime"]["budget"]
    assert over["left_ms"] == -30_000
    assert over["enough_at"] == iso(now - 3600 + 30 + 7 * 86400)
    assert db.release_info()["downtime"]["budget"] is None


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_check_mode_and_nonsense_write_nothing(db):
    foreseen = db.record_availability(check=True, report=a_report(1e9, []))
    assert foreseen["changed"]
    assert db.tables() == set()
    with pytest.raises(EverupError, match="report lacks buckets, down: give it the report of"):
        db.record_availability(
            report={name: value for name, value in a_report(1e9, []).items() if name not in ("buckets", "down")}
        )
    with pytest.raises(EverupError, match="no time of the ledger"):
        db.record_availability(report=a_report(1e9, [], started_at="2026'"))
    with pytest.raises(EverupError, match="availability_budget is 'much'"):
        db.release_info(budget="much")


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_a_ledger_of_an_earlier_version_is_read(db, now):
    db.execute("DROP TABLE everup_probe")
    assert db.release_info(budget="1m per 1d")["downtime"]["budget"]["left_ms"] == 60_000


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_the_first_release_of_a_database_has_its_whole_budget(db):
    left = db.release_info(budget="1m per 1d")["downtime"]["budget"]
    assert (left["spent_ms"], left["left_ms"], left["enough_at"]) == (0, 60_000, None)
    assert db.release_info()["downtime"]["budget"] is None
    assert db.tables() == set()


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_it_runs_in_the_tasks_own_process(db, tmp_path):
    options = {**db.options, "version": "2.4.0", "report": a_report(1e9, [[0.5, 1.0]])}
    done = run_task(tmp_path, "availability_record", options, "-vvv", "--diff")
    assert (done.code, done.result["changed"]) == (0, True), done.output
    assert "Using module file" not in done.output
    assert not run_task(tmp_path, "availability_record", options).result["changed"]
