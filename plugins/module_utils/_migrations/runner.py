# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the pending scripts of a phase: one at a time, each exactly once, within the lock budget."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Callable, Sequence

from .._db.engines.base import Blocker, Engine
from .._db.errors import DatabaseError, LeaseLost, LockTimeout
from .._db.ledger import Ledger
from .._db.lexis import Statement
from .._errors import EverupError
from .._trash.soft_drop import SoftDrop
from . import recovery
from .files import Migration
from .history import RUNNING, History
from .locks import BlockerWatch, take_session_lock, with_lock_budget
from .plan import option_text

_LEAST_LOCK_TIMEOUT_SECONDS = 0.05
_WHOLE = 0.95  # so much of a lock time-out counts as all of it


@dataclass
class Limits:
    """How long a run may wait, in seconds.

    Attributes:
        lock_timeout: for any one lock; also what an application's statement may wait behind us.
        lock_budget: in total for one script, over all its tries.
        session_wait: for another run of the same database to end.
    """

    lock_timeout: float = 2.0
    lock_budget: float = 60.0
    session_wait: float = 30.0


@dataclass
class Outcome:
    """What happened to one script: tries is more than one when locks were waited for; messages are the server's own."""

    migration: Migration
    seconds: float
    tries: int
    messages: list = field(default_factory=list)


@dataclass
class Runner:
    """Runs scripts on one connection.

    Attributes:
        db: the engine.
        history: the phase's history.
        limits: time bounds.
        release_version: recorded with each script.
        fence: called inside a transaction, before a script begins and before it commits; raises when this run may not act
            any longer.
        jitter: returns a factor in [0, 1) for the pauses between tries.
        soft_drop: moves away what the scripts drop; None lets them drop it.
    """

    db: Engine
    history: History
    ledger: Ledger
    limits: Limits
    release_version: str | None = None
    fence: Callable[[], None] | None = None
    jitter: Callable[[], float] = field(default=random.random)
    soft_drop: SoftDrop | None = None
    # What the session has been left with by the last script, so that the next one need not ask for the same.
    _lock_timeout_set: float | None = field(default=None, init=False)
    _for_script: bool = field(default=False, init=False)
    # Of the script that runs: the most tries that a part of it has taken, and the seconds lost to those that got no lock.
    _tries: int = field(default=1, init=False)
    _waited: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._watch = BlockerWatch(self.db)

    def take_session_lock(self) -> None:
        """Wait for the engine's session lock, trying and sleeping.

        Raises:
            LockTimeout: somebody else holds it for longer than session_wait; names the holder.
        """
        take_session_lock(self.db, self._lock_name(), self.limits.session_wait, "is migrating this database", "no script was run")

    def other_run(self) -> Blocker | None:
        """Return who holds the session lock now, None when nobody does."""
        return self.db.session_lock_holder(self._lock_name())

    def release_session_lock(self) -> None:
        """Give the session lock back; a session that is gone has none, and its error is not the one to see."""
        with suppress(DatabaseError):
            self.db.release_session_lock(self._lock_name())

    def _lock_name(self) -> str:
        return f"everup migration {self.ledger.names.steps}"

    def run_all(self, migrations: Sequence[Migration], repair: str | None = None) -> list[Outcome]:
        """Run scripts one after the other, up to the first that fails; see :meth:`run`."""
        try:
            return [self.run(migration, repair) for migration in migrations]
        finally:
            self._watch.close()
            if self._for_script:
                self._for_script = False
                with suppress(DatabaseError):  # a session that is gone has nothing set
                    self.db.reset_session(self._lock_timeout_set)

    def run(self, migration: Migration, repair: str | None = None) -> Outcome:
        """Run one script that the history says has not been applied.

        Parameters:
            migration: the script.
            repair: for an interrupted script, whether its statement in flight has happened (``applied``) or not (``retry``).

        Raises:
            LockTimeout: a lock was not to be had within the budget; names the blocking session.
            DatabaseError: the database refused a statement; names file and line.
            LeaseLost: another run has taken over; nothing of this script is kept.
        """
        started = time.monotonic()
        self._tries, self._waited = 1, 0.0
        if migration.script.directives.transaction and self.db.transactional_ddl:
            self._whole(migration)
        else:
            if self._for_script:
                self._reset_session()
            self._statement_by_statement(migration, repair)
        messages = [migration.script.mask(message) for message in self.db.take_messages()]
        return Outcome(migration, time.monotonic() - started, self._tries, messages)

    def _fence(self) -> None:
        if self.fence is not None:
            self.fence()

    def _check_fence(self) -> None:
        """Ask before anything is touched; the fence inside the script's own transaction is what counts."""
        if self.fence is not None:
            with self.db.transaction():
                self.fence()

    def _whole(self, migration: Migration) -> None:
        try:
            self._with_lock_budget(migration, lambda: self._in_transaction(migration), "The script was not applied")
        except LockTimeout as failure:
            self._record_failure(migration, failure)
            raise

    def _in_transaction(self, migration: Migration) -> None:
        """Run script and history row in one transaction; record a failure after the rollback.

        What the script has set is undone inside the transaction: with the commit the session is as it was.
        """
        self.db.take_messages()  # of an earlier try, which was rolled back
        lock_timeout = self._lock_timeout(migration)
        started = time.monotonic()
        self._begin_soft_drop()
        try:
            if self._lock_timeout_set != lock_timeout:
                self.db.set_lock_timeout(lock_timeout)
            self._check_fence()
            with self.db.transaction():
                if not self._for_script:
                    self.db.begin_script()
                left = self._run_within_lock_timeout(migration)
                # A fence may have to tell times, in the session that is ours.
                begun = self.fence is None
                with self.db.together(commit=begun):
                    (self.db.reset_for_script if begun else self.db.reset_session)(left)
                    self.history.record_applied(migration, self.release_version, time.monotonic() - started)
                    self._note_applied(migration)
                    if self.soft_drop is not None:
                        self.soft_drop.record()
                self._fence()
            self._lock_timeout_set, self._for_script = left, begun
            self._end_soft_drop()
        except BaseException as error:
            self._reset_session()
            if not isinstance(error, DatabaseError):
                raise
            error = self._placed(migration, error)
            if not isinstance(error, LockTimeout):
                self._record_failure(migration, error)
            raise error from None
        if left != lock_timeout:
            self.db.set_lock_timeout(lock_timeout)
            self._lock_timeout_set = lock_timeout

    def _begin_soft_drop(self) -> None:
        if self.soft_drop is not None:
            self.soft_drop.begin()

    def _end_soft_drop(self) -> None:
        """Take for done what was moved away in a transaction that has committed."""
        if self.soft_drop is not None:
            self.soft_drop.committed()

    def _note_applied(self, migration: Migration) -> None:
        phase, release = self.history.phase, self.release_version
        waiting = {"tries": self._tries, "waited_s": round(self._waited, 3)}
        self.ledger.event("script_applied", subject=migration.source, phase=phase, release=release, **waiting)

    def _run_within_lock_timeout(self, migration: Migration) -> float:
        """Run the statements so that the locks already held are not kept waiting for the next one; return what is left.

        The first statement may wait for the whole lock time-out, which is set. Once it has its lock, the application waits
        behind us, so each further one, the bookkeeping and the commit get what is left of the same time-out.
        """
        started = time.monotonic()
        lock_timeout = self._lock_timeout(migration)

        def left() -> float:
            return max(lock_timeout - (time.monotonic() - started), _LEAST_LOCK_TIMEOUT_SECONDS)

        for number, statement in enumerate(migration.script.statements):
            if number:
                self.db.set_lock_timeout(left())
            self._run_statement(migration, statement)
        remaining = left()
        # Most scripts take no time worth mentioning: the whole time-out, which the next one needs, saves a round trip there.
        return lock_timeout if remaining > lock_timeout * _WHOLE else remaining

    def _reset_session(self) -> None:
        """Undo what we and the script have set; a session that is gone has nothing set."""
        self._lock_timeout_set, self._for_script = None, False
        try:
            self.db.reset_session()
        except DatabaseError:
            return

    def _run_statement(self, migration: Migration, statement: Statement) -> None:
        """Run one statement; whatever the server says of it is told with its place and without placeholder values."""
        timeout = migration.script.directives.statement_timeout
        try:
            if timeout is not None:
                self.db.set_statement_timeout(timeout)
            if self.soft_drop is None or not self.soft_drop.take(migration.source, statement):
                self.db.run_script_statement(statement)
        except DatabaseError as error:
            # The error it came from holds the values: no traceback may lead there.
            raise self._placed(migration, self._advised(error), statement) from None

    def _advised(self, error: DatabaseError) -> DatabaseError:
        """Return an error with what to do about something kept that is in the way."""
        advice = self.soft_drop.advice(error) if self.soft_drop is not None else ""
        if not advice:
            return error
        advised = type(error)(f"{error}{advice}", **error.details)
        advised.in_doubt = error.in_doubt
        return advised

    @staticmethod
    def _placed(migration: Migration, error: DatabaseError, statement: Statement | None = None) -> DatabaseError:
        """Return an error with its place and without placeholder values, as it is when it has them already.

        What comes with the COMMIT, such as a deferred constraint, has no statement: the script itself is its place.
        """
        if str(error).startswith(f"{migration.source}:"):
            return error
        line, column = (statement.line, statement.column) if statement else (1, 1)
        placed = type(error)(f"{migration.source}:{line}:{column}: {migration.script.mask(str(error))}", **error.details)
        placed.in_doubt = error.in_doubt
        return placed

    def _lock_timeout(self, migration: Migration, statement: Statement | None = None) -> float:
        """Return the script's own lock time-out or the run's; an online statement, which nobody waits for, has the budget."""
        own = migration.script.directives.lock_timeout
        if own is not None:
            return own
        online = statement is not None and self.db.is_online(statement)
        return max(self.limits.lock_budget, self.limits.lock_timeout) if online else self.limits.lock_timeout

    def _statement_by_statement(self, migration: Migration, repair: str | None) -> None:
        """Run a script outside a transaction, recording with or after each statement how many are done."""
        statements = migration.script.statements
        done: int | None = None
        try:
            done, session = self._go_on_from(migration, repair)
            self._make_session(migration, session)
            for number, statement in enumerate(statements[done:], start=done + 1):
                attempt = partial(self._one_statement, migration, number)
                kept = f"{done} of {len(statements)} statements of the script were applied and stay; number {number} was not"
                self._with_lock_budget(migration, attempt, kept, statement)
                done = number
                if not self.db.joins_transaction(statement):
                    with self.db.transaction():
                        self.history.resume(migration, number, self.release_version)
            with self.db.transaction():
                self._fence()
                self.history.finish(migration)
                self._note_applied(migration)
        except (DatabaseError, LeaseLost) as error:
            # A row that was not marked yet knows better than we do where the script goes on.
            if done is not None:
                self._record_failure(migration, error, done)
            raise
        finally:
            self._reset_session()

    def _go_on_from(self, migration: Migration, repair: str | None) -> tuple[int, list[Statement]]:
        """Mark the script as running; return how many of its statements are done, and those that the session needs again."""
        script = migration.script
        row = self.history.row(migration.version)
        same = row is not None and row.checksum == script.checksum
        done = row.statements_done if same else 0
        if same and row.state == RUNNING and done < len(script.statements):
            happened = recovery.has_happened(self.db, script, done + 1)
            done += 1 if happened or (happened is None and repair == "applied") else 0
        session = recovery.session_statements(self.db, script, done, self.history.phase)
        with self.db.transaction():
            self._fence()
            if same:
                self.history.resume(migration, done, self.release_version)
            else:
                self.history.start(migration, self.release_version)
        return done, session

    def _make_session(self, migration: Migration, statements: list[Statement]) -> None:
        """Run again what the rest of the script expects of its session."""
        try:
            for statement in statements:
                self._run_and_pause(migration, statement)
        except BaseException:
            self._pause_script()
            raise

    def _run_and_pause(self, migration: Migration, statement: Statement) -> None:
        """Run one statement in the script's session; after an error, whose transaction ends first, the caller takes it back."""
        self.db.begin_script()
        self._run_statement(migration, statement)
        self.db.pause_script()

    def _one_statement(self, migration: Migration, number: int) -> None:
        """Run one statement; where it can, together with the count of what is done."""
        statement = migration.script.statements[number - 1]
        try:
            self.db.set_lock_timeout(self._lock_timeout(migration, statement))
            self._check_fence()
            if self.db.joins_transaction(statement):
                self._begin_soft_drop()
                with self.db.transaction():
                    self._run_and_pause(migration, statement)
                    self.history.progress(migration, number)
                    if self.soft_drop is not None:
                        self.soft_drop.record()
                self._end_soft_drop()
                return
            self.db.clear_carcass(statement)
            if recovery.is_there(self.db, migration.script, number):
                # Killed now, it must not look as if this statement had done it.
                with self.db.transaction():
                    self.history.fail(migration, f"statement {number} found its work done before it began", number - 1)
            self._run_to_its_end(migration, number)
        except BaseException as error:
            self._pause_script()
            if isinstance(error, DatabaseError):
                raise self._placed(migration, error, statement) from None
            raise

    def _run_to_its_end(self, migration: Migration, number: int) -> None:
        """Run one statement that no transaction holds; an error of one that may stay in part is in doubt.

        In doubt is nothing that may run again: its script says so, or begins again at its first statement anyway.
        """
        script, statement = migration.script, migration.script.statements[number - 1]
        try:
            self._run_and_pause(migration, statement)
        except DatabaseError as error:
            if script.directives.idempotent or self.history.begins_again or self.db.is_atomic(statement):
                raise
            advice = (
                f"Statement {number} of {len(script.statements)} can commit in the middle of itself, so that a part of it may "
                f"stay, and it is not tried again by itself. Look at the database, then run this again with "
                f"{option_text(self.history.phase, 'repair', 'applied')} if nothing of it is missing, or with "
                f"{option_text(self.history.phase, 'repair', 'retry')} if it may run from its beginning."
            )
            message = str(error) if isinstance(error, LockTimeout) else f"{error}. {advice}"
            doubtful = type(error)(message, **error.details)
            doubtful.in_doubt = advice
            raise doubtful from None

    def _pause_script(self) -> None:
        """Take the session back after an error, which is what the caller must see."""
        try:
            self.db.pause_script()
        except DatabaseError:
            return

    def _record_failure(self, migration: Migration, error: EverupError, done: int = 0) -> None:
        """Write down why a script failed; the failure itself is what the caller must see, so a second one is dropped."""
        try:
            self.db.set_lock_timeout(self.limits.lock_timeout)
            with self.db.transaction():
                if not done:
                    self.history.start(migration, self.release_version)
                in_doubt = isinstance(error, DatabaseError) and error.in_doubt
                (self.history.leave_in_doubt if in_doubt else self.history.fail)(migration, str(error), done)
                self.ledger.event("script_failed", subject=migration.source, error=str(error))
        except DatabaseError:
            return
        finally:
            self._reset_session()

    def _with_lock_budget(
        self, migration: Migration, attempt: Callable[[], None], otherwise: str, statement: Statement | None = None
    ) -> None:
        """Run attempt until it gets its locks or the budget is used up; remember how many tries that took, and how long.

        ``otherwise`` is what the error says of the script when it is used up.
        """
        began, before, tries = time.monotonic(), self._waited, 0

        def counted() -> None:
            nonlocal tries
            tries += 1
            if tries > 1:
                self._tries, self._waited = max(self._tries, tries), before + time.monotonic() - began
            attempt()

        lock_timeout = self._lock_timeout(migration, statement)
        with_lock_budget(self._watch, counted, self.limits.lock_budget, lock_timeout, self.jitter, otherwise)
