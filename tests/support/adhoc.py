# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs tasks through Ansible itself: packed by AnsiballZ, with action plugin, check mode, diff mode and exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Done(NamedTuple):
    """What came of the task: exit code, the module's result (empty when there is none) and the whole output."""

    code: int
    result: dict
    output: str


def isolated(home: Path) -> dict:
    """Return the environment of an Ansible that knows no settings of the machine.

    Parameters:
        home: a folder for its own files.
    """
    config = home / "ansible.cfg"
    config.touch()
    return {
        **os.environ,
        "ANSIBLE_HOME": str(home / "home"),
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_ACTION_WARNINGS": "0",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
    }


def run_task(home: Path, module: str, options: dict, *flags: str, env: dict | None = None) -> Done:
    """Run one ad hoc task on a local host that is called web1.

    Parameters:
        home: a folder for Ansible's own files.
        module: its name in this collection.
        options: the module's.
        flags: more arguments of ansible, such as ``--check``.
        env: more environment variables.
    """
    command = [str(Path(sys.executable).with_name("ansible")), "all", "-i", "web1,"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", "-m", f"everup.deploy.{module}", "-a", json.dumps(options)]
    command += [] if "-c" in flags else ["-c", "local"]
    environment = {**isolated(home), "ANSIBLE_STDOUT_CALLBACK": "minimal", **(env or {})}
    done = subprocess.run([*command, *flags], check=False, capture_output=True, text=True, timeout=120, env=environment)
    _head, brace, rest = done.stdout.partition("=> {")
    result = json.JSONDecoder().raw_decode("{" + rest)[0] if brace else {}
    return Done(done.returncode, result, done.stdout + done.stderr)
