"""Scripts outside a transaction: what was done is known after every statement."""

import re
from contextlib import closing
from hashlib import sha256

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.errors import DatabaseError
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._migrations.history import History
from ansible_collections.everup.deploy.tests.support.databases import given

TABLES = "CREATE TABLE log (what varchar(50));"
SCRIPT = "expand/2_x.sql"
HEAD = "-- everup: transaction=none\n"


def log(db):
    return [what for (what,) in db.query("SELECT what FROM log")]


def prepare(db, text="", head=HEAD):
    db.write("1_log.sql", TABLES)
    text = text or "INSERT INTO log VALUES ('a');\nINSERT INTO log VALUES ('b');\nINSERT INTO log VALUES ('c')"
    db.write("2_x.sql", head + text)


def interrupt(db, done, of=3):
    """Leave the row as a process does that was killed in the middle of a statement."""
    db.execute(f"UPDATE everup_expand_history SET state = 'running', statements_done = {done} WHERE version = '2'")


def test_a_failure_in_the_middle_keeps_what_was_done(db):
    prepare(db, "INSERT INTO log VALUES ('a');\nINSERT INTO nowhere VALUES (1);\nINSERT INTO log VALUES ('c')")
    with pytest.raises(EverupError, match=f"^{re.escape(db.place(SCRIPT, 3))}: "):
        db.migrate()
    row = db.history()["2"]
    assert (row["state"], row["statements_done"], row["statements_total"]) == ("failed", 1, 3)
    assert log(db) == ["a"]
    db.execute("CREATE TABLE nowhere (a int)")
    db.migrate()
    assert log(db) == ["a", "c"]
    assert db.history()["2"]["statements_done"] == 3


def test_a_failure_whose_text_was_edited(db):
    prepare(db, "INSERT INTO log VALUES ('a');\nINSERT INTO nowhere VALUES (1)")
    with pytest.raises(EverupError):
        db.migrate()
    prepare(db, "DELETE FROM log;\nINSERT INTO log VALUES ('b')")
    with pytest.raises(EverupError, match="the file changed after 1 of 2 statements of its old text had run"):
        db.migrate()
    assert log(db) == ["a"]
    db.migrate(repair="retry")
    assert log(db) == ["b"]


DOUBTFUL = pytest.mark.parametrize("db", ["postgresql", "mariadb", *given("sqlserver")], indirect=True)


@pytest.fixture
def interrupted(db):
    """The second of three statements was in flight, and is one that no transaction holds and no catalog shows."""
    doubtful = db.doubtful.format("INSERT INTO nowhere VALUES (1)")
    prepare(db, f"INSERT INTO log VALUES ('a');\n{doubtful};\nINSERT INTO log VALUES ('c')")
    with pytest.raises(EverupError):
        db.migrate()
    db.execute("CREATE TABLE nowhere (a int)")
    interrupt(db, 1)
    return db


@DOUBTFUL
def test_interrupted_is_not_guessed(interrupted):
    for check in (True, False):
        with pytest.raises(EverupError) as caught:
            interrupted.migrate(check=check)
        (finding,) = caught.value.details["findings"]
        assert "was interrupted after 1 of 3 statements" in finding
        doubtful = interrupted.doubtful.format("INSERT INTO nowhere VALUES (1)")
        assert f"statement 2 (line {interrupted.line(SCRIPT, 3)}: {doubtful};) may or may not have happened" in finding
        assert "repair=applied" in finding and "repair=retry" in finding
    assert log(interrupted) == ["a"]


@DOUBTFUL
@pytest.mark.parametrize(("repair", "rows"), [("applied", 0), ("retry", 1)])
def test_interrupted_and_repaired(interrupted, repair, rows):
    interrupted.migrate(repair=repair)
    assert log(interrupted) == ["a", "c"]
    assert interrupted.query("SELECT count(*) FROM nowhere") == [(rows,)]
    assert interrupted.history()["2"]["state"] == "applied"


@DOUBTFUL
def test_interrupted_in_the_last_statement(db):
    prepare(db, "INSERT INTO log VALUES ('a');\n" + db.doubtful.format("INSERT INTO log VALUES (3)"))
    db.migrate()
    interrupt(db, 1)
    db.migrate(repair="applied")
    assert log(db) == ["a", "3"]
    assert db.history()["2"]["statements_done"] == 2


@pytest.mark.parametrize("repair", [None, "applied"])
def test_what_shares_a_transaction_with_its_count_is_never_in_doubt(db, repair):
    """The count is missing, and so is the statement, whatever the user believes."""
    prepare(db)
    db.migrate()
    db.execute("DELETE FROM log WHERE what <> 'a'")
    interrupt(db, 1)
    assert db.migrate(check=True, repair=repair)["pending"][0]["version"] == "2"
    db.migrate(repair=repair)
    assert log(db) == ["a", "b", "c"]


def test_a_count_that_cannot_be_written_takes_its_statement_back(db, monkeypatch):
    prepare(db)
    real = History.progress

    def progress(self, migration, done):
        if done == 2:
            raise DatabaseError("no room")
        real(self, migration, done)

    monkeypatch.setattr(History, "progress", progress)
    with pytest.raises(EverupError, match="no room"):
        db.migrate()
    monkeypatch.undo()
    assert (log(db), db.history()["2"]["statements_done"]) == (["a"], 1)
    db.migrate()
    assert log(db) == ["a", "b", "c"]


@DOUBTFUL
def test_a_count_that_cannot_be_written_at_first_counts_its_statement(db, monkeypatch):
    """The statement has happened, and so the failure says that it has."""
    prepare(db, "INSERT INTO log VALUES ('a');\n" + db.doubtful.format("INSERT INTO log VALUES (2)"))
    real = History.resume

    def resume(self, migration, done, release_version):
        if done == 2:
            raise DatabaseError("no room")
        real(self, migration, done, release_version)

    monkeypatch.setattr(History, "resume", resume)
    with pytest.raises(EverupError, match="no room"):
        db.migrate()
    monkeypatch.undo()
    assert db.history()["2"]["statements_done"] == 2
    db.migrate()
    assert log(db) == ["a", "2"]


def test_idempotent_goes_on_by_itself(db):
    prepare(db, head=HEAD + "-- everup: idempotent\n")
    db.migrate()
    interrupt(db, 1)
    db.migrate()
    assert log(db) == ["a", "b", "c", "b", "c"]


@DOUBTFUL
def test_a_second_crash_is_told_apart_from_the_first(interrupted):
    """While it goes on, the row says that it runs and where: each statement writes down what the row says meanwhile."""
    db = interrupted
    doubtful = db.doubtful.format("INSERT INTO nowhere VALUES (1)")
    db.write(
        "2_x.sql",
        HEAD + f"INSERT INTO log VALUES ('a');\n{doubtful};\n"
        "INSERT INTO log SELECT concat(state, ' ', statements_done) FROM everup_expand_history WHERE version = '2'",
    )
    text = (db.folder / "expand/2_x.sql").read_text()
    checksum = sha256(text.encode()).hexdigest()
    for state, repair in (("running", "applied"), ("failed", None)):
        done = 1 if repair else 2
        db.execute(
            f"UPDATE everup_expand_history SET state = '{state}', statements_done = {done}, checksum = '{checksum}'"
            " WHERE version = '2'"
        )
        db.migrate(repair=repair)
        assert log(db)[-1] == "running 2"


def test_create_index_concurrently(postgresql_database):
    db = postgresql_database
    db.write("1_log.sql", TABLES)
    db.write("2_i.sql", "CREATE INDEX CONCURRENTLY i ON log (what)")
    with pytest.raises(EverupError, match=r"expand/2_i\.sql:1:1: CREATE INDEX CONCURRENTLY I cannot run in a transaction"):
        db.migrate()
    assert db.tables() == set()
    db.write("2_i.sql", HEAD + "CREATE INDEX CONCURRENTLY i ON log (what)")
    db.migrate()
    assert db.query("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == [(True,)]


@pytest.mark.parametrize("name", ["i", '"I x"'])
@pytest.mark.parametrize("guard", ["", "IF NOT EXISTS "])
def test_an_index_that_was_half_built_is_built_again(postgresql_database, name, guard):
    """A failed CREATE INDEX CONCURRENTLY leaves an invalid index, which IF NOT EXISTS would take for the real one."""
    db = postgresql_database
    db.write("1_log.sql", TABLES + "INSERT INTO log VALUES ('a'), ('a')")
    db.write("2_i.sql", HEAD + f"CREATE UNIQUE INDEX CONCURRENTLY {guard}{name} /* x */ ON public.log (what)")
    with pytest.raises(EverupError, match="could not create unique index"):
        db.migrate()
    valid = "SELECT indisvalid FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = 'log'::regclass"
    assert db.query(valid) == [(False,)]
    db.execute("DELETE FROM log")
    db.migrate()
    assert db.query(valid) == [(True,)]


def test_vacuum_and_wal(sqlite_database):
    db = sqlite_database
    db.write("1_x.sql", HEAD + "PRAGMA journal_mode = WAL;\nVACUUM;")
    assert db.migrate()["current"] == "1"
    assert db.query("PRAGMA journal_mode") == [("wal",)]


def test_a_run_whose_lease_is_taken_in_the_last_statement_does_not_finish(db):
    token = db.release("open")["token"]
    taken = "UPDATE everup_lease SET token = token + 1"
    prepare(db, f"INSERT INTO log VALUES ('a');\n{taken}")
    with pytest.raises(EverupError, match="The lease is lost"):
        db.migrate(lease_token=token)
    assert (db.history()["2"]["state"], db.history()["2"]["statements_done"]) == ("failed", 2)
    assert db.events().count("script_applied") == 1
    db.migrate()
    assert log(db) == ["a"]
    assert db.history()["2"]["state"] == "applied"


PIECEWISE = {
    "postgresql": "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('part'); COMMIT;"
    " UPDATE other SET a = 1; END $$",
    "mariadb": "CREATE PROCEDURE p() BEGIN INSERT INTO log VALUES ('part'); UPDATE other SET a = 1; END",
    "sqlserver": "CREATE PROCEDURE p AS INSERT INTO log VALUES ('part'); UPDATE other SET a = 1",
}


def call(db):
    return "EXEC p" if db.engine == "sqlserver" else "CALL p()"


@pytest.fixture
def piecewise(db):
    """A procedure that leaves a part of its work behind, then works at a table that the test may lock or leave out."""
    prepare(db, f"INSERT INTO log VALUES ('a');\n{call(db)};\nINSERT INTO log VALUES ('c')")
    db.migrate(target="1")
    db.execute(PIECEWISE[db.engine])
    return db


def in_doubt(db, match, **options):
    with pytest.raises(EverupError, match=match) as caught:
        db.migrate(**options)
    message = str(caught.value)
    assert message.startswith(f"{db.place(SCRIPT, 3)}: ")
    assert "Statement 2 of 3 can commit in the middle of itself, so that a part of it may stay" in message
    assert "repair=applied (of the playbooks: -e expand_repair=applied) if nothing of it is missing" in message
    assert log(db) == ["a", "part"]
    row = db.history()["2"]
    assert (row["state"], row["statements_done"]) == ("running", 1)
    assert match in row["error"]
    assert db.events()[-1] == "script_failed"
    with pytest.raises(EverupError, match="may or may not have happened"):
        db.migrate()
    assert log(db) == ["a", "part"]
    return caught.value


@DOUBTFUL
def test_a_part_of_a_failed_procedure_is_not_done_twice(piecewise):
    db = piecewise
    in_doubt(db, "other")
    db.execute("CREATE TABLE other (a int)")
    db.migrate(repair="retry")
    assert log(db) == ["a", "part", "part", "c"]
    assert (db.history()["2"]["state"], db.history()["2"]["error"]) == ("applied", None)


@DOUBTFUL
def test_a_procedure_that_got_no_lock_is_not_tried_again(piecewise):
    db = piecewise
    db.execute("CREATE TABLE other (a int)")
    db.execute("INSERT INTO other VALUES (0)")
    with closing(db.connect()) as connection:
        connection.autocommit = False
        connection.execute("UPDATE other SET a = 2")
        error = in_doubt(db, "Blocked by: session ", lock_timeout="3s", lock_budget="30s")
        connection.rollback()
    assert error.details["tries"] == 1 and len(error.details["blockers"]) == 1
    db.migrate(repair="applied")
    assert log(db) == ["a", "part", "c"]


@DOUBTFUL
def test_an_idempotent_script_is_not_asked_about(piecewise):
    db = piecewise
    prepare(db, f"INSERT INTO log VALUES ('a');\n{call(db)}", head=HEAD + "-- everup: idempotent\n")
    with pytest.raises(EverupError) as caught:
        db.migrate()
    assert "in the middle of itself" not in str(caught.value)
    assert (db.history()["2"]["state"], db.history()["2"]["statements_done"]) == ("failed", 1)
    db.execute("CREATE TABLE other (a int)")
    db.migrate()
    assert log(db) == ["a", "part", "part"]


def test_a_session_that_cannot_be_made_again_is_told_and_kept(mariadb_database):
    db = mariadb_database
    with db.server.connect_admin() as admin:
        admin.execute("CREATE DATABASE deploys")
        admin.execute("GRANT ALL ON deploys.* TO 'shop'@'%'")
    prepare(db, "USE deploys;\nINSERT INTO nowhere VALUES (1)")
    with pytest.raises(EverupError, match="nowhere"):
        db.migrate()
    with db.server.connect_admin() as admin:
        admin.execute("DROP DATABASE deploys")
    with pytest.raises(EverupError, match=r"^expand/2_x\.sql:2:1: .*deploys"):
        db.migrate()
    row = db.history()["2"]
    assert (row["state"], row["statements_done"]) == ("failed", 1)
    assert "deploys" in row["error"]
