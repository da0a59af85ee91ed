"""What cannot be kept: the drop that the server refuses is refused as before, others are dropped with a warning or not at all."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support.trash import build, contract, is_there, mostly_on, rows, shape, states

REFUSED = {
    "sqlite": [
        ("CREATE VIEW v AS SELECT note FROM orders", "ALTER TABLE orders DROP COLUMN note", "no such column"),
        ("CREATE INDEX i ON orders (note)", "ALTER TABLE orders DROP COLUMN note", "no such column"),
        ("SELECT 1", "DROP TABLE nowhere", "no such table"),
    ],
    "postgresql": [
        ("CREATE VIEW v AS SELECT note FROM orders", "ALTER TABLE orders DROP COLUMN note", "view v depends"),
        ("CREATE VIEW v AS SELECT note FROM orders", "DROP TABLE orders", "view v depends"),
        ("SELECT 1", "DROP TABLE customers", "bills_customer_fkey"),
        ("SELECT 1", "DROP TABLE nowhere", "does not exist"),
        ("SELECT 1", "DROP TABLE bills, nowhere", "does not exist"),
    ],
    "mariadb": [
        ("ALTER TABLE orders ADD CONSTRAINT c CHECK (note <> item)", "ALTER TABLE orders DROP COLUMN note", "Unknown column"),
        (
            "ALTER TABLE orders ADD twice varchar(99) AS (concat(note, note))",
            "ALTER TABLE orders DROP COLUMN note",
            "Unknown col",
        ),
        ("SELECT 1", "ALTER TABLE bills DROP COLUMN customer", "needed in a foreign key"),
        ("SELECT 1", "DROP TABLE customers", "foreign key constraint"),
        ("SELECT 1", "DROP TABLE nowhere", "Unknown table"),
    ],
}
CASES = [pytest.param(engine, *case, id=f"{engine}-{n}") for engine, cases in REFUSED.items() for n, case in enumerate(cases)]


@pytest.fixture
def named(request, engine):
    return request.getfixturevalue(f"{engine}_database")


@pytest.mark.parametrize(("engine", "before", "drop", "error"), CASES)
def test_what_the_server_refuses_is_refused(named, before, drop, error):
    build(named)
    named.execute(before)
    orders = shape(named, "orders")
    with pytest.raises(EverupError, match=rf"contract/1_gone\.sql:1:1: .*{error}"):
        contract(named, drop)
    assert shape(named, "orders") == orders
    assert is_there(named, "bills") and is_there(named, "customers")
    assert states(named) == []


LOST = {
    "sqlite": [
        ("ALTER TABLE orders DROP COLUMN item", "NOT NULL without a default"),
        ("ALTER TABLE bills DROP COLUMN customer", "foreign key would go on"),
    ],
    "postgresql": [
        ("DROP TABLE bills CASCADE", "CASCADE takes along"),
        ("DROP TABLE old", "it is partitioned"),
        ("CREATE MATERIALIZED VIEW m AS SELECT 1; DROP MATERIALIZED VIEW m", "a materialized view is not kept"),
        ("ALTER TABLE orders DROP COLUMN mood; DROP TYPE moods", "moods, which it is made of, is dropped behind it"),
    ],
    "mariadb": [
        ("DROP TABLE bills, log", "several objects in one statement"),
        ("ALTER TABLE orders DROP COLUMN note, ADD other int", "with other changes"),
        ("ALTER TABLE bills DROP COLUMN total", "it is part of the index bills_two"),
    ],
}
LOSING = [pytest.param(engine, *case, id=f"{engine}-{n}") for engine, cases in LOST.items() for n, case in enumerate(cases)]


def prepare(db):
    build(db)
    if db.engine == "postgresql":
        db.execute("CREATE TABLE old (id int) PARTITION BY LIST (id)")
        db.execute("CREATE TYPE moods AS ENUM ('a')")
        db.execute("ALTER TABLE orders ADD mood moods")
    elif db.engine == "mariadb":
        db.execute("DROP TRIGGER orders_logged")
        db.execute("CREATE INDEX bills_two ON bills (total, id)")


@pytest.mark.parametrize(("engine", "drop", "why"), LOSING)
def test_what_cannot_be_kept_is_dropped_with_a_warning(named, drop, why):
    if named.engine == "sqlite":
        build(named)
        named.execute("DROP INDEX orders_item")
        named.execute("DROP TRIGGER orders_logged")
    else:
        prepare(named)
    result = contract(named, drop)
    assert result["kept"] == [] and states(named) == []
    assert any(why in warning and "dropped for good" in warning for warning in result["warnings"]), result
    assert result["warnings"][0].startswith("contract/1_gone.sql:1: ")
    assert "dropped_for_good" in named.events()


@pytest.mark.whole
@pytest.mark.parametrize(("engine", "drop", "why"), LOSING)
def test_nothing_is_run_where_all_must_be_kept(named, drop, why):
    if named.engine == "sqlite":
        build(named)
        named.execute("DROP INDEX orders_item")
        named.execute("DROP TRIGGER orders_logged")
    else:
        prepare(named)
    before = {table: rows(named, table) for table in ("orders", "bills", "log")}
    first = "CREATE TABLE first (id int);\n"
    with pytest.raises(EverupError, match=rf"(?s)soft_drop is required.*contract/1_gone\.sql:2:\d+: .* cannot be kept: .*{why}"):
        contract(named, first + drop, soft_drop="required")
    assert {table: rows(named, table) for table in before} == before and not is_there(named, "first")


@mostly_on("postgresql")
def test_all_is_kept_where_all_must_be(db):
    build(db)
    result = contract(
        db, ";\n".join(("DROP TABLE bills", "DROP TABLE IF EXISTS nowhere", "DROP TABLE customers")), soft_drop="required"
    )
    assert [one["object"].split(".")[-1] for one in result["kept"]] == ["bills", "customers"]


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_what_the_trash_still_needs_is_told(db):
    build(db)
    db.execute("CREATE TYPE moods AS ENUM ('a')")
    db.execute("ALTER TABLE bills ADD mood moods")
    contract(db, "DROP TABLE bills")
    with pytest.raises(EverupError, match=r"everup_trash.*everup\.deploy\.purge"):
        contract(db, "DROP TYPE moods", version=2)


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_a_table_and_what_only_it_needed(db):
    build(db)
    before = shape(db, "orders")
    contract(db, "DROP TABLE orders;\nDROP FUNCTION logged()")
    db.trash("restore", release_version="2.4.0")
    assert shape(db, "orders") == before


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_names_are_those_that_the_script_means(db):
    build(db)
    db.execute('CREATE SCHEMA "Other"')
    db.execute('CREATE TABLE "Other"."Bills" (id int, "Total" int)')
    result = contract(db, 'SET search_path = "Other";\nALTER TABLE "Bills" DROP COLUMN "Total";\nDROP TABLE "Bills"')
    assert [one["object"] for one in result["kept"]] == ["Other.Bills.Total", "Other.Bills"]
    db.trash("restore", release_version="2.4.0")
    assert len(shape(db, '"Other"."Bills"')) >= 2


@mostly_on("postgresql")
def test_a_script_that_fails_has_moved_nothing(db):
    if not db.transactional:
        pytest.skip("its statements commit one by one")
    build(db)
    with pytest.raises(EverupError, match="nowhere"):
        contract(db, "DROP TABLE bills;\nINSERT INTO nowhere VALUES (1)")
    assert is_there(db, "bills") and states(db) == []


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_what_must_be_kept_and_cannot_ends_the_run_before_anything_runs(db):
    build(db)
    with pytest.raises(EverupError, match=r"(?s)soft_drop is required.*contract/1_gone\.sql:2:1: bills\.customer cannot be kept"):
        contract(db, "DROP TABLE log;\nALTER TABLE bills DROP COLUMN customer", soft_drop="required")
    assert is_there(db, "log")
