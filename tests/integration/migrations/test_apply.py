"""Scripts are applied in order, once, and whole or not at all."""

import re
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.errors import LockTimeout
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import Ledger
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.modules import migration, migration_info
from ansible_collections.everup.deploy.tests.support.databases import TRANSACTIONAL, run_main

SCHEMAS = ("postgresql", "sqlserver")
TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def three(db):
    db.write("0001_log.sql", "CREATE TABLE log (what varchar(50));\nINSERT INTO log VALUES ('one');")
    db.write("2_two.sql", "INSERT INTO log VALUES ('two')")
    db.write("10_ten.sql", "-- nothing but a comment")
    db.write("0001_old.sql", "DROP TABLE log", phase="contract")


def log(db):
    return [what for (what,) in db.query("SELECT what FROM log")]


def test_in_order_and_only_once(db):
    three(db)
    first = db.migrate(release_version="2.4.0")
    assert first["changed"]
    assert [(s["version"], s["script"], s["statements"], s["tries"]) for s in first["applied"]] == [
        ("0001", "expand/0001_log.sql", 2, 1),
        ("2", "expand/2_two.sql", 1, 1),
        ("10", "expand/10_ten.sql", 0, 1),
    ]
    assert (first["pending"], first["current"], first["phase"]) == ([], "10", "expand")
    assert log(db) == ["one", "two"]
    row = db.history()["0001"]
    assert (row["state"], row["description"], row["statements_done"], row["statements_total"]) == ("applied", "log", 2, 2)
    assert (row["checksum"], row["release_version"], row["error"]) == (first["applied"][0]["checksum"], "2.4.0", None)
    assert TIME.fullmatch(row["started_at"]) and TIME.fullmatch(row["finished_at"])
    assert row["started_at"] <= row["finished_at"]
    assert "@" in row["applied_by"]
    assert db.events() == ["script_applied"] * 3
    again = db.migrate()
    assert (again["changed"], again["applied"], again["pending"], again["current"]) == (False, [], [], "10")
    assert log(db) == ["one", "two"]


def test_contract_follows_its_expand(db):
    three(db)
    db.migrate()
    assert db.migrate("contract")["applied"][0]["script"] == "contract/0001_old.sql"
    assert "log" not in db.tables()
    assert (db.inform()["contract"]["current"], db.inform()["expand"]["current"]) == ("0001", "10")


def test_contract_before_expand_creates_nothing(db):
    three(db)
    with pytest.raises(EverupError, match="the expand script of version 0001 has not been applied"):
        db.migrate("contract")
    assert db.tables() == set()


def test_check_mode_changes_nothing(db, tmp_path):
    three(db)
    before = sorted(tmp_path.rglob("*"))
    plan = db.migrate(check=True)
    assert plan["changed"]
    assert [script["version"] for script in plan["pending"]] == ["0001", "2", "10"]
    assert plan["applied"] == []
    assert db.inform()["expand"]["plan_hash"] == plan["plan_hash"]
    assert db.tables() == set()
    assert sorted(tmp_path.rglob("*")) == before
    assert db.migrate(plan_hash=plan["plan_hash"])["plan_hash"] == plan["plan_hash"]
    assert db.migrate(check=True)["changed"] is False


def test_an_approved_plan_is_the_only_one_that_runs(db):
    three(db)
    plan = db.migrate(check=True)
    db.write("11_new.sql", "SELECT 1")
    with pytest.raises(EverupError, match="approved was") as caught:
        db.migrate(plan_hash=plan["plan_hash"])
    assert caught.value.details["pending"][-1] == "expand/11_new.sql"
    assert db.tables() == set()


def test_the_modules_themselves(db):
    """Through Ansible's argument spec: the diff comes with --diff alone, and holds the text before placeholders."""
    text = "CREATE TABLE t (a varchar(50) DEFAULT '${word}')"
    db.write("1_t.sql", text)
    options = db.migration_options(placeholders={"word": "hunter2"})
    plan = run_main(migration, options, check_mode=True, diff=True)
    assert plan["changed"] and not plan["failed"]
    assert plan["diff"] == [{"before_header": "expand/1_t.sql", "after_header": "expand/1_t.sql", "before": "", "after": text}]
    done = run_main(migration, options)
    assert done["changed"] and "diff" not in done
    assert [script["version"] for script in done["applied"]] == ["1"]
    facts = {**db.options, "path": str(db.folder), "placeholders": {"word": "hunter2"}}
    assert run_main(migration_info, facts)["expand"]["current"] == "1"
    db.write("2_bad.sql", "nonsense")
    failed = run_main(migration, options)
    assert failed["failed"] and failed["msg"].startswith("expand/2_bad.sql:1:1: ")


def test_target(db):
    three(db)
    result = db.migrate(target="2")
    assert [script["version"] for script in result["applied"]] == ["0001", "2"]
    assert [script["version"] for script in result["beyond_target"]] == ["10"]
    assert result["current"] == "2"
    with pytest.raises(EverupError, match="target: 'x' is no version"):
        db.migrate(target="x")


def test_names_are_settings(db):
    db.write("1_a.sql", "CREATE TABLE a (b int)", phase="up")
    db.write("1_b.sql", "DROP TABLE a", phase="down")
    names = {
        "expand_folder": "up",
        "contract_folder": "down",
        "table_prefix": "x_",
        "expand_history_table": "Versions",
        **({"schema": "deploys"} if db.engine in SCHEMAS else {}),
    }
    assert db.migrate(**names)["current"] == "1"
    own = (
        "ledger",
        "lease",
        "release",
        "member",
        "event",
        "backfill",
        "usage",
        "probe",
        "trash",
        "contract_history",
        "repeatable_history",
    )
    assert db.tables() == {"a", "Versions", *(f"x_{name}" for name in own)}
    assert db.migrate(**names)["changed"] is False
    assert db.migrate("contract", **names)["current"] == "1"
    if db.engine in SCHEMAS:
        assert db.query('SELECT version FROM deploys."Versions"') == [("1",)]


def test_info_tells_everything(db):
    assert db.inform()["ledger"] is False
    three(db)
    db.write("3_gone.sql", "SELECT 1")
    db.migrate(target="3")
    (db.folder / "expand/3_gone.sql").unlink()
    db.write("2_two.sql", "INSERT INTO log VALUES ('TWO')")
    db.write("12_bad.sql", "nonsense")
    facts = db.inform()
    assert (facts["exists"], facts["ledger"], facts["engine"]) == (True, True, db.options["engine"])
    assert re.match(r"\d+\.\d+", facts["server_version"])
    expand = facts["expand"]
    assert (expand["current"], expand["missing"]) == ("3", ["expand/3_gone.sql"])
    assert [row["version"] for row in expand["applied"]] == ["0001", "2", "3"]
    assert [script["version"] for script in expand["pending"]] == ["10", "12"]
    assert expand["unfinished"] == []
    (changed,) = expand["changed_since"]
    assert changed["script"] == "expand/2_two.sql" and changed["applied_checksum"] != changed["checksum"]
    assert TIME.fullmatch(changed["applied_at"])
    assert [script["version"] for script in facts["contract"]["pending"]] == ["0001"]
    with pytest.raises(EverupError, match="the file changed after it was applied"):
        db.migrate()


@pytest.mark.parametrize("db", TRANSACTIONAL, indirect=True)
def test_a_failing_script_leaves_nothing_and_is_mended(db):
    three(db)
    db.write("3_bad.sql", "INSERT INTO log VALUES ('three');\nCREATE TABLE t (a int);\n  INSERT INTO nowhere VALUES (1);")
    place = db.place("expand/3_bad.sql", 3, 3)
    with pytest.raises(EverupError, match=f"^{re.escape(place)}: .*nowhere"):
        db.migrate()
    assert log(db) == ["one", "two"]
    assert "t" not in db.tables()
    row = db.history()["3"]
    assert (row["state"], row["statements_done"]) == ("failed", 0)
    assert row["error"].startswith(f"{place}: ")
    assert "10" not in db.history()
    assert db.events()[-1] == "script_failed"
    db.write("3_bad.sql", "INSERT INTO log VALUES ('three'), (null); nonsense")
    with pytest.raises(EverupError, match="nonsense"):
        db.migrate()
    assert db.history()["3"]["statements_total"] == 2
    db.write("3_good.sql", "INSERT INTO log VALUES ('three')")
    (db.folder / "expand/3_bad.sql").unlink()
    assert [script["version"] for script in db.migrate()["applied"]] == ["3", "10"]
    assert log(db) == ["one", "two", "three"]
    assert (db.history()["3"]["state"], db.history()["3"]["error"]) == ("applied", None)


def test_a_failed_file_that_is_renamed_to_the_same_version_runs_once(db):
    three(db)
    db.write("3_x.sql", "nonsense")
    with pytest.raises(EverupError):
        db.migrate()
    (db.folder / "expand/3_x.sql").rename(db.folder / "expand/0003_x.sql")
    db.write("0003_x.sql", "INSERT INTO log VALUES ('three')")
    db.migrate()
    db.migrate()
    assert log(db) == ["one", "two", "three"]
    assert [version for version in db.history() if version in ("3", "0003")] == ["0003"]


def test_placeholders_stay_out_of_everything_that_is_kept(db):
    db.write("1_a.sql", "CREATE TABLE t (a varchar(50));\nINSERT INTO t VALUES ('${word}')")
    db.write("2_b.sql", "-- everup: transaction=none\nSELECT 1;\nINSERT INTO ${word} VALUES (1)")
    result = None
    with pytest.raises(EverupError) as caught:
        db.migrate(placeholders={"word": "hunter2"})
    assert "${word}" in str(caught.value)
    assert db.query("SELECT a FROM t") == [("hunter2",)]
    result = [str(caught.value), caught.value.details, db.inform(placeholders={"word": "hunter2"})]
    result += db.query("SELECT * FROM everup_event") + db.query("SELECT * FROM everup_expand_history")
    assert "hunter2" not in str(result)
    assert db.migrate(placeholders={"word": "t"}, check=True)["pending"][0]["version"] == "2"
    db.migrate(placeholders={"word": "t"})
    assert db.migrate(placeholders={"word": "another"})["changed"] is False


def test_transactions_in_a_script_are_refused_before_anything_runs(db):
    three(db)
    db.write("3_begin.sql", "SELECT 1;\n  COMMIT;")
    db.write("4_begin.sql", f"-- everup: transaction=none\n{db.begin};\nSELECT 1;")
    with pytest.raises(EverupError) as caught:
        db.migrate()
    assert [finding.split(": ")[0] for finding in caught.value.details["findings"]] == [
        db.place("expand/3_begin.sql", 2, 3),
        db.place("expand/4_begin.sql", 2, 1),
    ]
    assert db.tables() == set()


def test_an_error_that_comes_with_a_row(db):
    """The first row of a statement may be fine and the second one not."""
    rows = {
        "sqlite": "SELECT json(a) FROM (SELECT '{}' AS a UNION ALL SELECT 'nonsense')",
        "postgresql": "SELECT a::int FROM (VALUES ('1'), ('nonsense')) AS t (a)",
        "mariadb": "SELECT (SELECT m FROM (SELECT 1 AS m UNION SELECT 2) AS x WHERE m > n)"
        " FROM (SELECT 1 AS n UNION ALL SELECT 0) AS t",
        "sqlserver": "SELECT CAST(a AS int) FROM (VALUES ('1'), ('nonsense')) AS t (a)",
    }
    db.write("1_x.sql", rows[db.engine])
    with pytest.raises(EverupError, match=r"^expand/1_x\.sql:1:1: "):
        db.migrate()
    assert db.history()["1"]["state"] == "failed"


def test_a_statement_time_out(db):
    slow = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        "postgresql": "SELECT pg_sleep(30)",
        "mariadb": "SELECT sleep(30)",
        "sqlserver": "WAITFOR DELAY '00:00:30'",
    }
    db.write("1_x.sql", f"-- everup: statement_timeout=200ms\nSELECT 1;\n{slow[db.engine]}")
    with pytest.raises(EverupError, match=f"{re.escape(db.place('expand/1_x.sql', 3))}: .*(time-out|timeout)"):
        db.migrate()


def test_triggers(sqlite_database):
    db = sqlite_database
    db.write(
        "1_t.sql",
        "CREATE TABLE t (a int, b int);\nCREATE TABLE log (what text);\nCREATE TRIGGER tr AFTER INSERT ON t BEGIN\n"
        "  INSERT INTO log VALUES (CASE WHEN new.a > 1 THEN 'many' ELSE 'one' END);\n  UPDATE t SET b = 1;\nEND;\n"
        "INSERT INTO t (a) VALUES (2);",
    )
    assert db.migrate()["applied"][0]["statements"] == 4
    assert log(db) == ["many"]


def test_the_operator_question_mark(postgresql_database):
    db = postgresql_database
    db.write(
        "1_j.sql",
        "CREATE TABLE j (a jsonb); -- why?\nINSERT INTO j VALUES ('{\"x\": \"it''s {1}\"}'), ('{\"y?\": 1}');\n"
        "CREATE INDEX i ON j ((a ? 'x'));\nDELETE FROM j WHERE a ? 'x' OR a ?| array['z'];",
    )
    db.migrate()
    assert db.query("SELECT a::text FROM j") == [('{"y?": 1}',)]


def test_functions_with_semicolons(postgresql_database):
    db = postgresql_database
    db.write(
        "1_f.sql",
        "CREATE FUNCTION f(n int) RETURNS int LANGUAGE plpgsql AS $body$\nBEGIN\n  n := n + 1; -- {?}\n"
        "  RETURN CASE WHEN '{}'::jsonb ? 'a' THEN 0 ELSE n END;\nEND $body$;\n"
        "CREATE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN f(41) END; END;\n"
        "DO $$ BEGIN PERFORM f(1); PERFORM g(); END $$;",
    )
    db.migrate()
    assert db.query("SELECT g()") == [(42,)]


def test_what_a_script_sets_ends_with_it(postgresql_database):
    """A search path, role or time-out of one script moves neither the ledger nor the next script."""
    db = postgresql_database
    db.execute("ALTER DATABASE " + db.name + " SET timezone = 'Asia/Tokyo'")
    db.write(
        "1_a.sql",
        "CREATE SCHEMA other;\nSET search_path = other;\nSELECT set_config('search_path', '', false);\nSET lock_timeout = 0;\n"
        "SET statement_timeout = 60000;\nSET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;",
    )
    settings = (
        "current_setting('search_path') || '|' || current_setting('statement_timeout') || '|' || current_setting('TimeZone')"
    )
    db.write("2_b.sql", f"CREATE TABLE log AS SELECT {settings} AS what")
    db.write("3_c.sql", f"-- everup: transaction=none\nSET search_path = other;\nINSERT INTO log SELECT {settings}")
    db.migrate()
    assert log(db) == ['"$user", public|0|Asia/Tokyo'] * 2
    started = datetime.strptime(db.history()["3"]["started_at"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert abs(datetime.now(timezone.utc) - started) < timedelta(minutes=10), "the ledger's times are UTC wherever the server is"
    assert db.migrate()["changed"] is False


def test_a_script_may_take_another_role(postgresql_database):
    db = postgresql_database
    with db.server.connect_admin() as admin:
        admin.execute("CREATE ROLE limited")
        admin.execute("GRANT limited TO shop")
    db.write("1_a.sql", "CREATE TABLE log AS SELECT 'x'::text AS what;\nGRANT INSERT ON log TO limited")
    db.write("2_b.sql", "SET ROLE limited;\nINSERT INTO log VALUES (current_user)")
    db.migrate()
    assert log(db) == ["x", "limited"]


def test_the_ledger_stays_where_it_is_when_the_search_path_changes(postgresql_database):
    db = postgresql_database
    db.write("1_a.sql", "SELECT 1")
    db.migrate()
    db.execute("CREATE SCHEMA shop")  # the user's own, and so the first of its search path from now on
    assert db.migrate()["changed"] is False
    db.migrate(expand_history_table="second_history", target="1")
    assert "second_history" in db.tables()
    assert db.query("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'shop'") == [(0,)]


@pytest.mark.parametrize("head", ["", "-- everup: transaction=none\n"])
def test_an_error_at_the_commit_names_the_script_and_no_value(postgresql_database, head):
    db = postgresql_database
    db.write(
        "1_t.sql",
        "CREATE TABLE t (a text);\nCREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'not %', NEW.a; END $$;\nCREATE CONSTRAINT TRIGGER c AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION f()",
    )
    db.write("2_x.sql", f"{head}SELECT 1;\nINSERT INTO t VALUES ('${{word}}')")
    with pytest.raises(EverupError, match="not") as caught:
        db.migrate(placeholders={"word": "hunter2"})
    place = "3:1" if head else "1:1"
    assert str(caught.value).startswith(f"expand/2_x.sql:{place}: PostgreSQL: ")
    assert "not ${word}" in str(caught.value)
    kept = db.query("SELECT state, error FROM everup_expand_history WHERE version = '2'")
    assert kept == [("failed", str(caught.value))]
    assert "hunter2" not in str(db.query("SELECT * FROM everup_event"))


def test_a_server_that_goes_away_does_not_hide_where(postgresql_database):
    db = postgresql_database
    db.write("1_a.sql", "SELECT 1;\n  SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(EverupError, match=r"^expand/1_a\.sql:2:3: "):
        db.migrate()


@pytest.mark.parametrize("db", TRANSACTIONAL, indirect=True)
def test_a_renamed_file_whose_first_try_is_rolled_back_has_one_row(db, monkeypatch):
    db.write("7_x.sql", "nonsense")
    with pytest.raises(EverupError):
        db.migrate()
    (db.folder / "expand/7_x.sql").unlink()
    db.write("0007_x.sql", "SELECT 1")
    real, failures = Ledger.event, [LockTimeout("busy")]

    def event(*arguments, **details):
        if failures:
            raise failures.pop()
        real(*arguments, **details)

    monkeypatch.setattr(Ledger, "event", event)
    assert db.migrate()["applied"][0]["tries"] == 2
    assert db.query("SELECT version, state FROM everup_expand_history") == [("0007", "applied")]
