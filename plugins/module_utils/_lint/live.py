# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks a live database what rules want to know of it: row counts, columns, and the text of its views and routines.

Facts relied on: pg_class.reltuples is -1 until a table was analysed (PostgreSQL 14), before that 0; table_rows is an estimate of
InnoDB; sys.partitions.rows is approximate, and index_id 0 or 1 is the table itself; sys.columns.max_length is in bytes, -1 for
MAX, and nchar and nvarchar take two a character. No query reads a user's rows, but SQLite's, which keeps no estimate: it counts
no further than a rule looks.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Callable

from .._db.engines.base import Engine
from .._db.errors import DatabaseError
from .._db.kept import is_kept
from .._db.lexis import ScriptError
from .._db.script import Script, parse_script
from .facts import Fact, ScriptFacts, same_name
from .rule import SMALL_TABLE_ROWS, Live, Target

_POSTGRESQL = {
    "rows": (
        "SELECT n.nspname::text AS schema, c.relname::text AS name,"
        " (CASE WHEN c.reltuples > 0 THEN c.reltuples ELSE pg_relation_size(c.oid) / 40 END)::bigint AS count"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
        " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    ),
    "columns": (
        "SELECT n.nspname::text AS schema, c.relname::text AS name, a.attname::text AS col, format_type(a.atttypid, "
        "a.atttypmod) AS type,"
        " (NOT a.attnotnull)::int AS nullable, pg_get_expr(d.adbin, d.adrelid) AS fallback"
        " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        " WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')"
        " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2, a.attnum"
    ),
    "constraints": (
        "SELECT n.nspname::text AS schema, c.relname::text AS name, o.conname::text AS con, o.contype::text AS type,"
        " pg_get_constraintdef(o.oid) AS expression, o.convalidated::int AS valid"
        " FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    ),
    "modules": (
        "SELECT n.nspname::text AS schema, c.relname::text AS name, 'CREATE VIEW ' || c.oid::regclass || ' AS ' || "
        "pg_get_viewdef(c.oid) AS text"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm')"
        " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
        " UNION ALL SELECT n.nspname::text, p.proname::text, pg_get_functiondef(p.oid) FROM pg_proc p"
        " JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prokind IN ('f', 'p')"
        " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
        " AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = p.oid AND e.deptype = 'e')"
    ),
}
_MYSQL = {
    "rows": (
        "SELECT table_schema AS `schema`, table_name AS name, table_rows AS count FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
    ),
    "columns": (
        "SELECT table_schema AS `schema`, table_name AS name, column_name AS col, column_type AS type,"
        " is_nullable = 'YES' AS nullable, column_default AS fallback FROM information_schema.columns"
        " WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position"
    ),
    "constraints": (
        "SELECT table_schema AS `schema`, table_name AS name, constraint_name AS con, constraint_type AS type"
        " FROM information_schema.table_constraints WHERE table_schema = DATABASE()"
    ),
    "modules": (
        "SELECT table_schema AS `schema`, table_name AS name, CONCAT('CREATE VIEW ', table_name, ' AS ', view_definition) AS text"
        " FROM information_schema.views WHERE table_schema = DATABASE()"
        " UNION ALL SELECT routine_schema, routine_name, routine_definition FROM information_schema.routines"
        " WHERE routine_schema = DATABASE()"
        " UNION ALL SELECT trigger_schema, trigger_name, action_statement FROM information_schema.triggers"
        " WHERE trigger_schema = DATABASE()"
    ),
}
_SQLSERVER = {
    "rows": (
        "SELECT SCHEMA_NAME(t.schema_id) AS [schema], t.name, SUM(p.rows) AS [count] FROM sys.tables t"
        " JOIN sys.partitions p ON p.object_id = t.object_id AND p.index_id IN (0, 1) GROUP BY t.schema_id, t.name"
    ),
    "columns": (
        "SELECT SCHEMA_NAME(t.schema_id) AS [schema], t.name, c.name AS col, CAST(c.is_nullable AS int) AS nullable,"
        " TYPE_NAME(c.user_type_id) + CASE"
        " WHEN TYPE_NAME(c.system_type_id) IN ('nvarchar', 'nchar') THEN '(' + CASE c.max_length WHEN -1 THEN 'MAX'"
        " ELSE CAST(c.max_length / 2 AS varchar(10)) END + ')'"
        " WHEN TYPE_NAME(c.system_type_id) IN ('varchar', 'char', 'varbinary', 'binary') THEN '(' + CASE c.max_length "
        "WHEN -1 THEN 'MAX'"
        " ELSE CAST(c.max_length AS varchar(10)) END + ')'"
        " WHEN TYPE_NAME(c.system_type_id) IN ('decimal', 'numeric') THEN '(' + CAST(c.precision AS varchar(10)) + ', '"
        " + CAST(c.scale AS varchar(10)) + ')'"
        " WHEN TYPE_NAME(c.system_type_id) IN ('datetime2', 'time', 'datetimeoffset') THEN '(' + CAST(c.scale AS "
        "varchar(10)) + ')'"
        " ELSE '' END AS type, OBJECT_DEFINITION(c.default_object_id) AS fallback"
        " FROM sys.columns c JOIN sys.tables t ON t.object_id = c.object_id ORDER BY t.name, c.column_id"
    ),
    "constraints": (
        "SELECT SCHEMA_NAME(t.schema_id) AS [schema], t.name, o.name AS con, RTRIM(o.type) AS type FROM sys.objects o"
        " JOIN sys.tables t ON t.object_id = o.parent_object_id WHERE o.type IN ('C', 'D', 'F', 'PK', 'UQ')"
    ),
    "modules": (
        "SELECT SCHEMA_NAME(o.schema_id) AS [schema], o.name, m.definition AS text FROM sys.sql_modules m"
        " JOIN sys.objects o ON o.object_id = m.object_id WHERE o.is_ms_shipped = 0 AND m.definition IS NOT NULL"
    ),
}
_SQLITE = {
    "columns": (
        "SELECT '' AS schema, m.name, c.name AS col, c.type, NOT (c.\"notnull\" OR c.pk) AS nullable, c.dflt_value AS fallback"
        " FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c WHERE m.type = 'table' ORDER BY m.name, c.cid"
    ),
    "modules": "SELECT '' AS schema, name, sql AS text FROM sqlite_master WHERE type IN ('view', 'trigger')",
}
_QUERIES = {"postgresql": _POSTGRESQL, "mysql": _MYSQL, "mariadb": _MYSQL, "sqlserver": _SQLSERVER, "sqlite": _SQLITE}
# SERVERPROPERTY('EngineEdition'); Developer and Evaluation say 3 as well.
_EDITIONS = {1: "express", 2: "standard", 3: "enterprise", 4: "express", **dict.fromkeys((5, 6, 8, 9, 11), "azure")}


def target_of(db: Engine) -> Target:
    """Return what a connection tells of its server."""
    edition = ""
    if db.name == "sqlserver":
        edition = _EDITIONS.get(db.settings().get("engine_edition"), "")
    return Target(db.name, version_numbers(db.server_version()), edition)


def version_numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a server's version: ``15.4 (Debian)`` is (15, 4), ``10.11.6-MariaDB`` is (10, 11, 6)."""
    numbers = []
    for part in text.split("-")[0].split()[0].split(".") if text.strip() else []:
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def read_live(db: Engine) -> Live:
    """Return the live schema as far as rules look at it.

    Raises:
        DatabaseError: the catalog cannot be read.
    """
    queries = _QUERIES[db.name]
    columns: dict[str, dict] = {}
    for row in _not_kept(db.query(queries["columns"])):
        column = {"type": row["type"], "nullable": bool(row["nullable"]), "default": row["fallback"]}
        columns.setdefault(_name(row), {})[row["col"].lower()] = column
    constraints: dict[str, dict] = {}
    for row in _not_kept(db.query(queries["constraints"])) if "constraints" in queries else []:
        known = {"type": row["type"], "expression": row.get("expression") or "", "valid": bool(row.get("valid", True))}
        constraints.setdefault(_name(row), {})[row["con"].lower()] = known
    modules = {_name(row): row["text"] for row in _not_kept(db.query(queries["modules"])) if row["text"]}
    return Live(rows=_rows(db, queries, columns), columns=columns, constraints=constraints, modules=modules)


def _not_kept(rows: list[dict]) -> list[dict]:
    """Return the rows but for those about what is in the trash, which no script means."""
    return [row for row in rows if not (is_kept(row["schema"], row["name"]) or is_kept("", row.get("col") or ""))]


def _name(row: dict) -> str:
    return f"{row['schema']}.{row['name']}".lower().lstrip(".")


def _rows(db: Engine, queries: dict, columns: dict) -> dict:
    if "rows" in queries:
        return {_name(row): int(row["count"] or 0) for row in _not_kept(db.query(queries["rows"]))}
    most = SMALL_TABLE_ROWS + 1
    return {
        table: db.query(f"SELECT count(*) AS count FROM (SELECT 1 FROM {db.quote(table)} LIMIT {most})")[0]["count"]
        for table in columns
    }


def read_definitions(db: Engine, live: Live, scripts: list[ScriptFacts], read: Callable[[Script], list[Fact]]) -> dict:
    """Return the facts of those views and routines that scripts define anew, by name.

    Parameters:
        live: with its modules.
        scripts: those to be judged.
        read: reads a script into facts.
    """
    wanted = [
        (fact.name, fact.values.get("routine", "VIEW"))
        for script in scripts
        for fact in script.facts
        if fact.kind in ("create_view", "alter_view", "create_materialized_view", "create_routine", "alter_routine")
    ]
    found: dict[str, Fact] = {}
    for name, kind in wanted:
        module = next((other for other in live.modules if same_name(other, name)), None)
        if module is None or module in found:
            continue
        text = _whole(db, module, kind, live.modules[module])
        with suppress(ScriptError):
            facts = read(parse_script(text, module, db.lexis))
            if facts and facts[0].kind.startswith("create_"):
                found[module] = facts[0]
    return found


def _whole(db: Engine, module: str, kind: str, text: str) -> str:
    """Return a module's whole definition: MySQL and MariaDB keep a routine's head apart from its body."""
    if db.name not in ("mysql", "mariadb") or kind == "VIEW":
        return text
    with suppress(DatabaseError):
        rows = db.query(f"SHOW CREATE {kind} {db.quote(module.rpartition('.')[2])}")
        return f"DELIMITER $$\n{rows[0][f'create {kind.lower()}']}\n$$\nDELIMITER ;\n" if rows else text
    return text
