# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits for locks so that the application does not: tries, pauses in between, and sees who was in the way."""

from __future__ import annotations

import threading
import time
from typing import Callable

from .._db.engines.base import Blocker, Engine
from .._db.errors import DatabaseError, LockTimeout

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 10.0
_SESSION_LOCK_LOOK_SECONDS = 0.25


def take_session_lock(db: Engine, name: str, seconds: float, doing: str, untouched: str) -> None:
    """Wait for the engine's session lock, trying and sleeping.

    Parameters:
        db: the engine.
        name: the lock.
        seconds: how long to wait.
        doing: what the other run does, for the error: ``is migrating this database``.
        untouched: what has not happened, for the error: ``no script was run``.

    Raises:
        LockTimeout: somebody else holds it for longer; names the holder.
    """
    deadline = time.monotonic() + seconds
    while not db.try_session_lock(name):
        if time.monotonic() >= deadline:
            holder = db.session_lock_holder(name)
            raise LockTimeout(
                f"Another run {doing}: {holder or 'its session could not be seen'}. Waited "
                f"{seconds:.0f} s. Let it end, then run this again; {untouched}.",
                holder=holder.as_dict() if holder else None,
            )
        time.sleep(_SESSION_LOCK_LOOK_SECONDS)


def with_lock_budget(
    db: Engine,
    attempt: Callable[[], None],
    budget: float,
    lock_timeout: float,
    jitter: Callable[[], float],
    spent: Callable[[LockTimeout, int, list[Blocker]], Exception],
) -> int:
    """Run attempt until it gets its locks or the budget is used up; return how many tries it took.

    Between tries the application goes on: the pauses double up to ten seconds, each shortened at random so that
    two runs do not meet again.

    Parameters:
        db: the engine.
        attempt: raises LockTimeout when it has not got its locks, and has then left nothing behind; one that may have left
            something is in doubt, and not tried again.
        budget: seconds over all tries.
        lock_timeout: seconds that the session waits at most for one lock, which decides when to look who blocks.
        jitter: returns a factor in [0, 1).
        spent: makes the error of a budget that is used up from the last error, the number of tries and the blockers seen.
    """
    deadline = time.monotonic() + budget
    pause = _FIRST_PAUSE_SECONDS
    tries = 0
    seen: list[Blocker] = []
    while True:
        tries += 1
        watch = BlockerWatch(db, lock_timeout)
        try:
            with watch:
                attempt()
            return tries
        except LockTimeout as error:
            seen = watch.seen or seen
            left = deadline - time.monotonic()
            if left <= 0 or error.in_doubt:
                raise spent(error, tries, seen) from None
            time.sleep(min(pause * (0.5 + jitter() / 2), left))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


class BlockerWatch:
    """Looks who blocks a session while it waits, since afterwards nobody can tell.

    The look starts once a quarter of the lock time-out has gone, so that a script that waits for nothing pays nothing.

    Parameters:
        db: the engine whose session may be waiting.
        lock_timeout: seconds the session waits at most.
    """

    def __init__(self, db: Engine, lock_timeout: float) -> None:
        self._db = db
        self._pause = lock_timeout / 4
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.seen: list[Blocker] = []

    def __enter__(self) -> BlockerWatch:
        self._thread.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._over.set()
        self._thread.join(timeout=self._pause + 5)

    def _look(self) -> None:
        if self._over.wait(self._pause):
            return
        try:
            with self._db.watch() as look:
                while not self._over.is_set():
                    self.seen = look() or self.seen
                    self._over.wait(self._pause)
        except DatabaseError:
            return  # who blocks is a help, not a condition
