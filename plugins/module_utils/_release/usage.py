# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says from a series of counter readings whether an object was used, and for how long that was watched without a gap.

A counter grows until somebody resets it. Between two readings that count from the same moment every use is seen; across a reset
nothing is known of the time before it, so that watching begins anew.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

# Servers that tell for how many seconds they run give their start to about a second.
_SAME_START = timedelta(seconds=5)


@dataclass(frozen=True)
class Reading:
    """What one counter of the server said of one object at one time.

    Attributes:
        source: the view that counts.
        object: such as ``column orders.client_id``.
        uses: since ``counted_since``; None where nobody can tell.
        last_used_at: the last use, where the source tells; ISO 8601 UTC.
        counted_since: from when it counts, or what else changes when it begins anew.
        taken_at: by the database's clock.
        suffices: no use that this source counts means no use; other sources only speak against an object.
        why: why nobody can tell, and the way on.
    """

    source: str
    object: str
    uses: int | None
    last_used_at: str | None = None
    counted_since: str | None = None
    taken_at: str = ""
    suffices: bool = True
    why: str = ""

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Watch:
    """What a series of readings of one object by one source comes to.

    Attributes:
        used: a sentence on the use that was seen, empty where none was.
        seconds: for how long there was no gap; None where it is not watched now.
        gap: why watching began anew, empty where it did not.
    """

    used: str = ""
    seconds: float | None = None
    gap: str = ""


def watch(readings: list[Reading], since: str) -> Watch:
    """Return what readings in the order in which they were taken say of the time since a moment.

    Parameters:
        readings: of one source and object, the last of them from now.
        since: by the database's clock.
    """
    used, gap = "", ""
    begun: Reading | None = None
    before: Reading | None = None
    for reading in readings:
        if reading.last_used_at and reading.last_used_at > since:
            used = f"was used at {reading.last_used_at} ({reading.source})"
        if reading.taken_at < since:
            continue
        if reading.uses is None:
            begun, before, gap = None, None, f"nobody could tell at {reading.taken_at}"
            continue
        if before is None:
            begun = reading
        elif reading.taken_at < before.taken_at:
            begun, gap = reading, f"the clock has gone back from {before.taken_at} to {reading.taken_at}"
        elif not _counts_on(before, reading):
            begun, gap = (
                reading,
                f"the counters began anew between {before.taken_at} and {reading.taken_at}{_said(before, reading)}",
            )
            used = used or _use(reading.uses, before, reading)
        else:
            used = used or _use(reading.uses - before.uses, before, reading)
        before = reading
    if begun is None or before is None:
        return Watch(used, None, gap)
    return Watch(used, (_time(before.taken_at) - _time(begun.taken_at)).total_seconds(), gap)


def _use(uses: int, before: Reading, reading: Reading) -> str:
    return f"was used {uses} time(s) between {before.taken_at} and {reading.taken_at} ({reading.source})" if uses else ""


def _counts_on(before: Reading, reading: Reading) -> bool:
    """Return whether a reading counts from where the one before it did."""
    return reading.uses >= before.uses and _same(before.counted_since or "", reading.counted_since or "")


def _said(before: Reading, reading: Reading) -> str:
    """Return what the server says has changed, where it says more than a moment."""
    changed = before.counted_since != reading.counted_since and "," in (reading.counted_since or "")
    return f" (from '{before.counted_since}' to '{reading.counted_since}')" if changed else ""


def _same(one: str, other: str) -> bool:
    """Return whether two moments are one, behind each of which may stand what else must not have changed."""
    (one_start, _comma, one_more), (other_start, _comma, other_more) = one.partition(", "), other.partition(", ")
    if one_more != other_more:
        return False
    if one_start == other_start:
        return True
    try:
        return abs(_time(one_start) - _time(other_start)) <= _SAME_START
    except ValueError:
        return False


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
