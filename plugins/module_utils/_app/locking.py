# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets one process at a time act on a folder of a host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._errors import EverupError
from .._flock import take_flock


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[None]:
    """Hold an exclusive flock(2) on a file, which the kernel releases when the process dies.

    Parameters:
        path: the file; it is made, and it stays.
        timeout: how long to wait for another process, in seconds.

    Raises:
        EverupError: another process held it all the time.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        if not take_flock(handle, timeout):
            holder = os.pread(handle, 64, 0).decode("ascii", "replace").strip() or "unknown"
            raise EverupError(
                f"Waited {timeout} s for the lock {path}; process {holder} of this host still holds it. "
                "Let it finish, or look what it hangs on."
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(handle)
