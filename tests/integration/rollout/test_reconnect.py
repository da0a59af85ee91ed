# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host whose connection is lost for a moment is tried again, and not for ever."""

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
