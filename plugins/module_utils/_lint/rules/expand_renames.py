# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the expand phase must not rename: the old version only knows the old name."""

from __future__ import annotations

from ..facts import Fact
from ..rule import ENGINES, ERROR, EXPAND, MARIADB, MYSQL, POSTGRESQL, REPEATABLE, SQLITE, SQLSERVER, Context, rule

_PHASES = (EXPAND, REPEATABLE)
_WHY = "The old version runs until the last web server is upgraded, and again after a rollback; it only knows the old name. "


@rule(
    "expand-rename-table",
    ERROR,
    engines=(POSTGRESQL, MYSQL, MARIADB, SQLITE),  # SQL Server's sp_rename does not say what it renames: see expand-rename-object
    kinds=("rename_table",),
    phases=_PHASES,
    why=_WHY + "Each of its queries on the table fails at once.",
    instead={
        **dict.fromkeys(
            ENGINES,
            "-- leave the table as it is; the new version reads it through a view of the new name\n"
            "CREATE VIEW {to} AS SELECT * FROM {table};\n"
            "-- and contract/ swaps the two: drop the view, rename the table",
        ),
    },
    peers=("squawk:renaming-table", "atlas:BC101", "strong_migrations:rename_table"),
)
def rename_table(fact: Fact, context: Context) -> str | None:
    if context.is_new(fact.table, fact):
        return None
    return f"table {fact.table} is renamed to {fact.to}, and the old version does not know that name"


@rule(
    "expand-rename-column",
    ERROR,
    kinds=("rename_column",),
    phases=_PHASES,
    why=_WHY + "Each of its queries on the column fails at once.",
    instead={
        **dict.fromkeys(
            ENGINES,
            "ALTER TABLE {table} ADD COLUMN {to} ...;  -- beside the old one, kept in step by a trigger, filled by a backfill\n"
            "-- in contract/: ALTER TABLE {table} DROP COLUMN {name};",
        ),
        SQLSERVER: "ALTER TABLE {table} ADD {to} ... NULL;  -- beside the old one, kept in step by a trigger, filled by "
        "a backfill\n"
        "-- in contract/: ALTER TABLE {table} DROP COLUMN {name};",
    },
    peers=("squawk:renaming-column", "atlas:BC102", "strong_migrations:rename_column"),
)
def rename_column(fact: Fact, context: Context) -> str | None:
    if context.is_new_column(fact.table, fact.name, fact):
        return None
    return f"column {fact.name} of {fact.table} is renamed to {fact.to}, and the old version does not know that name"


@rule(
    "expand-rename-object",
    ERROR,
    kinds=("rename_object",),
    phases=_PHASES,
    why=_WHY + "Procedures, views, functions and types are called by name.",
    instead={
        POSTGRESQL: "CREATE FUNCTION {to} ...;  -- beside {name}, which contract/ drops",
        SQLSERVER: "CREATE OR ALTER PROCEDURE {to} ...;  -- beside {name}, which contract/ drops",
        MYSQL: "CREATE PROCEDURE {to} ...;  -- beside {name}, which contract/ drops",
        MARIADB: "CREATE OR REPLACE PROCEDURE {to} ...;  -- beside {name}, which contract/ drops",
        SQLITE: "CREATE VIEW {to} AS ...;  -- beside {name}, which contract/ drops",
    },
    peers=("squawk:renaming-object", "strong_migrations:rename_schema"),
)
def rename_object(fact: Fact, context: Context) -> str | None:
    made = ("create_table", "create_view", "create_materialized_view", "create_routine", "create_trigger", "create_other")
    if context.is_made(fact, *made) or fact.values.get("object") in ("STATISTICS", "TRIGGER", "ROLE", "USER"):
        return None
    what = fact.values.get("object", "").lower() or "object"
    return f"{what} {fact.name} is renamed to {fact.to}, and the old version does not know that name"
