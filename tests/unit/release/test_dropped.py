# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a contract script takes away, in the order in which it does it, and where that cannot be told."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._evidence.dropped import dropped_objects, unread_places
from ansible_collections.everup.deploy.plugins.module_utils._lint.facts import ScriptFacts
from ansible_collections.everup.deploy.tests.unit.lint.written import read


def script(engine: str, sql: str) -> ScriptFacts:
    facts, unread = read(sql, engine)
    return ScriptFacts("contract/1_a.sql", "contract", "1", True, False, (), (), tuple(facts), tuple(unread))


@pytest.mark.parametrize(
    ("engine", "sql", "objects"),
    [
        ("postgresql", "CREATE TABLE copied (id int); DROP TABLE copied;", []),
        ("postgresql", "DROP TABLE orders; CREATE TABLE orders (id int);", ["table orders"]),
        ("postgresql", "CREATE TABLE a (id int); DROP TABLE a; DROP TABLE a;", ["table a"]),
        ("postgresql", "CREATE TABLE IF NOT EXISTS orders (id int); DROP TABLE orders;", ["table orders"]),
        ("sqlite", "CREATE TABLE n (id int); DROP TABLE orders; ALTER TABLE n RENAME TO orders;", ["table orders"]),
        ("postgresql", "ALTER TABLE orders SET SCHEMA old;", ["table orders"]),
        ("postgresql", "ALTER FUNCTION total() SET SCHEMA old;", ["routine total"]),
        ("postgresql", "ALTER VIEW v RENAME TO w;", ["view v"]),
        ("postgresql", "ALTER FUNCTION total() RENAME TO total_2;", ["routine total"]),
        ("sqlserver", "ALTER SCHEMA old TRANSFER dbo.orders;", ["table dbo.orders"]),
        ("sqlserver", "ALTER SCHEMA old TRANSFER OBJECT::dbo.orders;", ["table dbo.orders"]),
        ("sqlserver", "EXEC sp_rename 'dbo.orders', 'x';", ["table dbo.orders", "column dbo.orders"]),
    ],
)
def test_what_a_script_takes_away(engine, sql, objects):
    found = script(engine, sql)
    assert [str(one) for one in dropped_objects([found])] == objects
    assert unread_places([found]) == []


def test_what_a_new_name_of_a_schema_takes_along_is_not_known():
    found = script("postgresql", "ALTER SCHEMA app RENAME TO app_2;")
    assert dropped_objects([found]) == []
    assert unread_places([found]) == ["contract/1_a.sql:1: what a new name for SCHEMA app takes with it"]
