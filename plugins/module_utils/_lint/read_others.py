# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads statements that are neither about tables, indexes, modules nor rows: settings, transactions, renames, dynamic SQL."""

from __future__ import annotations

from .collect import Collector
from .tokens import Cursor, Token, split_commas, text_of

_PREFIXES = (
    "UNIQUE",
    "FOREIGN",
    "EVENT",
    "MATERIALIZED",
    "TEMP",
    "TEMPORARY",
    "GLOBAL",
    "LOCAL",
    "UNLOGGED",
    "DEFAULT",
    "TRUSTED",
)
_TWO_WORDS = {
    "FOREIGN": ("TABLE", "DATA"),
    "EVENT": ("TRIGGER", "SESSION"),
    "ACCESS": ("METHOD",),
    "TEXT": ("SEARCH",),
    "PARTITION": ("FUNCTION", "SCHEME"),
    "SECURITY": ("POLICY",),
    "XML": ("SCHEMA",),
    "DEFAULT": ("PRIVILEGES",),
    "SERVER": ("ROLE",),
}
# Whatever else is created, altered or dropped is no object that we know of: a word that is written wrong.
_WORDS_OF_OBJECTS = """
ACCESS AGGREGATE APPLICATION ASSEMBLY ASYMMETRIC AUTHORIZATION AVAILABILITY BROKER CAST CERTIFICATE COLLATION COLUMN
CONTRACT CONVERSION CREDENTIAL CRYPTOGRAPHIC DATABASE DEFAULT DOMAIN ENDPOINT EVENT EXTENSION EXTERNAL FOREIGN FULLTEXT
FUNCTION GROUP INDEX INSTANCE LANGUAGE LARGE LOGFILE LOGIN MASTER MESSAGE OPERATOR OUTLINE OWNED PACKAGE PARTITION PLAN
POLICY PREPARE PROCEDURE PROCEDURAL PUBLICATION QUEUE REMOTE RESOURCE ROLE ROUTE ROUTINE RULE SCHEMA SEARCH SECURITY
SELECTIVE SENSITIVITY SEQUENCE SERVER SERVICE SIGNATURE SPATIAL STATISTICS SUBSCRIPTION SYMMETRIC SYNONYM SYSTEM TABLESPACE
TEXT TRANSFORM TYPE UNDO USER VIRTUAL WORKLOAD XML
"""
_OBJECTS = frozenset(_WORDS_OF_OBJECTS.split())
# What sp_rename calls the object, and the fact it makes.
_RENAMED = {"COLUMN": "rename_column", "INDEX": "rename_index", "STATISTICS": "rename_object", "USERDATATYPE": "rename_object"}


def read_other_object(cursor: Cursor, out: Collector, at: Token, verb: str, flags: tuple) -> None:
    """Read what stands behind CREATE, ALTER or DROP of anything that has no reader of its own."""
    what = cursor.skip().upper if not cursor.at_end else ""
    while what in _TWO_WORDS and not cursor.at_end and cursor.token.upper in _TWO_WORDS[what]:
        what = f"{what} {cursor.skip().upper}"
    flags += cursor.take_if_exists()
    name = cursor.name()
    action = cursor.rest()
    behind = Cursor(action)
    if verb == "ALTER" and behind.take("RENAME", "TO"):
        out.add("rename_object", at, name=name, to=behind.name(), object=what)
        return
    flags += ("cascade",) if behind.has("CASCADE") else ()
    table = ""
    if what in ("POLICY", "RULE", "STATISTICS"):
        behind.until("ON")
        behind.skip()
        table = behind.name()
    cursor.doubtful |= what.partition(" ")[0] not in _OBJECTS
    names = [name]
    if verb == "DROP":
        names += [Cursor(part).name() for part in split_commas(action)[1:]]
    for one in names:
        out.add(f"{verb.lower()}_other", at, table, one, flags=flags, object=what, action=text_of(action).upper())


def read_rename(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read MySQL's RENAME TABLE a TO b, c TO d."""
    cursor.take_one("TABLE", "TABLES")
    cursor.take_if_exists()
    for part in split_commas(cursor.rest()):
        inner = Cursor(part)
        table = inner.name()
        inner.until("TO")
        inner.take("TO")
        out.add("rename_table", at, table, table, inner.name())


def read_sp_rename(arguments: list[list[Token]], out: Collector, at: Token) -> None:
    """Read the arguments of SQL Server's sp_rename: object, new name and what kind it is."""
    values = [_argument(part) for part in arguments]
    old, new, what = [*values, "", "", ""][:3]
    parts = [part.strip('[]"') for part in old.split(".")]
    kind = _RENAMED.get(what.upper(), "rename_object")
    if kind == "rename_object":
        out.add(
            kind, at, name=".".join(parts), to=new.strip('[]"'), object="" if what.upper() in ("", "OBJECT") else what.upper()
        )
        return
    out.add(kind, at, ".".join(parts[:-1]), parts[-1], new.strip('[]"'))


def _argument(part: list[Token]) -> str:
    values = part[2:] if len(part) > 2 and part[1].text == "=" else part
    return values[0].literal if values and values[0].kind == "string" else text_of(values)


def read_set(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read what stands behind SET, but a variable of the script itself."""
    flags: tuple = ()
    word = cursor.take_one("SESSION", "LOCAL", "GLOBAL", "PERSIST")
    if word and cursor.peek("CHARACTERISTICS"):
        word = ""
    flags += ("local",) if word == "LOCAL" else ("global",) if word in ("GLOBAL", "PERSIST") else ()
    if cursor.at_end:
        return
    first = cursor.skip()
    name = first.text.upper().removeprefix("@@").removeprefix("SESSION.")
    if first.text.upper() in ("@@GLOBAL", "@@SESSION"):
        cursor.take(".")
        flags += ("global",) if first.text.upper() == "@@GLOBAL" else ()
        name = cursor.name().upper()
    if cursor.peek("READ_COMMITTED_SNAPSHOT") or name in ("TRANSACTION", "IDENTITY_INSERT", "STATISTICS"):
        out.add("set", at, name=name, to=text_of(cursor.rest()).upper())
        return
    while cursor.take("."):
        name = f"{name}.{cursor.name().upper()}"
    if out.engine == "sqlserver" and cursor.peek(","):  # SET NOCOUNT, XACT_ABORT ON
        for part in split_commas([first, *cursor.rest()]):
            out.add("set", part[0] if part else at, name=text_of(part[:1]).upper(), to=cursor.tokens[-1].upper)
        return
    if not cursor.take("TO"):
        cursor.take("=")
    value = text_of(cursor.rest()).upper()
    if value.startswith(("'", "N'")) and value.endswith("'"):
        value = value[value.index("'") + 1 : -1]
    out.add("set", at, name=name, to=value, flags=flags)


def read_pragma(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read SQLite's PRAGMA as the setting it is."""
    name = cursor.name().upper()
    cursor.take("=")
    value = cursor.group() if cursor.peek("(") else cursor.rest()
    cursor.rest()
    out.add("set", at, name=f"PRAGMA {name}", to=text_of(value or []).upper())


def read_transaction(word: str, cursor: Cursor, out: Collector, at: Token) -> None:
    """Read transaction control.

    Parameters:
        word: the statement's first word.
    """
    kinds = {
        "BEGIN": "begin",
        "START": "begin",
        "COMMIT": "commit",
        "END": "commit",
        "ROLLBACK": "rollback",
        "ABORT": "rollback",
        "SAVE": "savepoint",
        "SAVEPOINT": "savepoint",
        "RELEASE": "savepoint",
    }
    kind = kinds[word]
    cursor.take_one("TRAN", "TRANSACTION", "WORK")
    name = cursor.name() if kind in ("savepoint", "rollback") and out.engine == "sqlserver" else ""
    if kind == "rollback" and (cursor.has("TO") or (name and _is_savepoint(name, out))):
        kind = "savepoint"
    out.add(kind, at, name=name if kind == "savepoint" else "")
    cursor.rest()


def _is_savepoint(name: str, out: Collector) -> bool:
    """Return whether the script has saved the transaction under a name, so that SQL Server rolls back no further."""
    return any(fact.kind == "savepoint" and fact.name.lower() == name.lower() for fact in out.facts)


def read_checkident(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read SQL Server's DBCC."""
    command = cursor.skip().upper if not cursor.at_end else ""
    arguments = split_commas(cursor.group() or [])
    cursor.rest()
    if command == "CHECKIDENT" and arguments:
        flags = ("reseed",) if any(part and part[0].upper == "RESEED" for part in arguments[1:]) else ()
        out.add("checkident", at, _argument(arguments[0]), flags=flags)
    else:
        out.add("maintenance", at, action=f"DBCC {command}")
