# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts, finds and ends the process of a probe, which belongs to its private folder and to no session or controller."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Optional

from .._errors import EverupError
from .._flock import take_flock
from .._release.process import identity
from . import prober
from .journal import Journal, read

_PROGRAM, _LOG, _LOCK = "prober.py", "prober.log", "lock"
_START_SECONDS = 20.0
_LOCK_SECONDS = 30.0
_END_SECONDS = 5.0
_PAUSE_SECONDS = 0.02
_LAST_WORDS = 500


def running(folder: Path) -> Optional[dict]:
    """Return run, process, settings and clock of the prober that runs in a folder, None where none does.

    The clock is the machine's, in seconds, when the run began: time.monotonic() is the same for every process of it.

    The file alone proves nothing: its process must be the one that was started then, on this machine since it came up.
    """
    try:
        told = json.loads((folder / prober.PID_FILE).read_text(encoding="utf-8"))
        process = told["process"]
        os.kill(process["pid"], 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told if identity(process["pid"]) == process else None


def journal(folder: Path) -> Optional[Journal]:
    """Return what the journal in a folder says, None where there is none."""
    try:
        with (folder / prober.JOURNAL).open(encoding="utf-8", errors="replace") as lines:
            return read(lines)
    except FileNotFoundError:
        return None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Create a private folder where it is missing, and keep others from starting or ending its prober meanwhile.

    Raises:
        EverupError: others may write into it, or somebody else has been at it for too long.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise EverupError(
            f"The folder {folder} is not private: it must belong to the user with the id {os.geteuid()} and be open to nobody "
            "else (chmod 700). Nothing was started."
        )
    with (folder / _LOCK).open("w") as lock:
        if not take_flock(lock.fileno(), _LOCK_SECONDS):
            raise EverupError(
                f"Somebody else has been starting or ending the probe in {folder} for {_LOCK_SECONDS:g} s. Try again."
            )
        yield


def start_prober(folder: Path, settings: dict) -> str:
    """Start a prober; returns the name of its run once it asks. What an earlier one has left in the folder is gone then.

    Parameters:
        settings: see prober.Prober; run and process are filled in here.

    Raises:
        EverupError: it has ended at once, or has not begun in time.
    """
    program = folder / _PROGRAM
    program.write_text(prober.__spec__.loader.get_source(prober.__name__), encoding="utf-8")
    for name in (prober.PID_FILE, prober.JOURNAL):
        (folder / name).unlink(missing_ok=True)
    run = uuid.uuid4().hex
    with (folder / _LOG).open("wb") as log:
        started = subprocess.Popen(
            [sys.executable, "-I", str(program), str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
        )
    with suppress(BrokenPipeError), started.stdin as stdin:
        stdin.write(json.dumps({**settings, "run": run, "process": identity(started.pid)}).encode())
    deadline = time.monotonic() + _START_SECONDS
    while not (folder / prober.PID_FILE).exists():
        has_ended = started.poll() is not None
        if has_ended or time.monotonic() > deadline:
            started.kill()
            said = (folder / _LOG).read_text(encoding="utf-8", errors="replace").strip()[-_LAST_WORDS:]
            how = "has ended at once" if has_ended else f"has not begun within {_START_SECONDS:g} s"
            raise EverupError(f"The probe, started with {sys.executable} in {folder}, {how}: {said or 'it has said nothing'}")
        time.sleep(_PAUSE_SECONDS)
    return run


def stop_prober(folder: Path, timeout: float) -> bool:
    """End the prober of a folder; returns whether there was one.

    Parameters:
        timeout: seconds that a request of its may take; one that has not ended some seconds after that is killed.
    """
    found = running(folder)
    if found is None:
        return False
    pid = found["process"]["pid"]
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout + _END_SECONDS
    while running(folder):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            break
        time.sleep(_PAUSE_SECONDS)
    return True
