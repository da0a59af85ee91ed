"""A series of counter readings: what was used, for how long nobody looked away, and what a reset takes with it."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._release.usage import Reading, watch

SINCE = "2026-11-20T00:00:00.000Z"
START = "2026-11-01T00:00:00.000Z"


def at(day: int, uses: int | None, since: str = START, last: str | None = None) -> Reading:
    return Reading("stats", "table t", uses, last, since, f"2026-11-{day}T00:00:00.000Z")


DAY = 86400.0


def test_a_counter_that_stands_still_shows_no_use():
    found = watch([at(21, 5), at(23, 5), at(28, 5)], SINCE)
    assert (found.used, found.seconds, found.gap) == ("", 7 * DAY, "")


def test_what_was_used_before_the_roll_out_does_not_count():
    assert watch([at(18, 2), at(19, 5), at(21, 5), at(28, 5)], SINCE).used == ""
    assert watch([at(19, 2), at(21, 5), at(28, 5)], SINCE).seconds == 7 * DAY


def test_a_counter_that_has_grown_shows_a_use():
    found = watch([at(21, 5), at(23, 8), at(28, 8)], SINCE)
    assert "was used 3 time(s) between 2026-11-21T00:00:00.000Z and 2026-11-23T00:00:00.000Z (stats)" in found.used


def test_a_last_use_counts_even_where_no_snapshot_saw_it():
    assert "at 2026-11-22" in watch([at(28, 5, last="2026-11-22T10:00:00.000Z")], SINCE).used
    assert watch([at(28, 5, last="2026-11-19T10:00:00.000Z")], SINCE).used == ""


@pytest.mark.parametrize(
    "reset", [at(24, 0), at(24, 5, "2026-11-24T00:00:00.000Z"), at(24, 9, "another beginning")], ids=["fewer", "since", "text"]
)
def test_a_reset_is_noticed_and_watching_begins_anew(reset):
    later = at(28, reset.uses, reset.counted_since)
    found = watch([at(21, 5), reset, later], SINCE)
    assert found.seconds == 4 * DAY
    assert "counters began anew between 2026-11-21" in found.gap


def test_uses_behind_a_reset_are_uses():
    assert "was used 2 time(s)" in watch([at(21, 5), at(24, 2)], SINCE).used
    assert watch([at(21, 5), at(24, 0)], SINCE).used == ""


def test_a_start_told_in_whole_seconds_is_the_same_start():
    apart = [at(21, 5, "2026-11-01T00:00:00.000Z"), at(28, 5, "2026-11-01T00:00:01.000Z")]
    assert watch(apart, SINCE).seconds == 7 * DAY
    assert watch([apart[0], at(28, 5, "2026-11-01T00:00:09.000Z")], SINCE).seconds == 0.0


def test_what_stands_behind_a_start_must_not_change():
    for more, seconds in (("1 thrown away", 7 * DAY), ("2 thrown away", 0.0)):
        readings = [at(21, 5, f"{START}, 1 thrown away"), at(28, 5, f"2026-11-01T00:00:01.000Z, {more}")]
        assert watch(readings, SINCE).seconds == seconds


def test_what_nobody_could_tell_ends_the_watch():
    assert watch([at(21, 5), at(24, None), at(25, 5), at(28, 5)], SINCE).seconds == 3 * DAY
    assert watch([at(21, 5), at(28, None)], SINCE).seconds is None
    assert watch([], SINCE).seconds is None


def test_a_clock_that_goes_back_ends_the_watch():
    found = watch([at(25, 5), at(22, 5), at(28, 5)], SINCE)
    assert found.seconds == 6 * DAY
    assert "has gone back" in found.gap
