"""How large the next batch is, how long to pause, and what is said about it."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._migrations.pace import (
    duration_text,
    largest_batch,
    next_size,
    pause_after,
    percent,
    progress_line,
    rate,
    target_now,
    time_left,
)


@pytest.mark.parametrize(
    ("size", "seconds", "expected"),
    [
        (1000, 0.25, 1000),
        (1000, 0.2, 1250),
        (1000, 0.01, 1500),
        (1000, 0.0, 1500),
        (1000, 0.5, 500),
        (1000, 30.0, 500),
        (9000, 0.01, 10000),
        (10000, 0.4, 6250),
        (1, 0.2, 2),
        (1, 9.0, 1),
        (3, 0.24, 4),
    ],
)
def test_the_size_follows_the_target_within_bounds(size, seconds, expected):
    assert next_size(size, seconds, 0.25, 10000) == expected


def test_it_settles_where_a_batch_takes_its_target():
    size = 1000
    for _batch in range(40):
        size = next_size(size, size / 12000, 0.25, 100000)
    assert 2900 <= size <= 3001


def test_it_never_leaves_its_bound():
    size = 1
    for _batch in range(100):
        size = next_size(size, 0.0001, 0.25, 2000)
        assert 1 <= size <= 2000
    assert size == 2000


@pytest.mark.parametrize(
    ("most", "start", "estimate", "cap", "expected"),
    [
        (None, 1000, 5_000_000, 0, 10_000),
        (None, 1000, 1_000_000, 0, 4_000),
        (None, 1000, 90_000_000, 0, 10_000),
        (None, 1000, 5_000, 0, 2_000),
        (None, 1000, None, 0, 2_000),
        (None, 1000, 5_000_000, 2_000, 2_000),
        (None, 30_000, 5_000_000, 0, 30_000),
        (300, 100, 5_000_000, 0, 300),
        (30_000, 100, 50, 0, 30_000),
        (30_000, 100, 50, 2_000, 2_000),
    ],
)
def test_the_largest_batch_by_the_size_of_the_table(most, start, estimate, cap, expected):
    assert largest_batch(most, start, estimate, cap) == expected


@pytest.mark.parametrize(
    ("busy", "pause", "share", "expected"),
    [
        (0, None, None, 0.0),
        (3, None, None, 1.8),
        (None, None, None, 1.8),
        (9, 0.0, None, 0.0),
        (0, 0.05, None, 0.05),
        (0, None, 0.5, 0.1),
        (3, None, 0.0, 0.0),
    ],
)
def test_the_pause(busy, pause, share, expected):
    assert pause_after(0.2, busy, pause, share) == pytest.approx(expected)


@pytest.mark.parametrize(("busy", "expected"), [(0, 0.25), (1, 0.005), (None, 0.005)])
def test_a_batch_beside_others_is_shorter(busy, expected):
    assert target_now(0.25, busy) == pytest.approx(expected)


def test_the_automatic_pause_has_an_end():
    assert pause_after(600, 1, None, None) == 2.0


@pytest.mark.parametrize(
    ("seen", "estimate", "finished", "expected"),
    [
        (0, 100, False, 0),
        (50, 100, False, 50),
        (100, 100, False, 99),
        (900, 100, False, 99),
        (3, None, False, None),
        (3, None, True, 100),
        (0, 0, False, None),
    ],
)
def test_percent(seen, estimate, finished, expected):
    assert percent(seen, estimate, finished) == expected


def test_rate_and_time_left():
    assert (rate(1000, 4), rate(5, 0)) == (250.0, 0.0)
    assert time_left(200, 1000, 100.0) == 8.0
    assert (time_left(2000, 1000, 100.0), time_left(1, None, 5.0), time_left(1, 9, 0.0)) == (0, None, None)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations_as_people_say_them(seconds, text):
    assert duration_text(seconds) == text


FACTS = {
    "backfill": "backfill/0007_x.yml",
    "state": "running",
    "rows": 1200,
    "rows_seen": 1204000,
    "estimate": 5000000,
    "percent": 24,
    "rate": 98100.4,
    "eta": 38.7,
    "waiting": "",
}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "1,204,000 of about 5,000,000 rows (24 %), 98,100 rows/s, 39 s left"),
        ({"waiting": "a replica is 9.0 s behind, at most 5"}, "39 s left, waiting: a replica is 9.0 s behind, at most 5"),
        ({"estimate": None, "percent": None, "eta": None}, "1,204,000 rows, 98,100 rows/s"),
        ({"state": "finished"}, "finished, 1,204,000 rows looked at, 1,200 changed, none left"),
    ],
)
def test_the_line_of_progress(changes, line):
    shown = progress_line({**FACTS, **changes})
    assert shown.startswith("backfill/0007_x.yml: ") and shown.endswith(line)
