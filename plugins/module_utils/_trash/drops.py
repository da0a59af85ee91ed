# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what a statement drops: tables, columns, views and routines, by their names as they are written."""

from __future__ import annotations

from dataclasses import dataclass

from .._db.lexis import Lexis, Statement, tokens
from .._db.reader import NotUnderstood, Reader

TEXT_KINDS = ("view", "procedure", "function")
_KINDS = {"TABLE": "table", "VIEW": "view", "PROCEDURE": "procedure", "PROC": "procedure", "FUNCTION": "function"}
_WHOLE = {"SCHEMA": "schema", "DATABASE": "database"}
_NO_COLUMN = ("CONSTRAINT", "PRIMARY", "FOREIGN", "INDEX", "KEY", "CHECK", "PARTITION", "PERIOD", "SYSTEM", "EXPRESSION")


@dataclass(frozen=True)
class Drop:
    """One object that a statement drops.

    Attributes:
        kind: table, column, view, procedure or function.
        name: the parts of its name as they are written, quotes included; of a column those of its table.
        column: of a column its own name as it is written.
        if_exists: whether the statement minds that it is not there.
        arguments: of a routine what stands in parentheses behind it, None without any.
    """

    kind: str
    name: tuple
    column: str = ""
    if_exists: bool = False
    arguments: str | None = None


@dataclass(frozen=True)
class Reading:
    """What a statement drops, and how.

    Attributes:
        drops: in their order.
        rest: the other actions of its ALTER TABLE as a statement of their own, empty without any.
        refusal: why nothing of it can be kept, empty when it can.
        whole: what it drops altogether, such as a schema, for the sentence about it.
    """

    drops: tuple = ()
    rest: str = ""
    refusal: str = ""
    whole: str = ""


def plain(part: str) -> str:
    """Return one part of a name without its quotes."""
    closers = {'"': '"', "`": "`", "[": "]"}
    closer = closers.get(part[:1])
    return part[1:-1].replace(closer * 2, closer) if closer and part.endswith(closer) and len(part) > 1 else part


def written(name: tuple) -> str:
    """Return a name as a statement writes it."""
    return ".".join(name)


def read_drops(statement: Statement, lexis: Lexis) -> Reading | None:
    """Return what a statement drops of tables, columns, views and routines; None when it drops none of them."""
    if statement.words[:1] not in (("DROP",), ("ALTER",)):
        return _behind_others(statement, lexis) if lexis.batches else None
    reader = Reader.of(statement, lexis)
    try:
        return _dropped(reader) if reader.accept("DROP") else _altered(reader)
    except NotUnderstood:
        return None


def names_dropped(statement: Statement, lexis: Lexis) -> set[str]:
    """Return the last parts, in lower case, of the types, domains, functions and sequences that a statement drops."""
    if statement.words[:1] != ("DROP",):
        return set()
    reader = Reader.of(statement, lexis)
    reader.accept("DROP")
    if not reader.accept_one("TYPE", "DOMAIN", "FUNCTION", "PROCEDURE", "SEQUENCE"):
        return set()
    reader.accept("IF", "EXISTS")
    found = set()
    try:
        while True:
            found.add(plain(reader.name()[-1]).lower())
            reader.parenthesis()
            if not reader.accept_symbol(","):
                return found
    except NotUnderstood:
        return found


def _behind_others(statement: Statement, lexis: Lexis) -> Reading | None:
    """Return why a drop in the middle of a batch is not kept, such as one behind IF OBJECT_ID(...) IS NOT NULL."""
    if statement.words[:1] in (("CREATE",), ()):
        return None
    found = [token for token in tokens(statement.text, lexis, "") if token.kind not in ("space", "comment")]
    words = [token.text.upper() if token.kind == "word" else token.text for token in found]
    for place, word in enumerate(words[:-2]):
        if word == "DROP" and (words[place + 1] in _KINDS or words[place + 1] == "COLUMN") and words[place + 2] != "#":
            why = "it does not stand alone in its batch: write DROP ... IF EXISTS between two lines GO"
            return Reading(
                refusal=why, whole=f"what the batch drops by {' '.join(words[place : place + 2])} {found[place + 2].text}"
            )
    return None


def _dropped(reader: Reader) -> Reading | None:
    if reader.accept("MATERIALIZED", "VIEW"):
        return Reading(refusal="a materialized view is not kept", whole="the materialized view")
    word = reader.word()
    if word in _WHOLE:
        return Reading(refusal=f"a {_WHOLE[word]} goes with all that is in it", whole=f"the {_WHOLE[word]}")
    kind = _KINDS.get(word)
    if kind is None:
        return None
    reader.skip()
    if_exists = reader.accept("IF", "EXISTS")
    drops = []
    while True:
        name = reader.name()
        arguments = reader.parenthesis() if kind in ("procedure", "function") else None
        drops.append(Drop(kind, name, if_exists=if_exists, arguments=arguments))
        if not reader.accept_symbol(","):
            break
    return Reading(tuple(drops), refusal=_behind(reader))


def _behind(reader: Reader) -> str:
    """Return why what stands behind the names keeps a statement from being more than written."""
    takes_along = not reader.lexis.delimiter_lines  # MariaDB and MySQL, where DELIMITER is known, read CASCADE and ignore it
    if reader.accept("CASCADE") and takes_along:
        return "CASCADE takes along what depends on it"
    reader.accept("RESTRICT")
    if reader.accept_one("WAIT", "NOWAIT"):
        reader.skip_number()
    reader.accept_symbol(";")
    return "" if reader.at_end() else "something else stands in the same statement or batch"


def _altered(reader: Reader) -> Reading | None:
    while reader.word() in ("ALTER", "ONLINE", "IGNORE"):
        reader.skip()
    if not reader.accept("TABLE"):
        return None
    if_exists = reader.accept("IF", "EXISTS")
    reader.accept("ONLY")
    name = reader.name()
    if reader.accept_one("WAIT", "NOWAIT"):
        reader.skip_number()
    head_end = reader.place()
    drops, rest, refusal = [], [], ""
    in_list = False
    for action in reader.actions():
        dropped = _column(action, name, in_list)
        in_list = dropped is not None and reader.lexis.batches
        if dropped is None:
            rest.append(action.text())
        else:
            drop, why = dropped
            drops.append(drop)
            refusal = refusal or why
    if not drops:
        return None
    rest_sql = f"{reader.source[:head_end]} {', '.join(rest)}" if rest else ""
    if if_exists and not refusal and rest_sql:
        refusal = "IF EXISTS stands for other changes as well"
    return Reading(tuple(drops), rest_sql, refusal)


def _column(action: Reader, table: tuple, in_list: bool) -> tuple[Drop, str] | None:
    """Return the column that one action drops, and why it cannot be kept; None for any other action.

    Parameters:
        in_list: it stands behind a DROP COLUMN that goes on with further names (SQL Server).
    """
    if not in_list or action.word() in ("DROP", "COLUMN"):
        if not (action.accept("DROP") or (in_list and action.word() == "COLUMN")) or action.word() in _NO_COLUMN:
            return None
        explicit = action.accept("COLUMN")
        if not explicit and action.word() in ("DEFAULT", "IDENTITY", "NOT"):
            return None
    if_exists = action.accept("IF", "EXISTS")
    try:
        column = action.name()
    except NotUnderstood:
        return None
    return Drop("column", table, column[-1], if_exists=if_exists), _behind(action)
