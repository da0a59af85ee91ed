# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides how large the next batch is, how long to pause before it, and says how far a backfill has come."""

from __future__ import annotations

_LEAST_FACTOR, _LARGEST_FACTOR = 0.5, 1.5
# While others are at work a batch takes this share of its target, and nine times as long is paused behind it: what the
# application notices is the time during which both are at it, and a statement that meets a batch waits no longer for a processor
# than the batch lasts. benchmarks/backfill.py: the same pauses behind batches of 11 ms cost the p99 twice as much as behind 6 ms.
_SHARED_TARGET = 0.02
_AUTO_SHARE = 9.0
_LONGEST_AUTO_PAUSE = 2.0
_LEAST_LARGEST, _LARGEST = 2_000, 10_000
_SHARE_OF_TABLE = 250


def largest_batch(most: int | None, start: int, estimate: int | None, cap: int) -> int:
    """Return how many rows a batch may have.

    Without a bound of its own a batch locks at most 1 row in 250 of the table, so that hardly a statement of the
    application meets one of its rows; between 2,000 rows, which are done in no time, and 10,000, beyond which nothing is gained.

    Parameters:
        most: the definition's bound, None when it has none.
        start: rows of the first batch.
        estimate: rows of the table, None when nobody knows.
        cap: the engine's bound, 0 for none.
    """
    wanted = most or max(start, min(_LARGEST, max(_LEAST_LARGEST, (estimate or 0) // _SHARE_OF_TABLE)))
    return min(wanted, cap) if cap else wanted


def next_size(size: int, seconds: float, target: float, most: int) -> int:
    """Return the rows of the next batch, from the last one's and how long it took.

    It follows the target, but no faster than to half or to one and a half times the size at once: one slow batch is no trend,
    and a sudden fast one (cached, or nothing to change) must not be followed by a huge one.
    """
    factor = target / seconds if seconds > 0 else _LARGEST_FACTOR
    factor = min(max(factor, _LEAST_FACTOR), _LARGEST_FACTOR)
    wanted = int(size * factor)
    return max(1, min(most, wanted if factor < 1 else max(wanted, size + (factor > 1))))


def target_now(target: float, busy: int | None) -> float:
    """Return the seconds that the next batch should take: a part of the target while others are at work.

    Parameters:
        target: the definition's.
        busy: other sessions at work, None when nobody knows, which counts as if others were.
    """
    return target if busy == 0 else target * _SHARED_TARGET


def pause_after(seconds: float, busy: int | None, pause: float | None, share: float | None) -> float:
    """Return the seconds to pause after a batch.

    Parameters:
        seconds: what the batch took.
        busy: other sessions at work, None when nobody knows.
        pause, share: what the definition asks for: seconds, or a share of the batch's time; both None leave it to the load:
            nine times as long as the batch took while others are at work, nothing on an idle server, and where nobody knows as
            if others were.
    """
    if pause is not None:
        return pause
    if share is not None:
        return seconds * share
    return 0.0 if busy == 0 else min(seconds * _AUTO_SHARE, _LONGEST_AUTO_PAUSE)


def percent(seen: int, estimate: int | None, finished: bool) -> int | None:
    """Return how much is done in percent; never 100 before the end, since the estimate may be low."""
    if finished:
        return 100
    return min(99, 100 * seen // estimate) if estimate else None


def rate(rows: int, seconds: float) -> float:
    """Return rows a second."""
    return round(rows / seconds, 1) if seconds > 0 else 0.0


def time_left(seen: int, estimate: int | None, rows_per_second: float) -> float | None:
    """Return the seconds that are left at this rate, None when nobody can know."""
    if not estimate or not rows_per_second:
        return None
    return round(max(estimate - seen, 0) / rows_per_second, 1)


def duration_text(seconds: float) -> str:
    """Return seconds as people say them: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def progress_line(facts: dict) -> str:
    """Return one line about a backfill after a slice.

    Parameters:
        facts: backfill, state, rows_seen, estimate, percent, rate, eta, waiting and rows_left, as the module returns them.
    """
    done = f"{facts['rows_seen']:,}"
    if facts["state"] == "finished":
        return f"{facts['backfill']}: finished, {done} rows looked at, {facts['rows']:,} changed, none left"
    of = f" of about {facts['estimate']:,} rows" if facts["estimate"] else " rows"
    parts = [f"{done}{of}" + (f" ({facts['percent']} %)" if facts["percent"] is not None else "")]
    parts.append(f"{facts['rate']:,.0f} rows/s")
    if facts["eta"] is not None:
        parts.append(f"{duration_text(facts['eta'])} left")
    if facts["waiting"]:
        parts.append(f"waiting: {facts['waiting']}")
    return f"{facts['backfill']}: " + ", ".join(parts)
