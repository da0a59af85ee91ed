"""SQL Server's engine against a simulated server and driver: transactions, locks, context, messages, session settings."""

import threading
import time

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.batches import split_batches
from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC, connect
from ansible_collections.everup.deploy.plugins.module_utils._db.engines import odbc
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.base import CAPABILITIES
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.sqlserver import SqlserverEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.errors import DatabaseError, LockTimeout
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support.databases import Database
from ansible_collections.everup.deploy.tests.support.probe_reports import a_report
from ansible_collections.everup.deploy.tests.support.sqlserver_peer import DRIVERS, Server

OPTIONS = {"engine": "sqlserver", "login_host": "db", "login_db": "shop", "login_user": "deploy", "login_password": "p"}
DEFAULTS = {name: option.get("default") for name, option in CONNECTION_SPEC.items()}


@pytest.fixture(params=DRIVERS)
def server(request, tmp_path, monkeypatch):
    server = Server(tmp_path / "peer.sqlite", request.param)
    monkeypatch.setattr(odbc, "pyodbc", server.module())
    yield server
    for session in server.sessions:
        if not session.closed:
            session.close()


class Simulated(Database):
    """The simulated server's database; what another program would do is done on its sessions."""

    def connect(self):
        raise AssertionError("no driver leads to the simulated server")


@pytest.fixture
def engine(server):
    return connect({**DEFAULTS, **OPTIONS})


@pytest.fixture
def db(server, tmp_path):
    """The modules' functions on the simulated server."""
    database = Simulated()
    database.folder = tmp_path / "migrations"
    database.options = OPTIONS
    database.write("0_log.sql", "CREATE TABLE log (what nvarchar(50))")
    database.migrate()
    return database


def rows(server, sql):
    session = server.connect("", 0, True)
    try:
        return session.database.execute(sql).fetchall()
    finally:
        session.close()


def log(server):
    return [what for (what,) in rows(server, "SELECT what FROM log")]


def run(engine, sql):
    for statement in split_batches(sql, engine.lexis, "x.sql"):
        engine.run_script_statement(statement)


# Whole runs


def test_scripts_run_once_and_release_moves(db, server):
    db.write("1_a.sql", "INSERT INTO log VALUES ('a');\nGO 3\nPRINT 'it''s done'\nGO\n-- end")
    first = db.migrate(release_version="2.4.0")
    (script,) = first["applied"]
    assert (script["statements"], script["messages"]) == (4, ["it's done"])
    assert log(server) == ["a"] * 3
    assert db.migrate()["changed"] is False
    row = db.history()["1"]
    assert (row["state"], row["statements_done"], row["statements_total"]) == ("applied", 4, 4)
    token = db.release("open", process={"host": "c", "boot": "b", "namespace": "n", "pid": 1, "start": 1})["token"]
    assert db.release("advance", to="expanding", token=token)["release"]["state"] == "expanding"
    assert [event["what"] for event in db.release_info(events=2)["events"]][-1] == "release_expanding"
    assert db.record("web1", "draining", token)["member"]["version_before"] is None
    assert db.inform()["driver"] == " ".join(DRIVERS[server.flavour][1:])
    assert not server.locks
    assert {session.trancount for session in server.sessions} == {0}


def test_what_a_probe_has_measured_is_kept_once(db, server):
    db.release("open", process={"host": "c", "boot": "b", "namespace": "n", "pid": 1, "start": 1})
    began = time.time() - 700
    assert db.record_availability(report=a_report(began, [[1, 3]]))["changed"]
    assert not db.record_availability(report=a_report(began, [[1, 3]]))["changed"]
    assert db.record_availability(report=a_report(began, [[1, 4]]))["changed"]
    told = db.release_info(budget="1m per 1h")["downtime"]
    assert [(run["run"], run["downtime_ms"]) for run in told["runs"]] == [("r1", 3000)]
    assert told["budget"]["left_ms"] == 57_000
    assert {session.trancount for session in server.sessions} == {0}


def test_the_release_is_in_the_application_name(db, server):
    db.write("1_a.sql", "SELECT 1")
    db.migrate(release_version="2.4.0")
    assert "APP={everup.deploy 2.4.0}" in server.sessions[-1].connection_string
    db.migrate(release_version="2.4.0", application_name="ours")
    assert "APP={ours}" in server.sessions[-1].connection_string


def test_an_error_of_a_later_result_fails_the_script(db, server):
    db.write("1_a.sql", "SELECT 1\nGO\n  INSERT INTO log VALUES ('a');\nEXEC fail 2627, 'Violation of PRIMARY KEY';\nSELECT 1")
    with pytest.raises(EverupError, match=r"^expand/1_a\.sql:3:3: SQL Server: .*Violation of PRIMARY KEY") as caught:
        db.migrate()
    assert "[Microsoft]" not in str(caught.value) and "SQLExecDirect" not in str(caught.value)
    assert log(server) == []
    assert db.history()["1"]["state"] == "failed"


def test_an_error_that_comes_with_a_row(db):
    db.write("1_a.sql", "EXEC rows_then_fail")
    with pytest.raises(EverupError, match=r"Conversion failed when converting the varchar value\. \(error 245\)"):
        db.migrate()


@pytest.mark.parametrize("number", [1222, 1205])
def test_lock_time_outs_and_deadlocks_are_tried_again(db, server, number):
    """1222 leaves the transaction open: what the script did before it must not survive into the next try."""
    server.failures = [("ALTER TABLE", number, "Lock request time out period exceeded.")]
    db.write("1_a.sql", "PRINT 'begun'; INSERT INTO log VALUES ('a')\nGO\nALTER TABLE log ADD extra int")
    (script,) = db.migrate(lock_budget="10s")["applied"]
    assert (script["tries"], script["messages"]) == (2, ["begun"])
    assert log(server) == ["a"]


def test_the_blocker_is_named(db, server):
    row = {"login_name": "shop", "program_name": "report", "host_name": "bi1", "age": 42, "since": "in a transaction"}
    server.blocker_rows = [{"session_id": 77, **row, "statement": "SELECT 1"}, {"session_id": -2, **row, "statement": None}]
    server.failures = [("ALTER TABLE", 1222, "Lock request time out period exceeded.")] * 50
    db.write("1_a.sql", "ALTER TABLE log ADD extra int")
    with pytest.raises(EverupError, match=r"\(error 1222\)\. No lock within 0 s"):
        db.migrate(lock_timeout="100ms", lock_budget="200ms")
    # The simulated statement fails at once, so nobody was seen waiting; asked directly, the sessions are named.
    engine = connect({**DEFAULTS, **OPTIONS})
    first, second = engine.blockers()
    assert str(first) == "session 77, user shop, program 'report', from bi1, in a transaction for 42 s, last statement: SELECT 1"
    assert "orphaned distributed transaction" in str(second)
    assert f"w.session_id = {server.sessions[-2].number} " in server.seen[-1][1]


def test_who_may_not_look_says_so(engine, server):
    server.permitted = False
    (blocker,) = engine.blockers()
    assert "lacks VIEW SERVER STATE" in str(blocker)
    server.permitted = True
    assert engine.blockers() == []


# Transactions and context


@pytest.mark.parametrize("head", ["", "-- everup: transaction=none\n"])
@pytest.mark.parametrize(
    ("batch", "what"),
    [
        ("EXEC('BEGIN TRAN')", r"has left 1 transaction\(s\) open"),
        ("USE [other]", "has gone to the database other by USE: a script stays in shop"),
        ("SET NOEXEC ON", "has left NOEXEC, PARSEONLY, FMTONLY or SHOWPLAN on"),
    ],
)
def test_a_batch_leaves_the_session_as_it_was(db, server, head, batch, what):
    db.write("1_a.sql", f"{head}SELECT 1\nGO\n{batch}\nGO\nINSERT INTO log VALUES ('after')")
    line = 3 + bool(head)
    with pytest.raises(EverupError, match=rf"^expand/1_a\.sql:{line}:1: SQL Server: the batch {what}"):
        db.migrate()
    row = db.history()["1"]
    assert f"the batch {what[:15]}" in row["error"], "it was written into the right database, by a session that is awake"
    assert row["state"] == ("running" if head and batch.startswith("EXEC") else "failed")
    assert log(server) == []
    assert {session.trancount for session in server.sessions} == {0}


def test_a_script_that_commits_is_an_error(db):
    db.write("1_a.sql", "INSERT INTO log VALUES ('a')\nGO\n\nEXEC('COMMIT')\nGO\nSELECT 1")
    with pytest.raises(EverupError, match=r"^expand/1_a\.sql:4:1: .*has ended everup's transaction") as caught:
        db.migrate()
    assert "look what is there" in str(caught.value)
    assert db.history()["1"]["state"] == "failed"


def test_a_script_that_rolls_back_is_an_error(db, server):
    db.write("1_a.sql", "INSERT INTO log VALUES ('a'); EXEC('ROLLBACK')")
    with pytest.raises(EverupError, match="has ended everup's transaction"):
        db.migrate()
    assert log(server) == []


def test_a_doomed_transaction_is_an_error(db, server):
    db.write("1_a.sql", "INSERT INTO log VALUES ('a'); EXEC doom")
    with pytest.raises(EverupError, match=r"cannot commit any more \(XACT_STATE\(\) is -1\)"):
        db.migrate()
    assert log(server) == []


def test_using_the_same_database_is_fine(db):
    db.write("1_a.sql", "USE [shop]\nGO\nUSE [other]; USE [shop]")
    (script,) = db.migrate()["applied"]
    assert script["messages"] == [], "that the context changed is no news"


def test_a_transaction_of_ours_commits_or_not_at_all(engine, server):
    engine.execute("CREATE TABLE t (a int)")
    with pytest.raises(ZeroDivisionError), engine.transaction():
        engine.execute("INSERT INTO t VALUES (?)", (1,))
        raise ZeroDivisionError
    assert rows(server, "SELECT * FROM t") == []
    with pytest.raises(DatabaseError, match="left open inside everup's own"), engine.transaction():
        engine.execute("INSERT INTO t VALUES (?)", (1,))
        server.sessions[0].begin()
    assert rows(server, "SELECT * FROM t") == []
    with engine.transaction():
        engine.execute("INSERT INTO t VALUES (?)", (1,))
    assert rows(server, "SELECT * FROM t") == [(1,)]


def test_a_session_that_will_not_roll_back_is_closed(engine, server):
    """The server then does what the session would not."""
    server.failures = [("ROLLBACK", 50000, "no")]
    with pytest.raises(ZeroDivisionError), engine.transaction():
        raise ZeroDivisionError
    assert server.sessions[0].closed
    with pytest.raises(DatabaseError):
        engine.query("SELECT 1 AS a")
    engine.close()


# Statements


def test_counts_do_not_depend_on_nocount(engine, server):
    engine.execute("CREATE TABLE t (a int)")
    assert engine.execute("INSERT INTO t VALUES (1), (2)") == 2
    assert engine.execute("UPDATE t SET a = ? WHERE a = ?", (3, 9)) == 0
    assert engine.execute("DELETE FROM t") == 2
    assert all(sql.startswith("SET NOCOUNT ON; ") for _number, sql in server.seen if sql.strip().endswith("AS changed"))


def test_a_null_is_written_into_the_text(engine, server):
    engine.execute("CREATE TABLE t (a int, b int)")
    engine.execute("INSERT INTO t VALUES (?, ?)", (None, 7))
    assert "VALUES (NULL, ?)" in server.seen[-1][1]
    assert rows(server, "SELECT a, b FROM t") == [(None, 7)]


def test_messages(engine):
    run(engine, "PRINT 'one'; SELECT 1; PRINT 'two'; RAISERROR('three', 10, 1) WITH NOWAIT")
    assert engine.take_messages() == ["one", "two", "three"]
    assert engine.take_messages() == []
    with pytest.raises(DatabaseError, match="four"):
        run(engine, "PRINT 'lost'; RAISERROR('four', 11, 1)")
    assert engine.take_messages() == []


def test_messages_are_bounded(engine):
    run(engine, ";".join(f"PRINT '{'x' * 2000}'" for _number in range(300)))
    taken = engine.take_messages()
    assert (len(taken), {len(text) for text in taken}) == (200, {1000})


# Session


def test_settings_of_a_script_end_with_it(db, server):
    db.write(
        "1_a.sql",
        "SET XACT_ABORT OFF; SET LANGUAGE Deutsch; SET DATEFORMAT dmy; SET LOCK_TIMEOUT 7; SET QUOTED_IDENTIFIER OFF;"
        " SET IMPLICIT_TRANSACTIONS OFF; SET ROWCOUNT 1; EXECUTE AS USER = 'limited'",
    )
    db.migrate()
    session = next(s for s in server.sessions if any("Deutsch" in sql for number, sql in server.seen if number == s.number))
    kept = session.options
    assert (session.user, kept["XACT_ABORT"], kept["QUOTED_IDENTIFIER"], kept["ROWCOUNT"]) == ("dbo", "ON", "ON", "0")
    assert (kept["LANGUAGE"], kept["LOCK_TIMEOUT"], kept["DEADLOCK_PRIORITY"]) == ("N'US_ENGLISH'", "2000", "LOW")


def test_lock_and_statement_time_outs(engine, server):
    (session,) = server.sessions
    engine.set_lock_timeout(0.0001)
    assert session.options["LOCK_TIMEOUT"] == "1"
    engine.set_lock_timeout(2.5)
    engine.set_statement_timeout(0.2)
    assert (session.options["LOCK_TIMEOUT"], session.timeout) == ("2500", 1)
    engine.reset_session()
    assert (session.options["LOCK_TIMEOUT"], session.timeout) == ("10000", 0)


def test_no_pool_keeps_a_session_with_its_locks(engine):
    assert odbc.pyodbc.pooling is False


@pytest.mark.parametrize(("result", "taken"), [(0, True), (1, True), (-1, False), (-3, False)])
def test_results_of_the_session_lock(engine, server, result, taken):
    server.lock_results = [result]
    assert engine.try_session_lock("x") is taken


@pytest.mark.parametrize("result", [-2, -999, 5])
def test_a_session_lock_that_fails(engine, server, result):
    server.lock_results = [result]
    with pytest.raises(DatabaseError, match=f"sp_getapplock gave {result} for 'x'"):
        engine.try_session_lock("x")


def test_two_sessions_and_one_lock(engine, server):
    other = connect({**DEFAULTS, **OPTIONS})
    assert engine.session_lock_holder("it's") is None
    assert engine.try_session_lock("a name") and not other.try_session_lock("a name")
    holder = other.session_lock_holder("a name")
    assert (holder.session, holder.program) == (str(server.sessions[0].number), "everup.deploy 2.4.0")
    assert engine.session_lock_holder("a name") is None, "our own is free to us"
    server.permitted = False
    assert "lacks VIEW SERVER STATE" in str(other.session_lock_holder("a name"))
    other.release_session_lock("a name")
    assert not other.try_session_lock("a name"), "only the holder gives it back"
    engine.close()
    assert other.try_session_lock("a name")


def test_a_long_lock_name_is_shown_whole(engine, server):
    assert engine.try_session_lock("everup migration " + "x" * 60)
    assert engine.try_session_lock("everup migration " + "x" * 59 + "y")
    assert {len(name) for name in server.locks} == {32} and len(server.locks) == 2


def test_the_second_run_names_the_first(db, server):
    first = connect({**DEFAULTS, **OPTIONS})
    first.try_session_lock("everup migration everup_ledger")
    db.write("1_a.sql", "SELECT 1")
    with pytest.raises(LockTimeout, match=r"Another run is migrating this database: session \d+, user deploy"):
        db.migrate(wait_for_other_run="100ms")
    timer = threading.Timer(0.4, first.close)
    timer.start()
    assert db.migrate()["changed"]
    timer.join()


# What the server is


@pytest.mark.parametrize(
    ("look", "ability"),
    [
        ({"edition": 3, "version": "16.0.1"}, (True, True, True)),
        ({"edition": 3, "version": "13.0.1"}, (True, False, True)),
        ({"edition": 2, "version": "16.0.1"}, (False, False, False)),
        ({"edition": 5, "version": "12.0.2000.8"}, (True, True, True)),
    ],
)
def test_capabilities_follow_edition_and_version(server, look, ability):
    server.first_look = look
    found = connect({**DEFAULTS, **OPTIONS}).capabilities()
    assert (found["online_index"], found["resumable_index"], found["instant_add_column"]) == ability
    assert set(found) == set(CAPABILITIES)


def test_a_server_that_is_too_old(server):
    server.first_look = {"edition": 3, "version": "12.0.6024.0"}
    with pytest.raises(DatabaseError, match=r"SQL Server 12\.0\.6024\.0 is too old"):
        connect({**DEFAULTS, **OPTIONS})
    assert server.sessions[0].closed


def test_settings(engine, server):
    server.settings = {"edition": "Developer", "is_read_committed_snapshot_on": 1, "recovery_model": "FULL", "in_group": 1}
    found = engine.settings()
    assert found == {
        "edition": "Developer",
        "is_read_committed_snapshot_on": True,
        "recovery_model": "FULL",
        "replication": True,
        "replication_lag_seconds": 7,
    }
    server.permitted = False
    assert engine.settings()["replication_lag_seconds"] is None
    server.settings["in_group"] = 0
    assert engine.settings()["replication"] is False


def test_names_and_expressions():
    engine = object.__new__(SqlserverEngine)
    engine.schema = "a]b"
    assert engine.table("t") == "[a]]b].[t]"
    assert engine.first_rows(" select a FROM t ORDER BY a", 3) == "SELECT TOP (3) a FROM t ORDER BY a"
    assert engine.later(-1.5) == "DATEADD(millisecond, 500, DATEADD(second, -2, CAST(SYSUTCDATETIME() AS datetime2(3))))"
    assert engine.moment("2026-11-20T10:00:00.250Z") == "CAST('2026-11-20T10:00:00.250' AS datetime2(3))"
    with pytest.raises(EverupError, match="no time of the ledger"):
        engine.moment("'); DROP TABLE log --")
    assert engine.settled_rows("[t]") == "[t] WITH (READPAST)"


# Outside a transaction

HEAD = "-- everup: transaction=none\n"


def test_outside_a_transaction_a_batch_commits_with_its_count(db, server):
    """A batch that fails takes its own work back, and the next run goes on with it: GO 3 runs three times in all."""
    db.write("1_a.sql", f"{HEAD}INSERT INTO log VALUES ('a')\nGO 3\nINSERT INTO log VALUES ('b'); ALTER TABLE log ADD extra int")
    server.failures = [("INSERT INTO log", 1205, "Deadlocked")] * 2 + [("ALTER TABLE", 8134, "Divide by zero")]
    with pytest.raises(EverupError, match=r"^expand/1_a\.sql:4:1: SQL Server: .*Divide by zero"):
        db.migrate()
    assert log(server) == ["a"] * 3
    row = db.history()["1"]
    assert (row["state"], row["statements_done"], row["statements_total"]) == ("failed", 3, 4)


@pytest.mark.parametrize(("number", "text"), [(8134, "Divide by zero"), (1222, "Lock request time out period exceeded.")])
def test_a_batch_that_commits_piece_by_piece_is_not_run_again_unasked(db, server, number, text):
    db.write("1_a.sql", f"{HEAD}SELECT 1\nGO\nINSERT INTO log VALUES ('a'); EXEC fail {number}, '{text}'\nGO\nSELECT 2")
    with pytest.raises(EverupError, match="Statement 2 of 3 can commit in the middle of itself"):
        db.migrate(lock_budget="5s")
    assert log(server) == ["a"]
    row = db.history()["1"]
    assert (row["state"], row["statements_done"]) == ("running", 1) and text in row["error"]
    with pytest.raises(EverupError, match="may or may not have happened"):
        db.migrate()
    db.migrate(repair="applied")
    assert (log(server), db.history()["1"]["state"]) == (["a"], "applied")


@pytest.mark.parametrize(
    ("batch", "atomic"),
    [
        ("CREATE INDEX i ON t (a) WHERE b = 1 WITH (ONLINE = ON)", True),
        ("SET NOCOUNT ON; IF NOT EXISTS (SELECT 1 FROM t) ALTER INDEX i ON t REBUILD WITH (ONLINE = ON)", True),
        ("ALTER TABLE t ALTER COLUMN a bigint NOT NULL WITH (ONLINE = ON)", True),
        ("ALTER TABLE t DROP CONSTRAINT pk WITH (ONLINE = ON)", True),
        ("ALTER DATABASE CURRENT SET RECOVERY SIMPLE WITH ROLLBACK IMMEDIATE", True),
        ("INSERT INTO t VALUES (1); UPDATE t SET a = 1", True),  # joins a transaction
        ("CREATE INDEX i ON t (a) WITH (ONLINE = ON) INSERT INTO t VALUES (1)", False),
        ("SELECT a INTO u FROM t; ALTER INDEX i ON t REBUILD WITH (ONLINE = ON)", False),
        ("WHILE 1 = 1 DELETE TOP (1000) FROM t", False),
        ("EXEC fill", False),
        ("fill; ALTER INDEX i ON t REBUILD WITH (ONLINE = ON)", False),
        ("BACKUP LOG shop TO DISK = 'x'; BACKUP DATABASE shop TO DISK = 'y'", False),
    ],
)
def test_which_batches_can_commit_in_the_middle(batch, atomic):
    engine = object.__new__(SqlserverEngine)
    (statement,) = split_batches(batch, engine.lexis, "x.sql")
    assert engine.is_atomic(statement) is atomic


@pytest.mark.parametrize(
    ("batch", "joined"),
    [
        ("INSERT INTO t VALUES (1)", True),
        ("ALTER TABLE t ADD a int; UPDATE t SET b = 1", True),
        ("CREATE PROC p AS WHILE 1 = 1 BREAK", True),
        ("WHILE 1 = 1 DELETE TOP (1000) FROM t", False),
        ("ALTER DATABASE CURRENT SET RECOVERY SIMPLE", False),
        ("EXEC fill", False),
        ("CREATE INDEX i ON t (a) WITH (ONLINE = ON)", False),
        ("SELECT 'WHILE', [exec] -- BACKUP", True),
    ],
)
def test_which_batches_commit_with_their_count(batch, joined):
    engine = object.__new__(SqlserverEngine)
    (statement,) = split_batches(batch, engine.lexis, "x.sql")
    assert engine.joins_transaction(statement) is joined


def test_the_first_statement_of_a_batch_does_not_speak_for_all(db, server):
    """DROP ... IF EXISTS may run twice; what stands behind it in the same batch may not, and so nobody guesses."""
    db.write("1_a.sql", f"{HEAD}SELECT 1\nGO\nDROP TABLE IF EXISTS nowhere; EXEC doubtful")
    with pytest.raises(EverupError):
        db.migrate()
    rows(server, "UPDATE everup_expand_history SET state = 'running', statements_done = 1 WHERE version = '1'")
    with pytest.raises(EverupError, match="may or may not have happened"):
        db.migrate()


def test_a_count_of_transactions_that_does_not_match_is_explained(db):
    db.write("1_a.sql", "EXEC fail 266, 'Transaction count after EXECUTE indicates a mismatching number.'")
    with pytest.raises(EverupError, match=r"\(error 266\)\. A COMMIT has made permanent what the script did"):
        db.migrate()


def test_an_assertion_looks_at_every_result_of_its_batch(db):
    db.write("a.sql", "SELECT 1 AS a WHERE 1 = 0; SELECT 7 AS bad", phase="tests")
    with pytest.raises(EverupError, match=r"tests/a\.sql:1: 1 row\(s\) that should not be there: bad=7"):
        db.assert_all()


@pytest.mark.parametrize("sql", ["UPDATE t SET a = 1 -- all", "/* all */ -- of them\nUPDATE t SET a = 1"])
def test_a_change_is_counted_with_comments_around_it(engine, sql):
    engine.execute("CREATE TABLE t (a int)")
    engine.execute("INSERT INTO t VALUES (0)")
    assert engine.execute(sql) == 1
