# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a probe reports, as data for tests of those who keep it."""

from __future__ import annotations

from ansible_collections.everup.deploy.plugins.module_utils._release.downtime import iso


def a_report(began: float, down: list, run: str = "r1", **more) -> dict:
    """Return the report of a run of ten minutes.

    Parameters:
        began: Unix time.
        down: from when to when the application was down, in seconds from then.
        run: its name.
        more: what is otherwise.
    """
    return {
        "run": run,
        "targets": ["http://shop/"],
        "rate": 10,
        "write_rate": None,
        "started_at": iso(began),
        "ended_at": iso(began + 600),
        "end": "stopped",
        "requests": 6000,
        "failed": 7,
        "missed": 0,
        "downtime_ms": round(sum(end - start for start, end in down) * 1000),
        "longest_gap_ms": 900,
        "reasons": {"HTTP 500": 7},
        "failed_at": {"http://shop/": 7},
        "definition": "what failed means",
        "bucket_s": 1,
        "buckets": [[0, 10, 0, 1.5, 2.5, 3.5]],
        "down": down,
        "down_is_joined": False,
        "latency": {"before": {"requests": 6000, "p50_ms": 1.5}},
        **more,
    }
