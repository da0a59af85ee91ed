"""What needs no server of the witnesses: T-SQL that can be read, and what SQL Server's answers are taken for."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.witnesses import sqlserver
from ansible_collections.everup.deploy.plugins.module_utils._db.witnesses.base import Object, Unseen, counted_texts, skeleton
from ansible_collections.everup.deploy.plugins.module_utils._lint.parse import Parser

STATEMENTS = {name: sql for name, sql in vars(sqlserver).items() if name.startswith("_") and "SELECT" in str(sql)}
COLUMN, TABLE = Object("column", "client_id", "orders"), Object("table", "legacy")
ROUTINE = Object("routine", "old_total")


class Server:
    """Answers the witness's statements from a list."""

    name = "sqlserver"

    def __init__(self, **answers) -> None:
        self.answers = {"MAY_SEE": [{"server_state": 1}], "_STARTED": [{"since": "T0"}], **answers}

    def query(self, sql: str, parameters: tuple = ()) -> list[dict]:
        name = next(name for name, text in vars(sqlserver).items() if text is sql or text == sql)
        return self.answers.get(name, [])


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_for_sql_server_is_t_sql(name):
    parsed = Parser("sqlserver").tree(STATEMENTS[name])
    unparsable = [segment.raw for segment in parsed.recursive_crawl("unparsable")]
    assert unparsable == []


def counts(server: Server, *objects: Object) -> dict:
    found = sqlserver.SqlserverWitness(server).counts(list(objects), set())
    return {(one.source, one.object): one for one in found}


def test_who_may_not_see_the_server_does_not_know():
    blind = Server(MAY_SEE=[{"server_state": 0, "database_state": 0}])
    with pytest.raises(Unseen, match="GRANT VIEW SERVER STATE"):
        sqlserver.SqlserverWitness(blind).sessions()
    assert [one.uses for one in counts(blind, COLUMN, TABLE).values()] == [None, None]


def test_a_cached_plan_speaks_against_a_routine_and_none_says_nothing():
    cached = [{"name": "dbo.old_total", "uses": 4, "last": "T9", "since": "T1"}]
    found = counts(Server(_CACHED=cached, _QUERY_STORE=[{"state": "READ_WRITE", "mode": "ALL"}]), ROUTINE)
    plan = found["sys.dm_exec_procedure_stats", "routine old_total"]
    assert (plan.uses, plan.last_used_at, plan.suffices) == (4, "T9", False)
    assert found["query_store", "routine old_total"].suffices is True
    without = counts(Server(_QUERY_STORE=[{"state": "READ_WRITE", "mode": "ALL"}]), ROUTINE)
    assert list(without) == [("query_store", "routine old_total")]


def test_a_procedure_is_used_when_one_of_its_statements_was():
    """Its call is in no Query Store, and a plan of it may be cached no more."""
    kept = [
        {"text": "SELECT 1", "inside": "dbo.old_total", "calls": 3, "last": "T7"},
        {"text": "SELECT 2", "inside": "dbo.very_old_total", "calls": 9, "last": "T9"},
        {"text": "SELECT 3", "inside": None, "calls": 9, "last": "T9"},
    ]
    one = counts(Server(_QUERIES=kept, _QUERY_STORE=[{"state": "READ_WRITE", "mode": "ALL"}]), ROUTINE)
    assert [(found.uses, found.last_used_at) for found in one.values()] == [(3, "T7")]


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        ("CREATE TEMPORARY TABLE t AS SELECT client_id FROM orders", 1),
        ("create or replace table t select client_id from orders", 1),
        ("ANALYZE FORMAT=JSON SELECT client_id FROM orders", 1),
        ("ANALYZE orders (client_id)", 0),
        ("CREATE TABLE t (id int REFERENCES orders (client_id) ON DELETE CASCADE)", 0),
        ("CREATE INDEX i ON orders (client_id)", 0),
    ],
)
def test_a_change_of_the_schema_is_no_use_and_a_copy_of_rows_is(text, uses):
    rows = [{"text": text, "calls": 1, "last": None}]
    assert [one.uses for one in counted_texts("s", [COLUMN], rows, "T0", set())] == [uses]


@pytest.mark.parametrize(
    ("options", "suffices", "uses"),
    [
        ([{"state": "READ_WRITE", "mode": "ALL"}], True, 2),
        ([{"state": "READ_WRITE", "mode": "AUTO"}], False, 2),
        ([{"state": "READ_ONLY", "mode": "ALL"}], True, None),
        ([{"state": "OFF", "mode": "ALL"}], True, None),
        ([], True, None),
    ],
)
def test_the_query_store_suffices_where_it_keeps_everything(options, suffices, uses):
    texts = [
        {"text": "SELECT client_id FROM dbo.orders WHERE id = @id", "calls": 2, "last": "T5"},
        {"text": "ALTER TABLE orders ADD client_id int", "calls": 1, "last": "T1"},
        {"text": "SELECT client_id FROM invoices", "calls": 7, "last": "T8"},
    ]
    one = counts(Server(_QUERY_STORE=options, _QUERIES=texts), COLUMN)["query_store", "column orders.client_id"]
    assert (one.suffices, one.uses) == (suffices, uses)
    assert bool(one.why) is (uses is None or not suffices)


def test_a_table_without_a_row_was_not_used():
    rows = [{"name": "dbo.legacy", "uses": 3, "last": "T3"}, {"name": "dbo.other", "uses": 9, "last": None}]
    one = counts(Server(_TABLES=rows), TABLE)["sys.dm_db_index_usage_stats", "table legacy"]
    assert (one.uses, one.last_used_at, one.counted_since) == (3, "T3", "T0")


@pytest.mark.parametrize(
    "other",
    [
        "select COUNT(*) as n from orders where client_id>0 and note='x'",
        "SELECT count(*) AS n FROM orders\n  WHERE client_id > $1 AND note = $2 -- why",
        "SELECT COUNT ( * ) AS `n` FROM `orders` WHERE `client_id` > ? AND `note` = ?",
        "SELECT count(*) AS n FROM orders /* a */ WHERE client_id > 12 AND note = 'it''s';",
    ],
)
def test_a_statement_is_known_again_however_a_server_writes_it(other):
    ours = "SELECT count(*) AS n FROM orders WHERE client_id > 0 AND note = 'y'"
    assert skeleton(other) == skeleton(ours)
    assert skeleton(other.replace("client_id", "client_id2")) != skeleton(ours)
