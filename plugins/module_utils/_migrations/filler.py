# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fills one backfill, batch by batch: each exactly once, none longer than its target, behind whatever else is going on."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace
from typing import Callable

from .._db.engines.base import Engine
from .._db.errors import DatabaseError
from .._db.keyset import Column, Sql
from .._db.ledger import Ledger
from .._errors import EverupError
from . import pace
from .backfill_store import INCOMPLETE, BackfillRow, BackfillStore
from .backfills import Backfill, starts_over
from .batch_sql import BatchSql
from .locks import BlockerWatch, take_session_lock, with_lock_budget
from .plan import option_text
from .runner import Limits
from .throttle import number, reason_to_wait

_BUSY_LOOK_SECONDS = 0.25


def key_columns(db: Engine, backfill: Backfill) -> list[Column]:
    """Return the key's columns from the catalog.

    Raises:
        EverupError: the table, a column or an index for the key is missing, or a key column may be NULL.
    """
    definition = backfill.definition
    known = {column.name: column for column in db.columns(definition.table)}
    where = f"{backfill.source}: table {definition.table}"
    if not known:
        raise EverupError(f"{where} does not exist, or this user may not see it (names are as the catalog has them).")
    missing = [name for name in (*definition.key, *definition.assignments) if name not in known]
    if missing:
        raise EverupError(f"{where} has no column {', '.join(missing)}; it has {', '.join(known)}.")
    nullable = [name for name in definition.key if known[name].nullable]
    if nullable:
        raise EverupError(f"{where}: the key column {nullable[0]} may be NULL, and such rows would never be reached.")
    if not db.has_index(definition.table, list(definition.key)):
        raise EverupError(
            f"{where} has no index that begins with {', '.join(definition.key)} in this order: every batch would read the whole "
            "table. Take the columns of its primary key, or create an index first."
        )
    return [known[name] for name in definition.key]


def batch_sql(db: Engine, definition, columns: list[Column]) -> BatchSql:
    """Return the statements of a definition on an engine."""
    return BatchSql(definition, db.keyset, db.lexis, db.quote, db.table_of_user(definition.table), columns)


@dataclass
class Slice:
    """What one call did: rows looked at, the seconds it took, and why it waited at its end, if it did."""

    batches: int = 0
    rows: int = 0
    seen: int = 0
    seconds: float = 0.0
    tries: int = 1
    waiting: str = ""


@dataclass
class Filler:
    """Works at one backfill on one connection.

    Attributes:
        db: the engine.
        ledger: the collection's own tables.
        backfill: what to do.
        limits: time bounds.
        release_version: recorded with it.
        fence: called inside every transaction; raises when this run may not act any longer.
        jitter: returns a factor in [0, 1) for the pauses between tries.
    """

    db: Engine
    ledger: Ledger
    backfill: Backfill
    limits: Limits
    release_version: str | None = None
    fence: Callable[[], None] | None = None
    jitter: Callable[[], float] = field(default=random.random)

    def __post_init__(self) -> None:
        self._store = BackfillStore(self.ledger)
        self._watch = BlockerWatch(self.db)
        self._definition = self.backfill.definition.filled()
        self._done = Slice()
        self._looked = self._asked = 0.0
        self._busy: int | None = None
        self._automatic = self._definition.pause is None and self._definition.pause_share is None

    def run(self, seconds: float, repair: str | None = None) -> Slice:
        """Fill for some seconds, to the end of the batch at hand.

        Parameters:
            seconds: how long; at least one batch is done unless a throttle says no.
            repair: ``retry`` begins an edited or incomplete backfill at its first key.

        Raises:
            LockTimeout: another run works at it, or a batch did not get its locks within the budget.
            DatabaseError: the database refused a statement.
            LeaseLost: another run has taken over; the batch at hand is rolled back.
        """
        lock = f"everup backfill {self.ledger.names.steps} {self.backfill.version}"
        took = f"is working at {self.backfill.source}"
        take_session_lock(self.db, lock, self.limits.session_wait, took, "this run has filled nothing")
        started = time.monotonic()
        try:
            columns = key_columns(self.db, self.backfill)
            self._sql = batch_sql(self.db, self._definition, columns)
            # Before the first key is read: how a value is written may depend on the session.
            self.db.begin_backfill()
            row = self._begin(columns, repair)
            self.db.set_lock_timeout(self.limits.lock_timeout)
            self._fill(row, started + seconds)
        finally:
            self._done.seconds = time.monotonic() - started
            self._watch.close()
            self._leave(lock)
        return self._done

    def _leave(self, lock: str) -> None:
        """Give back what the session has; one that is gone has nothing, and its error is not the one to see."""
        try:
            self.db.reset_session()
            self.db.release_session_lock(lock)
        except DatabaseError:
            return

    def _fence(self) -> None:
        if self.fence is not None:
            self.fence()

    def _begin(self, columns: list[Column], repair: str | None) -> BackfillRow:
        """Return the backfill's row, a new one where it begins at the first key."""
        row = self._store.row(self.backfill.version)
        if not starts_over(self.backfill, row, repair):
            return row
        end = self._key(self._sql.highest(), {})
        cap = self.db.keyset.largest_batch
        size = min(self._definition.batch, cap) if cap else self._definition.batch
        estimate = self.db.row_estimate(self._definition.table)
        with self.db.transaction():
            self._store.start(self.backfill, end, estimate, size, self.release_version)
            self.ledger.event("backfill_started", subject=self.backfill.source, release=self.release_version)
            self._fence()
        return self._store.row(self.backfill.version)

    def _key(self, statement: Sql, sides: dict) -> list | None:
        """Return the key that a statement selects, None when there is none."""
        rows = self.db.query(statement.sql, statement.values(sides))
        return [rows[0][f"k{number}"] for number in range(len(rows[0]))] if rows else None

    def _fill(self, row: BackfillRow, deadline: float) -> None:
        """Do batch after batch until the end or the deadline."""
        try:
            while True:
                if row.state == INCOMPLETE:
                    return self._end(row)
                if not self._clear(deadline):
                    return None
                began = time.monotonic()
                after = self._batch(row)
                if after is None:
                    return self._end(row)
                row = after
                if time.monotonic() >= deadline:
                    return None
                self._pause(time.monotonic() - began, deadline)
        except DatabaseError as error:
            masked = self.backfill.masked(error)
            self._record_failure(row, str(masked))
            # The error it came from holds the values of placeholders: no traceback may lead there.
            raise masked from None

    def _batch(self, row: BackfillRow) -> BackfillRow | None:
        """Do the next batch with its watermark in one transaction; return the row as it is then, None at the end."""
        found: list = []
        self._patiently(lambda: found.append(self._next(row)))
        sweep, end, first = found[0]
        if first is None:
            return None
        definition, cap = self._definition, self.db.keyset.largest_batch
        most = pace.largest_batch(definition.most, definition.batch, row.row_estimate, cap)
        size = min(row.batch_size, most)
        moved: list[BackfillRow] = []

        tries = 0

        def attempt() -> None:
            # A batch that met a lock is halved: it then meets fewer, and holds its own for less long.
            nonlocal size, tries
            size = max(1, size // 2) if tries else size
            tries += 1
            began = time.monotonic()
            last = self._key(self._sql.last_of(size), {"first": first, "end": end})
            sides = {"first": first, "last": end if last is None else last}
            full = last is not None
            # Counted before, so that the transaction holds its locks no longer than it must.
            seen = size if full else self.db.query(self._sql.count().sql, self._sql.count().values(sides))[0]["n"]
            with self.db.transaction():
                changed = max(0, self.db.execute(self._sql.change.sql, self._sql.change.values(sides)))
                took = time.monotonic() - began
                target = pace.target_now(definition.target, self._busy) if self._automatic else definition.target
                following = pace.next_size(size, took, target, most)
                following = following if full else size
                self._store.advance(row, sides["last"], end, sweep, changed, seen, following)
                self._fence()
            moved.append(
                replace(
                    row,
                    watermark=sides["last"],
                    end_key=end,
                    sweep=sweep,
                    rows_changed=row.rows_changed + changed,
                    rows_seen=row.rows_seen + seen,
                    batch_size=following,
                    batches=row.batches + 1,
                )
            )
            self._done.batches += 1
            self._done.rows += changed
            self._done.seen += seen

        self._patiently(attempt)
        self._done.tries = max(self._done.tries, tries)
        return moved[0]

    def _patiently(self, attempt: Callable[[], None]) -> None:
        """Run attempt within the lock budget."""
        limits, otherwise = self.limits, "The batch was rolled back, the ones before it stay and are not done again"
        with_lock_budget(self._watch, attempt, limits.lock_budget, limits.lock_timeout, self.jitter, otherwise)

    def _next(self, row: BackfillRow) -> tuple[int, list | None, list | None]:
        """Return the sweep, its last key and the first key of the next batch, which is None at the end."""
        first = self._first(row, row.end_key)
        if first is not None or row.sweep > 1:
            return row.sweep, row.end_key, first
        # The table has grown behind the largest key of the start: one more sweep, and no third.
        end = self._key(self._sql.highest(), {})
        return 2, end, self._first(row, end)

    def _first(self, row: BackfillRow, end: list | None) -> list | None:
        """Return the first key of the next batch."""
        if end is None:
            return None
        if row.watermark is None:
            return self._key(self._sql.lowest(), {})
        return self._key(self._sql.next_first(), {"after": row.watermark, "end": end})

    def _end(self, row: BackfillRow) -> None:
        """Ask how many rows are left, and finish when there is none.

        Raises:
            EverupError: rows are left.
        """
        left = number(self.db.query(self._sql.verify), f"{self.backfill.source}: verify")
        self.db.reset_session()
        with self.db.transaction():
            self._store.end(row, int(left))
            self.ledger.event("backfill_ended", subject=self.backfill.source, release=self.release_version, rows_left=int(left))
            self._fence()
        if left:
            raise EverupError(
                f"{self.backfill.source}: {left:g} rows are left by its verify query, though every key up to the last one was "
                "done: something still writes rows without the new value, or 'where' and 'verify' do not mean the same rows. See "
                "which rows they are; then run this again, which counts again, or with "
                f"{option_text('expand', 'repair', 'retry')} to begin at the first key.",
                rows_left=left,
            )

    def _pause(self, took: float, deadline: float) -> None:
        definition = self._definition
        if self._automatic and time.monotonic() - self._asked >= _BUSY_LOOK_SECONDS:
            self._busy, self._asked = self.db.recent_sessions(), time.monotonic()
        seconds = pace.pause_after(took, self._busy, definition.pause, definition.pause_share)
        time.sleep(max(0.0, min(seconds, deadline - time.monotonic())))

    def _clear(self, deadline: float) -> bool:
        """Wait until no throttle says no; return whether that came true before the deadline."""
        throttle = self._definition.throttle
        if self._looked and time.monotonic() - self._looked < throttle.every:
            return True
        while True:
            self._done.waiting = reason_to_wait(self.db, throttle, self.backfill.source)
            self._looked = time.monotonic()
            if not self._done.waiting:
                return True
            if self._looked >= deadline:
                return False
            # Nothing else renews the lease while no batch runs.
            with self.db.transaction():
                self._fence()
            time.sleep(min(throttle.every, deadline - self._looked))

    def _record_failure(self, row: BackfillRow, message: str) -> None:
        """Write down why it stopped; the failure itself is what the caller must see, so a second one is dropped."""
        try:
            with self.db.transaction():
                self._fence()
                self._store.fail(row, message)
                self.ledger.event("backfill_failed", subject=self.backfill.source, error=message)
        except EverupError:
            return
