# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads column definitions and table constraints, as CREATE TABLE and ALTER TABLE hold them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .facts import Column
from .tokens import Cursor, Token, names_in, text_of

# What may stand behind a column's type, and so ends the type and a default's expression.
_CLAUSES = (
    "NOT", "NULL", "DEFAULT", "CONSTRAINT", "PRIMARY", "UNIQUE", "KEY", "REFERENCES", "CHECK", "COLLATE", "GENERATED", "AS",
    "IDENTITY", "AUTO_INCREMENT", "AUTOINCREMENT", "COMMENT", "FIRST", "AFTER", "STORAGE", "COMPRESSION", "SPARSE",
    "ROWGUIDCOL", "PERSISTED", "STORED", "VIRTUAL", "PERSISTENT", "FILESTREAM", "MASKED", "ENCRYPTED", "HIDDEN", "WITH", "ON",
    "VISIBLE", "INVISIBLE", "CHARACTER", "CHARSET", "DEFERRABLE", "INITIALLY", "USING", "INDEX", "FOREIGN", "SRID",
    "COLUMN_FORMAT", "FOR", "ENFORCED", "NO",
)  # fmt: skip
_CONSTRAINTS = (
    "CONSTRAINT",
    "PRIMARY",
    "UNIQUE",
    "FOREIGN",
    "CHECK",
    "EXCLUDE",
    "INDEX",
    "KEY",
    "FULLTEXT",
    "SPATIAL",
    "PERIOD",
    "LIKE",
)
_TIME_ZONES = ("TIME", "LOCAL")
_SERIALS = ("SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL4", "SERIAL8", "SERIAL2")
_ACTIONS = ("CASCADE", "RESTRICT")


@dataclass
class Constraint:
    """A table constraint, or an index that MySQL and SQL Server let stand among them.

    Attributes:
        type: primary_key, unique, foreign_key, check, exclude, default, not_null; index, fulltext or spatial for an index.
        name, columns, references, using_index, expression: see add_constraint in facts.py.
        flags: likewise.
        column: of a DEFAULT ... FOR.
    """

    type: str
    name: str = ""
    columns: list = field(default_factory=list)
    references: str = ""
    using_index: str = ""
    expression: str = ""
    flags: tuple = ()

    def values(self) -> dict:
        """Return what is not said by name and flags, for a fact's values."""
        return {
            "type": self.type,
            "columns": self.columns,
            "references": self.references,
            "using_index": self.using_index,
            "expression": self.expression,
        }


def is_constraint(cursor: Cursor) -> bool:
    """Return whether a table constraint comes next rather than a column."""
    if cursor.at_end or cursor.token.upper not in _CONSTRAINTS:
        return False
    word = cursor.token.upper
    if word in ("KEY", "INDEX", "LIKE", "PERIOD", "FULLTEXT", "SPATIAL"):
        return word == "LIKE" or _index_comes(cursor)
    return True


def _index_comes(cursor: Cursor) -> bool:
    """Return whether ``KEY``, ``INDEX`` and the like begin an index, not a column of that name: a list in parentheses follows."""
    following = [token.upper for token in cursor.tokens[cursor.position + 1 : cursor.position + 8]]
    return "(" in following[:1] or (
        "(" in following[1:] and not (len(following) > 1 and following[1] == "(" and _is_type(following[0]))
    )


def _is_type(word: str) -> bool:
    return word in (
        "VARCHAR",
        "CHAR",
        "NVARCHAR",
        "NCHAR",
        "DECIMAL",
        "NUMERIC",
        "VARBINARY",
        "BINARY",
        "BIT",
        "FLOAT",
        "INT",
        "BIGINT",
    )


def read_constraint(cursor: Cursor) -> Constraint:
    """Read one table constraint, up to the end of the cursor."""
    name = ""
    if cursor.take("CONSTRAINT"):
        name = "" if _constraint_word(cursor) else cursor.name()
    flags: list[str] = []
    kind = _constraint_type(cursor)
    found = Constraint(kind, name)
    if kind in ("unique", "primary_key", "index", "fulltext", "spatial"):
        cursor.take_one("INDEX", "KEY")
        flags += _flags_of(cursor, {"CLUSTERED": "clustered", "NONCLUSTERED": "nonclustered"})
        if cursor.take("USING", "INDEX"):
            found.using_index = cursor.name()
        else:
            if not cursor.peek("(") and not cursor.peek("USING") and not cursor.peek("NULLS"):
                found.name = cursor.name() or name
            flags += _flags_of(cursor, {"CLUSTERED": "clustered", "NONCLUSTERED": "nonclustered"})
            cursor.until("(")
            found.columns = names_in(cursor.group())
    elif kind == "foreign_key":
        if not cursor.peek("("):
            found.name = cursor.name() or name
        found.columns = names_in(cursor.group())
        if cursor.take("REFERENCES"):
            found.references = cursor.name()
            cursor.group()
    elif kind == "check":
        cursor.take("NOT", "FOR", "REPLICATION")
        found.expression = text_of(cursor.group() or [])
    elif kind == "default":
        found.expression = text_of(_default(cursor))
        if cursor.take("FOR"):
            found.columns = [cursor.name()]
    elif kind == "not_null":
        found.columns = [cursor.name()]
    elif kind == "exclude":
        cursor.until("(")
        found.expression = text_of(cursor.group() or [])
    else:
        cursor.doubtful = True
    tail = cursor.rest()
    behind = Cursor(tail)
    flags += ["not_valid"] if behind.has("NOT", "VALID") else []
    flags += ["online"] if behind.has("ONLINE", "=", "ON") else []
    flags += ["not_enforced"] if behind.has("NOT", "ENFORCED") else []
    found.flags = tuple(flags)
    return found


def _constraint_word(cursor: Cursor) -> bool:
    """Return whether CONSTRAINT has no name: what it is comes at once."""
    return any(cursor.peek(*words) for words in (("PRIMARY", "KEY"), ("FOREIGN", "KEY"), ("CHECK", "("), ("UNIQUE", "(")))


def _constraint_type(cursor: Cursor) -> str:
    for words, kind in (
        (("PRIMARY", "KEY"), "primary_key"),
        (("FOREIGN", "KEY"), "foreign_key"),
        (("UNIQUE",), "unique"),
        (("CHECK",), "check"),
        (("EXCLUDE",), "exclude"),
        (("DEFAULT",), "default"),
        (("NOT", "NULL"), "not_null"),
        (("FULLTEXT",), "fulltext"),
        (("SPATIAL",), "spatial"),
        (("INDEX",), "index"),
        (("KEY",), "index"),
        (("LIKE",), "like"),
        (("PERIOD",), "period"),
    ):
        if cursor.take(*words):
            return kind
    return "other"


def _flags_of(cursor: Cursor, words: dict) -> list[str]:
    word = cursor.take_one(*words)
    return [words[word]] if word else []


def read_column(cursor: Cursor, name: str | None = None) -> Column:
    """Read one column definition, up to the end of the cursor.

    Parameters:
        name: when it was read already; what follows is then the type.
    """
    name = cursor.name() if name is None else name
    data_type = _type(cursor)
    flags: list[str] = ["identity", "serial"] if data_type in _SERIALS else []
    default = references = ""
    while not cursor.at_end:
        if cursor.take("NOT", "NULL"):
            flags.append("not_null")
        elif cursor.take("NULL"):
            flags.append("null")
        elif cursor.take("NOT", "VALID"):
            flags.append("not_valid")
        elif cursor.take("DEFAULT"):
            flags.append("default")
            default = text_of(_default(cursor))
        elif cursor.take("CONSTRAINT"):
            if not _constraint_word(cursor):
                cursor.name()
                flags.append("named")
        elif cursor.take("PRIMARY", "KEY") or cursor.take("PRIMARY"):
            flags.append("primary_key")
        elif cursor.take("UNIQUE"):
            flags.append("unique")
            cursor.take("KEY")
        elif cursor.take("KEY"):
            flags.append("primary_key")
        elif cursor.take("REFERENCES") or cursor.take("FOREIGN", "KEY", "REFERENCES"):
            flags.append("references")
            references = cursor.name()
            cursor.group()
        elif cursor.take("CHECK"):
            flags.append("check")
            cursor.take("NOT", "FOR", "REPLICATION")
            cursor.group()
        elif cursor.take("COLLATE"):
            flags.append("collate")
            cursor.name()
        elif _take_generated(cursor, flags):
            pass
        elif cursor.take_one("IDENTITY", "AUTO_INCREMENT", "AUTOINCREMENT"):
            flags.append("identity")
            cursor.group()
        elif cursor.take("WITH", "VALUES"):
            flags.append("with_values")
        elif cursor.take("FIRST"):
            flags.append("first")
        elif cursor.take("AFTER"):
            flags.append("after")
            cursor.name()
        else:
            _skip_clause(cursor, flags)
    return Column(name, data_type, tuple(dict.fromkeys(flags)), default, references)


def _take_generated(cursor: Cursor, flags: list[str]) -> bool:
    """Read GENERATED ... AS or a computed column's AS, with its expression."""
    if cursor.take("GENERATED"):
        cursor.until("AS")
    elif not (cursor.peek("AS") and (cursor.peek("(", ahead=1) or cursor.peek("IDENTITY", ahead=1) or not flags)):
        return False
    cursor.take("AS")
    if cursor.take("IDENTITY"):
        flags.append("identity")
        cursor.group()
    elif cursor.take("ROW"):
        cursor.take_one("START", "END")
    else:
        flags.append("generated")
        if cursor.group() is None:
            cursor.until("PERSISTED", "STORED", "NOT", "NULL", "CONSTRAINT", "CHECK")
        if cursor.take_one("PERSISTED", "STORED", "PERSISTENT"):
            flags.append("stored")
        else:
            cursor.take("VIRTUAL")
    return True


def _skip_clause(cursor: Cursor, flags: list[str]) -> None:
    """Read a clause that no rule asks about."""
    words = {"CLUSTERED": "clustered", "NONCLUSTERED": "nonclustered", "SPARSE": "sparse", "ROWGUIDCOL": "rowguid"}
    word = cursor.take_one(*words)
    if word:
        flags.append(words[word])
    elif cursor.take("ON", "UPDATE") or cursor.take("ON", "DELETE") or cursor.take("ON", "CONFLICT"):
        cursor.take_one("SET", "NO")
        cursor.skip()
        cursor.group()
    elif (
        cursor.take("ON") or cursor.take("COMMENT") or cursor.take("STORAGE") or cursor.take("COMPRESSION") or cursor.take("SRID")
    ):
        cursor.skip()
        cursor.group()
    elif cursor.take("CHARACTER", "SET") or cursor.take("CHARSET") or cursor.take("COLUMN_FORMAT"):
        flags.append("collate")
        cursor.name()
    elif cursor.take("WITH"):
        options = cursor.group()
        if options is None:
            cursor.skip()
        elif Cursor(options).has("ONLINE", "=", "ON"):
            flags.append("online")
    elif cursor.take("INDEX"):
        flags.append("index")
        cursor.name()
    elif (
        cursor.take_one(
            *_ACTIONS, "ASC", "DESC", "VISIBLE", "INVISIBLE", "HIDDEN", "FILESTREAM", "ENFORCED", "NOT", "FOR", "REPLICATION"
        )
        or cursor.take("DEFERRABLE")
        or cursor.take("INITIALLY", "DEFERRED")
        or cursor.take("INITIALLY", "IMMEDIATE")
    ):
        pass
    elif cursor.take("MATCH") or cursor.take("NULLS"):
        cursor.until("DEFERRABLE", "NOT", "ON")
    elif cursor.group() is None:
        cursor.doubtful = True
        cursor.skip()


def _type(cursor: Cursor) -> str:
    """Read a data type, and return it in upper case."""
    read: list[Token] = []
    while not cursor.at_end and (not read or cursor.token.upper not in _CLAUSES or _is_of_type(cursor, read)):
        if not read and cursor.token.upper in _CLAUSES and not _is_of_type(cursor, read):
            break  # a computed column, or SQLite, has none
        begin = cursor.position
        if cursor.group() is None:
            cursor.skip()
        read += cursor.tokens[begin : cursor.position]
    return text_of([_unquoted(token) for token in read]).upper().replace(" (", "(")


def _unquoted(token: Token) -> Token:
    return Token("word", token.identifier, token.start, token.end, token.line, token.column) if token.kind == "quoted" else token


def _is_of_type(cursor: Cursor, read: list[Token]) -> bool:
    """Return whether a word that may begin a clause belongs to the type: WITH TIME ZONE, CHARACTER VARYING."""
    if cursor.peek("WITH"):
        return any(cursor.peek(word, ahead=1) for word in _TIME_ZONES)
    if cursor.peek("CHARACTER"):
        return not cursor.peek("SET", ahead=1)
    return cursor.peek("WITHOUT", "TIME")


def _default(cursor: Cursor) -> list[Token]:
    """Read a default's expression: its first token, whatever it is, and on to the next clause."""
    begin = cursor.position
    if cursor.group() is None and not cursor.at_end:
        is_next_value = cursor.peek("NEXT", "VALUE", "FOR")
        cursor.position += 3 if is_next_value else 1
    stops = [word for word in _CLAUSES if word not in ("CHARACTER", "AS")]
    while not cursor.at_end and (cursor.token.upper not in stops or _is_of_type(cursor, [])):
        if cursor.group() is None:
            cursor.skip()
    return cursor.tokens[begin : cursor.position]
