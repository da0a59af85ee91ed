"""That the application never waits behind a backfill for longer than the lock time-out, and two runs never do a batch twice."""

import threading
import time
from contextlib import closing, contextmanager

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._migrations.filler import Filler
from ansible_collections.everup.deploy.tests.support.waiting import Application

FILL = """
table: orders
key: id
set: {done: done + 1}
batch: {start: 40, most: 40}
pause: 0s
verify: SELECT count(*) FROM orders WHERE done = 0
"""
LOCK_TIMEOUT, SLACK = 1.0, 0.4


@pytest.fixture
def orders(db):
    db.execute("CREATE TABLE orders (id int NOT NULL PRIMARY KEY, done int NOT NULL, seen int NOT NULL)")
    db.execute("INSERT INTO orders VALUES " + ", ".join(f"({number}, 0, 0)" for number in range(200)))
    db.write("1_fill.yml", FILL, phase="backfill")
    return db


def done(db):
    """How often each row was done, as {times: rows}."""
    return dict(db.query("SELECT done, count(*) FROM orders GROUP BY done"))


def eventually(true, timeout):
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.1)


@contextmanager
def blocked(db, row, seconds=None):
    """Hold a row's lock in another session's transaction for some seconds, or as long as the block lasts."""
    connection = db.connect()
    connection.execute(db.begin)
    connection.execute(f"UPDATE orders SET seen = seen + 100 WHERE id = {row}")
    over = threading.Event()

    def hold():
        over.wait(seconds)
        connection.execute("COMMIT")

    thread = threading.Thread(target=hold)
    if seconds:
        thread.start()
    try:
        yield connection
    finally:
        if seconds:
            thread.join()
        else:
            connection.execute("ROLLBACK")
        connection.close()


def test_the_application_never_waits_longer_than_the_lock_time_out(orders):
    """The batch that the row is in has locked what stands before it, and waits."""
    if orders.engine == "sqlite":
        pytest.skip("its only writer at a time holds up the application, with or without a backfill")
    if orders.readers_wait:
        pytest.skip("the batch waits where it looks for its last key, before it holds up anybody")
    # As one does that is about to change it.
    locking = (
        "SELECT seen FROM orders WITH (UPDLOCK) WHERE id = 41"
        if orders.engine == "sqlserver"
        else "SELECT seen FROM orders WHERE id = 41 FOR UPDATE"
    )
    with Application(orders, locking) as application, blocked(orders, 70, seconds=2.4):
        result = orders.backfill(lock_timeout=f"{LOCK_TIMEOUT}s", lock_budget="30s")
    assert result["finished"] and result["backfill"]["tries"] > 1
    assert done(orders) == {1: 200}
    assert application.turns > 20
    assert application.longest <= LOCK_TIMEOUT + SLACK
    assert application.longest > 0.2, "nobody waited, so nothing was shown"


def test_a_lock_that_is_not_to_be_had(orders):
    orders.backfill(slice="0s")
    refused = pytest.raises(EverupError, match=r"1_fill\.yml: .* No lock within 1 s \(\d tries of at most 1 s\)")
    with closing(orders.connect()) as connection:
        connection.execute(orders.begin)
        connection.execute("UPDATE orders SET seen = 1 WHERE id = 70")
        with refused as caught:
            orders.backfill(lock_timeout="1s", lock_budget="1s")
        connection.execute("ROLLBACK")
    assert "the ones before it stay" in str(caught.value)
    if orders.engine in ("postgresql", "sqlserver"):
        assert "program 'the shop'" in str(caught.value)
        assert caught.value.details["blockers"]
        assert orders.inform()["backfills"][0]["state"] == "failed"
    assert done(orders) == {1: 40, 0: 160}
    assert orders.backfill()["finished"]
    assert done(orders) == {1: 200}


def test_a_batch_that_met_a_lock_comes_back_smaller(orders):
    if orders.engine == "sqlite":
        pytest.skip("a lock is not of rows there")
    if orders.readers_wait:
        pytest.skip("whoever looks for the first key waits as well, and that is no batch yet")
    with blocked(orders, 0, seconds=4):
        result = orders.backfill(slice="0s", lock_timeout="1s", lock_budget="60s")
    tries = result["backfill"]["tries"]
    assert tries >= 2
    assert result["backfill"]["rows_seen"] == 40 >> (tries - 1)


def test_a_look_for_the_next_batch_that_meets_a_lock_is_taken_again(sqlite_database, monkeypatch):
    """Where readers wait for writers, the look has the same budget as the batch."""
    db = sqlite_database
    db.execute("CREATE TABLE orders (id int NOT NULL PRIMARY KEY, done int NOT NULL, seen int NOT NULL)")
    db.execute("INSERT INTO orders VALUES " + ", ".join(f"({number}, 0, 0)" for number in range(200)))
    db.write("1_fill.yml", FILL, phase="backfill")
    find, holders = Filler._next, []

    def hold():
        with closing(db.connect()) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            holders.append(True)
            time.sleep(1.2)

    def met(self, row):
        if not holders:
            threading.Thread(target=hold).start()
            eventually(lambda: holders, timeout=5)
        return find(self, row)

    monkeypatch.setattr(Filler, "_next", met)
    assert db.backfill(lock_timeout="300ms", lock_budget="20s")["finished"]
    assert done(db) == {1: 200}


def test_a_deadlock_is_tried_again(postgresql_database):
    """The server breaks it after a second, at our cost: that is no failure of the backfill."""
    orders = postgresql_database
    orders.execute("CREATE TABLE orders (id int NOT NULL PRIMARY KEY, done int NOT NULL, seen int NOT NULL)")
    orders.execute("INSERT INTO orders SELECT n, 0, 0 FROM generate_series(0, 199) n")
    orders.write("1_fill.yml", FILL, phase="backfill")
    connection = orders.server.connect_admin(orders.name)
    connection.execute("SET deadlock_timeout = '60s'")
    connection.execute("BEGIN")
    connection.execute("UPDATE orders SET seen = 1 WHERE id = 30")

    def cross():
        deadline = time.monotonic() + 60
        while not connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() and time.monotonic() < deadline:
            time.sleep(0.05)
        connection.execute("UPDATE orders SET seen = 1 WHERE id = 10")
        connection.execute("COMMIT")
        connection.close()

    thread = threading.Thread(target=cross)
    thread.start()
    result = orders.backfill(lock_timeout="5s", lock_budget="20s")
    thread.join()
    assert (result["finished"], result["backfill"]["tries"]) == (True, 2)
    assert done(orders) == {1: 200}


def test_a_run_that_has_lost_its_lease_commits_no_batch(orders):
    token = orders.release("open")["token"]
    orders.backfill(slice="0s", lease_token=token)
    orders.execute("UPDATE everup_lease SET token = token + 1")
    with pytest.raises(EverupError, match="The lease is lost"):
        orders.backfill(lease_token=token)
    assert done(orders) == {1: 40, 0: 160}
    (told,) = orders.inform()["backfills"]
    assert (told["state"], told["error"]) == ("running", None)
    assert orders.backfill(lease_token=token + 1)["finished"]
    assert done(orders) == {1: 200}


def test_a_lease_lost_at_the_end_does_not_finish(orders, monkeypatch):
    token = orders.release("open")["token"]
    end = Filler._end

    def taken(self, row):
        orders.execute("UPDATE everup_lease SET token = token + 1")
        end(self, row)

    monkeypatch.setattr(Filler, "_end", taken)
    with pytest.raises(EverupError, match="The lease is lost"):
        orders.backfill(lease_token=token)
    assert orders.inform()["backfills"][0]["state"] == "running"


def test_each_batch_renews_the_lease(orders):
    token = orders.release("open", lease_ttl="5s")["token"]
    before = orders.release_info()["lease"]["expires_at"]
    orders.backfill(lease_token=token, lease_ttl="1h")
    assert orders.release_info()["lease"]["expires_at"] > before


def test_without_the_session_lock_the_watermark_still_decides(orders, monkeypatch):
    """A pooler may hand the session, and the lock with it, to somebody else."""
    orders.backfill(slice="0s")
    engine = type(orders.engine_connection())
    monkeypatch.setattr(engine, "try_session_lock", lambda self, name: True)
    monkeypatch.setattr(engine, "release_session_lock", lambda self, name: None)
    first = Filler._first
    other = []

    def overtaken(self, row, end):
        if not other:
            other.append(None)
            orders.backfill(slice="0s")
        return first(self, row, end)

    monkeypatch.setattr(Filler, "_first", overtaken)
    with pytest.raises(EverupError, match=r"another run is filling the same table\. This batch was rolled back"):
        orders.backfill()
    assert done(orders) == {1: 80, 0: 120}
    assert orders.inform()["backfills"][0]["state"] == "running"


def test_the_second_run_waits_and_is_refused_by_name_of_the_first(orders):
    with closing(orders.engine_connection()) as first:
        orders.backfill(slice="0s")
        name = f"everup backfill everup_ledger {orders.inform()['backfills'][0]['version']}"
        assert first.try_session_lock(name)
        with pytest.raises(EverupError, match=r"Another run is working at backfill/1_fill\.yml: .*this run has filled nothing"):
            orders.backfill(wait_for_other_run="100ms")
        first.release_session_lock(name)
    assert orders.backfill()["finished"]


@pytest.mark.parametrize("db", ["postgresql", "mariadb"], indirect=True)
def test_an_application_between_two_statements_is_noticed(db):
    """At any one instant it does nothing."""
    with closing(db.engine_connection()) as ours, closing(db.connect()) as shop:
        eventually(lambda: ours.recent_sessions() == 0, timeout=10)
        shop.execute("SELECT 1").fetchall()
        assert ours.recent_sessions() == 1
        assert ours.busy_sessions() == 0
        eventually(lambda: ours.recent_sessions() == 0, timeout=10)
