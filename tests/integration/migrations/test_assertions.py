"""SQL assertions: every row that one returns is a failure, nothing that one does is kept, and each has its time."""

import xml.etree.ElementTree as ET  # of a file that this test has just written

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.modules import migration_test
from ansible_collections.everup.deploy.tests.support.databases import run_main


def assertion(db, name, text):
    db.write(name, text, phase="tests")


@pytest.fixture
def shop(db):
    db.write("1_log.sql", "CREATE TABLE log (id int, what varchar(20)); INSERT INTO log VALUES (1, 'one')")
    db.write("2_more.sql", "ALTER TABLE log ADD more int")
    db.write("2_less.sql", "ALTER TABLE log DROP COLUMN more", phase="contract")
    db.migrate(target="1")
    return db


def test_one_without_rows_passes(shop):
    assertion(shop, "always.sql", "SELECT id FROM log WHERE what IS NULL;\nSELECT id FROM log WHERE id < 0")
    result = shop.assert_all()
    assert (result["changed"], result["passed"], result["failed_assertions"]) == (False, 2, 0)
    assert [one["name"] for one in result["results"]] == [
        "tests/always.sql:1",
        f"tests/always.sql:{shop.line('tests/always.sql', 2)}",
    ]


def test_the_rows_of_a_failure_are_shown(shop):
    shop.execute("INSERT INTO log VALUES (2, NULL), (3, NULL), (4, NULL), (5, NULL), (6, NULL), (7, NULL)")
    assertion(shop, "always.sql", "SELECT 1 AS a WHERE 1 = 0;\n\nSELECT id FROM log WHERE what IS NULL ORDER BY id")
    with pytest.raises(EverupError) as caught:
        shop.assert_all()
    assert str(caught.value) == (
        f"1 of 2 assertions about the database failed:\n  tests/always.sql:{shop.line('tests/always.sql', 3)}: "
        "6 row(s) that should not be there: id=2; id=3; id=4; id=5; id=6; and 1 more"
    )
    assert caught.value.details["passed"] == 1


def test_one_that_the_database_refuses_is_a_failure_and_the_others_run(shop):
    assertion(shop, "a.sql", "SELECT ${column} FROM log; SELECT id FROM log WHERE id < 0")
    with pytest.raises(EverupError, match=r"1 of 2 .*tests/a\.sql:1: .*nowhere|1 of 2(.|\n)*\$\{column\}"):
        shop.assert_all(placeholders={"column": "nowhere"})


@pytest.mark.parametrize("change", ["INSERT INTO log VALUES (9, 'nine')", "DROP TABLE log", "-- first\n  update log SET id = 2"])
def test_one_that_changes_something_is_refused_before_any_runs(shop, change):
    if shop.engine == "sqlserver":
        pytest.skip("a batch may do what it likes there: all of it is taken back")
    assertion(shop, "a.sql", f"SELECT id FROM log WHERE id < 0;\n{change}")
    with pytest.raises(EverupError, match=r"tests/a\.sql:[23]:[13]: \w+ is no query, and an assertion only asks"):
        shop.assert_all()
    assert shop.query("SELECT id FROM log") == [(1,)]


def test_a_version_in_the_name_waits_for_its_expand_and_until_for_its_contract(shop):
    assertion(shop, "0002_more.sql", "-- everup: until=2\nSELECT id FROM log WHERE more < 0")
    assert shop.assert_all()["not_due"] == ["tests/0002_more.sql"]
    shop.migrate()
    assert shop.assert_all()["passed"] == 1
    shop.migrate("contract")
    assert shop.assert_all()["not_due"] == ["tests/0002_more.sql"]


@pytest.mark.parametrize(("state", "done", "over"), [("failed", 1, True), ("running", 0, True), ("failed", 0, False)])
def test_until_is_over_once_its_contract_script_has_begun_to_take_away(shop, state, done, over):
    assertion(shop, "0002_more.sql", "-- everup: until=2\nSELECT id FROM log WHERE more < 0")
    shop.migrate()
    shop.write("2_less.sql", "DROP TABLE nowhere", phase="contract")
    with pytest.raises(EverupError, match="nowhere"):
        shop.migrate("contract")
    shop.execute(f"UPDATE everup_contract_history SET state = '{state}', statements_done = {done}")
    result = shop.assert_all()
    assert (result["not_due"] == ["tests/0002_more.sql"], result["passed"]) == (over, 0 if over else 1)


def test_a_database_without_a_ledger_is_only_asked_what_always_holds(db):
    assertion(db, "0001_x.sql", "SELECT nothing")
    assertion(db, "x.sql", "SELECT 1 AS a WHERE 1 = 0")
    assert db.assert_all()["passed"] == 1
    assert db.tables() == set()


def test_a_bad_file_is_refused_by_place(shop):
    assertion(shop, "a.sql", "SELECT 'x")
    with pytest.raises(EverupError, match=r"tests/a\.sql:1:8: the quote ' is not closed"):
        shop.assert_all()


def test_results_as_junit(shop, tmp_path):
    assertion(shop, "a.sql", "SELECT id FROM log; SELECT id FROM log WHERE id < 0")
    file = tmp_path / "junit.xml"
    options = {**shop.options, "path": str(shop.folder), "junit": str(file)}
    result = run_main(migration_test, options)
    assert result["failed"] and result["failed_assertions"] == 1
    (suite,) = ET.parse(file).getroot()  # noqa: S314 - written a moment ago
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("tests/a.sql", "2", "1")
    (failure,) = suite.iter("failure")
    assert failure.get("message") == "1 row(s) that should not be there: id=1"
    with pytest.raises(EverupError, match=r"The results cannot be written to /nowhere/x\.xml"):
        shop.assert_all(junit="/nowhere/x.xml")


def test_rows_are_shown_without_the_values_of_placeholders(shop):
    assertion(shop, "a.sql", "SELECT '${token}' AS token, id FROM log")
    with pytest.raises(EverupError) as caught:
        shop.assert_all(placeholders={"token": "s3cr3t-w0rd"})
    assert "token=${token}" in str(caught.value)
    assert "s3cr3t" not in str(caught.value) + str(caught.value.details)
