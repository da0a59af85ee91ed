# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names a process so that another one on the same machine can tell whether it is still alive (Linux, proc(5))."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def identity(pid: int, proc: Path = Path("/proc")) -> dict:
    """Return host, boot, pid namespace, pid and start time (clock ticks since boot) of a process.

    On a machine without /proc only host and pid are known, and :func:`is_dead` cannot answer.
    """
    known = {"host": platform.node(), "pid": pid}
    try:
        return {
            **known,
            "boot": (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
            "namespace": str((proc / "self/ns/pid").readlink()),
            "start": _start(pid, proc),
        }
    except OSError:
        return known


def is_dead(process: dict, proc: Path = Path("/proc")) -> bool:
    """Return whether a process surely does not run any longer; False when it runs or when nobody here can tell.

    Another boot of a machine of the same name could be another machine, so only the same boot and namespace can tell.
    """
    pid, start = process.get("pid"), process.get("start")
    if not pid or start is None:
        return False
    here = identity(pid, proc)
    same_view = all(name in here and here[name] == process.get(name) for name in ("boot", "namespace"))
    if not same_view or here["start"] == start:
        return False
    # A /proc mounted with hidepid shows no process of another user: only a signal tells that there is one (kill(2)).
    return here["start"] is not None or (proc / str(pid)).exists() or not _exists(pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _start(pid: int, proc: Path) -> int | None:
    """Return field 22 of /proc/PID/stat, None for a process that is gone or a zombie; the name before may hold spaces."""
    try:
        fields = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])
