# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moments as the ledger writes them, the time between them, and how people say it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Iterable, Optional, TypeVar

_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"
_UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
Moment = TypeVar("Moment", float, datetime)


def parse_time(text: str) -> datetime:
    """Return the time of an ISO 8601 UTC text as the engines give it, without a zone.

    Raises:
        ValueError: it is none.
    """
    return datetime.strptime(text, _FORM)


def unix(text: str) -> float:
    """Return the Unix time, in seconds, of an ISO 8601 UTC text.

    Raises:
        ValueError: it is none.
    """
    return parse_time(text).replace(tzinfo=timezone.utc).timestamp()


def iso(moment: float) -> str:
    """Return a Unix time in seconds as the ledger writes it: ISO 8601, UTC, with milliseconds."""
    return f"{datetime.fromtimestamp(moment, timezone.utc).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def seconds_between(start: str, end: str) -> float:
    """Return the seconds from one ISO 8601 UTC text to another, to the millisecond."""
    return round((parse_time(end) - parse_time(start)).total_seconds(), 3)


def union(intervals: Iterable[tuple[Moment, Moment]]) -> list[tuple[Moment, Moment]]:
    """Return the time that is covered by any of the intervals, as intervals in order that do not touch."""
    merged: list[tuple[Moment, Moment]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif end > start:
            merged.append((start, end))
    return merged


def in_words(seconds: Optional[float]) -> str:
    """Return a duration as people say it: ``120 ms``, ``3.4 s``, ``2 min 5 s``, ``25 min``, ``1 d 2 h``."""
    if seconds is None:
        return "not known"
    if seconds < 0:
        return f"-{in_words(-seconds)}"
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    size, name, part, small = next(unit for unit in _UNITS if whole >= unit[0])
    rest = whole % size // part
    return f"{whole // size} {name}" + (f" {rest} {small}" if rest else "")
