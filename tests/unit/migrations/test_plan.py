"""Which scripts run next, and when none may."""

import hashlib

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.sqlite import SqliteEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import Ledger, Names
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import split
from ansible_collections.everup.deploy.plugins.module_utils._db.script import Directives, Script
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._migrations.files import Migration
from ansible_collections.everup.deploy.plugins.module_utils._migrations.history import History, Row
from ansible_collections.everup.deploy.plugins.module_utils._migrations.plan import check_plan, make_plan
from ansible_collections.everup.deploy.plugins.module_utils._migrations.version import Version


def script(version, text="SELECT 1;\n SELECT 2", phase="expand", values=None, **directives):
    source = f"{phase}/{version}_x.sql"
    done = text
    for name, value in (values or {}).items():
        done = done.replace(f"${{{name}}}", value)
    statements = tuple(split(done, SqliteEngine.lexis, source))
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return Migration(Version(version), "x", Script(source, text, checksum, Directives(**directives), statements, values or {}))


def row(version, state="applied", text="SELECT 1;\n SELECT 2", done=2):
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return Row(Version(version), "x", f"expand/{version}_x.sql", checksum, state, done, 2, "T0", "T1", "ann@host", "1.0", None)


def versions(found):
    return [str(getattr(item, "version", item)) for item in found]


def refused(plan, phase="expand", expand_rows=(), expand_files=(), out_of_order=False, repair=None, ignore_missing=False):
    try:
        check_plan(plan, phase, list(expand_rows), list(expand_files), out_of_order, repair, ignore_missing)
    except EverupError as error:
        assert str(error).startswith(f"The {phase} phase cannot run, nothing was changed:\n  ")
        return error.details["findings"]
    return []


def test_pending_and_applied():
    plan = make_plan([script("1"), script("2"), script("3")], [row("1"), row("2", "failed", done=0)])
    assert (versions(plan.pending), versions(plan.applied)) == (["2", "3"], ["1"])
    assert refused(plan) == []


def test_a_version_is_the_same_however_it_is_spelt():
    assert make_plan([script("0007")], [row("7.0")]).pending == ()


def test_target():
    plan = make_plan([script("1"), script("2"), script("2.1"), script("3")], [row("1")], Version("2.0"))
    assert (versions(plan.pending), versions(plan.beyond_target)) == (["2"], ["2.1", "3"])


def test_the_hash_is_of_what_would_run():
    scripts = [script("1"), script("2"), script("3")]
    one = make_plan(scripts, [row("1")])
    assert one.hash == make_plan(scripts[1:], []).hash
    others = [make_plan(scripts, []), make_plan([scripts[0], script("2", "x"), scripts[2]], [row("1")])]
    others.append(make_plan(scripts, [row("1")], Version("2")))
    assert len({one.hash, *(other.hash for other in others)}) == 4


def test_edited_after_it_was_applied():
    (finding,) = refused(make_plan([script("1", "new"), script("2")], [row("1")]), repair="retry")
    assert finding.startswith("expand/1_x.sql:1:1: the file changed after it was applied at T1 by ann@host (checksum then ")


def test_missing():
    plan = make_plan([script("2")], [row("1"), row("2")])
    assert versions(plan.missing) == ["1"]
    assert refused(plan, ignore_missing=True) == []
    (finding,) = refused(plan)
    assert finding.startswith("expand/1_x.sql:1:1: is in the history since T0, and its file is gone")
    assert "ignore_missing=true (of the playbooks: -e expand_ignore_missing=true)" in finding


def test_out_of_order():
    plan = make_plan([script("1"), script("2"), script("3")], [row("2")])
    (finding,) = refused(plan)
    assert finding.startswith("expand/1_x.sql:1:1: version 1 is older than 2, which is applied")
    assert refused(plan, out_of_order=True) == []


@pytest.mark.parametrize(
    ("expand_rows", "expand_files", "expected"),
    [
        ([row("7")], [script("7")], None),
        ([row("0007")], [], None),
        ([], [script("7")], "has not been applied"),
        ([row("7", "failed", done=0)], [script("7")], "has not been applied"),
        ([row("7", "running")], [], "has not been applied"),
        ([row("6")], [script("6")], "does not exist"),
    ],
)
def test_contract_waits_for_expand_of_its_version(expand_rows, expand_files, expected):
    plan = make_plan([script("7", phase="contract")], [])
    findings = refused(plan, "contract", expand_rows, expand_files)
    assert bool(findings) is bool(expected)
    if expected:
        assert findings[0].startswith(f"contract/7_x.sql:1:1: the expand script of version 7 {expected}")
    assert refused(plan, "expand", expand_rows, expand_files) == []


def test_interrupted_names_the_statement_as_it_was_written():
    text = "SELECT 1;\n  INSERT INTO t VALUES ('${word}');"
    plan = make_plan([script("1", text, values={"word": "hunter2"}, transaction=False)], [row("1", "running", text, done=1)])
    (finding,) = refused(plan)
    assert (
        "was interrupted after 1 of 2 statements at T0 by ann@host; statement 2 (line 2: INSERT INTO t VALUES ('${word}');)"
        in finding
    )
    assert "repair=applied" in finding and "repair=retry" in finding
    assert "hunter2" not in finding
    assert refused(plan, repair="applied") == []
    assert refused(plan, repair="retry") == []


def test_interrupted_and_idempotent_goes_on():
    plan = make_plan([script("1", transaction=False, idempotent=True)], [row("1", "running", done=1)])
    assert refused(plan) == []


@pytest.mark.parametrize("repair", [None, "applied", "retry"])
def test_interrupted_whose_file_is_gone(repair):
    """No repair can bring it to its end: let pass, it would be refused again by the next run."""
    plan = make_plan([script("2")], [row("1", "running", done=1)])
    (finding,) = refused(plan, repair=repair, ignore_missing=True)
    assert "was interrupted after 1 of 2 statements" in finding and "its file is gone: put the file back" in finding
    assert "migration_history (action=forget, phase=expand, version=1)" in finding
    assert "repair" not in finding


@pytest.mark.parametrize(("state", "done"), [("running", 0), ("running", 1), ("failed", 1)])
def test_edited_in_mid_way_runs_only_from_its_first_statement(state, done):
    plan = make_plan([script("1", "new", transaction=False)], [row("1", state, done=done)])
    assert any("put the old text back, or run the new text from its first statement" in f for f in refused(plan))
    assert any("file changed" in finding for finding in refused(plan, repair="applied"))
    assert refused(plan, repair="retry") == []


def test_a_failed_script_that_left_nothing_may_be_mended():
    assert refused(make_plan([script("1", "new")], [row("1", "failed", done=0)])) == []


def test_every_finding_is_told():
    plan = make_plan([script("1"), script("2", "new"), script("3")], [row("2"), row("3", "running", done=0)])
    assert len(refused(plan)) == 3


def test_history_spells_a_version_as_its_row_does():
    """A file renamed from 7 to 0007 after it failed replaces the row of 7 and does not stand beside it."""
    engine = SqliteEngine(":memory:", "test", create=True)
    engine.try_session_lock = lambda name: True
    params = {"table_prefix": "e_", "schema": ""}
    ledger = Ledger(engine, Names.of(params))
    ledger.ensure()
    history = History(ledger, "expand")
    history.start(script("7"), None)
    history.fail(script("7"), "no")
    history.rows()
    history.resume(script("0007"), 1, "2.0")
    assert [(str(r.version), r.state, r.statements_done, r.error) for r in history.rows()] == [("7", "running", 1, None)]
    history.start(script("0007"), None)
    assert [str(r.version) for r in history.rows()] == ["0007"]
    history.finish(script("7.0"))
    assert [r.state for r in history.rows()] == ["applied"]
    with pytest.raises(EverupError, match="UNIQUE"):
        history.start(script("0007"), None)
    engine.close()
