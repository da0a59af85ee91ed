"""A real server is stopped, slow or failing for a known time, and the probe says for how long."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from threading import Thread

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._moments import unix
from ansible_collections.everup.deploy.plugins.module_utils._probe.probe import plan, run_probe
from ansible_collections.everup.deploy.plugins.module_utils._probe.prober import Prober
from ansible_collections.everup.deploy.plugins.module_utils._release.process import identity
from ansible_collections.everup.deploy.plugins.modules.availability_probe import ARGUMENT_SPEC
from ansible_collections.everup.deploy.tests.support.http_server import Site
from ansible_collections.everup.deploy.tests.support.modules import run_module

from lab.scene import wait_until

MODULE = "everup.deploy.availability_probe"
DEFAULTS = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
# What a busy machine may take longer than it should, in ms.
SLACK_MS = 900


@pytest.fixture
def site():
    with Site() as running:
        yield running


@pytest.fixture
def probe(tmp_path, site):
    """Run the module for one probe; whatever it has started is ended."""

    def run(state: str, *, check: bool = False, **options) -> dict:
        given = {**DEFAULTS, "name": "shop", "folder": str(tmp_path), "timeout": 1, "rate": 20, "state": state, **options}
        if state == "started" and not given["urls"]:
            given["urls"] = [site.url]
        return run_probe(given, check)

    yield run
    run("stopped", timeout=1)


def pid(tmp_path: Path) -> int:
    return json.loads((tmp_path / "shop" / "prober.json").read_text())["process"]["pid"]


def is_alive(number: int) -> bool:
    return identity(number)["start"] is not None


def test_nothing_fails_where_nothing_is_wrong(probe, site):
    assert probe("started")["changed"]
    time.sleep(2)
    done = probe("stopped")
    report = done["report"]
    assert (done["changed"], done["running"], report["end"]) == (True, False, "stopped")
    assert (report["failed"], report["downtime_ms"], report["down"], report["reasons"]) == (0, 0, [], {})
    # What the machine could not ask in time is told, not failed.
    assert 30 <= report["requests"] + report["missed"] <= 120
    assert report["longest_gap_ms"] < SLACK_MS
    assert sum(bucket[1] for bucket in report["buckets"]) == report["requests"] == len(site.asked) - 1
    assert report["latency"]["before"]["p50_ms"] < SLACK_MS
    assert report["targets"] == [site.url]


@pytest.mark.parametrize("how", ["stopped", "failing", "hanging"])
def test_downtime_is_as_long_as_it_was(probe, site, how):
    probe("started")
    time.sleep(1)
    off = time.time()
    if how == "stopped":
        site.stop()
        time.sleep(1.5)
        site.start()
    elif how == "failing":
        site.status = 503
        time.sleep(1.5)
        site.status = 200
    else:
        site.delay = 3
        time.sleep(1.5)
        site.delay = 0
    on = time.time()
    time.sleep(1)
    report = probe("stopped")["report"]
    lasted_ms = (on - off) * 1000
    assert lasted_ms - 150 <= report["downtime_ms"] <= lasted_ms + SLACK_MS
    assert report["failed"] >= 20
    said = {"stopped": "Connection refused", "failing": "HTTP 503", "hanging": "no answer within 1 s"}[how]
    assert max(report["reasons"], key=report["reasons"].get) == said
    start, end = max(report["down"], key=lambda interval: interval[1] - interval[0])
    began = unix(report["started_at"])
    assert abs(began + start - off) * 1000 < SLACK_MS
    assert abs(began + end - on) * 1000 < SLACK_MS
    assert report["longest_gap_ms"] >= 1400


def test_slow_answers_delay_no_other_and_their_wait_is_told(probe, site):
    probe("started", timeout=3)
    time.sleep(0.5)
    site.delay = 1.5
    time.sleep(1.5)
    site.delay = 0
    time.sleep(2.5)
    report = probe("stopped", timeout=3)["report"]
    assert report["failed"] == 0
    assert report["requests"] + report["missed"] >= 20 * 3.5
    assert report["latency"]["before"]["max_ms"] >= 1500
    # A prober that waited for each answer would have seen one slow one.
    slow = [bucket for bucket in report["buckets"] if bucket[3] and bucket[3] >= 1500]
    assert slow
    assert slow[0][1] >= 5


def test_what_cannot_be_begun_has_failed(probe, site):
    site.delay = 2
    probe("started", timeout=1.5, max_in_flight=2, rate=20)
    time.sleep(1.5)
    report = probe("stopped", timeout=1.5)["report"]
    assert report["reasons"]["not begun: 2 requests were under way"] >= 5
    assert len(site.asked) <= 7


def test_a_prober_that_gets_no_time_counts_from_when_a_request_was_due(site, tmp_path):
    """Late is late for whoever waits; what it slept through nobody asked."""
    settings = plan({**DEFAULTS, "urls": [site.url], "timeout": 1})
    prober = Prober(str(tmp_path), settings)
    prober._clock = time.monotonic() - 10
    prober._begin(0, prober._now() - 0.7)
    prober._begin(0, prober._now() - 5)
    wait_until(lambda: prober._results, "it was answered")
    ((_target, due, ms),) = prober._results
    assert 700 <= ms < 700 + SLACK_MS
    assert abs(due - 9.3) < 0.1
    assert prober._missed == 1


def test_what_its_system_gives_no_thread_for_is_missed_and_not_the_applications_fault(site, tmp_path, monkeypatch):
    prober = Prober(str(tmp_path), plan({**DEFAULTS, "urls": [site.url], "timeout": 1}))
    prober._clock = time.monotonic()

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", refuse)
        prober._begin(0, prober._now())
    assert (prober._missed, prober._results, prober._under_way) == (1, [], set())
    prober._begin(0, prober._now())
    wait_until(lambda: prober._results, "it was answered once there are threads again")
    assert (prober._missed, len(site.asked)) == (1, 1)


def test_two_starts_are_one(probe, site, tmp_path):
    first = probe("started")
    number = pid(tmp_path)
    second = probe("started")
    assert (first["changed"], second["changed"], second["run"]) == (True, False, first["run"])
    assert pid(tmp_path) == number
    other = probe("started", rate=5)
    assert not other["changed"]
    assert "other settings" in other["warnings"][0]
    assert probe("stopped")["changed"]
    assert not is_alive(number)
    again = probe("stopped")
    assert (again["changed"], again["report"]["run"]) == (False, first["run"])
    assert probe("started")["run"] != first["run"]


def test_a_report_ends_nothing(probe, tmp_path):
    probe("started")
    wait_until(lambda: (probe("reported")["report"] or {}).get("requests"), "there is something to report")
    seen = probe("reported", detail=False)
    assert (seen["changed"], seen["running"], seen["report"]["end"]) == (False, True, "running")
    assert "buckets" not in seen["report"]
    assert is_alive(pid(tmp_path))


def test_check_mode_starts_and_ends_nothing(probe, tmp_path):
    assert probe("started", check=True)["changed"]
    assert not (tmp_path / "shop").exists()
    probe("started")
    assert not probe("started", check=True)["changed"]
    foreseen = probe("stopped", check=True)
    assert (foreseen["changed"], foreseen["running"]) == (True, True)
    assert is_alive(pid(tmp_path))


def test_a_process_of_another_time_is_not_the_prober(probe, tmp_path):
    """Its number may belong to another by now, which must not be ended for it."""
    probe("started")
    number = pid(tmp_path)
    file = tmp_path / "shop" / "prober.json"
    told = json.loads(file.read_text())
    told["process"]["start"] -= 1
    file.write_text(json.dumps(told))
    assert not probe("reported")["running"]
    assert not probe("stopped")["changed"]
    assert is_alive(number)
    os.kill(number, signal.SIGTERM)


def test_a_prober_that_was_killed_leaves_what_it_has_seen(probe, tmp_path):
    probe("started")
    wait_until(lambda: (probe("reported")["report"] or {}).get("requests"), "there is something to report")
    os.kill(pid(tmp_path), signal.SIGKILL)
    wait_until(lambda: not probe("reported")["running"], "the prober is gone")
    journal = tmp_path / "shop" / "journal.jsonl"
    journal.write_text(journal.read_text() + '{"at": 99, "asked": [[0, 9')
    done = probe("stopped")
    assert (done["changed"], done["report"]["end"]) == (False, "died")
    assert done["report"]["requests"] > 0
    assert done["report"]["failed"] == 0


def test_a_prober_that_is_halted_is_silent(probe, tmp_path):
    """Its process is there, and what it has written shows no downtime."""
    probe("started")
    wait_until(lambda: (probe("reported")["report"] or {}).get("requests"), "there is something to report")
    number = pid(tmp_path)
    os.kill(number, signal.SIGSTOP)
    try:
        wait_until(lambda: probe("reported")["silent_s"] > 3, "its silence is told")
        assert probe("reported")["running"]
    finally:
        os.kill(number, signal.SIGCONT)
    wait_until(lambda: probe("reported")["silent_s"] < 3, "it goes on")
    assert probe("stopped")["silent_s"] is None


def test_it_ends_by_itself(probe, tmp_path):
    probe("started", max_duration=1)
    number = pid(tmp_path)
    wait_until(lambda: not is_alive(number), "its time is over")
    assert probe("reported")["report"]["end"] == "max_duration"


def test_it_ends_when_its_folder_is_gone(probe, tmp_path):
    probe("started")
    number = pid(tmp_path)
    shutil.rmtree(tmp_path / "shop")
    wait_until(lambda: not is_alive(number), "its folder is gone")
    nothing = probe("stopped")
    assert (nothing["changed"], nothing["run"], nothing["report"]) == (False, None, None)


def test_a_write_is_sent_and_secrets_are_nowhere(probe, site, tmp_path):
    secret, url = "s3cret-t0ken", f"{site.url}find?key=s3cret-key"
    write = {"url": f"{site.url}orders", "body": '{"probe": true}', "headers": {"Content-Type": "application/json"}, "rate": 10}
    options = {"urls": [url], "write": write, "secret_headers": {"Authorization": f"Bearer {secret}"}, "timeout": 1}
    started = run_module(MODULE, {"state": "started", "name": "shop", "folder": str(tmp_path), **options})
    wait_until(lambda: any(method == "POST" for method, *_rest in site.asked), "something was written")
    number = pid(tmp_path)
    environment = Path(f"/proc/{number}/environ").read_bytes() + Path(f"/proc/{number}/cmdline").read_bytes()
    wait_until(lambda: len((probe("reported")["report"] or {}).get("buckets", [])) > 1, "there is something to report")
    done = probe("stopped")
    _method, path, sent, body = next(one for one in site.asked if one[0] == "POST")
    assert (path, sent["Authorization"], sent["Content-Type"], body) == (
        "/orders",
        f"Bearer {secret}",
        "application/json",
        b'{"probe": true}',
    )
    assert next(one[1] for one in site.asked if one[0] == "GET") == "/find?key=s3cret-key"
    assert done["report"]["targets"] == [f"{site.url}find", f"POST {site.url}orders"]
    files = "".join(file.read_text() for file in (tmp_path / "shop").iterdir())
    results = json.dumps([{name: value for name, value in one.items() if name != "invocation"} for one in (started, done)])
    assert "s3cret" not in files + results + environment.decode()
    assert secret not in json.dumps([started, done])
    assert {file.stat().st_mode & 0o077 for file in (tmp_path / "shop").glob("*.json*")} == {0}


def test_what_does_not_answer_before_anything_has_begun_is_told(probe, site):
    site.status = 500
    warned = probe("started")
    assert "does not answer well before anything has begun (HTTP 500)" in warned["warnings"][0]
    assert warned["unanswered"] == [{"url": site.url, "reason": "HTTP 500"}]
    assert probe("started")["unanswered"] == []


def test_check_mode_asks_each_page_once_and_measures_nothing(probe, site, tmp_path):
    site.status = 404
    foreseen = probe("started", check=True)
    assert (foreseen["changed"], foreseen["unanswered"]) == (True, [{"url": site.url, "reason": "HTTP 404"}])
    assert len(site.asked) == 1
    assert not (tmp_path / "shop").exists()


def test_a_folder_of_others_is_refused(probe, tmp_path):
    (tmp_path / "shop").mkdir(mode=0o755)
    with pytest.raises(EverupError, match="is not private"):
        probe("started")
    (tmp_path / "shop").chmod(0o700)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"urls": ["ftp://shop"]}, "'ftp://shop' cannot be asked"),
        ({"urls": ["http://ann:pw@shop/?a=b"]}, "'http://shop/' cannot be asked"),
        ({"urls": ["http:///path"]}, "cannot be asked"),
        ({"rate": 0}, "rate is 0: it must be more than 0"),
        ({"rate": 1000, "max_duration": 3600}, "more than the 2,000,000"),
        ({"name": "../up"}, "name is '../up'"),
        ({"during": [{"from": "yesterday"}]}, "during has 'yesterday'"),
    ],
)
def test_what_cannot_be_is_refused(probe, tmp_path, options, said):
    with pytest.raises(EverupError, match=re.escape(said)):
        probe("started", **{"urls": ["http://127.0.0.1:1/"], **options})
    assert not (tmp_path / "shop" / "prober.json").exists()
