# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judges members of the new version by what balancers counted of them, beside the others of their pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .rollout import pool_members


@dataclass(frozen=True)
class Sample:
    """What some members have answered within a window.

    Parameters:
        requests, errors: how many, and how many of them failed.
        response_ms: their average response time, None where it is not known.
        doubt_ms: how far off that may be.
    """

    requests: int
    errors: int
    response_ms: float | None
    doubt_ms: float

    @property
    def error_percent(self) -> float:
        """The share of requests that failed."""
        return 100 * self.errors / self.requests if self.requests else 0.0

    def __str__(self) -> str:
        times = "" if self.response_ms is None else f", {self.response_ms:.0f} ms (within {self.doubt_ms:.0f} ms)"
        return f"{self.errors} of {self.requests} requests failed ({self.error_percent:.1f} %){times}"


def verdict(before: Mapping, after: Mapping, new: list[str], planned: list[str], bounds: Mapping) -> dict:
    """Return whether the new members answer as well as the others did in the same window.

    The others are the members of the pool that come later in the plan, and so run the version before; once there are none, all
    other members.

    Parameters:
        before, after: registered loops of ``lb_member_info`` with counters, at the window's two ends.
        new: names of the members that have just been put back.
        planned: names of all members of the roll-out, in order.
        bounds: ``requests`` that the new members must have had, by how many ``error_percent`` more of theirs than of the others'
            may fail, and how many times as long as the others' they may take (``slowdown``, 0 for any).

    Returns:
        ``enough``, whether there were that many requests; ``reasons`` why the new members do not answer as well, judged once
        there were; and ``said``, all of it in a sentence.
    """
    first = {_key(member): member["counters"] for member in pool_members(before)}
    pairs = [
        (member["member"], first[_key(member)], member["counters"]) for member in pool_members(after) if _key(member) in first
    ]
    later = planned[max((planned.index(name) + 1 for name in new if name in planned), default=0) :]
    names = {name for name, _then, _now in pairs} - set(new)
    others = names & set(later) or names
    ours = _sample((then, now) for name, then, now in pairs if name in new)
    theirs = _sample((then, now) for name, then, now in pairs if name in others)
    enough = ours.requests >= bounds["requests"]
    said = f"{', '.join(new)}: {ours}; {', '.join(sorted(others)) or 'no other member'}: {theirs}"
    return {"enough": enough, "reasons": _reasons(ours, theirs, bounds) if enough else [], "said": said}


def _key(member: Mapping) -> tuple:
    return member["balancer"], member["member"]


def _reasons(ours: Sample, theirs: Sample, bounds: Mapping) -> list[str]:
    reasons = []
    if ours.error_percent > theirs.error_percent + bounds["error_percent"]:
        reasons.append(f"more than {bounds['error_percent']:g} % more requests fail")
    is_timed = bounds["slowdown"] > 0 and ours.response_ms is not None and theirs.response_ms is not None
    if is_timed and theirs.requests >= bounds["requests"]:
        least, most = ours.response_ms - ours.doubt_ms, theirs.response_ms + theirs.doubt_ms
        if least > bounds["slowdown"] * most:
            reasons.append(f"answers take more than {bounds['slowdown']:g} times as long")
    return reasons


def _sample(pairs: Iterable[tuple[Mapping, Mapping]]) -> Sample:
    """Return the sum of what members have answered between two looks; a counter that fell was reset, and counts from 0."""
    requests = errors = timed = 0
    weighted = doubt = 0.0
    for then, now in pairs:
        was_reset = now["requests"] < then["requests"] or now["errors"] < then["errors"]
        start = {**then, "requests": 0, "errors": 0} if was_reset else then
        count = now["requests"] - start["requests"]
        requests += count
        errors += now["errors"] - start["errors"]
        if count and now["response_ms"] is not None and start["response_ms"] is not None:
            old = _weight_of_old(start["requests"], now["requests"], now["response_over"])
            timed += count
            weighted += count * max((now["response_ms"] - old * start["response_ms"]) / (1 - old), 0.0)
            doubt += count / (1 - old)  # each of the two is rounded up to a millisecond
    return Sample(requests, errors, weighted / timed if timed else None, doubt / timed if timed else 0.0)


def _weight_of_old(first: int, last: int, over: int) -> float:
    """Return how much of a moving average is still that of the first answers when it has gone on to the last.

    It is the average of all answers up to ``over`` of them; from then on each answer moves it by ``1 / over``.
    """
    settled = min(first, over) / min(last, over)
    return settled * (1 - 1 / over) ** max(0, last - max(first, over))
