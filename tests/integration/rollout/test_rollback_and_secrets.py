# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On PostgreSQL, behind two balancers: a release with its contract in one run, one taken back, one host that is a systemd unit
and gets its versions out of a git repository, and no word of the password in the fullest output."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from lab.shop import SERVICE

UP = {"web1": "UP", "web2": "UP"}
OLD, NEW = "1.0.0", "2.0.0"
HOOKS = ("before_drain", "before_upgrade", "after_upgrade", "before_ready", "after_ready")
# A part of the password that no quoting changes.
SECRET = "w0rd"


@pytest.fixture(scope="module")
def deploy(deploy_to, tmp_path_factory):
    deploy = deploy_to(tmp_path_factory.mktemp("site"), "postgresql", 2, balancers=2)
    assert SECRET in deploy.site.login["login_password"]
    return deploy


@pytest.fixture
def repository(deploy, tmp_path):
    """A git repository with the new version under its tag."""
    folder = tmp_path / "repository"
    with tarfile.open(deploy.site.farm.archives[NEW]) as archive:
        archive.extractall(folder, filter="data")
    person = ("-c", "user.name=shop", "-c", "user.email=shop@example.com")
    for words in (("init", "-q"), ("add", "."), (*person, "commit", "-qm", NEW), ("tag", NEW)):
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    return folder


@pytest.fixture
def unit(deploy, repository, tmp_path, monkeypatch):
    """Make web2 a systemd unit: a stand-in for systemctl, which does not run here, knows it and restarts the server."""
    program = tmp_path / "systemctl"
    restart = shlex.join([sys.executable, str(SERVICE), "restart", "--home", str(deploy.servers["web2"].home)])
    program.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
case "$*" in
  *show*) printf 'Id=shop.service\\nLoadState=loaded\\nActiveState=active\\n' ;;
  "restart shop") exec {restart} ;;
esac
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    git = {"rolling_upgrade_git_repo": str(repository), "rolling_upgrade_git_folder": str(tmp_path / "clone" / "shop")}
    service = {"rolling_upgrade_restart_command": [], "rolling_upgrade_service": "shop"}
    hooks = {}
    for name in HOOKS:
        hooks[name] = str(tmp_path / f"{name}.yml")
        task = {"name": f"Say {name}", "ansible.builtin.shell": f"echo {name} $(readlink {deploy.servers['web1'].home}/current)"}
        task["ansible.builtin.shell"] += f" >> {tmp_path}/hooks"
        Path(hooks[name]).write_text(json.dumps([task]))
    deploy.vary(web1={"rolling_upgrade_hooks": hooks}, web2={"rolling_upgrade_strategy": "git", **git, **service})
    yield tmp_path / "calls"
    deploy.vary()


def test_a_release_says_nothing_of_the_password(deploy, unit, tmp_path, monkeypatch):
    events = tmp_path / "events.jsonl"
    monkeypatch.setenv("ANSIBLE_CALLBACKS_ENABLED", "everup.deploy.timeline")
    monkeypatch.setenv("EVERUP_TIMELINE_FILE", str(events))
    gate = {"rolling_upgrade_health_version_path": "version", "rolling_upgrade_health_max_latency": 5}
    gate |= {"rolling_upgrade_warm_up": ["/health"], "rolling_upgrade_warm_up_count": 2}
    run = deploy.run("release.yml", "-vvv", "--diff", "-e", json.dumps(gate))
    assert run.code == 0, run.output[-4000:]
    assert deploy.state() == "rolled"
    assert deploy.versions() == {"web1": NEW, "web2": NEW}
    assert deploy.pool("lb1") == deploy.pool("lb2") == UP
    assert run.flat.count("errors: 0 last_error: '' requests: 2 skipped: 0") == 2
    hooks = [line.split() for line in (tmp_path / "hooks").read_text().splitlines()]
    assert [(name, Path(link).name) for name, link in hooks] == list(zip(HOOKS, [OLD, OLD, NEW, NEW, NEW]))
    assert "restart shop" in unit.read_text().splitlines()
    assert "Make an archive of 2.0.0 on the controller" in run.output
    assert (unit.parent / "clone" / "shop-2.0.0.tar.gz").is_file()
    assert SECRET not in run.output + events.read_text()
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert [batch["hosts"] for batch in told[0]["batches"]] == [["web1"], ["web2"]]
    way = [(host, state) for host in ("web1", "web2") for state in ("draining", "upgrading", "healthy", "ready")]
    assert [(event["host"], event["state"]) for event in told[1:]] == way
    assert "timeline: web2 (batch 2) is ready\n" in run.output


def test_a_version_that_has_died_on_every_host_is_taken_back_last_host_first(deploy):
    """No capacity is left, and the guard lets those begin that can bring it back."""
    for server in deploy.servers.values():
        server.service("stop")
    deploy.await_pool({"web1": "DOWN", "web2": "DOWN"}, "lb1", "lb2")
    run = deploy.run("everup.deploy.rollback", "-vvv", "--diff")
    assert run.code == 0, run.output[-4000:]
    ledger = deploy.ledger()
    assert ledger["release"]["state"] == "rolled_back"
    assert deploy.versions() == {"web1": OLD, "web2": OLD}
    assert deploy.pool("lb1") == deploy.pool("lb2") == UP
    back = [event["subject"] for event in ledger["events"] if event["what"] == "member_rolled_back"]
    assert back == ["web2", "web1"]
    assert SECRET not in run.output


def test_a_balancer_that_still_sends_requests_keeps_the_host_from_being_touched(deploy):
    """The second balancer has not heard of the drain."""
    deploy.vary(lb2={"haproxy_admin": "/nowhere/admin.sock"})
    run = deploy.run("release.yml")
    assert run.code != 0
    assert "/nowhere/admin.sock" in run.flat
    assert deploy.pool("lb1") == deploy.pool("lb2") == UP
    assert deploy.versions() == {"web1": OLD, "web2": OLD}
    deploy.vary()


def test_what_a_hook_hides_is_told_nowhere(deploy, tmp_path, monkeypatch):
    """Its result is not hidden from a rescue."""
    events, marker, hook = tmp_path / "events.jsonl", "m4rker", tmp_path / "hook.yml"
    (tmp_path / "said").write_text(marker)
    task = {"name": "Ask the vault", "ansible.builtin.shell": f"cat {tmp_path}/said >&2; exit 3", "no_log": True}
    hook.write_text(json.dumps([task]))
    monkeypatch.setenv("ANSIBLE_CALLBACKS_ENABLED", "everup.deploy.timeline")
    monkeypatch.setenv("EVERUP_TIMELINE_FILE", str(events))
    run = deploy.run("release.yml", "-v", "-e", json.dumps({"rolling_upgrade_hooks": {"before_upgrade": str(hook)}}))
    assert run.code != 0
    ledger = deploy.ledger()
    assert ledger["members"]["web1"]["reason"] == "Ask the vault: failed; its output is hidden (no_log)"
    assert "web1: Ask the vault: failed; its output is hidden (no_log)" in run.flat
    assert marker not in run.output + events.read_text() + json.dumps(ledger, default=str)
    assert deploy.pool("lb1") == deploy.pool("lb2") == UP
