# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The numbers a release is judged by."""

import pytest

from lab.load_report import longest_gap_ms, percentile, summarise


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([7], 99, 7),
        ([3, 1, 2], 50, 2),
        (list(range(1, 101)), 99, 99),
        (list(range(1, 101)), 100, 100),
        (list(range(1, 101)), 0, 1),
    ],
)
def test_percentile_is_the_nearest_rank(values, percent, expected):
    assert percentile(values, percent) == expected


@pytest.mark.parametrize(
    ("successes", "expected"),
    [
        ([], 10_000),
        ([1, 2, 9.5], 7_500),
        ([9.5, 2, 1], 7_500),
        ([6, 9], 6_000),
        ([1, 2], 8_000),
        ([1, 12], 11_000),
    ],
)
def test_the_gap_counts_from_the_start_and_to_the_end(successes, expected):
    assert longest_gap_ms(successes, 0, 10) == pytest.approx(expected)


def test_a_request_belongs_to_the_window_in_which_it_was_due():
    result = {
        "started": 1000.0,
        "requests": 7,
        "failed": 2,
        "wrong": 0,
        "acknowledged_writes": 1,
        "lost_writes": 0,
        "longest_gap_ms": 900.0,
        "failed_at": [1001.0, 1011.0],
        "samples": {"at": [1, 2, 9.9, 10, 20, 20.1], "ms": [5, 6, 500, 8, 9, 1]},
    }
    summary = summarise(result, 1010.0, 1020.0)
    assert (summary["answers_before"], summary["answers_during"], summary["failed_during"]) == (3, 2, 1)
    assert (summary["p50_before_ms"], summary["p99_before_ms"]) == (6, 500)
    assert (summary["p50_during_ms"], summary["p99_during_ms"]) == (8, 9)
    assert (summary["requests"], summary["failed"], summary["longest_gap_ms"]) == (7, 2, 900.0)
