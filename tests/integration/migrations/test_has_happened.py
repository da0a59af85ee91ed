"""That the catalog says of each kind of statement whether it has happened, before and after it has."""

from contextlib import closing

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import split
from ansible_collections.everup.deploy.plugins.module_utils._db.script import Directives, Script
from ansible_collections.everup.deploy.plugins.module_utils._migrations import recovery
from ansible_collections.everup.deploy.plugins.module_utils._migrations.runner import Runner

HEAD = "-- everup: transaction=none\n"
TABLES = "CREATE TABLE t (a int, b int)"
BOTH = [
    ([], TABLES),
    ([], "/* now */ create table if not exists t (a int)"),
    ([TABLES], "DROP TABLE t"),
    ([TABLES], "ALTER TABLE t RENAME TO u"),
    ([TABLES], "ALTER TABLE t ADD COLUMN c int DEFAULT 5 NOT NULL, ADD d varchar(5)"),
    ([TABLES], "ALTER TABLE t DROP COLUMN b"),
    ([TABLES], "ALTER TABLE t RENAME COLUMN b TO c"),
    ([TABLES], "ALTER TABLE t ADD CONSTRAINT few CHECK (a < 5)"),
    ([TABLES, "ALTER TABLE t ADD CONSTRAINT few CHECK (a < 5)"], "ALTER TABLE t DROP CONSTRAINT few"),
    ([TABLES], "ALTER TABLE t ADD CONSTRAINT once UNIQUE (a)"),
    ([TABLES], "ALTER TABLE t ADD PRIMARY KEY (a)"),
    ([TABLES], "CREATE UNIQUE INDEX i ON t (a)"),
    ([TABLES], "CREATE VIEW v AS SELECT a FROM t"),
    ([TABLES, "CREATE VIEW v AS SELECT a FROM t"], "DROP VIEW v"),
    ([], "CREATE SEQUENCE s"),
    (["CREATE SEQUENCE s"], "DROP SEQUENCE s"),
    ([], "CREATE SCHEMA deploys"),
    (["CREATE SCHEMA deploys"], "DROP SCHEMA deploys"),
    (["CREATE SCHEMA deploys"], "CREATE TABLE deploys.t (a int)"),
]
POSTGRESQL = [
    ([TABLES], "CREATE INDEX CONCURRENTLY i ON t (a)"),
    ([TABLES, "CREATE INDEX i ON t (a)"], "DROP INDEX CONCURRENTLY i"),
    ([TABLES, "CREATE INDEX i ON t (a)"], "ALTER INDEX i RENAME TO j"),
    ([], 'CREATE TABLE "My t" ("B" int)'),
    (['CREATE TABLE "My t" ("B" int)'], 'ALTER TABLE ONLY "My t" RENAME "B" TO c'),
    ([TABLES], "CREATE TABLE copy AS SELECT * FROM t"),
    ([], "CREATE TYPE mood AS ENUM ('good')"),
    ([], "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$"),
    (
        ["CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS $$ SELECT 2 $$"],
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $x$ SELECT 1 $x$",
    ),
    ([], "CREATE PROCEDURE p() LANGUAGE sql AS $$ SELECT 1 $$"),
    (
        [TABLES, "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"],
        "CREATE TRIGGER g BEFORE UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION f()",
    ),
]
MARIADB = [
    ([TABLES], "RENAME TABLE t TO u"),
    ([TABLES, "CREATE TABLE u (x int)"], "RENAME TABLE t TO old, u TO t"),
    ([], "CREATE TABLE `my ``t` (`select` int)"),
    (["CREATE TABLE `my ``t` (`select` int)"], "ALTER TABLE `my ``t` CHANGE `select` `from` bigint"),
    ([TABLES], "ALTER TABLE t ADD INDEX i (a), ADD KEY j (b), ALGORITHM=INPLACE, LOCK=NONE"),
    ([TABLES, "CREATE INDEX i ON t (a)"], "DROP INDEX i ON t"),
    ([TABLES, "CREATE INDEX i ON t (a)"], "ALTER TABLE t RENAME INDEX i TO j"),
    ([TABLES, "ALTER TABLE t ADD PRIMARY KEY (a)"], "ALTER TABLE t DROP PRIMARY KEY"),
    ([TABLES], "ALTER TABLE t ADD (c int, d decimal(5, 2))"),
    ([TABLES], "ALTER ONLINE TABLE t ADD COLUMN IF NOT EXISTS a int, ADD c int"),
    ([TABLES], "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1"),
    ([TABLES, "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1"], "DROP TRIGGER g"),
    ([], "CREATE DEFINER = CURRENT_USER FUNCTION f(a int) RETURNS int RETURN a + 1"),
    ([], "CREATE PROCEDURE p() SELECT 1"),
    (["CREATE PROCEDURE p() SELECT 1"], "DROP PROCEDURE p"),
    ([], "CREATE DATABASE deploys"),
    (["CREATE DATABASE deploys", "USE deploys"], TABLES),
]
CASES = [("postgresql", *case) for case in BOTH + POSTGRESQL] + [("mariadb", *case) for case in BOTH + MARIADB]


def script_of(connection, statements):
    text = ";\n".join(statements)
    return Script("expand/1_x.sql", text, "", Directives(), tuple(split(text, connection.lexis, "expand/1_x.sql")))


def ask(connection, script):
    return recovery.is_there(connection, script, len(script.statements))


@pytest.mark.parametrize(("db", "before", "statement"), CASES, indirect=["db"], ids=[f"{c[0]}-{c[2][:60]}" for c in CASES])
def test_before_and_after(db, before, statement):
    if "deploys" in statement + "".join(before) and db.engine == "mariadb":
        with db.server.connect_admin() as admin:
            admin.execute("GRANT ALL ON deploys.* TO 'shop'@'%'")
    with closing(db.engine_connection()) as connection:
        script = script_of(connection, [*before, statement])
        for earlier in script.statements[:-1]:
            connection.run_script_statement(earlier)
        connection.reset_session()
        assert ask(connection, script) is False
        if before[-1:] == ["USE deploys"]:
            connection.execute("USE deploys")
        connection.run_script_statement(script.statements[-1])
        connection.reset_session()
        assert ask(connection, script) is True


UNKNOWN = [
    ("postgresql", "DO $$ BEGIN END $$"),
    ("postgresql", "ALTER TABLE t ALTER a SET NOT NULL"),
    ("mariadb", "ALTER TABLE t MODIFY a bigint"),
    ("mariadb", "RENAME TABLE t TO x, u TO t, x TO u"),
    ("mariadb", "ALTER TABLE t DROP COLUMN a, ADD COLUMN a bigint"),
    ("mariadb", "CALL p()"),
    ("mariadb", "TRUNCATE TABLE t"),
    ("mariadb", "CREATE TEMPORARY TABLE x (a int)"),
]


@pytest.mark.parametrize(("db", "statement"), UNKNOWN, indirect=["db"], ids=[case[1] for case in UNKNOWN])
def test_what_no_catalog_can_tell(db, statement):
    db.execute(TABLES)
    db.execute("CREATE TABLE u (x int)")
    with closing(db.engine_connection()) as connection:
        assert ask(connection, script_of(connection, [statement])) is None


def interrupted_in(db, statement, happened):
    """Leave the history as a run does that was killed in the middle of the second of three statements."""
    db.write("1_t.sql", TABLES)
    db.migrate()
    db.write("2_x.sql", f"{HEAD}INSERT INTO t VALUES (1, 1);\n{statement};\nINSERT INTO t VALUES (3, 3)")
    db.write("2_x.sql", f"{HEAD}INSERT INTO t VALUES (1, 1);\n{statement};\nINSERT INTO nowhere VALUES (3)")
    if happened:
        with pytest.raises(Exception, match="nowhere"):
            db.migrate()
        db.execute("CREATE TABLE nowhere (a int)")
        db.execute("UPDATE everup_expand_history SET state = 'running', statements_done = 1 WHERE version = '2'")
        return
    db.execute("CREATE TABLE nowhere (a int)")
    db.write("3_y.sql", "SELECT nonsense")
    with pytest.raises(Exception, match="nonsense"):
        db.migrate()
    db.execute("DELETE FROM nowhere")
    db.execute("DROP INDEX i" + (" ON t" if db.engine == "mariadb" else ""))
    (db.folder / "expand/3_y.sql").unlink()
    db.execute("UPDATE everup_expand_history SET state = 'running', statements_done = 1 WHERE version = '2'")


@pytest.mark.parametrize("happened", [True, False])
@pytest.mark.parametrize("db", ["postgresql", "mariadb"], indirect=True)
def test_a_killed_run_goes_on_by_what_the_catalog_says(db, happened):
    how = "CONCURRENTLY " if db.engine == "postgresql" else ""
    interrupted_in(db, f"CREATE INDEX {how}i ON t (a)", happened)
    assert db.migrate(check=True)["pending"][0]["version"] == "2"
    db.migrate()
    assert db.history()["2"]["state"] == "applied"
    assert db.query("SELECT count(*) FROM nowhere") == [(1,)]
    assert db.query("SELECT count(*) FROM t") == [(1,)]
    found = {
        "postgresql": "SELECT count(*) FROM pg_class WHERE relname = 'i'",
        "mariadb": "SELECT count(*) FROM information_schema.statistics WHERE table_schema = database() AND index_name = 'i'",
    }
    assert db.query(found[db.engine]) == [(1,)]


@pytest.mark.parametrize("db", ["mariadb"], indirect=True)
def test_a_statement_that_found_its_work_done_is_not_taken_for_one_that_did_it(db, monkeypatch):
    """Somebody made the table by hand: killed before the error is written down, the script must fail again, not go on."""
    db.write("1_x.sql", f"{TABLES};\nINSERT INTO t VALUES (1, 1)")
    db.execute("CREATE TABLE t (another int)")

    class Killed(BaseException):
        pass

    def die(*_arguments):
        raise Killed

    monkeypatch.setattr(Runner, "_record_failure", die)
    with pytest.raises(Killed):
        db.migrate()
    monkeypatch.undo()
    with pytest.raises(Exception, match=r"1_x\.sql:1:1: .*already exists"):
        db.migrate()
    db.execute("DROP TABLE t")
    db.migrate()
    assert db.query("SELECT a FROM t") == [(1,)]
