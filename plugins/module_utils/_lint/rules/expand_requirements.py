# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the expand phase must not ask of the old version: it goes on writing the rows that it knows."""

from __future__ import annotations

import re

from ..data_types import is_same, is_widening
from ..facts import Column, Fact, same_name
from ..rule import (
    ENGINES,
    ERROR,
    EXPAND,
    MARIADB,
    MYSQL,
    MYSQLS,
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
_WHY = "The old version goes on writing rows as it always did, until the last web server is upgraded and again after a rollback. "
_KEYS = ("unique", "primary_key", "foreign_key", "check", "exclude")
_CONTRACT = "-- in contract/, once the backfill is finished and every server runs the new version:\n"
_EXECUTES = re.compile(r"EXECUTE (?:FUNCTION|PROCEDURE) (?P<name>[\w.]+)", re.IGNORECASE)
# INSERT INTO target (columns) VALUES or SELECT (values) in the body of a trigger.
_TRIGGER_INSERT = re.compile(
    r"INSERT INTO (?P<table>[\w.\[\]\"`]+)\s*\((?P<columns>[^()]*)\)\s*(?:VALUES\s*\((?P<values>[^;]*)\)|SELECT "
    "(?P<select>[^;]*?) FROM)",
    re.IGNORECASE,
)


@rule(
    "expand-required-column",
    ERROR,
    kinds=("add_column",),
    phases=_PHASES,
    why=_WHY
    + "It does not name the new column, so that each of its INSERTs fails; the statement itself fails on a table with rows.",
    instead={
        POSTGRESQL: "ALTER TABLE {table} ADD COLUMN {name} ... NULL;  -- filled by a backfill; NOT NULL in contract/",
        SQLSERVER: "ALTER TABLE {table} ADD {name} ... NULL;  -- filled by a backfill; NOT NULL in contract/",
        MYSQL: "ALTER TABLE {table} ADD COLUMN {name} ... NULL, ALGORITHM=INSTANT;  -- filled by a backfill; NOT NULL "
        "in contract/",
        MARIADB: "ALTER TABLE {table} ADD COLUMN {name} ... NULL, ALGORITHM=INSTANT;  -- filled by a backfill; NOT NULL "
        "in contract/",
        SQLITE: "ALTER TABLE {table} ADD COLUMN {name} ... NULL;  -- filled by a backfill",
    },
    peers=("squawk:adding-required-field", "atlas:MF103", "atlas:MY101"),
)
def required_column(fact: Fact, context: Context) -> str | None:
    column = fact.spec
    if not column.has("not_null", "primary_key") or column.has("default", "identity", "generated", "rowguid"):
        return None
    if context.is_new(fact.table, fact):
        return None
    return f"column {fact.name} of {fact.table} is NOT NULL without a default, and the old version does not fill it"


@rule(
    "expand-set-not-null",
    ERROR,
    kinds=("alter_column", "add_constraint"),
    phases=_PHASES,
    engines=SERVERS,
    why=_WHY + "Where it leaves the column empty, its write fails.",
    instead={
        POSTGRESQL: _CONTRACT
        + "ALTER TABLE {table} ADD CONSTRAINT {name}_not_null CHECK ({name} IS NOT NULL) NOT VALID;\n"
        + "-- and in a script of its own:\n"
        + "ALTER TABLE {table} VALIDATE CONSTRAINT {name}_not_null;\nALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL;",
        SQLSERVER: _CONTRACT + "ALTER TABLE {table} ALTER COLUMN {name} {type} NOT NULL;",
        MYSQL: _CONTRACT + "ALTER TABLE {table} MODIFY {name} {type} NOT NULL, ALGORITHM=INPLACE, LOCK=NONE;",
        MARIADB: _CONTRACT + "ALTER TABLE {table} MODIFY {name} {type} NOT NULL, ALGORITHM=NOCOPY, LOCK=NONE;",
    },
    peers=("squawk:adding-not-nullable-field", "squawk:ban-new-write-restriction", "atlas:MF104"),
)
def set_not_null(fact: Fact, context: Context) -> str | None:
    if fact.kind == "add_constraint":
        if fact.values.get("type") != "not_null" or fact.has("not_valid"):
            return None
        name = fact.values["columns"][0] if fact.values.get("columns") else fact.name
    elif not fact.has("set_not_null"):
        return None
    else:
        name = fact.name
    before = context.column_before(fact.table, name, fact)
    if context.is_new(fact.table, fact) or (before is not None and before.has("not_null", "primary_key", "default")):
        return None
    return f"column {name} of {fact.table} becomes NOT NULL, and the old version may leave it empty"


@rule(
    "expand-drop-default",
    ERROR,
    kinds=("alter_column",),
    phases=_PHASES,
    engines=(POSTGRESQL, *MYSQLS),
    why=_WHY + "Where it does not name the column, it relies on the default.",
    instead=dict.fromkeys((POSTGRESQL, *MYSQLS), _CONTRACT + "ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT;"),
    peers=("squawk:ban-drop-default",),
)
def drop_default(fact: Fact, context: Context) -> str | None:
    before = context.column_before(fact.table, fact.name, fact)
    loses = fact.has("whole") and before is not None and before.has("default") and not fact.spec.has("default")
    if not (fact.has("drop_default") or loses) or context.is_new_column(fact.table, fact.name, fact):
        return None
    if loses and not fact.spec.has("not_null"):
        return None
    return f"column {fact.name} of {fact.table} loses its default, and the old version may rely on it"


@rule(
    "expand-new-constraint",
    ERROR,
    kinds=("add_constraint", "create_index"),
    phases=_PHASES,
    why=_WHY
    + "Whatever rows the new version will not write, the old one still does: its writes fail, or the statement does on its rows.",
    instead={
        POSTGRESQL: "ALTER TABLE {table} ADD CONSTRAINT {name} ... NOT VALID;  -- where it holds for both versions\n"
        + _CONTRACT
        + "ALTER TABLE {table} VALIDATE CONSTRAINT {name};\n-- a unique one: CREATE UNIQUE INDEX CONCURRENTLY in contract/",
        SQLSERVER: "ALTER TABLE {table} WITH NOCHECK ADD CONSTRAINT {name} ...;  -- where it holds for both versions\n"
        + _CONTRACT
        + "ALTER TABLE {table} WITH CHECK CHECK CONSTRAINT {name};\n-- a unique one: CREATE UNIQUE INDEX in contract/",
        MYSQL: _CONTRACT + "ALTER TABLE {table} ADD CONSTRAINT {name} ...;",
        MARIADB: _CONTRACT + "ALTER TABLE {table} ADD CONSTRAINT {name} ...;",
        SQLITE: _CONTRACT + "CREATE UNIQUE INDEX {name} ON {table} (...);",
    },
    peers=("squawk:ban-new-write-restriction", "atlas:MF101", "atlas:MF102"),
)
def new_constraint(fact: Fact, context: Context) -> str | None:
    if fact.kind == "create_index":
        if not fact.has("unique"):
            return None
        what = "unique index"
    elif fact.values.get("type") not in _KEYS or fact.has("not_valid", "not_enforced") or fact.values.get("using_index"):
        return None
    else:
        what = fact.values["type"].replace("_", " ")
    if fact.values.get("type") == "primary_key" and _replaces_key(fact, context):
        return None
    if context.is_new(fact.table, fact) or _only_new_columns(fact, context):
        return None
    return f"{what} {fact.name or '(unnamed)'} on {fact.table} refuses rows that the old version may still write".replace(
        "  ", " "
    )


def _replaces_key(fact: Fact, context: Context) -> bool:
    return any(other.kind == "drop_constraint" and same_name(other.table, fact.table) for other in context.earlier(fact))


def _only_new_columns(fact: Fact, context: Context) -> bool:
    """Return whether all columns are ones that the old version leaves at NULL."""
    columns = fact.values.get("columns", [])
    if not columns:
        return False
    return all(_is_left_null(fact, column, context) for column in columns)


def _is_left_null(fact: Fact, column: str, context: Context) -> bool:
    added = [
        other
        for other in context.earlier(fact)
        if other.kind == "add_column" and same_name(other.table, fact.table) and other.name.lower() == column.split()[0].lower()
    ]
    return bool(added) and not added[-1].spec.has("not_null", "default")


@rule(
    "expand-change-type",
    ERROR,
    kinds=("alter_column",),
    phases=_PHASES,
    engines=SERVERS,
    why=_WHY + "Values that it writes may no longer fit, and values that it reads come back as another type.",
    instead={
        POSTGRESQL: "ALTER TABLE {table} ADD COLUMN {name}_2 {type};  -- kept in step by a trigger, filled by a "
        "backfill; old one dropped in contract/",
        SQLSERVER: "ALTER TABLE {table} ADD {name}_2 {type} NULL;  -- kept in step by a trigger, filled by a backfill; "
        "old one dropped in contract/",
        MYSQL: "ALTER TABLE {table} ADD COLUMN {name}_2 {type} NULL, ALGORITHM=INSTANT;  -- kept in step by a trigger, "
        "filled by a backfill",
        MARIADB: "ALTER TABLE {table} ADD COLUMN {name}_2 {type} NULL, ALGORITHM=INSTANT;  -- kept in step by a "
        "trigger, filled by a backfill",
    },
)
def change_type(fact: Fact, context: Context) -> str | None:
    if not fact.has("type") or not fact.spec.type or context.is_new_column(fact.table, fact.name, fact):
        return None
    before = context.column_before(fact.table, fact.name, fact)
    if before is None or not before.type:
        if fact.has("whole"):
            return None  # the whole column is said again, and nothing tells that its type is another one: see the next rule
        return f"column {fact.name} of {fact.table} becomes {fact.spec.type}; what it is now, nothing here tells"
    if is_widening(before.type, fact.spec.type):
        return None
    return f"column {fact.name} of {fact.table} goes from {before.type} to {fact.spec.type}, which holds less"


@rule(
    "expand-restate-column",
    WARNING,
    kinds=("alter_column",),
    phases=_PHASES,
    engines=(SQLSERVER, *MYSQLS),
    why=_WHY
    + "The statement says the whole column anew: a type that is narrower, or a default that it leaves out, breaks those writes.",
    instead={
        SQLSERVER: "-- lint with a connection (login_* options), which tells what the column is now",
        MYSQL: "-- lint with a connection (login_* options), which tells what the column is now",
        MARIADB: "-- lint with a connection (login_* options), which tells what the column is now",
    },
)
def restate_column(fact: Fact, context: Context) -> str | None:
    if not fact.has("whole") or context.is_new_column(fact.table, fact.name, fact):
        return None
    before = context.column_before(fact.table, fact.name, fact)
    if before is not None and before.type:
        return None
    return f"column {fact.name} of {fact.table} is stated anew as {fact.spec.type}, and nothing here tells what it is now"


@rule(
    "expand-column-order",
    WARNING,
    kinds=("add_column", "alter_column"),
    phases=_PHASES,
    engines=MYSQLS,
    why=_WHY + "An INSERT without a column list, a SELECT * read by position and LOAD DATA put values into the wrong columns, "
    "without any error.",
    instead=dict.fromkeys(MYSQLS, "ALTER TABLE {table} ADD COLUMN {name} {type}, ALGORITHM=INSTANT;  -- at the end"),
)
def column_order(fact: Fact, context: Context) -> str | None:
    column = fact.spec
    if not column.has("first", "after") or context.is_new(fact.table, fact):
        return None
    return f"column {fact.name} goes into the middle of {fact.table}"


@rule(
    "expand-trigger-fails",
    ERROR,
    kinds=("create_trigger", "alter_trigger"),
    phases=_PHASES,
    why=_WHY + "A trigger runs inside its write: when the trigger fails, the write does.",
    instead=dict.fromkeys(
        ENGINES,
        "-- let the trigger accept everything that the old version writes: no error raised on purpose, no rollback, and target\n"
        "-- columns at least as wide as their sources; the check goes to contract/",
    ),
)
def trigger_fails(fact: Fact, context: Context) -> str | None:
    if context.is_new(fact.table, fact):
        return None
    if (fact.has("can_fail") or _function_fails(fact, context)) and not _could_fail_before(fact, context):
        return f"trigger {fact.name} on {fact.table} raises an error of its own, and the old version's write fails with it"
    narrow = _narrower(fact, context)
    return f"trigger {fact.name} on {fact.table} writes {narrow}: a long value fails the old version's write" if narrow else None


def _function_fails(fact: Fact, context: Context) -> bool:
    """Return whether the function that a trigger of PostgreSQL executes raises an error of its own."""
    called = _EXECUTES.search(fact.values.get("body", ""))
    made = [
        other
        for other in context.past(fact)
        if called and other.kind == "create_routine" and same_name(other.name, called["name"])
    ]
    return bool(made) and made[-1].has("can_fail")


def _could_fail_before(fact: Fact, context: Context) -> bool:
    """Return whether the trigger replaces one of its name that raised errors too: the old version lives with those."""
    return any(
        other.kind == "create_trigger" and other.has("can_fail") and same_name(other.name, fact.name)
        for other in context.past(fact)
    )


def _narrower(fact: Fact, context: Context) -> str:
    """Return which column of a trigger's INSERT is narrower than its source, as ``x (VARCHAR(10)) from y (VARCHAR(50))``."""
    for match in _TRIGGER_INSERT.finditer(fact.values.get("body", "")):
        columns = [part.strip(' []"`') for part in match["columns"].split(",")]
        sources = [part.strip() for part in (match["values"] or match["select"] or "").split(",")]
        if len(columns) != len(sources):
            continue
        for column, source in zip(columns, sources):
            target = _known(match["table"].strip('[]"`'), column, fact, context)
            name = source.rpartition(".")[2].strip('[]"`')
            origin = _known(fact.table, name, fact, context) if re.fullmatch(r"(?:\w+\.)?[\w\[\]\"`]+", source) else None
            if target and origin and not is_widening(origin.type, target.type) and not is_same(origin.type, target.type):
                return f"{column} ({target.type}) from {name} ({origin.type})"
    return ""


def _known(table: str, column: str, fact: Fact, context: Context) -> Column | None:
    found = context.column_before(table, column, fact)
    return found if found and found.type else None
