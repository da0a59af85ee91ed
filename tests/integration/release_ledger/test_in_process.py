"""A row of the ledger is written in the task's own process where that is the same as a process of its own, and says the same."""

import sys
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.tests.support.adhoc import run_task

CONTROLLER = {"host": "c1", "boot": "b", "namespace": "n", "pid": 7, "start": 100}
OTHER_PYTHON = "ansible_python_interpreter={}"
ROW = {"version": "2.4.0", "host": "web1", "web_group": "web", "state": "draining", "version_before": "2.3.0"}
# What is of the run, not of the module.
PASSING = ("invocation", "ansible_facts", "changed_at", "planned_at")
# A row and what may be wrong with it; what check and diff mode make of what is refused anyway is left to the whole form.
CHANGES = ({}, {"token": 0}, {"state": "gone"}, {"colour": "red"}, {"lease_ttl": "0s"})
IN_SHORT = [(change, ()) for change in CHANGES] + [({}, ("--check",)), ({}, ("--diff",))]
WHOLE = [(change, (flag,)) for change in CHANGES[1:] for flag in ("--check", "--diff")]


@pytest.fixture
def rolling(sqlite_database):
    """A database with a release that is being rolled out, and its token."""
    token = sqlite_database.release("open", process=CONTROLLER)["token"]
    for to in ("expanding", "expanded", "rolling"):
        sqlite_database.release("advance", to=to, token=token)
    return sqlite_database, token


@pytest.fixture
def apart(tmp_path):
    """Flags that name this Python by another path."""
    link = tmp_path / "python"
    link.symlink_to(Path(sys.executable))
    return "-vvv", "-e", OTHER_PYTHON.format(link)


def plain(value):
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if name not in PASSING}
    return value


def is_module(done) -> bool:
    return "Using module file" in done.output


@pytest.mark.parametrize(("change", "flags"), [*IN_SHORT, *(pytest.param(*case, marks=pytest.mark.whole) for case in WHOLE)])
def test_a_row_is_written_as_by_a_module(rolling, apart, tmp_path, flags, change):
    db, token = rolling
    options = {**db.options, **ROW, "token": token, **change}
    here = run_task(tmp_path, "release_member", options, "-vvv", *flags)
    written = db.query("SELECT host, state, version_before FROM everup_member")
    db.execute("DELETE FROM everup_member")
    there = run_task(tmp_path, "release_member", options, *apart, *flags)
    assert plain(here.result) == plain(there.result)
    assert here.code == there.code
    assert written == db.query("SELECT host, state, version_before FROM everup_member")
    # What the module does not take at all it refuses itself.
    assert (is_module(here), is_module(there)) == ("state" in change or "colour" in change, True)


@pytest.mark.parametrize("database", ["shop.sqlite", pytest.param("./shop.sqlite", marks=pytest.mark.whole)])
def test_a_relative_path_begins_where_it_does_for_a_module(rolling, apart, tmp_path, database, monkeypatch):
    _db, token = rolling
    monkeypatch.chdir(tmp_path)
    options = {**ROW, "engine": "sqlite", "login_db": database, "token": token}
    assert run_task(tmp_path, "release_member", options).result["changed"]
    assert not run_task(tmp_path, "release_member", options, *apart).result["changed"]


def test_a_guard_refuses_as_by_a_module(rolling, apart, tmp_path):
    db, token = rolling
    hosts = {"planned": ["web1", "web2"], "alive": ["web2"], "batch": ["web2"]}
    options = {**db.options, **hosts, "version": "2.4.0", "token": token}
    here = run_task(tmp_path, "release_guard", options, "-vvv")
    there = run_task(tmp_path, "release_guard", options, *apart)
    assert here.code == there.code != 0
    assert plain(here.result) == plain(there.result)
    assert (is_module(here), is_module(there)) == (False, True)
    assert here.result["reasons"] == ["web1 failed, is unreachable, or was left out by --limit"]


@pytest.mark.parametrize("flags", [("-e", "ansible_become=true"), ("-B", "60", "-P", "1")])
def test_another_user_and_a_background_task_take_a_module(rolling, tmp_path, flags):
    db, token = rolling
    assert is_module(run_task(tmp_path, "release_member", {**db.options, **ROW, "token": token}, "-vvv", *flags))


def test_no_password_is_said(tmp_path, sqlite_database):
    password = "s3cr'et w0rd"
    options = {**ROW, "token": 1, "engine": "postgresql", "login_host": "127.0.0.1", "login_port": 1, "login_user": "shop"}
    done = run_task(tmp_path, "release_member", {**options, "login_db": password, "login_password": password}, "-vvv")
    assert not is_module(done)
    assert done.code != 0
    assert "w0rd" not in done.output.replace("login_password", "")
