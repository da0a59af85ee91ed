# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which T-SQL a batch of a script may not hold, by its words.

Facts relied on: what cannot stand in a transaction (Microsoft Learn, "Transact-SQL statements allowed in transactions",
"KILL", "DBCC SHRINKDATABASE", "Guidelines for online index operations", "Transactions with memory-optimized tables"); a
definition of a procedure, function, trigger or view is alone in its batch and reaches to its end ("CREATE PROCEDURE",
limitations), so that what its body says is not run; COMMIT, ROLLBACK, BACKUP, RESTORE, RECONFIGURE and KILL are reserved
keywords ("Reserved keywords") and so no names outside brackets.
"""

from __future__ import annotations

import re
from typing import Iterator

from ..lexis import Lexis, ScriptError, Statement, tokens

_TRANSACTIONS = (
    ("BEGIN", "TRAN"),
    ("BEGIN", "TRANSACTION"),
    ("BEGIN", "DISTRIBUTED"),
    ("SAVE", "TRAN"),
    ("SAVE", "TRANSACTION"),
    ("SET", "IMPLICIT_TRANSACTIONS", "ON"),
    ("COMMIT",),
    ("ROLLBACK",),
)
_ALONE = (
    ("CREATE", "DATABASE"),
    ("ALTER", "DATABASE"),
    ("DROP", "DATABASE"),
    *((verb, "FULLTEXT") for verb in ("CREATE", "ALTER", "DROP")),
    ("ALTER", "AVAILABILITY"),
    ("BACKUP",),
    ("RESTORE",),
    ("RECONFIGURE",),
    ("KILL",),
    ("SHUTDOWN",),
    ("DBCC", "SHRINKDATABASE"),
    ("DBCC", "SHRINKFILE"),
    ("WAIT_AT_LOW_PRIORITY",),
    ("RESUMABLE",),
    ("MEMORY_OPTIMIZED",),
    ("NATIVE_COMPILATION",),
)
# What decides itself when it commits: a loop that deletes in portions, a procedure, an online build that must not keep its locks.
_APART = (("WHILE",), ("GOTO",), ("EXEC",), ("EXECUTE",), ("ONLINE",))
# What commits something durable outside a transaction, and what decides itself how often it does.
_ROW_CHANGES = ("INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "BULK", "INTO", "RECEIVE")
_SCHEMA_CHANGES = ("CREATE", "ALTER", "DROP", "GRANT", "DENY", "REVOKE")
_CHANGES = (*_ROW_CHANGES, *_SCHEMA_CHANGES, "BACKUP", "RESTORE", "RECONFIGURE", "KILL", "SHUTDOWN", "DBCC")
_MANY = ("WHILE", "GOTO", "EXEC", "EXECUTE")
# Such words go on with the statement that they stand in.
_PARTS_BEHIND = (("ON", "DELETE"), ("ON", "UPDATE"), ("INSERT", "INTO"), ("MERGE", "INTO"), ("BULK", "INSERT"))
_PARTS_BEFORE = ("COLUMN", "CONSTRAINT")
_HARMLESS = ("SET", "PRINT", "DECLARE", "IF", "SELECT", "USE", "WAITFOR", "RAISERROR")
_IN_DEFINITIONS = (("NATIVE_COMPILATION",),)
_RIGHTS = ("GRANT", "DENY", "REVOKE")
_MODULES = ("PROC", "PROCEDURE", "FUNCTION", "TRIGGER", "VIEW")
# A batch without any of these words needs no second look, and a data script has none for megabytes.
_CANDIDATES = re.compile(
    r"(?i)\b(?:" + "|".join(sorted({prefix[min(1, len(prefix) - 1)] for prefix in _TRANSACTIONS + _ALONE + _APART})) + r")\b"
)


def is_definition(statement: Statement) -> bool:
    """Return whether a batch defines a procedure, function, trigger or view."""
    words = [word for word in statement.words[:4] if word not in ("OR", "ALTER")]
    if statement.words[:1] == ("ALTER",):
        return statement.words[1:2] != () and statement.words[1] in _MODULES
    return len(words) > 1 and words[0] == "CREATE" and words[1] in _MODULES


def check_batch(statement: Statement, lexis: Lexis, source: str, in_transaction: bool) -> None:
    """Refuse a batch that ends or leaves transactions, or that could not run in one.

    Raises:
        ScriptError: names file, line and column of the batch, and the line of the words.
    """
    if statement.has_marker:
        raise _refused(statement, source, "a question mark outside literals is a parameter to ODBC, and has no value here")
    if not _CANDIDATES.search(statement.text):
        return
    definition = is_definition(statement)
    for words, line in _places(statement, lexis):
        if not definition:
            found = _found(words, _TRANSACTIONS)
            if found:
                how = (
                    "the script and its history row commit together"
                    if in_transaction
                    else "with transaction=none every batch commits by itself, together with the count of what is done"
                )
                raise _refused(
                    statement,
                    source,
                    f"{' '.join(found)} inside a script (line {line}): {how}, so leave transactions to everup and take it out",
                )
        found = _found(words, _IN_DEFINITIONS if definition else _ALONE)
        if in_transaction and found:
            raise _refused(
                statement,
                source,
                f"{' '.join(found)} (line {line}) cannot run in a transaction: "
                "put '-- everup: transaction=none' at the top of a script of its own",
            )


def is_one_piece(statement: Statement, lexis: Lexis) -> bool:
    """Return whether a batch outside the script's transaction can commit together with the count of what is done."""
    if is_definition(statement):
        return not has_words(statement, lexis, "NATIVE_COMPILATION")
    if not _CANDIDATES.search(statement.text):
        return True
    return not any(_found(words, _ALONE + _APART) for words, _line in _places(statement, lexis))


def changes_at_most_once(statement: Statement, lexis: Lexis) -> bool:
    """Return whether a batch surely holds one statement at most that changes anything.

    A name in the first place calls a procedure, which may hold any number.
    """
    if not statement.words[:1] or statement.words[0] not in (*_CHANGES, *_HARMLESS):
        return False
    changes, before = 0, ""
    for words, _line in _places(statement, lexis):
        if words[0] in _MANY:
            return False
        part = (before, words[0]) in _PARTS_BEHIND or (words[0] in ("ALTER", "DROP") and words[1:2] and words[1] in _PARTS_BEFORE)
        changes += words[0] in _CHANGES and not part
        before = words[0]
    return changes <= 1


def has_words(statement: Statement, lexis: Lexis, *words: str) -> bool:
    """Return whether the words stand in a batch one behind another, outside literals and comments."""
    return any(found[: len(words)] == words for found, _line in _places(statement, lexis))


def _places(statement: Statement, lexis: Lexis) -> Iterator[tuple[tuple, int]]:
    """Yield each word with the two behind it, and its line in the file; GRANT and the like swallow the right's name."""
    found: list[tuple[str, int]] = []
    first_line = statement.line - _lines_before_place(statement, lexis)
    line, counted = first_line, 0
    for token in tokens(statement.text, lexis, ""):
        if token.kind == "word":
            line += statement.text.count("\n", counted, token.start)
            counted = token.start
            found.append((token.text.upper(), line))
    before = ""
    for number, (word, line) in enumerate(found):
        if before not in _RIGHTS:
            yield tuple(behind for behind, _line in found[number : number + 3]), line
        before = word


def _lines_before_place(statement: Statement, lexis: Lexis) -> int:
    """Return how many lines of comments stand above the first word of a batch."""
    for token in tokens(statement.text, lexis, ""):
        if token.kind not in ("space", "comment"):
            return statement.text.count("\n", 0, token.start)
    return 0


def _found(words: tuple, prefixes: tuple) -> tuple:
    return next((prefix for prefix in prefixes if words[: len(prefix)] == prefix), ())


def _refused(statement: Statement, source: str, what: str) -> ScriptError:
    return ScriptError(source, statement.line, statement.column, what)
