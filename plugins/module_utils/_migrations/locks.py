# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits for locks so that the application does not: tries, pauses in between, and sees who was in the way."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import Callable, Iterator

from .._db.engines.base import Blocker, Engine
from .._db.errors import DatabaseError, LockTimeout

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 10.0
_SESSION_LOCK_LOOK_SECONDS = 0.25
_LONGEST_LOOK_SECONDS = 5.0


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
    watch: BlockerWatch,
    attempt: Callable[[], None],
    budget: float,
    lock_timeout: float,
    jitter: Callable[[], float],
    otherwise: str,
) -> int:
    """Run attempt until it gets its locks or the budget is used up; return how many tries it took.

    Between tries the application goes on: the pauses double up to ten seconds, each shortened at random so that
    two runs do not meet again.

    Parameters:
        watch: looks who blocks the session.
        attempt: raises LockTimeout when it has not got its locks, and has then left nothing behind; one that may have left
            something is in doubt, and not tried again.
        budget: seconds over all tries.
        lock_timeout: seconds that the session waits at most for one lock, which decides when to look who blocks.
        jitter: returns a factor in [0, 1).
        otherwise: what has not happened when the budget is used up, for the error: ``The script was not applied``.

    Raises:
        LockTimeout: the budget is used up; names the blocking sessions.
    """
    deadline = time.monotonic() + budget
    pause = _FIRST_PAUSE_SECONDS
    tries = 0
    seen: list[Blocker] = []
    while True:
        tries += 1
        try:
            with watch.over(lock_timeout):
                attempt()
            return tries
        except LockTimeout as error:
            seen = watch.seen or seen
            left = deadline - time.monotonic()
            if left <= 0 or error.in_doubt:
                raise _spent(error, tries, seen, budget, lock_timeout, otherwise) from None
            time.sleep(min(pause * (0.5 + jitter() / 2), left))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _spent(
    error: LockTimeout, tries: int, seen: list[Blocker], budget: float, lock_timeout: float, otherwise: str
) -> LockTimeout:
    """Return the error of a budget that is used up, or of an attempt that is in doubt."""
    named = "; ".join(str(blocker) for blocker in seen) or "not visible to this user"
    message = (
        f"{error}. Blocked by: {named}. {error.in_doubt}"
        if error.in_doubt
        else f"{error}. No lock within {budget:.0f} s ({tries} tries of at most {lock_timeout:g} s). Blocked by: {named}. "
        f"{otherwise}: end that session or wait for it, then run this again."
    )
    spent = LockTimeout(message, blockers=[blocker.as_dict() for blocker in seen], tries=tries)
    spent.in_doubt = error.in_doubt
    return spent


class BlockerWatch:
    """Looks who blocks a session while it waits, since afterwards nobody can tell.

    One thread looks for all the tries of a run, up to :meth:`close`: a script that waits for nothing pays nothing. The first look
    at a try comes once a quarter of its lock time-out has gone.

    Attributes:
        seen: who was in the way of the last try, as far as anybody could tell.

    Parameters:
        db: the engine whose session may be waiting.
    """

    def __init__(self, db: Engine) -> None:
        self._db = db
        self._pause = 0.0
        self._since: float | None = None
        self._hurry = threading.Event()
        self._looking = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.seen: list[Blocker] = []

    @contextmanager
    def over(self, lock_timeout: float) -> Iterator[None]:
        """Watch over one try, in which the session waits at most lock_timeout seconds for a lock; ``seen`` begins empty."""
        self.seen = []
        pause = lock_timeout / 4
        if pause != self._pause:
            self._pause = pause
            self._hurry.set()
        if self._thread is None:
            self._closed = False
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None
            # What a look at this try finds must not be told of the next one.
            if self._looking.locked():
                self._hurry.set()
                if self._looking.acquire(timeout=_LONGEST_LOOK_SECONDS):
                    self._looking.release()

    def close(self) -> None:
        """End the thread; another try begins a new one."""
        if self._thread is not None:
            self._closed = True
            self._hurry.set()
            self._thread.join(timeout=_LONGEST_LOOK_SECONDS)
            self._thread = None

    def _watch(self) -> None:
        while not self._closed:
            self._hurry.wait(self._pause / 2)
            self._hurry.clear()
            since = self._since
            if since is not None and time.monotonic() - since >= self._pause:
                with self._looking, suppress(DatabaseError):  # who blocks is a help, not a condition
                    self._look(since)

    def _look(self, since: float) -> None:
        """Look again and again, on one connection, until the try that began then is over."""
        with self._db.watch() as look:
            while self._since == since:
                self.seen = look() or self.seen
                self._hurry.wait(self._pause)
