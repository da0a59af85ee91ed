"""A history is changed by hand: baseline, another tool's taken over, repairs; no script runs, and every change is an event."""

import json

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._migrations.adopt import flyway_checksum
from ansible_collections.everup.deploy.plugins.modules import migration_history
from ansible_collections.everup.deploy.tests.support.databases import run_main

LEDGER = "everup_"


@pytest.fixture
def shop(db):
    db.write("V1__first.sql", "CREATE TABLE first (a int);\n")
    db.write("V2__second.sql", "CREATE TABLE second (a int);\n")
    db.write("V3__third.sql", "CREATE TABLE third (a int);\n")
    return db


def own_tables(db):
    return {table for table in db.tables() if not table.startswith(LEDGER)}


def changed(result):
    return [(change["what"], change["version"]) for change in result["changes"]]


def applied(db):
    return [version for version, row in db.history().items() if row["state"] == "applied"]


def quoted_name(db, table):
    engine = db.engine_connection()
    try:
        return engine.quote(table)
    finally:
        engine.close()


def events(db):
    return [(what, json.loads(detail)) for what, detail in db.query("SELECT what, detail FROM everup_event ORDER BY id")]


def test_a_baseline_counts_as_applied_and_runs_nothing(shop):
    planned = shop.amend("baseline", check=True, version="2")
    assert planned["changed"] and changed(planned) == [("applied", "1"), ("applied", "2")]
    assert shop.tables() == set()
    assert changed(shop.amend("baseline", version="2", reason="built by hand")) == changed(planned)
    assert own_tables(shop) == set()
    assert applied(shop) == ["1", "2"]
    assert [(what, detail["reason"]) for what, detail in events(shop)] == [("history_baseline", "built by hand")] * 2
    assert not shop.amend("baseline", version="2")["changed"]
    assert [script["version"] for script in shop.migrate()["applied"]] == ["3"]


def test_a_baseline_needs_a_script_of_its_version(shop):
    with pytest.raises(EverupError, match="There is no script of version 9; there are: 1, 2, 3"):
        shop.amend("baseline", version="9")
    with pytest.raises(EverupError, match="version is missing"):
        shop.amend("baseline")


FILL = "table: {table}\nkey: a\nset: {{a: a + 1}}\nverify: SELECT 0\n"


@pytest.fixture
def fills(shop):
    """Backfills of the scripts 2 and 3, and one of 2.5 that has no script."""
    for version, table in (("2", "second"), ("2.5", "second"), ("3", "third")):
        shop.write(f"{version}_fill.yml", FILL.format(table=table), phase="backfill")
    return shop


def finished(db):
    return [row["version"] for row in db.inform()["backfills"] if row["state"] == "finished"]


def test_a_baseline_counts_the_backfills_up_to_it(fills):
    planned = fills.amend("baseline", check=True, version="2.0")
    assert changed(planned) == [("applied", "1"), ("applied", "2"), ("finished", "2")]
    assert fills.tables() == set()
    assert changed(fills.amend("baseline", version="2", reason="old")) == changed(planned)
    detail = next(detail for _what, detail in events(fills) if detail["change"] == "finished")
    assert (detail["phase"], detail["reason"]) == ("expand", "old")
    assert finished(fills) == ["2"]
    assert not fills.amend("baseline", version="2")["changed"]
    assert changed(fills.amend("baseline", version="3")) == [("applied", "3"), ("finished", "2.5"), ("finished", "3")]
    assert (fills.migrate()["changed"], fills.backfill()["changed"]) == (False, False)


def test_a_baseline_can_leave_the_backfills_to_expand(fills):
    assert changed(fills.amend("baseline", version="2", backfills=False)) == [("applied", "1"), ("applied", "2")]
    assert finished(fills) == []
    assert changed(fills.amend("baseline", version="2")) == [("finished", "2")]


def test_a_backfill_that_has_begun_is_counted_only_by_its_own_version(fills):
    fills.amend("baseline", version="3", backfills=False)
    with pytest.raises(EverupError, match="table second does not exist"):
        fills.backfill()
    fills.execute("CREATE TABLE second (a int NOT NULL PRIMARY KEY)")
    fills.execute("INSERT INTO second VALUES (1)")
    fills.write("2_fill.yml", FILL.format(table="second").replace("SELECT 0", "SELECT 1"), phase="backfill")
    with pytest.raises(EverupError, match="1 rows are left"):
        fills.backfill()
    with pytest.raises(EverupError, match=r"^backfill/2_fill\.yml began and did not come to its end: .*mark_applied"):
        fills.amend("baseline", version="3")
    assert not fills.amend("mark_applied", version="2")["changed"]
    assert changed(fills.amend("mark_applied", version="2", backfills=True)) == [("finished", "2")]
    assert changed(fills.amend("mark_applied", version="2.5", backfills=True)) == [("finished", "2.5")]
    assert not fills.amend("mark_applied", version="2", backfills=True)["changed"]
    assert finished(fills) == ["2", "2.5"]


def test_a_script_that_is_marked_leaves_its_backfill_unless_told(fills):
    assert changed(fills.amend("mark_applied", version="2")) == [("applied", "2")]
    assert changed(fills.amend("mark_applied", version="3", backfills=True)) == [("applied", "3"), ("finished", "3")]
    assert finished(fills) == ["3"]


@pytest.mark.parametrize(
    "options", [{"action": "forget", "version": "2"}, {"action": "baseline", "version": "2", "phase": "contract"}]
)
def test_only_expand_counts_backfills(fills, options):
    fills.write("2_less.sql", "DROP TABLE first", phase="contract")
    with pytest.raises(EverupError, match="backfills is for baseline, adopt, mark_applied of the expand phase"):
        fills.amend(**options, backfills=True)
    assert {"finished"}.isdisjoint(what for what, _version in changed(fills.amend(**options)))


def test_an_adoption_counts_the_backfills_of_what_it_takes_over(fills):
    flyway(fills, ("1", "V1__first.sql", FIRST, 1), ("2", "V2__second.sql", SECOND, 1))
    assert changed(fills.amend("adopt", from_tool="flyway")) == [("applied", "1"), ("applied", "2"), ("finished", "2")]
    assert not fills.amend("adopt", from_tool="flyway")["changed"]
    assert finished(fills) == ["2"]


def test_a_checksum_is_recorded_anew(shop):
    shop.migrate()
    shop.write("V2__second.sql", "CREATE TABLE second (a int); -- a comment")
    with pytest.raises(EverupError, match="the file changed after it was applied"):
        shop.migrate()
    before = shop.history()["2"]["checksum"]
    assert changed(shop.amend("rechecksum", version="2", reason="only a comment")) == [("checksum", "2")]
    assert not shop.migrate()["changed"]
    ((what, detail),) = [event for event in events(shop) if event[0].startswith("history_")]
    assert (what, detail["before"], detail["reason"]) == ("history_rechecksum", before, "only a comment")
    assert not shop.amend("rechecksum", version="2")["changed"]
    with pytest.raises(EverupError, match="Version 9 is not in the folder"):
        shop.amend("rechecksum", version="9")


@pytest.fixture
def failed(shop):
    shop.write("V4__fourth.sql", "INSERT INTO nowhere VALUES (1)")
    with pytest.raises(EverupError):
        shop.migrate()
    return shop


def test_a_failed_script_is_marked_as_applied(failed):
    with pytest.raises(EverupError, match=r"expand/V4__fourth\.sql began and did not come to its end"):
        failed.amend("baseline", version="4")
    assert changed(failed.amend("mark_applied", version="4")) == [("applied", "4")]
    assert applied(failed) == ["1", "2", "3", "4"]
    assert failed.history()["4"]["error"] is None
    assert not failed.amend("mark_applied", version="4")["changed"]
    assert not failed.migrate()["changed"]


def test_a_failed_row_is_forgotten_and_an_applied_one_is_not(failed):
    assert changed(failed.amend("forget", version="4")) == [("forgotten", "4")]
    assert "4" not in failed.history()
    assert not failed.amend("forget", version="4")["changed"]
    with pytest.raises(EverupError, match="forgetting it would run it again"):
        failed.amend("forget", version="3")


def test_a_script_whose_file_is_gone_stops_the_run_until_it_is_forgotten(shop):
    shop.migrate()
    (shop.folder / "expand" / "V2__second.sql").unlink()
    with pytest.raises(EverupError, match=r"expand/V2__second\.sql:1:1: is in the history since .* is this an older checkout"):
        shop.migrate()
    assert not shop.migrate(ignore_missing=True)["changed"]
    assert changed(shop.amend("forget", version="2")) == [("forgotten", "2")]
    assert not shop.migrate()["changed"]


def flyway(db, *rows):
    """Each row is version, script, checksum, success and, where it is not SQL, its type."""
    names = "installed_rank int, version varchar(50), type varchar(20), script varchar(200), checksum int, success int"
    db.execute(f"CREATE TABLE flyway_schema_history ({names})")
    # The tool writes them in the order of their ranks, and no database promises to read them so.
    for rank, (version, script, checksum, success, *kind) in reversed(list(enumerate(rows))):
        values = f"{repr(version) if version else 'NULL'}, '{kind[0] if kind else 'SQL'}', '{script}', {checksum}, {success}"
        db.execute(f"INSERT INTO flyway_schema_history VALUES ({rank}, {values})")


FIRST = flyway_checksum("CREATE TABLE first (a int);\n")
SECOND = flyway_checksum("CREATE TABLE second (a int);\n")


def test_flyways_history_is_taken_over_with_its_checksums(shop):
    flyway(shop, ("1", "V1__first.sql", FIRST, 1), ("2", "V2__second.sql", SECOND, 1), (None, "R__view.sql", 7, 1))
    planned = shop.amend("adopt", check=True, from_tool="flyway")
    assert planned["mapping"] == [
        {"recorded": "V1__first.sql", "script": "expand/V1__first.sql", "version": "1", "checksum": "same"},
        {"recorded": "V2__second.sql", "script": "expand/V2__second.sql", "version": "2", "checksum": "same"},
    ]
    assert planned["left_out"] == ["R__view.sql"]
    assert own_tables(shop) == {"flyway_schema_history"} and len(shop.tables()) == 1
    assert changed(shop.amend("adopt", from_tool="flyway")) == [("applied", "1"), ("applied", "2")]
    assert [script["version"] for script in shop.migrate()["applied"]] == ["3"]
    assert own_tables(shop) == {"flyway_schema_history", "third"}
    assert not shop.amend("adopt", from_tool="flyway")["changed"]


BASELINE = "<< Flyway Baseline >>"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [("1", "V1__first.sql", FIRST, 1), ("2", "V2__second.sql", SECOND, 1), ("2", "U2__second.sql", 5, 1, "UNDO_SQL")],
            ["1"],
        ),
        (
            [
                *[("1", "V1__first.sql", FIRST, 1), ("2", "V2__second.sql", SECOND, 1), ("2.0", "U2__x.sql", 5, 1, "UNDO_SQL")],
                ("2", "V2__second.sql", SECOND, 1),
            ],
            ["1", "2"],
        ),
        ([("1", "V1__first.sql", FIRST, 1), ("9", "V9__gone.sql", 5, 1), ("9", "V9__gone.sql", 5, 1, "DELETE")], ["1"]),
        ([("2", BASELINE, "NULL", 1, "BASELINE")], ["1", "2"]),
        ([("2.5", BASELINE, "NULL", 1, "BASELINE"), ("3", "V3__third.sql", 7, 1, "JDBC")], ["1", "2", "3"]),
        ([("0", BASELINE, "NULL", 1, "BASELINE"), ("1", "V1__first.sql", FIRST, 1)], ["1"]),
        ([("2", "B2__all.sql", 5, 1, "SQL_BASELINE")], ["1", "2"]),
        ([(None, '"public"', "NULL", 1, "SCHEMA"), ("1", "V1__first.sql", FIRST, 1)], ["1"]),
    ],
)
def test_flyways_last_row_of_a_version_decides(shop, rows, expected):
    flyway(shop, *rows)
    taken = shop.amend("adopt", from_tool="flyway", accept_changed=True)
    assert ([version for _what, version in changed(taken)], taken["left_out"]) == (expected, [])
    assert applied(shop) == expected


def test_an_undo_that_failed_in_flyway_is_refused(shop):
    flyway(shop, ("1", "V1__first.sql", FIRST, 1), ("1", "U1__first.sql", 5, 0, "UNDO_SQL"))
    with pytest.raises(EverupError, match=r"U1__first\.sql has failed there"):
        shop.amend("adopt", from_tool="flyway")


@pytest.mark.parametrize(
    ("mapping", "expected", "left_out", "entries"),
    [
        ({}, ["1", "2"], [], [("db/V1__first.sql", 2), ("db/V2__second.sql", 1)]),
        ({"db/V1__first.sql": ""}, ["2"], ["db/V1__first.sql"], [("db/V2__second.sql", 1)]),
        (
            {"db/V1__first.sql::two": "3"},
            ["1", "2", "3"],
            [],
            [("db/V1__first.sql", 1), ("db/V1__first.sql::two", None), ("db/V2__second.sql", 1)],
        ),
    ],
)
def test_liquibases_change_sets_are_counted_by_file(shop, mapping, expected, left_out, entries):
    table = quoted_name(shop, "DATABASECHANGELOG")
    shop.execute(f"CREATE TABLE {table} (ID varchar(20), FILENAME varchar(200))")
    for name, file in (("one", "V1__first"), ("two", "V1__first"), ("three", "V2__second")):
        shop.execute(f"INSERT INTO {table} VALUES ('{name}', 'db/{file}.sql')")
    taken = shop.amend("adopt", from_tool="liquibase", mapping=mapping)
    assert ([version for _what, version in changed(taken)], taken["left_out"]) == (expected, left_out)
    assert sorted((match["recorded"], match.get("change_sets")) for match in taken["mapping"]) == entries
    assert {match["checksum"] for match in taken["mapping"]} == {"not comparable"}


def test_what_does_not_fit_is_refused_as_a_whole(shop):
    flyway(shop, ("1", "V1__first.sql", 12345, 1), ("2", "V2__second.sql", SECOND, 0), ("9", "V9__gone.sql", 1, 1))
    with pytest.raises(EverupError) as caught:
        shop.amend("adopt", from_tool="flyway")
    assert caught.value.details["findings"] == [
        "expand/V1__first.sql is not the text that V1__first.sql ran with: put the old text back, or set accept_changed",
        "V2__second.sql has failed there: repair it with that tool first",
        "V9__gone.sql has no script here: add the file, name its version in mapping, or set ignore_missing",
    ]
    assert shop.tables() == {"flyway_schema_history"}
    shop.execute("UPDATE flyway_schema_history SET success = 1")
    taken = shop.amend("adopt", from_tool="flyway", ignore_missing=True, accept_changed=True)
    assert changed(taken) == [("applied", "1"), ("applied", "2")]


def test_a_checksum_is_of_the_lines_without_their_ends():
    # CRC-32 of "ab" and of the empty text, by any implementation.
    assert flyway_checksum("a\nb\n") == flyway_checksum("a\nb") == 0x9E83486D - (1 << 32)
    assert flyway_checksum("") == 0


@pytest.mark.parametrize(
    ("tool", "table", "columns", "rows", "options", "expected"),
    [
        ("dbup", "SchemaVersions", "ScriptName", ["Shop.Data.V1__first.sql", "V2__second.sql"], {}, ["1", "2"]),
        ("dbup", "my_versions", "ScriptName", ["V1__first.sql"], {"from_table": "my_versions"}, ["1"]),
        ("dbmate", "schema_migrations", "version", ["1", "3"], {}, ["1", "3"]),
        ("alembic", "alembic_version", "version_num", ["ae10"], {"mapping": {"ae10": "2"}}, ["1", "2"]),
        ("alembic", "alembic_version", "version_num", ["2"], {}, ["1", "2"]),
        ("liquibase", "DATABASECHANGELOG", "ID, FILENAME", [("one", "db/V1__first.sql"), ("two", "db/V1__first.sql")], {}, ["1"]),
    ],
)
def test_other_tools_histories(shop, tool, table, columns, rows, options, expected):
    quoted = quoted_name(shop, table)
    shop.execute(f"CREATE TABLE {quoted} ({', '.join(f'{column} varchar(200)' for column in columns.split(', '))})")
    for row in rows:
        values = row if isinstance(row, tuple) else (row,)
        shop.execute(f"INSERT INTO {quoted} VALUES ({', '.join(repr(value) for value in values)})")
    taken = shop.amend("adopt", from_tool=tool, **options)
    assert [version for _what, version in changed(taken)] == expected
    assert {match["checksum"] for match in taken["mapping"]} == {"not comparable"}
    assert applied(shop) == expected
    assert {detail["tool"] for _what, detail in events(shop)} == {tool}


def test_grate_has_kept_the_whole_text(shop):
    shop.execute("CREATE TABLE runs (script_name varchar(200), text_of_script varchar(200), one_time_script int)")
    shop.execute("INSERT INTO runs VALUES ('up/V1__first.sql', 'CREATE TABLE first (a int);', 1)")
    shop.execute("INSERT INTO runs VALUES ('up/V2__second.sql', 'CREATE TABLE second (b int);', 1)")
    shop.execute("INSERT INTO runs VALUES ('views/v.sql', 'CREATE VIEW', 0)")
    with pytest.raises(EverupError, match=r"expand/V2__second\.sql is not the text that up/V2__second\.sql ran with"):
        shop.amend("adopt", from_tool="grate", from_table="runs")
    shop.execute("UPDATE runs SET text_of_script = 'CREATE TABLE second (a int);' WHERE script_name LIKE '%second%'")
    taken = shop.amend("adopt", from_tool="grate", from_table="runs")
    assert {match["checksum"] for match in taken["mapping"]} == {"same"}
    assert (applied(shop), taken["left_out"]) == (["1", "2"], ["views/v.sql"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"from_tool": "flyway"}, "The history of flyway cannot be read .*Name its table with from_table"),
        ({}, "from_tool is missing"),
    ],
)
def test_adoption_needs_a_tool_and_its_table(shop, options, message):
    with pytest.raises(EverupError, match=message):
        shop.amend("adopt", **options)


def test_the_module_shows_what_it_changes(shop):
    options = {**shop.options, "path": str(shop.folder), "action": "baseline", "version": "1"}
    result = run_main(migration_history, options, diff=True)
    assert result["diff"] == {"before": "", "after": "applied: expand/V1__first.sql\n"}
    assert result["changed"]
