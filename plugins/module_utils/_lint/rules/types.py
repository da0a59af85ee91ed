# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Types and names that are regretted later, because changing them on a table in use is a project."""

from __future__ import annotations

import re

from ..ask import is_serial
from ..data_types import INTEGER_BYTES, SERIALS, read_type
from ..facts import Column, Fact
from ..rule import MYSQLS, NOTICE, POSTGRESQL, SERVERS, SQLSERVER, WARNING, Context, rule

_WRITTEN = ("create_table", "add_column", "alter_column")


def _named(fact: Fact, wanted: list[Column]) -> str:
    return ", ".join(column.name for column in wanted)


def _keys(fact: Fact) -> list[str]:
    """Return the columns, in lower case, that a create_table's own constraint makes its primary key."""
    constraints = fact.values.get("constraints", []) if fact.kind == "create_table" else []
    keys = [each.get("columns", []) for each in constraints if each.get("type") == "primary_key"]
    return [column.lower() for columns in keys for column in columns if len(columns) == 1]


@rule(
    "small-key",
    WARNING,
    engines=(POSTGRESQL, *MYSQLS, SQLSERVER),
    kinds=_WRITTEN,
    peers=("squawk:prefer-bigint-over-int", "squawk:prefer-bigint-over-smallint"),
    why="""A four-byte key ends at 2,147,483,647. On that day every insert fails, and making it wider rewrites the table and
    everything that refers to it. Eight bytes from the start cost next to nothing.""",
    instead={
        "postgresql": "CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);",
        "mysql": "CREATE TABLE {table} (id bigint unsigned AUTO_INCREMENT PRIMARY KEY);",
        "mariadb": "CREATE TABLE {table} (id bigint unsigned AUTO_INCREMENT PRIMARY KEY);",
        "sqlserver": "CREATE TABLE {table} (id bigint IDENTITY PRIMARY KEY);",
    },
)
def small_key(fact: Fact, context: Context) -> str | None:
    keys = _keys(fact)
    small = [
        column
        for column in fact.columns
        if INTEGER_BYTES.get(read_type(column.type).name, 8) < 8
        and (is_serial(column) or ((column.has("primary_key") or column.name.lower() in keys) and len(_all_keys(fact)) < 2))
    ]
    return f"the numbers of {_named(fact, small)} run out: make it bigint" if small else None


def _all_keys(fact: Fact) -> list[str]:
    inline = [column.name for column in fact.columns if column.has("primary_key")]
    return inline or _keys(fact)


@rule(
    "prefer-bigint",
    NOTICE,
    engines=(POSTGRESQL,),
    kinds=_WRITTEN,
    peers=("squawk:prefer-bigint-over-int", "squawk:prefer-bigint-over-smallint"),
    why="""A number that outgrows its column makes inserts fail, and a wider type rewrites the table under an ACCESS
    EXCLUSIVE lock. Because of alignment an int beside a bigint often saves nothing.""",
    instead={"postgresql": "CREATE TABLE {table} (counted bigint);"},
)
def prefer_bigint(fact: Fact, context: Context) -> str | None:
    small = [column for column in fact.columns if read_type(column.type).name in ("INTEGER", "SMALLINT", "SERIAL", "SMALLSERIAL")]
    return f"{_named(fact, small)} cannot grow without rewriting the table: consider bigint" if small else None


@rule(
    "prefer-identity",
    NOTICE,
    engines=(POSTGRESQL,),
    kinds=_WRITTEN,
    peers=("squawk:prefer-identity",),
    why="""A serial column is an integer, a sequence and a default that know little of each other: rights on the sequence
    are granted apart, copies of the table share it, and anybody can write a number that it will hand out later.""",
    instead={"postgresql": "CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);"},
)
def prefer_identity(fact: Fact, context: Context) -> str | None:
    serial = [column for column in fact.columns if read_type(column.type).name in SERIALS]
    return f"{_named(fact, serial)} is serial: an identity column keeps its sequence to itself" if serial else None


@rule(
    "prefer-text",
    NOTICE,
    engines=(POSTGRESQL,),
    kinds=_WRITTEN,
    peers=("squawk:prefer-text-field",),
    why="""PostgreSQL stores text and varchar(n) alike. A limit that turns out too small is raised at once, one that has to
    shrink rewrites or reads the table under an ACCESS EXCLUSIVE lock; a CHECK on a text column changes online.""",
    instead={"postgresql": "ALTER TABLE {table} ADD CONSTRAINT {name}_length CHECK (length({name}) <= 100) NOT VALID;"},
)
def prefer_text(fact: Fact, context: Context) -> str | None:
    limited = [column for column in fact.columns if read_type(column.type).name == "VARCHAR" and read_type(column.type).arguments]
    return f"the limit of {_named(fact, limited)} is part of its type: text and a check can change online" if limited else None


@rule(
    "prefer-timestamptz",
    WARNING,
    engines=(POSTGRESQL,),
    kinds=_WRITTEN,
    peers=("squawk:prefer-timestamp-tz",),
    why="""timestamp drops the offset it is given: 21:00+02 and 21:00-06 become the same value, and what instant that was
    depends on who asks. timestamptz keeps the instant, in the same eight bytes.""",
    instead={"postgresql": "CREATE TABLE {table} (happened_at timestamptz);"},
)
def prefer_timestamptz(fact: Fact, context: Context) -> str | None:
    naive = [column for column in fact.columns if read_type(column.type).name == "TIMESTAMP"]
    return f"{_named(fact, naive)} forgets the time zone: make it timestamptz" if naive else None


@rule(
    "char-column",
    WARNING,
    engines=(POSTGRESQL,),
    kinds=_WRITTEN,
    peers=("squawk:ban-char-field",),
    why="""char(n) is filled up with spaces, which some comparisons see and others do not, and char alone holds one
    character. It is no faster than text.""",
    instead={"postgresql": "CREATE TABLE {table} (code text CHECK (length(code) = 2));"},
)
def char_column(fact: Fact, context: Context) -> str | None:
    padded = [column for column in fact.columns if read_type(column.type).name == "CHAR"]
    return f"{_named(fact, padded)} is filled up with spaces: make it text" if padded else None


@rule(
    "prefer-jsonb",
    WARNING,
    engines=(POSTGRESQL,),
    kinds=_WRITTEN,
    peers=("strong_migrations:add_column_json",),
    why="""The type json has no equality: a SELECT DISTINCT, UNION or GROUP BY of the running version that takes all columns
    fails from the moment the column is there. jsonb has it, and can be indexed.""",
    instead={"postgresql": "ALTER TABLE {table} ADD COLUMN {name} jsonb;"},
)
def prefer_jsonb(fact: Fact, context: Context) -> str | None:
    plain = [column for column in fact.columns if read_type(column.type).name == "JSON"]
    return f"{_named(fact, plain)} cannot be compared, which breaks SELECT DISTINCT: make it jsonb" if plain else None


_LIMITS = {"postgresql": 63, "mysql": 64, "mariadb": 64, "sqlserver": 128}
_KINDS_WITH_NAMES = (
    *_WRITTEN,
    "rename_table",
    "rename_column",
    "add_constraint",
    "create_index",
    "create_view",
    "create_routine",
    "create_trigger",
    "create_other",
    "create_materialized_view",
    "rename_constraint",
    "rename_index",
    "rename_object",
)


@rule(
    "identifier-too-long",
    WARNING,
    engines=SERVERS,
    kinds=_KINDS_WITH_NAMES,
    peers=("squawk:identifier-too-long",),
    why="""PostgreSQL cuts a name after 63 bytes without an error, so that two long ones can become the same, and a guard
    that looks for the whole name never finds it. MySQL and MariaDB refuse names of more than 64 characters, SQL Server of
    more than 128.""",
    instead=dict.fromkeys(SERVERS, "-- a shorter name"),
)
def identifier_too_long(fact: Fact, context: Context) -> str | None:
    limit = _LIMITS[context.target.engine]
    names = [fact.table if fact.kind == "create_table" else fact.name, fact.to, *(column.name for column in fact.columns)]
    if fact.kind == "create_table":
        names += [str(each.get("name") or "") for each in fact.values.get("constraints", [])]
    for name in (part for whole in names for part in whole.split(".")):
        if len(name.encode()) > limit:
            return f"{name} has {len(name.encode())} bytes, the server takes {limit}"
    return None


@rule(
    "enum-value-order",
    NOTICE,
    engines=(POSTGRESQL,),
    kinds=("alter_other",),
    peers=("squawk:require-enum-value-ordering",),
    why="""ADD VALUE puts the value last, ORDER BY and comparisons follow that order, and it cannot be changed
    afterwards.""",
    instead={"postgresql": "ALTER TYPE {name} ADD VALUE 'paused' AFTER 'running';"},
)
def enum_value_order(fact: Fact, context: Context) -> str | None:
    action = str(fact.values.get("action", "")).upper()
    if fact.values.get("object") != "TYPE" or not action.startswith("ADD VALUE"):
        return None
    if re.search(r"\b(BEFORE|AFTER)\s+'", action):
        return None
    return f"the new value of {fact.name} sorts behind all others: say BEFORE or AFTER which one"
