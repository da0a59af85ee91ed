# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A --limit from another day is still in the command: it is refused by name before anything is done, by every playbook."""

from __future__ import annotations

import pytest

from lab.scene import IS_SHORT, RELEASE

PLAYBOOKS = ("release",) if IS_SHORT else ("release", "preflight", "rollout", "rollback")


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_limit_is_refused_by_name(fresh_scene, playbook):
    scene = fresh_scene
    if playbook in ("rollout", "rollback"):
        assert scene.run("expand").code == 0
    with scene.users():
        before = scene.snapshot()
        run = scene.run(playbook, "--limit", "localhost,web1")
        assert run.code == 2
        assert "--limit leaves out web2, web3, web4" in run.flat and "Leave --limit away" in run.flat
        assert scene.snapshot() == before
        run = scene.run(playbook, "--limit", "web1")
        assert run.code == 2
        assert "leave --limit away, or add localhost to it (--limit 'localhost,web1')" in run.flat
        assert scene.snapshot() == before


@pytest.mark.skipif(IS_SHORT, reason="in full only")
def test_the_same_command_without_it_goes_its_way(scene):
    with scene.users():
        assert scene.run(RELEASE, "--limit", "localhost,web1,web2,web3").code == 2
        run = scene.run(RELEASE)
        assert run.code == 0, run.output[-4000:]
        run = scene.run("contract", "-e", "contract_soak=0s", "--limit", "localhost,web1")
        assert run.code == 2
        assert "--limit leaves out web2, web3, web4" in run.flat
    scene.check_rolled()
