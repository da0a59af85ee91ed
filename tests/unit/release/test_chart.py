# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a report's bars and lines stand: in time's order, within the page, with long pauses cut short."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._release.chart import (
    LEFT,
    WIDTH,
    TimeAxis,
    chart,
    figures,
)
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 11, 20, 12)


def at(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def span(start: float, end: float, **about) -> dict:
    return {**about, "from": at(start), "to": at(end), "seconds": end - start}


def report(**about) -> dict:
    empty = {"phases": [], "hosts": [], "scripts": [], "backfills": [], "probes": [], "release": {"opened_at": at(0)}}
    return {**empty, **about}


def probe(buckets: list, down: list = ()) -> dict:
    detail = {"bucket_s": 1, "buckets": buckets, "down": list(down), "rate": 10, "definition": "", "latency": {}}
    return {
        "started_at": at(0),
        "ended_at": at(len(buckets)),
        "requests": 30,
        "failed": 1,
        "downtime_ms": 1500,
        "longest_gap_ms": 900,
        "detail": detail,
    }


spans = st.lists(
    st.tuples(st.floats(0, 1e6), st.floats(0, 1e4)).map(lambda pair: (pair[0], pair[0] + pair[1])), min_size=1, max_size=12
)


@given(spans, st.lists(st.floats(-100, 1.1e6), min_size=2))
def test_the_axis_keeps_the_order_of_times_and_the_page(found: list, asked: list) -> None:
    axis = TimeAxis([(NOON + timedelta(seconds=a), NOON + timedelta(seconds=b)) for a, b in found], LEFT, WIDTH)
    places = [axis.x(NOON + timedelta(seconds=seconds)) for seconds in sorted(asked)]
    assert places == sorted(places)
    assert places[0] >= LEFT and places[-1] <= WIDTH + 0.1
    assert all(LEFT <= tick["x"] <= WIDTH + 0.1 for tick in axis.ticks())


def test_a_soak_of_a_day_leaves_room_for_what_was_done() -> None:
    day = 86_400
    drawn = chart(
        report(
            phases=[span(0, 60, name="rolling upgrade", state="rolled"), span(day, day + 30, name="contract", state="contracted")]
        )
    )
    [phases] = drawn["rows"]
    rolling, contract = phases["bars"]
    assert rolling["width"] > 400 and contract["width"] > 200
    assert [pause["label"] for pause in drawn["breaks"]] == ["23 h 58 min"]
    assert any(tick["label"].startswith("21 Nov ") for tick in drawn["ticks"]), "the contract's day is named"
    assert rolling["x"] + rolling["width"] < drawn["breaks"][0]["x"] < contract["x"]


def test_a_row_a_host_and_a_bar_a_step() -> None:
    steps = [
        span(0, 30, state="draining", reason=None),
        span(30, 60, state="upgrading", reason="slow"),
        span(60, 60, state="ready", reason=None),
    ]
    host = {"host": "web1", "state": "ready", "version_before": "1", "version_after": "2", "steps": steps}
    drawn = chart(report(hosts=[host]))
    [_phases, row] = drawn["rows"]
    assert (row["label"], row["note"]) == ("web1", "1 to 2")
    assert [bar["title"] for bar in row["bars"]] == [
        "web1 draining for 30 s",
        "web1 upgrading for 30 s: slow",
        "web1 ready at 12:01:00",
    ]
    draining, upgrading, ready = row["bars"]
    assert draining["x"] + draining["width"] == pytest.approx(upgrading["x"], abs=0.2)
    assert ready["width"] > 1, "what takes no time can be seen"
    assert drawn["latency"] is None and drawn["height"] > row["y"]


def test_the_probe_stands_under_the_same_axis() -> None:
    buckets = [
        [0, 10, 0, 5.0, 12.0, 13.0],
        [1, 10, 0, 5.0, 12.0, 13.0],
        [2, 10, 1, None, None, None],
        [3, 0, 0, None, None, None],
        [4, 10, 0, 6.0, 18.0, 20.0],
    ]
    steps = [span(2, 3, state="upgrading", reason=None)]
    host = {"host": "web1", "state": "ready", "version_before": "1", "version_after": "2", "steps": steps}
    drawn = chart(report(hosts=[host], probes=[probe(buckets, [[2, 3.5]])]))
    seen = drawn["latency"]
    assert [(bar["kind"], bar["title"]) for bar in seen["strip"]] == [
        ("answered", "12:00:00: 20 requests, 0 failed"),
        ("failed", "12:00:02: 10 requests, 1 failed"),
        ("answered", "12:00:04: 10 requests, 0 failed"),
    ]
    assert seen["strip"][1]["x"] == drawn["rows"][1]["bars"][0]["x"]
    [down] = seen["down"]
    assert (down["x"], down["title"]) == (seen["strip"][1]["x"], "down for 1.5 s from 12:00:02")
    assert down["width"] == pytest.approx(seen["strip"][1]["width"] * 1.5, abs=0.3)
    p50, p99 = seen["lines"]
    assert p50["path"].count("M") == 2, "no line is drawn where nothing was answered"
    assert [mark["label"] for mark in seen["scale"]] == ["0 ms", "10 ms", "20 ms"]
    assert p99["name"] == "p99"


def test_a_release_that_did_nothing_yet_can_be_drawn() -> None:
    assert chart(report())["rows"][0]["bars"] == []


def test_scripts_and_backfills_have_a_row_each() -> None:
    script = {"script": "expand/1.sql", "state": "applied", "started_at": at(0), "finished_at": at(2), "seconds": 2.0}
    broken = {**script, "script": "expand/2.sql", "state": "failed"}
    fill = {"version": "3", "state": "finished", "started_at": at(3), "finished_at": at(9), "seconds": 6.0}
    phase = span(0, 9, name="expand", state="expanded")
    rows = {row["label"]: row for row in chart(report(phases=[phase], scripts=[script, broken], backfills=[fill]))["rows"]}
    assert [bar["kind"] for bar in rows["scripts"]["bars"]] == ["applied", "failed"]
    assert rows["scripts"]["bars"][1]["title"] == "expand/2.sql: failed in 2 s"
    assert [bar["kind"] for bar in rows["backfills"]["bars"]] == ["applied"]


def test_the_figures() -> None:
    host = {"host": "web1", "state": "ready", "steps": []}
    told = report(
        hosts=[host, {**host, "host": "web2", "state": "failed"}],
        phases=[span(0, 60, name="rolling upgrade", state="failed"), span(100, 120, name="rolling upgrade", state="rolled")],
    )
    assert {figure["label"]: figure["value"] for figure in figures(told)} == {
        "hosts ready": "1 of 2",
        "scripts applied": "0",
        "rolling upgrade": "1 min 20 s",
        "downtime": "not measured",
    }
    probed = {figure["label"]: figure["value"] for figure in figures({**told, "probes": [probe([]), probe([])]})}
    assert (probed["requests failed, as probed"], probed["downtime, as probed"]) == ("2 of 60", "3 s")
