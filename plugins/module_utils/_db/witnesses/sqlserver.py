# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a SQL Server tells of who uses what.

Facts relied on, from Microsoft Learn: without VIEW SERVER STATE sys.dm_exec_sessions shows one's own session only; its times are
the server's local ones; sys.sql_expression_dependencies knows a column of what is bound to the schema, else the object alone, and
none of what dynamic SQL names; sys.sql_modules.definition is NULL for what is encrypted or may not be seen;
sys.dm_db_index_usage_stats begins anew with the server; sys.dm_exec_procedure_stats knows plans that are cached now, so that what
it does not know says nothing; the Query Store keeps every statement only with QUERY_CAPTURE_MODE = ALL, those of a procedure or
function under its object_id, and never the call of it.
"""

from __future__ import annotations

from ..engines.sqlserver_sessions import MAY_SEE
from .base import Count, Edge, Module, Object, Unseen, Witness, counted_texts, module_of, not_counted

_UTC = "DATEADD(minute, DATEDIFF(minute, GETDATE(), GETUTCDATE()), {0})"
_ISO = "CONVERT(varchar(23), {0}, 126) + 'Z'"
_SESSIONS = f"""
SELECT CAST(session_id AS varchar(11)) AS session, RTRIM(program_name) AS program, login_name AS login, host_name AS host,
       {_ISO.format(_UTC.format("login_time"))} AS since
FROM sys.dm_exec_sessions WHERE is_user_process = 1 AND session_id <> @@SPID AND database_id = DB_ID()
"""
_EDGES = """
SELECT CASE o.type WHEN 'V' THEN N'view' WHEN 'TR' THEN N'trigger' WHEN 'U' THEN N'column' WHEN 'C' THEN N'constraint'
            ELSE N'routine' END AS kind,
       CASE o.type WHEN 'U' THEN COALESCE(COL_NAME(o.object_id, d.referencing_minor_id), o.name)
            WHEN 'C' THEN o.name WHEN 'TR' THEN o.name ELSE SCHEMA_NAME(o.schema_id) + N'.' + o.name END AS by_name,
       CASE o.type WHEN 'U' THEN SCHEMA_NAME(o.schema_id) + N'.' + o.name
            ELSE COALESCE(OBJECT_SCHEMA_NAME(o.parent_object_id) + N'.' + OBJECT_NAME(o.parent_object_id), N'') END AS of_table,
       COALESCE(d.referenced_schema_name + N'.', N'') + d.referenced_entity_name AS on_name,
       COALESCE(COL_NAME(d.referenced_id, NULLIF(d.referenced_minor_id, 0)), N'') AS on_column
FROM sys.sql_expression_dependencies d JOIN sys.objects o ON o.object_id = d.referencing_id
WHERE d.referenced_server_name IS NULL AND (d.referenced_database_name IS NULL OR d.referenced_database_name = DB_NAME())
  AND d.referenced_entity_name IS NOT NULL AND d.referencing_id <> COALESCE(d.referenced_id, 0)
UNION ALL
SELECT N'column', COL_NAME(d.referencing_id, d.referencing_minor_id), SCHEMA_NAME(t.schema_id) + N'.' + t.name,
       SCHEMA_NAME(t.schema_id) + N'.' + t.name, COALESCE(COL_NAME(d.referenced_id, NULLIF(d.referenced_minor_id, 0)), N'')
FROM sys.sql_expression_dependencies d JOIN sys.tables t ON t.object_id = d.referencing_id
WHERE d.referencing_id = d.referenced_id AND d.referencing_minor_id > 0 AND d.referencing_class = 1
UNION ALL
SELECT N'constraint', OBJECT_NAME(f.constraint_object_id),
       OBJECT_SCHEMA_NAME(f.parent_object_id) + N'.' + OBJECT_NAME(f.parent_object_id),
       OBJECT_SCHEMA_NAME(f.referenced_object_id) + N'.' + OBJECT_NAME(f.referenced_object_id),
       COL_NAME(f.referenced_object_id, f.referenced_column_id)
FROM sys.foreign_key_columns f
UNION ALL
SELECT N'synonym', s.name, N'', REPLACE(REPLACE(s.base_object_name, N'[', N''), N']', N''), N'' FROM sys.synonyms s
"""
_MODULES = """
SELECT CASE o.type WHEN 'V' THEN N'view' WHEN 'TR' THEN N'trigger' ELSE N'routine' END AS kind,
       SCHEMA_NAME(o.schema_id) + N'.' + o.name AS name, m.[definition] AS text,
       OBJECT_SCHEMA_NAME(o.parent_object_id) + N'.' + OBJECT_NAME(o.parent_object_id) AS of_table
FROM sys.sql_modules m JOIN sys.objects o ON o.object_id = m.object_id WHERE o.is_ms_shipped = 0
UNION ALL
SELECT N'column', OBJECT_NAME(c.object_id) + N'.' + c.name, c.[definition],
       OBJECT_SCHEMA_NAME(c.object_id) + N'.' + OBJECT_NAME(c.object_id)
FROM sys.computed_columns c
"""
_STARTED = f"SELECT {_ISO.format(_UTC.format('sqlserver_start_time'))} AS since FROM sys.dm_os_sys_info"
_TABLES = f"""
SELECT LOWER(SCHEMA_NAME(t.schema_id) + N'.' + t.name) AS name,
       SUM(COALESCE(u.user_seeks + u.user_scans + u.user_lookups + u.user_updates, 0)) AS uses,
       {_ISO.format(_UTC.format("MAX(l.used)"))} AS last
FROM sys.tables t
LEFT JOIN sys.dm_db_index_usage_stats u ON u.object_id = t.object_id AND u.database_id = DB_ID()
OUTER APPLY (SELECT MAX(v.used) AS used FROM (VALUES (u.last_user_seek), (u.last_user_scan), (u.last_user_lookup),
             (u.last_user_update)) v (used)) l
GROUP BY t.schema_id, t.name
"""
_CACHED = f"""
SELECT LOWER(OBJECT_SCHEMA_NAME(p.object_id, p.database_id) + N'.' + OBJECT_NAME(p.object_id, p.database_id)) AS name,
       SUM(p.execution_count) AS uses, {_ISO.format(_UTC.format("MAX(p.last_execution_time)"))} AS last,
       {_ISO.format(_UTC.format("MIN(p.cached_time)"))} AS since
FROM (SELECT object_id, database_id, execution_count, last_execution_time, cached_time FROM sys.dm_exec_procedure_stats
      UNION ALL SELECT object_id, database_id, execution_count, last_execution_time, cached_time
      FROM sys.dm_exec_function_stats) p
WHERE p.database_id = DB_ID() GROUP BY p.object_id, p.database_id
"""
_QUERY_STORE = "SELECT actual_state_desc AS state, query_capture_mode_desc AS mode FROM sys.database_query_store_options"
_QUERIES = f"""
SELECT t.query_sql_text AS text, LOWER(OBJECT_SCHEMA_NAME(q.object_id) + N'.' + OBJECT_NAME(q.object_id)) AS inside,
       SUM(r.count_executions) AS calls,
       {_ISO.format("CAST(MAX(r.last_execution_time) AT TIME ZONE 'UTC' AS datetime2(3))")} AS last
FROM sys.query_store_query_text t JOIN sys.query_store_query q ON q.query_text_id = t.query_text_id
JOIN sys.query_store_plan p ON p.query_id = q.query_id JOIN sys.query_store_runtime_stats r ON r.plan_id = p.plan_id
GROUP BY t.query_text_id, t.query_sql_text, q.object_id
"""
_STORE = "query_store"
_RIGHT = "this login may not see it: GRANT VIEW SERVER STATE (VIEW DATABASE STATE on Azure SQL Database)"


class SqlserverWitness(Witness):
    """One database of a SQL Server."""

    def sessions(self) -> list[dict]:
        if not self._may_see():
            raise Unseen("this login sees its own session only: GRANT VIEW SERVER STATE to it.")
        return self.db.query(_SESSIONS)

    def _may_see(self) -> bool:
        return any(self.db.query(MAY_SEE)[0].values())

    def home(self) -> tuple:
        return (self.db.query("SELECT SCHEMA_NAME() AS name")[0]["name"] or "dbo", "dbo")

    def edges(self) -> list[Edge]:
        rows = self.db.query(_EDGES)
        return [Edge(row["kind"], row["by_name"] or "", row["of_table"], row["on_name"], row["on_column"]) for row in rows]

    def modules(self) -> list[Module]:
        return [module_of(row) for row in self.db.query(_MODULES)]

    def counts(self, objects: list[Object], own: set[str]) -> list[Count]:
        tables = [wanted for wanted in objects if wanted.kind == "table"]
        texts = [wanted for wanted in objects if wanted.kind in ("column", "view", "routine")]
        if not self._may_see():
            return not_counted("sys.dm_db_index_usage_stats", [*tables, *texts], _RIGHT)
        since = self.db.query(_STARTED)[0]["since"]
        found = self._tables(tables, since) if tables else []
        found += self._cached([wanted for wanted in texts if wanted.kind == "routine"])
        return found + (self._stored(texts, own) if texts else [])

    def _tables(self, tables: list[Object], since: str) -> list[Count]:
        rows = self.db.query(_TABLES)
        found = []
        for wanted in tables:
            named = [row for row in rows if f".{row['name']}".endswith(f".{wanted.name.lower()}")]
            lasts = [row["last"] for row in named if row["last"]]
            uses = sum(int(row["uses"]) for row in named)
            found.append(Count("sys.dm_db_index_usage_stats", str(wanted), uses, max(lasts) if lasts else None, since))
        return found

    def _cached(self, routines: list[Object]) -> list[Count]:
        """Return what speaks against a routine: that its plan is cached shows its use, that none is shows nothing."""
        rows = self.db.query(_CACHED) if routines else []
        return [
            Count("sys.dm_exec_procedure_stats", str(wanted), int(row["uses"]), row["last"], row["since"], suffices=False)
            for wanted in routines
            for row in rows
            if f".{row['name']}".endswith(f".{wanted.name.lower()}")
        ]

    def _stored(self, objects: list[Object], own: set[str]) -> list[Count]:
        options = self.db.query(_QUERY_STORE)
        state, mode = (options[0]["state"], options[0]["mode"]) if options else ("OFF", "")
        if state != "READ_WRITE":
            why = f"the Query Store is {state}: ALTER DATABASE CURRENT SET QUERY_STORE = ON (QUERY_CAPTURE_MODE = ALL)"
            return not_counted(_STORE, objects, why)
        counted = counted_texts(_STORE, objects, self.db.query(_QUERIES), "the Query Store", own)
        if mode == "ALL":
            return counted
        why = f"the Query Store captures {mode} and may miss rare statements: SET QUERY_STORE (QUERY_CAPTURE_MODE = ALL)"
        return [Count(**{**one.__dict__, "suffices": False, "why": why}) for one in counted]
