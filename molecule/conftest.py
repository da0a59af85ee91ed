# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hosts of the scenarios: molecule's own, or one lab for all scenarios of this run.

Within `molecule test` the hosts are there, and each scenario is played in full. `pytest molecule` makes them once, plays the
short form of every scenario on them, and removes them again.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.scene import INVENTORY, Scene
from lab.shop import SHOP
from lab.site import BIN, ROOT


def play(playbook: str, ephemeral: Path) -> None:
    """Run one of the playbooks of all scenarios, as molecule would."""
    settings = {
        "ANSIBLE_CONFIG": str(SHOP / "ansible.cfg"),
        "MOLECULE_EPHEMERAL_DIRECTORY": str(ephemeral),
        "MOLECULE_PROJECT_DIRECTORY": str(ROOT),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    command = [str(BIN / "ansible-playbook"), "-i", str(INVENTORY), str(ROOT / "molecule" / "resources" / playbook)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env=os.environ | settings)
    assert done.returncode == 0, f"{playbook}: {done.stdout[-4000:]}{done.stderr[-2000:]}"


@pytest.fixture(scope="session")
def ephemeral():
    """The folder of the hosts."""
    if given := os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY"):
        yield Path(given)
        return
    folder = ROOT / "build" / "scenarios"
    try:
        for playbook in ("destroy.yml", "create.yml", "prepare.yml"):
            play(playbook, folder)
        yield folder
    finally:
        play("destroy.yml", folder)


@pytest.fixture
def fresh_scene(ephemeral):
    """The hosts at version 1.0.0, and a ledger that knows nothing."""
    scene = Scene(ephemeral)
    scene.reset(is_expanded=False)
    yield scene
    scene.close()


@pytest.fixture
def scene(ephemeral):
    """The hosts at version 1.0.0, where the playbook `RELEASE` begins."""
    scene = Scene(ephemeral)
    scene.reset()
    yield scene
    scene.close()
