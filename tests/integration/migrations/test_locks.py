"""That no user waits behind a migration for longer than the lock time-out, and who is named when it cannot go on."""

import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support.waiting import Application

LOCK_TIMEOUT, SLACK = 0.5, 0.3
READ = "SELECT count(*) FROM orders WHERE id = 1"


@contextmanager
def blocked(db, seconds=None, sql="SELECT 'a long report' FROM orders"):
    """Hold a lock on the table in a transaction of another session, for some seconds or as long as the block lasts."""
    connection = db.connect()
    connection.autocommit = False
    connection.execute(sql)
    timer = threading.Timer(seconds, connection.close) if seconds else None
    if timer:
        timer.start()
    try:
        yield connection
    finally:
        if timer:
            timer.join()
        connection.close()


@pytest.fixture
def orders(postgresql_database):
    db = postgresql_database
    db.write("1_t.sql", "CREATE TABLE orders (id int);\nINSERT INTO orders VALUES (1);\nCREATE TABLE other (id int);")
    db.migrate()
    return db


def columns(db):
    found = db.query("SELECT attname FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0 ORDER BY attnum")
    return [name for (name,) in found]


def test_the_application_never_waits_longer_than_the_lock_time_out(orders):
    orders.write("2_a.sql", "ALTER TABLE orders ADD a int")
    with Application(orders, READ) as application, blocked(orders, seconds=2.2):
        result = orders.migrate(lock_timeout=f"{LOCK_TIMEOUT}s", lock_budget="20s")
    assert result["applied"][0]["tries"] > 1
    assert columns(orders) == ["id", "a"]
    assert application.turns > 20
    assert application.longest <= LOCK_TIMEOUT + SLACK
    assert application.longest > 0.2, "nobody waited, so nothing was shown"


def test_the_statements_of_one_script_share_the_lock_time_out(orders):
    """The first statement gets its lock and makes the application wait; the second one is blocked."""
    orders.write("2_a.sql", "ALTER TABLE orders ADD a int;\nSELECT pg_sleep(0.45);\nALTER TABLE other ADD a int;")
    refused = pytest.raises(EverupError, match="No lock within")
    with Application(orders, READ) as application, blocked(orders, sql="SELECT * FROM other"), refused:
        orders.migrate(lock_timeout=f"{LOCK_TIMEOUT}s", lock_budget="800ms")
    assert application.longest <= LOCK_TIMEOUT + SLACK
    assert application.longest > 0.3
    assert columns(orders) == ["id"]


def test_a_script_has_its_own_lock_time_out(orders):
    orders.write("2_a.sql", "-- everup: lock_timeout=100ms\nALTER TABLE orders ADD a int")
    with Application(orders, READ) as application, blocked(orders), pytest.raises(EverupError, match=r"tries of at most 0\.1 s"):
        orders.migrate(lock_timeout="5s", lock_budget="300ms")
    assert application.longest <= 0.1 + SLACK


def test_the_budget_is_kept_and_the_blocker_named(orders):
    orders.write("2_a.sql", "ALTER TABLE orders ADD a int")
    with blocked(orders) as blocker:
        pid = blocker.info.backend_pid
        began = time.monotonic()
        with pytest.raises(EverupError) as caught:
            orders.migrate(lock_timeout="400ms", lock_budget="1s")
        assert time.monotonic() - began < 20  # the blocker stays for ever
    message = str(caught.value)
    assert message.startswith("expand/2_a.sql:1:1: ")
    assert f"session {pid}, user shop, program 'the shop', from 127.0.0.1, in a transaction for " in message
    assert "last statement: SELECT 'a long report' FROM orders" in message
    (found,) = caught.value.details["blockers"]
    assert (found["session"], found["statement"]) == (str(pid), "SELECT 'a long report' FROM orders")
    assert 0.9 < found["age_seconds"] < 30
    assert caught.value.details["tries"] >= 2
    assert columns(orders) == ["id"]
    row = orders.history()["2"]
    assert (row["state"], row["statements_done"]) == ("failed", 0)
    assert "a long report" in row["error"]
    assert orders.migrate()["applied"][0]["tries"] == 1


def test_a_deadlock_is_tried_again(orders):
    """The server breaks a deadlock after a second, before the lock time-out, at our cost: that is no failure of the script."""
    orders.write("2_a.sql", "ALTER TABLE orders ADD a int;\nSELECT pg_sleep(0.5);\nALTER TABLE other ADD a int;")
    connection = orders.server.connect_admin(orders.name)
    connection.execute("SET deadlock_timeout = '60s'")
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM other")
    seen = []

    def cross():
        time.sleep(0.3)
        seen.extend(connection.execute("SELECT * FROM orders").fetchall())
        connection.close()

    thread = threading.Thread(target=cross)
    thread.start()
    result = orders.migrate(lock_timeout="5s", lock_budget="20s")
    thread.join()
    assert seen == [(1,)]
    assert result["applied"][0]["tries"] == 2
    assert columns(orders) == ["id", "a"]


def test_time_outs_are_those_of_the_connection_again(orders):
    orders.write(
        "2_a.sql",
        "-- everup: transaction=none\n-- everup: statement_timeout=7s\n-- everup: lock_timeout=3s\n"
        "CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS l, current_setting('statement_timeout') AS s",
    )
    orders.write("3_b.sql", "INSERT INTO seen SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
    orders.migrate(lock_timeout="4s")
    seen = orders.query("SELECT l, s FROM seen")
    assert seen[0] == ("3s", "7s")
    assert seen[1][1] == "0"
    with closing(orders.engine_connection()) as connection:
        before = connection.query("SHOW lock_timeout") + connection.query("SHOW statement_timeout")
        connection.set_lock_timeout(1)
        connection.set_statement_timeout(1)
        assert connection.query("SHOW lock_timeout") + connection.query("SHOW statement_timeout") != before
        connection.reset_session()
        assert connection.query("SHOW lock_timeout") + connection.query("SHOW statement_timeout") == before


def test_a_concurrent_index_has_the_whole_budget(orders):
    """It waits for old transactions, but nobody waits for it; given up early it would leave an invalid index each time."""
    orders.write("2_i.sql", "-- everup: transaction=none\nCREATE INDEX CONCURRENTLY i ON orders (id)")
    with Application(orders, READ) as application, blocked(orders, seconds=1.2, sql="INSERT INTO orders VALUES (2)"):
        result = orders.migrate(lock_timeout="200ms", lock_budget="20s")
    assert result["applied"][0]["tries"] == 1
    assert application.longest < SLACK


def test_the_lock_time_out_that_a_concurrent_index_had_is_named(orders):
    orders.write("2_i.sql", "-- everup: transaction=none\nCREATE INDEX CONCURRENTLY i ON orders (id)")
    refused = pytest.raises(EverupError, match=r"\(1 tries of at most 1 s\)")
    with blocked(orders, sql="INSERT INTO orders VALUES (2)"), refused:
        orders.migrate(lock_timeout="200ms", lock_budget="1s")


@pytest.mark.parametrize(("seconds", "least", "most"), [(0, 2000, 2000), (0.8, 500, 1250), (2.2, 50, 50)])
def test_the_bookkeeping_gets_what_is_left_of_the_lock_time_out(orders, seconds, least, most):
    """The script's locks are held until the commit; behind it the session waits as long as ever."""
    orders.execute("CREATE TABLE booked (ms int)")
    orders.execute(
        "CREATE FUNCTION book() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN INSERT INTO booked SELECT setting::int FROM pg_settings WHERE name = 'lock_timeout'; RETURN NULL; END$$"
    )
    orders.execute("CREATE TRIGGER book AFTER INSERT ON everup_expand_history EXECUTE FUNCTION book()")
    orders.write("2_a.sql", f"SELECT pg_sleep({seconds})")
    orders.write("3_a.sql", "CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS l")
    orders.migrate(lock_timeout="2s")
    (first, _second) = orders.query("SELECT ms FROM booked")
    assert least <= first[0] <= most
    assert orders.query("SELECT l FROM seen") == [("2s",)]


WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@contextmanager
def writer(db, seconds):
    """Another process that writes to the SQLite file."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(db.path), str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_sqlite_waits_for_a_writer(sqlite_database):
    db = sqlite_database
    db.write("1_t.sql", "CREATE TABLE orders (id int)")
    db.migrate()
    db.write("2_a.sql", "ALTER TABLE orders ADD a int")
    with writer(db, 0.7):
        result = db.migrate(lock_timeout="200ms", lock_budget="20s")
    assert result["applied"][0]["tries"] > 1


def test_sqlite_names_the_writer(sqlite_database):
    db = sqlite_database
    db.write("1_t.sql", "CREATE TABLE orders (id int)")
    db.migrate()
    db.write("2_a.sql", "ALTER TABLE orders ADD a int")
    with writer(db, 30) as process:
        began = time.monotonic()
        with pytest.raises(EverupError) as caught:
            db.migrate(lock_timeout="200ms", lock_budget="600ms")
        assert time.monotonic() - began < 20  # the writer stays for 30 s
    assert f"Blocked by: process {process.pid}, program '{sys.executable} -c " in str(caught.value)
    (blocker,) = caught.value.details["blockers"]
    assert (blocker["session"], blocker["host"]) == (f"process {process.pid}", "this host")
    assert db.query("SELECT count(*) FROM pragma_table_info('orders')") == [(1,)]
