# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides how much downtime releases may still cause: a budget over a sliding window, and one release's own bound."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Optional

from .._db.script import parse_duration
from .._errors import EverupError
from .._moments import in_words, union

ON_BUDGET = ("stop", "rollback", "warn")
_LONGEST_WINDOW = 3650 * 86400.0
_PER = re.compile(r"\s*(\S+)\s+per\s+(\S+)\s*")

# A prober writes each second; a busy machine may let it wait.
_LONGEST_SILENCE_SECONDS = 15.0

Interval = tuple[float, float]


class Budget(NamedTuple):
    """So many seconds of downtime in any window of so many seconds."""

    allowed: float
    window: float


def parse_budget(text: str) -> Optional[Budget]:
    """Return the budget of a text such as '30m per 7d', None of an empty one.

    Raises:
        EverupError: it is no budget, or allows more than there is.
    """
    if not str(text or "").strip():
        return None
    match = _PER.fullmatch(str(text))
    if not match:
        raise EverupError(f"availability_budget is '{text}': write it as '30m per 7d', so much downtime in any so long a time.")
    try:
        budget = Budget(*(parse_duration(part) for part in match.groups()))
    except ValueError as error:
        raise EverupError(f"availability_budget is '{text}': {error}.") from None
    if budget.window <= 0 or budget.allowed >= budget.window:
        raise EverupError(f"availability_budget is '{text}': the downtime must be shorter than the time that it is allowed in.")
    if budget.window > _LONGEST_WINDOW:
        raise EverupError(f"availability_budget is '{text}': the time that it is allowed in can be 3650d at most.")
    return budget


def parse_bound(text: str) -> Optional[float]:
    """Return the seconds of a release's own bound, None of an empty text.

    Raises:
        EverupError: it is no duration.
    """
    if not str(text if text is not None else "").strip():
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise EverupError(f"availability_bound is '{text}': {error}.") from None


def down_of(run: Mapping) -> list[Interval]:
    """Return when a recorded run saw downtime, in Unix time.

    Where the record does not tell the moments, the downtime is spread evenly over the run: a window that holds a part of the run
    holds the same part of its downtime.

    Parameters:
        run: started, ended (Unix time), downtime_ms, and down: intervals in seconds from the start, None where not known.
    """
    if run["down"] is not None:
        return [(run["started"] + start, run["started"] + end) for start, end in run["down"]]
    seconds, lasted = run["downtime_ms"] / 1000, run["ended"] - run["started"]
    if not seconds or lasted <= 0:
        return []
    count = 100
    step, part = lasted / count, seconds / count
    return [(run["started"] + step * number, run["started"] + step * number + part) for number in range(count)]


def spend(budget: Budget, runs: Iterable[Mapping], now: float) -> dict:
    """Return what of a budget is spent at a moment, what is left, and when it is enough again.

    Time that two runs saw the application down is spent once.

    Parameters:
        runs: as for down_of().
        now: Unix time.

    Returns:
        allowed_ms, window_s, spent_ms, left_ms (negative when overdrawn), enough_at (Unix time from which something is left
        again, None while something is).
    """
    since = now - budget.window
    every = union(interval for run in runs for interval in down_of(run))
    inside = [(max(start, since), min(end, now)) for start, end in every if end > since and start < now]
    spent = sum(end - start for start, end in inside)
    over = spent - budget.allowed
    enough_at = None
    if over >= 0 and inside:
        enough_at = inside[-1][1] + budget.window
        for start, end in inside:
            if over < end - start:
                enough_at = start + over + budget.window
                break
            over -= end - start
    return {
        "allowed_ms": round(budget.allowed * 1000),
        "window_s": budget.window,
        "spent_ms": round(spent * 1000),
        "left_ms": round((budget.allowed - spent) * 1000),
        "enough_at": enough_at,
    }


def why_spent(spent: Optional[Mapping]) -> str:
    """Return why a release may not begin, nothing where it may.

    Parameters:
        spent: as spend() gives it, with enough_at as text and the budget as it was written; nothing without a budget.
    """
    if not spent or spent["left_ms"] > 0 or not spent["spent_ms"]:  # a budget of nothing is not spent by nothing
        return ""
    again = f" Something is left again from {spent['enough_at']} on." if spent["enough_at"] else ""
    return (
        f"The downtime budget of {spent['budget']} is spent: releases of the last {in_words(spent['window_s'])} have cost "
        f"{in_words(spent['spent_ms'] / 1000)} of {in_words(spent['allowed_ms'] / 1000)}.{again} "
        "To release all the same, say why: -e availability_override='...'. Nothing was changed."
    )


def verdict(seen: Mapping, bound: str, on_budget: str) -> dict:
    """Return what becomes of a roll-out whose probe has been looked at.

    Parameters:
        seen: registered result of ``availability_probe``.
        bound: the release's own bound, such as ``10s``; empty for none.
        on_budget: ``stop``, ``rollback`` or ``warn``.

    Returns:
        reason (why it must not go on, empty when it may), takes_back (whether every host is to go back), warning.

    What nobody measures is no evidence: without figures a roll-out that has a bound stops, and takes nothing back.
    """
    if on_budget not in ON_BUDGET:
        raise EverupError(f"availability_on_budget is '{on_budget}': it must be one of {', '.join(ON_BUDGET)}.")
    seconds = parse_bound(bound)
    fine = {"reason": "", "takes_back": False, "warning": ""}
    if seconds is None or seen.get("skipped"):
        return fine
    is_silent = (seen.get("silent_s") or 0.0) > _LONGEST_SILENCE_SECONDS
    report = seen.get("report")
    is_read = bool(seen.get("running") and report) and not is_silent
    is_over = is_read and report["downtime_ms"] > seconds * 1000  # what was missed can only have been more
    if is_read and not is_over and _has_asked(report):
        return fine
    why = _why_over(report, bound) if is_over else _why_unknown(seen)
    if on_budget == "warn":
        return {**fine, "warning": why}
    return {**fine, "reason": why, "takes_back": is_over and on_budget == "rollback"}


def _has_asked(report: Mapping) -> bool:
    """Return whether more was asked than the probe had no time for."""
    return report["requests"] > report.get("missed", 0)


def _why_over(report: Mapping, bound: str) -> str:
    most = " at ".join(next(iter(report.get(name) or [""])) for name in ("reasons", "failed_at")).removesuffix(" at ")
    return (
        f"users have met {in_words(report['downtime_ms'] / 1000)} of downtime since {report['started_at']}, "
        f"more than the {bound} of availability_bound ({report['failed']} of {report['requests']} requests failed"
        + (f", most of them: {most})" if most else ")")
    )


def _why_unknown(seen: Mapping) -> str:
    report = seen.get("report")
    if seen.get("unreachable") or seen.get("failed"):
        why = f"the availability probe could not be asked ({seen.get('msg') or 'no reason given'})"
    elif seen.get("running") and report and not _has_asked(report):
        asked, missed = report["requests"], report.get("missed", 0)
        why = f"the availability probe got no time: it has asked {asked} time(s) and missed {missed}"
    elif seen.get("running"):
        since = f"since {report['ended_at']}" if report else "yet"
        why = f"the availability probe runs and has written nothing {since}: look for a full disk, or a process that was halted"
    else:
        when = f"its journal ends at {report['ended_at']} ({report['end']})" if report else "it has left no journal"
        why = f"the availability probe does not run, {when}"
    return f"nobody knows how much downtime users have met: {why}"


def over_bound(hosts: Iterable[str], hostvars: Mapping) -> str:
    """Return why every host is to go back since the release is over its bound, nothing where it is not.

    Parameters:
        hosts: those that may have looked, in order.
        hostvars: with availability_verdict, as verdict() gives it.
    """
    found = [hostvars[host].get("availability_verdict") or {} for host in hosts if host in hostvars]
    return next((one["reason"] for one in found if one.get("takes_back")), "")
