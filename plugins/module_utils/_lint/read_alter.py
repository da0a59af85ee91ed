# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads ALTER TABLE: one fact for each of its actions."""

from __future__ import annotations

import re
from dataclasses import replace

from .collect import Collector
from .facts import Column
from .read_columns import Constraint, is_constraint, read_column, read_constraint
from .tokens import Cursor, Token, split_commas, text_of

_INDEXES = ("index", "fulltext", "spatial")
_RENAMED = {
    "CONSTRAINT": "rename_constraint",
    "INDEX": "rename_index",
    "KEY": "rename_index",
    "COLUMN": "rename_column",
}
# Actions that the parser does not know in every form, and whose words are all that rules ask for.
_KNOWN_ACTION = re.compile(
    r"(ATTACH|DETACH) PARTITION \S|(ENABLE|DISABLE|FORCE|NO FORCE) ROW LEVEL SECURITY$|REPLICA IDENTITY \S|(NO )?INHERIT \S+$"
    r"|(ENABLE|DISABLE)( REPLICA| ALWAYS)? (TRIGGER|RULE) \S+$|SET (SCHEMA|TABLESPACE|ACCESS METHOD) \S+$|SET (UN)?LOGGED$"
    r"|PARTITION BY \S|(REMOVE|COALESCE|REORGANIZE) PARTITION|(ADD|DROP) SYSTEM VERSIONING$"
    r"|ALTER (CHECK|CONSTRAINT) \S+ (NOT )?ENFORCED$|NOT OF$|OWNER TO \S+$|(RE)?SET ?\(.*\)$|CLUSTER ON \S+$|SET WITHOUT CLUSTER$"
    r"|REBUILD\b|SWITCH\b.*\bTO \S|(CHANGE_TRACKING|CHECK$|NOCHECK$)"
)
_CONSTRAINT_OF = {"FOREIGN": "foreign_key", "PRIMARY": "primary_key", "CHECK": "check", "CONSTRAINT": "", "PERIOD": "period"}


def read_alter_table(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read what stands behind ALTER TABLE."""
    flags = cursor.take_if_exists()
    cursor.take("ONLY")
    table = cursor.name()
    if cursor.peek("*"):
        cursor.skip()
    values = _waits(cursor)
    parts = split_commas(cursor.rest())
    values |= _options_of(parts)
    action = _Action(out, table, flags, values)
    if out.engine == "sqlserver":
        action.read_sqlserver(parts, at)
    else:
        for part in parts:
            action.read(Cursor(part), part[0] if part else at)
    cursor.doubtful |= action.doubtful


def _waits(cursor: Cursor) -> dict:
    if cursor.take("WAIT"):
        return {"wait": cursor.skip().text}
    return {"wait": "0"} if cursor.take("NOWAIT") else {}


def _options_of(parts: list[list[Token]]) -> dict:
    """Return ALGORITHM and LOCK of MySQL's ALTER TABLE."""
    found = {}
    for part in parts:
        words = [token.upper or token.text.upper() for token in part if token.text != "="]
        if len(words) == 2 and words[0] in ("ALGORITHM", "LOCK"):
            found[words[0].lower()] = words[1]
    return found


class _Action:
    """Reads the actions of one ALTER TABLE."""

    def __init__(self, out: Collector, table: str, flags: tuple, values: dict) -> None:
        self.out, self.table, self.flags, self.values = out, table, flags, values
        self.doubtful = False

    def add(self, kind: str, at: Token, name: str = "", to: str = "", flags: tuple = (), **values: object) -> None:
        self.out.add(kind, at, self.table, name, to, flags, **self.values, **values)

    def read(self, cursor: Cursor, at: Token) -> None:
        """Read one action of PostgreSQL, MySQL, MariaDB or SQLite."""
        if cursor.peek("ALGORITHM") or cursor.peek("LOCK"):
            return
        begin = cursor.position
        if cursor.take("ADD"):
            self._added(cursor, at)
        elif cursor.take("DROP"):
            self._dropped(cursor, at)
        elif cursor.take("RENAME"):
            self._renamed(cursor, at)
        elif cursor.take("VALIDATE", "CONSTRAINT"):
            self.add("validate_constraint", at, cursor.name())
        elif cursor.take("MODIFY") or cursor.take("CHANGE"):
            self._whole_column(cursor, at, is_change=cursor.tokens[begin].upper == "CHANGE")
        elif cursor.take("ALTER") and not any(cursor.peek(word) for word in ("CONSTRAINT", "INDEX", "CHECK")):
            self._altered(cursor, at)
        else:
            cursor.position = begin
            self._other(cursor, at)
        self.doubtful |= cursor.doubtful

    def read_sqlserver(self, parts: list[list[Token]], at: Token) -> None:
        """Read the actions of SQL Server: a verb holds for every part behind it."""
        verb, flags = "", ()
        for part in parts:
            cursor, at = Cursor(part), part[0] if part else at
            if not verb:
                if cursor.take("WITH"):
                    flags = ("with_check",) if cursor.take("CHECK") else ("not_valid",)
                    cursor.take("NOCHECK")
                verb = cursor.take_one("ADD", "ALTER", "DROP", "CHECK", "NOCHECK")
                if verb == "DROP" and not cursor.peek("COLUMN") and not cursor.peek("CONSTRAINT"):
                    verb = "DROP CONSTRAINT"
            elif verb.startswith("DROP"):
                verb = f"DROP {cursor.tokens[0].upper}" if cursor.tokens[0].upper in ("COLUMN", "CONSTRAINT") else verb
            self._one_of_sqlserver(verb, cursor, at, flags)
            if verb == "DROP":
                verb = f"DROP {part[1].upper}"
            self.doubtful |= cursor.doubtful
            if not verb:
                return

    def _one_of_sqlserver(self, verb: str, cursor: Cursor, at: Token, flags: tuple) -> None:
        if verb == "ADD":
            self._added(cursor, at, flags)
        elif verb == "ALTER" and cursor.take("COLUMN"):
            name = cursor.name()
            if cursor.peek("ADD") or cursor.peek("DROP"):
                self.add("alter_table", at, name, action=f"ALTER COLUMN {text_of(cursor.rest()).upper()}")
            else:
                self._said_whole(read_column(cursor, name), at)
        elif verb.startswith("DROP"):
            kind = "drop_column" if cursor.take("COLUMN") or (verb == "DROP COLUMN" and not cursor.take("CONSTRAINT")) else ""
            cursor.take("CONSTRAINT")
            exists = cursor.take_if_exists()
            name = cursor.name()
            online = ("online",) if cursor.has("ONLINE", "=", "ON") else ()
            cursor.rest()
            self.add(kind or "drop_constraint", at, name, flags=exists + online)
        elif verb in ("CHECK", "NOCHECK") and cursor.take("CONSTRAINT"):
            kind = (
                "disable_constraint"
                if verb == "NOCHECK"
                else "validate_constraint"
                if "with_check" in flags
                else "trust_constraint"
            )
            self.add(kind, at, cursor.name())
        elif verb in ("CHECK", "NOCHECK"):
            self.add("alter_table", at, cursor.name(), action=verb)
        else:
            cursor.position = 0
            self._other(cursor, at)

    def _added(self, cursor: Cursor, at: Token, flags: tuple = ()) -> None:
        exists = () if cursor.peek("COLUMN") else cursor.take_if_exists()
        is_column = cursor.take("COLUMN")
        if not is_column and (is_constraint(cursor) or cursor.peek("DEFAULT")):
            self._constrained(read_constraint(cursor), at, flags + exists)
            return
        if not is_column and cursor.take_one("PARTITION", "SYSTEM", "PERIOD", "VALUE"):
            cursor.position -= 1
            self._other(cursor, at, "ADD ")
            return
        exists += cursor.take_if_exists()
        several = cursor.group()
        for part in split_commas(several) if several is not None else [cursor.rest()]:
            inner = Cursor(part)
            if several is not None and is_constraint(inner):
                self._constrained(read_constraint(inner), at, flags)
            else:
                column = read_column(inner)
                self.add("add_column", at, column.name, flags=exists, column=column.as_dict())
            cursor.doubtful |= inner.doubtful

    def _constrained(self, constraint: Constraint, at: Token, flags: tuple) -> None:
        flags += constraint.flags
        is_index = constraint.type in _INDEXES
        is_index |= constraint.type == "unique" and self.out.engine in ("mysql", "mariadb")
        if is_index:
            more = ("unique",) if constraint.type == "unique" else () if constraint.type == "index" else (constraint.type,)
            self.add("create_index", at, constraint.name, flags=flags + more, columns=constraint.columns)
        else:
            self.add("add_constraint", at, constraint.name, flags=flags, **constraint.values())

    def _dropped(self, cursor: Cursor, at: Token) -> None:
        kind, values = "drop_column", {}
        if cursor.take("PRIMARY", "KEY"):
            self.add("drop_constraint", at, "PRIMARY", type="primary_key")
            return
        if cursor.take_one("INDEX", "KEY"):
            kind = "drop_index"
        elif cursor.take("FOREIGN", "KEY"):
            kind, values = "drop_constraint", {"type": "foreign_key"}
        elif (cursor.peek("CONSTRAINT") or cursor.peek("CHECK")) and len(cursor.tokens) > cursor.position + 1:
            word = cursor.skip().upper
            kind, values = "drop_constraint", {"type": _CONSTRAINT_OF[word]}
        elif cursor.peek("SYSTEM", "VERSIONING") or (cursor.peek("PARTITION") and len(cursor.tokens) > cursor.position + 1):
            self._other(cursor, at, "DROP ")
            return
        else:
            cursor.take("COLUMN")
        flags = cursor.take_if_exists()
        name = cursor.name()
        flags += ("cascade",) if cursor.take("CASCADE") else ()
        cursor.take("RESTRICT")
        cursor.doubtful |= not cursor.at_end
        self.add(kind, at, name, flags=flags, **values)

    def _renamed(self, cursor: Cursor, at: Token) -> None:
        kind = _RENAMED.get(cursor.take_one(*_RENAMED), "")
        if not kind:
            kind = "rename_table" if cursor.take_one("TO", "AS") or len(cursor.tokens) == cursor.position + 1 else "rename_column"
        name = "" if kind == "rename_table" else cursor.name()
        cursor.take("TO")
        self.add(kind, at, name or self.table, cursor.name())
        cursor.doubtful |= not cursor.at_end

    def _whole_column(self, cursor: Cursor, at: Token, is_change: bool) -> None:
        """Read MODIFY and CHANGE: they say the whole column anew."""
        cursor.take("COLUMN")
        exists = cursor.take_if_exists()
        name = cursor.name()
        to = cursor.name() if is_change else name
        column = read_column(cursor, name)
        if to.lower() != name.lower():
            self.add("rename_column", at, name, to, flags=exists)
        self._said_whole(column, at, exists, to if to != name else "")

    def _said_whole(self, column: Column, at: Token, flags: tuple = (), to: str = "") -> None:
        nullable = ("set_not_null",) if column.has("not_null", "primary_key") else ("drop_not_null",)
        placed = tuple(flag for flag in ("first", "after", "online") if column.has(flag))
        flags += ("whole", "type", *nullable, *placed)
        self.add("alter_column", at, column.name, to, flags, column=column.as_dict())

    def _altered(self, cursor: Cursor, at: Token) -> None:
        """Read ALTER COLUMN of PostgreSQL and MySQL."""
        cursor.take("COLUMN")
        name = cursor.name()
        column, flags, using = Column(name), (), ""
        if cursor.take("SET", "DATA", "TYPE") or cursor.take("TYPE"):
            definition = Cursor(cursor.until("USING"))
            column, flags = read_column(definition, name), ("type",)
            cursor.doubtful |= definition.doubtful
            using = text_of(cursor.rest()[1:])
        elif cursor.take("SET", "NOT", "NULL"):
            flags = ("set_not_null",)
        elif cursor.take("DROP", "NOT", "NULL"):
            flags = ("drop_not_null",)
        elif cursor.take("SET", "DEFAULT"):
            flags, column = ("set_default",), replace(column, default=text_of(cursor.rest()))
        elif cursor.take("DROP", "DEFAULT"):
            flags = ("drop_default",)
        elif cursor.take("DROP", "EXPRESSION"):
            flags = ("drop_expression",)
            cursor.take_if_exists()
        elif cursor.take("DROP", "IDENTITY"):
            flags = ("drop_identity",)
            cursor.take_if_exists()
        elif cursor.take("SET", "EXPRESSION"):
            flags = ("set_expression",)
            cursor.rest()
        elif cursor.peek("ADD", "GENERATED") or cursor.peek("SET", "GENERATED") or cursor.peek("RESTART"):
            flags = ("set_generated",)
            cursor.rest()
        elif cursor.take("SET", "STATISTICS"):
            flags = ("set_statistics",)
            cursor.rest()
        elif (
            cursor.peek("SET", "STORAGE") or cursor.peek("SET", "COMPRESSION") or cursor.peek("SET", "(") or cursor.peek("RESET")
        ):
            flags = ("set_storage",)
            cursor.rest()
        elif cursor.take_one("SET") and cursor.take_one("VISIBLE", "INVISIBLE"):
            flags = ("set_visible",)
        cursor.doubtful |= not cursor.at_end or not flags
        self.add("alter_column", at, name, flags=flags, column=column.as_dict(), using=using)

    def _other(self, cursor: Cursor, at: Token, before: str = "") -> None:
        """Take an action as its words; whether one that is not known was read rightly is for the parser to say."""
        action = before + text_of(cursor.rest()).upper()
        cursor.doubtful |= not _KNOWN_ACTION.match(action)
        self.add("alter_table", at, action=action)
