# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads one statement into facts: finds the reader that its first words call for."""

from __future__ import annotations

from .._db.lexis import Lexis
from .collect import Collector
from .dynamic import Literals
from .read_alter import read_alter_table
from .read_indexes import index_kind, read_alter_index, read_create_index, read_drop_index, read_reindex
from .read_modules import read_drop_module, read_routine, read_trigger, read_view
from .read_others import (
    read_checkident,
    read_other_object,
    read_pragma,
    read_rename,
    read_set,
    read_sp_rename,
    read_transaction,
)
from .read_query import read_delete, read_insert, read_merge, read_select, read_update, read_with
from .read_tables import read_create_table, read_drop_table
from .tokens import Cursor, Token, split_commas, text_of

_ROUTINES = ("PROCEDURE", "PROC", "FUNCTION", "ROUTINE", "AGGREGATE")
_TEMPORARY = ("TEMP", "TEMPORARY")
_ROWS = {
    "INSERT": read_insert,
    "REPLACE": read_insert,
    "UPDATE": read_update,
    "DELETE": read_delete,
    "MERGE": read_merge,
}
_TRANSACTION = ("COMMIT", "ROLLBACK", "SAVE", "SAVEPOINT", "RELEASE", "ABORT", "END", "START")
_MAINTENANCE = (
    "VACUUM",
    "CLUSTER",
    "ANALYZE",
    "ANALYSE",
    "OPTIMIZE",
    "REPAIR",
    "CHECK",
    "FLUSH",
    "CHECKPOINT",
    "ATTACH",
    "DETACH",
)
# Statements that concern neither schema nor rows, whatever follows.
_HARMLESS = frozenset((
    "GRANT", "REVOKE", "DENY", "COMMENT", "PRINT", "RAISERROR", "THROW", "RAISE", "RETURN", "DECLARE", "BREAK", "CONTINUE",
    "GOTO", "OPEN", "FETCH", "CLOSE", "DEALLOCATE", "WAITFOR", "EXPLAIN", "DESCRIBE", "SHOW", "RESET", "NOTIFY", "LISTEN",
    "UNLISTEN", "DISCARD", "VALUES", "LOAD", "SECURITY", "PERFORM", "CALL", "NULL", "GET", "SIGNAL", "RESIGNAL", "LEAVE",
    "ITERATE", "KILL", "COPY", "MOVE", "RECONFIGURE", "BACKUP", "RESTORE", "BULK", "UNLOCK", "HANDLER", "XA", "REFRESH",
    "INSTALL", "UNINSTALL", "REASSIGN",
))  # fmt: skip


_OTHER_WORDS = """
ADD ALTER BEGIN CREATE DBCC DISABLE DO DROP ELSE ENABLE EXEC EXECUTE GO IF LINENO LOCK PRAGMA PREPARE READTEXT RECEIVE REFRESH
REINDEX RENAME REVERT SELECT SEND SET SETUSER SHUTDOWN TRUNCATE UPDATETEXT USE WHILE WITH WRITETEXT
"""
_STATEMENTS = frozenset([*_OTHER_WORDS.split(), *_HARMLESS, *_ROWS, *_TRANSACTION, *_MAINTENANCE])


def is_bare_call(tokens: list[Token]) -> bool:
    """Return whether a statement begins with a name, as SQL Server lets a batch begin with a procedure's without EXEC."""
    first = tokens[0]
    is_label = len(tokens) > 1 and tokens[1].text == ":"
    return first.is_name and first.text[0] not in "@#" and first.upper not in _STATEMENTS and not is_label


class StatementReader:
    """Reads the statements of one script, one after the other.

    Parameters:
        out: where the facts go.
        lexis: the engine's lexical rules, for the bodies of routines.
    """

    def __init__(self, out: Collector, lexis: Lexis) -> None:
        self.out = out
        self.lexis = lexis
        self.literals = Literals(self, out)

    def read(self, tokens: list[Token]) -> bool:
        """Read one statement into facts.

        Returns:
            whether every word of it was understood as far as facts go.
        """
        if not tokens:
            return True
        cursor = Cursor(tokens)
        at = cursor.skip()
        word = at.upper
        if word in ("CREATE", "ALTER", "DROP"):
            self._schema(word, cursor, at)
        elif word == "UPDATE" and self.out.engine == "sqlserver" and cursor.take("STATISTICS"):
            self.out.add("maintenance", at, cursor.name(), action="UPDATE STATISTICS")
        elif word in _ROWS:
            _ROWS[word](cursor, self.out, at)
        elif word in ("SELECT", "WITH", "(", "TABLE"):
            cursor.position = 0
            (read_with if word == "WITH" else read_select)(cursor, self.out, at)
            self.literals.remember_select(tokens)
        elif word == "TRUNCATE":
            self._truncate(cursor, at)
        elif word == "RENAME":
            read_rename(cursor, self.out, at)
        elif word == "REINDEX":
            read_reindex(cursor, self.out, at)
        elif word == "REFRESH" and cursor.take("MATERIALIZED", "VIEW"):
            flags = ("concurrently",) if cursor.take("CONCURRENTLY") else ()
            self.out.add("refresh_materialized_view", at, name=cursor.name(), flags=flags)
        elif word == "LOCK":
            self._lock(cursor, at)
        elif word in _TRANSACTION or (word == "BEGIN" and self._is_transaction(cursor)):
            read_transaction(word, cursor, self.out, at)
        elif word == "SET":
            if not self.literals.remember(cursor):
                read_set(cursor, self.out, at)
        elif word == "PRAGMA":
            read_pragma(cursor, self.out, at)
        elif word == "USE":
            self.out.add("use", at, to=cursor.name())
        elif word == "DBCC":
            read_checkident(cursor, self.out, at)
        elif word in ("EXEC", "EXECUTE", "PREPARE", "CALL", "DO"):
            return self._run(word, cursor, at)
        elif word in _MAINTENANCE:
            self._maintain(word, cursor, at)
        elif word in ("ENABLE", "DISABLE") and cursor.take("TRIGGER"):
            name = cursor.name()
            cursor.take("ON")
            self.out.add("alter_table", at, cursor.name(), name, action=f"{word} TRIGGER")
        else:
            if word == "DECLARE":
                self.literals.remember(cursor)
            name = " ".join(token.upper for token in tokens[:2] if token.upper)
            self.out.add("other", at, name=name)
            return word in _HARMLESS or at.text.startswith("@")
        return not cursor.doubtful

    def _is_transaction(self, cursor: Cursor) -> bool:
        following = "" if cursor.at_end else cursor.token.upper
        return following in (
            "",
            "TRAN",
            "TRANSACTION",
            "WORK",
            "ISOLATION",
            "READ",
            "IMMEDIATE",
            "DEFERRED",
            "EXCLUSIVE",
            "NOT",
            "DISTRIBUTED",
        )

    def _schema(self, verb: str, cursor: Cursor, at: Token) -> None:
        out = self.out
        flags: tuple = ()
        if cursor.take("OR", "REPLACE") or cursor.take("OR", "ALTER"):
            flags += ("or_replace",)
        self._skip_definer(cursor)
        if cursor.peek("GLOBAL") or cursor.peek("LOCAL"):
            cursor.skip()
        if cursor.take_one(*_TEMPORARY):
            flags += ("temporary",)
        flags += ("unlogged",) if cursor.take("UNLOGGED") else ()
        online = (
            cursor.take_one("ONLINE", "OFFLINE", "IGNORE")
            if cursor.peek("TABLE", ahead=1) or cursor.peek("INDEX", ahead=1)
            else ""
        )
        flags += ("ignore",) if online == "IGNORE" else ()
        if cursor.take("TABLE"):
            if verb == "ALTER":
                read_alter_table(cursor, out, at)
            else:
                (read_create_table if verb == "CREATE" else read_drop_table)(cursor, out, at, flags)
            return
        if cursor.take("MATERIALIZED", "VIEW"):
            if verb == "DROP":
                read_drop_module(cursor, out, at, "drop_materialized_view")
            else:
                read_view(cursor, out, at, f"{verb.lower()}_materialized_view" if verb == "CREATE" else "alter_view", flags)
            return
        if self._take_view(cursor):
            self._view(verb, cursor, at, flags)
            return
        index = index_kind(cursor)
        if index is not None:
            if verb == "CREATE":
                read_create_index(cursor, out, at, flags + index)
            else:
                (read_drop_index if verb == "DROP" else read_alter_index)(cursor, out, at)
            return
        routine = cursor.take_one(*_ROUTINES)
        if routine:
            self._routine(verb, "PROCEDURE" if routine == "PROC" else routine, cursor, at, flags)
        elif cursor.take("CONSTRAINT", "TRIGGER") or cursor.take("TRIGGER"):
            self._trigger(verb, cursor, at, flags)
        else:
            read_other_object(cursor, out, at, verb, flags)

    def _skip_definer(self, cursor: Cursor) -> None:
        """Read what MySQL writes between CREATE and the kind of a view or routine."""
        while cursor.peek("DEFINER") or cursor.peek("ALGORITHM") or cursor.peek("SQL", "SECURITY"):
            if cursor.take("SQL", "SECURITY"):
                cursor.skip()
                continue
            cursor.skip()
            cursor.until("SQL", "VIEW", "PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "DEFINER", "ALGORITHM", "AGGREGATE")

    def _take_view(self, cursor: Cursor) -> bool:
        cursor.take("RECURSIVE")
        return cursor.take("VIEW")

    def _view(self, verb: str, cursor: Cursor, at: Token, flags: tuple) -> None:
        if verb == "DROP":
            read_drop_module(cursor, self.out, at, "drop_view")
        elif verb == "ALTER" and cursor.has("RENAME"):
            name = cursor.name()
            column = cursor.take("RENAME", "COLUMN")
            cursor.take("RENAME")
            cursor.take("TO")
            if column:
                old = cursor.name()
                cursor.take("TO")
                self.out.add("rename_column", at, name, old, cursor.name())
            else:
                self.out.add("rename_object", at, name=name, to=cursor.name(), object="VIEW")
        else:
            read_view(cursor, self.out, at, f"{verb.lower()}_view", flags)

    def _routine(self, verb: str, routine: str, cursor: Cursor, at: Token, flags: tuple) -> None:
        if verb == "DROP":
            read_drop_module(cursor, self.out, at, "drop_routine", routine)
        elif verb == "ALTER" and cursor.has("RENAME", "TO"):
            name = cursor.name()
            cursor.until("RENAME")
            cursor.take("RENAME", "TO")
            self.out.add("rename_object", at, name=name, to=cursor.name(), object=routine)
        else:
            read_routine(cursor, self.out, at, routine, f"{verb.lower()}_routine", flags, self.lexis)

    def _trigger(self, verb: str, cursor: Cursor, at: Token, flags: tuple) -> None:
        if verb == "DROP":
            read_drop_module(cursor, self.out, at, "drop_trigger")
        elif verb == "ALTER" and cursor.has("RENAME", "TO"):
            name = cursor.name()
            cursor.until("RENAME")
            cursor.take("RENAME", "TO")
            self.out.add("rename_object", at, name=name, to=cursor.name(), object="TRIGGER")
        else:
            read_trigger(cursor, self.out, at, f"{verb.lower()}_trigger", flags, self.lexis)

    def _truncate(self, cursor: Cursor, at: Token) -> None:
        cursor.take("TABLE")
        cursor.take("ONLY")
        flags = ("cascade",) if cursor.has("CASCADE") else ()
        for part in split_commas(cursor.rest()):
            name = Cursor(part).name()
            self.out.add("truncate", at, name, flags=flags)

    def _lock(self, cursor: Cursor, at: Token) -> None:
        cursor.take_one("TABLE", "TABLES")
        cursor.take("ONLY")
        names = [Cursor(part) for part in split_commas(cursor.until("IN"))]
        mode = text_of(cursor.rest()).upper().removeprefix("IN ").removesuffix(" NOWAIT").removesuffix(" MODE")
        for inner in names:
            name = inner.name()
            self.out.add("lock_table", at, name, mode=mode or text_of(inner.rest()).upper() or "ACCESS EXCLUSIVE")

    def _maintain(self, word: str, cursor: Cursor, at: Token) -> None:
        options = cursor.group() if cursor.peek("(") else None
        is_full = cursor.take("FULL") or (options is not None and Cursor(options).has("FULL"))
        cursor.take_one("FREEZE", "VERBOSE", "ANALYZE", "LOCAL", "NO_WRITE_TO_BINLOG")
        cursor.take_one("TABLE", "TABLES")
        table = cursor.name()
        if cursor.take("USING"):
            cursor.name()
        self.out.add("maintenance", at, table, action=f"{word} FULL" if is_full else word)
        cursor.rest()

    def _run(self, word: str, cursor: Cursor, at: Token) -> bool:
        """Read a statement that runs another one: a procedure, or text."""
        if word == "DO":
            return self.literals.read_block(cursor, at)
        if self.literals.runs_text(word, cursor, at):
            return True
        if word == "EXEC" or word == "EXECUTE" or word == "CALL":
            if not cursor.at_end and cursor.token.text.startswith("@") and cursor.peek("=", ahead=1):
                cursor.position += 2  # @result = procedure
            name = cursor.name()
            arguments = split_commas(cursor.group() if cursor.peek("(") else cursor.rest())
            if name.lower().rpartition(".")[2] == "sp_rename":
                read_sp_rename(arguments, self.out, at)
            else:
                self.out.add("execute", at, name=name, arguments=[text_of(part) for part in arguments])
            return True
        self.out.add("other", at, name=word)
        return True
