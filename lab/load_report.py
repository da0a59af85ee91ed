# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What did the load see around a release?  `python -m lab.load_report FILE --started T --ended T`"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile: the least value that `percent` % do not exceed; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def longest_gap_ms(successes: Iterable[float], started: float, ended: float) -> float:
    """The longest time, in ms, in which no request succeeded.

    Parameters:
        successes: when each successful answer was complete, in seconds, in any order.
        started, ended: when the load began and stopped to send, on the same clock.
    """
    longest, last = 0.0, started
    for moment in sorted(successes):
        longest = max(longest, moment - last)
        last = max(last, moment)
    return max(longest, ended - last) * 1000


def summarise(result: dict, release_started: float, release_ended: float) -> dict:
    """The numbers a release is judged by, from the result that `lab.load` wrote.

    Latencies count from the moment a request was due, so that waiting to be sent is part of them. A request
    belongs to the window in which it was due.

    Parameters:
        result: the content of the result file.
        release_started, release_ended: Unix time in seconds, as time.time() gives it.
    """
    started = result["started"]
    before, during = [], []
    for at, ms in zip(result["samples"]["at"], result["samples"]["ms"], strict=True):
        moment = started + at
        if moment < release_started:
            before.append(ms)
        elif moment <= release_ended:
            during.append(ms)
    counts = ("requests", "failed", "wrong", "acknowledged_writes", "lost_writes", "longest_gap_ms")
    return {name: result[name] for name in counts} | {
        "failed_during": sum(release_started <= moment <= release_ended for moment in result["failed_at"]),
        "answers_before": len(before),
        "answers_during": len(during),
        "p50_before_ms": percentile(before, 50),
        "p99_before_ms": percentile(before, 99),
        "p50_during_ms": percentile(during, 50),
        "p99_during_ms": percentile(during, 99),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Summarise a load's result around a release.")
    parser.add_argument("file", type=Path, help="the result that python -m lab.load wrote")
    parser.add_argument("--started", type=float, required=True, help="Unix time at which the release began")
    parser.add_argument("--ended", type=float, required=True, help="Unix time at which it ended")
    options = parser.parse_args()
    result = json.loads(options.file.read_text(encoding="utf-8"))
    print(json.dumps(summarise(result, options.started, options.ended), indent=2))


if __name__ == "__main__":
    main()
