"""Backfills whose process is killed at any point, and two at once: every batch still happens exactly once."""

import os
import random
import signal
import time

from ansible_collections.everup.deploy.tests.support.modules import finish_module, start_module

KILLS = 50
PLACES = 11
LONGEST_LIFE = {"sqlserver": 0.6}  # seconds; other sessions begin faster
ROWS, BATCH = 3000, 20
FILL = f"""
table: orders
key: [region, id]
set: {{done: done + 1, profile_id: client_id * 3}}
batch: {{start: {BATCH}, most: {BATCH}}}
pause: 0s
verify: SELECT count(*) FROM orders WHERE done = 0
"""


def prepare(db, number):
    """A full table to begin with, and a backfill of its own."""
    db.execute("DELETE FROM orders")
    for first in range(0, ROWS, 1000):  # SQL Server takes no more at once
        values = ", ".join(f"('r{row % 5}', {row}, {row * 7}, NULL, 0)" for row in range(first, first + 1000))
        db.execute(f"INSERT INTO orders VALUES {values}")
    for old in (db.folder / "backfill").glob("*.yml") if number > 1 else ():
        old.unlink()
    db.write(f"{number}_fill.yml", FILL, phase="backfill")


def create(db):
    db.execute(
        "CREATE TABLE orders (region varchar(9) NOT NULL, id int NOT NULL, client_id int, profile_id int, done int NOT NULL,"
        " PRIMARY KEY (region, id))"
    )


def start(db):
    """Fill in a process of its own, without the cost of starting Python; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        db.backfill(slice="30s", wait_for_other_run="20s")
        os._exit(0)
    except BaseException:
        os._exit(1)


def kill_after(pid, seconds):
    """Kill a process, unless it has ended by then; return whether it was killed."""
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    _pid, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def assert_like_one_update(db):
    """What one UPDATE of the whole table would have made of it."""
    assert db.query("SELECT done, count(*) FROM orders GROUP BY done") == [(1, ROWS)]
    assert db.query("SELECT count(*) FROM orders WHERE profile_id <> client_id * 3 OR profile_id IS NULL") == [(0,)]


def test_killed_at_random_points(db):
    points = random.Random(f"everup backfill {db.engine}")
    create(db)
    prepare(db, 1)
    killed, fill, far = 0, 1, [(0, 0)]
    life = longest_life = LONGEST_LIFE.get(db.engine, 0.15)
    # A busy machine gets to fewer places in as many lives.
    while killed < KILLS or (len(set(far)) <= PLACES and killed < 10 * KILLS):
        killed += kill_after(start(db), points.uniform(0, life))
        ((batches, seen, state),) = (
            db.query(f"SELECT batches, rows_seen, state FROM everup_backfill WHERE version = '{fill}'") or [(0, 0, "pending")]
            if "everup_backfill" in db.tables()
            else [(0, 0, "pending")]
        )
        # On a machine so busy that no life is long enough to get anywhere, one will be.
        life = life * 1.2 if far[-1] == (fill, batches) else longest_life
        far.append((fill, batches))
        # The record commits with the batch: neither is ever without the other.
        assert db.query("SELECT count(*), coalesce(max(done), 0) FROM orders WHERE done > 0") == [(seen, min(1, seen))]
        if state == "finished":
            assert_like_one_update(db)
            fill += 1
            prepare(db, fill)
    assert db.backfill(wait_for_other_run="20s")["finished"]
    assert_like_one_update(db)
    assert len(set(far)) > PLACES, "it was killed at the same few points"


def test_two_at_once(db):
    create(db)
    prepare(db, 1)
    both = [start_module("everup.deploy.backfill", db.backfill_options(wait_for_other_run="20s")) for _number in range(2)]
    results = [finish_module(process) for process in both]
    assert not any(result["failed"] for result in results), results
    assert all(result["finished"] for result in results)
    assert_like_one_update(db)


def test_a_module_that_is_killed_is_continued(db):
    create(db)
    prepare(db, 1)
    db.write("1_fill.yml", FILL.replace("pause: 0s", "pause: 5ms"), phase="backfill")
    victim = start_module("everup.deploy.backfill", db.backfill_options())
    deadline = time.monotonic() + 20
    while "everup_backfill" not in db.tables() or not db.query("SELECT 1 FROM everup_backfill WHERE batches > 3"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    victim.kill()
    victim.communicate()
    assert not db.query("SELECT 1 FROM everup_backfill WHERE state = 'finished'")
    assert db.backfill(slice="60s", wait_for_other_run="20s")["finished"]
    assert_like_one_update(db)
