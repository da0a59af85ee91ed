# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases that are measured: one that goes over its bound and back, one that the budget refuses, one that nobody notices."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._moments import in_words
from ansible_collections.everup.deploy.plugins.module_utils._probe.probe import run_probe
from ansible_collections.everup.deploy.plugins.modules.availability_probe import ARGUMENT_SPEC
from ansible_collections.everup.deploy.tests.support.failing_version import failing_for_users

from lab.playbook import kill_at

OLD, NEW = "1.0.0", "2.0.0"
DEFAULTS = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
UP = {"web1": "UP", "web2": "UP"}
TOKEN = "s3cret-t0ken"


@pytest.fixture(scope="module")
def deploy(deploy_to, tmp_path_factory):
    return deploy_to(tmp_path_factory.mktemp("site"), "sqlite", 2)


@pytest.fixture
def measured(deploy, tmp_path_factory):
    """The arguments of a run that is measured."""
    settings = {
        "availability_urls": [f"{deploy.site.url}/customers/1/orders?key=s3cret-key"],
        "availability_secret_headers": {"Authorization": f"Bearer {TOKEN}"},
        "availability_rate": 20,
        "availability_timeout": 10,
        "availability_after": 1,
        "availability_max_duration": 900,
        "availability_folder": str(tmp_path_factory.getbasetemp() / "availability"),
    }

    def arguments(**more) -> tuple[str, str]:
        return "-e", json.dumps({**settings, **more})

    return arguments


def rows(deploy) -> list[dict]:
    """Return the rows of all measurements, oldest first."""
    with closing(sqlite3.connect(deploy.site.login["login_db"])) as database:
        database.row_factory = sqlite3.Row
        found = [dict(row) for row in database.execute("SELECT * FROM everup_probe ORDER BY id")]
    return [{**row, "detail": json.loads(row["detail"])} for row in found]


def test_a_version_that_costs_more_than_its_bound_is_taken_back(deploy, measured, tmp_path):
    hook = tmp_path / "hook.yml"
    hook.write_text(json.dumps([{"name": "Let users come", "ansible.builtin.pause": {"seconds": 2}}]))
    deploy.vary(web1={**failing_for_users(deploy, "web1", tmp_path), "rolling_upgrade_hooks": {"after_ready": str(hook)}})
    bound = {"availability_bound": "100ms", "availability_on_budget": "rollback"}
    run = deploy.run("release.yml", *measured(**bound), "-v")
    deploy.vary()
    assert run.code != 0
    assert "more than the 100ms of availability_bound" in run.flat
    assert "most of them: HTTP 500" in run.flat
    assert "Every host serves the version before again (availability_on_budget is rollback)" in run.flat
    assert deploy.state() == "rolled_back"
    assert deploy.versions() == {"web1": OLD, "web2": OLD}
    assert deploy.member_states() == {"web1": "rolled_back"}
    assert "availability_bound" in deploy.ledger()["members"]["web1"]["reason"]
    assert deploy.pool() == UP
    (row,) = rows(deploy)
    assert row["failed"] > 2
    assert row["downtime_ms"] > 100
    assert row["detail"]["latency"]["during"]["failed"] == row["failed"]
    assert row["detail"]["end"] == "stopped"
    with closing(sqlite3.connect(deploy.site.login["login_db"])) as database:
        ledger = "\n".join(database.iterdump())
    assert TOKEN not in run.output + ledger
    assert "s3cret-key" not in ledger


@pytest.mark.whole
def test_a_batch_under_observation_is_held_to_the_bound(deploy, measured, tmp_path):
    """It would bear any error otherwise."""
    deploy.vary(web1=failing_for_users(deploy, "web1", tmp_path))
    observed = {
        "rolling_upgrade_observe_seconds": 6,
        "rolling_upgrade_observe_interval": 2,
        "rolling_upgrade_observe_requests": 1,
    }
    observed |= {"rolling_upgrade_observe_max_error_percent": 100, "availability_bound": "100ms"}
    run = deploy.run("release.yml", *measured(**observed))
    deploy.vary()
    assert run.code != 0
    assert deploy.member_states() == {"web1": "rolled_back"}
    assert "Check that the release is within its bound" in deploy.ledger()["members"]["web1"]["reason"]
    assert deploy.versions() == {"web1": OLD, "web2": OLD}
    assert deploy.state() == "failed"


def test_a_budget_that_is_spent_refuses_the_next_release(deploy, measured):
    spent = {"availability_budget": "50ms per 1d"}
    before = deploy.snapshot()
    run = deploy.run("release.yml", *measured(**spent))
    assert run.code != 0
    assert "The downtime budget of 50ms per 1d is spent" in run.flat
    assert "Something is left again from" in run.flat
    assert deploy.snapshot() == before
    nothing = deploy.run("everup.deploy.preflight", "-e", "availability_budget='30m per 7d'")
    assert nothing.code != 0
    assert "availability_urls is empty" in nothing.flat
    nowhere = deploy.run("everup.deploy.preflight", *measured(availability_urls=[f"{deploy.site.url}/nowhere"]))
    assert nowhere.code != 0
    assert f"{deploy.site.url}/nowhere: HTTP 404, before anything has begun" in nowhere.flat
    wrong = deploy.run("everup.deploy.preflight", *measured(availability_urls=["http://ann:pw@shop/"]))
    assert wrong.code != 0
    assert "without user and password; those belong into a header" in wrong.flat
    status = deploy.run("everup.deploy.status", *measured(availability_budget="30m per 7d"))
    assert "budget      30m per 7d: " in status.output
    assert "downtime    " in status.output


def test_a_release_that_nobody_notices_is_measured_over_the_death_of_its_controller(deploy, measured):
    arguments = measured(availability_bound="1s", availability_override="the fix of it", availability_budget="50ms per 1d")
    version = ("-e", f"release_version={NEW}")
    assert kill_at(deploy.site.start("release.yml", *version, *arguments), lambda line: "Drain" in line) is None
    run = deploy.run("everup.deploy.rollout", *arguments)
    assert run.code == 0, run.output[-4000:]
    assert deploy.state() == "rolled"
    assert len({row["run"] for row in rows(deploy)}) == len(rows(deploy))
    row = rows(deploy)[-1]
    assert (row["failed"], row["downtime_ms"]) == (0, 0)
    gap = in_words(row["longest_gap_ms"] / 1000)
    assert f"Downtime 0 s, longest gap {gap}; 0 of {row['requests']} requests failed" in run.flat
    phases = row["detail"]["latency"]
    assert all(phases[name]["requests"] > 0 for name in ("before", "during", "after")), phases
    ledger = deploy.ledger()
    assert row["release_id"] == ledger["release"]["id"]
    assert row["started_at"] < ledger["release"]["rolling_at"] < ledger["release"]["rolled_at"] < row["ended_at"]
    assert json.loads(row["target"]) == [f"{deploy.site.url}/customers/1/orders"]
    (override,) = [event for event in ledger["events"] if event["what"] == "availability_overridden"]
    assert override["detail"] == {"reason": "the fix of it"}


def test_what_is_found_behind_the_last_host_stops_the_release_or_takes_it_back(deploy, measured):
    """Of a URL that is not there every request fails."""
    nowhere = {"availability_urls": [f"{deploy.site.url}/nowhere"], "availability_bound": "10ms"}
    kept = {**DEFAULTS, "name": "left", "folder": json.loads(measured()[1])["availability_folder"]}
    left = run_probe({**kept, "state": "started", "urls": [deploy.site.url]}, False)
    run_probe({**kept, "state": "stopped"}, False)
    stopped = deploy.run("everup.deploy.rollout", *measured(**nowhere, availability_name="left"))
    assert left["run"] in {row["run"] for row in rows(deploy)}
    assert stopped.code != 0
    assert f"most of them: HTTP 404 at {deploy.site.url}/nowhere). Every host serves 2.0.0." in stopped.flat
    assert "Run everup.deploy.rollback to go back, or" in stopped.flat
    assert deploy.versions() == {"web1": NEW, "web2": NEW}
    assert rows(deploy)[-1]["detail"]["reasons"].keys() == {"HTTP 404"}
    back = deploy.run("everup.deploy.rollout", *measured(**nowhere, availability_on_budget="rollback"))
    assert back.code != 0
    assert "Every host serves the version before again (availability_on_budget is rollback)" in back.flat
    assert deploy.state() == "rolled_back"
    assert deploy.versions() == {"web1": OLD, "web2": OLD}
    assert deploy.pool() == UP


def test_a_host_that_measures_and_is_gone_hides_nothing(deploy, measured, tmp_path):
    """It cannot say what it has seen any more; why the run ended is said all the same."""
    gone = {"name": "gone", "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.add_host": gone},
            {"ansible.builtin.include_role": {"name": "everup.deploy.lease", "tasks_from": "open"}},
            {
                "block": [{"name": "Break", "ansible.builtin.fail": {"msg": "the true reason"}}],
                "rescue": [
                    {
                        "ansible.builtin.include_role": {"name": "everup.deploy.lease", "tasks_from": "fail"},
                        "vars": {"lease_reason": "{{ ansible_failed_task.name }}: {{ ansible_failed_result.msg }}"},
                    }
                ],
            },
        ],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    run = deploy._run(
        [
            *deploy.site.command("everup.deploy.status")[:3],
            str(tmp_path / "play.yml"),
            *measured(availability_host="gone"),
            "-e",
            f"release_version={NEW}",
        ]
    )
    assert run.code != 0
    assert "WARNING: what users have met is not in the ledger" in run.flat
    assert "gone is unreachable" in run.flat
    assert "Break: the true reason" in run.flat
    assert deploy.ledger()["lease"]["holder"] is None


def test_check_mode_measures_nothing(deploy, measured, tmp_path):
    before = len(rows(deploy))
    run = deploy.run(
        "everup.deploy.rollout", *measured(availability_folder=str(tmp_path / "none"), availability_bound="1s"), "--check"
    )
    assert run.code == 0, run.output[-4000:]
    assert len(rows(deploy)) == before
    assert not (tmp_path / "none").exists()
