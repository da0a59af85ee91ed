"""A run that is killed at any instant, again and again: in the end every script and every statement has happened once."""

import os
import random
import signal
import sys
import time
import traceback

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._migrations import locks
from ansible_collections.everup.deploy.tests.support.databases import ENGINES

KILLS = 70  # of each engine
LONGEST_LIFE = {"sqlserver": 0.6}  # seconds; other sessions begin faster
SCRIPTS = 4
NONE = "-- everup: transaction=none\n"
INDEX = {"postgresql": "CREATE INDEX CONCURRENTLY"}
# SQL Server renames by a procedure, which nobody can tell the end of outside a transaction: there it copies the table.
RENAMES = {"sqlserver": ("SELECT id, z INTO c{0} FROM b{0}", "EXEC sp_rename 'c{0}.z', 'w', 'COLUMN'")}
RENAME = ("ALTER TABLE b{0} RENAME TO c{0}", "ALTER TABLE c{0} RENAME COLUMN z TO w")


def note(number, part):
    return f"INSERT INTO log VALUES ('{number} {part}');\nUPDATE counter SET n = n + 1"


def write_round(db, number):
    """Write four more scripts, in which a statement that ran twice, or not at all, is seen or fails."""
    n = number * SCRIPTS
    index = INDEX.get(db.engine, "CREATE INDEX")
    rename_table, rename_column = (text.format(n) for text in RENAMES.get(db.engine, RENAME))
    first = "CREATE TABLE log (what varchar(50));\nCREATE TABLE counter (n int);\nINSERT INTO counter VALUES (0);\n"
    schema = f"CREATE TABLE a{n} (id int, x int);\n{note(n, 'a')};\nALTER TABLE a{n} ADD y int;\n{note(n, 'b')}"
    db.write(f"{n}_whole.sql", (first if number == 0 else "") + schema)
    db.write(
        f"{n + 1}_steps.sql",
        f"{NONE}CREATE TABLE b{n} (id int, x int, z int);\n{note(n + 1, 'a')};\n{index} i{n} ON b{n} (id);\n"
        f"ALTER TABLE b{n} DROP COLUMN x;\n{note(n + 1, 'b')};\n{rename_table};\n"
        f"CREATE VIEW v{n} AS SELECT id FROM c{n}",
    )
    db.write(f"{n + 2}_rows.sql", f"{NONE}{note(n + 2, 'a')};\n{note(n + 2, 'b')};\nDELETE FROM a{n}")
    db.write(
        f"{n + 3}_more.sql",
        f"{rename_column};\n{note(n + 3, 'a')};\nDROP TABLE a{n};\n{note(n + 3, 'b')}",
    )


def run_in_child(db, errors):
    """Fork a process that migrates; its error, if any, is written to a file."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        db.migrate(wait_for_other_run="20s")
        status = 0
    except BaseException:
        errors.write_text(traceback.format_exc())
    finally:
        sys.stdout.flush()
        os._exit(status)


def ended(child, seconds):
    """Return the exit status of a child that ends by itself in this time, None for one that had to be killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    _done, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize("db", ENGINES, indirect=True)
def test_killed_anywhere(db, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_SESSION_LOCK_LOOK_SECONDS", 0.01)
    chance = random.Random(f"everup {db.engine}")
    longest_life = LONGEST_LIFE.get(db.engine, 0.07)
    errors = tmp_path / "error.txt"
    kills = rounds = 0
    while kills < KILLS:
        write_round(db, rounds)
        rounds += 1
        life = longest_life
        while (status := ended(run_in_child(db, errors), chance.uniform(0, life))) is None:
            kills += 1
            life *= 1.05  # on a machine so busy that no life is long enough to get anywhere, one will be
        assert status == 0, errors.read_text()
        assert rounds < KILLS, "the runs end before they can be killed"
    numbers = range(rounds * SCRIPTS)
    expected = [f"{number} {part}" for number in numbers for part in "ab"]
    assert sorted(what for (what,) in db.query("SELECT what FROM log")) == sorted(expected)
    assert db.query("SELECT n FROM counter") == [(len(expected),)]
    history = db.history()
    assert sorted(map(int, history)) == list(numbers)
    assert {row["state"] for row in history.values()} == {"applied"}
    assert all(row["statements_done"] == row["statements_total"] for row in history.values())
    for number in range(0, rounds * SCRIPTS, SCRIPTS):
        assert db.query(f"SELECT count(w) FROM c{number}") == [(0,)]
        assert db.query(f"SELECT count(id) FROM v{number}") == [(0,)]
    assert db.events().count("script_applied") == len(numbers)
    assert db.migrate()["changed"] is False
