# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The interface every database engine implements; nothing outside engines/ knows which one it talks to."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Callable, Iterator

from ..errors import DatabaseError
from ..keyset import MYSQL, Column, Keyset, table_parts, type_text
from ..lexis import Lexis, ScriptError, Statement
from ..questions import Question
from .stored import STORED_OBJECTS

TRANSACTION_WORDS = ("BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "ABORT")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_TRANSACTION_STARTS = (("START", "TRANSACTION"), ("PREPARE", "TRANSACTION"))

CAPABILITIES = {
    "transactional_ddl": "a schema change rolls back with its transaction",
    "session_lock": "a lock that ends with its session keeps a second run out",
    "online_index": "an index can be built while the application writes",
    "instant_add_column": "a column with a constant default is added without touching the rows",
    "instant_drop_column": "a column is dropped without touching the rows",
    "statement_timeout": "any statement can be given a longest time",
    "subsecond_lock_timeout": "a lock time-out may be shorter than a second",
    "sequences": "CREATE SEQUENCE exists",
    "resumable_index": "an index build can be paused and gone on with",
}


@dataclass(frozen=True)
class Blocker:
    """A session that holds the lock another one waits for, as far as the engine can tell.

    ``certain`` is false where the engine shows who could be in the way, but not whose lock it is.
    """

    session: str
    user: str = ""
    program: str = ""
    host: str = ""
    statement: str = ""
    age_seconds: float | None = None
    since: str = "in a transaction"
    certain: bool = True

    def __str__(self) -> str:
        named = f"session {self.session}" if self.session.isdigit() else self.session
        parts = [named if self.certain else f"perhaps {named}"]
        parts += [f"user {self.user}"] if self.user else []
        parts += [f"program '{self.program}'"] if self.program else []
        parts += [f"from {self.host}"] if self.host else []
        parts += [f"{self.since} for {self.age_seconds:.0f} s"] if self.age_seconds is not None else []
        parts += [f"last statement: {' '.join(self.statement.split())[:200]}"] if self.statement else []
        return ", ".join(parts)

    def as_dict(self) -> dict:
        return asdict(self)


class Engine(ABC):
    """One connection to one database.

    Autocommit is on outside :meth:`transaction`. Parameters are written ``?`` on every engine. Every error of
    the driver leaves as DatabaseError, and a lock time-out as its subclass LockTimeout.

    Attributes:
        name: as the ``engine`` option names it.
        lexis: how scripts are split.
        transactional_ddl: schema changes roll back with the transaction they ran in.
        types: column types of the ledger: text, name (short, indexable), time, count, serial (a key that counts itself).
        repeatable: first words of statements that may always run twice.
        table_options: what stands behind each CREATE TABLE of the ledger.
        keeps_zone: whether that type takes a time with its zone.
        schema: the schema of the collection's own tables, empty for the connection's default.
        keyset: how a table is walked along its key.
    """

    name = ""
    lexis = Lexis()
    transactional_ddl = True
    types: dict = {}  # noqa: RUF012 - a constant of each engine
    repeatable: tuple = ()
    table_options = ""
    keeps_zone = True
    schema = ""
    keyset: Keyset = MYSQL

    @classmethod
    @abstractmethod
    def from_options(cls, params: dict, create: bool) -> Engine:
        """Connect as the modules' connection options say.

        Parameters:
            params: module parameters with CONNECTION_SPEC.
            create: an embedded database that does not exist yet is created.

        Raises:
            DatabaseError: options are missing or contradict each other, or the connection fails.
        """

    @abstractmethod
    def close(self) -> None:
        """End the connection, and with it every lock of the session."""

    @abstractmethod
    def query(self, sql: str, parameters: tuple = ()) -> list[dict]:
        """Return the rows of one statement as dicts with lower-case keys and ISO 8601 UTC text for times."""

    @abstractmethod
    def execute(self, sql: str, parameters: tuple = ()) -> int:
        """Run one statement and return the number of rows it changed, -1 where the engine does not say."""

    @abstractmethod
    def run_script_statement(self, statement: Statement) -> None:
        """Run one statement of a user's script, to the end of its last result."""

    @contextmanager
    def together(self, commit: bool = False) -> Iterator[None]:
        """Send what :meth:`execute` is given in the block at its end, in one go where the engine can; it returns nothing then.

        Parameters:
            commit: nothing follows in the transaction, so that an engine may send its end along.
        """
        yield

    @contextmanager
    @abstractmethod
    def transaction(self) -> Iterator[None]:
        """Commit at the end of the block, roll back on any exception."""
        yield

    @abstractmethod
    def set_lock_timeout(self, seconds: float | None) -> None:
        """Bound every wait for a lock of this session from here on; None goes back to the connection's own value."""

    @abstractmethod
    def set_statement_timeout(self, seconds: float | None) -> None:
        """Bound every statement of this session from here on; None goes back to the connection's own value."""

    def begin_script(self) -> None:  # noqa: B027 - most engines rely on no setting that a script could mind
        """Give a user's script the session that the database's own settings make, until :meth:`reset_session`.

        Behind :meth:`pause_script` it goes on with what the script itself has set.
        """

    def pause_script(self) -> None:
        """Take the session back between two statements of a script outside a transaction, for our own bookkeeping.

        Most engines make each such statement a session of its own; one whose every script runs like this keeps what it set.
        """
        self.reset_session()

    def begin_backfill(self) -> None:
        """Give a backfill's batches the session of a script, and the last place wherever somebody has to give way."""
        self.begin_script()

    @abstractmethod
    def reset_session(self, lock_timeout: float | None = None) -> None:
        """Undo every setting that a user's script or :meth:`set_lock_timeout` left behind, so that none of it leaks.

        Parameters:
            lock_timeout: as for :meth:`set_lock_timeout`, in one go.
        """

    def reset_for_script(self, lock_timeout: float | None = None) -> None:
        """Do what :meth:`reset_session` and then :meth:`begin_script` do, between two scripts."""
        self.reset_session(lock_timeout)
        self.begin_script()

    def settle_schema(self, table: str) -> None:  # noqa: B027 - most engines have no search path
        """Fix the schema of the collection's own tables when none was given, so that no script's search path moves them.

        Parameters:
            table: one of the tables; where it is already, the others are.
        """

    def joins_transaction(self, statement: Statement) -> bool:
        """Return whether a statement outside the script's transaction can share one with the count of what is done.

        If so, a crash leaves no doubt about it: both are there or neither is.
        """
        return False

    def undone_with_count(self, statement: Statement) -> bool:
        """Return whether a statement that shared a transaction with its count is surely gone where the count is missing."""
        return True

    def is_atomic(self, statement: Statement) -> bool:
        """Return whether a statement that failed outside a transaction has surely left nothing, or can simply be run again.

        One that can commit in the middle of itself, such as a call of a procedure, is not: a part of it may stay.
        """
        return True

    def session_state(self, statement: Statement) -> str:
        """Return what a later statement of the script may need of this one's session.

        Empty for nothing, ``again`` when it can be run again in a new session, ``lost`` when it cannot be had again.
        """
        return ""

    def has_happened(self, question: Question) -> bool | None:
        """Return whether the catalog shows what a statement leaves behind; None when the catalog cannot tell.

        Parameters:
            question: what :func:`questions_of` made of the statement that was in flight when its process was killed.
        """
        return None

    def clear_carcass(self, statement: Statement) -> None:  # noqa: B027 - most engines leave none
        """Remove what an earlier try of a statement outside a transaction left behind half done."""

    def is_online(self, statement: Statement) -> bool:
        """Return whether a statement waits for others for long without anybody having to wait for it."""
        return False

    @abstractmethod
    def try_session_lock(self, name: str) -> bool:
        """Try once, without waiting in the server, to take an exclusive lock that ends with this session."""

    @abstractmethod
    def release_session_lock(self, name: str) -> None:
        """Give back a lock of :meth:`try_session_lock`."""

    @abstractmethod
    def session_lock_holder(self, name: str) -> Blocker | None:
        """Return who holds the session lock, or None when it is free or the engine cannot tell."""

    @abstractmethod
    def blockers(self) -> list[Blocker]:
        """Return who blocks this session right now; called from another thread, through a connection of its own."""

    @contextmanager
    def watch(self) -> Iterator[Callable[[], list[Blocker]]]:
        """Give a function that does what :meth:`blockers` does, many times at the cost of one connection."""
        yield self.blockers

    def capabilities(self) -> dict[str, bool]:
        """Return what this server can do, from its version and edition; every engine has exactly the keys of CAPABILITIES."""
        return {**dict.fromkeys(CAPABILITIES, False), "transactional_ddl": self.transactional_ddl}

    def settings(self) -> dict:
        """Return the server's settings that matter for a deploy, by the server's own names; times in its own units.

        A value that this user may not see is None. Replication is ``replication`` (bool or None) and ``replication_lag_seconds``
        (the worst replica's, or None).
        """
        return {}

    @abstractmethod
    def table_exists(self, table: str) -> bool:
        """Return whether one of the collection's own tables is in the schema."""

    def take_messages(self) -> list[str]:
        """Return what the server has said to the statements of scripts, besides errors, since this was last asked."""
        return []

    def driver(self) -> str:
        """Return name and version of the driver in use."""
        return ""

    def first_rows(self, select: str, count: int) -> str:
        """Return a SELECT that gives its first rows only."""
        return f"{select} LIMIT {max(0, int(count))}"

    def settled_rows(self, table: str) -> str:
        """Return a table as FROM takes it, so that nobody waits for rows that another transaction is just writing.

        Parameters:
            table: a quoted name; engines that keep versions of rows read it as it is.
        """
        return table

    def exists(self) -> bool:
        """Return whether the database is there: a server has refused the connection where it is not."""
        return True

    @abstractmethod
    def server_version(self) -> str:
        """Return the server's version as text."""

    @abstractmethod
    def now(self) -> str:
        """Return an SQL expression for the server's clock in UTC."""

    @abstractmethod
    def later(self, seconds: float) -> str:
        """Return an SQL expression for the server's clock plus seconds."""

    def moment(self, text: str) -> str:
        """Return an SQL expression for a time of the ledger, which is ISO 8601 in UTC with milliseconds.

        Raises:
            DatabaseError: the text is none.
        """
        if not _MOMENT.fullmatch(text):
            raise DatabaseError(f"'{text}' is no time of the ledger: write it as 2026-11-20T10:00:00.000Z.")
        return f"CAST('{text if self.keeps_zone else text[:-1]}' AS {self.types['time']})"

    def create_schema(self) -> None:  # noqa: B027 - most engines need no schema of their own
        """Create the schema of the collection's own tables where the engine has schemas and it is missing."""

    def stored_objects(self) -> list[dict]:
        """Return schema, name and kind (view, function, procedure) of everything of the users' that holds SQL and is called."""
        return self.query(STORED_OBJECTS[self.name])

    def assertion_rows(self, statement: Statement) -> list[dict]:
        """Return every row that an assertion gives, of whichever result."""
        return self.query(statement.text)

    def run_test_suites(self) -> list[dict]:
        """Run the test suites that live in the database; return name, suite, seconds and failure of each test. Most have none."""
        return []

    def quote(self, identifier: str) -> str:
        """Return an identifier quoted by the SQL standard."""
        return '"' + identifier.replace('"', '""') + '"'

    def table(self, name: str) -> str:
        """Return the quoted name of one of the collection's own tables, with its schema."""
        return f"{self.quote(self.schema)}.{self.quote(name)}" if self.schema else self.quote(name)

    def table_of_user(self, table: str) -> str:
        """Return the quoted name of one of the application's tables, written as ``name`` or ``schema.name``."""
        return ".".join(self.quote(part) for part in table_parts(table) if part)

    def columns(self, table: str) -> list[Column]:
        """Return the columns of one of the application's tables, none when there is no such table."""
        schema, name = table_parts(table)
        rows = self.query(
            "SELECT column_name AS column_name, data_type AS data_type, is_nullable AS is_nullable,"
            " character_maximum_length AS character_maximum_length, numeric_precision AS numeric_precision,"
            " numeric_scale AS numeric_scale, datetime_precision AS datetime_precision FROM information_schema.columns"
            f" WHERE table_schema = {'?' if schema else self.keyset.default_schema} AND table_name = ? ORDER BY ordinal_position",
            (schema, name) if schema else (name,),
        )
        return [Column(r["column_name"], r["data_type"], type_text(r), r["is_nullable"] == "YES") for r in rows]

    def has_index(self, table: str, columns: list[str]) -> bool:
        """Return whether an index of a table begins with the columns in this order."""
        schema, name = table_parts(table)
        sql = self.keyset.indexes.format(schema="?" if schema else self.keyset.default_schema)
        indexes: dict = {}
        for row in self.query(sql, (schema, name) if schema else (name,)):
            indexes.setdefault(row["number"], []).append(row["name"])
        return any(names[: len(columns)] == columns for names in indexes.values())

    def row_estimate(self, table: str) -> int | None:
        """Return about how many rows one of the application's tables has, without reading it; None when nobody knows."""
        schema, name = table_parts(table)
        sql = self.keyset.estimate.format(schema="?" if schema else self.keyset.default_schema)
        rows = self.query(sql, (schema, name) if schema else (name,))
        return int(rows[0]["n"]) if rows and rows[0]["n"] is not None else None

    def busy_sessions(self) -> int | None:
        """Return how many other sessions are in the middle of something now, None when the engine cannot tell."""
        if not self.keyset.busy:
            return None
        return max(0, int(list(self.query(self.keyset.busy)[0].values())[-1]) - 1)

    def recent_sessions(self) -> int | None:
        """Return how many other sessions have done something within the last second, as far as this user may see.

        At one instant an application of short statements looks idle, so that :meth:`busy_sessions` often misses it.
        """
        return self.busy_sessions()

    def replication_lag(self) -> float | None:
        """Return by how many seconds the slowest replica is behind, 0 without a replica, None when it cannot be told."""
        return None

    def check_statement(self, statement: Statement, source: str, in_transaction: bool) -> None:
        """Refuse what this engine or our transaction could not run, before anything has run.

        Raises:
            ScriptError: names file, line and column.
        """
        if statement.words[:1] and self._is_transaction_control(statement.words):
            how = (
                "the script and its history row commit together"
                if in_transaction
                else "with transaction=none every statement commits by itself, together with the count of what is done"
            )
            raise ScriptError(
                source,
                statement.line,
                statement.column,
                f"{statement.words[0]} inside a script: {how}, so leave transactions to everup and take it out",
            )

    @staticmethod
    def _is_transaction_control(words: tuple) -> bool:
        return words[0] in TRANSACTION_WORDS or words[:2] in _TRANSACTION_STARTS
