# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turns what a probe was answered into figures: downtime, longest gap, percentiles, buckets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

from .._moments import union

MOST_BUCKETS = 2000
MOST_INTERVALS = 2000
PHASES = ("before", "during", "after")
_BUCKETS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_MOST_REASONS = 10


class Answer(NamedTuple):
    """What came of one request: of which target, when it was due (seconds from the start), after how many ms it was answered
    well (None where it was not), and why not."""

    target: int
    due: float
    ms: Optional[float]
    why: str = ""


Interval = tuple[float, float]


def percentile(values: Sequence[float], percent: float) -> Optional[float]:
    """Return the nearest-rank percentile: the least value that so many percent do not exceed; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def length(intervals: Iterable[Interval]) -> float:
    """Return the seconds that intervals which do not overlap last together."""
    return sum(end - start for start, end in intervals)


def down(answers: Iterable[Answer], ended: float) -> list[Interval]:
    """Return when the targets were down.

    A target is down from when a request that failed was due until the next request that succeeded was due, or the end; several
    targets are down while any of them is.

    Parameters:
        answers: in any order.
        ended: when the probe ended, in seconds from its start.
    """
    intervals: list[Interval] = []
    since: dict[int, float] = {}
    for answer in sorted(answers, key=lambda one: one.due):
        if answer.ms is None:
            since.setdefault(answer.target, answer.due)
        elif answer.target in since:
            intervals.append((since.pop(answer.target), answer.due))
    return union([*intervals, *((start, ended) for start in since.values())])


def longest_gap(answers: Iterable[Answer], ended: float, targets: Iterable[int]) -> float:
    """Return the longest time in seconds in which one of some targets completed no answer well, from the start to the end."""
    last = dict.fromkeys(targets, 0.0)
    longest = 0.0
    for target, moment in sorted(((a.target, a.due + a.ms / 1000) for a in answers if a.ms is not None), key=lambda one: one[1]):
        if target in last:
            longest = max(longest, moment - last[target])
            last[target] = moment
    return max([longest, *(ended - moment for moment in last.values())])


def fewest(intervals: list[Interval], most: int = MOST_INTERVALS) -> list[Interval]:
    """Return at most so many intervals, those joined that are closest to each other."""
    if len(intervals) <= most:
        return intervals
    gaps = sorted((after[0] - before[1], number) for number, (before, after) in enumerate(zip(intervals, intervals[1:])))
    joined = {number for _gap, number in gaps[: len(intervals) - most]}
    result: list[Interval] = []
    for number, interval in enumerate(intervals):
        if number - 1 in joined:
            result[-1] = (result[-1][0], interval[1])
        else:
            result.append(interval)
    return result


def bucket_seconds(duration: float) -> int:
    """Return the length of a bucket: 1 s, or as much longer as keeps a long run at MOST_BUCKETS."""
    least = duration / MOST_BUCKETS
    return next((seconds for seconds in _BUCKETS if seconds >= least), math.ceil(least))


def _latency(values: Sequence[float]) -> dict:
    return {f"p{percent}_ms": percentile(values, percent) for percent in (50, 95, 99)} | {"max_ms": max(values, default=None)}


def buckets(answers: Iterable[Answer], seconds: int) -> list[list]:
    """Return offset, requests, failed, p50, p99 and the longest latency of each bucket in which a request was due."""
    found: dict[int, list] = {}
    for answer in answers:
        found.setdefault(int(answer.due // seconds) * seconds, []).append(answer.ms)
    rows = []
    for offset in sorted(found):
        well = [ms for ms in found[offset] if ms is not None]
        rows.append(
            [
                offset,
                len(found[offset]),
                len(found[offset]) - len(well),
                percentile(well, 50),
                percentile(well, 99),
                max(well, default=None),
            ]
        )
    return rows


def hull(windows: Iterable[tuple[Optional[float], Optional[float]]], started: float, ended: float) -> Optional[Interval]:
    """Return from the first to the last moment of all windows that overlap a run; None where none does.

    Parameters:
        windows: beginning and end of each; an end of None is open.
        started, ended: of the run, on the same clock.
    """
    inside = [
        (start, ended if end is None else end)
        for start, end in windows
        if start is not None and start <= ended and (end is None or end >= started)
    ]
    return (min(start for start, _end in inside), max(end for _start, end in inside)) if inside else None


def phases(answers: Iterable[Answer], during: Optional[Interval]) -> dict:
    """Return requests, failed and latencies before, during and after an interval; without one everything is before.

    A request belongs to the phase in which it was due. Latencies are those of requests that succeeded.
    """
    sorted_in: dict[str, list] = {name: [] for name in PHASES}
    for answer in answers:
        if during is None or answer.due < during[0]:
            sorted_in["before"].append(answer.ms)
        else:
            sorted_in["during" if answer.due <= during[1] else "after"].append(answer.ms)
    result = {}
    for name, values in sorted_in.items():
        well = [ms for ms in values if ms is not None]
        result[name] = {"requests": len(values), "failed": len(values) - len(well), **_latency(well)}
    return result


def failed_at(answers: Iterable[Answer], targets: Sequence[str]) -> dict[str, int]:
    """Return how often requests failed at each target where any did, the one with the most first."""
    return dict(Counter(targets[answer.target] for answer in answers if answer.ms is None).most_common())


def reasons(answers: Iterable[Answer]) -> dict[str, int]:
    """Return how often requests failed for each reason, the most frequent first."""
    return dict(Counter(answer.why for answer in answers if answer.ms is None).most_common(_MOST_REASONS))
