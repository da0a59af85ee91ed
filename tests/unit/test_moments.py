"""Moments as the ledger writes them, the time that intervals cover, and durations as people say them."""

from datetime import datetime, timezone

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._moments import (
    in_words,
    iso,
    parse_time,
    seconds_between,
    union,
    unix,
)
from hypothesis import given
from hypothesis import strategies as st

INTERVALS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted).map(tuple), max_size=20)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "not known"),
        (0, "0 s"),
        (0.1234, "123 ms"),
        (0.25, "250 ms"),
        (0.9996, "1 s"),
        (3.456, "3.46 s"),
        (12.3, "12.3 s"),
        (59.96, "1 min"),
        (61, "1 min 1 s"),
        (125, "2 min 5 s"),
        (1787.7, "29 min 48 s"),
        (3599.9, "1 h"),
        (3600, "1 h"),
        (93_780, "1 d 2 h"),
        (7 * 86_400, "7 d"),
    ],
)
def test_durations_in_words(seconds: float | None, words: str) -> None:
    assert in_words(seconds) == words
    if seconds:
        assert in_words(-seconds) == f"-{words}"


@given(INTERVALS)
def test_a_union_covers_the_same_moments(intervals: list[tuple[int, int]]) -> None:
    merged = union(intervals)
    covered = {moment for start, end in intervals for moment in range(start, end)}
    assert {moment for start, end in merged for moment in range(start, end)} == covered
    assert all(first[1] < second[0] for first, second in zip(merged, merged[1:]))


@given(st.integers(0, 4_102_444_800_000))
def test_a_moment_comes_back_as_it_was_written(milliseconds: int) -> None:
    text = iso(milliseconds / 1000)
    assert text.endswith("Z") and len(text) == 24
    assert round(unix(text) * 1000) == milliseconds


def test_a_moment_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert unix("2026-11-20T10:00:00.500Z") == datetime(2026, 11, 20, 10, 0, 0, 500_000, timezone.utc).timestamp()
    assert seconds_between("2026-11-20T10:00:00.500Z", "2026-11-20T10:01:00.000Z") == 59.5


@pytest.mark.parametrize("text", ["", "2026-11-20", "2026-11-20 10:00:00", "2026-11-20T10:00:00.000+01:00"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)
