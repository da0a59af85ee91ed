"""Columns that a contract drops: the application writes on, and the column comes back with what it held."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support.trash import build, contract, mostly_on, rows, shape, states

NOTES = [("n cup",), ("n pot",), ("n tea",)]
SERVERS = ("postgresql", "mariadb")


def drop(*columns):
    return ";\n".join(f"ALTER TABLE orders DROP COLUMN {column}" for column in columns)


def insert(db, item="jug"):
    db.execute(f"INSERT INTO orders (item) VALUES ('{item}')")


def notes(db, column="note"):
    return sorted(db.query(f"SELECT {column} FROM orders WHERE item IN ('tea', 'cup', 'pot')"))


def test_a_column_comes_back_with_what_it_held(db):
    build(db)
    before, held = shape(db, "orders"), rows(db, "orders")
    result = contract(db, drop("note"))
    assert [(one["kind"], one["object"].split(".")[-1]) for one in result["kept"]] == [("column", "note")]
    insert(db)
    result = db.trash("restore", "orders.note")
    assert any("Rows written since the contract hold NULL" in warning for warning in result["warnings"])
    assert shape(db, "orders") == before
    assert notes(db) == NOTES and db.query("SELECT note FROM orders WHERE item = 'jug'") == [(None,)]
    assert [row for row in rows(db, "orders") if row in held] == held


@pytest.mark.parametrize("db", ["mariadb"], indirect=True)
def test_a_kept_column_is_not_seen_where_the_engine_can_hide_it(db):
    build(db)
    contract(db, drop("note"))
    assert len(rows(db, "orders")[0]) == 5
    db.execute("INSERT INTO orders VALUES (9, 'jug', 1, NULL, NULL)")


@pytest.mark.parametrize("db", ["postgresql", "sqlite"], indirect=True)
def test_a_kept_column_stays_visible_elsewhere(db):
    build(db)
    contract(db, drop("note"))
    assert len(rows(db, "orders")[0]) == 6


@mostly_on("postgresql")
def test_a_column_with_a_default_goes_on_having_it(db):
    if db.engine == "sqlserver":
        pytest.skip("there the default is a constraint, and goes first")
    build(db)
    db.execute("ALTER TABLE orders ADD grade int NOT NULL DEFAULT 5")
    before = shape(db, "orders")
    contract(db, drop("grade"))
    insert(db)
    result = db.trash("restore", "orders.grade")
    assert any("hold its default" in warning for warning in result["warnings"])
    assert shape(db, "orders") == before
    assert db.query("SELECT DISTINCT grade FROM orders") == [(5,)]


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_not_null_comes_back_only_when_no_row_is_without(db):
    build(db)
    before = shape(db, "orders")
    contract(db, "DROP TRIGGER orders_logged ON orders;\n" + drop("item"))
    db.execute("INSERT INTO orders (amount) VALUES (1)")
    result = db.trash("restore", "orders.item")
    assert any("NOT NULL of item" in warning and 'ALTER COLUMN "item" SET NOT NULL' in warning for warning in result["warnings"])
    db.execute("UPDATE orders SET item = 'x' WHERE item IS NULL")
    db.execute("ALTER TABLE orders ALTER COLUMN item SET NOT NULL")
    assert shape(db, "orders") == [row for row in before if row[0] != "trigger"]


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_not_null_comes_back_where_every_row_has_a_value(db):
    build(db)
    db.execute("DROP TRIGGER orders_logged ON orders")
    before = shape(db, "orders")
    contract(db, drop("item"))
    result = db.trash("restore", "orders.item")
    assert not any("was not put back" in warning for warning in result["warnings"])
    assert shape(db, "orders") == before


@pytest.mark.parametrize("db", ["mariadb"], indirect=True)
def test_a_stand_in_for_a_value_that_must_be_there(db):
    build(db)
    db.execute("DROP TRIGGER orders_logged")
    before = shape(db, "orders")
    contract(db, drop("item"))
    db.execute("INSERT INTO orders (amount) VALUES (1)")
    result = db.trash("restore", "orders.item")
    assert any("hold '' as a stand-in" in warning for warning in result["warnings"])
    assert shape(db, "orders") == before
    assert sorted(db.query("SELECT item FROM orders")) == [("",), ("cup",), ("pot",), ("tea",)]


@pytest.mark.parametrize("db", SERVERS, indirect=True)
def test_a_unique_column_without_a_default_keeps_its_index(db):
    build(db)
    before = shape(db, "orders")
    contract(db, drop("code"))
    insert(db)
    insert(db, "jar")
    assert not any("was not put back" in warning for warning in db.trash("restore", "orders.code")["warnings"])
    assert shape(db, "orders") == before


@pytest.mark.parametrize("db", SERVERS, indirect=True)
def test_a_unique_column_with_a_default_does_not_keep_rows_out(db):
    build(db)
    db.execute("ALTER TABLE orders ADD slot int DEFAULT 1")
    db.execute("UPDATE orders SET slot = id * 10")
    db.execute("CREATE UNIQUE INDEX orders_slot ON orders (slot)")
    contract(db, drop("slot"))
    insert(db)
    insert(db, "jar")
    result = db.trash("restore", "orders.slot")
    assert any("unique index orders_slot of" in warning and "was not put back" in warning for warning in result["warnings"])
    assert sorted(db.query("SELECT slot FROM orders")) == [(1,), (1,), (10,), (20,), (30,)]


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_constraints_of_a_kept_column_are_taken_off_and_put_back(db):
    build(db)
    db.execute("ALTER TABLE bills ADD CONSTRAINT sane CHECK (total > id AND total IS NOT NULL)")
    db.execute("CREATE INDEX bills_two ON bills (customer, total)")
    before = shape(db, "bills")
    contract(db, "ALTER TABLE bills DROP COLUMN total;\nALTER TABLE bills DROP COLUMN customer")
    db.execute("INSERT INTO bills VALUES (3)")
    db.execute("DELETE FROM bills WHERE id = 3")
    assert not any("was not put back" in w for w in db.trash("restore", release_version="2.4.0")["warnings"])
    assert shape(db, "bills") == before and rows(db, "bills") == [(1, 1, 30), (2, 1, 40)]
    contract(db, "ALTER TABLE bills DROP COLUMN customer", version=2)
    db.execute("DELETE FROM customers")
    result = db.trash("restore", "bills.customer")
    assert any("validation of constraint" in warning for warning in result["warnings"])


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_a_column_among_other_changes_of_one_statement(db):
    build(db)
    result = contract(
        db, "ALTER TABLE orders\n  ALTER COLUMN code SET NOT NULL, -- numeric(1, 2)\n  DROP COLUMN note, ADD note text"
    )
    assert [one["object"] for one in result["kept"]] == ["public.orders.note"]
    assert db.query("SELECT DISTINCT note FROM orders") == [(None,)]
    with pytest.raises(EverupError, match=r"public\.orders\.note is there again"):
        db.trash("restore", "orders.note")
    db.execute("ALTER TABLE orders RENAME COLUMN note TO newer")
    db.trash("restore", "orders.note")
    assert notes(db) == NOTES


@mostly_on("sqlite")
def test_a_column_is_purged(db):
    build(db)
    contract(db, drop("note"), purge_after="0s")
    db.trash("purge")
    assert [state for _object, state in states(db)] == ["purged"]
    assert not any("everup_trash" in str(row) for row in shape(db, "orders"))


@mostly_on("sqlite")
def test_a_column_whose_table_is_dropped_as_well(db):
    build(db)
    contract(db, drop("note"))
    contract(db, "DROP TABLE orders", version=2, purge_after="0s")
    with pytest.raises(EverupError, match=r"restore its table .*orders first"):
        db.trash("restore", "orders.note")
    db.trash("restore", "orders")
    db.trash("restore", "orders.note")
    assert notes(db) == NOTES


@mostly_on("sqlite")
def test_check_mode_knows_that_the_table_goes_before_its_column(db):
    build(db)
    contract(db, drop("note"), purge_after="0s")
    contract(db, "DROP TABLE orders", version=2)
    waiting = db.trash("purge", check=True)
    assert (waiting["changed"], "stays as long as its table" in waiting["warnings"][0]) == (False, True)
    assert db.trash("purge")["changed"] is False
    foreseen = db.trash("restore", release_version="2.4.0", check=True)
    done = db.trash("restore", release_version="2.4.0")
    assert foreseen["objects"] == done["objects"] and len(done["objects"]) == 2
    assert notes(db) == NOTES


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("domain", "more", "is_kept"),
    [
        ("text NOT NULL", "", False),
        ("text CHECK (VALUE IS NOT NULL)", "", False),
        ("text NOT NULL", "DEFAULT 'none'", True),
        ("text NOT NULL DEFAULT 'none'", "", True),
        ("text CHECK (VALUE <> '')", "", True),
    ],
)
def test_the_application_writes_on_without_a_column_of_a_domain(db, domain, more, is_kept):
    build(db)
    db.execute(f"CREATE DOMAIN base AS {domain}")
    db.execute("CREATE DOMAIN mail AS base")
    db.execute("CREATE TABLE people (id int PRIMARY KEY)")
    db.execute(f"ALTER TABLE people ADD COLUMN mail mail {more}")
    result = contract(db, "ALTER TABLE people DROP COLUMN mail")
    assert [bool(result["kept"]), [one["why"] for one in result["lost"]] == []] == [is_kept, is_kept]
    db.execute("INSERT INTO people (id) VALUES (1)")
