"""Scripts, locks, kills and the release ledger on a real SQL Server; skipped unless EVERUP_TEST_SQLSERVER leads to one."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.base import CAPABILITIES
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support.modules import finish_module, start_module
from ansible_collections.everup.deploy.tests.support.sqlserver import VARIABLE, Sqlserver

pytestmark = pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"{VARIABLE} leads to no SQL Server")
MODULE = "everup.deploy.migration"
ANN = {"host": "c1", "boot": "b", "namespace": "n", "pid": 7, "start": 100}
BOB = {**ANN, "pid": 8}
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


def eventually(true, timeout=30.0):
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.05)


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


def test_in_order_and_once(ready):
    ready.write("1_a.sql", "INSERT INTO log VALUES (N'größer')\nGO 3\nPRINT N'done'\nGO\nRAISERROR('step', 10, 1) WITH NOWAIT")
    (script,) = ready.migrate(release_version="2.4.0")["applied"]
    assert (script["statements"], script["messages"]) == (5, ["done", "step"])
    assert log(ready) == ["größer"] * 3
    assert ready.migrate()["changed"] is False
    row = ready.history()["1"]
    assert (row["state"], row["statements_done"], row["release_version"]) == ("applied", 5, "2.4.0")
    assert row["started_at"] <= row["finished_at"]


def test_a_failing_script_leaves_nothing(ready):
    ready.write("1_a.sql", "CREATE TABLE t (a int)\nGO\nINSERT INTO log VALUES ('a')\nGO\n  INSERT INTO nowhere VALUES (1)")
    with pytest.raises(EverupError, match=r"^expand/1_a\.sql:5:3: SQL Server: Invalid object name 'nowhere'\. \(error 208\)"):
        ready.migrate()
    assert log(ready) == [] and "t" not in ready.tables()
    assert ready.history()["1"]["state"] == "failed"


@pytest.mark.parametrize(
    "batch",
    [
        "SELECT CAST(a AS int) FROM (VALUES ('1'), ('nonsense')) AS t (a)",
        "SET NOCOUNT ON; SELECT 1 AS a; SELECT 2 AS b; INSERT INTO nowhere VALUES (1)",
        "UPDATE orders SET id = id; RAISERROR('no', 16, 1)",
        "PRINT 'x'; THROW 50001, 'no', 1",
    ],
)
def test_an_error_of_a_later_result_or_row(ready, batch):
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


def test_a_statement_time_out(ready):
    ready.write("1_a.sql", "-- everup: statement_timeout=1s\nSELECT 1\nGO\nWAITFOR DELAY '00:00:30'")
    began = time.monotonic()
    with pytest.raises(EverupError, match=r"expand/1_a\.sql:4:1: .*time-out"):
        ready.migrate()
    assert time.monotonic() - began < 10


def test_what_cannot_run_in_a_transaction_runs_outside(ready):
    ready.write("1_a.sql", "ALTER DATABASE CURRENT SET AUTO_UPDATE_STATISTICS_ASYNC ON")
    with pytest.raises(EverupError, match="cannot run in a transaction"):
        ready.migrate()
    ready.write("1_a.sql", HEAD + "ALTER DATABASE CURRENT SET AUTO_UPDATE_STATISTICS_ASYNC ON\nGO\nCREATE INDEX i ON orders (id)")
    assert ready.migrate()["current"] == "1"


def test_names_are_settings(db):
    names = {"schema": "deploys", "table_prefix": "x_", "expand_history_table": "Versions"}
    assert db.migrate(**names)["current"] == "0"
    assert db.migrate(**names)["changed"] is False
    assert db.query("SELECT version FROM deploys.Versions") == [("0",)]


def test_check_mode_changes_nothing(db):
    assert db.migrate(check=True)["changed"]
    assert db.tables() == set()


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
    ready.write("1_a.sql", "INSERT INTO log VALUES ('a')\nGO\nWAITFOR DELAY '00:00:03'")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ready.migrate)
        time.sleep(1)
        began = time.monotonic()
        assert [script["version"] for script in ready.inform()["expand"]["pending"]] == ["1"]
        assert time.monotonic() - began < 1.5
        running.result(30)


# Runs beside each other, and killed ones


def test_two_at_once(db):
    db.write("1_a.sql", "INSERT INTO log VALUES ('a')\nGO\nWAITFOR DELAY '00:00:00.300'")
    both = [start_module(MODULE, db.migration_options()) for _number in range(2)]
    results = [finish_module(process) for process in both]
    assert not any(result["failed"] for result in results), results
    assert sorted(len(result["applied"]) for result in results) == [0, 2]
    assert log(db) == ["a"]


def test_the_second_names_the_first(ready):
    ready.write("1_a.sql", HEAD + "INSERT INTO log VALUES ('a')\nGO\nWAITFOR DELAY '00:00:08'")
    first = start_module(MODULE, ready.migration_options(application_name="the first run"))
    try:
        eventually(lambda: log(ready) == ["a"])
        with pytest.raises(EverupError, match=r"Another run is migrating this database: session \d+, user .*'the first run'"):
            ready.migrate(wait_for_other_run="100ms")
    finally:
        first.kill()
        first.communicate()


@pytest.mark.parametrize("head", ["", HEAD])
def test_a_killed_run_is_followed_by_the_next(ready, head):
    """The slow part waits as long as a table says, so that the same text is quick the second time."""
    ready.execute("CREATE TABLE pace (pause char(8))")
    ready.execute("INSERT INTO pace VALUES ('00:00:20')")
    slow = "DECLARE @pause char(8); SELECT @pause = pause FROM pace; INSERT INTO log VALUES ('b'); WAITFOR DELAY @pause"
    ready.write("1_a.sql", f"{head}INSERT INTO log VALUES ('a')\nGO\n{slow}")
    victim = start_module(MODULE, ready.migration_options())
    eventually(lambda: log(ready) == ["a", "b"])
    victim.kill()
    victim.communicate()
    ready.execute("UPDATE pace SET pause = '00:00:00'")
    ready.migrate(wait_for_other_run="30s")
    assert log(ready) == ["a", "b"]


# The release ledger


def test_a_release(db):
    token = db.release("open", process=ANN)["token"]
    for to in ("expanding", "expanded", "rolling"):
        db.release("advance", to=to, token=token)
    db.record("web1", "draining", token, version_before="1")
    ready = db.record("web1", "ready", token, version_after="2.4.0")["member"]
    assert (ready["version_before"], ready["version_after"]) == ("1", "2.4.0")
    assert db.release("advance", to="rolled", token=token, hosts=["web1"])["release"]["state"] == "rolled"
    facts = db.release_info(events=3, soak="1h")
    assert len(facts["events"]) == 3 and 3500 < facts["soak_seconds_left"] <= 3600
    with pytest.raises(EverupError, match="held by"):
        db.release("open", process=BOB)
    taken = db.release("open", process=BOB, takeover=True)["token"]
    assert taken == token + 1
    with pytest.raises(EverupError, match="The lease is lost"):
        db.migrate(lease_token=token)
    assert db.migrate(lease_token=taken)["changed"]


def test_one_of_many_openers_wins(db):
    with ThreadPoolExecutor(6) as pool:
        tries = [pool.submit(db.release, "open", process={**ANN, "pid": pid}) for pid in range(6)]
        errors = [future.exception() for future in tries]
    assert errors.count(None) == 1
    assert all("held by" in str(error) for error in errors if error), errors


def test_a_lease_lost_during_a_script_rolls_it_back(ready):
    token = ready.release("open", process=ANN)["token"]
    ready.write("1_a.sql", "INSERT INTO log VALUES ('a')\nGO\nWAITFOR DELAY '00:00:02'")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ready.migrate, lease_token=token)
        time.sleep(0.7)
        ready.release("open", process=BOB, takeover=True)
        with pytest.raises(EverupError, match="The lease is lost"):
            running.result(30)
    assert log(ready) == []


def test_what_the_server_says_of_itself(db):
    with closing(db.engine_connection()) as engine:
        assert set(engine.capabilities()) == set(CAPABILITIES)
        settings = engine.settings()
        assert settings["is_read_committed_snapshot_on"] is (os.environ.get(f"{VARIABLE}_RCSI", "on") == "on")
        assert settings["replication"] is False and settings["recovery_model"] == "SIMPLE"
        assert engine.driver() and int(engine.server_version().split(".")[0]) >= 12
