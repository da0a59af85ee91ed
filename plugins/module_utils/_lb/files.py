# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replaces a balancer's configuration file as a whole, and keeps two runs from losing each other's edit."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from .._errors import EverupError
from .._flock import take_flock


def read_text(path: Path) -> str:
    """Return a file's text, with bytes that are no UTF-8 and line ends as they are."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def replace_text(path: Path, text: str) -> None:
    """Replace a file as a whole by a rename in its folder; it keeps its owner, mode and labels."""
    beside = path.with_name(f".{path.name}.everup")  # no include of *.conf finds it
    beside.unlink(missing_ok=True)  # left by a run that was killed, perhaps with another mode
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # its mode follows below
    with open(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    shutil.copystat(path, beside)
    if os.geteuid() == 0:
        status = path.stat()
        os.chown(beside, status.st_uid, status.st_gid)
    os.utime(beside)
    beside.replace(path)


def check_replaceable(address: str, path: Path) -> None:
    """Raise EverupError, naming the balancer, when this user may not replace the file, or it is write-protected."""
    for what in (path, path.parent):
        if not os.access(what, os.W_OK) or not what.stat().st_mode & 0o222:
            raise EverupError(
                f"Balancer {address} would answer 'Permission denied': {what} cannot be written by this user, or is "
                "write-protected."
            )


@contextmanager
def locked(address: str, folder: Path, timeout: float) -> Iterator[None]:
    """Hold off other processes of ours that change a file of the folder.

    Raises:
        EverupError: they did so for timeout seconds.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not take_flock(handle, timeout):
            raise EverupError(f"Balancer {address}: another run is changing {folder} all the time.")
        yield
    finally:
        os.close(handle)
