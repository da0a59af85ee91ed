# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A version whose health check says nothing of its errors: users of the canary find them, and every host goes back."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from lab.load_process import LoadProcess
from lab.shop import SERVICE

OLD, NEW = "1.0.0", "2.0.0"
UP = {"web1": "UP", "web2": "UP"}
OBSERVED = {"rolling_upgrade_observe_seconds": 2, "rolling_upgrade_observe_interval": 1, "rolling_upgrade_observe_requests": 30}
# Answers health checks, and fails for users: what stands in for version 2 of the shop on one host.
FAILING = """
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        healthy = self.path == "/health"
        body = json.dumps({"status": "ok", "version": "2.0.0"}).encode()
        self.send_response(200 if healthy else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET

    def log_message(self, *words):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def deploy(deploy_to, tmp_path_factory):
    return deploy_to(tmp_path_factory.mktemp("site"), "sqlite", 2)


@pytest.fixture
def smoke_tests(tmp_path):
    """A tasks file that says of which host and version it was run, and fails as it is told to; its log."""
    log = tmp_path / "smoke"
    tasks = [
        {
            "name": "Test {{ rolling_upgrade_smoke_version }}",
            "ansible.builtin.shell": f"echo {{{{ inventory_hostname }}}} {{{{ rolling_upgrade_smoke_version }}}} >> {log}",
        },
        {
            "name": "Look at a page",
            "ansible.builtin.assert": {"that": "rolling_upgrade_smoke_version != smoke_breaks", "fail_msg": "the page is empty"},
        },
    ]
    (tmp_path / "smoke.yml").write_text(json.dumps(tasks))
    return log


def settings(smoke_tests: Path, breaks: str = "", **more) -> tuple[str, str]:
    """Return the arguments of a run with smoke tests that fail for one version."""
    smoke = {"rolling_upgrade_smoke_tests": str(smoke_tests.with_suffix(".yml")), "smoke_breaks": breaks}
    return "-e", json.dumps({**smoke, "rolling_upgrade_on_failure": "rollback_all", **more})


def failing_for_users(deploy, host: str, folder: Path) -> dict:
    """Return a host's variables with a restart that starts the failing server in place of version 2."""
    server, program = deploy.servers[host], folder / "failing.py"
    program.write_text(FAILING)
    service = shlex.join([sys.executable, str(SERVICE)])
    script = f"""
if [ -f {folder}/pid ]; then kill $(cat {folder}/pid); while kill -0 $(cat {folder}/pid) 2>/dev/null; do sleep 0.1; done; fi
rm -f {folder}/pid
case $(readlink {server.home}/current) in
  *{NEW}) {service} stop --home {server.home}
    setsid {sys.executable} {program} {server.port} > /dev/null 2>&1 & echo $! > {folder}/pid ;;
  *) {service} start --home {server.home} ;;
esac
"""
    return {"rolling_upgrade_restart_command": ["sh", "-c", script]}


def test_an_old_version_that_fails_on_the_expanded_schema_ends_the_release_before_a_host_is_touched(deploy, smoke_tests):
    before = deploy.installed(), deploy.versions(), deploy.pool()
    run = deploy.run("release.yml", *settings(smoke_tests, breaks=OLD))
    assert run.code != 0
    assert "Look at a page: the page is empty" in run.flat
    assert smoke_tests.read_text().splitlines() == [f"web1 {OLD}"]
    assert (deploy.installed(), deploy.versions(), deploy.pool()) == before
    assert "No host was touched" in run.flat
    assert deploy.member_states() == {}
    assert deploy.state() == "failed"


def test_a_canary_that_nobody_asked_anything_goes_back(deploy, smoke_tests):
    run = deploy.run("release.yml", *settings(smoke_tests, rolling_upgrade_observe_seconds=1))
    assert run.code != 0
    assert "fewer than 100 requests in 1 s say nothing" in run.flat
    assert smoke_tests.read_text().splitlines() == [f"web1 {OLD}", f"web1 {NEW}"]
    assert deploy.versions() == {"web1": OLD, "web2": OLD}


def test_errors_that_only_users_see_take_every_host_back(deploy, smoke_tests, tmp_path):
    deploy.vary(web2=failing_for_users(deploy, "web2", tmp_path))
    with LoadProcess(deploy.site.url, tmp_path, rate=60.0):
        run = deploy.run("release.yml", *settings(smoke_tests, **OBSERVED))
    assert run.code != 0
    assert "more than 1 % more requests fail: web2: " in run.flat
    assert "; web1: 0 of " in run.flat
    assert "Every host serves the version before again" in run.flat
    assert smoke_tests.read_text().splitlines() == [f"web1 {OLD}", f"web1 {NEW}"]
    ledger = deploy.ledger()
    assert ledger["release"]["state"] == "rolled_back"
    assert {host: row["state"] for host, row in ledger["members"].items()} == dict.fromkeys(UP, "rolled_back")
    assert "more than 1 % more requests fail" in ledger["members"]["web2"]["reason"]
    assert ledger["members"]["web1"]["reason"] == f"taken back, since web2 failed: {ledger['members']['web2']['reason']}"
    assert ledger["lease"]["holder"] is None
    assert deploy.versions() == deploy.installed() == {"web1": OLD, "web2": OLD}
    assert deploy.pool() == UP
