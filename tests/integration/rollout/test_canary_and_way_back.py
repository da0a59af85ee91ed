# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A version whose health check says nothing of its errors: users of the canary find them, and every host goes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.tests.support.failing_version import failing_for_users

from lab.load_process import LoadProcess

OLD, NEW = "1.0.0", "2.0.0"
UP = {"web1": "UP", "web2": "UP"}
# Whatever a busy machine makes of response times, and of the load.
OBSERVED = {
    "rolling_upgrade_observe_seconds": 2,
    "rolling_upgrade_observe_interval": 1,
    "rolling_upgrade_observe_requests": 10,
    "rolling_upgrade_observe_max_slowdown": 0,
}


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


@pytest.mark.whole
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
    assert "more than 1 % more requests fail: web2: " in run.flat, run.output[-6000:]
    assert "; web1: 0 of " in run.flat
    assert "template error" not in run.flat
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
