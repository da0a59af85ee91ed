"""Scripts outside a transaction: what was done is known after every statement."""

from hashlib import sha256

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError

TABLES = "CREATE TABLE log (what text);"
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
    with pytest.raises(EverupError, match=r"^expand/2_x\.sql:3:1: "):
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


@pytest.fixture
def interrupted(db):
    """The second of three statements was in flight."""
    prepare(db, "INSERT INTO log VALUES ('a');\nINSERT INTO nowhere VALUES (1);\nINSERT INTO log VALUES ('c')")
    with pytest.raises(EverupError):
        db.migrate()
    db.execute("CREATE TABLE nowhere (a int)")
    interrupt(db, 1)
    return db


def test_interrupted_is_not_guessed(interrupted):
    for check in (True, False):
        with pytest.raises(EverupError) as caught:
            interrupted.migrate(check=check)
        (finding,) = caught.value.details["findings"]
        assert "was interrupted after 1 of 3 statements" in finding
        assert "statement 2 (line 3: INSERT INTO nowhere VALUES (1);) may or may not have happened" in finding
        assert "repair=applied" in finding and "repair=retry" in finding
    assert log(interrupted) == ["a"]


@pytest.mark.parametrize(("repair", "rows"), [("applied", 0), ("retry", 1)])
def test_interrupted_and_repaired(interrupted, repair, rows):
    interrupted.migrate(repair=repair)
    assert log(interrupted) == ["a", "c"]
    assert interrupted.query("SELECT count(*) FROM nowhere") == [(rows,)]
    assert interrupted.history()["2"]["state"] == "applied"


def test_interrupted_in_the_last_statement(db):
    prepare(db)
    db.migrate()
    interrupt(db, 2)
    db.migrate(repair="applied")
    assert log(db) == ["a", "b", "c"]
    assert db.history()["2"]["statements_done"] == 3


def test_idempotent_goes_on_by_itself(db):
    prepare(db, head=HEAD + "-- everup: idempotent\n")
    db.migrate()
    interrupt(db, 1)
    db.migrate()
    assert log(db) == ["a", "b", "c", "b", "c"]


def test_a_second_crash_is_told_apart_from_the_first(interrupted):
    """While it goes on, the row says that it runs and where: each statement writes down what the row says meanwhile."""
    db = interrupted
    columns = "state || ' ' || statements_done"
    db.write(
        "2_x.sql",
        HEAD + f"INSERT INTO log VALUES ('a');\nINSERT INTO nowhere VALUES (1);\n"
        f"INSERT INTO log SELECT {columns} FROM everup_expand_history WHERE version = '2'",
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
