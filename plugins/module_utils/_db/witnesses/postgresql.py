# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a PostgreSQL server tells of who uses what.

Facts relied on, from the documentation: everybody sees a session's application_name, but neither its kind nor, for want of
pg_read_all_stats, whence it came, and client_port is -1 of a local socket (28.2.3); a view's references hang on its rule, a
generated column's on its default, and a function written as a text has none (52.18 and 5.14);
pg_stat_user_tables counts scans and changes, each on the partition that has the rows, since pg_stat_database.stats_reset, which
a reset of one table moves, too (28.2); pg_stat_statements keeps the most frequent statements and says in pg_stat_statements_info
how often it has thrown some away (F.32); functions are counted with track_functions, but for those in SQL that are written into
the statement that calls them (20.9.2); a role and a database can have settings of their own (ALTER ROLE).

Seen of PostgreSQL 15: a crash takes all counters and leaves stats_reset NULL as it was; that of pg_stat_bgwriter moves.
"""

from __future__ import annotations

import json
from dataclasses import replace

from .base import Count, Edge, Module, Object, Witness, counted_texts, not_counted

_SESSIONS = """
SELECT pid::text AS session, application_name AS program, usename::text AS login,
       coalesce(host(client_addr), CASE WHEN client_port = -1 THEN 'local socket' END) AS host,
       to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS since
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
  AND coalesce(backend_type, 'client backend') = 'client backend'
"""
_EDGES = """
WITH own AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
owner AS (
  SELECT c.oid, CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE n.nspname || '.' END || c.relname AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
),
target AS (
  SELECT 'pg_class'::regclass AS class, c.oid, o.nspname || '.' || c.relname AS name
  FROM pg_class c JOIN own o ON o.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  UNION ALL SELECT 'pg_proc'::regclass, p.oid, o.nspname || '.' || p.proname FROM pg_proc p JOIN own o ON o.oid = p.pronamespace
)
SELECT x.kind, x.by_name, coalesce(w.name, '') AS of_table, t.name AS on_name, coalesce(a.attname::text, '') AS on_column
FROM pg_depend d
JOIN target t ON t.class = d.refclassid AND t.oid = d.refobjid
LEFT JOIN pg_attribute a ON d.refclassid = 'pg_class'::regclass AND a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  AND d.refobjsubid > 0
CROSS JOIN LATERAL (
  SELECT 'view' AS kind, v.name AS by_name, 0::oid AS of_table FROM pg_rewrite r JOIN target v ON v.oid = r.ev_class
  WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.ev_class <> d.refobjid AND d.deptype = 'n'
  UNION ALL SELECT 'constraint', c.conname, c.conrelid FROM pg_constraint c
  WHERE d.classid = 'pg_constraint'::regclass AND c.oid = d.objid AND c.conrelid <> 0 AND d.deptype = 'n'
  UNION ALL SELECT 'trigger', g.tgname, g.tgrelid FROM pg_trigger g
  WHERE d.classid = 'pg_trigger'::regclass AND g.oid = d.objid AND NOT g.tgisinternal AND d.deptype = 'n'
  UNION ALL SELECT 'column', b.attname, f.adrelid FROM pg_attrdef f
  JOIN pg_attribute b ON b.attrelid = f.adrelid AND b.attnum = f.adnum
  WHERE d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid AND NOT (f.adrelid = d.refobjid AND f.adnum = d.refobjsubid)
    AND (d.deptype = 'n' OR b.attgenerated <> '')
  UNION ALL SELECT 'routine', p.name, 0::oid FROM target p
  WHERE d.classid = 'pg_proc'::regclass AND p.class = d.classid AND p.oid = d.objid AND d.deptype = 'n'
  UNION ALL SELECT 'policy', y.polname, y.polrelid FROM pg_policy y
  WHERE d.classid = 'pg_policy'::regclass AND y.oid = d.objid AND d.deptype = 'n'
) x
LEFT JOIN owner w ON w.oid = x.of_table
"""
_MODULES = """
SELECT 'view' AS kind, n.nspname || '.' || c.relname AS name, pg_get_viewdef(c.oid) AS text, '[]' AS attached, NULL AS arguments
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL
SELECT 'routine', n.nspname || '.' || p.proname, p.prosrc,
       coalesce((SELECT json_agg(json_build_array(s.nspname || '.' || c.relname, g.tgname))::text FROM pg_trigger g
                 JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace s ON s.oid = c.relnamespace
                 WHERE g.tgfoid = p.oid), '[]'), pg_get_function_identity_arguments(p.oid)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
"""
_SINCE = """
SELECT coalesce(to_char(stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'the beginning') || ', all since '
       || coalesce((SELECT to_char(b.stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') FROM pg_stat_bgwriter b),
                   'the beginning') AS since
FROM pg_stat_database WHERE datname = current_database()
"""
# What leaves uses out, here or for a role or database with a setting of its own.
_LEAVES_OUT = """
SELECT name FROM pg_settings WHERE setting IN ('off', 'none', 'pl')
  AND name IN ('track_counts', 'track_functions', 'pg_stat_statements.track', 'pg_stat_statements.track_utility')
UNION SELECT lower(split_part(c, '=', 1)) FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) c
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND lower(split_part(c, '=', 2)) IN ('off', 'none', 'pl', 'false', 'no', '0', 'f', 'n')
"""
# last_seq_scan and last_idx_scan came with version 16.
_TABLES = """
WITH RECURSIVE tree AS (
  SELECT c.oid AS root, c.oid AS part FROM pg_class c WHERE c.relkind IN ('r', 'p', 'm')
  UNION SELECT t.root, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.part
)
SELECT lower(n.nspname || '.' || r.relname) AS name,
       sum(coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0) + s.n_tup_ins + s.n_tup_upd + s.n_tup_del)::bigint AS uses,
       to_char(max(greatest((to_jsonb(s) ->> 'last_seq_scan')::timestamptz, (to_jsonb(s) ->> 'last_idx_scan')::timestamptz))
               AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS last
FROM tree t JOIN pg_class r ON r.oid = t.root JOIN pg_namespace n ON n.oid = r.relnamespace
JOIN pg_stat_user_tables s ON s.relid = t.part GROUP BY r.oid, n.nspname, r.relname
"""
_FUNCTIONS = (
    "SELECT lower(schemaname || '.' || funcname) AS name, sum(calls)::bigint AS uses FROM pg_stat_user_functions GROUP BY 1"
)
_IN_SQL = """
SELECT lower(n.nspname || '.' || p.proname) AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname = 'sql' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
_EXTENSION = """
SELECT quote_ident(n.nspname) AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
"""
_THROWN_AWAY = """
SELECT to_char(stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || ', ' || dealloc || ' thrown away' AS since
FROM {schema}.pg_stat_statements_info
"""
_STATEMENTS = """
SELECT query AS text, sum(calls)::bigint AS calls, NULL AS last FROM {schema}.pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY query
"""
_HIDDEN = "<insufficient privilege>"
_ENABLE = (
    "it needs the extension pg_stat_statements: shared_preload_libraries = 'pg_stat_statements', a restart, then CREATE EXTENSION"
)


class PostgresqlWitness(Witness):
    """One database of a PostgreSQL server."""

    def sessions(self) -> list[dict]:
        return self.db.query(_SESSIONS)

    def home(self) -> tuple:
        rows = self.db.query("SELECT unnest(current_schemas(false))::text AS name")
        return tuple(row["name"] for row in rows)

    def edges(self) -> list[Edge]:
        rows = self.db.query(_EDGES)
        return [Edge(row["kind"], row["by_name"], row["of_table"], row["on_name"], row["on_column"]) for row in rows]

    def modules(self) -> list[Module]:
        found = []
        for row in self.db.query(_MODULES):
            attached = tuple(tuple(pair) for pair in json.loads(row["attached"]))
            found.append(Module(row["kind"], row["name"], row["text"], attached, row["arguments"]))
        return found

    def counts(self, objects: list[Object], own: set[str]) -> list[Count]:
        since = self.db.query(_SINCE)[0]["since"]
        left_out = {row["name"] for row in self.db.query(_LEAVES_OUT)}
        found = self._tables([wanted for wanted in objects if wanted.kind == "table"], since, left_out)
        in_text = [wanted for wanted in objects if wanted.kind in ("column", "view", "routine")]
        if "track_functions" not in left_out:
            called = self._functions([wanted for wanted in in_text if wanted.kind == "routine"], since)
            enough = {one.object for one in called if one.suffices}
            found += called
            in_text = [wanted for wanted in in_text if str(wanted) not in enough]
        return found + self._statements(in_text, own, left_out)

    def _tables(self, tables: list[Object], since: str, left_out: set[str]) -> list[Count]:
        source = "pg_stat_user_tables"
        if not tables:
            return []
        if "track_counts" in left_out:
            return not_counted(source, tables, "the server counts not all of it: set track_counts = on for every role")
        return _by_name(source, tables, self.db.query(_TABLES), since, absent=None)

    def _functions(self, routines: list[Object], since: str) -> list[Count]:
        """Return the calls of routines; of one in SQL they only speak against it."""
        in_sql = [row["name"] for row in self.db.query(_IN_SQL)]
        counted = _by_name("pg_stat_user_functions", routines, self.db.query(_FUNCTIONS), since, absent=0)
        may_miss = {str(wanted) for wanted in routines if any(_is_named(name, wanted) for name in in_sql)}
        return [replace(one, suffices=one.object not in may_miss) for one in counted]

    def _statements(self, objects: list[Object], own: set[str], left_out: set[str]) -> list[Count]:
        source = "pg_stat_statements"
        if not objects:
            return []
        schema = self.db.query(_EXTENSION)
        if not schema:
            return not_counted(source, objects, _ENABLE)
        off = sorted(name for name in left_out if name.startswith(source))
        if off:
            why = f"{', '.join(off)} leaves statements out, for all or for one role (pg_db_role_setting): take that back"
            return not_counted(source, objects, why)
        rows = self.try_query(_STATEMENTS.format(**schema[0]))
        since = self.try_query(_THROWN_AWAY.format(**schema[0]))
        if rows is None:
            return not_counted(source, objects, _ENABLE)
        if since is None:
            why = (
                "pg_stat_statements is older than 1.9 and does not tell when its counters begin anew: ALTER EXTENSION ... UPDATE"
            )
            return not_counted(source, objects, why)
        if any(row["text"] == _HIDDEN for row in rows):
            return not_counted(
                source, objects, "other users' statements are hidden: GRANT pg_read_all_stats TO the deploy's user"
            )
        if any(row["text"] is None for row in rows):
            return not_counted(source, objects, "the texts of its statements are lost: SELECT pg_stat_statements_reset()")
        return counted_texts(source, objects, rows, since[0]["since"], own)


def _is_named(name: str, wanted: Object) -> bool:
    return f".{name}".endswith(f".{wanted.name.lower()}")


def _by_name(source: str, objects: list[Object], rows: list[dict], since: str, absent: int | None) -> list[Count]:
    """Return the counters of objects by name; of one name in two schemas both count.

    Parameters:
        absent: what one without a row was used.
    """
    found = []
    for wanted in objects:
        named = [row for row in rows if _is_named(row["name"], wanted)]
        if not named and absent is None:
            found.append(Count(source, str(wanted), None, why=f"{source} has no row of it"))
            continue
        lasts = [row["last"] for row in named if row.get("last")]
        uses = sum(int(row["uses"]) for row in named)
        found.append(Count(source, str(wanted), uses, max(lasts) if lasts else None, since))
    return found
