# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The load as a process of its own: `with LoadProcess(url, directory) as load: ... load.finish()`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.process import Child, LabError

ROOT = Path(__file__).resolve().parent.parent


class LoadProcess:
    """A running `python -m lab.load`; construction returns when its first answers have come.

    Parameters:
        url: base URL of the shop.
        directory: where result, progress and log go.
        rate: requests per second.
        name: how those files are called.
        through: words before its command, such as those that run it on another host.
    """

    module = "lab.load"

    def __init__(self, url: str, directory: Path, rate: float = 200.0, name: str = "load", through: Sequence[str] = ()) -> None:
        self._start(url, directory, name, through, ["--rate", str(rate)])

    def _start(self, url: str, directory: Path, name: str, through: Sequence[str], options: Sequence[str]) -> None:
        self.out = Path(directory) / f"{name}.json"
        self.progress = Path(directory) / f"{name}.progress"
        for old in (self.out, self.progress):
            old.unlink(missing_ok=True)
        files = ["--out", str(self.out), "--progress", str(self.progress)]
        self._child = Child(
            "the load",
            [*through, sys.executable, "-m", self.module, "--url", url, *files, *options],
            Path(directory) / f"{name}.log",
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        try:
            self._child.wait_until(self.progress.exists)
        except LabError:
            self._child.stop()
            raise

    def latest(self) -> dict:
        """The newest snapshot: requests, failed, wrong, p50_ms, p99_ms, versions, ..."""
        return json.loads(self.progress.read_text(encoding="utf-8").splitlines()[-1])

    def finish(self, timeout: float = 180.0) -> dict:
        """End the load gracefully and return its result, for `lab.load_report.summarise`. Raises LabError."""
        self._child.send(signal.SIGTERM)
        if code := self._child.wait(timeout):
            raise LabError(f"the load ended with {code}; {self._child.log_tail()}")
        return json.loads(self.out.read_text(encoding="utf-8"))

    def __enter__(self) -> LoadProcess:
        return self

    def __exit__(self, *_exception) -> None:
        self._child.stop()


class StreamsProcess(LoadProcess):
    """A running `python -m lab.streams`; see there for ``seconds`` and ``endless``."""

    module = "lab.streams"

    def __init__(
        self, url: str, directory: Path, seconds: float, endless: str, name: str = "streams", through: Sequence[str] = ()
    ) -> None:
        self._start(url, directory, name, through, ["--seconds", str(seconds), "--endless", endless])
