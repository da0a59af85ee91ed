"""Approvals and evidence in the ledger: by name, with a reason, kept whether the contract runs or not."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._evidence.run import evidence_info
from ansible_collections.everup.deploy.plugins.modules import contract_evidence_info, release, usage_snapshot
from ansible_collections.everup.deploy.tests.support.contract_world import HOSTS, RUN, VERSION, World
from ansible_collections.everup.deploy.tests.support.databases import _params, run_main

OPEN = {"name": "hosts", "state": "yes", "passes": True, "proof": "3 hosts", "way_on": "", "override": ""}
CLOSED = {"name": "soak", "state": "no", "passes": False, "proof": "60 s left", "way_on": "wait", "override": ""}
PASSED = {**CLOSED, "passes": True, "way_on": "", "override": "the boss says so"}


@pytest.fixture
def rolled(db) -> World:
    return World(db)


def kept(world: World, what: str) -> list[dict]:
    return [event for event in world.db.release_info(version=VERSION, events=1000)["events"] if event["what"] == what]


def test_an_approval_is_kept_by_name_and_is_news_once(rolled):
    approve = {"approver": "ann", "reason": "seen the reports", "plan_hash": "h"}
    assert rolled.db.release("approve", VERSION, check=True, **approve)["changed"] is True
    assert kept(rolled, "release_approved") == []
    done = rolled.db.release("approve", VERSION, **approve)
    assert (done["changed"], done["approver"]) == (True, "ann")
    assert rolled.db.release("approve", VERSION, **approve)["changed"] is False
    assert rolled.db.release("approve", VERSION, check=True, **approve)["changed"] is False
    assert rolled.db.release("approve", VERSION, **{**approve, "plan_hash": "other"})["changed"] is True
    (first, _second) = kept(rolled, "release_approved")
    assert (first["subject"], first["detail"]) == ("ann", {"reason": "seen the reports", "plan_hash": "h"})
    for to in ("rolling", "rolled"):
        rolled.db.release("advance", VERSION, to=to, token=rolled.token, hosts=HOSTS)
    assert rolled.db.release("approve", VERSION, **approve)["changed"] is True


def test_a_failed_assertion_says_how_many_rows_and_not_whose(rolled):
    rolled.db.write("0001_mail.sql", "SELECT 'ann@example.com' AS mail", "tests")
    found = rolled.gate("assertions", gates=["assertions"])
    assert (found["state"], found["proof"]) == ("no", "tests/0001_mail.sql:1: 1 row(s) that should not be there")


def test_an_approval_needs_a_reason_and_a_release_that_is_rolled_out(rolled):
    with pytest.raises(EverupError, match="reason is missing"):
        rolled.db.release("approve", VERSION, approver="ann", reason=" ")
    with pytest.raises(EverupError, match="plan_hash is missing"):
        rolled.db.release("approve", VERSION, approver="ann", reason="x")
    rolled.db.release("advance", VERSION, to="rolling", token=rolled.token)
    with pytest.raises(EverupError, match="can be approved once it is rolled out"):
        rolled.db.release("approve", VERSION, approver="ann", reason="x", plan_hash="h")


def test_the_gate_takes_approvals_of_these_scripts_alone(rolled):
    asked = {"gates": ["approval"], "approvals": 2}
    plan = rolled.evidence(**asked)["plan_hash"]
    for name in ("ann", "bob"):
        rolled.db.release("approve", VERSION, approver=name, reason="fine", plan_hash=plan)
    assert rolled.gate("approval", **asked)["state"] == "yes"
    rolled.db.write("0002_drop.sql", "DROP TABLE legacy; -- for good", "contract")
    found = rolled.gate("approval", **asked)
    assert (found["state"], "2 were given to other scripts" in found["proof"]) == ("no", True), found


def test_evidence_is_kept_and_a_closed_gate_refuses(rolled):
    evidence = {"token": rolled.token}
    with pytest.raises(EverupError, match=r"The contract does not run: 60 s left\. Closed: soak\. soak: wait\."):
        rolled.db.release("evidence", VERSION, gates=[OPEN, CLOSED], **evidence)
    with pytest.raises(EverupError, match="The contract does not run"):
        rolled.db.release("evidence", VERSION, check=True, gates=[OPEN, CLOSED], **evidence)
    assert rolled.db.release("evidence", VERSION, gates=[OPEN, PASSED], **evidence)["changed"] is False
    assert rolled.db.release("evidence", VERSION, check=True, gates=[OPEN], **evidence)["changed"] is False
    assert [event["detail"]["passes"] for event in kept(rolled, "contract_evidence")] == [False, True]
    assert kept(rolled, "contract_evidence")[0]["detail"]["gates"] == [OPEN, CLOSED]
    (override,) = kept(rolled, "contract_override")
    assert (override["subject"], override["detail"]) == ("soak", {"reason": "the boss says so", "proof": "60 s left"})
    with pytest.raises(EverupError, match="gates is missing"):
        rolled.db.release("evidence", VERSION, **evidence)
    with pytest.raises(EverupError, match="lease is lost"):
        rolled.db.release("evidence", VERSION, gates=[OPEN], token=rolled.token - 1)


def test_the_modules_take_their_options_and_tell_no_password(sqlite_database):
    world = World(sqlite_database)
    options = {**world.db.options, "path": str(world.db.folder), "cache": str(world.db.folder.parent / "c")}
    asked = {**options, **world.said, "version": VERSION, "run": RUN, "soak": "1h", "login_password": "s3cret"}
    done = run_main(contract_evidence_info, asked)
    assert (done["failed"], done["changed"], done["passes"], done["refusal"]) == (False, False, True, ""), done
    assert [line.split()[0] for line in done["lines"]] == [gate["name"] for gate in done["gates"]]
    assert "s3cret" not in str(done).replace(str(done.get("invocation")), "")
    assert "usage" in run_main(contract_evidence_info, {**asked, "gates": ["nothing"]})["msg"]
    late = run_main(contract_evidence_info, {**asked, "version": "9.9"})
    assert (late["failed"], "There is no release 9.9" in late["msg"]) == (True, True)
    assert "soak: 'soon' is no duration" in run_main(contract_evidence_info, {**asked, "soak": "soon"})["msg"]
    done = run_main(usage_snapshot, options, check_mode=True)
    assert (done["failed"], done["changed"]) == (False, False)
    refused = run_main(release, {**world.db.options, "action": "evidence", "version": VERSION, "token": 1, "gates": [CLOSED]})
    assert (refused["failed"], refused["gates"]) == (True, [CLOSED])


def test_a_database_in_which_nothing_was_released_is_told(db):
    db.write("0001_a.sql", "CREATE TABLE a (id int);")
    asked = _params(contract_evidence_info, {**db.options, "path": str(db.folder), "version": "2.4.0"})
    with pytest.raises(EverupError, match=r"has no ledger.*Run release\.yml first"):
        evidence_info(asked)
