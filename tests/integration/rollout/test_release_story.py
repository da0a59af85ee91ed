# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One site from version 1 to version 2 with all that goes wrong on the way, in this order: each test goes on from the last.

Ansible by itself would let most of these runs go on: it does not count unreachable hosts as failed, a rescue hides a failure
from max_fail_percentage, a play begins with the hosts that the last one left over, and a swallowed failure ends with 0.
"""

from __future__ import annotations

import json
import shlex
import sqlite3
import sys

import pytest
from ansible_collections.everup.deploy.tests.support.databases import Sqlite

from lab.ports import free_port
from lab.shop import SERVICE, activate
from lab.site import ROOT

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


def pool_status(deploy, host: str) -> str:
    """Return a shell command that prints what HAProxy says about a member."""
    statistics = f"ask('{deploy.site.haproxy.socket()}', 'show stat').splitlines()"
    program = f"from lab.haproxy import ask; print(next(row.split(',')[17] for row in {statistics} if ',{host},' in row))"
    return f"PYTHONPATH={ROOT} {sys.executable} -c {shlex.quote(program)}"


def unreachable_while(flag) -> dict:
    """Return a host's variables that make it unreachable while a file is there."""
    return {
        "ansible_connection": f"{{{{ ('{flag}' is file) | ternary('ssh', 'local') }}}}",
        "ansible_host": "127.0.0.1",
        "ansible_port": free_port(),
        "ansible_ssh_common_args": "-F none -o ConnectTimeout=2",
        "rolling_upgrade_reconnects": 0,
    }


def test_a_slice_of_an_awx_job_is_refused_by_name(deploy):
    before = deploy.snapshot()
    run = deploy.run("release.yml", "-e", "awx_job_template_name=shop", "-e", "awx_workflow_job_name=shop")
    assert run.code != 0
    assert "a slice of the job template 'shop'" in run.flat
    assert deploy.snapshot() == before


def test_batches_that_cannot_be_made_are_refused_before_the_database_is_touched(deploy):
    before = deploy.snapshot()
    run = deploy.run("release.yml", "-e", "rolling_upgrade_max_unavailable=0")
    assert run.code != 0
    assert "max_unavailable '0'" in run.flat
    assert deploy.snapshot() == before


def test_missing_settings_are_named(deploy):
    run = deploy.run_without_settings("everup.deploy.release")
    assert run.code != 0
    assert "release_version is missing" in run.flat
    assert "everup_database is missing" in run.flat
    assert "everup_migrations is missing" in run.flat


@pytest.mark.parametrize("version", ["", "2.0 0"])
def test_what_is_no_version_is_refused(deploy, version):
    run = deploy.run_without_settings("everup.deploy.release", "-e", json.dumps({"release_version": version}))
    assert run.code != 0
    assert "release_version is missing, empty or no version" in run.flat


def test_the_preflight_takes_the_ways_on_that_its_refusals_name(deploy, tmp_path):
    """A script that was interrupted outside a transaction, and one that came late."""
    database = Sqlite(tmp_path)
    database.write("1_log.sql", "CREATE TABLE log (what text);")
    attach = "ATTACH DATABASE ':memory:' AS aside"  # of which nobody can tell afterwards whether it has happened
    database.write("2_x.sql", f"-- everup: transaction=none\nINSERT INTO log VALUES ('a');\n{attach};\n")
    database.write("3_more.sql", "CREATE TABLE more (what text);")
    database.migrate()
    database.execute("UPDATE everup_expand_history SET state = 'running', statements_done = 1 WHERE version = '2'")
    database.write("1.5_late.sql", "CREATE TABLE late (what text);")
    settings = json.dumps({"everup_database": database.options, "everup_migrations": str(database.folder)})
    run = deploy.run("everup.deploy.preflight", "-e", settings)
    assert run.code != 0
    assert "1.5_late.sql" in run.flat and "expand_out_of_order" in run.flat
    assert "was interrupted after 1 of 2 statements" in run.flat and "expand_repair=retry" in run.flat
    run = deploy.run("everup.deploy.preflight", "-e", settings, "-e", "expand_out_of_order=true", "-e", "expand_repair=retry")
    assert run.code == 0, run.output[-4000:]
    assert "expand: expand/1.5_late.sql, expand/2_x.sql" in run.flat
    assert database.query("SELECT count(*) FROM log") == [(1,)]


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


def test_a_release_that_has_touched_no_host_can_be_given_up(deploy):
    run = deploy.run("everup.deploy.abort", version="2.0.1-borken")
    assert run.code != 0
    assert f"There is no release 2.0.1-borken in the ledger; there are: {BROKEN} (failed)" in run.flat
    run = deploy.run("everup.deploy.abort", version=BROKEN)
    assert run.code == 0, run.output[-4000:]
    assert deploy.state(BROKEN) == "aborted"
    assert deploy.ledger(BROKEN)["lease"]["holder"] is None


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


def test_a_host_whose_archive_is_refused_goes_on_serving_what_it_had(deploy):
    run = deploy.run("everup.deploy.rollout", "-e", f"rolling_upgrade_archive_checksum={'0' * 64}")
    assert run.code != 0
    assert "is wanted" in run.flat
    (row,) = deploy.ledger()["members"].values()
    assert (row["host"], row["state"], row["version_before"], row["version_after"]) == ("web1", "rolled_back", OLD, OLD)
    assert deploy.versions() == {"web1": OLD, "web2": OLD, "web3": OLD}
    assert deploy.pool() == UP


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


def test_a_host_that_fails_once_it_serves_is_taken_back(deploy, tmp_path):
    """It fails when it serves already, so it has to be drained once more before it is restarted."""
    log = tmp_path / "status"
    deploy.vary(web3=restart_command(deploy, "web3", f"{pool_status(deploy, 'web3')} >> {log}"))
    refuse_ready = "BEFORE UPDATE ON everup_member WHEN NEW.host = 'web3' AND NEW.state = 'ready'"
    with sqlite3.connect(deploy.site.login["login_db"]) as database:
        database.execute(f"CREATE TRIGGER full {refuse_ready} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
    run = deploy.run("everup.deploy.rollout", "-e", "rolling_upgrade_canary=2")
    with sqlite3.connect(deploy.site.login["login_db"]) as database:
        database.execute("DROP TRIGGER full")
    assert run.code != 0
    assert "the disk is full" in run.flat
    assert deploy.member_states() == {"web1": "ready", "web2": "ready", "web3": "rolled_back"}
    assert deploy.versions() == {"web1": NEW, "web2": NEW, "web3": OLD}
    assert deploy.pool() == UP
    assert log.read_text().split() == ["DRAIN", "DRAIN"]
    assert deploy.state() == "failed"


def test_a_run_that_has_lost_its_lease_leaves_the_host_to_the_other_run(deploy):
    holder = "holder = 'another run', holder_process = '{}', expires_at = '2999-01-01T00:00:00.000Z'"
    update = f"UPDATE everup_lease SET token = token + 1, {holder}"
    steal = f"import sqlite3; db = sqlite3.connect('{deploy.site.login['login_db']}'); db.execute(\"{update}\"); db.commit()"
    deploy.vary(web3=restart_command(deploy, "web3", f"{sys.executable} -c {shlex.quote(steal)}; exit 7"))
    run = deploy.run("everup.deploy.rollout")
    assert run.code != 0
    assert "another run" in run.flat
    assert deploy.member_states() == {"web1": "ready", "web2": "ready", "web3": "upgrading"}
    assert deploy.installed() == dict.fromkeys(WEB, NEW)
    assert deploy.pool() == UP | {"web3": "DRAIN"}
    assert deploy.ledger()["events"][-1]["what"] == "member_upgrading"
    deploy.vary()


def test_the_lease_of_another_run_is_only_taken_when_asked_to(deploy):
    before = deploy.snapshot()
    run = deploy.run("release.yml")
    assert run.code != 0
    assert "another run" in run.flat and "release_takeover=true" in run.flat
    assert deploy.snapshot() == before


def test_the_same_command_goes_on_with_what_is_left_and_leaves_maintenance_to_whoever_began_it(deploy):
    deploy.site.haproxy.command("set server shop/web3 state maint")
    run = deploy.run("release.yml", "-e", "release_takeover=true", "-e", "rolling_upgrade_observe_seconds=1")
    assert run.code == 0, run.output[-4000:]
    assert "done already: web1, web2" in run.flat
    assert "web3 stays in maint on lb1, as it was before the release: whoever took it out puts it back" in run.flat
    assert "No user comes there, so it is not observed" in run.flat
    assert deploy.state() == "rolled"
    assert deploy.versions() == dict.fromkeys(WEB, NEW)
    assert deploy.pool() == UP | {"web3": "MAINT"}
    assert deploy.ledger()["members"]["web3"]["reason"] == "stays in maint on lb1, as it was before the release"
    deploy.site.haproxy.command("set server shop/web3 state ready")


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


def test_contract_refuses_a_member_that_nobody_has_in_the_inventory_and_asks_for_an_approval(deploy):
    whole = deploy.site.hosts()
    without = deploy.site.hosts()
    without["all"]["children"]["web"]["hosts"].pop("web3")
    deploy.site.write_inventory(without)
    settings = {"contract_soak": "0s", "contract_approvals": 1, "contract_override": {"hosts": "web3 is let go"}}
    run = deploy.run("everup.deploy.contract", "-e", json.dumps(settings))
    deploy.site.write_inventory(whole)
    assert run.code != 0
    assert "web3 is in pool shop on lb1" in run.flat
    assert "Closed: members, approval." in run.flat
    assert deploy.state() == "rolled"
    (told,) = [event["detail"] for event in deploy.ledger()["events"] if event["what"] == "contract_evidence"][-1:]
    states = {gate["name"]: gate["state"] for gate in told["gates"]}
    assert states["hosts"] == "no, overridden"
    assert (states["members"], states["approval"], states["sessions"]) == ("no", "no", "not applicable")


def test_an_approval_is_given_by_name(deploy):
    run = deploy.run("everup.deploy.approve")
    assert run.code != 0
    assert "approve_reason is missing" in run.flat
    run = deploy.run("everup.deploy.approve", "-e", json.dumps({"approve_reason": "seen it", "approve_by": "ann"}))
    assert run.code == 0, run.output[-4000:]
    assert "ann approves of contract/" in run.flat


def test_contract_runs_once_every_host_serves_the_version(deploy):
    settings = {"contract_soak": "1s", "contract_approvals": 1}
    run = deploy.run("everup.deploy.contract", "-e", json.dumps(settings))
    assert run.code == 0, run.output[-4000:]
    assert ": kept for at least 30d, everup.deploy.restore brings it back" in run.flat
    assert deploy.state() == "contracted"
    (told,) = [event["detail"] for event in deploy.ledger()["events"] if event["what"] == "contract_evidence"][-1:]
    assert (told["passes"], {gate["passes"] for gate in told["gates"]}) == (True, {True})
    assert {gate["name"]: gate["proof"] for gate in told["gates"]}["approval"].startswith("approved by ann at ")


def test_there_is_no_way_back_after_the_contract(deploy):
    before = deploy.snapshot()
    run = deploy.run("everup.deploy.rollback")
    assert run.code != 0
    assert "cannot go back: its contract has started" in run.flat
    assert deploy.state() == "contracted"
    assert deploy.snapshot()[1:] == before[1:]


def test_an_older_version_is_refused_after_the_contract_unless_a_reason_is_given(deploy):
    for playbook in ("everup.deploy.preflight", "everup.deploy.expand"):
        run = deploy.run(playbook, version="1.9.9")
        assert run.code != 0
        assert "Release 1.9.9 cannot be opened: it is older than 2.0.0, whose contract has started at" in run.flat
    run = deploy.run("everup.deploy.expand", "-e", "release_older_reason=true", version="1.9.9")
    assert run.code != 0, "a switch is no reason"
    assert deploy.state("1.9.9") is None
    run = deploy.run("everup.deploy.expand", "-e", json.dumps({"release_older_reason": "for the new schema"}), version="1.9.9")
    assert run.code == 0, run.output[-4000:]
    assert deploy.state("1.9.9") == "expanded"
