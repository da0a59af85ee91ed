"""Tables that a contract drops: what is kept of them, what the application notices, and that they come back as they were."""

from contextlib import closing

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._lint.live import read_live
from ansible_collections.everup.deploy.plugins.modules import trash as trash_module
from ansible_collections.everup.deploy.tests.support.databases import run_main
from ansible_collections.everup.deploy.tests.support.trash import build, contract, is_there, mostly_on, rows, shape, states


def test_a_table_comes_back_as_it_was(db):
    build(db)
    before, held = shape(db, "orders"), rows(db, "orders")
    result = contract(db, "DROP TABLE orders")
    assert [(one["kind"], one["script"]) for one in result["kept"]] == [("table", "contract/1_gone.sql")]
    assert (result["lost"], result["warnings"]) == ([], [])
    assert not is_there(db, "orders")
    (kept,) = db.trash_info()["kept"]
    assert (kept["release_version"], kept["state"], kept["due"]) == ("2.4.0", "dropped", False)
    assert "2_4_0_1" in kept["kept_as"]
    assert db.trash("restore", "orders")["objects"][0]["object"] == kept["object"]
    assert (shape(db, "orders"), rows(db, "orders")) == (before, held)
    db.execute("INSERT INTO orders (item, amount) VALUES ('jug', 2)")
    assert max(db.query("SELECT id FROM orders")) == (4,), "the key counts on"
    assert db.query("SELECT what FROM log")[-1] == ("jug",), "the trigger fires"
    assert states(db) == [(kept["object"], "restored")]
    assert {"soft_dropped", "trash_restored"} <= set(db.events())


def test_a_foreign_key_of_a_kept_table_binds_nobody(db):
    build(db)
    before = shape(db, "bills")
    contract(db, "DROP TABLE bills")
    assert db.trash("restore", "bills")["warnings"] == []
    assert (shape(db, "bills"), len(rows(db, "bills"))) == (before, 2)
    contract(db, "DROP TABLE bills", version=2)
    db.execute("DELETE FROM customers WHERE id = 1")
    if db.engine == "sqlite":
        return  # enforces nothing unless the application asks for it
    (warning,) = db.trash("restore", "bills")["warnings"]
    assert "customer" in warning and "bills" in warning
    assert len(rows(db, "bills")) == 2


@mostly_on("postgresql")
def test_the_table_that_a_foreign_key_needs_is_gone(db):
    build(db)
    contract(
        db,
        "DROP TABLE bills;\nDROP TABLE customers",
    )
    result = db.trash("restore", "bills")
    if db.engine != "sqlite":
        (warning,) = result["warnings"]
        assert "was not put back, since" in warning and "ADD CONSTRAINT" in warning
    assert len(rows(db, "bills")) == 2
    assert db.trash("restore", release_version="2.4.0")["changed"] is True
    assert rows(db, "customers") == [(1, "Ada")]


@mostly_on("postgresql")
def test_all_of_a_release_comes_back_in_one_call(db):
    build(db)
    before = {table: (shape(db, table), rows(db, table)) for table in ("orders", "bills", "customers")}
    contract(db, "DROP TABLE orders;\nDROP TABLE bills;\nDROP TABLE customers")
    assert not any(is_there(db, table) for table in before)
    result = db.trash("restore", release_version="2.4.0")
    assert [one["object"].split(".")[-1] for one in result["objects"]] == ["customers", "bills", "orders"]
    assert {table: (shape(db, table), rows(db, table)) for table in before} == before


@mostly_on("sqlite")
def test_a_restore_is_refused_while_the_name_is_taken(db):
    build(db)
    contract(db, "DROP TABLE bills")
    db.execute("CREATE TABLE bills (id int)")
    with pytest.raises(EverupError, match=r"bills cannot be restored: .*bills is there again"):
        db.trash("restore", "bills")
    with pytest.raises(EverupError, match="is there again"):
        db.trash("restore", "bills", check=True)
    assert states(db)[0][1] == "dropped"


@mostly_on("postgresql")
def test_one_name_dropped_twice(db):
    build(db)
    contract(db, "DROP TABLE bills")
    db.execute("CREATE TABLE bills (id int, again int)")
    db.execute("CREATE INDEX bills_total ON bills (id)")
    contract(db, "DROP TABLE bills", version=2)
    with pytest.raises(EverupError, match=r"Several are kept by that name: 1 is .*bills of release 2\.4\.0.*; 2 is "):
        db.trash("restore", "bills")
    db.trash("restore", "1")
    assert len(rows(db, "bills")) == 2
    with pytest.raises(EverupError, match="is there again"):
        db.trash("restore", "2")


@mostly_on("sqlite")
def test_purge_drops_what_is_due_and_nothing_else(db):
    build(db)
    contract(db, "DROP TABLE bills", purge_after="0s")
    contract(db, "DROP TABLE orders", version=2)
    assert db.trash_info()["due"] == 1
    foreseen = db.trash("purge", check=True)
    assert foreseen["changed"] and len(db.trash_info()["kept"]) == 2
    tables = db.tables()
    purged = db.trash("purge")
    assert [one["object"].split(".")[-1] for one in purged["objects"]] == ["bills"] and len(tables - db.tables()) == 1
    assert db.trash("purge")["changed"] is False
    with pytest.raises(EverupError, match=r"Not due yet: .*orders until .*early=true"):
        db.trash("purge", "orders")
    (warning,) = db.trash("restore", release_version="2.4.0", check=True)["warnings"]
    assert "bills stays away: it was purged at " in warning
    db.trash("purge", "orders", early=True)
    assert [state for _object, state in states(db)] == ["purged", "purged"]
    with pytest.raises(EverupError, match="Nothing is kept by the name bills"):
        db.trash("restore", "bills")
    assert [row["state"] for row in db.trash_info(gone=True)["kept"]] == ["purged", "purged"]
    assert db.query("SELECT manifest FROM everup_trash")[0][0].count("CREATE") == 0


@mostly_on("sqlite")
def test_check_mode_and_diff(db):
    build(db)
    db.write("1_gone.sql", "DROP TABLE bills", phase="contract")
    foreseen = db.migrate(phase="contract", check=True, release_version="2.4.0")
    assert [one["object"].split(".")[-1] for one in foreseen["kept"]] == ["bills"]
    assert is_there(db, "bills")
    contract(db, "DROP TABLE bills")
    options = {**db.options, "action": "restore", "object": "bills"}
    result = run_main(trash_module, options, check_mode=True, diff=True)
    assert result["changed"] and result["diff"]["before"].startswith("kept: ") and not is_there(db, "bills")
    assert run_main(trash_module, options)["changed"] and is_there(db, "bills")


@mostly_on("postgresql")
def test_what_is_in_the_trash_is_no_table_to_the_linter(db):
    build(db)
    contract(db, "ALTER TABLE orders DROP COLUMN note;\nDROP TABLE bills")
    with closing(db.engine_connection()) as engine:
        live = read_live(engine)
    tables = {*live.rows, *live.columns, *live.constraints}
    assert any(name.endswith("orders") for name in tables)
    assert not [name for name in tables if "bills" in name]
    assert not [column for columns in live.columns.values() for column in columns if column.startswith("everup_trash_")]


@mostly_on("sqlite")
def test_a_drop_that_is_not_to_be_kept(db):
    build(db)
    result = contract(db, "DROP TABLE bills", soft_drop="no")
    assert (result["kept"], states(db), is_there(db, "bills")) == ([], [], False)
    db.write("5_scratch.sql", "CREATE TABLE scratch (id int);\nDROP TABLE scratch")
    assert db.migrate()["kept"] == [], "expand drops what it drops"


@mostly_on("mariadb")
def test_a_name_as_long_as_the_engine_lets_it_be(db):
    if db.engine == "sqlserver":
        pytest.skip("its names are twice as long")
    build(db)
    name = "t" * 63
    db.execute(f"CREATE TABLE {name} (id int)")
    db.execute(f"INSERT INTO {name} VALUES (5)")
    contract(db, f"DROP TABLE {name}")
    assert not is_there(db, name)
    db.trash("restore", name)
    assert rows(db, name) == [(5,)]


@pytest.mark.parametrize("db", ["sqlite", "mariadb"], indirect=True)
def test_a_view_does_not_follow_into_the_trash(db):
    build(db)
    db.execute("CREATE VIEW listed AS SELECT item FROM orders")
    contract(db, "DROP TABLE orders")
    assert not is_there(db, "listed"), "it is as broken as behind a drop"
    db.execute("CREATE TABLE orders (item varchar(50))")
    assert rows(db, "listed") == []


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_long_names_that_begin_alike_are_told_apart(db):
    build(db)
    table = "a" * 60
    db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, x int, y int)")
    for column in "xy":
        db.execute(f"CREATE INDEX {'i' * 58}_{column} ON {table} ({column})")
    before = shape(db, table)
    assert contract(db, f"DROP TABLE {table}")["lost"] == []
    assert db.trash("restore", table)["warnings"] == []
    assert shape(db, table) == before


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_a_counter_gives_no_key_twice(db):
    build(db)
    db.execute("CREATE TABLE notes (id integer PRIMARY KEY AUTOINCREMENT, customer int REFERENCES customers (id))")
    db.execute("INSERT INTO notes (customer) VALUES (1), (1), (1)")
    db.execute("DELETE FROM notes WHERE id > 1")
    contract(db, "DROP TABLE notes")
    db.trash("restore", "notes")
    db.execute("INSERT INTO notes (customer) VALUES (1)")
    assert db.query("SELECT id FROM notes ORDER BY id") == [(1,), (4,)]


@pytest.mark.parametrize("db", ["mariadb"], indirect=True)
def test_braces_in_names_and_texts_stay(db):
    build(db)
    db.execute(
        "CREATE TABLE `a{constraints}b` (id int PRIMARY KEY, customer int,"
        " KEY known (customer), CONSTRAINT known FOREIGN KEY (customer) REFERENCES customers (id))"
    )
    db.execute("CREATE FUNCTION told() RETURNS varchar(99) DETERMINISTIC RETURN 'of {constraints}'")
    before = shape(db, "`a{constraints}b`")
    contract(db, "DROP TABLE `a{constraints}b`;\nDROP FUNCTION told")
    db.trash("restore", release_version="2.4.0")
    assert shape(db, "`a{constraints}b`") == before
    assert db.query("SELECT told()") == [("of {constraints}",)]
