# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A release of three hosts whose balancer nobody can ask: each host takes itself out by its health flag."""

from __future__ import annotations

import json
import sys

import pytest

from lab.shop import SERVICE

NEW = "2.0.0"
WEB = ("web1", "web2", "web3")


@pytest.fixture(scope="module")
def deploy(deploy_to, tmp_path_factory):
    deploy = deploy_to(tmp_path_factory.mktemp("site"), "sqlite", 3)
    deploy.vary(**{host: flagged(deploy, host) for host in WEB})
    return deploy


def flagged(deploy, host: str, **options) -> dict:
    """Return a host's variables with its flag, and a restart that notes which flags there are."""
    note = f"echo $(ls {deploy.site.farm.directory}/*/drain) >> {deploy.site.directory}/flags"
    service = [sys.executable, str(SERVICE), "restart", "--home", str(deploy.servers[host].home)]
    return {
        "rolling_upgrade_restart_command": ["sh", "-c", f'{note}; exec "$@"', "sh", *service],
        "rolling_upgrade_balancers": ["{{ inventory_hostname }}"],
        "rolling_upgrade_lb": {
            "provider": "health_flag",
            "address": "{{ hostvars[balancer].shop_home }}/drain",
            "listen": "127.0.0.1:{{ hostvars[balancer].shop_port }}",
            "health_url": "http://{address}/health",
            "notice_seconds": 0.2,
            **options,
        },
    }


def test_a_floor_is_counted_over_the_flags_of_all_hosts(deploy):
    run = deploy.run("everup.deploy.preflight", "-e", "rolling_upgrade_min_healthy=3")
    assert run.code != 0
    assert "Pool shop on the health flags of its members has 3 member(s) and rolling_upgrade_min_healthy is 3" in run.flat


def test_options_that_only_the_host_itself_understands_are_refused(deploy):
    deploy.vary(**{host: flagged(deploy, host) for host in WEB} | {"web3": flagged(deploy, "web3", listen="127.0.0.1:1")})
    run = deploy.run("everup.deploy.preflight")
    deploy.vary(**{host: flagged(deploy, host) for host in WEB})
    assert run.code != 0
    assert "rolling_upgrade_lb of web3 says" in run.flat
    assert "Write it with hostvars[balancer]" in run.flat


def test_a_variable_that_would_hide_the_balancer_at_hand_is_refused(deploy):
    run = deploy.run("everup.deploy.preflight", "-e", "balancer=lb1")
    assert run.code != 0
    assert "the variable balancer is set in the inventory or by -e" in run.flat


def test_each_host_is_out_while_it_is_upgraded_and_no_other_one_is(deploy):
    batches = {"rolling_upgrade_min_healthy": 2, "rolling_upgrade_batch": 2}
    run = deploy.run("release.yml", "-e", json.dumps(batches))
    assert run.code == 0, run.output[-6000:]
    assert deploy.state() == "rolled"
    assert deploy.versions() == dict.fromkeys(WEB, NEW)
    noted = (deploy.site.directory / "flags").read_text().splitlines()
    assert [line.split() for line in noted] == [[str(deploy.servers[host].home / "drain")] for host in WEB]
    assert not list(deploy.site.farm.directory.glob("*/drain*"))
