# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a MariaDB or MySQL server tells of who uses what.

Facts relied on, from both manuals: without the right PROCESS a user sees its own sessions only; a session's attributes, of which
program_name is one, are in performance_schema, which MariaDB leaves off unless told otherwise; a view keeps its query with every
name in full, and its text is empty for who lacks SHOW VIEW, a routine's is NULL; a digest without a text sums up what had no
place in the table of digests, and a text ends where max_digest_length does; a digest is of the database that the session was in;
all counters begin anew with the server, and digests when somebody empties their table.

Seen of MariaDB 10.11: what runs as a prepared statement of the server, as with ODBC or many pools of connections, is in no
digest, only in the number of executions by account; and a read that finds no row may not count as a wait for its table.
"""

from __future__ import annotations

import re

from ..engines.mysql_catalog import MAY_SEE_OTHERS
from .base import Count, Edge, Module, Object, Unseen, Witness, counted_texts, module_of, not_counted

_SESSIONS = """
SELECT p.id AS session, {program} AS program, p.user AS login, p.host AS host, NULL AS since FROM information_schema.processlist p
WHERE p.id <> connection_id() AND (p.db = database() OR p.db IS NULL) AND p.user NOT IN ('system user', 'event_scheduler')
  AND p.command NOT IN ('Daemon', 'Binlog Dump', 'Binlog Dump GTID')
"""
_PROGRAM = (
    "(SELECT max(a.attr_value) FROM performance_schema.session_connect_attrs a"
    " WHERE a.processlist_id = p.id AND a.attr_name = 'program_name')"
)
_EDGES = """
SELECT constraint_name AS by_name, table_name AS of_table, referenced_table_name AS on_name, referenced_column_name AS on_column
FROM information_schema.key_column_usage WHERE referenced_table_schema = database() AND referenced_table_name IS NOT NULL
"""
# Other databases of the server may use this one, and have to write its name then.
_MODULES = """
SELECT 'view' AS kind, concat(table_schema, '.', table_name) AS name, nullif(view_definition, '') AS text, NULL AS of_table
FROM information_schema.views
WHERE table_schema = database() OR instr(view_definition, concat('`', database(), '`.')) > 0
UNION ALL SELECT 'routine', concat(routine_schema, '.', routine_name), routine_definition, NULL
FROM information_schema.routines
WHERE routine_schema = database() OR instr(lower(routine_definition), lower(database())) > 0
UNION ALL SELECT 'trigger', concat(trigger_schema, '.', trigger_name), action_statement, event_object_table
FROM information_schema.triggers
WHERE trigger_schema = database() OR instr(lower(action_statement), lower(database())) > 0
UNION ALL SELECT 'event', concat(event_schema, '.', event_name), event_definition, NULL
FROM information_schema.events
WHERE event_schema = database() OR instr(lower(event_definition), lower(database())) > 0
UNION ALL SELECT 'column', concat(table_name, '.', column_name), generation_expression, table_name
FROM information_schema.columns WHERE table_schema = database() AND generation_expression <> ''
"""
_STARTED = "SELECT utc_timestamp() - INTERVAL variable_value SECOND AS since FROM {status} WHERE variable_name = 'Uptime'"
_STATUS = ("information_schema.global_status", "performance_schema.global_status")
_TABLES = """
SELECT lower(object_name) AS name, count_star AS uses FROM performance_schema.table_io_waits_summary_by_table
WHERE object_schema = database()
"""
_COUNTED = "SELECT enabled FROM performance_schema.setup_instruments WHERE name = 'wait/io/table/sql/handler'"
_DIGESTS = """
SELECT digest_text AS text, count_star AS calls, last_seen AS last
FROM performance_schema.events_statements_summary_by_digest
WHERE digest IS NULL OR schema_name IS NULL OR schema_name = database() OR instr(lower(digest_text), lower(database())) > 0
"""
_KEPT = """
SELECT least(@@max_digest_length, @@performance_schema_max_digest_length) AS longest, min(first_seen) AS since
FROM performance_schema.events_statements_summary_by_digest
"""
# What is kept of a statement are its words, which take up to a fourth more room than their text.
_MAY_BE_CUT = 0.75
_CONSUMER = "SELECT enabled FROM performance_schema.setup_consumers WHERE name = 'statements_digest'"
# What this very user does from this very host is everup's own.
_PREPARED = """
SELECT coalesce(sum(e.count_star), 0) AS n, coalesce(max(s.others), 0) AS others
FROM (SELECT substring_index(user(), '@', 1) AS user, substring_index(user(), '@', -1) AS host) me
LEFT JOIN performance_schema.events_statements_summary_by_account_by_event_name e
  ON e.event_name = 'statement/com/Execute' AND e.user IS NOT NULL AND NOT (e.user = me.user AND e.host = me.host)
LEFT JOIN (SELECT user, substring_index(host, ':', 1) AS host, count(*) AS others FROM information_schema.processlist
           WHERE id <> connection_id() GROUP BY 1, 2) s ON s.user = me.user AND s.host = me.host
"""
_ENABLE = "it needs performance_schema = ON in the server's configuration and a restart"
_OWN_USER = (
    "others log in as the deploy's own user from this host, and what they prepare cannot be told from what everup does: give the "
    "deploy a user of its own"
)
_RIGHT = "it needs the right to read it: GRANT SELECT ON performance_schema.* TO the deploy's user"


class MysqlWitness(Witness):
    """One database of a MariaDB or MySQL server."""

    def sessions(self) -> list[dict]:
        if not self.db.query(MAY_SEE_OTHERS)[0]["n"]:
            raise Unseen("this user sees its own sessions only: GRANT PROCESS ON *.* to it.")
        rows = self.try_query(_SESSIONS.format(program=_PROGRAM))
        if rows is None:
            rows = self.db.query(_SESSIONS.format(program="NULL"))
        return [{**row, "host": (row["host"] or "").rpartition(":")[0] or row["host"]} for row in rows]

    def home(self) -> tuple:
        return (self.db.query("SELECT database() AS name")[0]["name"],)

    def edges(self) -> list[Edge]:
        rows = self.db.query(_EDGES)
        return [Edge("constraint", row["by_name"], row["of_table"], row["on_name"], row["on_column"] or "") for row in rows]

    def modules(self) -> list[Module]:
        return [module_of(row) for row in self.db.query(_MODULES)]

    def counts(self, objects: list[Object], own: set[str]) -> list[Count]:
        tables = [wanted for wanted in objects if wanted.kind == "table"]
        others = [wanted for wanted in objects if wanted.kind in ("column", "view", "routine")]
        if self.db.query("SELECT @@performance_schema AS is_on")[0]["is_on"] != 1:
            return not_counted("performance_schema", [*tables, *others], _ENABLE)
        since = self._started()
        return self._tables(tables, since) + self._digests([*tables, *others], since, own)

    def _started(self) -> str:
        for status in _STATUS:
            rows = self.try_query(_STARTED.format(status=status))
            if rows:
                return rows[0]["since"]
        return "an unknown time"

    def _tables(self, tables: list[Object], since: str) -> list[Count]:
        source = "table_io_waits_summary_by_table"
        rows, counted = self.try_query(_TABLES), self.try_query(_COUNTED)
        if rows is None or counted is None:
            return not_counted(source, tables, _RIGHT)
        if [row["enabled"] for row in counted] != ["YES"]:
            why = "it needs the instrument wait/io/table/sql/handler, which setup_instruments has disabled"
            return not_counted(source, tables, why)
        uses = {row["name"]: int(row["uses"]) for row in rows}
        return [Count(source, str(wanted), uses.get(wanted.words[-1], 0), None, since, suffices=False) for wanted in tables]

    def _digests(self, objects: list[Object], since: str, own: set[str]) -> list[Count]:
        source = "events_statements_summary_by_digest"
        rows, counted = self.try_query(_DIGESTS), self.try_query(_CONSUMER)
        if rows is None or counted is None:
            return not_counted(source, objects, _RIGHT)
        if [row["enabled"] for row in counted] != ["YES"]:
            return not_counted(source, objects, "it needs the consumer statements_digest, which setup_consumers has disabled")
        prepared = self.try_query(_PREPARED)
        if prepared is None:
            return not_counted(source, objects, _RIGHT)
        if prepared[0]["others"]:
            return not_counted(source, objects, _OWN_USER)
        kept = self.db.query(_KEPT)[0]
        unseen = int(prepared[0]["n"]) + sum(int(row["calls"]) for row in rows if _is_unseen(row["text"], int(kept["longest"])))
        moment = f"{since}, {unseen} statements in no digest or cut short, digests since {kept['since'] or 'now'}"
        return counted_texts(source, objects, rows, moment, own)


def _is_unseen(text: str | None, longest: int) -> bool:
    """Return whether nobody can tell what a statement names: its text has no place, or may have been cut short.

    What asks the catalog, as everup does at length, names nothing of the users'.
    """
    return text is None or (len(text) >= longest * _MAY_BE_CUT and not re.search("(?i)(information|performance)_schema", text))
