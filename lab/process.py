# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Child processes of the lab: started in a group of their own, ended by id, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL_S = 0.02


class LabError(RuntimeError):
    """Something of the lab did not start or stop; the message says what, and what its log says."""


class Child:
    """A running child process in its own process group, writing to a log file.

    Parameters:
        name: what messages call it.
        command: program and arguments.
        log: file that its output is appended to.
        env, cwd: as in subprocess; default: those of this process.
        user: name of the user it runs as, when this process may change that.
        dies_with_parent: have the kernel send `stop_signal` to it when this process ends, even by kill -9.
            It is tied to the thread that started it: start long-lived children from the main thread.
        stop_signal: what asks it to end.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        dies_with_parent: bool = True,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = Path(log)
        self.stop_signal = stop_signal
        # setpriv ends as the command itself, with the same process id, with the user and signal set.
        options = ["--pdeathsig", stop_signal.name.removeprefix("SIG")] if dies_with_parent else []
        if user:
            options += ["--reuid", user, "--regid", user, "--init-groups"]
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*(["setpriv", *options, "--"] if options else []), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._popen.poll()

    def wait_until(self, ready: Callable[[], bool], timeout: float = 20.0) -> None:
        """Wait until `ready()` is true. Raises LabError when the child ends first or the time is over."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.returncode is not None:
                raise LabError(f"{self.name} ended with {self.returncode} while starting; {self.log_tail()}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} was not ready within {timeout:g} s; {self.log_tail()}")
            time.sleep(POLL_S)

    def wait(self, timeout: float) -> int:
        """Wait until it has ended by itself; returns the exit code, raises LabError when the time is over."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} had not ended after {timeout:g} s; {self.log_tail()}") from None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the child itself; nothing happens when it has ended."""
        self._popen.send_signal(number)

    def stop(self, timeout: float = 10.0) -> int:
        """Ask it to end; kill its whole group when the time is over. Returns the exit code."""
        if self._popen.poll() is None:
            self.send(self.stop_signal)
            try:
                self._popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._popen.returncode

    def kill(self) -> None:
        """Kill its whole group at once, as a crash would."""
        if self._popen.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait(10)

    def log_tail(self, lines: int = 12) -> str:
        """The end of its log, for messages."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return f"the end of {self.log}:\n" + "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_exception) -> None:
        self.stop()
