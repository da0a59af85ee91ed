# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQL Server: constraints that scan a table, that nobody checks, or that have no name of their own.

Facts relied on, from Microsoft Learn, "ALTER TABLE table_constraint": WITH CHECK is the default for a new constraint and
reads every row; WITH NOCHECK leaves one that the optimizer does not trust until WITH CHECK CHECK CONSTRAINT; there is no
online form of it.
"""

from __future__ import annotations

import re

from ..ask import exists
from ..facts import Fact, bare, same_name
from ..rule import CONTRACT, ERROR, SQLSERVER, WARNING, Context, rule

_ENGINES = (SQLSERVER,)
_SCH_M = "It holds Sch-M on the table meanwhile, which stops every reader, also those with NOLOCK or under row versioning. "
# What the server makes up: kind, the beginnings of table and column, and a number that is another one in each database.
_SYSTEM_NAME = re.compile(r"(?:DF|CK|PK|UQ|FK)__\w+__[0-9A-F]{8,16}", re.IGNORECASE)
_CONSTRAINED = ("default", "check", "unique", "references", "primary_key")
_LIVE_TYPES = {"C": "a check", "D": "a default", "F": "a foreign key", "PK": "the primary key", "UQ": "a unique constraint"}


@rule(
    "sqlserver-check-scans",
    ERROR,
    engines=_ENGINES,
    kinds=("add_constraint",),
    scales=True,
    why="WITH CHECK, which is the default for a new constraint, reads every row. "
    + _SCH_M
    + "A foreign key locks the other table too.",
    instead={
        SQLSERVER: "ALTER TABLE {table} WITH NOCHECK ADD CONSTRAINT {name} ...;\n"
        "-- and in a script of its own, in contract/, when few write:\n"
        "ALTER TABLE {table} WITH CHECK CHECK CONSTRAINT {name};"
    },
)
def check_scans(fact: Fact, context: Context) -> str | None:
    if fact.values.get("type") not in ("foreign_key", "check") or fact.has("not_valid") or not exists(fact, context):
        return None
    what = fact.values["type"].replace("_", " ")
    return f"{what} {fact.name or '(unnamed)'} is checked against every row of {fact.table} at once"


@rule(
    "sqlserver-validate-scans",
    WARNING,
    engines=_ENGINES,
    kinds=("validate_constraint",),
    scales=True,
    why="WITH CHECK CHECK CONSTRAINT reads every row, and there is no online form of it. "
    + _SCH_M
    + "It is the only way to have the "
    "constraint trusted: give it a script of its own and an hour when few write.",
    instead={SQLSERVER: "-- in contract/, alone in its script:\nALTER TABLE {table} WITH CHECK CHECK CONSTRAINT {name};"},
)
def validate_scans(fact: Fact, context: Context) -> str | None:
    if not exists(fact, context):
        return None
    others = [other for other in context.script.facts if other.kind not in ("set", "other", "validate_constraint")]
    if context.phase == CONTRACT and not others:
        return None
    return f"constraint {fact.name} of {fact.table} is checked against every row"


@rule(
    "sqlserver-untrusted-constraint",
    WARNING,
    engines=_ENGINES,
    kinds=("trust_constraint", "disable_constraint", "add_constraint"),
    why="What nobody has checked, the optimizer does not trust: joins and predicates that the constraint would have "
    "saved stay in every "
    "plan, and wrong rows may be there. CHECK CONSTRAINT without WITH CHECK in front of it only switches it on.",
    instead={SQLSERVER: "ALTER TABLE {table} WITH CHECK CHECK CONSTRAINT {name};"},
)
def untrusted_constraint(fact: Fact, context: Context) -> str | None:
    if not exists(fact, context):
        return None
    if fact.kind == "trust_constraint":
        return f"constraint {fact.name} of {fact.table} is switched on without being checked, and stays untrusted"
    later = [other for other in context.later(fact) if other.kind == "validate_constraint" and same_name(other.table, fact.table)]
    if fact.kind == "disable_constraint" and not later:
        return f"constraint {fact.name} of {fact.table} is switched off, and nothing here checks it again"
    if fact.kind == "add_constraint" and fact.has("not_valid") and context.phase == CONTRACT and not later:
        return f"constraint {fact.name} of {fact.table} is added WITH NOCHECK in contract, and nothing checks it"
    return None


@rule(
    "sqlserver-unnamed-constraint",
    WARNING,
    engines=_ENGINES,
    kinds=("add_column", "add_constraint"),
    why="Without a name the server makes one up, another one in each database: no later script can change or drop it by name.",
    instead={SQLSERVER: "ALTER TABLE {table} ADD {name} {type} NULL CONSTRAINT DF_{name} DEFAULT ...;"},
)
def unnamed_constraint(fact: Fact, context: Context) -> str | None:
    if fact.table.startswith(("#", "@")):
        return None
    if fact.kind == "add_constraint":
        return None if fact.name else f"a {fact.values['type'].replace('_', ' ')} constraint of {fact.table} has no name"
    column = fact.spec
    if not column.has(*_CONSTRAINED) or column.has("named"):
        return None
    what = next(flag for flag in _CONSTRAINED if column.has(flag)).replace("_", " ")
    return f"the {what.replace('references', 'foreign key')} of column {fact.name} has no name"


@rule(
    "sqlserver-system-named-drop",
    ERROR,
    engines=_ENGINES,
    kinds=("drop_constraint",),
    why="The server has made the name up. It is another one in each database, so that the script works in one environment alone.",
    instead={
        SQLSERVER: "DECLARE @sql nvarchar(max) = (SELECT 'ALTER TABLE {table} DROP CONSTRAINT ' + QUOTENAME(name)\n"
        "FROM sys.default_constraints WHERE parent_object_id = OBJECT_ID('{table}')\n"
        "AND COL_NAME(parent_object_id, parent_column_id) = '...');\nEXEC sp_executesql @sql;"
    },
)
def system_named_drop(fact: Fact, context: Context) -> str | None:
    if not _SYSTEM_NAME.fullmatch(bare(fact.name)):
        return None
    constraints = context.live.constraints if context.live else {}
    found = [
        each[fact.name.lower()] for name, each in constraints.items() if same_name(name, fact.table) and fact.name.lower() in each
    ]
    known = f", here {_LIVE_TYPES.get(found[0].get('type'), 'a constraint')}," if found else ""
    return f"{fact.name}{known} has its name from the server: other databases call it otherwise"
