# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host does not answer is asked again, and not without end; what hangs there is given up."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from ansible_collections.everup.deploy.tests.support.adhoc import isolated

from lab.site import BIN

PLAY = """
- hosts: web1
  gather_facts: false
  tasks:
    - name: Version now
      ansible.builtin.import_role: {name: everup.deploy.rolling_upgrade, tasks_from: version}
"""
# Loses the connection so many times, then runs the command here.
SSH = """#!/bin/sh
echo >> {calls}
[ "$(wc -l < {calls})" -gt 2 ] || exit 255
for last; do :; done
exec sh -c "$last"
"""

RESTART = """
- hosts: web1
  gather_facts: false
  tasks:
    - name: Restart
      ansible.builtin.import_role: {name: everup.deploy.rolling_upgrade, tasks_from: strategies/restart}
    - name: Hook
      ansible.builtin.include_role: {name: everup.deploy.rolling_upgrade, tasks_from: strategies/custom/upgrade}
"""


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"rolling_upgrade_restart_command": ["sleep", "120"]}, 2),
        ({"rolling_upgrade_restart_command": ["true"]}, 2),
        ({"rolling_upgrade_restart_command": ["true"], "rolling_upgrade_restart_timeout": "0"}, 0),
    ],
)
def test_a_restart_and_the_teams_own_tasks_are_waited_for_within_a_bound(tmp_path, settings, code):
    (tmp_path / "play.yml").write_text(RESTART)
    (tmp_path / "own.yml").write_text(json.dumps([{"name": "Take long", "ansible.builtin.command": "sleep 6"}]))
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "release_version": "2.0.0"}
    host |= {"rolling_upgrade_restart_timeout": "3", "rolling_upgrade_custom_upgrade": str(tmp_path / "own.yml")}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"web1": host | settings}}}))
    command = [str(BIN / "ansible-playbook"), "-i", "hosts.yml", "play.yml"]
    done = subprocess.run(command, cwd=tmp_path, env=isolated(tmp_path), capture_output=True, text=True, timeout=120)
    assert (done.returncode, "Timed out after 3 second(s)" in done.stdout + done.stderr) == (code, code != 0), done.stdout


@pytest.mark.parametrize(("reconnects", "code", "calls"), [({}, 0, 3), ({"rolling_upgrade_reconnects": 1}, 4, 2)])
def test_a_lost_connection_is_tried_again_so_often(tmp_path, reconnects, code, calls):
    (tmp_path / "play.yml").write_text(PLAY)
    ssh, log = tmp_path / "ssh", tmp_path / "calls"
    ssh.write_text(SSH.format(calls=log))
    ssh.chmod(0o755)
    host = {"ansible_connection": "ssh", "ansible_ssh_executable": str(ssh), "ansible_python_interpreter": sys.executable}
    host |= {"ansible_pipelining": True, "rolling_upgrade_archive_dest": str(tmp_path), "release_version": "2.0.0"}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"web1": host | reconnects}}}))
    command = [str(BIN / "ansible-playbook"), "-i", "hosts.yml", "play.yml"]
    done = subprocess.run(command, cwd=tmp_path, env=isolated(tmp_path), capture_output=True, text=True, timeout=120)
    assert (done.returncode, len(log.read_text().splitlines())) == (code, calls), done.stdout + done.stderr
