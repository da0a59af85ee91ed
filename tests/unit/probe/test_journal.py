"""What is read out of a journal: of a run that goes on, has ended, was killed, or whose disk was full."""

import json

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._moments import unix
from ansible_collections.everup.deploy.plugins.module_utils._probe import journal, probe
from ansible_collections.everup.deploy.plugins.modules.availability_probe import ARGUMENT_SPEC

BEGAN = unix("2026-11-20T10:00:00.000Z")
SETTINGS = {"targets": ["http://shop/", "POST http://shop/orders"], "writes": 1, "rate": 10, "write_rate": 1}
FIRST = {"started": BEGAN, "run": "r1", "timeout": 2, "status": [], "settings": SETTINGS}
DEFAULTS = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}


def lines(*rest) -> list[str]:
    return ["", *(json.dumps(line) for line in (FIRST, *rest))]


def asked(at: float, *answers, **more) -> dict:
    return {"at": at, "asked": [list(answer) for answer in answers], **more}


def test_a_whole_run():
    seen = journal.read(
        lines(
            asked(1.0, (0, 0.0, 5.0), (0, 0.1, None, "HTTP 500"), (1, 0.5, 9.0)),
            asked(2.0, (0, 1.1, 7.0), missed=3),
            {"end": "stopped", "at": 2.5},
        )
    )
    report = journal.report(seen, False, [("2026-11-20T10:00:01.000Z", None)])
    assert (report["requests"], report["failed"], report["missed"], report["downtime_ms"], report["end"]) == (
        4,
        1,
        3,
        1000,
        "stopped",
    )
    assert (report["started_at"], report["ended_at"]) == ("2026-11-20T10:00:00.000Z", "2026-11-20T10:00:02.500Z")
    assert report["down"] == [[0.1, 1.1]]
    assert {name: phase["requests"] for name, phase in report["latency"].items()} == {"before": 3, "during": 1, "after": 0}
    # The write alone would make a gap of 2 s.
    assert report["longest_gap_ms"] == 1393
    assert "has not come within 2 s" in report["definition"]
    assert "not from 200 to 399" in report["definition"]
    assert "buckets" not in journal.report(seen, False, [], detailed=False)


@pytest.mark.parametrize("torn", ['{"at": 3, "asked": [[0, 2.0, 5', "7", "\x00\x00", ""])
def test_a_line_that_is_not_whole_is_left_out(torn):
    whole = lines(asked(1.0, (0, 0.0, 5.0)))
    seen = journal.read([*whole, torn, json.dumps(asked(4.0, (0, 3.0, 5.0)))])
    report = journal.report(seen, False, [])
    assert (report["requests"], report["end"], report["ended_at"]) == (2, "died", "2026-11-20T10:00:04.000Z")


@pytest.mark.parametrize("nothing", [[], [""], ['{"started": 1'], ['{"at": 1, "asked": []}']])
def test_a_journal_without_its_beginning_says_nothing(nothing):
    assert journal.read(nothing) is None


def test_a_run_ends_when_it_was_ended_not_when_its_last_answer_came():
    seen = journal.read(lines(asked(9.0, (0, 1.0, None, "x")), {"end": "stopped", "at": 7.0}))
    assert (seen.at, seen.end) == (7.0, "stopped")
    late = journal.read(lines(asked(9.0), asked(8.0)))
    assert late.at == 9.0


def test_the_phases_end_where_the_windows_do():
    seen = journal.read(lines(asked(9.0, (0, 1.0, 5.0), (0, 4.0, 5.0), (0, 8.0, 5.0))))
    report = journal.report(seen, False, [("2026-11-20T10:00:02.000Z", "2026-11-20T10:00:05.000Z")])
    assert [report["latency"][name]["requests"] for name in ("before", "during", "after")] == [1, 1, 1]


def test_what_is_told_of_the_statuses_and_of_intervals_that_were_joined(monkeypatch):
    seen = journal.read(lines(asked(9.0, (0, 1.0, None, "x"), (0, 2.0, 5.0), (0, 3.0, None, "x"), (0, 4.0, 5.0))))
    seen.status = [200, 204]
    whole = journal.report(seen, False, [])
    assert "the status is not in 200, 204" in whole["definition"]
    assert (whole["down"], whole["down_is_joined"]) == ([[1.0, 2.0], [3.0, 4.0]], False)
    monkeypatch.setattr(journal, "fewest", lambda intervals: [(intervals[0][0], intervals[-1][1])])
    joined = journal.report(seen, False, [])
    assert (joined["down"], joined["down_is_joined"], joined["downtime_ms"]) == ([[1.0, 4.0]], True, 2000)


def test_what_is_down_at_the_end_is_down_until_then():
    seen = journal.read(lines(asked(5.0, (0, 1.0, 5.0), (0, 1.1, None, "Connection refused"))))
    report = journal.report(seen, True, [])
    assert (report["down"], report["end"]) == ([[1.1, 5.0]], "running")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://shop/", "http://shop/"),
        ("https://ann:pw@shop:8443/a/b?token=x#y", "https://shop:8443/a/b"),
        ("http://[::1]:80/", "http://[::1]:80/"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url, expected):
    assert probe.shown(url) == expected


@pytest.mark.parametrize(
    "url",
    ["shop", "ftp://shop/", "http://", "http://shop:x/", "http://a b/", "http://shöp/", "http://ann@shop/", "http://sh\x01op/"],
)
def test_what_cannot_be_asked(url):
    with pytest.raises(EverupError, match="cannot be asked"):
        probe.check_url(url)


def test_a_plan_bears_as_many_at_once_as_may_take_their_time():
    write = {"url": "http://shop/orders", "method": "PUT", "body": "x", "headers": {"A": "b"}, "rate": 2}
    urls = ["http://shop/", "http://shop/a?b=c"]
    plan = probe.plan({**DEFAULTS, "urls": urls, "write": write, "secret_headers": {"Authorization": "s3cret"}})
    assert plan["max_in_flight"] == 10 * 2 * 2 + 2 * 2 + 8
    assert plan["settings"]["targets"] == ["http://shop/", "http://shop/a", "PUT http://shop/orders"]
    assert "s3cret" not in json.dumps(plan["settings"])
    assert plan["targets"][2]["headers"] == {"Authorization": "s3cret", "A": "b"}
    assert probe.plan({**DEFAULTS, "urls": urls, "rate": 10, "timeout": 30})["max_in_flight"] == 512


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("timeout", 1e12, "no user waits for longer"),
        ("max_in_flight", -1, "with less than 1"),
        ("headers", {"a b": "x"}, "The header 'a b' cannot be sent"),
        ("headers", {"X": "€"}, "The header 'X' cannot be sent"),
        ("secret_headers", {"Authorization": "s3cret\r\nX: y"}, "The header 'Authorization' cannot be sent"),
    ],
)
def test_what_would_count_as_downtime_without_being_any_is_refused(option, value, said):
    with pytest.raises(EverupError, match=said) as refused:
        probe.plan({**DEFAULTS, "urls": ["http://shop/"], option: value})
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("state", ["started", "stopped", "reported"])
def test_a_folder_that_is_none_is_told(tmp_path, state):
    (tmp_path / "file").write_text("")
    given = {**DEFAULTS, "name": "shop", "folder": str(tmp_path / "file"), "urls": ["http://127.0.0.1:1/"], "state": state}
    with pytest.raises(EverupError, match="file/shop cannot be used: Not a directory"):
        probe.run_probe(given, False)
