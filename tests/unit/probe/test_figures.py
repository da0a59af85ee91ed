"""What a probe's answers come to: downtime, gaps, percentiles, buckets and phases."""

import math

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._moments import union
from ansible_collections.everup.deploy.plugins.module_utils._probe import figures
from ansible_collections.everup.deploy.plugins.module_utils._probe.figures import Answer
from hypothesis import given
from hypothesis import strategies as st

ANSWERS = st.lists(
    st.builds(
        Answer,
        target=st.integers(0, 2),
        due=st.integers(0, 600).map(lambda tenth: tenth / 10),
        ms=st.one_of(st.none(), st.integers(1, 2000)),
    ),
    max_size=25,
)
INTERVALS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted).map(tuple), max_size=20)


def seen(text: str, target: int = 0, rate: float = 10.0) -> list[Answer]:
    """Return one answer for each letter: a dot is a good one, x a failed one."""
    return [Answer(target, round(n / rate, 3), 5.0 if letter == "." else None) for n, letter in enumerate(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("....", []),
        (".xx..", [(0.1, 0.3)]),
        ("x", [(0.0, 1.0)]),
        ("..x", [(0.2, 1.0)]),
        (".x.x.", [(0.1, 0.2), (0.3, 0.4)]),
        ("xxxx.", [(0.0, 0.4)]),
    ],
)
def test_down_lasts_from_the_first_failure_to_the_next_success(text, expected):
    assert figures.down(seen(text), 1.0) == expected


def test_down_is_one_time_however_many_targets_are():
    both = [*seen(".xxx....", 0), *seen("..xxxx..", 1)]
    assert figures.down(both, 1.0) == [(0.1, 0.6)]
    # A target that answers says nothing of the other.
    assert figures.down([*seen(".xxx", 0), *seen("....", 1)], 1.0) == [(0.1, 1.0)]


@given(ANSWERS)
def test_down_covers_every_failure_and_nothing_outside(answers):
    found = figures.down(answers, 60.0)
    assert found == union(found)
    assert all(0 <= start < end <= 60.0 for start, end in found)
    failed = [answer.due for answer in answers if answer.ms is None]
    if not failed:
        assert found == []
    else:
        assert all(start in failed for start, _end in found)
    # A failure is within, unless a good answer of the same target was due at the same moment, or it was due at the very end.
    good = {(answer.target, answer.due) for answer in answers if answer.ms is not None}
    for answer in answers:
        if answer.ms is None and (answer.target, answer.due) not in good and answer.due < 60.0:
            assert any(start <= answer.due < end for start, end in found)


@given(INTERVALS)
def test_the_length_of_a_union_counts_every_moment_once(intervals):
    covered = {moment for start, end in intervals for moment in range(start, end)}
    assert figures.length(union(intervals)) == len(covered)


def test_a_gap_counts_between_answers_that_came_not_when_they_were_due():
    slow = [Answer(0, 0.0, 10.0), Answer(0, 0.1, 1900.0), Answer(0, 0.2, 1800.0)]
    assert figures.longest_gap(slow, 2.0, [0]) == pytest.approx(1.99)


def test_the_ends_of_a_run_are_gaps_too():
    assert figures.longest_gap([Answer(0, 3.0, 0.0)], 4.0, [0]) == 3.0
    assert figures.longest_gap([Answer(0, 1.0, 0.0)], 4.0, [0]) == 3.0
    assert figures.longest_gap([], 4.0, [0]) == 4.0


def test_a_gap_of_one_url_is_not_hidden_by_another_and_that_of_a_write_does_not_count():
    answers = [*seen("." * 40, 0), *seen(".", 1)]
    assert figures.longest_gap(answers, 4.0, [0]) < 0.2
    assert figures.longest_gap(answers, 4.0, [0, 1]) == pytest.approx(3.995)


def test_percentiles_are_nearest_rank():
    values = list(range(1, 101))
    assert [figures.percentile(values, percent) for percent in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert figures.percentile([7], 50) == 7
    assert figures.percentile([], 50) is None


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([50, 95, 99]))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values, percent):
    found = figures.percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= math.ceil(len(values) * percent / 100)
    assert sum(value < found for value in values) < len(values) * percent / 100


@pytest.mark.parametrize(("duration", "expected"), [(0, 1), (2000, 1), (2001, 2), (43200, 30), (86400 * 365, 15768)])
def test_a_long_run_has_coarser_buckets(duration, expected):
    assert figures.bucket_seconds(duration) == expected
    assert duration / figures.bucket_seconds(duration) <= figures.MOST_BUCKETS


def test_buckets():
    answers = [Answer(0, 0.1, 10.0), Answer(0, 0.9, 30.0), Answer(0, 2.5, None, "HTTP 500"), Answer(0, 2.6, 20.0)]
    assert figures.buckets(answers, 1) == [[0, 2, 0, 10.0, 30.0, 30.0], [2, 2, 1, 20.0, 20.0, 20.0]]
    assert figures.buckets(answers, 5) == [[0, 4, 1, 20.0, 30.0, 30.0]]
    assert figures.buckets([Answer(0, 0.0, None)], 1) == [[0, 1, 1, None, None, None]]


def test_phases_are_cut_by_when_requests_were_due():
    answers = [Answer(0, 1.0, 10.0), Answer(0, 2.0, 20.0), Answer(0, 3.0, None), Answer(0, 3.1, 40.0)]
    found = figures.phases(answers, (2.0, 3.0))
    assert [(name, phase["requests"], phase["failed"], phase["max_ms"]) for name, phase in found.items()] == [
        ("before", 1, 0, 10.0),
        ("during", 2, 1, 20.0),
        ("after", 1, 0, 40.0),
    ]
    assert figures.phases(answers, None)["before"]["requests"] == 4


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([], None),
        ([(None, None)], None),
        ([(110, 120)], (110, 120)),
        ([(110, None)], (110, 200)),
        ([(10, 20)], None),
        ([(10, 20), (150, 160)], (150, 160)),
        ([(110, 120), (150, None)], (110, 200)),
        ([(300, None)], None),
    ],
)
def test_during_is_what_overlaps_the_run(windows, expected):
    assert figures.hull(windows, 100, 200) == expected


@given(INTERVALS, st.integers(1, 5))
def test_fewer_intervals_cover_all_that_more_did(intervals, most):
    whole = union(intervals)
    fewer = figures.fewest(whole, most)
    assert len(fewer) <= most
    assert all(any(start <= one[0] and one[1] <= end for start, end in fewer) for one in whole)
    assert fewer == whole or len(whole) > most


def test_reasons_are_those_of_what_failed():
    answers = [Answer(0, 0.0, 5.0), Answer(0, 1.0, None, "HTTP 500"), Answer(0, 2.0, None, "HTTP 500"), Answer(0, 3.0, None, "x")]
    assert figures.reasons(answers) == {"HTTP 500": 2, "x": 1}
    assert list(figures.reasons(answers)) == ["HTTP 500", "x"]


def test_where_requests_failed():
    answers = [Answer(0, 0.0, None, "x"), Answer(1, 0.0, None, "x"), Answer(1, 1.0, None, "x"), Answer(2, 1.0, 5.0)]
    found = figures.failed_at(answers, ["/a", "/b", "/c"])
    assert list(found.items()) == [("/b", 2), ("/a", 1)]


def test_the_closest_intervals_are_joined():
    intervals = [(0.0, 1.0), (5.0, 6.0), (6.5, 7.0), (20.0, 21.0)]
    assert figures.fewest(intervals, 4) == intervals
    assert figures.fewest(intervals, 3) == [(0.0, 1.0), (5.0, 7.0), (20.0, 21.0)]
    assert figures.fewest(intervals, 2) == [(0.0, 7.0), (20.0, 21.0)]


def test_buckets_of_several_seconds_begin_at_their_multiples():
    answers = [Answer(0, 4.9, 1.0), Answer(0, 5.0, None), Answer(0, 9.9, 3.0), Answer(0, 10.0, 4.0)]
    assert [row[:3] for row in figures.buckets(answers, 5)] == [[0, 1, 0], [5, 2, 1], [10, 1, 0]]


def test_a_window_that_touches_the_run_overlaps_it():
    assert figures.hull([(10.0, 20.0)], 0.0, 10.0) == (10.0, 20.0)
    assert figures.hull([(1.0, 5.0)], 5.0, 10.0) == (1.0, 5.0)
    assert figures.hull([(10.1, 20.0), (1.0, 4.9)], 5.0, 10.0) is None


@pytest.mark.parametrize("step", [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600])
def test_a_bucket_has_a_length_that_people_count_in(step):
    assert figures.bucket_seconds(step * figures.MOST_BUCKETS) == step
