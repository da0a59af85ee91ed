# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A playbook that runs: follow it from task to task, kill it, and read how it ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.process import LabError


@dataclass(frozen=True)
class Run:
    """How a playbook ended: its exit code, and what it printed on both streams."""

    code: int
    output: str

    @property
    def flat(self) -> str:
        """The output with every run of blanks and line ends as one blank: Ansible breaks long messages."""
        return re.sub(r"\s+", " ", self.output)

    @property
    def changed(self) -> dict[str, int]:
        """The recap's count of changed tasks by host."""
        return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=.* changed=(\d+)", self.output, flags=re.M)}


class Playbook:
    """A running ``ansible-playbook``, in a process group of its own.

    Parameters:
        command: program and arguments.
        env, cwd: as in subprocess.
        limit: seconds until it is killed, whatever it does; `finish` raises LabError then.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path, limit: float = 600.0) -> None:
        self._lines: list[str] = []
        self._limit, self._is_late = limit, False
        self._process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._watchdog = threading.Timer(limit, self._end_late)
        self._watchdog.daemon = True
        self._watchdog.start()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return "".join(self._lines)

    def until(self, is_reached: Callable[[str], object]) -> str | None:
        """Read on to the line of the first task or play that `is_reached` says yes to; None when it ends before."""
        for line in self._process.stdout:
            self._lines.append(line)
            if line.startswith(("TASK [", "PLAY [")) and is_reached(line):
                return line
        return None

    def until_task(self, pattern: str) -> None:
        """Read on to the first task whose name matches. Raises LabError when the playbook ends before."""
        if self.until(lambda line: re.search(pattern, line)) is None:
            raise LabError(f"the playbook ended before '{pattern}' was reached:\n{self.output[-4000:]}")

    def finish(self) -> Run:
        """Wait for its end. Raises LabError when that took too long."""
        self._lines += self._process.stdout.readlines()
        code = self._process.wait(timeout=30)
        self._watchdog.cancel()
        if self._is_late:
            raise LabError(f"the playbook had not ended after {self._limit:g} s:\n{self.output[-4000:]}")
        return Run(code, self.output)

    def is_over_after(self, seconds: float) -> bool:
        """Let it run on, unread, for at most that long; returns whether it has ended."""
        reader = threading.Thread(target=lambda: self._lines.extend(self._process.stdout), daemon=True)
        reader.start()
        reader.join(seconds)
        return not reader.is_alive()

    def kill(self, whole_group: bool = True) -> None:
        """SIGKILL it: with everything that it started, or alone, so that its workers outlive it for a while."""
        self._watchdog.cancel()
        if whole_group:
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=10)

    def close(self) -> None:
        """End whatever is left of it."""
        if self._process.poll() is None:
            self.kill()

    def _end_late(self) -> None:
        self._is_late = True
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def kill_at(playbook: Playbook, is_reached: Callable[[str], object], delay: float = 0.0, whole_group: bool = True) -> Run | None:
    """Kill a playbook ``delay`` seconds after the first task that `is_reached` says yes to begins.

    Returns:
        None once it is killed, or how it ended when it came to its end before.
    """
    if playbook.until(is_reached) is None:
        return playbook.finish()
    time.sleep(delay)
    playbook.kill(whole_group)
    return None
