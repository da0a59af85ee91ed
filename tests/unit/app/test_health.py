# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When a wait for health ends and what its error says, by a clock that only the looks and the pauses move."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._app.health import Response, watch
from ansible_collections.everup.deploy.plugins.module_utils._app.probe import parse_address
from ansible_collections.everup.deploy.plugins.module_utils._app.warm_up import targets, warm_up, warnings
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from hypothesis import given
from hypothesis import strategies as st

URL = "http://127.0.0.1:8080/health"
DEFAULTS = {
    "url": None,
    "tcp": None,
    "command": None,
    "status": [200],
    "condition": None,
    "version": None,
    "version_path": "version",
    "max_latency": None,
    "consecutive": 1,
    "interval": 1.0,
    "timeout": 10.0,
    "request_timeout": 5.0,
    "_progress": None,
}


class Clock:
    """A time that goes on when something is waited for."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def wait(looks, **params):
    """Watch an application whose looks are (seconds, response), the last of them for ever; return the result."""
    clock, made = Clock(), []

    def ask(timeout):
        seconds, response = looks[min(len(made), len(looks) - 1)]
        made.append(seconds)
        clock.now += min(seconds, timeout)
        return response if seconds <= timeout else Response(None, "", "cut short")

    return watch({**DEFAULTS, **params}, ask, clock, clock.sleep)


GOOD = Response(200, "{}")


def test_a_slow_answer_is_not_good():
    found = wait([(0.9, GOOD), (0.2, GOOD), (0.6, GOOD), (0.3, GOOD), (0.3, GOOD)], url=URL, max_latency=0.5, consecutive=2)
    assert (found["polls"], found["latency"]) == (5, 0.3)


def test_an_application_that_stays_slow_is_named_with_how_slow():
    with pytest.raises(EverupError) as caught:
        wait([(0.9, GOOD)], url=URL, max_latency=0.5)
    assert "status 200 within 0.5 s was waited for" in str(caught.value)
    assert "status 200; it took 0.90 s, and max_latency is 0.5 s" in str(caught.value)


@given(st.lists(st.floats(0.01, 2), min_size=1, max_size=30), st.floats(0.05, 1.5), st.integers(1, 4))
def test_a_wait_ends_well_only_after_enough_answers_in_time(seconds, bound, consecutive):
    looks = [(each, GOOD) for each in seconds]
    try:
        found = wait(looks, url=URL, max_latency=bound, consecutive=consecutive, timeout=60.0)
    except EverupError:
        return
    last = [seconds[min(number, len(seconds) - 1)] for number in range(found["polls"])][-consecutive:]
    # The clock adds up floats.
    assert all(each <= bound + 1e-9 for each in last)


@pytest.mark.parametrize(
    ("params", "looks", "found"),
    [
        ({"tcp": "127.0.0.1:80"}, [Response(None, "", "refused"), Response(None, "")], {"status": None, "polls": 2}),
        ({"command": ["true"]}, [Response(3, "no"), Response(0, "yes")], {"rc": 0, "body": "yes", "polls": 2}),
    ],
)
def test_ports_and_commands(params, looks, found):
    assert wait([(0.1, look) for look in looks], **params).items() >= found.items()


@pytest.mark.parametrize(
    ("params", "look", "named"),
    [
        (
            {"tcp": "h:80"},
            Response(None, "", "refused"),
            "h:80 was not healthy within 10 s (10 connections, 9.1 s): a connection was",
        ),
        ({"tcp": "h:80"}, Response(None, "", "refused"), "The last connection failed: refused."),
        ({"command": ["is", "it"]}, Response(3, "no\n"), "The command 'is it' was not healthy"),
        (
            {"command": ["is", "it"]},
            Response(3, "no\n"),
            "exit code 0 was waited for. The last run ended with exit code 3, and its output",
        ),
        ({"command": ["is", "it"]}, Response(3, ""), "exit code 3, without any output."),
        ({"command": ["is", "it"]}, Response(None, "", "no such file"), "The last run failed: no such file."),
        ({"url": URL, "version": "2"}, Response(503, ""), "status 200 and 2 at version was waited for"),
    ],
)
def test_a_time_out_names_what_was_looked_at(params, look, named):
    with pytest.raises(EverupError) as caught:
        wait([(0.1, look)], **params)
    assert named in str(caught.value)


@pytest.mark.parametrize("option", [{"condition": "a"}, {"version": "2"}])
def test_only_a_url_has_a_body_to_judge(option):
    with pytest.raises(EverupError, match="can only be asked of a url"):
        wait([(0.1, GOOD)], tcp="h:80", **option)


@pytest.mark.parametrize(
    ("text", "address"),
    [("db:5432", ("db", 5432)), ("127.0.0.1:1", ("127.0.0.1", 1)), ("[::1]:8080", ("::1", 8080))],
)
def test_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "db", ":80", "db:", "db:0", "db:65536", "::1:80", "db:http", "http://db:80", "db:٣"])
def test_what_is_no_address_is_named(text):
    with pytest.raises(EverupError) as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)


def test_pages_are_seen_from_the_url_and_only_those_of_the_same_origin_are_ours():
    pages = ["/", "catalog?q=1", "http://127.0.0.1:8080/x", "http://127.0.0.1:8081/x", "https://127.0.0.1:8080/x", "//other/x"]
    assert targets(pages, URL) == [
        ("http://127.0.0.1:8080/", True),
        ("http://127.0.0.1:8080/catalog?q=1", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://127.0.0.1:8081/x", False),
        ("https://127.0.0.1:8080/x", False),
        ("http://other/x", False),
    ]
    assert targets(["http://h/x"], None) == [("http://h/x", False)]
    with pytest.raises(EverupError, match="'/x'; it must be an http:// or https:// address, since without url"):
        targets(["/x"], None)
    with pytest.raises(EverupError, match="'ftp://h/x'"):
        targets(["ftp://h/x"], URL)


def warmed(count, response, seconds=0.1, pages=2, timeout=30.0):
    clock, asked = Clock(), []

    def ask(url, is_ours, limit):
        asked.append(url)
        clock.now += min(seconds, limit)
        return response(len(asked))

    params = {"warm_up_count": count, "warm_up_timeout": timeout, "request_timeout": 5.0}
    return warm_up([(f"http://h/{number}", True) for number in range(pages)], params, ask, clock), asked


def test_a_warm_up_counts_its_errors_and_judges_nothing():
    answers = {1: Response(None, "", "reset"), 4: Response(503, "")}
    found, asked = warmed(3, lambda number: answers.get(number, Response(302, "")))
    assert asked == ["http://h/0", "http://h/1"] * 3
    assert (found["requests"], found["errors"], found["skipped"]) == (6, 2, 0)
    assert found["last_error"] == "http://h/1: status 503"
    assert warnings(found) == ["2 of 6 warm-up requests failed, the last http://h/1: status 503."]
    assert warnings(warmed(1, lambda number: GOOD)[0]) == []


@given(st.integers(1, 20), st.integers(0, 5), st.floats(0.01, 9), st.floats(0.1, 20))
def test_a_warm_up_ends_in_time(count, pages, seconds, timeout):
    found, _asked = warmed(count, lambda number: GOOD, seconds, pages, timeout)
    assert found["elapsed"] <= timeout + 0.01
    assert found["requests"] + found["skipped"] == count * pages
    assert bool(found["skipped"]) == bool(warnings(found))
