# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets one process at a time act on a folder of a host."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._errors import EverupError

_PAUSE = 0.05  # seconds


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[None]:
    """Hold an exclusive flock(2) on a file, which the kernel releases when the process dies.

    Parameters:
        path: the file; it is made, and it stays.
        timeout: how long to wait for another process, in seconds.

    Raises:
        EverupError: another process held it all the time.
    """
    deadline = time.monotonic() + timeout
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(handle, 64, 0).decode("ascii", "replace").strip() or "unknown"
                    raise EverupError(
                        f"Waited {timeout} s for the lock {path}; process {holder} of this host still holds it. "
                        "Let it finish, or look what it hangs on."
                    ) from None
                time.sleep(_PAUSE)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(handle)
