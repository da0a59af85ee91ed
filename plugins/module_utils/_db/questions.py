# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turns a schema statement into questions that a catalog can answer: what is there, or gone, once it has happened?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .lexis import Lexis, Statement
from .reader import NotUnderstood, Reader

_KINDS = {
    "TABLE": "table",
    "VIEW": "view",
    "INDEX": "index",
    "TRIGGER": "trigger",
    "FUNCTION": "function",
    "PROCEDURE": "procedure",
    "SCHEMA": "schema",
    "DATABASE": "database",
    "SEQUENCE": "sequence",
    "TYPE": "type",
    "DOMAIN": "type",
    "EVENT": "event",
    "EXTENSION": "extension",
}
_BEFORE_KIND = ("UNLOGGED", "UNIQUE", "FULLTEXT", "SPATIAL", "MATERIALIZED", "RECURSIVE", "AGGREGATE", "CONSTRAINT", "FOREIGN")
_SETTINGS_BEFORE_KIND = ("DEFINER", "ALGORITHM", "SECURITY")
_TEMPORARY = ("TEMP", "TEMPORARY")
_NO_COLUMN = ("PARTITION", "PERIOD", "SYSTEM", "FOREIGN", "CHECK", "EXCLUDE", "PRIMARY")


@dataclass(frozen=True)
class Question:
    """Is one object as a statement leaves it?

    Attributes:
        kind: table, view, index, trigger, function, procedure, schema, database, sequence, type, event, extension, column,
            constraint or primary_key.
        name: the parts of its name as the script writes them, quotes included; empty for a primary key.
        table: the parts of the name of the table that it belongs to, where the statement says so.
        there: whether the statement leaves the object there, or takes it away.
        body: a routine's body, a literal as the script writes it.
        filled: a table is made together with its rows.
    """

    kind: str
    name: tuple
    there: bool
    table: tuple = ()
    body: str = ""
    filled: bool = False

    def with_name(self, name: tuple, there: bool) -> Question:
        return replace(self, name=name, there=there)


def is_repeatable(statement: Statement, lexis: Lexis) -> bool:
    """Return whether a schema statement says itself that it may run again: IF EXISTS, IF NOT EXISTS, OR REPLACE.

    An ALTER TABLE is that only if each of its actions is.
    """
    if lexis.batches:
        return False  # what stands behind the first statement of a batch may be another thing
    reader = Reader.of(statement, lexis)
    if reader.accept("ALTER", "TABLE"):
        reader.accept("IF", "EXISTS")
        reader.accept("ONLY")
        reader.name()
        actions = reader.actions()
        return bool(actions) and all(_is_guarded(action) for action in actions)
    if reader.accept("CREATE", "OR", "REPLACE"):
        return True
    if not reader.accept_one("CREATE", "DROP"):
        return False
    while reader.word() in (*_BEFORE_KIND, *_TEMPORARY):
        reader.skip()
    if reader.skip() not in _KINDS:
        return False
    reader.accept("CONCURRENTLY")
    return reader.guarded()


def _is_guarded(action: Reader) -> bool:
    if not action.accept_one("ADD", "DROP"):
        return False
    action.accept_one("COLUMN", "CONSTRAINT", "INDEX", "KEY")
    return action.guarded()


def questions_of(statement: Statement, lexis: Lexis) -> tuple:
    """Return the questions whose answers, all of them, say whether a statement has happened; none where no catalog can tell.

    Parameters:
        statement: one statement of a script; IF EXISTS and OR REPLACE are left to :func:`is_repeatable`.
        lexis: the engine's lexical rules.
    """
    if lexis.batches:
        return ()
    reader = Reader.of(statement, lexis)
    verb = reader.skip()
    try:
        asked = {"CREATE": _created, "DROP": _dropped, "ALTER": _altered, "RENAME": _renamed}.get(verb, _nothing)(reader)
    except NotUnderstood:
        return ()
    # What goes and comes back under its name looks the same before and after.
    sides: dict = {}
    for question in asked:
        sides.setdefault((question.kind, _plain(question.name)), set()).add(question.there)
    return tuple(question for question in asked if len(sides[(question.kind, _plain(question.name))]) == 1)


def _plain(name: tuple) -> tuple:
    return tuple(part.strip('"`[]').lower() for part in name)


def _nothing(_reader: Reader) -> list:
    return []


def _created(reader: Reader) -> list:
    reader.accept("OR", "REPLACE")
    while reader.word() not in _KINDS:
        word = reader.skip()
        if word in _SETTINGS_BEFORE_KIND:
            reader.skip_setting()
        elif word not in (*_BEFORE_KIND, "SQL"):
            return []
    kind = _KINDS[reader.skip()]
    reader.accept("CONCURRENTLY")
    reader.accept("IF", "NOT", "EXISTS")
    if kind == "index" and reader.word() == "ON":
        return []
    name = reader.name()
    if kind in ("index", "trigger"):
        return [Question(kind, name, True, table=reader.table_behind_on())]
    rest = reader.rest()
    if kind in ("function", "procedure"):
        literals = [token.text for token in rest if token.kind == "string" and token.text[0] in "'$"]
        return [Question(kind, name, True, body=literals[-1] if literals else "")]
    filled = kind == "table" and any(token.kind == "word" and token.text.upper() == "SELECT" for token in rest)
    return [Question(kind, name, True, filled=filled)]


def _dropped(reader: Reader) -> list:
    while reader.word() in ("MATERIALIZED", "FOREIGN"):
        reader.skip()
    kind = _KINDS.get(reader.skip(), "")
    if not kind:
        return []
    reader.accept("CONCURRENTLY")
    reader.accept("IF", "EXISTS")
    names = [reader.name()]
    reader.skip_parenthesis()
    while reader.accept_symbol(","):
        names.append(reader.name())
        reader.skip_parenthesis()
    table = reader.name() if reader.accept("ON") else ()
    return [Question(kind, name, False, table=table) for name in names]


def _renamed(reader: Reader) -> list:
    if not reader.accept_one("TABLE", "TABLES"):
        return []
    asked = []
    reader.accept("IF", "EXISTS")
    while True:
        old = reader.name()
        if reader.word() in ("WAIT", "NOWAIT"):
            reader.skip()
            reader.skip_number()
        if not reader.accept("TO"):
            raise NotUnderstood
        asked += [Question("table", old, False), Question("table", reader.name(), True)]
        if not reader.accept_symbol(","):
            return asked


def _altered(reader: Reader) -> list:
    while reader.word() in ("ONLINE", "IGNORE", "MATERIALIZED", "FOREIGN"):
        reader.skip()
    kind = _KINDS.get(reader.skip(), "")
    if not kind:
        return []
    reader.accept("IF", "EXISTS")
    reader.accept("ONLY")
    name = reader.name()
    if kind != "table":
        return _rename_of(Question(kind, name, False), reader) if reader.accept("RENAME", "TO") else []
    reader.accept_symbol("*")
    asked = [question for action in reader.actions() for question in _action(action, name)]
    moved = [question for question in asked if question.kind == "table"]
    return moved or asked


def _rename_of(old: Question, reader: Reader) -> list:
    new = reader.name()
    return [old, old.with_name((*old.name[:-1], *new) if len(new) == 1 else new, True)]


def _action(reader: Reader, table: tuple) -> list:
    """Return the questions of one action of an ALTER TABLE; none for one that leaves no object behind."""
    verb = reader.skip()
    if verb == "RENAME":
        return _rename_action(reader, table)
    if verb == "CHANGE":
        reader.accept("COLUMN")
        reader.accept("IF", "EXISTS")
        old, new = reader.name(), reader.name()
        return [Question("column", old, False, table), Question("column", new, True, table)]
    if verb == "ADD":
        return _add_action(reader, table)
    if verb != "DROP":
        return []
    if reader.accept("PRIMARY", "KEY"):
        return [Question("primary_key", (), False, table)]
    if reader.accept("FOREIGN", "KEY") or reader.accept_one("CONSTRAINT", "CHECK"):
        kind = "constraint"
    elif reader.accept_one("INDEX", "KEY"):
        kind = "index"
    elif reader.word() in ("PARTITION", "PERIOD", "SYSTEM", "EXPRESSION", "IDENTITY", "DEFAULT"):
        return []
    else:
        reader.accept("COLUMN")
        kind = "column"
    return [] if reader.guarded() else [Question(kind, reader.name(), False, table)]


def _rename_action(reader: Reader, table: tuple) -> list:
    for words, kind in ((("COLUMN",), "column"), (("CONSTRAINT",), "constraint"), (("INDEX",), "index"), (("KEY",), "index")):
        if reader.accept(*words):
            old = reader.name()
            reader.accept("TO")
            return [Question(kind, old, False, table), Question(kind, reader.name(), True, table)]
    moved = reader.accept_one("TO", "AS")
    first = reader.name()
    if not moved and reader.accept("TO"):
        return [Question("column", first, False, table), Question("column", reader.name(), True, table)]
    return [
        Question("table", table, False),
        Question("table", (*table[:-1], *first) if len(first) == 1 else first, True),
    ]


def _add_action(reader: Reader, table: tuple) -> list:
    if reader.accept("PRIMARY", "KEY"):
        return [Question("primary_key", (), True, table)]
    if reader.accept("CONSTRAINT"):
        if reader.accept("PRIMARY", "KEY"):
            return [Question("primary_key", (), True, table)]
        # On MySQL and MariaDB the name is optional, and the server's own choice cannot be asked for.
        unnamed = reader.word() in ("FOREIGN", "UNIQUE", "CHECK")
        return [] if unnamed or reader.guarded() else [Question("constraint", reader.name(), True, table)]
    if reader.accept_one("UNIQUE", "FULLTEXT", "SPATIAL") or reader.word() in ("INDEX", "KEY"):
        reader.accept_one("INDEX", "KEY")
        unnamed = reader.at_symbol("(") or reader.word() == "USING"
        return [] if unnamed or reader.guarded() else [Question("index", reader.name(), True, table)]
    if reader.accept("COLUMN") or reader.word() not in _NO_COLUMN:
        if reader.guarded():
            return []
        if reader.accept_symbol("("):
            return [Question("column", inner.name(), True, table) for inner in reader.actions(inside=True)]
        return [Question("column", reader.name(), True, table)]
    return []
