# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A batch of two hosts under observation, of which one fails, or whose run loses its lease meanwhile."""

from __future__ import annotations

import json
import re
import shlex
import sys

import pytest

from lab.shop import SERVICE

OLD, NEW = "1.0.0", "2.0.0"
UP = {"web1": "UP", "web2": "UP", "web3": "UP"}
OBSERVED = {"rolling_upgrade_canary": 2, "rolling_upgrade_observe_seconds": 1, "rolling_upgrade_observe_too_few": "proceed"}


@pytest.fixture(scope="module")
def deploy(deploy_to, tmp_path_factory):
    return deploy_to(tmp_path_factory.mktemp("site"), "sqlite", 3)


def breaking_once(deploy, host: str) -> dict:
    """Return a host's variables with a restart that fails for the new version."""
    home = deploy.servers[host].home
    service = [sys.executable, str(SERVICE), "restart", "--home", str(home)]
    script = f'case $(readlink {home}/current) in *{NEW}) exit 7 ;; esac; exec "$@"'
    return {"rolling_upgrade_restart_command": ["sh", "-c", script, "sh", *service]}


def test_a_host_that_has_gone_back_is_not_judged_with_the_others_of_its_batch(deploy):
    deploy.vary(web1=breaking_once(deploy, "web1"))
    run = deploy.run("release.yml", "-e", json.dumps(OBSERVED))
    deploy.vary()
    assert run.code != 0
    assert "web1: Restart web1 by its command" in run.flat
    assert "web2: 0 of 0 requests failed (0.0 %); web3: 0 of" in run.flat
    assert "web1, web2: 0 of" not in run.flat
    assert "Record that web1 failed and is taken back" in run.flat
    assert deploy.member_states() == {"web1": "rolled_back", "web2": "ready"}
    assert deploy.versions() == {"web1": OLD, "web2": NEW, "web3": OLD}
    assert deploy.pool() == UP
    healthy = [event["subject"] for event in deploy.ledger()["events"] if event["what"] == "member_healthy"]
    assert healthy == ["web2"]


def test_a_lease_that_is_lost_while_a_batch_is_observed_is_noticed_by_each_of_its_hosts(deploy, tmp_path):
    holder = "holder = 'another run', holder_process = '{}', expires_at = '2999-01-01T00:00:00.000Z'"
    update = f"UPDATE everup_lease SET token = token + 1, {holder} WHERE holder IS NOT NULL AND holder <> 'another run'"
    steal = f"import sqlite3; db = sqlite3.connect('{deploy.site.login['login_db']}'); db.execute(\"{update}\"); db.commit()"
    task = {"name": "Lose the lease", "ansible.builtin.command": f"{sys.executable} -c {shlex.quote(steal)}"}
    (tmp_path / "hook.yml").write_text(json.dumps([task]))
    hooks = {"rolling_upgrade_hooks": {"before_ready": str(tmp_path / "hook.yml")}}
    run = deploy.run("everup.deploy.rollout", "-e", json.dumps({**OBSERVED, **hooks}))
    assert run.code != 0
    assert "another run" in run.flat
    assert set(re.findall(r"(web\d) +:.* rescued=[1-9]", run.output)) == {"web1", "web3"}
    assert deploy.member_states() == {"web1": "healthy", "web2": "ready", "web3": "healthy"}
    assert deploy.pool() == UP
