# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Questions that several rules ask about a fact: is its table in use, does its type change, does its default vary by row."""

from __future__ import annotations

import re

from .data_types import SERIALS, read_type
from .facts import Column, Fact, bare, same_name
from .rule import MARIADB, MYSQL, Context

# Functions of PostgreSQL that give every row of one statement the same value (STABLE or IMMUTABLE in pg_proc), as far as
# they are met in defaults. Every other function is taken for volatile: the rewrite is what must not go unseen.
_STEADY = """
abs array array_fill array_to_json bit_length btrim cast ceil ceiling char_length character_length coalesce concat
concat_ws current_catalog current_database current_date current_role current_schema current_setting current_time
current_timestamp current_user date date_bin date_part date_trunc decode digest encode extract floor format
greatest initcap inet_client_addr interval json_build_array json_build_object jsonb_build_array jsonb_build_object
least left length localtime localtimestamp lower lpad ltrim make_date make_interval make_time make_timestamp
make_timestamptz md5 mod now nullif numeric octet_length overlay position power repeat replace reverse right round rpad rtrim
row session_user sha224 sha256 sha384 sha512 sign split_part sqrt statement_timestamp string_to_array substr substring
timestamp timestamptz timezone to_char to_date to_json to_jsonb to_number to_timestamp to_tsvector transaction_timestamp
translate trim trunc txid_current upper user varchar text numrange int4range int8range tsrange tstzrange daterange point
box circle and or not in between is then else when case any all char decimal bit
"""
_STEADY_FUNCTIONS = frozenset(_STEADY.split())
_CALL = re.compile(r"([a-z_][a-z0-9_$]*(?:\.[a-z_][a-z0-9_$]*)*)\s*\(", re.IGNORECASE)
_LITERAL = re.compile(r"'(?:[^']|'')*'")
# id = 5, customer_id IN (1, 2), countries.code = 'DD'
_KEYED = re.compile(
    r"(?:^|\band\s+|\(|\.)[\"`\[]?(?:\w+_)?(?:id|uuid|guid|code|key|name|slug|number)[\"`\]]?"
    r"\s*(?:=\s*(?:N?'|[\d$:@?-])|in\s*\(\s*(?:N?'|[\d$:@?-]))",
    re.IGNORECASE,
)


def action(fact: Fact) -> str:
    """Return what an alter or maintenance fact says it does, in upper case."""
    return str(fact.values.get("action") or "").upper()


def object_of(fact: Fact) -> str:
    """Return what sort of object a fact is about, in upper case."""
    return str(fact.values.get("object") or "").upper()


def exists(fact: Fact, context: Context) -> bool:
    """Return whether the fact's table was there before these scripts, so that the running version may be using it."""
    return bool(fact.table) and not context.is_new(fact.table, fact)


def promised_online(fact: Fact) -> bool:
    """Return whether the statement (MySQL, MariaDB) rather fails than copies the table or blocks writers."""
    return fact.values.get("algorithm") in ("INSTANT", "NOCOPY") or fact.values.get("lock") == "NONE"


def is_keyed(fact: Fact) -> bool:
    """Return whether an update or delete is about a few rows: its WHERE compares what looks like a key to constants."""
    where = str(fact.values.get("where") or "")
    return bool(_KEYED.search(where)) and not re.search(r"\bOR\b", where, re.IGNORECASE)


def above(fact: Fact, context: Context) -> list[Fact]:
    """Return what the fact's own script does in front of it, so in the same transaction where there is one."""
    return [other for other in context.script.facts if (other.line, other.column) < (fact.line, fact.column)]


def opens_table(fact: Fact, context: Context) -> bool:
    """Return whether PostgreSQL's lock on the fact's table lasts beyond it: the rest of the script is the same transaction."""
    return context.in_transaction or _open_transaction(fact, context)


def _open_transaction(fact: Fact, context: Context) -> bool:
    control = [other.kind for other in above(fact, context) if other.kind in ("begin", "commit", "rollback")]
    return bool(control) and control[-1] == "begin"


def is_serial(column: Column) -> bool:
    """Return whether a column numbers itself: a serial type, IDENTITY or AUTO_INCREMENT."""
    return column.has("identity") or read_type(column.type).name in SERIALS


def is_volatile(default: str) -> bool:
    """Return whether PostgreSQL must work out a default row by row: it calls something that is not known to be steady."""
    text = _LITERAL.sub("''", default)
    if re.search(r"\b(nextval|random|clock_timestamp|timeofday|gen_random_uuid|uuidv[47])\b", text, re.IGNORECASE):
        return True
    return any(bare(call) not in _STEADY_FUNCTIONS for call in _CALL.findall(text))


def is_expression(default: str) -> bool:
    """Return whether a default of MySQL or MariaDB is an expression, worked out for each row, and not a constant."""
    text = default.strip().lower()
    if re.fullmatch(
        r"\(?\s*(current_timestamp|now|localtime|localtimestamp|current_date|curdate)\s*(\(\s*\d*\s*\))?\s*\)?.*", text
    ):
        return False
    return bool(_CALL.search(_LITERAL.sub("''", text)))


def known_type(fact: Fact, context: Context) -> str:
    """Return the type that a column has before a fact changes it, from the scripts or the live schema; empty if unknown."""
    known = context.column_before(fact.table, fact.name, fact)
    return known.type.upper() if known else ""


def is_nullable(fact: Fact, context: Context) -> bool | None:
    """Return whether the live schema lets a column be NULL; None when nothing is known of it."""
    return (context.live_column(fact.table, fact.name) or {}).get("nullable")


def plain(expression: str) -> str:
    """Return an expression without quotes, brackets and needless space, in lower case, to compare two of them."""
    return " ".join(re.sub(r'[()"`\[\]]', " ", expression).lower().split())


def proves_not_null(fact: Fact, context: Context, column: str) -> bool:
    """Return whether a valid CHECK (column IS NOT NULL), or NOT NULL of PostgreSQL 18, stands when a fact is reached.

    It does where these scripts, or expand scripts before them, add it and, when it was added NOT VALID, validate it, or where
    the live schema has it.
    """
    unproven: set[str] = set()
    validated: set[str] = set()
    for other in context.past(fact):
        if not same_name(other.table, fact.table):
            continue
        if other.kind == "add_constraint" and _demands(other, column):
            if not other.has("not_valid"):
                return True
            unproven.add(other.name.lower())
        elif other.kind == "validate_constraint":
            validated.add(other.name.lower())
    if unproven & validated:
        return True
    tables = context.live.constraints.items() if context.live else ()
    for name, constraint in (pair for table, found in tables if same_name(table, fact.table) for pair in found.items()):
        is_valid = constraint.get("valid", True) or name.lower() in validated
        if is_valid and _excludes_null(str(constraint.get("expression", "")), column):
            return True
    return False


def _demands(fact: Fact, column: str) -> bool:
    if fact.values.get("type") == "not_null":
        return column.lower() in [each.lower() for each in fact.values.get("columns", [])]
    return fact.values.get("type") == "check" and _excludes_null(str(fact.values.get("expression", "")), column)


def _excludes_null(expression: str, column: str) -> bool:
    text = plain(expression)
    return not re.search(r"\bor\b", text) and bool(
        re.search(rf"(^|\band |\bcheck )(\w+\.)*{re.escape(column.lower())} is not null\b", text)
    )


def instant_add(context: Context) -> bool:
    """Return whether the server adds a column at the end of a table without a rebuild; of an unknown version it does."""
    target = context.target
    return not ((target.engine == MYSQL and target.before(8, 0, 12)) or (target.engine == MARIADB and target.before(10, 3)))


def instant_anywhere(context: Context) -> bool:
    """Return whether the server adds a column in the middle, and drops one, without a rebuild.

    MySQL does from 8.0.29, MariaDB from 10.4. Of an unknown MySQL that is not promised, every MariaDB still supported does.
    """
    target = context.target
    return target.at_least(8, 0, 29) if target.engine == MYSQL else not target.before(10, 4)
