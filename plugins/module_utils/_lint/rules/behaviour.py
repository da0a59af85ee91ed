# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Defaults, numbers and types: what locks nothing, yet changes what the running version reads and writes."""

from __future__ import annotations

import re

from ..ask import action, exists, object_of
from ..facts import Fact
from ..rule import ERROR, EXPAND, MYSQLS, NOTICE, POSTGRESQL, WARNING, Context, rule

_LATER = "-- contract/, when every host runs the new version"


@rule(
    "change-default",
    NOTICE,
    engines=(POSTGRESQL, *MYSQLS),
    phases=(EXPAND,),
    kinds=("alter_column",),
    peers=("squawk:ban-set-default", "strong_migrations:change_column_default"),
    why="""The running version leaves the column out of its inserts and counts on the old default: from now on its rows get
    the new one, beside others that it writes out itself.""",
    instead=dict.fromkeys((POSTGRESQL, *MYSQLS), f"{_LATER}\nALTER TABLE {{table}} ALTER COLUMN {{name}} SET DEFAULT ...;"),
)
def change_default(fact: Fact, context: Context) -> str | None:
    if (
        not fact.has("set_default")
        or fact.has("whole")
        or not exists(fact, context)
        or context.is_new_column(fact.table, fact.name, fact)
    ):
        return None
    return f"rows that the running version inserts get another {fact.name} from now on"


@rule(
    "drop-not-null",
    NOTICE,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=("alter_column",),
    peers=("squawk:ban-drop-not-null",),
    why="""The running version was written for a column that is never NULL. As soon as the new one writes a NULL, it reads
    it.""",
    instead={"postgresql": "-- the new version writes no NULL before contract has dropped the column\n-- or\n" + _LATER},
)
def drop_not_null(fact: Fact, context: Context) -> str | None:
    if not fact.has("drop_not_null") or context.is_new_column(fact.table, fact.name, fact):
        return None
    return f"the running version may read NULL from {fact.name}, which it never has"


@rule(
    "change-identity",
    WARNING,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=("alter_column",),
    peers=("squawk:ban-alter-identity",),
    why="""GENERATED ALWAYS refuses every insert that brings its own number, without identity every insert that brings none
    fails, and RESTART can hand out numbers that are taken.""",
    instead={"postgresql": f"{_LATER}\nALTER TABLE {{table}} ALTER COLUMN {{name}} SET GENERATED ALWAYS;"},
)
def change_identity(fact: Fact, context: Context) -> str | None:
    if not fact.has("set_generated", "drop_identity") or not exists(fact, context):
        return None
    return f"inserts of the running version that count on how {fact.name} is numbered may fail"


@rule(
    "change-sequence",
    WARNING,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=("alter_other",),
    peers=("squawk:ban-alter-sequence-values",),
    why="""The running version draws from the sequence: other steps or bounds, or a restart, give it numbers that are taken,
    too large for its type, or none.""",
    instead={"postgresql": "CREATE SEQUENCE {name}_next START WITH 1000000;\n-- for the new version alone"},
)
def change_sequence(fact: Fact, context: Context) -> str | None:
    if object_of(fact) != "SEQUENCE" or context.is_made(fact, "create_other"):
        return None
    found = re.search(r"\b(INCREMENT|MINVALUE|MAXVALUE|START|RESTART|CYCLE|AS)\b", action(fact))
    return f"{found.group()} changes the numbers that the running version draws from {fact.name}" if found else None


@rule(
    "enum-value-added",
    NOTICE,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=("alter_other",),
    peers=("squawk:ban-add-enum-value",),
    why="""The running version reads the new value as soon as the new one writes it, and fails if its own list does not know
    it. No value can be taken out of a type again.""",
    instead={"postgresql": "-- release a version that can read the value, then one that writes it"},
)
def enum_value_added(fact: Fact, context: Context) -> str | None:
    if object_of(fact) != "TYPE" or not action(fact).startswith("ADD VALUE") or context.is_made(fact, "create_other"):
        return None
    return f"the running version may read a value of {fact.name} that it does not know"


@rule(
    "composite-type-changed",
    WARNING,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=("alter_other",),
    peers=("squawk:ban-add-composite-attribute",),
    why="""Every ROW(...) that the running version builds, and every value it takes apart, has the old number of attributes.
    CASCADE carries the change into each typed table as well.""",
    instead={"postgresql": "CREATE TYPE {name}_2 AS (...);\n-- for the new version"},
)
def composite_type_changed(fact: Fact, context: Context) -> str | None:
    changed = re.match(r"(ADD|DROP|ALTER|RENAME) ATTRIBUTE\b", action(fact))
    if object_of(fact) != "TYPE" or not changed or context.is_made(fact, "create_other"):
        return None
    return f"values of {fact.name} that the running version builds no longer fit"


@rule(
    "detach-inheritance",
    WARNING,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=("alter_table",),
    peers=("squawk:ban-detach-inheritance",),
    why="""A table that no longer inherits is missing from every query on its parent.""",
    instead={"postgresql": f"{_LATER}\nALTER TABLE {{table}} NO INHERIT parent;"},
)
def detach_inheritance(fact: Fact, context: Context) -> str | None:
    if not re.match(r"(NO INHERIT|NOT OF|DETACH PARTITION)\b", action(fact)) or not exists(fact, context):
        return None
    return "the running version no longer finds these rows in the parent table"


@rule(
    "set-schema",
    ERROR,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=(
        "alter_table",
        "alter_other",
    ),
    peers=("squawk:ban-set-schema",),
    why="""The running version looks for the object where it was: under its old schema, or along its search_path.""",
    instead={"postgresql": "CREATE VIEW new_schema.{table} AS SELECT * FROM {table};\n-- the move itself in contract"},
)
def set_schema(fact: Fact, context: Context) -> str | None:
    moved = bool(re.search(r"\bSET SCHEMA\b", action(fact)))
    if not moved or (fact.table and not exists(fact, context)):
        return None
    return f"the running version does not find {fact.table or fact.name} in another schema"
