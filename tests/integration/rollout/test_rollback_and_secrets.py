# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On PostgreSQL: a release with its contract in one run, one taken back, and no word of the password in the fullest output."""

from __future__ import annotations

import pytest

OLD, NEW = "1.0.0", "2.0.0"
# A part of the password that no quoting changes.
SECRET = "w0rd"


@pytest.fixture(scope="module")
def deploy(deploy_to, tmp_path_factory):
    deploy = deploy_to(tmp_path_factory.mktemp("site"), "postgresql", 2)
    assert SECRET in deploy.site.login["login_password"]
    return deploy


def test_a_release_says_nothing_of_the_password(deploy):
    run = deploy.run("release.yml", "-vvv", "--diff")
    assert run.code == 0, run.output[-4000:]
    assert deploy.state() == "rolled"
    assert deploy.versions() == {"web1": NEW, "web2": NEW}
    assert SECRET not in run.output


def test_a_rolled_release_is_taken_back_last_host_first(deploy):
    run = deploy.run("everup.deploy.rollback", "-vvv", "--diff")
    assert run.code == 0, run.output[-4000:]
    ledger = deploy.ledger()
    assert ledger["release"]["state"] == "rolled_back"
    assert deploy.versions() == {"web1": OLD, "web2": OLD}
    assert deploy.pool() == {"web1": "UP", "web2": "UP"}
    back = [event["subject"] for event in ledger["events"] if event["what"] == "member_rolled_back"]
    assert back == ["web2", "web1"]
    assert SECRET not in run.output


def test_a_release_with_its_contract_in_one_run(deploy):
    run = deploy.run("release.yml", "-e", "release_contract=true", "-e", "contract_soak=1s")
    assert run.code == 0, run.output[-4000:]
    assert deploy.state() == "contracted"
    assert deploy.versions() == {"web1": NEW, "web2": NEW}
