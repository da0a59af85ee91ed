# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Takes a lock of the kernel's, which is gone with the process that holds it."""

from __future__ import annotations

import fcntl
import time

_PAUSE_SECONDS = 0.02


def take_flock(handle: int, timeout: float) -> bool:
    """Take an exclusive flock(2) on an open file or folder; it is held until the handle is closed.

    Parameters:
        handle: its descriptor.
        timeout: how long to wait for another process, in seconds.

    Returns:
        Whether it was taken; another process held it all the time otherwise.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE_SECONDS)
