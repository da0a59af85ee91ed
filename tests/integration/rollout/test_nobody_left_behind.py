# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What would strand hosts is refused beforehand; what was not foreseen ends in a verdict; a dead host holds nobody else up."""

from __future__ import annotations

import json
import subprocess

import pytest

from lab.ports import free_port

WEB = ["web1", "web2", "web3"]
OLD, NEW = "1.0.0", "2.0.0"
UP = dict.fromkeys(WEB, "UP")
NO_HOOK = {"rolling_upgrade_hooks": {"before_ready": "/nonexistent/hook.yml"}}


@pytest.fixture(scope="module")
def deploy(deploy_to, tmp_path_factory):
    return deploy_to(tmp_path_factory.mktemp("site"), "sqlite", len(WEB))


@pytest.fixture
def hook(tmp_path):
    """Write a tasks file; its path."""

    def write(*tasks: dict) -> str:
        (tmp_path / "hook.yml").write_text(json.dumps(tasks))
        return str(tmp_path / "hook.yml")

    return write


def test_settings_that_would_strand_a_host_are_refused_by_the_preflight(deploy, hook):
    before = deploy.snapshot()
    odd = hook({"name": "Odd", "ansible.builtin.comand": "true"})
    typed = {"drain_on_timeout": "procede", "ready_timeout": "1m"}
    bounds = {"ready_timeout": -5, "health_consecutive": 0, "balancers": []}
    gate = {"health_url": "127.0.0.1/health", "health_condition": "status = 'ok'"}
    for settings, said in (
        (typed, ["rolling_upgrade_drain_on_timeout must be one of", "rolling_upgrade_ready_timeout"]),
        (
            bounds,
            ["ready_timeout must be 0 or more", "health_consecutive must be more than 0", "rolling_upgrade_balancers is empty"],
        ),
        (
            gate,
            [
                "must begin with http:// or https://",
                "The rolling_upgrade_health_condition \"status = 'ok'\" is no usable JMESPath",
            ],
        ),
        ({"member": "web1"}, ["Several hosts are member web1 of pool shop"]),
        ({"hooks": {"before_ready": "/nonexistent/hook.yml"}}, ["/nonexistent/hook.yml"]),
        ({"hooks": {"before_ready": odd}}, ["ansible.builtin.comand"]),
    ):
        run = deploy.run(
            "everup.deploy.preflight", "-e", json.dumps({f"rolling_upgrade_{name}": settings[name] for name in settings})
        )
        assert run.code != 0, settings
        for words in said:
            assert words in run.flat, run.output[-3000:]
    assert deploy.snapshot() == before


def test_a_path_without_a_database_is_refused_and_none_is_made(deploy, tmp_path):
    before, path = deploy.snapshot(), tmp_path / "shop.sqlit"
    for name in ("login_db", "db"):
        run = deploy.run("release.yml", "-e", json.dumps({"everup_database": {"engine": "sqlite", name: str(path)}}))
        assert run.code != 0
        assert f"There is no SQLite database {path}: correct login_db, or, for an application that is new" in run.flat
        assert not path.exists()
        assert deploy.snapshot() == before
    path.touch()
    run = deploy.run(
        "everup.deploy.preflight", "-e", json.dumps({"everup_database": {"engine": "sqlite", "login_db": str(path)}})
    )
    assert run.code == 0, run.output[-4000:]


def test_a_repository_that_cannot_give_the_version_is_refused_by_the_preflight(deploy, tmp_path):
    before = deploy.snapshot()
    person = ("-c", "user.name=shop", "-c", "user.email=shop@example.com")
    for words in (("init", "-q"), (*person, "commit", "-qm", "first", "--allow-empty"), ("tag", f"v{NEW}")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)
    git = {"rolling_upgrade_strategy": "git", "rolling_upgrade_git_repo": str(tmp_path)}
    closed = f"http://shop:s3cret@127.0.0.1:{free_port()}/shop.git"
    for settings, said in (
        ({}, f"rolling_upgrade_git_ref is '{NEW}', and the repository has no such tag or branch"),
        ({"rolling_upgrade_git_repo": closed}, "rolling_upgrade_git_repo cannot be read on the controller: fatal: "),
    ):
        run = deploy.run("everup.deploy.preflight", "-vvv", "-e", json.dumps({**git, **settings}))
        assert run.code != 0, settings
        assert said in run.flat, run.output[-3000:]
        assert "s3cret" not in run.output
    run = deploy.run("everup.deploy.preflight", "-e", json.dumps({**git, "rolling_upgrade_git_ref": f"v{NEW}"}))
    assert run.code == 0, run.output[-4000:]
    assert deploy.snapshot() == before


def test_a_hook_that_is_read_is_not_run(deploy, hook, tmp_path):
    path = hook({"name": "Leave a trace", "ansible.builtin.file": {"path": str(tmp_path / "trace"), "state": "touch"}})
    run = deploy.run("everup.deploy.preflight", "-e", json.dumps({"rolling_upgrade_hooks": {"before_drain": path}}))
    assert run.code == 0, run.output[-4000:]
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("settings", "said", "state"),
    [
        (
            NO_HOOK,
            "rolling_upgrade_hooks.before_ready is '/nonexistent/hook.yml', and there is no such file (web1, web2, web3)",
            "expanded",
        ),
        ({"rolling_upgrade_ready_timeout": "1m"}, "Check that no batch stopped", "failed"),
    ],
)
def test_a_canary_that_fails_in_no_foreseen_way_still_ends_in_a_verdict(deploy, settings, said, state):
    if deploy.state() is None:
        assert deploy.run("everup.deploy.expand").code == 0
    run = deploy.run("everup.deploy.rollout", "-e", json.dumps(settings))
    assert run.code != 0, run.output[-6000:]
    assert said in run.flat
    assert deploy.state() == state
    assert not deploy.ledger()["lease"]["holder"]
    assert deploy.installed() == dict.fromkeys(WEB, OLD)
    deploy.await_pool(UP, "lb1")


def test_what_the_guard_saw_is_looked_at_again_before_the_batch_leaves(deploy):
    run = deploy.run("everup.deploy.rollout", "-e", "rolling_upgrade__guard_seconds=-1")
    assert run.code == 0, run.output[-4000:]
    assert run.output.count("Guard: may web1 begin?") == 2
    assert deploy.installed() == dict.fromkeys(WEB, NEW)


def test_a_dead_host_holds_up_no_rollback(deploy):
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": free_port()}
    away |= {"ansible_ssh_common_args": "-F none -o ConnectTimeout=2", "rolling_upgrade_reconnects": 0}
    deploy.vary(web3=away)
    deploy.servers["web3"].service("stop")
    deploy.await_pool(UP | {"web3": "DOWN"}, "lb1")
    run = deploy.run("everup.deploy.rollback")
    assert run.code == 4, run.output[-4000:]
    assert deploy.member_states() == {"web1": "rolled_back", "web2": "rolled_back", "web3": "upgrading"}
    assert deploy.installed() == {"web1": OLD, "web2": OLD, "web3": NEW}


def test_a_host_that_is_gone_for_good_is_left_by_name_alone(deploy):
    inventory = deploy.site.hosts()
    del inventory["all"]["children"]["web"]["hosts"]["web3"]
    deploy.site.write_inventory(inventory)
    run = deploy.run("everup.deploy.rollback")
    assert run.code != 0, run.output[-6000:]
    assert "web3 took part in the release" in run.flat and "-e rollback_gone=web3" in run.flat
    assert deploy.state() == "rolling_back", "a refusal changes nothing"
    run = deploy.run("everup.deploy.rollback", "-e", "rollback_gone=web3")
    assert run.code == 0, run.output[-4000:]
    assert "left as they are, gone for good: web3" in run.flat
    assert deploy.state() == "rolled_back"
