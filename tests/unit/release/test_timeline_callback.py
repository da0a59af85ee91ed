"""The timeline as Ansible calls it: lines, a table that stays below what others print, and a file of events."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from types import SimpleNamespace

import pytest
from ansible_collections.everup.deploy.plugins.callback import timeline

PLAN = {"batches": [{"group": "web", "number": 1, "hosts": ["web1"]}, {"group": "web", "number": 2, "hosts": ["web2"]}]}


class Display:
    """Where Ansible prints."""

    verbosity = 0

    def __init__(self):
        self.warnings = []

    def display(self, msg, *args, **kwargs):
        print(msg)

    def warning(self, msg, *args, **kwargs):
        self.warnings.append(msg)


class Terminal(io.StringIO):
    """A standard output that says that it is a terminal."""

    def isatty(self):
        return True


def screen(text: str) -> list[str]:
    """Return the lines that a terminal shows in the end: of its controls the plug-in uses two, and colours."""
    lines: list[str] = [""]
    for piece in re.split(r"(\x1b\[\d*[FJm]|\n)", text):
        up = re.fullmatch(r"\x1b\[(\d+)F", piece)
        if up:
            del lines[len(lines) - 1 - int(up.group(1)) :]
            lines.append("")
        elif piece == "\n":
            lines.append("")
        elif not piece.startswith("\x1b"):
            lines[-1] += piece
    return lines


@pytest.fixture
def callback(monkeypatch, tmp_path):
    """Make the plug-in with its options, on a standard output that is a terminal or not."""

    def make(terminal: bool = False, environment: dict | None = None, **options):
        out = Terminal() if terminal else io.StringIO()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("LINES", "24")
        for name in [name for name in os.environ if name.startswith(timeline._UNATTENDED_BEGINNINGS)]:
            monkeypatch.delenv(name)
        for name in timeline._UNATTENDED:
            monkeypatch.delenv(name, raising=False)
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        options = {"mode": "auto", "file": None, **options}
        made = timeline.CallbackModule(display=Display())
        monkeypatch.setattr(made, "get_option", options.get)
        monkeypatch.setattr(timeline.CallbackBase, "set_options", lambda self, **_given: None)
        made.set_options()
        return made, out

    return make


def result(host: str, action: str, found: dict):
    task = SimpleNamespace(action=action, ignore_unreachable=False)
    return SimpleNamespace(_host=SimpleNamespace(get_name=lambda: host), _task=task, _result=found)


def planned(made, fact: str = "rolling_upgrade_plan", plan: dict = PLAN):
    made.v2_runner_on_ok(result("localhost", "ansible.builtin.set_fact", {"ansible_facts": {fact: plan}}))


def moved(made, host: str, state: str, reason=None):
    row = {"host": host, "state": state, "reason": reason}
    made.v2_runner_on_ok(result(host, "everup.deploy.release_member", {"member": row}))


def test_lines_where_there_is_no_terminal(callback):
    made, out = callback()
    planned(made)
    for state in ("draining", "draining", "ready"):
        moved(made, "web1", state)
    moved(made, "web2", "rolled_back", "Check its health: 503")
    made.v2_playbook_on_stats(None)
    assert out.getvalue().splitlines() == [
        "timeline: web1 (batch 1) is draining",
        "timeline: web1 (batch 1) is ready",
        "timeline: web2 (batch 2) is rolled_back: Check its health: 503",
        "web [" + "█" * 20 + "·" * 20 + "] 1/2 ready, 1 went back",
    ]


def test_the_table_stays_below_what_others_print(callback):
    made, out = callback(terminal=True)
    planned(made)
    made._display.display("TASK [Drain web1]")
    moved(made, "web1", "draining")
    task = SimpleNamespace(get_name=lambda: "everup.deploy.rolling_upgrade : Drain web1 from pool shop")
    made.v2_runner_on_start(SimpleNamespace(get_name=lambda: "web1"), task)
    made._display.display("ok: [web1]")
    shown = screen(out.getvalue())
    assert shown[:2] == ["TASK [Drain web1]", "ok: [web1]"]
    assert shown[2].startswith("web [")
    assert shown[3].split()[:3] == ["web1", "1", "draining"]
    assert shown[3].endswith("Drain web1 from pool shop")
    assert shown[4:] == ["web2    2  waiting", ""]
    moved(made, "web1", "ready")
    made.v2_playbook_on_stats(None)
    assert screen(out.getvalue())[2:] == ["web [" + "█" * 20 + "·" * 20 + "] 1/2 ready", ""]


@pytest.mark.parametrize(
    ("environment", "is_live"),
    [
        ({}, True),
        ({"CI": "true"}, False),
        ({"CI": "false"}, True),
        ({"JOB_ID": "17"}, False),
        ({"AWX_HOST": "https://awx.example.com"}, False),
        ({"RUNNER_OMIT_EVENTS": "False"}, False),
    ],
)
def test_a_terminal_that_nobody_looks_at_gets_lines(callback, environment, is_live):
    made, out = callback(terminal=True, environment=environment)
    planned(made)
    moved(made, "web1", "draining")
    assert ("timeline: web1 (batch 1) is draining" not in out.getvalue()) is is_live


def test_a_rollback_is_shown_by_its_own_plan(callback):
    made, out = callback()
    planned(made, "rollback_plan")
    moved(made, "web2", "draining")
    assert out.getvalue() == "timeline: web2 (batch 2) is draining\n"


def test_hosts_that_go_back_in_the_same_run_stay_where_they_were_shown(callback):
    made, out = callback()
    planned(made)
    planned(made, "rollback_plan", {"batches": [{"group": "web", "number": 1, "hosts": ["web2"]}]})
    moved(made, "web1", "failed")
    moved(made, "web2", "rolled_back")
    assert [line.split(" is ")[0] for line in out.getvalue().splitlines()] == [
        "timeline: web1 (batch 1)",
        "timeline: web2 (batch 2)",
    ]


def test_a_worker_prints_without_the_table(callback, monkeypatch):
    made, out = callback(terminal=True)
    planned(made)
    before = out.getvalue()
    monkeypatch.setattr(timeline.os, "getpid", lambda: -1)
    made._display.display("a warning")
    assert out.getvalue() == before + "a warning\n"


@pytest.mark.parametrize("mode", ["plain", "live"])
def test_the_mode_can_be_said(callback, mode):
    made, out = callback(terminal=mode == "plain", mode=mode)
    planned(made)
    moved(made, "web1", "draining")
    assert ("timeline: web1" in out.getvalue()) is (mode == "plain")


def test_every_change_is_in_the_file_at_once(callback, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"of": "an earlier run"}\n')
    made, _out = callback(file=str(path))
    planned(made)
    moved(made, "web1", "draining")
    made.v2_runner_on_unreachable(result("web1", "everup.deploy.lb_member", {"msg": "no route to host\n"}))
    events = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("at")) for event in events)
    where = {"host": "web1", "group": "web", "batch": 1}
    assert events == [
        {"batches": PLAN["batches"]},
        {**where, "state": "draining", "reason": ""},
        {**where, "state": "unreachable", "reason": "no route to host"},
    ]


class Cut(Terminal):
    """A standard output whose reader goes away, as ``| head`` does."""

    is_cut = False
    tries = 0

    def write(self, text):
        if self.is_cut:
            self.tries += 1
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return super().write(text)


@pytest.mark.parametrize("mode", ["plain", "live"])
def test_an_output_that_nobody_reads_any_more_ends_nothing(callback, monkeypatch, tmp_path, mode):
    made, _out = callback(mode=mode, file=str(tmp_path / "events.jsonl"))
    cut = Cut()
    monkeypatch.setattr(sys, "stdout", cut)
    planned(made)
    cut.is_cut = True
    printed = []
    if mode == "live":
        monkeypatch.setattr(made, "_print", printed.append)
        made._display.display("TASK [Drain web1]")
    for state in ("draining", "drained", "ready"):
        moved(made, "web1", state)
    made.v2_playbook_on_stats(None)
    assert cut.tries == 1
    assert printed == (["TASK [Drain web1]"] if mode == "live" else [])
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 4


def test_a_file_on_a_full_disk_is_told_once_and_the_lines_go_on(callback):
    made, out = callback(file="/dev/full")
    planned(made)
    moved(made, "web1", "draining")
    moved(made, "web1", "ready")
    made.v2_playbook_on_stats(None)
    assert [line for line in out.getvalue().splitlines() if line.startswith("timeline")] == [
        "timeline: web1 (batch 1) is draining",
        "timeline: web1 (batch 1) is ready",
    ]
    (said,) = made._display.warnings
    assert re.search(r"/dev/full .*EVERUP_TIMELINE_FILE\) cannot be written: No space left on device", said)


def test_a_file_that_cannot_be_opened_is_named_with_its_setting(callback, tmp_path):
    made, out = callback(file=str(tmp_path))
    planned(made)
    moved(made, "web1", "draining")
    assert out.getvalue() == "timeline: web1 (batch 1) is draining\n"
    (said,) = made._display.warnings
    assert f"{tmp_path} ('file' of [callback_timeline], or EVERUP_TIMELINE_FILE) cannot be written: Is a directory" in said


def test_facts_of_another_shape_end_nothing(callback):
    made, _out = callback()
    for _number in range(2):
        planned(made, plan={"batches": [{"hosts": ["web1"]}]})
    made.v2_runner_on_ok(result("web1", "everup.deploy.release_member", {"member": {}}))
    (said,) = made._display.warnings
    assert said.startswith("timeline: v2_runner_on_ok failed (KeyError: 'group')")


def test_a_host_that_may_be_unreachable_is_not_told(callback):
    made, out = callback()
    planned(made)
    lost = result("web1", "everup.deploy.lb_member", {"msg": "x"})
    lost._task.ignore_unreachable = True
    made.v2_runner_on_unreachable(lost)
    assert out.getvalue() == ""


def test_a_playbook_without_a_roll_out_is_left_alone(callback):
    made, out = callback(terminal=True)
    made._display.display("PLAY [Other]")
    moved(made, "web1", "ready")
    made.v2_playbook_on_stats(None)
    assert out.getvalue() == "PLAY [Other]\n"
