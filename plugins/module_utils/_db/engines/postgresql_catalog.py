# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a PostgreSQL server tells of itself: objects, settings and abilities.

Facts relied on: the system catalogs (PostgreSQL documentation, chapter 53); to_regclass() and to_regnamespace() read a name as
a statement would; an index that is not valid is what a CREATE INDEX CONCURRENTLY left on its way.
"""

from __future__ import annotations

import re

from ..questions import Question
from .base import Engine

CAPABILITIES = dict.fromkeys(
    (
        "session_lock",
        "online_index",
        "instant_add_column",
        "instant_drop_column",
        "statement_timeout",
        "subsecond_lock_timeout",
        "sequences",
    ),
    True,
)
_RELATIONS = {"table": "'r','p','f'", "view": "'v','m'", "sequence": "'S'"}
_RELATION = "SELECT 1 FROM pg_class WHERE oid = to_regclass(?) AND relkind IN ({0})"
_INDEX = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(?) AND indisvalid"
_INDEX_OF = (
    "SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " WHERE i.indrelid = to_regclass(?) AND c.relname = ? AND i.indisvalid"
)
_OF_TABLE = {
    "index": _INDEX_OF,
    "column": "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(?) AND attname = ? AND NOT attisdropped",
    "constraint": "SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(?) AND conname = ?",
    "trigger": "SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass(?) AND tgname = ? AND NOT tgisinternal",
}
_PRIMARY_KEY = "SELECT 1 FROM pg_index WHERE indrelid = to_regclass(?) AND indisprimary"
_NAMED = {
    "schema": "SELECT 1 FROM pg_namespace WHERE nspname = ?",
    "database": "SELECT 1 FROM pg_database WHERE datname = ?",
    "extension": "SELECT 1 FROM pg_extension WHERE extname = ?",
}
_ROUTINES = (
    "SELECT prosrc FROM pg_proc WHERE proname = ? AND prokind = '{0}' AND"
    " CASE WHEN ? = '' THEN pg_function_is_visible(oid) ELSE pronamespace = to_regnamespace(nullif(?, '')) END"
)
_SETTINGS = (
    "wal_level",
    "lock_timeout",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "max_connections",
    "synchronous_standby_names",
)
_REPLICATION = (
    "SELECT pg_is_in_recovery()::int AS standby, (SELECT count(*) FROM pg_stat_replication) AS replicas,"
    " (SELECT extract(epoch FROM max(replay_lag))::float8 FROM pg_stat_replication) AS lag"
)


def _folded(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()


def has_happened(db: Engine, question: Question) -> bool | None:
    """Return whether an object is as a statement leaves it; see :meth:`Engine.has_happened`."""
    if question.kind in ("function", "procedure"):
        return _routine(db, question)
    there = _is_there(db, question)
    return None if there is None else there == question.there


def _is_there(db: Engine, question: Question) -> bool | None:
    kind, written, table = question.kind, ".".join(question.name), ".".join(question.table)
    if kind in _RELATIONS:
        return bool(db.query(_RELATION.format(_RELATIONS[kind]), (written,)))
    if kind in _NAMED:
        return bool(db.query(_NAMED[kind], (_folded(question.name[-1]),)))
    if kind == "type":
        return bool(db.query("SELECT 1 WHERE to_regtype(?) IS NOT NULL", (written,)))
    if kind == "primary_key":
        return bool(db.query(_PRIMARY_KEY, (table,)))
    if kind == "index" and not table:
        return bool(db.query(_INDEX, (written,)))
    if kind in _OF_TABLE and table:
        return bool(db.query(_OF_TABLE[kind], (table, _folded(question.name[-1]))))
    return None


def _routine(db: Engine, question: Question) -> bool | None:
    """Return whether a routine is as a statement leaves it: several may have its name, and only the body tells them apart."""
    schema = ".".join(question.name[:-1])
    sql = _ROUTINES.format("p" if question.kind == "procedure" else "f")
    bodies = [row["prosrc"] for row in db.query(sql, (_folded(question.name[-1]), schema, schema))]
    if not bodies:
        return not question.there
    if not question.there:
        return None
    written = re.fullmatch(r"(?s)(\$\w*\$)(.*)\1", question.body)
    return True if written and written.group(2) in bodies else False if written else None


def settings(db: Engine) -> dict:
    """Return the settings that matter for a deploy, times as SHOW writes them; see :meth:`Engine.settings`.

    reset_val is what a new session starts with, which is what the application has.
    """
    names = ", ".join(f"'{name}'" for name in _SETTINGS)
    rows = db.query(f"SELECT name, reset_val || coalesce(unit, '') AS value FROM pg_settings WHERE name IN ({names})")
    facts = db.query(_REPLICATION)[0]
    return {
        **{row["name"]: row["value"] for row in rows},
        "replication": bool(facts["standby"] or facts["replicas"]),
        "replication_lag_seconds": facts["lag"],
    }
