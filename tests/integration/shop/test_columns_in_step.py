# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The triggers of the expanded schema keep client_id and profile_id equal in every table."""

from contextlib import closing

import pytest

TABLES = {
    "orders": "item, quantity, amount_cents) VALUES ({}, 'pan', 1, 100)",
    "addresses": "street, city) VALUES ({}, 'Road 1', 'Bath')",
    "invoices": "order_id, amount_cents) VALUES ({}, 1, 100)",
}


@pytest.fixture
def execute(database, migrate):
    """Run one statement; the schema is the first version's."""
    migrate(database, "expand", last=2)
    with closing(database.connect()) as connection:
        yield connection.execute


def insert(table, column, value="7"):
    row = TABLES[table].format(value)
    return f"INSERT INTO {table} ({column}, {row}"


@pytest.fixture
def expanded(execute, database, migrate):
    """One row in each table from before the release's expand scripts, and these done."""
    for table in TABLES:
        execute(insert(table, "client_id"))
    migrate(database, "expand", first=3)
    return execute


def owners(execute, table):
    rows = execute(f"SELECT client_id, profile_id FROM {table} ORDER BY id").fetchall()
    return [tuple(row) for row in rows]


def test_rows_from_before_are_filled(expanded):
    assert {table: owners(expanded, table) for table in TABLES} == {table: [(7, 7)] for table in TABLES}


@pytest.mark.parametrize("column", ["client_id", "profile_id"])
def test_a_write_of_one_sets_both(expanded, column):
    for table in TABLES:
        expanded(f"UPDATE {table} SET {column} = 8")
        assert owners(expanded, table) == [(8, 8)], table
    expanded("DELETE FROM invoices")  # which has room for one of each order
    for table in TABLES:
        expanded(insert(table, column, "9"))
        assert owners(expanded, table)[-1] == (9, 9), table


def test_an_update_of_something_else_changes_neither(expanded):
    expanded("UPDATE orders SET item = 'pot'")
    assert owners(expanded, "orders") == [(7, 7)]


def test_an_owner_is_required_in_every_phase(execute, database, migrate):
    def refused(column):
        with pytest.raises(Exception, match=r"client_id|profile"):
            execute(insert("orders", column, "NULL"))

    refused("client_id")
    migrate(database, "expand", first=3)
    refused("client_id")
    refused("profile_id")
    migrate(database, "contract")
    refused("profile_id")
    execute(insert("orders", "profile_id"))


def test_a_row_that_says_two_things_ends_up_equal_or_refused(expanded, database):
    contradiction = "UPDATE orders SET client_id = 3, profile_id = 4"
    if database.engine == "postgresql":
        with pytest.raises(Exception, match="differ"):
            expanded(contradiction)
    else:
        expanded(contradiction)
    assert all(client == profile for client, profile in owners(expanded, "orders"))


def test_contract_leaves_nothing_of_the_old_column(execute, database, migrate):
    migrate(database, "expand", first=3)
    migrate(database, "contract")
    for table in TABLES:
        with pytest.raises(Exception, match="client_id"):
            execute(f"SELECT client_id FROM {table}")
    with pytest.raises(Exception, match="order_overview"):
        execute("SELECT 1 FROM order_overview")
