"""The backfill task of a real playbook: progress is seen while it goes on, it stops in time, and the same command goes on."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
LINE = re.compile(r"^backfill/1_fill\.yml: ([\d,]+) of about 1,500 rows \(\d+ %\), [\d,]+ rows/s, \d+ s left$", re.MULTILINE)


@pytest.fixture
def play(tmp_path, sqlite_database):
    """Run the playbook with options for the module."""
    db = sqlite_database
    db.execute("CREATE TABLE orders (id int NOT NULL PRIMARY KEY, done int NOT NULL)")
    db.execute("INSERT INTO orders VALUES " + ", ".join(f"({number}, 0)" for number in range(1500)))
    db.write("1_fill.yml", FILL, phase="backfill")
    playbook, config = tmp_path / "play.yml", tmp_path / "ansible.cfg"
    playbook.write_text(PLAYBOOK)
    config.touch()

    def run(*arguments, **options):
        given = {"options": db.backfill_options(**options), "ansible_python_interpreter": sys.executable}
        command = [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-c", "local", playbook]
        done = subprocess.run(
            [*command, "-e", json.dumps(given), *arguments],
            env={
                **os.environ,
                "ANSIBLE_HOME": str(tmp_path / "home"),
                "ANSIBLE_CONFIG": str(config),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_ACTION_WARNINGS": "0",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout

    run.db = db
    return run


def test_progress_time_budget_and_going_on(play):
    code, out = play("--check", "--diff")
    assert code == 0 and "finished False, changed True" in out
    assert "SET" in out and ":first" in out
    assert play.db.query("SELECT sum(done) FROM orders") == [(0,)]
    code, out = play(slice="400ms", time_budget="1200ms")
    assert code == 0 and "finished False, changed True" in out
    seen = [int(number.replace(",", "")) for number in LINE.findall(out)]
    assert len(seen) >= 2, out
    assert seen == sorted(seen) and 0 < seen[-1] < 1500
    code, out = play(slice="700ms")
    assert code == 0 and "finished True, changed True" in out
    assert int(LINE.findall(out)[0].replace(",", "")) > seen[-1]
    assert "backfill/1_fill.yml: finished, 1,500 rows looked at, 1,500 changed, none left" in out
    assert play.db.query("SELECT done, count(*) FROM orders GROUP BY done") == [(1, 1500)]
    code, out = play()
    assert code == 0 and "finished True, changed False" in out and "rows/s" not in out


def test_a_time_budget_that_is_none(play):
    code, out = play(time_budget="soon")
    assert code != 0 and "time_budget or slice: 'soon' is no duration" in out
