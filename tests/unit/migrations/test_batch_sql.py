"""The statements of a backfill, as each engine gets them."""

from dataclasses import dataclass, field

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.postgresql import PostgresqlEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.keyset import MYSQL, POSTGRESQL, SQL_SERVER, SQLITE, Column
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import Lexis
from ansible_collections.everup.deploy.plugins.module_utils._migrations.batch_sql import BatchSql, bounds_in, verify_sql


@dataclass
class Definition:
    key: tuple = ("id",)
    assignments: dict = field(default_factory=lambda: {"profile_id": "client_id -- as it was"})
    where: str = "profile_id IS NULL"
    sql: str = ""
    verify: str = ""


def quote(name):
    return f"[{name}]"


def statements(keyset, definition=None, types=("int",)):
    definition = definition or Definition()
    columns = [Column(name, kind, kind, False) for name, kind in zip(definition.key, types)]
    return BatchSql(definition, keyset, Lexis(), quote, "[orders]", columns)


def flat(sql):
    return " ".join(sql.split())


def test_the_batch_of_sql_server():
    found = statements(SQL_SERVER, Definition(key=("a", "b")), ("int", "varchar"))
    assert flat(found.change.sql) == (
        "UPDATE [orders] SET [profile_id] = (client_id -- as it was ) WHERE"
        " [a] >= ? AND ([a] > ? OR [a] = ? AND [b] >= CAST(? AS varchar))"
        " AND [a] <= ? AND ([a] < ? OR [a] = ? AND [b] <= CAST(? AS varchar)) AND (profile_id IS NULL )"
    )
    assert found.change.values({"first": [1, "x"], "last": [2, "y"]}) == (1, 1, 1, "x", 2, 2, 2, "y")
    assert flat(found.last_of(2000).sql).endswith("ORDER BY [a], [b] OFFSET 1999 ROWS FETCH NEXT 1 ROWS ONLY) the_last")
    assert flat(found.highest().sql) == (
        "SELECT [a] AS k0, [b] AS k1 FROM [orders] ORDER BY [a] DESC, [b] DESC OFFSET 0 ROWS FETCH NEXT 1 ROWS ONLY"
    )


@pytest.mark.parametrize("keyset", [MYSQL, SQLITE, POSTGRESQL])
def test_the_end_of_a_batch_is_found_by_the_key(keyset):
    found = statements(keyset)
    marker = "CAST(? AS int)" if keyset is POSTGRESQL else "?"
    read = "[id]::text" if keyset is POSTGRESQL else "[id]"
    assert found.last_of(500).sql == (
        f"SELECT {read} AS k0 FROM (SELECT [id] FROM [orders] WHERE [id] >= {marker} AND [id] <= {marker}"
        " ORDER BY [id] LIMIT 1 OFFSET 499) the_last"
    )
    assert found.next_first().sql == (
        f"SELECT {read} AS k0 FROM [orders] WHERE [id] > {marker} AND [id] <= {marker} ORDER BY [id] LIMIT 1 OFFSET 0"
    )
    assert found.next_first().values({"after": [5], "end": [9]}) == (5, 9)


def test_a_comment_does_not_reach_beyond_its_expression():
    lines = statements(SQLITE, Definition(where="a = 1 -- really")).change.sql.split("\n")
    assert [line for line in lines if "--" in line] == ["  [profile_id] = (client_id -- as it was", "  AND (a = 1 -- really"]


def test_a_whole_statement():
    sql = "UPDATE t SET x = 1 WHERE :range(o) AND y = ':range' AND z::text = 'a' -- :first"
    found = statements(MYSQL, Definition(sql=sql)).change
    assert found.sql == "UPDATE t SET x = 1 WHERE (o.[id] >= ? AND o.[id] <= ?) AND y = ':range' AND z::text = 'a' -- :first"
    assert found.shown(("id",)).startswith("UPDATE t SET x = 1 WHERE (o.[id] >= :first AND o.[id] <= :last)")


def test_bounds_by_name():
    sql = "UPDATE t SET x = 1 WHERE b <= :last_b AND a >= :first_a AND a <= :last_a AND c = :c"
    found = statements(SQLITE, Definition(key=("a", "b"), sql=sql), ("int", "int")).change
    assert found.sql == "UPDATE t SET x = 1 WHERE b <= ? AND a >= ? AND a <= ? AND c = :c"
    assert found.values({"first": [1, 2], "last": [3, 4]}) == (4, 1, 3)
    assert found.shown(("a", "b")) == sql


@pytest.mark.parametrize(
    ("sql", "key", "found"),
    [
        ("WHERE :range", ("id",), {"range"}),
        ("WHERE id BETWEEN :first AND :last", ("id",), {"first", "last"}),
        ("WHERE a = :first_a", ("a", "b"), {"first_a"}),
        ("WHERE a = :first", ("a", "b"), set()),
        ("WHERE a::range = ':range' /* :range */", ("id",), set()),
    ],
)
def test_which_bounds_a_statement_has(sql, key, found):
    assert bounds_in(sql, key, PostgresqlEngine.lexis) == found


def test_what_is_left_is_counted_by_where_unless_said_otherwise():
    assert verify_sql(Definition(), "[orders]") == "SELECT count(*) AS n FROM [orders] WHERE profile_id IS NULL"
    assert verify_sql(Definition(verify="SELECT 0"), "[orders]") == "SELECT 0"
