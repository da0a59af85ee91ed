# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules as Ansible runs them: packed by AnsiballZ, with its check mode, diff mode and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from ansible_collections.everup.deploy.tests.support.adhoc import run_task


@pytest.fixture
def ansible(tmp_path):
    """Run one ad hoc task; returns exit code, the module's result and the whole output."""

    def run(module: str, options: dict, *flags: str):
        return run_task(tmp_path, module, options, *flags)

    return run


def test_check_and_diff_show_the_change_without_making_it(lb, rig, ansible):
    options = {**lb.task_options(rig), "pool": "shop", "member": "web1", "state": "drain"}
    code, result, output = ansible("lb_member", options, "--check", "--diff")
    assert code == 0, output
    assert result["changed"] is True
    assert f'-    "{rig.address}": "ready"' in output
    assert f'+    "{rig.address}": "drain"' in output
    assert lb.facts(rig)["state"] == "ready"


def test_drain_changes_and_returns_the_members(lb, rig, ansible):
    options = {**lb.task_options(rig), "address": rig.address, "pool": "shop", "member": "web1", "state": "drain"}
    code, result, output = ansible("lb_member", options)
    assert code == 0, output
    assert result["changed"] is True
    assert result["members"][0]["after"]["state"] == "drain"
    assert "diff" not in result
    assert lb.facts(rig)["state"] == "drain"


def test_failure_is_a_failed_task_with_what_was_seen(lb, rig, apps, ansible):
    lb.Request(rig.port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    options = {**lb.task_options(rig), "pool": "solo", "member": "web1", "state": "drain", "timeout": 0}
    code, result, output = ansible("lb_member", options)
    assert code == 2, output
    assert "1 session on balancer" in result["msg"]
    assert result["changed"] is True
    assert result["members"][0]["after"]["sessions"] == 1


def test_info_returns_the_members_also_in_check_mode(lb, rig, ansible):
    code, result, output = ansible("lb_member_info", {**lb.task_options(rig), "pool": "shop"}, "--check")
    assert code == 0, output
    assert [member["member"] for member in result["members"]] == ["web1", "web2"]
    assert result["changed"] is False


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        (
            "lb_member",
            {"pool": "shop", "member": "web1", "state": "drain"},
            "provider is haproxy but all of the following",
        ),
        ("lb_member_info", {"address": ["/x"], "member": "web1"}, "required by 'member': pool"),
    ],
)
def test_missing_options_are_named(module, options, said):
    """By the module alone, as a process: starting Ansible costs two seconds."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            f"ansible_collections.everup.deploy.plugins.modules.{module}",
            json.dumps({"ANSIBLE_MODULE_ARGS": options}),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert said in json.loads(done.stdout)["msg"]
