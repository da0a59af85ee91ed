# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One site from version 1 to version 2 with all that goes wrong on the way, in this order: each test goes on from the last.

Ansible by itself would let most of these runs go on: it does not count unreachable hosts as failed, a rescue hides a failure
from max_fail_percentage, a play begins with the hosts that the last one left over, and a swallowed failure ends with 0.
"""

from __future__ import annotations

import sys

import pytest

from lab.ports import free_port
from lab.shop import SERVICE, activate

OLD, NEW, BROKEN = "1.0.0", "2.0.0", "2.0.1-broken"
WEB = ("web1", "web2", "web3")
UP = dict.fromkeys(WEB, "UP")


@pytest.fixture(scope="module")
def deploy(deploy_to, tmp_path_factory):
    return deploy_to(tmp_path_factory.mktemp("site"), "sqlite", 3)


def restart_command(deploy, host: str, shell: str) -> dict:
    """Return a host's variables with a restart that first runs a line of shell."""
    service = [sys.executable, str(SERVICE), "restart", "--home", str(deploy.servers[host].home)]
    return {"rolling_upgrade_restart_command": ["sh", "-c", f'{shell}; exec "$@"', "sh", *service]}


def unreachable_while(flag) -> dict:
    """Return a host's variables that make it unreachable while a file is there."""
    return {
        "ansible_connection": f"{{{{ ('{flag}' is file) | ternary('ssh', 'local') }}}}",
        "ansible_host": "127.0.0.1",
        "ansible_port": free_port(),
        "ansible_ssh_common_args": "-F none -o ConnectTimeout=2",
    }


def test_limit_without_localhost_is_refused_by_name(deploy):
    before = deploy.snapshot()
    run = deploy.run("release.yml", "--limit", "web1")
    assert run.code != 0
    assert "leave --limit away, or add localhost to it (--limit 'localhost,web1')" in run.flat
    assert deploy.snapshot() == before


def test_missing_settings_are_named(deploy):
    run = deploy.run_without_settings("everup.deploy.release")
    assert run.code != 0
    assert "release_version is missing" in run.flat
    assert "everup_database is missing" in run.flat
    assert "everup_migrations is missing" in run.flat


def test_check_mode_comes_to_the_end_and_changes_nothing(deploy):
    before = deploy.snapshot()
    run = deploy.run("release.yml", "--check", "-e", "release_contract=true")
    assert run.code == 0, run.output[-4000:]
    assert "Drain web1" in run.flat
    assert deploy.snapshot() == before


def test_an_unreachable_host_stops_the_release_before_anything_is_done(deploy, tmp_path):
    flag = tmp_path / "unreachable"
    flag.touch()
    deploy.vary(web2=unreachable_while(flag))
    before = deploy.snapshot()
    run = deploy.run("release.yml")
    assert run.code != 0
    assert "unreachable or failed above: web2. Nothing was changed." in run.flat
    assert deploy.snapshot() == before
    deploy.vary()


def test_too_few_healthy_members_are_refused_by_name(deploy):
    assert deploy.run("everup.deploy.expand", version=BROKEN).code == 0
    run = deploy.run("everup.deploy.rollout", "-e", "rolling_upgrade_min_healthy=3", version=BROKEN)
    assert run.code != 0
    assert "would be left with 2 healthy member(s), the floor is 3" in run.flat
    assert deploy.member_states(BROKEN) == {}
    assert deploy.pool() == UP
    assert deploy.installed() == dict.fromkeys(WEB, OLD)


def test_a_broken_version_ends_at_the_canary_which_serves_its_old_version_again(deploy):
    run = deploy.run("release.yml", "-e", "rolling_upgrade_health_timeout=4", "-e", "release_contract=true", version=BROKEN)
    assert run.code != 0
    assert deploy.versions() == deploy.installed() == dict.fromkeys(WEB, OLD)
    assert deploy.pool() == UP
    ledger = deploy.ledger(BROKEN)
    assert ledger["release"]["state"] == "failed"
    assert list(ledger["members"]) == ["web1"]
    member = ledger["members"]["web1"]
    assert (member["state"], member["version_after"]) == ("rolled_back", OLD)
    assert "health" in member["reason"]
    assert not [event for event in ledger["events"] if event["what"] == "release_contracting"]


def test_the_next_version_has_to_wait_until_the_broken_one_is_rolled_back(deploy):
    run = deploy.run("release.yml")
    assert run.code != 0
    assert f"release {BROKEN} is 'failed'" in run.flat
    assert "everup.deploy.rollback" in run.flat
    run = deploy.run("everup.deploy.rollback", version=BROKEN)
    assert run.code == 0, run.output[-4000:]
    assert deploy.state(BROKEN) == "rolled_back"


def test_an_unreachable_balancer_stops_the_first_batch(deploy, tmp_path):
    """An unreachable host that a task is delegated to makes Ansible give up the application's host, without a rescue."""
    run = deploy.run("everup.deploy.expand")
    assert run.code == 0, run.output[-4000:]
    flag = tmp_path / "unreachable"
    flag.touch()
    deploy.vary(lb1=unreachable_while(flag))
    run = deploy.run("everup.deploy.rollout")
    assert run.code != 0
    assert "balancer lb1 is unreachable" in run.flat
    assert deploy.member_states() == {}
    deploy.vary()


def test_a_host_that_becomes_unreachable_stops_the_next_batch(deploy, tmp_path):
    flag = tmp_path / "unreachable"
    deploy.vary(web1=unreachable_while(flag) | restart_command(deploy, "web1", f"touch {flag}"))
    run = deploy.run("everup.deploy.rollout", "-e", "rolling_upgrade_canary=2")
    assert run.code != 0
    assert "web1 failed, is unreachable, or was left out by --limit" in run.flat
    assert deploy.member_states() == {"web1": "upgrading", "web2": "ready"}
    assert deploy.state() == "failed"
    assert deploy.installed() == {"web1": NEW, "web2": NEW, "web3": OLD}
    assert deploy.pool() == UP | {"web1": "DRAIN"}
    deploy.vary()


def test_a_host_that_fails_is_taken_back_while_the_others_of_its_batch_come_to_their_end(deploy, tmp_path):
    flag = tmp_path / "failed"
    deploy.vary(web3=restart_command(deploy, "web3", f"test -e {flag} || {{ touch {flag}; exit 7; }}"))
    run = deploy.run("everup.deploy.rollout", "-e", "rolling_upgrade_canary=2")
    assert run.code != 0
    assert deploy.member_states() == {"web1": "ready", "web2": "ready", "web3": "rolled_back"}
    assert deploy.versions() == {"web1": NEW, "web2": NEW, "web3": OLD}
    assert deploy.pool() == UP
    assert deploy.state() == "failed"
    deploy.vary()


def test_the_same_command_goes_on_with_what_is_left(deploy):
    run = deploy.run("release.yml")
    assert run.code == 0, run.output[-4000:]
    assert "done already: web1, web2" in run.flat
    assert deploy.state() == "rolled"
    assert deploy.versions() == dict.fromkeys(WEB, NEW)
    assert deploy.pool() == UP


def test_the_finished_release_changes_nothing_when_run_again(deploy):
    run = deploy.run("release.yml")
    assert run.code == 0, run.output[-4000:]
    assert run.changed.keys() >= {"localhost", *WEB}
    assert set(run.changed.values()) == {0}, run.changed


def test_contract_waits_for_the_soak(deploy):
    run = deploy.run("everup.deploy.contract", "-e", "contract_soak=2h")
    assert run.code != 0
    assert "its soak of 2h has" in run.flat
    assert deploy.state() == "rolled"


def test_contract_refuses_while_a_host_is_down_or_serves_the_old_version(deploy):
    down, old = deploy.servers["web2"], deploy.servers["web3"]
    down.service("stop")
    activate(old.home, OLD)
    old.service("restart")
    run = deploy.run("everup.deploy.contract", "-e", "contract_soak=0s", "-e", "rolling_upgrade_health_timeout=2")
    activate(old.home, NEW)
    old.service("restart")
    down.service("start")
    assert run.code != 0
    assert "The contract does not run: web2 does not serve 2.0.0" in run.flat
    assert "; web3 does not serve 2.0.0" in run.flat
    assert "web1 does not serve" not in run.flat
    assert deploy.state() == "rolled"


def test_contract_runs_once_every_host_serves_the_version(deploy):
    run = deploy.run("everup.deploy.contract", "-e", "contract_soak=1s")
    assert run.code == 0, run.output[-4000:]
    assert deploy.state() == "contracted"


def test_there_is_no_way_back_after_the_contract(deploy):
    before = deploy.snapshot()
    run = deploy.run("everup.deploy.rollback")
    assert run.code != 0
    assert "cannot go back: its contract has started" in run.flat
    assert deploy.state() == "contracted"
    assert deploy.snapshot()[1:] == before[1:]
