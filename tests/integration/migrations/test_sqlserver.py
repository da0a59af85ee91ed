"""What is special about scripts and locks on a real SQL Server; skipped unless EVERUP_TEST_SQLSERVER leads to one.

What all engines have in common is in the other suites, which it joins as ``given_sqlserver``.
"""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support.sqlserver import SNAPSHOT, VARIABLE, Sqlserver

pytestmark = pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"{VARIABLE} leads to no SQL Server")
HEAD = "-- everup: transaction=none\n"


@pytest.fixture
def db(tmp_path):
    database = Sqlserver(tmp_path)
    tables = "CREATE TABLE log (what nvarchar(100)); CREATE TABLE orders (id int)"
    database.write("0_log.sql", f"{tables}\nGO\nINSERT INTO orders VALUES (1)")
    yield database
    database.close()


@pytest.fixture
def ready(db):
    db.migrate()
    return db


def log(db):
    return [what for (what,) in db.query("SELECT what FROM log WITH (NOLOCK)")]


@contextmanager
def blocked(db, seconds=None, sql="UPDATE orders SET id = id"):
    """Hold a lock in a transaction of another session, for some seconds or as long as the block lasts."""
    connection = db.connect()
    connection.execute("BEGIN TRANSACTION")
    connection.execute(sql)
    timer = threading.Timer(seconds, connection.close) if seconds else None
    if timer:
        timer.start()
    try:
        yield connection
    finally:
        if timer:
            timer.join()
        else:
            connection.close()


# Scripts


def test_repeated_batches_and_messages(ready):
    ready.write("1_a.sql", "INSERT INTO log VALUES (N'größer')\nGO 3\nPRINT N'done'\nGO\nRAISERROR('step', 10, 1) WITH NOWAIT")
    (script,) = ready.migrate()["applied"]
    assert (script["statements"], script["messages"]) == (5, ["done", "step"])
    assert log(ready) == ["größer"] * 3
    assert ready.history()["1"]["statements_done"] == 5


@pytest.mark.parametrize(
    "batch",
    [
        "SET NOCOUNT ON; SELECT 1 AS a; SELECT 2 AS b; INSERT INTO nowhere VALUES (1)",
        "UPDATE orders SET id = id; RAISERROR('no', 16, 1)",
        "PRINT 'x'; THROW 50001, 'no', 1",
    ],
)
def test_an_error_of_a_later_result(ready, batch):
    ready.write("1_a.sql", f"INSERT INTO log VALUES ('a')\nGO\n{batch}")
    with pytest.raises(EverupError, match=r"^expand/1_a\.sql:3:1: SQL Server: "):
        ready.migrate()
    assert log(ready) == []


@pytest.mark.parametrize("head", ["", HEAD])
@pytest.mark.parametrize(
    ("batch", "what"),
    [
        ("EXEC ('BEGIN TRAN')", "error 266|has left 1 transaction"),
        ("USE tempdb", "has gone to the database tempdb"),
        ("SET NOEXEC ON", "has left NOEXEC"),
        ("SET PARSEONLY ON", "has left NOEXEC"),
        ("SET FMTONLY ON", "has left NOEXEC"),
        ("SET SHOWPLAN_TEXT ON", "has left NOEXEC"),
    ],
)
def test_a_batch_leaves_the_session_as_it_was(ready, head, batch, what):
    ready.write("1_a.sql", f"{head}SELECT 1\nGO\n{batch}\nGO\nINSERT INTO log VALUES ('after')")
    with pytest.raises(EverupError, match=what):
        ready.migrate()
    assert ready.history()["1"]["state"] == ("running" if head and batch.startswith("EXEC") else "failed")
    assert log(ready) == []


def test_a_script_that_commits_is_an_error(ready):
    ready.write("1_a.sql", "INSERT INTO log VALUES ('a')\nGO\nCREATE PROCEDURE p AS COMMIT\nGO\nEXEC p")
    with pytest.raises(EverupError, match=r"expand/1_a\.sql:5:1: "):
        ready.migrate()
    assert ready.history()["1"]["state"] == "failed"


def test_a_doomed_transaction_is_an_error(ready):
    ready.write("1_a.sql", "INSERT INTO log VALUES ('a'); BEGIN TRY SELECT 1 / 0 END TRY BEGIN CATCH PRINT 'hidden' END CATCH")
    with pytest.raises(EverupError, match=r"XACT_STATE\(\) is -1|error 3930|error 3998"):
        ready.migrate()
    assert log(ready) == []


def test_settings_end_with_the_script(ready):
    seen = (
        "INSERT INTO log SELECT CONCAT(@@LOCK_TIMEOUT, ' ', @@LANGUAGE, ' ', @@DATEFIRST, ' ',"
        " CAST(SESSIONPROPERTY('QUOTED_IDENTIFIER') AS int), ' ', (@@OPTIONS & 16384), ' ', USER_NAME())"
    )
    ready.write("1_a.sql", seen, phase="expand")
    ready.write(
        "2_b.sql",
        "SET LANGUAGE Deutsch; SET DATEFIRST 3; SET LOCK_TIMEOUT 5; SET XACT_ABORT OFF\nGO\nSET QUOTED_IDENTIFIER OFF\nGO\n"
        "SET ROWCOUNT 1\nGO\nSET TRANSACTION ISOLATION LEVEL SERIALIZABLE\nGO\nEXECUTE AS USER = 'guest'",
    )
    ready.write("3_c.sql", f"-- everup: lock_timeout=2s\n{seen}")
    ready.migrate(lock_timeout="2s")
    first, second = log(ready)
    assert first.split()[1:] == second.split()[1:]


def test_objects_of_every_kind(ready):
    ready.write(
        "1_a.sql",
        "CREATE VIEW v AS SELECT id FROM orders\nGO\nCREATE PROCEDURE p AS\n-- GO is no end here: '\n/*\nGO\n*/\nSELECT 1\nGO\n"
        "CREATE TRIGGER tr ON orders AFTER INSERT AS INSERT INTO log SELECT 'trigger'\nGO\n"
        "CREATE FUNCTION f () RETURNS int AS BEGIN RETURN 1 END\nGO\nINSERT INTO orders VALUES (2)",
    )
    assert ready.migrate()["applied"][0]["statements"] == 5
    assert log(ready) == ["trigger"]
    assert "GO is no end here" in ready.query("SELECT OBJECT_DEFINITION(OBJECT_ID('p'))")[0][0]


def test_what_cannot_run_in_a_transaction_runs_outside(ready):
    ready.write("1_a.sql", "ALTER DATABASE CURRENT SET AUTO_UPDATE_STATISTICS_ASYNC ON")
    with pytest.raises(EverupError, match="cannot run in a transaction"):
        ready.migrate()
    ready.write("1_a.sql", HEAD + "ALTER DATABASE CURRENT SET AUTO_UPDATE_STATISTICS_ASYNC ON\nGO\nCREATE INDEX i ON orders (id)")
    assert ready.migrate()["current"] == "1"


def test_what_an_assertion_changes_is_taken_back(ready):
    ready.write("a.sql", "INSERT INTO log VALUES ('a'); SELECT what FROM log WHERE what <> 'a'", phase="tests")
    assert ready.assert_all()["passed"] == 1
    assert log(ready) == []


# Locks


def test_a_lock_that_comes_free_and_the_application_in_between(ready):
    ready.write("1_a.sql", "ALTER TABLE orders ADD a int")
    longest = [0.0]
    over = threading.Event()

    def application():
        with closing(ready.connect()) as connection:
            while not over.is_set():
                began = time.monotonic()
                connection.execute("SELECT COUNT(*) FROM orders").fetchone()
                longest[0] = max(longest[0], time.monotonic() - began)

    thread = threading.Thread(target=application)
    thread.start()
    with blocked(ready, seconds=2.5):
        (script,) = ready.migrate(lock_timeout="500ms", lock_budget="20s")["applied"]
    over.set()
    thread.join()
    assert script["tries"] > 1
    assert longest[0] < 1.0


def test_the_blocker_is_named(ready):
    ready.write("1_a.sql", "INSERT INTO log VALUES ('a')\nGO\nALTER TABLE orders ADD a int")
    with blocked(ready) as other:
        (session,) = other.execute("SELECT @@SPID").fetchone()
        with pytest.raises(EverupError, match=r"^expand/1_a\.sql:3:1: .*\(error 1222\)\. No lock within") as caught:
            ready.migrate(lock_timeout="600ms", lock_budget="1500ms")
    assert f"session {session}, user " in str(caught.value) and "program 'the shop'" in str(caught.value)
    assert log(ready) == [], "1222 leaves the transaction open: it must be rolled back"
    assert ready.history()["1"]["state"] == "failed"
    ready.migrate()
    assert log(ready) == ["a"]


def test_a_deadlock_is_tried_again(ready):
    last = "INSERT INTO log SELECT what FROM other WITH (UPDLOCK)"
    ready.write("1_a.sql", f"UPDATE orders SET id = id\nGO\nWAITFOR DELAY '00:00:01'\nGO\n{last}")
    ready.execute("CREATE TABLE other (what nvarchar(100))")
    ready.execute("INSERT INTO other VALUES ('x')")

    def cross():
        with closing(ready.connect()) as connection:
            connection.execute("BEGIN TRANSACTION; UPDATE other SET what = what")
            time.sleep(0.7)
            connection.execute("UPDATE orders SET id = id; COMMIT")

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(cross)
        (script,) = ready.migrate(lock_timeout="20s", lock_budget="40s")["applied"]
        other.result(30)
    assert script["tries"] >= 1 and log(ready) == ["x"]


def test_readers_of_the_history_do_not_wait_for_a_script(ready):
    """Also without READ_COMMITTED_SNAPSHOT."""
    ready.write("1_a.sql", "INSERT INTO log VALUES ('a')\nGO\nWAITFOR DELAY '00:00:10'")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ready.migrate)
        time.sleep(1)
        began = time.monotonic()
        assert [script["version"] for script in ready.inform()["expand"]["pending"]] == ["1"]
        assert time.monotonic() - began < 6
        running.result(30)


def test_what_the_server_says_of_itself(db):
    with closing(db.engine_connection()) as engine:
        settings = engine.settings()
        assert settings["is_read_committed_snapshot_on"] is SNAPSHOT
        assert settings["replication"] is False and settings["recovery_model"] == "SIMPLE"
        assert engine.driver() and int(engine.server_version().split(".")[0]) >= 12
