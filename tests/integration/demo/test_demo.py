# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The demo as its user meets it: Ctrl-C in the middle, a wrong word, and the file it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lab.site import ROOT


def demo(directory: Path, *arguments: str) -> subprocess.Popen:
    """Start the demo in a process group of its own, as a shell does it; one in the background would not hear of Ctrl-C."""
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "lab.demo", "--directory", str(directory), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def left_over(directory: Path) -> list[str]:
    """Return the command lines of processes that have a path below the folder in theirs."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line:
            lines.append(line)
    return lines


def test_ctrl_c_stops_all_that_was_started(tmp_path):
    process = demo(tmp_path, "--before", "1")
    for line in process.stdout:
        if "TASK [" in line:
            break
    assert left_over(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 130, rest[-2000:]
    assert "everything that the demo started is stopped" in rest
    deadline = time.monotonic() + 5
    while left_over(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_over(tmp_path) == []


def test_a_database_that_is_not_there_is_refused(tmp_path):
    process = demo(tmp_path, "--db", "oracle")
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 2
    assert "DB is 'oracle': it must be sqlite or postgresql" in output


def test_the_whole_demo_writes_its_figures(tmp_path):
    process = demo(tmp_path, "--before", "2", "--broken", "--least", "100")
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output[-4000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result) == [
        "requests",
        "failed",
        "wrong",
        "lost_writes",
        "longest_gap_ms",
        "p50_before_ms",
        "p99_before_ms",
        "p50_during_ms",
        "p99_during_ms",
        "phases",
        "probe",
    ]
    assert result["requests"] >= 100
    assert (result["failed"], result["wrong"], result["lost_writes"]) == (0, 0, 0)
    assert result["probe"]["requests"] > 0
    assert (result["probe"]["failed"], result["probe"]["downtime_ms"]) == (0, 0)
    assert "downtime measured by the probe: 0 ms; 0 of " in output
    assert list(result["phases"]) == ["expand", "rolling"]
    assert "Not one request failed, and no write was lost." in output
