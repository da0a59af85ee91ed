"""Backfills on real servers: every row once, along any key, to an end that is checked."""

import json
import re
from contextlib import closing

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.modules import backfill, migration_info
from ansible_collections.everup.deploy.tests.support.databases import run_main

FILL = """
table: orders
key: id
set:
  profile_id: client_id
where: profile_id IS NULL
pause: 0s
batch: 10
"""
TABLE = "CREATE TABLE orders (id int NOT NULL PRIMARY KEY, client_id int, profile_id int)"


def rows(first, last):
    return ", ".join(f"({number}, {number + 1000}, NULL)" for number in range(first, last + 1))


@pytest.fixture
def orders(db):
    """A hundred rows to fill."""
    db.execute(TABLE)
    db.execute(f"INSERT INTO orders VALUES {rows(1, 100)}")
    db.write("0007_fill.yml", FILL, phase="backfill")
    return db


def wrong(db):
    return db.query("SELECT count(*) FROM orders WHERE profile_id IS NULL OR profile_id <> client_id")[0][0]


def test_every_row_is_filled_once(orders):
    result = orders.backfill(release_version="2.4.0")
    assert (result["changed"], result["finished"]) == (True, True)
    facts = result["backfill"]
    assert (facts["state"], facts["rows"], facts["rows_seen"], facts["percent"]) == ("finished", 100, 100, 100)
    assert facts["rows_left"] == 0
    assert facts["batches"] > 3, "one batch shows nothing"
    assert re.match(r"backfill/0007_fill\.yml: finished, 100 rows looked at, 100 changed, none left", facts["progress"])
    assert wrong(orders) == 0
    assert orders.events() == ["backfill_started", "backfill_ended"]
    again = orders.backfill()
    assert (again["changed"], again["finished"], again["backfill"]) == (False, True, None)
    (told,) = orders.inform()["backfills"]
    assert (told["state"], told["release_version"], told["finished_at"] is None) == ("finished", "2.4.0", False)


def test_slices_go_on_where_the_last_one_stopped(orders):
    seen = []
    for _slice in range(40):
        result = orders.backfill(slice="0s")
        seen.append(result["backfill"]["rows_seen"])
        if result["finished"]:
            break
    assert seen[0] == 10 and seen == sorted(seen) and seen[-1] == 100
    assert len(seen) > 4
    assert wrong(orders) == 0


def test_check_mode_plans_and_changes_nothing(orders):
    before = orders.tables()
    plan = run_main(backfill, orders.backfill_options(), check_mode=True, diff=True)
    assert (plan["changed"], plan["finished"], plan["backfill"]["state"]) == (True, False, "pending")
    assert plan["backfill"]["estimate"] is None or plan["backfill"]["estimate"] >= 0
    (shown,) = plan["diff"]
    assert ":first" in shown["after"] and ":last" in shown["after"] and "profile_id IS NULL" in shown["after"]
    assert "?" not in shown["after"]
    assert orders.tables() == before
    assert wrong(orders) == 100
    done = run_main(backfill, orders.backfill_options())
    assert done["changed"] and "diff" not in done
    assert run_main(migration_info, orders.backfill_options())["backfills"][0]["state"] == "finished"


KEYS = {
    "text": ("code varchar(40) NOT NULL", "code", lambda n: f"'{'Ää b' * (n % 3)}x{n:03d}''-'"),
    "composite": ("a int NOT NULL, b varchar(20) NOT NULL", "a, b", lambda n: f"{n // 7}, 'k{n % 7}'"),
    "decimal": ("amount decimal(20, 4) NOT NULL", "amount", lambda n: f"{n - 50}.{n % 10}125"),
    "time": ("moment {time} NOT NULL", "moment", lambda n: f"'2026-11-20 10:00:{n % 60:02d}.{n:06d}'"),
    "three": ("a int NOT NULL, b int NOT NULL, c int NOT NULL", "a, b, c", lambda n: f"{n // 30}, {n // 6 % 5}, {n % 6}"),
    "big": ("id bigint NOT NULL", "id", lambda n: f"{9007199254740993 + n}"),
    "uuid": ("id {uuid} NOT NULL", "id", lambda n: f"'{n * 2654435761 % 2**32:08x}-0000-4000-8000-{n:012x}'"),
}

TYPES = {
    "postgresql": {"time": "timestamp", "uuid": "uuid"},
    "sqlserver": {"time": "datetime2(6)", "uuid": "uniqueidentifier"},
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_all_kinds(db, kind):
    columns, key, value = KEYS[kind]
    columns = columns.format(**TYPES.get(db.engine, {"time": "datetime(6)", "uuid": "uuid"}))
    db.execute(f"CREATE TABLE things ({columns}, done int NOT NULL, PRIMARY KEY ({key}))")
    db.execute("INSERT INTO things VALUES " + ", ".join(f"({value(n)}, 0)" for n in range(120)))
    db.write("1_count.yml", COUNT.format(key=key), phase="backfill")
    for _slice in range(60):
        # Each slice takes the watermark from the ledger, where it has been JSON.
        if (result := db.backfill(slice="0s"))["finished"]:
            break
    assert db.query("SELECT done, count(*) FROM things GROUP BY done") == [(1, 120)]
    assert result["backfill"]["batches"] > 3
    assert len(result["backfill"]["watermark"]) == len(key.split(","))


COUNT = """
table: things
key: [{key}]
set: {{done: done + 1}}
batch: {{start: 11, most: 30}}
pause: 0s
verify: SELECT count(*) FROM things WHERE done = 0
"""


@pytest.mark.parametrize(
    "range_",
    [
        ":range(t)",
        "(t.a > :first_a OR t.a = :first_a AND t.b >= :first_b) AND (t.a < :last_a OR t.a = :last_a AND t.b <= :last_b)",
    ],
)
def test_a_whole_statement_with_a_join(db, range_):
    db.execute("CREATE TABLE t (a int NOT NULL, b int NOT NULL, name varchar(9), n int, PRIMARY KEY (a, b))")
    db.execute("CREATE TABLE names (b int PRIMARY KEY, name varchar(9))")
    db.execute("INSERT INTO names VALUES (0, 'zero'), (1, 'one'), (2, ':range')")
    db.execute("INSERT INTO t VALUES " + ", ".join(f"({n // 3}, {n % 3}, NULL, 0)" for n in range(60)))
    join = "UPDATE t SET n = n + 1, name = names.name FROM names WHERE names.b = t.b AND t.name IS NULL AND " + range_
    portable = f"UPDATE t SET n = n + 1, name = (SELECT name FROM names WHERE names.b = t.b) WHERE {range_}"
    statement = join if db.engine in ("postgresql", "sqlite") else portable
    definition = {
        "table": "t",
        "key": ["a", "b"],
        "sql": f"{statement} -- ':range'",
        "verify": "SELECT count(*) FROM t WHERE n <> 1",
        "batch": 7,
    }
    db.write("1_names.yml", json.dumps(definition), phase="backfill")
    assert db.backfill()["finished"]
    found = db.query("SELECT name, n, count(*) FROM t GROUP BY name, n ORDER BY name")
    assert found == [(":range", 1, 20), ("one", 1, 20), ("zero", 1, 20)]


def test_a_table_that_grows_meanwhile_comes_to_an_end(orders):
    """Rows that are added behind the end go into one more sweep; those added during that sweep are left to triggers."""
    orders.backfill(slice="0s")
    orders.execute(f"INSERT INTO orders VALUES {rows(101, 130)}")
    batches = 0
    while not (result := slice_of(orders))["finished"]:
        batches += 1
        assert batches < 40
    assert result["backfill"]["rows"] == 130
    assert wrong(orders) == 0


def slice_of(db, **options):
    return db.backfill(slice="0s", **options)


def test_the_second_sweep_is_the_last(orders):
    last = 100
    for _slice in range(60):
        first, last = last + 1, last + 40
        orders.execute(f"INSERT INTO orders VALUES {rows(first, last)}")
        try:
            slice_of(orders)
        except EverupError as error:
            assert re.search(r"\d+ rows are left by its verify query", str(error))
            break
    else:
        raise AssertionError("it runs behind the new rows for ever")


def test_rows_that_are_left_are_an_error(orders):
    orders.execute("INSERT INTO orders VALUES (200, NULL, NULL), (201, NULL, NULL)")
    with pytest.raises(EverupError, match=r"0007_fill\.yml: 2 rows are left by its verify query") as caught:
        orders.backfill()
    assert caught.value.details["rows_left"] == 2
    (told,) = orders.inform()["backfills"]
    assert (told["state"], told["rows_left"]) == ("incomplete", 2)
    with pytest.raises(EverupError, match="2 rows are left"):
        orders.backfill()
    orders.execute("UPDATE orders SET client_id = 5 WHERE id = 200")
    with pytest.raises(EverupError, match="2 rows are left"):
        orders.backfill()
    with pytest.raises(EverupError, match="1 rows are left"):
        orders.backfill(repair="retry")
    orders.execute("DELETE FROM orders WHERE id = 201")
    assert orders.backfill()["finished"]
    assert wrong(orders) == 0


def test_an_empty_table_is_finished(db):
    db.execute(TABLE)
    db.write("0007_fill.yml", FILL, phase="backfill")
    result = db.backfill()
    assert (result["changed"], result["finished"], result["backfill"]["rows_seen"]) == (True, True, 0)


def test_edited_definitions(orders):
    slice_of(orders)
    edited = FILL.replace("profile_id: client_id", "profile_id: client_id + 0")
    orders.write("0007_fill.yml", edited, phase="backfill")
    with pytest.raises(EverupError, match=r"0007_fill\.yml:1:1: the file changed after 10 rows .*repair=retry"):
        orders.backfill()
    assert wrong(orders) == 90
    assert orders.backfill(repair="retry")["backfill"]["rows_seen"] == 100
    orders.write("0007_fill.yml", FILL, phase="backfill")
    for repair in (None, "retry"):
        with pytest.raises(EverupError, match="the file changed after it finished at"):
            orders.backfill(repair=repair)


def test_a_failure_keeps_what_was_done_and_goes_on(orders):
    orders.execute("CREATE TABLE guard (id int NOT NULL PRIMARY KEY)")
    orders.execute("INSERT INTO guard VALUES (41)")
    text = FILL.replace("client_id\n", "client_id + 0 * (SELECT ${word} FROM guard)\n")
    orders.write("0007_fill.yml", text, phase="backfill")
    slice_of(orders, placeholders={"word": "id"})
    orders.execute("DROP TABLE guard")
    with pytest.raises(EverupError, match=r"^backfill/0007_fill\.yml: .*guard"):
        orders.backfill(placeholders={"word": "id"})
    (told,) = orders.inform(placeholders={"word": "id"})["backfills"]
    assert (told["state"], told["rows_seen"]) == ("failed", 10)
    assert "guard" in told["error"]
    orders.execute("CREATE TABLE guard (id int NOT NULL PRIMARY KEY)")
    orders.execute("INSERT INTO guard VALUES (41)")
    result = orders.backfill(placeholders={"word": "id"})
    assert (result["finished"], result["backfill"]["rows"]) == (True, 100)
    assert (wrong(orders), result["backfill"]["error"]) == (0, None)


def test_placeholder_values_are_kept_nowhere(orders):
    orders.write("0007_fill.yml", FILL.replace("client_id\n", "client_id + ${word}\n"), phase="backfill")
    secret = {"placeholders": {"word": "hunter2"}}
    with pytest.raises(EverupError, match=re.escape("${word}")) as caught:
        orders.backfill(**secret)
    shown = run_main(backfill, orders.backfill_options(**secret), check_mode=True, diff=True)
    kept = [caught.value.details, str(caught.value), shown["diff"], orders.query("SELECT * FROM everup_backfill")]
    kept += orders.query("SELECT * FROM everup_event")
    assert "hunter2" not in repr(kept)
    assert "hunter2" not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("table: orders", "table: nowhere"), "table nowhere does not exist"),
        (("key: id", "key: number"), "has no column number; it has id, client_id, profile_id"),
        (("profile_id: client_id", "profil_id: client_id"), "has no column profil_id"),
        (("key: id", "key: client_id"), "the key column client_id may be NULL"),
    ],
)
def test_what_does_not_fit_the_table_is_refused(orders, change, message):
    orders.write("0007_fill.yml", FILL.replace(*change), phase="backfill")
    with pytest.raises(EverupError, match=message):
        orders.backfill()
    assert wrong(orders) == 100


def test_a_key_without_an_index_is_refused(db):
    db.execute("CREATE TABLE orders (id int NOT NULL, client_id int NOT NULL, profile_id int, PRIMARY KEY (client_id, id))")
    with closing(db.engine_connection()) as engine:
        assert engine.has_index("orders", ["id"]) is False
        assert engine.has_index("orders", ["client_id"]) and engine.has_index("orders", ["client_id", "id"])
        assert engine.has_index("orders", ["id", "client_id"]) is False
    db.write("0007_fill.yml", FILL, phase="backfill")
    with pytest.raises(EverupError, match="has no index that begins with id in this order"):
        db.backfill()


def test_a_throttle_makes_it_wait(orders):
    orders.execute("CREATE TABLE load_now (n int)")
    orders.execute("INSERT INTO load_now VALUES (9)")
    text = FILL + "throttle: {query: SELECT max(n) FROM load_now, most: 5, every: 50ms}\n"
    orders.write("0007_fill.yml", text, phase="backfill")
    result = orders.backfill(slice="300ms")
    assert (result["changed"], result["finished"], result["backfill"]["rows_seen"]) == (False, False, 0)
    assert result["backfill"]["waiting"] == "throttle.query says 9, at most 5"
    assert "waiting: throttle.query says 9, at most 5" in result["backfill"]["progress"]
    orders.execute("UPDATE load_now SET n = 5")
    assert orders.backfill()["finished"]
    orders.write("0008_fill.yml", text.replace("max(n)", "NULL"), phase="backfill")
    with pytest.raises(EverupError, match=r"0008_fill\.yml: throttle\.query must return one row with one number"):
        orders.backfill()


def test_a_throttle_that_the_engine_cannot_tell_is_refused(sqlite_database):
    db = sqlite_database
    db.execute(TABLE)
    db.write("0007_fill.yml", FILL + "throttle: {lag: 1s}\n", phase="backfill")
    db.execute(f"INSERT INTO orders VALUES {rows(1, 9)}")
    with pytest.raises(EverupError, match=r"throttle\.lag: sqlite does not tell"):
        db.backfill()


def test_a_throttle_by_load(postgresql_database):
    db = postgresql_database
    db.execute(TABLE)
    db.execute(f"INSERT INTO orders VALUES {rows(1, 9)}")
    db.write("0007_fill.yml", FILL + "throttle: {load: 0, lag: 5s, every: 20ms}\n", phase="backfill")
    with db.connect() as other:
        other.execute("BEGIN")
        other.execute("SELECT 1 FROM orders")
        assert "1 other sessions are at work" in db.backfill(slice="100ms")["backfill"]["waiting"]
        other.execute("COMMIT")
        for _slice in range(20):  # other tests' servers are not ours, but autovacuum is
            if db.backfill(slice="200ms")["finished"]:
                return
    raise AssertionError("it waits for nobody")


def test_after_its_expand_script_and_before_its_contract_script(orders):
    orders.write("0007_x.sql", "CREATE TABLE extra (a int)")
    orders.write("0007_x.sql", "DROP TABLE extra", phase="contract")
    assert orders.backfill(check=True)["changed"]
    with pytest.raises(EverupError, match=r"0007_fill\.yml:1:1: the expand script of version 0007 has not been applied"):
        orders.backfill()
    orders.migrate()
    with pytest.raises(EverupError, match=r"contract/0007_x\.sql:1:1: backfill/0007_fill\.yml has not begun"):
        orders.migrate("contract")
    slice_of(orders)
    with pytest.raises(EverupError, match=r"0007_fill\.yml is 'running' after 10 rows"):
        orders.migrate("contract", check=True)
    orders.backfill()
    orders.execute("UPDATE orders SET profile_id = NULL WHERE id < 4")
    with pytest.raises(EverupError, match=r"3 rows are left to do by the verify query of backfill/0007_fill\.yml"):
        orders.migrate("contract")
    orders.execute("UPDATE orders SET profile_id = client_id")
    assert orders.migrate("contract")["current"] == "0007"
    assert orders.migrate("contract")["changed"] is False


@pytest.mark.parametrize(("state", "done"), [("failed", 1), ("running", 1), ("running", 0)])
def test_a_contract_script_that_was_stopped_in_the_middle_goes_on(orders, state, done):
    """What it has dropped already is what the verify query would ask for."""
    if not done and orders.transactional:
        pytest.skip("here a statement and its count commit together")
    orders.write("0007_x.sql", "CREATE TABLE extra (a int)")
    text = "-- everup: transaction=none\nALTER TABLE orders DROP COLUMN profile_id;\nINSERT INTO nowhere VALUES (1)"
    orders.write("0007_x.sql", text, phase="contract")
    orders.migrate()
    orders.backfill()
    with pytest.raises(EverupError, match=f"{re.escape(orders.place('contract/0007_x.sql', 3))}: .*nowhere"):
        orders.migrate("contract")
    orders.execute(f"UPDATE everup_contract_history SET state = '{state}', statements_done = {done}")
    orders.execute("CREATE TABLE nowhere (a int)")
    assert orders.migrate("contract", check=True)["changed"]
    assert orders.migrate("contract")["current"] == "0007"
    assert orders.query("SELECT a FROM nowhere") == [(1,)]


def test_a_contract_script_that_failed_before_its_first_statement_is_asked_again(orders):
    orders.write("0007_x.sql", "CREATE TABLE extra (a int)")
    orders.write("0007_x.sql", "DROP TABLE nowhere", phase="contract")
    orders.migrate()
    orders.backfill()
    with pytest.raises(EverupError, match="nowhere"):
        orders.migrate("contract")
    orders.execute("UPDATE orders SET profile_id = NULL WHERE id < 4")
    with pytest.raises(EverupError, match="3 rows are left to do by the verify query"):
        orders.migrate("contract")


def test_a_verify_query_that_the_database_refuses_is_named_and_shows_no_placeholder(orders):
    text = FILL + "verify: SELECT count(*) FROM ${word} WHERE profile_id IS NULL\n"
    orders.write("0007_fill.yml", text, phase="backfill")
    orders.write("0007_x.sql", "CREATE TABLE extra (a int)")
    orders.write("0007_x.sql", "DROP TABLE extra", phase="contract")
    orders.migrate(placeholders={"word": "orders"})
    orders.backfill(placeholders={"word": "orders"})
    with pytest.raises(EverupError, match=r"^backfill/0007_fill\.yml: verify: .*\$\{word\}") as caught:
        orders.migrate("contract", placeholders={"word": "hunter2"})
    shown = repr([str(caught.value), caught.value.details, caught.value.__cause__])
    assert "hunter2" not in shown
    assert caught.value.__suppress_context__


def test_versions_in_order_and_a_target(orders):
    orders.write(
        "0010_more.yml", FILL.replace("client_id\n", "client_id + 1\n").replace("IS NULL", "= client_id"), phase="backfill"
    )
    orders.write("0009_late.sql", "not a definition", phase="expand")
    (orders.folder / "expand/0009_late.sql").unlink()
    assert orders.backfill(target="7")["finished"]
    assert wrong(orders) == 0
    result = orders.backfill()
    assert [facts["state"] for facts in result["backfills"]] == ["finished", "finished"]
    assert wrong(orders) == 100


def test_findings_of_a_folder_are_listed_at_once(orders):
    orders.write("0007_again.yml", FILL, phase="backfill")
    orders.write("nonsense.yml", FILL, phase="backfill")
    orders.write("0008_x.yml", FILL + "wher: x\n", phase="backfill")
    orders.write("0009_x.sql", "UPDATE orders SET id = 1", phase="backfill")
    orders.write("old/0010_x.yaml", FILL, phase="backfill")
    for run in (orders.backfill, orders.migrate, orders.inform):
        with pytest.raises(EverupError) as caught:
            run()
        message = str(caught.value)
        assert "backfill/0007_fill.yml:1:1: version 0007 is taken by backfill/0007_again.yml" in message
        assert "backfill/nonsense.yml:1:1: the name is not VERSION_description.yml" in message
        assert "backfill/0008_x.yml:9:1: 'wher' is unknown: did you mean 'where'?" in message
        assert "backfill/0009_x.sql:1:1: a backfill is a .yml file" in message
        assert "backfill/old:1:1: scripts in a subfolder are not run: move them up" in message
    assert wrong(orders) == 100
