"""Where the hosts of a roll-out are, as lines of text."""

import pytest
from ansible_collections.everup.deploy.plugins.plugin_utils.timeline import Timeline
from hypothesis import given
from hypothesis import strategies as st

STATES = ["draining", "upgrading", "healthy", "ready", "rolled_back", "failed", "unreachable"]
BATCHES = [
    {"group": "api", "number": 1, "hosts": ["api1"]},
    {"group": "web", "number": 2, "hosts": ["web1"]},
    {"group": "web", "number": 3, "hosts": ["web2", "web3"]},
]


@pytest.fixture
def timeline():
    timeline = Timeline()
    timeline.plan(BATCHES, 0)
    return timeline


def test_a_bar_tells_how_far_each_group_is(timeline):
    timeline.move("api1", "ready", 1)
    timeline.move("web1", "failed", 2, "no answer")
    timeline.move("web2", "upgrading", 3)
    assert timeline.bars(60) == [
        "api [████████████████████████████████████████] 1/1 ready",
        "web [" + "▒" * 7 + "·" * 14 + "] 0/3 ready, 1 failed, 1 upgrading",
    ]


def test_a_line_tells_state_time_and_what_is_done(timeline):
    timeline.move("web2", "upgrading", 10)
    assert timeline.task("web2", "Restart the application") is True
    timeline.move("web1", "rolled_back", 5, "Check its health: 503")
    assert timeline.table(75, 80, 20)[2:] == [
        "api1    1  waiting",
        "web1    2  went back       1:10  Check its health: 503",
        "web2    3  upgrading       1:05  Restart the application",
        "web3    3  waiting",
    ]


def test_what_does_not_fit_is_summed_up_and_what_matters_is_shown():
    timeline = Timeline()
    hosts = [f"web{number:03d}" for number in range(200)]
    timeline.plan([{"group": "web", "number": 1, "hosts": hosts}], 0)
    for host in hosts[:50]:
        timeline.move(host, "ready", 1)
    timeline.move("web060", "draining", 1)
    timeline.move("web199", "unreachable", 1, "no route to host")
    lines = timeline.table(2, 80, 10)
    assert [line.split()[0] for line in lines] == ["web", "web060", "web199", "…"]
    assert lines[-1] == "… 50 ready, 148 waiting"


def test_a_host_that_is_not_in_the_plan_is_none_of_ours(timeline):
    assert timeline.move("db1", "ready", 1) is False
    assert timeline.task("db1", "x") is False


def test_the_same_again_is_no_news(timeline):
    assert [timeline.move("web1", "draining", now) for now in (1, 2)] == [True, False]
    assert timeline.hosts["web1"].since == 1
    assert timeline.move("web1", "draining", 3, "it failed") is True


def test_what_ran_on_a_host_is_forgotten_once_it_is_done(timeline):
    timeline.move("web1", "upgrading", 1)
    timeline.task("web1", "Restart")
    timeline.move("web1", "ready", 2)
    assert timeline.table(3, 80, 20)[3] == "web1    2  ready           0:01"


def test_colours_stand_around_the_state_alone(timeline):
    timeline.move("web1", "failed", 1)
    (line,) = [line for line in timeline.table(1, 80, 20, colour=True) if line.startswith("web1")]
    assert "\x1b[31mfailed\x1b[0m" in line


@given(
    st.lists(st.tuples(st.sampled_from(["api1", "web1", "web2", "web3", "no"]), st.sampled_from(STATES), st.text(max_size=20))),
    st.integers(0, 200),
    st.integers(1, 30),
)
def test_a_table_never_leaves_its_space(moves, width, height):
    timeline = Timeline()
    timeline.plan(BATCHES, 0)
    for now, (host, state, reason) in enumerate(moves):
        timeline.move(host, state, now, reason)
    lines = timeline.table(len(moves), width, height)
    assert all(len(line) <= max(width, 40) for line in lines)
    assert len(lines) <= max(height, len(timeline.bars(width)) + 1)
