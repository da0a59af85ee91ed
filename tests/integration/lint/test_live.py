"""The linter with a connection: it judges what is still to run, by what the schema is now."""

import json

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.modules import migration_lint
from ansible_collections.everup.deploy.tests.support.databases import run_main

ROWS = 30_000


def told(result):
    """Return rule and severity of each finding."""
    return [(finding["rule"], finding["severity"]) for finding in result["findings"]]


def rules(result):
    return [rule for rule, _severity in told(result)]


def said(result, rule):
    """Return what the linter says by way of one rule."""
    return " ".join(finding["message"] for finding in result["findings"] if finding["rule"] == rule)


def fill(db, table, rows=ROWS):
    """Make a table with many rows, counted as the engine counts."""
    db.execute(f"CREATE TABLE {table} (id integer NOT NULL PRIMARY KEY, note varchar(50))")
    numbers = {
        "postgresql": f"SELECT i, 'x' FROM generate_series(1, {rows}) AS i",
        "mariadb": f"SELECT seq, 'x' FROM seq_1_to_{rows}",
        "sqlite": f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i, 'x' FROM n",
    }
    db.execute(f"INSERT INTO {table} {numbers[db.engine]}")
    if db.engine != "sqlite":
        db.execute(f"ANALYZE {'TABLE ' if db.engine == 'mariadb' else ''}{table}")


def test_only_what_has_not_run_is_judged(db):
    db.write("1_a.sql", "CREATE TABLE a (id int)")
    db.write("2_b.sql", "DROP TABLE a")
    db.write("v.sql", "CREATE VIEW v AS SELECT 1 AS one", phase="repeatable")
    assert db.lint()["scripts"] == ["expand/1_a.sql", "expand/2_b.sql", "repeatable/v.sql"]
    db.migrate(target="1")
    second = db.lint()
    assert second["scripts"] == ["expand/2_b.sql", "repeatable/v.sql"]
    assert ("expand-drop-table", "error") in told(second)
    db.migrate()
    last = db.lint()
    assert (last["scripts"], last["findings"], last["summary"]) == ([], [], "nothing found")
    db.write("v.sql", "DROP VIEW IF EXISTS v; CREATE VIEW v AS SELECT 2 AS one", phase="repeatable")
    assert db.lint()["scripts"] == ["repeatable/v.sql"]


def test_the_folders_own_versions_count_where_they_are_given(db):
    db.write("1_a.sql", "CREATE TABLE a (id int)")
    db.write("2_b.sql", "DROP TABLE a")
    assert db.lint(since="1")["scripts"] == ["expand/2_b.sql"]
    assert db.lint(phases=["contract"])["scripts"] == []


def test_a_sqlite_file_that_is_not_there_is_empty_and_is_not_made(sqlite_database):
    sqlite_database.write("1_a.sql", "CREATE TABLE a (id int)")
    assert sqlite_database.lint()["scripts"] == ["expand/1_a.sql"]
    assert not sqlite_database.path.exists()


def test_the_linter_writes_nothing_into_the_database(db):
    db.execute("CREATE TABLE a (id int)")
    db.write("1_a.sql", "DROP TABLE a")
    before = db.tables()
    db.lint()
    assert db.tables() == before


def test_a_small_table_weighs_less_than_a_large_one(db):
    """The same statement for both: what is said of the small one is a notice that counts its rows."""
    fill(db, "large")
    fill(db, "small", rows=100)
    statement = "UPDATE {0} SET note = 'y'"
    db.write("1_large.sql", statement.format("large"))
    db.write("2_small.sql", statement.format("small"))
    result = db.lint()
    by_script = {(finding["source"], finding["rule"]): finding for finding in result["findings"]}
    large, small = (by_script[source, "update-all-rows"] for source in ("expand/1_large.sql", "expand/2_small.sql"))
    assert (large["severity"], small["severity"]) == ("warning", "notice"), result["lines"]
    assert small["message"].endswith("(small has about 100 rows)")
    assert "rows)" not in large["message"]


def test_a_table_that_was_never_analysed_is_not_small(postgresql_database):
    db = postgresql_database
    db.execute("CREATE TABLE t AS SELECT i AS id, 'some text' AS note FROM generate_series(1, 60000) AS i")
    db.write("1_t.sql", "UPDATE t SET note = 'y'")
    assert ("update-all-rows", "warning") in told(db.lint())


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_a_type_that_narrows_is_told_and_one_that_widens_is_not(request, engine):
    db = request.getfixturevalue(f"{engine}_database")
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name varchar(50), amount int)")
    change = "ALTER TABLE t MODIFY {0} {1}" if engine == "mariadb" else "ALTER TABLE t ALTER COLUMN {0} TYPE {1}"
    db.write("1_wider.sql", change.format("name", "varchar(100)"))
    db.write("2_narrower.sql", change.format("name", "varchar(20)"))
    db.write("3_wider.sql", change.format("amount", "bigint"))
    db.write("4_narrower.sql", change.format("amount", "smallint"))
    result = db.lint()
    changed = [finding["source"] for finding in result["findings"] if finding["rule"] == "expand-change-type"]
    assert changed == ["expand/2_narrower.sql", "expand/4_narrower.sql"], result["lines"]
    for name in ("1_wider.sql", "2_narrower.sql", "3_wider.sql"):
        (db.folder / "expand" / name).unlink()
    assert said(db.lint(), "expand-change-type").startswith("column amount of t goes from INT")  # the live schema's word


def test_a_column_that_may_be_null_is_known(postgresql_database):
    db = postgresql_database
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name varchar(50), CONSTRAINT named CHECK (name IS NOT NULL))")
    db.write("1_t.sql", "ALTER TABLE t ALTER COLUMN name SET NOT NULL")
    assert "set-not-null-scans" not in rules(db.lint())
    db.execute("ALTER TABLE t DROP CONSTRAINT named")
    assert [rule for rule in rules(db.lint()) if "not-null" in rule]


def test_a_view_is_compared_with_what_it_is_now(db):
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, client_id int, total int)")
    db.execute("CREATE VIEW open_orders AS SELECT id, client_id, total FROM orders WHERE total > 0")
    db.write(
        "open_orders.sql",
        "DROP VIEW IF EXISTS open_orders; CREATE VIEW open_orders AS SELECT id, total FROM orders",
        "repeatable",
    )
    assert "result column client_id is gone" in said(db.lint(), "incompatible-view")
    db.write(
        "open_orders.sql",
        "DROP VIEW IF EXISTS open_orders; CREATE VIEW open_orders AS SELECT id, client_id, total, 1 AS more FROM orders",
        "repeatable",
    )
    assert "incompatible-view" not in rules(db.lint())


def test_a_function_is_compared_with_what_it_is_now(postgresql_database):
    db = postgresql_database
    db.execute(
        "CREATE FUNCTION find_order(number text, since date DEFAULT '2020-01-01') RETURNS TABLE (id int, total int)"
        " LANGUAGE sql AS $$ SELECT 1, 2 $$"
    )
    new = "CREATE OR REPLACE FUNCTION find_order({0}) RETURNS TABLE ({1}) LANGUAGE sql AS $$ SELECT 1, 2 $$"
    db.write("find_order.sql", new.format("number text, since date", "id int"), "repeatable")
    message = said(db.lint(), "incompatible-routine")
    assert "parameter since loses its default" in message
    assert "result column total is gone" in message
    assert "Make it find_order_2" in message
    db.write(
        "find_order.sql", new.format("number text, since date DEFAULT NULL, u int DEFAULT 1", "id int, total int"), "repeatable"
    )
    assert "incompatible-routine" not in rules(db.lint())


def test_a_procedure_is_compared_with_what_it_is_now(mariadb_database):
    db = mariadb_database
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, total int)")
    db.execute("CREATE PROCEDURE find_order(IN number varchar(20)) BEGIN SELECT id, total FROM orders; END")
    new = "DELIMITER //\nCREATE OR REPLACE PROCEDURE find_order({0})\nBEGIN\n  SELECT {1} FROM orders;\nEND//\nDELIMITER ;\n"
    db.write("find_order.sql", new.format("IN number varchar(10), IN u int", "id"), "repeatable")
    message = said(db.lint(), "incompatible-routine")
    assert "parameter u is new and has no default" in message
    assert "parameter number goes from VARCHAR(20) to VARCHAR(10)" in message
    assert "result column total is gone" in message
    db.write("find_order.sql", new.format("IN number varchar(30)", "id, total, 1 AS more"), "repeatable")
    assert "incompatible-routine" not in rules(db.lint())


def test_a_view_of_the_live_schema_still_uses_what_the_contract_drops(db):
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, client_id int, note varchar(20))")
    db.execute("CREATE VIEW open_orders AS SELECT id, client_id FROM orders")
    db.write("1_orders.sql", "ALTER TABLE orders DROP COLUMN client_id", phase="contract")
    assert "open_orders" in said(db.lint(phases=["contract"]), "contract-still-used")
    db.write("1_orders.sql", "ALTER TABLE orders DROP COLUMN note", phase="contract")
    assert "contract-still-used" not in rules(db.lint(phases=["contract"]))


def test_the_source_still_uses_it(db, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "shop.py").write_text("query('SELECT old_total FROM orders')\n")
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, old_total int)")
    db.write("1_orders.sql", "ALTER TABLE orders DROP COLUMN old_total", phase="contract")
    result = db.lint(phases=["contract"], sources=[str(tmp_path / "src")])
    assert f"{tmp_path}/src/shop.py:1" in said(result, "contract-still-used")


def test_the_server_says_what_it_is(postgresql_database):
    """A constant default is written into every row before PostgreSQL 11, and the server that runs here is newer."""
    db = postgresql_database
    db.execute("CREATE TABLE t (id int)")
    db.write("1_t.sql", "ALTER TABLE t ADD COLUMN a int NOT NULL DEFAULT 0")
    new, old = rules(db.lint()), rules(db.lint(server_version="10.4"))
    assert len(old) > len(new)


def test_the_password_is_never_told(db):
    if "login_password" not in db.options:
        pytest.skip("a file has no password")
    db.write("1_a.sql", "DROP TABLE a;\n-- ${secret}\n")
    options = {**db.options, "path": str(db.folder), "live": True, "placeholders": {"secret": "hunter2"}}
    for wrong in ({}, {"login_password": "wrong-9d1f", "fail_on": "never"}, {"login_port": 1}):
        result = run_main(migration_lint, {**options, **wrong})
        assert result["failed"] is True or wrong
        printed = json.dumps({name: value for name, value in result.items() if name != "invocation"})
        for secret in (db.options["login_password"], "wrong-9d1f", "hunter2"):
            assert secret not in printed


def test_a_finding_fails_the_module_and_comes_with_it(db):
    db.execute("CREATE TABLE a (id int)")
    db.write("1_a.sql", "DROP TABLE a")
    result = run_main(migration_lint, {**db.options, "path": str(db.folder), "live": True})
    assert result["failed"] is True
    assert "expand/1_a.sql:1:1: error: table a is dropped" in result["msg"]
    assert "-- everup: allow=<rule> <reason>" in result["msg"]
    assert result["counts"]["error"] == 1
    assert result["findings"][0]["rule"] == "expand-drop-table"


def test_the_report_in_check_mode_and_as_a_difference(sqlite_database, tmp_path):
    db = sqlite_database
    db.execute("CREATE TABLE a (id int)")
    db.write("1_a.sql", "DROP TABLE a")
    report = tmp_path / "lint.sarif"
    planned = db.lint(check=True, report=str(report))
    assert (planned["changed"], report.exists()) == (True, False)
    (difference,) = planned["diff"]
    assert difference["before"] == ""
    written = db.lint(report=str(report))
    assert (written["changed"], report.read_text()) == (True, difference["after"])
    assert json.loads(report.read_text())["runs"][0]["results"][0]["ruleId"] == "expand-drop-table"
    again = db.lint(report=str(report))
    assert (again["changed"], again["diff"]) == (False, [])
    as_text = db.lint(report=str(report), report_format="text")
    assert as_text["changed"] is True
    assert report.read_text().endswith("1 error\n")


def test_a_report_that_cannot_be_written_says_so(sqlite_database, tmp_path):
    sqlite_database.execute("CREATE TABLE a (id int)")
    with pytest.raises(EverupError, match=r"The report cannot be written to .*/nowhere/lint: No such file or directory"):
        sqlite_database.lint(report=str(tmp_path / "nowhere" / "lint"))


def test_without_a_connection_no_database_is_asked(tmp_path):
    (tmp_path / "expand").mkdir()
    (tmp_path / "expand" / "1_a.sql").write_text("DROP TABLE a")
    result = run_main(migration_lint, {"engine": "sqlserver", "path": str(tmp_path), "fail_on": "never"})
    assert (result["failed"], result["summary"], result["changed"]) == (False, "1 error", False)
