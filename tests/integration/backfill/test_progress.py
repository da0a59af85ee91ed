"""The backfill task of a real playbook: progress is seen while it goes on, it stops in time, and the same command goes on."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.tests.support.adhoc import isolated

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - everup.deploy.backfill: "{{ options }}"
      register: filled
    - ansible.builtin.debug: {msg: "finished {{ filled.finished }}, changed {{ filled.changed }}"}
"""
FILL = """
table: orders
key: id
set: {done: done + 1}
batch: {start: 10, most: 10}
pause: 20ms
verify: SELECT count(*) FROM orders WHERE done = 0
"""
EXPAND = "everup.deploy.expand"
LINE = re.compile(r"^backfill/1_fill\.yml: ([\d,]+) of about 600 rows \(\d+ %\), [\d,]+ rows/s, \d+ s left$", re.MULTILINE)


@pytest.fixture
def play(tmp_path, sqlite_database):
    """Run the playbook with options for the module."""
    db = sqlite_database
    db.execute("CREATE TABLE orders (id int NOT NULL PRIMARY KEY, done int NOT NULL)")
    db.execute("INSERT INTO orders VALUES " + ", ".join(f"({number}, 0)" for number in range(600)))
    db.write("1_fill.yml", FILL, phase="backfill")
    playbook = tmp_path / "play.yml"
    playbook.write_text(PLAYBOOK)

    def run(playbook=playbook, **options):
        given = options if playbook == EXPAND else {"options": db.backfill_options(**options)}
        given["ansible_python_interpreter"] = sys.executable
        command = [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-c", "local", playbook]
        done = subprocess.run(
            [*command, "-e", json.dumps(given)],
            env=isolated(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout

    run.db = db
    return run


def test_progress_time_budget_and_going_on(play):
    code, out = play(slice="200ms", time_budget="4s")
    assert code == 0 and "finished False, changed True" in out
    seen = [int(number.replace(",", "")) for number in LINE.findall(out)]
    assert seen, out  # a busy machine comes to no second slice in this time
    assert seen == sorted(seen) and 0 < seen[-1] < 600
    code, out = play(slice="300ms")
    assert code == 0 and "finished True, changed True" in out
    assert all(int(number.replace(",", "")) > seen[-1] for number in LINE.findall(out)), "it began again"
    assert "backfill/1_fill.yml: finished, 600 rows looked at, 600 changed, none left" in out
    assert play.db.query("SELECT done, count(*) FROM orders GROUP BY done") == [(1, 600)]


def test_the_expand_playbook_ends_with_the_backfills(play):
    """Out of time the release is not expanded; the same command goes on, and then it is."""
    db = play.db
    db.write("1_column.sql", "ALTER TABLE orders ADD note text")
    extra = {"release_version": "2.4.0", "everup_database": db.options, "everup_migrations": str(db.folder)}
    code, out = play(playbook=EXPAND, expand_backfill_time_budget="100ms", **extra)
    flat = " ".join(out.split())
    assert code != 0
    assert "Fill existing rows: backfill/1_fill.yml" in flat
    assert "The time budget of 100ms is used up: backfill/1_fill.yml: " in flat
    release = db.release_info(version="2.4.0")["release"]
    assert (release["state"], release["reached"]) == ("expanding", "open")
    assert db.query("SELECT holder FROM everup_lease") == [(None,)]
    assert "release_failed" not in db.events()
    assert db.inform()["expand"]["current"] == "1"
    code, out = play(playbook=EXPAND, **extra)
    assert code == 0, out
    release = db.release_info(version="2.4.0")["release"]
    assert (release["state"], release["reached"]) == ("expanded", "expanded")
    assert db.query("SELECT done, count(*) FROM orders GROUP BY done") == [(1, 600)]
    assert db.inform()["backfills"][0]["release_version"] == "2.4.0"


def test_a_script_that_fails_still_marks_the_release_as_failed(play):
    db = play.db
    db.write("1_column.sql", "ALTER TABLE nowhere ADD note text")
    extra = {"release_version": "2.4.0", "everup_database": db.options, "everup_migrations": str(db.folder)}
    code, out = play(playbook=EXPAND, expand_backfill_time_budget="100ms", **extra)
    assert code != 0 and "nowhere" in out
    assert db.release_info(version="2.4.0")["release"]["state"] == "failed"
