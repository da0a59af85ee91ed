# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Webhooks are told of each state that a run ends in; one that fails or hangs fails nothing, and no address is shown."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.tests.support.adhoc import isolated

from lab.shop import SHOP

SECRET = "T0KEN-in-the-address"


@pytest.fixture
def hooks():
    """A server of webhooks: address, and the requests it got by path. What is posted to /refused gets a 500."""
    got: list[tuple[str, dict]] = []

    class Handler(BaseHTTPRequestHandler):
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
    command = [str(Path(sys.executable).with_name("ansible-playbook")), f"everup.deploy.{playbook}", "-e", json.dumps(settings)]
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
