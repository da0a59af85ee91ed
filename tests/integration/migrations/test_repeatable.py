"""Repeatable scripts run behind the expand scripts, in their order, and again when their text changes."""

import re

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError


@pytest.fixture
def shop(db):
    db.write("1_log.sql", "CREATE TABLE log (what varchar(20));")
    repeatable(db, "b_base.sql", "DROP VIEW IF EXISTS base;\nCREATE VIEW base AS SELECT what FROM log")
    top = "-- everup: after=b_base\nDROP VIEW IF EXISTS peak;\nCREATE VIEW peak AS SELECT what FROM base"
    repeatable(db, "a_top.sql", top.replace("after=b_base", "after=b_base.sql"))
    return db


def repeatable(db, name, text):
    db.write(name, text, phase="repeatable")


def ran(result):
    return [script["script"] for script in result["applied"]]


def test_they_run_behind_the_scripts_each_after_what_it_needs(shop):
    first = shop.migrate(release_version="2.4.0")
    assert ran(first) == ["expand/1_log.sql", "repeatable/b_base.sql", "repeatable/a_top.sql"]
    assert shop.query("SELECT count(*) FROM peak") == [(0,)]
    again = shop.migrate()
    assert (again["changed"], again["applied"], again["repeatables"]) == (False, [], [])
    (base, top) = sorted(shop.inform()["repeatable"]["applied"], key=lambda row: row["script"], reverse=True)
    assert (base["version"], base["state"], base["release_version"]) == ("b_base", "applied", "2.4.0")
    assert top["version"] == "a_top"


def test_a_changed_text_runs_again_and_only_that(shop):
    shop.migrate()
    shop.write(
        "b_base.sql", "DROP VIEW IF EXISTS peak; DROP VIEW base; CREATE VIEW base AS SELECT 'x' AS what", phase="repeatable"
    )
    planned = shop.migrate(check=True)
    assert planned["changed"]
    assert [script["script"] for script in planned["repeatables"]] == ["repeatable/b_base.sql"]
    assert ran(shop.migrate()) == ["repeatable/b_base.sql"]
    assert shop.query("SELECT what FROM base") == [("x",)]
    (row,) = [row for row in shop.inform()["repeatable"]["applied"] if row["version"] == "b_base"]
    assert row["statements_total"] == 3


def test_an_approved_plan_holds_their_text(shop):
    approved = shop.migrate(check=True)["plan_hash"]
    repeatable(shop, "b_base.sql", "CREATE VIEW base AS SELECT 'x' AS what")
    with pytest.raises(EverupError, match="the pending scripts are not the ones that were approved"):
        shop.migrate(plan_hash=approved)


def test_they_wait_while_a_target_leaves_scripts_for_later(shop):
    shop.write("2_more.sql", "CREATE TABLE more (a int)")
    assert ran(shop.migrate(target="1")) == ["expand/1_log.sql"]
    assert ran(shop.migrate(target="2")) == ["expand/2_more.sql", "repeatable/b_base.sql", "repeatable/a_top.sql"]


def test_one_that_fails_is_tried_again_from_its_start(shop):
    shop.write(
        "c_new.sql", "CREATE TABLE c_new (a int);\nCREATE VIEW c AS SELECT a FROM nowhere;\nSELECT 1 FROM c", phase="repeatable"
    )
    refused = shop.place("repeatable/c_new.sql", 3 if shop.engine == "sqlite" else 2)
    with pytest.raises(EverupError, match=f"^{re.escape(refused)}: "):
        shop.migrate()
    (row,) = shop.inform()["repeatable"]["unfinished"]
    assert (row["version"], row["state"]) == ("c_new", "failed")
    shop.write(
        "c_new.sql", "DROP TABLE IF EXISTS c_new; DROP VIEW IF EXISTS c; CREATE VIEW c AS SELECT 1 AS a", phase="repeatable"
    )
    assert ran(shop.migrate()) == ["repeatable/c_new.sql"]
    assert shop.inform()["repeatable"]["unfinished"] == []


def test_one_whose_file_is_gone_is_reported(shop):
    shop.migrate()
    (shop.folder / "repeatable" / "a_top.sql").unlink()
    assert shop.inform()["repeatable"]["missing"] == ["repeatable/a_top.sql"]


@pytest.mark.parametrize(
    ("scripts", "finding"),
    [
        (
            {"a.sql": "-- everup: after=z\nSELECT 1"},
            "repeatable/a.sql:1:1: comes after 'z', and there is no such",
        ),
        (
            {"a.sql": "-- everup: after=b\nSELECT 1", "b.sql": "-- everup: after=a\nSELECT 1"},
            "comes after itself: ",
        ),
        ({"a.sql": "SELECT 1", "A.sql": "SELECT 1"}, "repeatable/a.sql:1:1: another repeatable script has this name"),
        ({"a.sql": "SELECT 'x"}, "repeatable/a.sql:1:8: the quote ' is not closed"),
    ],
)
def test_a_bad_one_stops_the_run_before_anything_ran(shop, scripts, finding):
    for name, text in scripts.items():
        repeatable(shop, name, text)
    with pytest.raises(EverupError) as caught:
        shop.migrate()
    assert finding in str(caught.value)
    assert shop.tables() == set()


def test_only_repeatable_scripts_come_after_a_name(shop):
    shop.write("2_x.sql", "-- everup: after=1_log\nSELECT 1")
    with pytest.raises(EverupError, match="'after' is for repeatable scripts"):
        shop.migrate()


def test_families_of_versions_are_listed(shop):
    shop.migrate()
    shop.execute("CREATE VIEW base_3 AS SELECT 1 AS a")
    shop.execute("CREATE VIEW lonely_2 AS SELECT 1 AS a")
    (family,) = shop.inform()["families"]
    assert (family["name"], family["kind"]) == ("base", "view")
    assert family["versions"] == [{"name": "base", "version": 1}, {"name": "base_3", "version": 3}]
