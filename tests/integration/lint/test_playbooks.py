"""The playbook lint, and a release whose scripts the preflight refuses before anything is changed."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lab.shop import SHOP
from lab.site import Site

BIN = Path(sys.executable).parent
QUICK = {
    "rolling_upgrade_health_interval": 0.1,
    "rolling_upgrade_health_consecutive": 1,
    "rolling_upgrade_min_healthy": 1,
}
WAIVED = "-- everup: allow=expand-drop-table nobody has read it since 1.0\n"


def lint(folder, *arguments, environment=None, **variables):
    """Run the playbook lint for a folder."""
    variables = {"everup_database": {"engine": "postgresql"}, "everup_migrations": str(folder), **variables}
    command = [str(BIN / "ansible-playbook"), "everup.deploy.lint", "-e", json.dumps(variables), *arguments]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "expand").mkdir()
    (tmp_path / "expand" / "1_a.sql").write_text("SELECT 1;\n\n  DROP TABLE ${table};\n")
    return tmp_path


def test_the_playbook_needs_no_database_and_tells_every_finding(folder):
    report = folder / "lint.json"
    done = lint(folder, lint_placeholders={"table": "a"}, lint_report=str(report), lint_report_format="json")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "expand/1_a.sql:3:3: error: table a is dropped" in done.stdout
    assert [finding["rule"] for finding in json.loads(report.read_text())] == ["expand-drop-table"]


def test_the_playbook_passes_what_is_waived(folder):
    (folder / "expand" / "1_a.sql").write_text("SELECT 1;\n" + WAIVED + "DROP TABLE a;\n")
    done = lint(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing found" in done.stdout


def test_check_mode_tells_the_same_and_shows_the_report(folder):
    report = folder / "lint.txt"
    variables = {"lint_placeholders": {"table": "a"}, "lint_report": str(report), "lint_report_format": "text"}
    done = lint(folder, "--check", "--diff", lint_fail_on="never", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not report.exists()
    assert "+" in done.stdout and "1 error" in done.stdout


def test_without_sqlfluff_it_says_what_to_install(folder):
    """A folder in front of all others holds a sqlfluff that cannot be imported."""
    broken = folder / "without" / "sqlfluff"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('No module named sqlfluff')\n")
    path = os.pathsep.join(filter(None, [str(broken.parent), os.environ.get("PYTHONPATH", "")]))
    done = lint(folder, environment={"PYTHONPATH": path}, lint_placeholders={"table": "a"})
    assert done.returncode == 2
    assert "The linter needs sqlfluff on the host that it runs on: pip install sqlfluff" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The shop at version 1 with migrations of its own, to which a test may add."""
    directory = tmp_path_factory.mktemp("site")
    with Site(directory, "sqlite", 2, QUICK) as site:
        shutil.copytree(SHOP / "migrations" / "sqlite", directory / "migrations")
        yield site


def content(site):
    with closing(sqlite3.connect(site.login["login_db"])) as database:
        return tuple(database.iterdump())


def play(site, playbook, *arguments):
    migrations = ("-e", f"everup_migrations={site.directory}/migrations", "-e", "release_version=2.0.0")
    done = site.play(playbook, *migrations, *arguments)
    return done.returncode, done.stdout + done.stderr


def test_a_script_with_an_error_ends_the_release_before_anything_is_changed(site):
    script = site.directory / "migrations" / "expand" / "0099_old.sql"
    script.write_text("CREATE TABLE fresh (id integer PRIMARY KEY);\nDROP TABLE IF EXISTS orders;\n")
    before = content(site)
    code, output = play(site, "release.yml")
    assert code != 0
    assert "expand/0099_old.sql:2:1: error: table orders is dropped while the old version still uses it" in output
    assert "[expand-drop-table]" in output
    assert "waive a rule with -- everup: allow=<rule> <reason>; docs/rules.md tells of each" in output
    assert "PLAY [Expand" not in output
    assert content(site) == before
    assert site.ledger("2.0.0")["release"] is None


def test_its_findings_can_be_taken_note_of_and_no_more(site):
    before = content(site)
    code, output = play(site, "everup.deploy.preflight", "-e", "lint_fail_on=never")
    assert code == 0, output[-3000:]
    assert "expand/0099_old.sql:2:1: error: " in output
    assert content(site) == before


def test_a_reason_lets_it_pass(site):
    script = site.directory / "migrations" / "expand" / "0099_old.sql"
    script.write_text(f"CREATE TABLE fresh (id integer PRIMARY KEY);\n{WAIVED}DROP TABLE IF EXISTS orders;\n")
    code, output = play(site, "everup.deploy.preflight")
    assert code == 0, output[-3000:]
    assert "expand-drop-table" not in output
