# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps what is dropped on SQL Server: tables in the schema everup_trash, columns under another name, code as its text.

Facts relied on, from Microsoft Learn: ALTER SCHEMA ... TRANSFER moves a table with its indexes, constraints and triggers, and
takes every permission off it ("ALTER SCHEMA"); names of constraints and triggers are the schema's; sp_rename leaves the text of
modules as it was, so that a trigger is dropped and made again; ALTER COLUMN from NOT NULL to NULL changes the catalog alone
("ALTER TABLE"); DROP COLUMN refuses a column with a default, an index, a constraint or a schema-bound reader; what stands behind
SAVE TRANSACTION can be taken back; sys.dm_exec_procedure_stats knows cached plans only, in the server's local time, and is an
error for who lacks VIEW SERVER STATE. Tried against a simulated server alone.
"""

from __future__ import annotations

from .._db import kept
from .._db.errors import DatabaseError
from .._db.lexis import Statement
from .drops import Drop, plain, written
from .keeper import Keeper, Naming
from .manifest import MISSING, Manifest, Place, Refusal, undecided

_TABLE = """
SELECT t.object_id AS id, SCHEMA_NAME(t.schema_id) AS [schema], t.name, CAST(t.is_memory_optimized AS int) AS in_memory,
       CAST(t.temporal_type AS int) AS temporal, CASE WHEN EXISTS (SELECT 1 FROM sys.foreign_keys f
       WHERE f.referenced_object_id = t.object_id AND f.parent_object_id <> t.object_id) THEN 1 ELSE 0 END AS referenced
FROM sys.tables t WHERE t.object_id = OBJECT_ID({name}, N'U')
"""
_MODULE = """
SELECT o.object_id AS id, SCHEMA_NAME(o.schema_id) AS [schema], o.name, m.definition,
       CAST(m.uses_quoted_identifier AS int) AS quoted, CAST(m.uses_ansi_nulls AS int) AS ansi
FROM sys.objects o JOIN sys.sql_modules m ON m.object_id = o.object_id
WHERE o.object_id = OBJECT_ID({name}) AND o.type IN ({types})
"""
_TYPES = {"view": "'V'", "procedure": "'P'", "function": "'FN', 'IF', 'TF'"}
_FOREIGN_KEYS = """
SELECT f.name, f.delete_referential_action_desc AS on_delete, f.update_referential_action_desc AS on_update,
       CAST(f.is_disabled AS int) AS disabled, OBJECT_SCHEMA_NAME(f.referenced_object_id) AS parent_schema,
       OBJECT_NAME(f.referenced_object_id) AS parent, COL_NAME(c.parent_object_id, c.parent_column_id) AS col,
       COL_NAME(c.referenced_object_id, c.referenced_column_id) AS parent_col
FROM sys.foreign_keys f JOIN sys.foreign_key_columns c ON c.constraint_object_id = f.object_id
WHERE f.parent_object_id = {id} AND f.referenced_object_id <> f.parent_object_id ORDER BY f.name, c.constraint_column_id
"""
_TRIGGERS = """
SELECT t.name, OBJECT_DEFINITION(t.object_id) AS definition, CAST(t.is_disabled AS int) AS disabled
FROM sys.triggers t WHERE t.parent_id = {id} ORDER BY t.name
"""
_CONSTRAINTS = """
SELECT o.name FROM sys.objects o WHERE o.parent_object_id = {id} AND o.type IN ('C', 'D', 'PK', 'UQ')
UNION SELECT f.name FROM sys.foreign_keys f WHERE f.parent_object_id = {id} AND f.referenced_object_id = {id} ORDER BY 1
"""
_PERMISSIONS = """
SELECT p.state_desc AS state, p.permission_name AS permission, USER_NAME(p.grantee_principal_id) AS grantee,
       COL_NAME(p.major_id, NULLIF(p.minor_id, 0)) AS col
FROM sys.database_permissions p WHERE p.class = 1 AND p.major_id = {id} ORDER BY 3, 2, 4
"""
_COLUMN = """
SELECT c.name, CAST(c.is_nullable AS int) AS nullable, CAST(c.is_identity AS int) AS counts,
       CAST(c.is_computed AS int) AS computed, CAST(c.is_rowguidcol AS int) + CAST(c.is_sparse AS int)
       + CAST(c.is_filestream AS int) + CAST(c.is_hidden AS int) AS special,
       TYPE_NAME(c.user_type_id) AS type, TYPE_NAME(c.system_type_id) AS base, CAST(c.max_length AS int) AS length,
       CAST(c.precision AS int) AS [precision], CAST(c.scale AS int) AS scale, c.collation_name AS collation
FROM sys.columns c WHERE c.object_id = {id} AND c.name = {column}
"""
_SIZE = """
SELECT SUM(CAST(reserved_page_count AS bigint)) * 8192 AS bytes FROM sys.dm_db_partition_stats WHERE object_id = OBJECT_ID({name})
"""
_LAST_USES = """
SELECT OBJECT_SCHEMA_NAME(s.object_id) AS [schema], OBJECT_NAME(s.object_id) AS name, SUM(s.execution_count) AS uses,
       CONVERT(varchar(23), DATEADD(minute, DATEDIFF(minute, GETDATE(), GETUTCDATE()), MAX(s.last_execution_time)), 126) + 'Z'
       AS last_used_at
FROM (SELECT object_id, execution_count, last_execution_time, database_id FROM sys.dm_exec_procedure_stats
  UNION ALL SELECT object_id, execution_count, last_execution_time, database_id FROM sys.dm_exec_function_stats) s
WHERE s.database_id = DB_ID() GROUP BY s.object_id
"""
_TRIAL = "everup_trial"
_SIZED = ("char", "varchar", "binary", "varbinary", "nchar", "nvarchar")


def _literal(text: str) -> str:
    return "N'" + str(text).replace("'", "''") + "'"


class SqlserverKeeper(Keeper):
    """Keeps what is dropped on SQL Server."""

    longest_name = 120

    def _full(self, *parts: str) -> str:
        return ".".join(self.db.quote(part) for part in parts)

    def apply_trial(self, statement: Statement) -> None:
        self.db.query(f"SAVE TRANSACTION {_TRIAL}")
        self.db.run_script_statement(statement)
        self.db.query(f"ROLLBACK TRANSACTION {_TRIAL}")

    def manifest(self, drop: Drop, naming: Naming, doomed: frozenset) -> Manifest | Refusal:
        name = _literal(written(drop.name))
        if drop.kind in _TYPES:
            return self._module(drop.kind, name)
        found = self.db.query(_TABLE.format(name=name))
        if not found:
            return MISSING
        table = found[0]
        place = Place(table["schema"], table["name"])
        if table["referenced"] and drop.kind == "table":
            return undecided(place)
        if table["in_memory"] or table["temporal"]:
            return Refusal("it is in memory or keeps its own history, and no other schema takes it", str(place))
        if drop.kind == "table":
            return self._table(table["id"], place, naming)
        return self._column(table["id"], place, plain(drop.column), naming)

    def _table(self, number: int, place: Place, naming: Naming) -> Manifest:
        there = Place(kept.SCHEMA, naming(place.name, ""))
        old, new, quote = self._full(place.schema, place.name), self._full(there.schema, there.name), self.db.quote
        keys = self._keys(number)
        triggers = self.db.query(_TRIGGERS.format(id=number))
        names = [(row["name"], naming(row["name"], "")) for row in self.db.query(_CONSTRAINTS.format(id=number))]
        rename = "EXEC sp_rename {}, {}, N'OBJECT'"
        move = [f"IF SCHEMA_ID({_literal(kept.SCHEMA)}) IS NULL EXEC ({_literal(f'CREATE SCHEMA {kept.SCHEMA}')})"]
        move += [f"ALTER TABLE {old} DROP CONSTRAINT {quote(key['name'])}" for key in keys]
        move += [f"DROP TRIGGER {self._full(place.schema, trigger['name'])}" for trigger in triggers]
        move += [rename.format(_literal(self._full(place.schema, a)), _literal(b)) for a, b in names]
        move += [rename.format(_literal(old), _literal(there.name))]
        move += [f"ALTER SCHEMA {quote(kept.SCHEMA)} TRANSFER {self._full(place.schema, there.name)}"]
        restore = [f"ALTER SCHEMA {quote(place.schema)} TRANSFER {new}"]
        restore += [rename.format(_literal(self._full(place.schema, there.name)), _literal(place.name))]
        restore += [rename.format(_literal(self._full(place.schema, b)), _literal(a)) for a, b in names]
        restore += self._permissions(number, old)
        for trigger in triggers:
            restore.append(trigger["definition"])
            if trigger["disabled"]:
                restore.append(f"DISABLE TRIGGER {self._full(place.schema, trigger['name'])} ON {old}")
        return Manifest(
            "table",
            place,
            there,
            tuple(move),
            tuple(restore),
            tuple(self._foreign_key(old, key) for key in keys),
            tuple(self._validation(old, key) for key in keys if not key["disabled"]),
            (place.name, *(a for a, _b in names)),
            (f"DROP TABLE {new}",),
        )

    def _keys(self, number: int) -> list[dict]:
        found: dict[str, dict] = {}
        for row in self.db.query(_FOREIGN_KEYS.format(id=number)):
            key = found.setdefault(row["name"], {**row, "columns": [], "parent_columns": []})
            key["columns"].append(row["col"])
            key["parent_columns"].append(row["parent_col"])
        return list(found.values())

    def _foreign_key(self, table: str, key: dict) -> dict:
        quote, parent = self.db.quote, self._full(key["parent_schema"], key["parent"])
        columns, parents = (", ".join(map(quote, key[name])) for name in ("columns", "parent_columns"))
        actions = f"ON DELETE {key['on_delete'].replace('_', ' ')} ON UPDATE {key['on_update'].replace('_', ' ')}"
        sql = (
            f"ALTER TABLE {table} WITH NOCHECK ADD CONSTRAINT {quote(key['name'])} FOREIGN KEY ({columns})"
            f" REFERENCES {parent} ({parents}) {actions}"
        )
        if key["disabled"]:
            sql += f"; ALTER TABLE {table} NOCHECK CONSTRAINT {quote(key['name'])}"
        return {"name": key["name"], "needs": parent, "sql": sql, "what": f"foreign key {key['name']}"}

    def _validation(self, table: str, key: dict) -> dict:
        sql = f"ALTER TABLE {table} WITH CHECK CHECK CONSTRAINT {self.db.quote(key['name'])}"
        return {"of": key["name"], "sql": sql, "what": f"foreign key {key['name']}"}

    def _permissions(self, number: int, name: str) -> list[str]:
        found = []
        for row in self.db.query(_PERMISSIONS.format(id=number)):
            column = f" ({self.db.quote(row['col'])})" if row["col"] else ""
            grantable = row["state"] == "GRANT_WITH_GRANT_OPTION"
            verb, option = ("GRANT", " WITH GRANT OPTION") if grantable else (row["state"], "")
            found.append(f"{verb} {row['permission']} ON {name}{column} TO {self.db.quote(row['grantee'])}{option}")
        return found

    def _column(self, number: int, place: Place, name: str, naming: Naming) -> Manifest | Refusal:
        found = self.db.query(_COLUMN.format(id=number, column=_literal(name)))
        if not found:
            return MISSING
        column = found[0]
        whole = Place(place.schema, place.name, column["name"])
        if column["computed"]:
            return Refusal("its values are computed from other columns, so that none is lost", str(whole))
        fills_itself = column["counts"] or column["base"] in ("timestamp", "rowversion")
        optional = not column["nullable"] and not fills_itself
        if column["special"] and optional:
            return Refusal("its NOT NULL cannot be taken off without a rewrite", str(whole))
        there = Place(place.schema, place.name, naming(column["name"], kept.PREFIX))
        table, old = self._full(place.schema, place.name), self.db.quote(column["name"])
        alter = f"ALTER TABLE {table} ALTER COLUMN {old} {_type(column)}"
        rename = "EXEC sp_rename {}, {}, N'COLUMN'"
        move = [f"{alter} NULL"] if optional else []
        move.append(rename.format(_literal(f"{table}.{old}"), _literal(there.column)))
        finish = ({"of": "", "sql": f"{alter} NOT NULL", "what": f"NOT NULL of {column['name']}"},) if optional else ()
        note = "Rows written since the contract hold NULL there, and NOT NULL comes back only once none does."
        return Manifest(
            "column",
            whole,
            there,
            tuple(move),
            (rename.format(_literal(f"{table}.{self.db.quote(there.column)}"), _literal(column["name"])),),
            (),
            finish,
            (column["name"],),
            (f"ALTER TABLE {table} DROP COLUMN {self.db.quote(there.column)}",),
            (note,) if optional else ("Rows written since the contract hold NULL there.",) if not fills_itself else (),
        )

    def _module(self, kind: str, name: str) -> Manifest | Refusal:
        found = self.db.query(_MODULE.format(name=name, types=_TYPES[kind]))
        if not found:
            return MISSING
        module = found[0]
        place = Place(module["schema"], module["name"])
        if module["definition"] is None:
            return Refusal("its text is encrypted, or this user may not see it", str(place))
        settings = [f"SET QUOTED_IDENTIFIER {'ON' if module['quoted'] else 'OFF'}"]
        settings += [f"SET ANSI_NULLS {'ON' if module['ansi'] else 'OFF'}"]
        granted = self._permissions(module["id"], self._full(place.schema, place.name))
        restore = (*settings, module["definition"], *granted)
        return Manifest(kind, place, place, restore=restore, takes=(place.name,))

    def is_there(self, kind: str, place: Place) -> bool:
        name = _literal(self._full(place.schema, place.name))
        if kind == "column":
            sql = f"SELECT COLUMNPROPERTY(OBJECT_ID({name}), {_literal(place.column)}, 'ColumnId') AS id"
        else:
            sql = f"SELECT OBJECT_ID({name}) AS id"
        return self.db.query(sql)[0]["id"] is not None

    def has(self, name: str) -> bool:
        return not name or self.db.query(f"SELECT OBJECT_ID({_literal(name)}) AS id")[0]["id"] is not None

    def taken(self, manifest: Manifest) -> list[str]:
        place = manifest.place
        if manifest.kind == "column":
            return [str(place)] if self.is_there("column", place) else []
        return [f"{place.schema}.{name}" for name in manifest.takes if self.is_there("object", Place(place.schema, name))]

    def size(self, manifest: Manifest) -> int | None:
        if manifest.kind != "table":
            return None
        return self.db.query(_SIZE.format(name=_literal(self._full(manifest.kept.schema, manifest.kept.name))))[0]["bytes"]

    def stale_versions(self) -> dict:
        try:
            rows = self.db.query(_LAST_USES)
        except DatabaseError:
            return {}
        return {(row["schema"], row["name"]): {"uses": row["uses"], "last_used_at": row["last_used_at"]} for row in rows}


def _type(column: dict) -> str:
    """Return a column's type as ALTER COLUMN takes it."""
    base, text = column["base"], column["type"]
    if text != base:
        return text
    if base in _SIZED:
        length = column["length"] // 2 if base.startswith("n") and column["length"] > 0 else column["length"]
        text += f"({'MAX' if length < 0 else length})"
    elif base in ("decimal", "numeric"):
        text += f"({column['precision']}, {column['scale']})"
    elif base in ("datetime2", "time", "datetimeoffset"):
        text += f"({column['scale']})"
    return f"{text} COLLATE {column['collation']}" if column["collation"] else text
