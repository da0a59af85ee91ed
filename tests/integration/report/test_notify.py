# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Webhooks are told of each state that a run ends in; one that fails or hangs fails nothing, and no address is shown."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._probe.probe import run_probe
from ansible_collections.everup.deploy.tests.support.adhoc import isolated

from lab.shop import SHOP

SECRET = "T0KEN-in-the-address"


@pytest.fixture
def at_first_page():
    """What happens once a measurement has begun, so that a page is asked for: functions without arguments."""
    return []


@pytest.fixture
def hooks(at_first_page):
    """A server of webhooks: address, and the requests it got by path. What is posted to /refused gets a 500."""
    got: list[tuple[str, dict]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            while at_first_page:
                at_first_page.pop()()
            self.send_response(204)
            self.end_headers()

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append((self.path, body))
            self.send_response(500 if "refused" in self.path else 204)
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()


def play(playbook: str, folder: Path, *arguments: str, **variables) -> subprocess.CompletedProcess:
    settings = {
        "everup_database": {"login_db": str(folder / "shop.sqlite")},
        "everup_migrations": str(SHOP / "migrations" / "sqlite"),
        "release_version": "2.4.0",
        **variables,
    }
    playbook = playbook if playbook.endswith(".yml") else f"everup.deploy.{playbook}"
    command = [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-e", json.dumps(settings)]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=200, env=isolated(folder))


def test_every_state_is_told_and_nobody_else_is_stopped(tmp_path, hooks) -> None:
    address, got = hooks
    with socket.socket() as dead, socket.create_server(("127.0.0.1", 0)) as silent:
        dead.bind(("127.0.0.1", 0))
        webhooks = [
            {"url": f"http://127.0.0.1:{dead.getsockname()[1]}/{SECRET}"},
            {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}"},
            {"url": f"{address}/refused/{SECRET}"},
            {"url": f"{address}/{SECRET}", "format": "slack"},
        ]
        expanded = play("expand", tmp_path, "-vvv", notify_webhooks=webhooks, notify_timeout=1)
    assert expanded.returncode == 0, expanded.stdout[-4000:]
    told = [body["text"].splitlines()[0] for path, body in got if "refused" not in path]
    assert told == ["*Release 2.4.0 is open*", "*Release 2.4.0 is expanded*"]
    assert sum("refused" in path for path, _body in got) == 2
    for number in (1, 2, 3):
        assert expanded.stdout.count(f"webhook {number} of notify_webhooks was not told") == 2
    assert "webhook 4 of notify_webhooks was not told" not in expanded.stdout
    assert SECRET not in expanded.stdout + expanded.stderr


def test_a_failure_and_the_end_are_told_once(tmp_path, hooks) -> None:
    address, got = hooks
    webhooks = [{"url": f"{address}/{SECRET}"}]
    scripts = tmp_path / "migrations" / "expand"
    scripts.mkdir(parents=True)
    (scripts / "1_a.sql").write_text("CREATE TABLE a (b int);\nINSERT INTO nowhere VALUES (1)")
    broken = play("expand", tmp_path, notify_webhooks=webhooks, everup_migrations=str(scripts.parent))
    assert broken.returncode != 0
    assert [(body["state"], "nowhere" in str(body["reason"])) for _path, body in got] == [("open", False), ("failed", True)]
    got.clear()
    aborted = play("abort", tmp_path, notify_webhooks=webhooks)
    assert aborted.returncode == 0, aborted.stdout[-4000:]
    assert [body["state"] for _path, body in got] == ["aborted"]


def test_a_run_that_changes_nothing_tells_nothing_and_check_mode_neither(tmp_path, hooks) -> None:
    address, got = hooks
    webhooks = [{"url": f"{address}/{SECRET}"}]
    assert play("expand", tmp_path, "--check", notify_webhooks=webhooks).returncode == 0
    assert got == []
    assert play("expand", tmp_path).returncode == 0
    again = play("expand", tmp_path, notify_webhooks=webhooks)
    assert (again.returncode, got) == (0, []), again.stdout[-3000:]


def test_a_setting_that_is_wrong_fails_nothing(tmp_path) -> None:
    wrong = {"notify_webhooks": f"http://127.0.0.1:1/{SECRET}", "notify_timeout": "ten"}
    expanded = play("expand", tmp_path, "-vvv", **wrong)
    assert expanded.returncode == 0, expanded.stdout[-4000:]
    assert expanded.stdout.count("webhook 1 of notify_webhooks was not told") == 2
    assert "webhook 2" not in expanded.stdout
    assert SECRET not in expanded.stdout + expanded.stderr


@pytest.fixture
def measured(tmp_path, hooks):
    """Options of a run that is measured, and the probe, which is ended."""
    folder = {"name": "everup-2.4.0", "folder": str(tmp_path / "availability"), "timeout": 1.0, "during": [], "detail": True}
    address, _got = hooks
    options = {
        "availability_urls": [f"{address}/page"],
        "availability_folder": folder["folder"],
        "availability_name": folder["name"],
        "availability_after": 0,
        "availability_max_duration": 120,
    }

    def probe(state: str) -> dict:
        return run_probe({**folder, "state": state}, False)

    yield options, probe
    probe("stopped")


def test_why_a_run_ended_is_told_where_the_database_is_what_failed(tmp_path, hooks, measured, at_first_page) -> None:
    """It cannot be recorded; the measurement ends, and what it has seen is recorded by the next run."""
    (address, got), (options, probe) = hooks, measured
    database, away = tmp_path / "shop.sqlite", tmp_path / "away"

    def take_the_database_away() -> None:
        database.rename(away)
        database.mkdir()

    at_first_page.append(take_the_database_away)
    run = play("expand", tmp_path, notify_webhooks=[{"url": f"{address}/{SECRET}"}], **options)
    assert run.returncode == 2, run.stdout[-4000:]
    failed = run.stdout.rpartition("TASK [everup.deploy.lease : Stop: ")[2]
    why = re.search("See which expand scripts .*: .*unable to open.*not recorded in the ledger: .*unable to open", failed)
    assert why, run.stdout[-4000:]
    assert [body["state"] for _path, body in got] == ["open", "open"]
    assert "See which expand scripts" in got[-1][1]["reason"] and "not recorded" in got[-1][1]["reason"]
    assert got[-1][1]["text"].startswith("A run for release 2.4.0 ended with an error that the ledger does not have")
    ended = probe("reported")
    assert (ended["running"], ended["report"]["end"]) == (False, "stopped")

    database.rmdir()
    away.rename(database)
    again = play("expand", tmp_path, **options)
    assert again.returncode == 0, again.stdout[-4000:]
    with closing(sqlite3.connect(database)) as ledger:
        runs = [name for (name,) in ledger.execute("SELECT run FROM everup_probe ORDER BY id")]
    assert (len(runs), runs[0]) == (2, ended["run"])


def test_a_run_that_has_lost_its_lease_tells_why_it_ended_and_lets_the_other_one_measure(
    tmp_path, hooks, measured, at_first_page
) -> None:
    (address, got), (options, probe) = hooks, measured

    def take_the_lease() -> None:
        with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as ledger, ledger:
            ledger.execute("UPDATE everup_lease SET token = token + 1, holder = 'another run', holder_process = '{}'")

    at_first_page.append(take_the_lease)
    run = play("expand", tmp_path, notify_webhooks=[{"url": f"{address}/{SECRET}"}], **options)
    assert run.returncode == 2, run.stdout[-4000:]
    assert "but another run took it" in got[-1][1]["reason"]
    assert probe("reported")["running"]


def test_a_lease_that_cannot_be_given_back_hides_no_reason(tmp_path) -> None:
    """A run that ends before its time though nothing is wrong."""
    database = tmp_path / "shop.sqlite"
    tasks = [
        {"ansible.builtin.include_role": {"name": "everup.deploy.lease", "tasks_from": "open"}},
        {"ansible.builtin.command": {"argv": ["mv", str(database), str(tmp_path / "away")]}},
        {"ansible.builtin.file": {"path": str(database), "state": "directory"}},
        {
            "ansible.builtin.include_role": {"name": "everup.deploy.lease", "tasks_from": "stop"},
            "vars": {"lease_reason": "the window is over"},
        },
    ]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    run = play(str(tmp_path / "play.yml"), tmp_path, lease_version="2.4.0", lease_database={"login_db": str(database)})
    assert run.returncode == 2, run.stdout[-4000:]
    failed = run.stdout.rpartition("TASK [everup.deploy.lease : Stop: ")[2]
    assert re.search("the window is over .*the lease is not given back: .*unable to open", failed), run.stdout[-4000:]
