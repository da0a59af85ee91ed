"""How things are kept on SQL Server, where none runs: the statements for what its catalog says, read by a T-SQL grammar."""

import pytest
import sqlfluff
from ansible_collections.everup.deploy.plugins.module_utils._db.errors import DatabaseError
from ansible_collections.everup.deploy.plugins.module_utils._db.kept import kept_name
from ansible_collections.everup.deploy.plugins.module_utils._trash.drops import Drop
from ansible_collections.everup.deploy.plugins.module_utils._trash.manifest import Manifest, Place, Refusal
from ansible_collections.everup.deploy.plugins.module_utils._trash.sqlserver import SqlserverKeeper, _type

TABLE = {"id": 5, "schema": "dbo", "name": "bills", "in_memory": 0, "temporal": 0, "referenced": 0}
KEY = {
    "name": "FK_c",
    "on_delete": "SET_NULL",
    "on_update": "NO_ACTION",
    "disabled": 0,
    "parent_schema": "dbo",
    "parent": "customers",
    "col": "customer",
    "parent_col": "id",
}
COLUMN = {
    "name": "note",
    "nullable": 0,
    "counts": 0,
    "computed": 0,
    "special": 0,
    "type": "nvarchar",
    "base": "nvarchar",
    "length": 100,
    "precision": 0,
    "scale": 0,
    "collation": "Latin1_General_CI_AS",
}
GRANT = {"state": "GRANT_WITH_GRANT_OPTION", "permission": "SELECT", "grantee": "shop", "col": None}
TRIGGER = {"name": "tr", "definition": "CREATE TRIGGER tr ON bills AFTER INSERT AS SELECT 1", "disabled": 1}


class Catalog:
    """Stands in for a server that has this in its catalog."""

    name = "sqlserver"

    def __init__(self, **found):
        self.found = {"sys.tables": [TABLE], **found}

    def query(self, sql):
        return next((rows for view, rows in self.found.items() if f"FROM {view}" in sql), [])

    @staticmethod
    def quote(name):
        return f"[{name}]"


def manifest(drop, **found):
    keeper = SqlserverKeeper(Catalog(**found))
    return keeper.manifest(drop, lambda name, prefix: kept_name(name, "2.4.0", 7, keeper.longest_name, prefix), frozenset())


def assert_is_sql(statements):
    for sql in statements:
        if sql.startswith("ALTER SCHEMA"):
            continue  # which this grammar does not know
        parsed = sqlfluff.parse(sql, dialect="tsql")
        assert "unparsable" not in str(parsed), sql


def test_a_table_is_transferred_with_all_that_it_has():
    found = manifest(
        Drop("table", ("bills",)),
        **{
            "sys.objects": [{"name": "PK_bills"}],
            "sys.foreign_keys": [KEY],
            "sys.triggers": [TRIGGER],
            "sys.database_permissions": [GRANT],
        },
    )
    assert isinstance(found, Manifest)
    assert (str(found.place), str(found.kept)) == ("dbo.bills", "everup_trash.bills__2_4_0_7")
    assert found.move == (
        "IF SCHEMA_ID(N'everup_trash') IS NULL EXEC (N'CREATE SCHEMA everup_trash')",
        "ALTER TABLE [dbo].[bills] DROP CONSTRAINT [FK_c]",
        "DROP TRIGGER [dbo].[tr]",
        "EXEC sp_rename N'[dbo].[PK_bills]', N'PK_bills__2_4_0_7', N'OBJECT'",
        "EXEC sp_rename N'[dbo].[bills]', N'bills__2_4_0_7', N'OBJECT'",
        "ALTER SCHEMA [everup_trash] TRANSFER [dbo].[bills__2_4_0_7]",
    )
    assert found.restore == (
        "ALTER SCHEMA [dbo] TRANSFER [everup_trash].[bills__2_4_0_7]",
        "EXEC sp_rename N'[dbo].[bills__2_4_0_7]', N'bills', N'OBJECT'",
        "EXEC sp_rename N'[dbo].[PK_bills__2_4_0_7]', N'PK_bills', N'OBJECT'",
        "GRANT SELECT ON [dbo].[bills] TO [shop] WITH GRANT OPTION",
        TRIGGER["definition"],
        "DISABLE TRIGGER [dbo].[tr] ON [dbo].[bills]",
    )
    (key,) = found.constraints
    assert key["needs"] == "[dbo].[customers]" and "ON DELETE SET NULL ON UPDATE NO ACTION" in key["sql"]
    assert found.finish[0]["sql"] == "ALTER TABLE [dbo].[bills] WITH CHECK CHECK CONSTRAINT [FK_c]"
    assert_is_sql([*found.move, *found.restore, key["sql"], found.finish[0]["sql"], *found.purge])


def test_a_column_is_renamed_and_may_be_null():
    found = manifest(Drop("column", ("dbo", "bills"), "[note]"), **{"sys.columns": [COLUMN]})
    assert found.move == (
        "ALTER TABLE [dbo].[bills] ALTER COLUMN [note] nvarchar(50) COLLATE Latin1_General_CI_AS NULL",
        "EXEC sp_rename N'[dbo].[bills].[note]', N'everup_trash_note__2_4_0_7', N'COLUMN'",
    )
    assert found.restore == ("EXEC sp_rename N'[dbo].[bills].[everup_trash_note__2_4_0_7]', N'note', N'COLUMN'",)
    assert found.finish[0]["sql"].endswith(" NOT NULL")
    assert_is_sql([*found.move, *found.restore, found.finish[0]["sql"], *found.purge])
    found = manifest(Drop("column", ("bills",), "note"), **{"sys.columns": [{**COLUMN, "nullable": 1}]})
    assert len(found.move) == 1 and found.finish == ()


def test_a_procedure_is_kept_as_its_text():
    module = {"id": 9, "schema": "dbo", "name": "sp_2", "definition": "CREATE PROCEDURE sp_2 AS SELECT 1", "quoted": 0, "ansi": 1}
    grant = {**GRANT, "state": "DENY", "permission": "EXECUTE"}
    found = manifest(Drop("procedure", ("sp_2",)), **{"sys.objects o JOIN": [module], "sys.database_permissions": [grant]})
    assert found.is_text and found.move == ()
    assert found.restore == (
        "SET QUOTED_IDENTIFIER OFF",
        "SET ANSI_NULLS ON",
        module["definition"],
        "DENY EXECUTE ON [dbo].[sp_2] TO [shop]",
    )
    encrypted = manifest(Drop("procedure", ("sp_2",)), **{"sys.objects o JOIN": [{**module, "definition": None}]})
    assert isinstance(encrypted, Refusal) and "encrypted" in encrypted.why


@pytest.mark.parametrize(
    ("drop", "found", "why"),
    [
        (Drop("table", ("bills",)), {"sys.tables": [{**TABLE, "temporal": 2}]}, "keeps its own history"),
        (Drop("column", ("bills",), "note"), {"sys.columns": [{**COLUMN, "computed": 1}]}, "computed"),
        (Drop("column", ("bills",), "note"), {"sys.columns": [{**COLUMN, "special": 1}]}, "NOT NULL cannot be taken off"),
    ],
)
def test_what_is_not_kept(drop, found, why):
    refusal = manifest(drop, **found)
    assert isinstance(refusal, Refusal) and why in refusal.why


def test_what_is_not_there_or_is_referred_to():
    assert manifest(Drop("table", ("bills",)), **{"sys.tables": []}).missing
    assert manifest(Drop("table", ("bills",)), **{"sys.tables": [{**TABLE, "referenced": 1}]}).undecided


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"length": -1, "collation": None}, "nvarchar(MAX)"),
        ({"type": "varbinary", "base": "varbinary", "length": 8, "collation": None}, "varbinary(8)"),
        ({"type": "decimal", "base": "decimal", "precision": 9, "scale": 2, "collation": None}, "decimal(9, 2)"),
        ({"type": "datetime2", "base": "datetime2", "scale": 3, "collation": None}, "datetime2(3)"),
        ({"type": "phone", "base": "varchar"}, "phone"),
        ({"type": "int", "base": "int", "collation": None}, "int"),
    ],
)
def test_types(changed, text):
    assert _type({**COLUMN, **changed}) == text


def test_a_place_is_asked_for():
    keeper = SqlserverKeeper(Catalog())
    seen = []
    keeper.db.query = lambda sql: seen.append(sql) or [{"id": None}]
    assert keeper.is_there("column", Place("dbo", "it's", "note")) is False
    assert seen == ["SELECT COLUMNPROPERTY(OBJECT_ID(N'[dbo].[it''s]'), N'note', 'ColumnId') AS id"]


def test_who_may_not_see_the_cache_does_not_know_when_a_procedure_was_used():
    keeper = SqlserverKeeper(Catalog())
    seen = []

    def refuse(sql):
        seen.append(sql)
        raise DatabaseError("VIEW SERVER STATE permission was denied")

    keeper.db.query = refuse
    assert keeper.stale_versions() == {}
    assert_is_sql(seen)
    assert "GETUTCDATE()" in seen[0]  # the cache keeps the server's local time
