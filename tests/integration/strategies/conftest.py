# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs steps of the role for one host that has a strategy, without database and balancer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.tests.support.adhoc import isolated

from lab.playbook import Run

ROLE = Path(__file__).resolve().parents[3] / "roles/rolling_upgrade"


class Steps(Run):
    """How a playbook of steps ended, and which version the host said it had, None when it was not asked."""

    @property
    def version_now(self) -> str | None:
        """The last version that the host told."""
        told = re.findall(r"version now: <(.*)>", self.output)
        return told[-1] if told else None


class Driver:
    """Runs steps of the role on web1, whose variables stay the same."""

    def __init__(self, folder: Path, variables: dict) -> None:
        self.folder = folder
        self.module_defaults: dict = {}
        # A role with the same variables and files, so that its tasks can be run one by one.
        self.role = folder / "roles/steps"
        (self.role / "tasks").mkdir(parents=True)
        for part in ("defaults", "files", "vars"):
            (self.role / part).symlink_to(ROLE / part)
        self.variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}

    def run(
        self, *steps: str, version: str = "2.0.0", back: bool = False, flags: tuple = (), env: dict | None = None, **variables
    ) -> Steps:
        """Run tasks files of the role, by their path below its tasks, and print which version the host said it has.

        Parameters:
            version: of the release.
            back: whether the host is on its way back, to version 1.0.0.
            flags, env: further arguments and environment variables of ansible-playbook.
            variables: further ones of the host.
        """
        if back:
            variables = {"rolling_upgrade_direction": "back", "rolling_upgrade_version_before": "1.0.0", **variables}
        tasks = [{"name": step, "ansible.builtin.include_tasks": f"{ROLE}/tasks/{step}.yml"} for step in steps]
        tell = {"msg": "version now: <{{ rolling_upgrade_version_now | default('not asked') }}>"}
        tasks.append({"name": "Tell", "ansible.builtin.debug": tell})
        (self.role / "tasks/main.yml").write_text(json.dumps(tasks))
        play = {"name": "Steps", "hosts": "web1", "gather_facts": False, "roles": ["steps"]}
        inventory = {"all": {"hosts": {"web1": {**self.variables, **variables}}}}
        (self.folder / "steps.yml").write_text(json.dumps([{**play, "module_defaults": self.module_defaults}]))
        (self.folder / "hosts.yml").write_text(json.dumps(inventory))
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.folder / "hosts.yml")]
        command += [str(self.folder / "steps.yml"), "-e", f"release_version={version}", *flags]
        environment = {**isolated(self.folder), "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "0", **(env or {})}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        return Steps(done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def driver_for(tmp_path_factory):
    """Make drivers with variables of their own."""

    def make(**variables) -> Driver:
        return Driver(tmp_path_factory.mktemp("steps"), variables)

    return make


@pytest.fixture(scope="module")
def package_driver_for(driver_for):
    """Make drivers of the strategy package for a host with a package manager, whose package is ``shop``."""

    def make(host, restart: list[str], **variables) -> Driver:
        return driver_for(
            ansible_python_interpreter=str(host.python),
            rolling_upgrade_strategy="package",
            rolling_upgrade_package="shop",
            rolling_upgrade_restart_command=restart,
            **variables,
        )

    return make
