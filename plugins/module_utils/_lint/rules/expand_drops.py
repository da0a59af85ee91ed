# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the expand phase must leave in place: the old version of the application still uses it."""

from __future__ import annotations

from ..facts import Fact, same_name
from ..rule import (
    ENGINES,
    ERROR,
    EXPAND,
    MARIADB,
    MYSQL,
    POSTGRESQL,
    REPEATABLE,
    SERVERS,
    SQLITE,
    SQLSERVER,
    WARNING,
    Context,
    rule,
)

_PHASES = (EXPAND, REPEATABLE)
_WHY = "The old version runs until the last web server is upgraded, and again after a rollback. "
_LATER = "-- in contract/, with the version of this script, once nothing uses it:\n"


def _in_contract(sql: str) -> dict:
    return dict.fromkeys(ENGINES, _LATER + sql)


def _comes_back(fact: Fact, context: Context, *kinds: str) -> bool:
    """Return whether the same transaction makes the object again, so that nobody ever sees it missing."""
    return context.in_transaction and any(
        other.kind in kinds and same_name(other.name, fact.name) for other in context.later(fact)
    )


@rule(
    "expand-drop-table",
    ERROR,
    kinds=("drop_table",),
    phases=_PHASES,
    why=_WHY + "Every query of it on this table fails at once, and its rows are gone.",
    instead=_in_contract("DROP TABLE {table};"),
    peers=("squawk:ban-drop-table", "atlas:DS102", "atlas:BC103"),
)
def drop_table(fact: Fact, context: Context) -> str | None:
    if fact.has("temporary") or context.is_new(fact.table, fact):
        return None
    return f"table {fact.table} is dropped while the old version still uses it"


@rule(
    "expand-drop-column",
    ERROR,
    kinds=("drop_column",),
    phases=_PHASES,
    why=_WHY + "Its queries name the column, or its object mapper lists it, and fail at once; the values are gone.",
    instead=_in_contract("ALTER TABLE {table} DROP COLUMN {name};"),
    peers=("squawk:ban-drop-column", "atlas:DS103", "atlas:BC104", "strong_migrations:remove_column"),
)
def drop_column(fact: Fact, context: Context) -> str | None:
    if context.is_new_column(fact.table, fact.name, fact):
        return None
    return f"column {fact.name} of {fact.table} is dropped while the old version still uses it"


@rule(
    "expand-drop-view",
    ERROR,
    kinds=("drop_view", "drop_materialized_view"),
    phases=_PHASES,
    why=_WHY
    + "It reads the view, also between a DROP and the CREATE behind it, and rights granted on the view are lost with it.",
    instead={
        POSTGRESQL: "CREATE OR REPLACE VIEW {name} AS ...;  -- or a new {name}_2 beside it, and the old one dropped in contract/",
        SQLSERVER: "CREATE OR ALTER VIEW {name} AS ...;  -- or a new {name}_2 beside it, and the old one dropped in contract/",
        MYSQL: "CREATE OR REPLACE VIEW {name} AS ...;  -- or a new {name}_2 beside it, and the old one dropped in contract/",
        MARIADB: "CREATE OR REPLACE VIEW {name} AS ...;  -- or a new {name}_2 beside it, and the old one dropped in contract/",
        SQLITE: "CREATE VIEW {name}_2 AS ...;  -- beside the old one, which contract/ drops",
    },
    peers=("squawk:ban-drop-view",),
)
def drop_view(fact: Fact, context: Context) -> str | None:
    if context.is_made(fact, "create_view", "create_materialized_view"):
        return None
    if _comes_back(fact, context, "create_view", "create_materialized_view"):
        return None
    return f"view {fact.name} is dropped while the old version still reads it"


@rule(
    "expand-drop-routine",
    ERROR,
    kinds=("drop_routine",),
    phases=_PHASES,
    engines=(POSTGRESQL, SQLSERVER, MYSQL, MARIADB),
    why=_WHY + "It calls the routine, also between a DROP and the CREATE behind it, and the rights granted on it are lost.",
    instead={
        POSTGRESQL: "CREATE OR REPLACE FUNCTION {name} ...;  -- or a new {name}_2 beside it, and the old one dropped in "
        "contract/",
        SQLSERVER: "CREATE OR ALTER PROCEDURE {name} ...;  -- or a new {name}_2 beside it, and the old one dropped in contract/",
        MYSQL: "CREATE PROCEDURE {name}_2 ...;  -- beside the old one, which contract/ drops",
        MARIADB: "CREATE OR REPLACE PROCEDURE {name} ...;  -- or a new {name}_2 beside it, and the old one dropped in contract/",
    },
    peers=("squawk:ban-drop-function",),
)
def drop_routine(fact: Fact, context: Context) -> str | None:
    if context.is_made(fact, "create_routine") or _comes_back(fact, context, "create_routine"):
        return None
    what = fact.values.get("routine", "routine").lower()
    return f"{what} {fact.name} is dropped while the old version still calls it"


@rule(
    "expand-drop-constraint",
    ERROR,
    kinds=("drop_constraint",),
    phases=_PHASES,
    engines=(POSTGRESQL, SQLSERVER, MYSQL, MARIADB),
    why=_WHY
    + "It may rely on what the constraint promises: a default that fills what it leaves out, a key that its ON CONFLICT or its"
    " upsert names, rows that a cascade removes.",
    instead=_in_contract("ALTER TABLE {table} DROP CONSTRAINT {name};"),
    peers=("squawk:ban-drop-constraint", "atlas:CD101", "atlas:CD102", "atlas:CD103"),
)
def drop_constraint(fact: Fact, context: Context) -> str | None:
    made = [other for other in context.earlier(fact) if other.kind == "add_constraint" and same_name(other.name, fact.name)]
    again = [other for other in context.later(fact) if other.kind == "add_constraint" and same_name(other.table, fact.table)]
    if made or again or context.is_new(fact.table, fact):
        return None
    return f"constraint {fact.name} of {fact.table} is dropped while the old version may rely on it"


@rule(
    "expand-drop-index",
    WARNING,
    kinds=("drop_index",),
    phases=_PHASES,
    why=_WHY
    + "Queries of it that lived on the index read whole tables from then on; a unique one also promised that values differ.",
    instead={
        **_in_contract("DROP INDEX {name};"),
        POSTGRESQL: _LATER + "-- everup: transaction=none\nDROP INDEX CONCURRENTLY {name};",
        SQLSERVER: _LATER + "DROP INDEX {name} ON {table};",
        MYSQL: _LATER + "ALTER TABLE {table} DROP INDEX {name}, ALGORITHM=INPLACE, LOCK=NONE;",
        MARIADB: _LATER + "ALTER TABLE {table} DROP INDEX {name}, ALGORITHM=NOCOPY, LOCK=NONE;",
    },
    peers=("squawk:ban-drop-index",),
)
def drop_index(fact: Fact, context: Context) -> str | None:
    made = [other for other in context.earlier(fact) if other.kind == "create_index" and same_name(other.name, fact.name)]
    again = [other for other in context.later(fact) if other.kind == "create_index" and same_name(other.name, fact.name)]
    # A failed CREATE INDEX CONCURRENTLY leaves an invalid index: dropping it before the next try is the right thing.
    if made or again or (fact.table and context.is_new(fact.table, fact)):
        return None
    return f"index {fact.name} is dropped while queries of the old version may need it"


@rule(
    "expand-drop-trigger",
    ERROR,
    kinds=("drop_trigger",),
    phases=_PHASES,
    why=_WHY + "Whatever the trigger keeps in step, the old version does not keep itself.",
    instead={
        **_in_contract("DROP TRIGGER {name};"),
        POSTGRESQL: _LATER + "DROP TRIGGER {name} ON {table};",
    },
    peers=("squawk:ban-drop-trigger",),
)
def drop_trigger(fact: Fact, context: Context) -> str | None:
    if context.is_made(fact, "create_trigger") or _comes_back(fact, context, "create_trigger"):
        return None
    return f"trigger {fact.name} is dropped while the old version may rely on what it does"


@rule(
    "expand-drop-other",
    ERROR,
    kinds=("drop_other",),
    phases=_PHASES,
    why=_WHY + "Types, sequences, synonyms and schemas are part of what it sees.",
    instead=_in_contract("DROP ... {name};"),
    peers=(
        "squawk:ban-drop-database",
        "squawk:ban-drop-domain",
        "squawk:ban-drop-extension",
        "squawk:ban-drop-schema",
        "squawk:ban-drop-sequence",
        "squawk:ban-drop-type",
        "atlas:DS101",
    ),
)
def drop_other(fact: Fact, context: Context) -> str | None:
    if context.is_made(fact, "create_other") or _comes_back(fact, context, "create_other"):
        return None
    if fact.values.get("object") in ("STATISTICS", "ROLE", "USER", "LOGIN", "EVENT", "POLICY", "RULE"):
        return None
    return f"{fact.values.get('object', 'object').lower()} {fact.name} is dropped while the old version may use it"


@rule(
    "truncate-in-expand",
    ERROR,
    engines=SERVERS,
    kinds=("truncate",),
    phases=_PHASES,
    why=_WHY + "The rows are its data, and they are gone.",
    instead=dict.fromkeys(SERVERS, _LATER + "TRUNCATE TABLE {table};"),
)
def truncate(fact: Fact, context: Context) -> str | None:
    if context.is_new(fact.table, fact):
        return None
    return f"table {fact.table} is emptied while the old version still uses its rows"
