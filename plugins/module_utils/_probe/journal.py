# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a probe's journal, of a run that goes on, has ended or was killed, and reports on it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Optional

from .._moments import iso, unix
from .figures import (
    Answer,
    Interval,
    bucket_seconds,
    buckets,
    down,
    failed_at,
    fewest,
    hull,
    length,
    longest_gap,
    phases,
    reasons,
)


@dataclass
class Journal:
    """What a journal says.

    Attributes:
        run: its name.
        started: Unix time.
        at: how far it has come, in seconds from the start.
        end: why it ended, empty while it goes on or where it was killed.
        settings: targets (as anybody may see them), writes (how many of the last of them are), rate, write_rate.
        timeout, status: see the module.
        answers: one for each request.
        missed: requests that the prober itself slept through.
    """

    run: str
    started: float
    timeout: float
    status: list
    settings: dict
    at: float = 0.0
    end: str = ""
    missed: int = 0
    answers: list[Answer] = field(default_factory=list)


def read(lines: Iterable[str]) -> Optional[Journal]:
    """Return what the lines of a journal say, None when not even its first line is whole.

    A line that is cut off, as by a kill or a full disk, is left out.
    """
    journal = None
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if not isinstance(line, dict):
            continue
        if journal is None:
            if "started" not in line:
                return None
            journal = Journal(**{name: line[name] for name in ("run", "started", "timeout", "status", "settings")})
            continue
        journal.at = max(journal.at, line["at"]) if "end" not in line else line["at"]
        journal.end = line.get("end", "")
        journal.missed += line.get("missed", 0)
        journal.answers += [Answer(*asked) for asked in line.get("asked", [])]
    return journal


def definition(journal: Journal) -> str:
    """Return in a sentence each what failed, down and a gap mean in a report on a journal."""
    good = f"in {', '.join(map(str, journal.status))}" if journal.status else "from 200 to 399"
    return (
        "Each URL is asked at fixed times, whatever became of the requests before; latencies count from then. A request fails "
        f"when its whole answer has not come within {journal.timeout:g} s, the connection fails, or the status is not {good}. "
        "A URL is down from when a request that failed was due until the next one that succeeded was due, or the probe's end; "
        "downtime is the time in which any URL was down. The longest gap is the longest time in which one URL that is read "
        "completed no good answer."
    )


def report(journal: Journal, is_running: bool, windows: Iterable[tuple[str, Optional[str]]], detailed: bool = True) -> dict:
    """Return the figures of a journal.

    Parameters:
        journal: as read() gives it.
        is_running: whether its prober is alive.
        windows: beginning and end (None for open) of what ``during`` means, in ISO 8601.
        detailed: with buckets, intervals and latencies.
    """
    answers, ended = journal.answers, journal.at
    targets = journal.settings["targets"]
    reads = range(len(targets) - journal.settings["writes"]) or range(len(targets))
    intervals = down(answers, ended)
    result = {
        "run": journal.run,
        "targets": targets,
        "rate": journal.settings["rate"],
        "started_at": iso(journal.started),
        "ended_at": iso(journal.started + ended),
        "end": "running" if is_running else journal.end or "died",
        "requests": len(answers),
        "failed": sum(answer.ms is None for answer in answers),
        "missed": journal.missed,
        "downtime_ms": round(length(intervals) * 1000),
        "longest_gap_ms": round(longest_gap(answers, ended, reads) * 1000),
        "reasons": reasons(answers),
        "failed_at": failed_at(answers, targets),
    }
    return {**result, **_details(journal, intervals, windows)} if detailed else result


def _details(journal: Journal, intervals: list[Interval], windows: Iterable[tuple[str, Optional[str]]]) -> dict:
    started, ended = journal.started, journal.at
    cut = hull([(unix(start), unix(end) if end else None) for start, end in windows], started, started + ended)
    seconds = bucket_seconds(ended)
    shown = fewest(intervals)
    return {
        "definition": definition(journal),
        "write_rate": journal.settings["write_rate"],
        "bucket_s": seconds,
        "buckets": buckets(journal.answers, seconds),
        "down": [[round(start, 3), round(end, 3)] for start, end in shown],
        "down_is_joined": len(shown) < len(intervals),
        "latency": phases(journal.answers, cut and (cut[0] - started, cut[1] - started)),
    }
