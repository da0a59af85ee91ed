# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On PostgreSQL, behind two balancers: a release with its contract in one run, one taken back, one host that is a systemd unit,
and no word of the password in the fullest output."""

from __future__ import annotations

import os
import shlex
import sys

import pytest

from lab.shop import SERVICE

UP = {"web1": "UP", "web2": "UP"}
OLD, NEW = "1.0.0", "2.0.0"
# A part of the password that no quoting changes.
SECRET = "w0rd"


@pytest.fixture(scope="module")
def deploy(deploy_to, tmp_path_factory):
    deploy = deploy_to(tmp_path_factory.mktemp("site"), "postgresql", 2, balancers=2)
    assert SECRET in deploy.site.login["login_password"]
    return deploy


@pytest.fixture
def unit(deploy, tmp_path, monkeypatch):
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
    deploy.vary(web2={"rolling_upgrade_restart_command": [], "rolling_upgrade_service": "shop"})
    yield tmp_path / "calls"
    deploy.vary()


def test_a_release_says_nothing_of_the_password(deploy, unit):
    run = deploy.run("release.yml", "-vvv", "--diff")
    assert run.code == 0, run.output[-4000:]
    assert deploy.state() == "rolled"
    assert deploy.versions() == {"web1": NEW, "web2": NEW}
    assert deploy.pool("lb1") == deploy.pool("lb2") == UP
    assert "restart shop" in unit.read_text().splitlines()
    assert SECRET not in run.output


def test_a_rolled_release_is_taken_back_last_host_first(deploy):
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
