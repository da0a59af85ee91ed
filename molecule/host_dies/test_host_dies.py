# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The link of a web server is cut while it is out of the pool: the others go on, and the next run takes it up where it is."""

from __future__ import annotations

import pytest

from lab.scene import IS_SHORT, NEW, OLD, RELEASE

POINTS = ("Restart web1, web2 by its command", "Switch web1, web2 to", "Check the health of web1, web2")


@pytest.mark.parametrize("point", POINTS[:1] if IS_SHORT else POINTS)
def test_a_host_whose_link_is_cut_stops_the_release_and_is_taken_up_again(scene, point):
    with scene.users():
        release = scene.start(RELEASE)
        release.until_task(point)
        scene.namespaces.cut("web1")
        run = release.finish()
        assert run.code == 4  # Ansible's own for a host that it could not reach
        assert "The batch web3, web4 does not begin: web1 failed, is unreachable" in run.flat
        assert "Mend that, then run the same command again." in run.flat
        assert scene.members() == {"web1": "upgrading", "web2": "ready"}
        assert scene.ledger()["release"]["state"] == "failed"
        assert scene.installed() | {"web1": ""} == {"web1": "", "web2": NEW, "web3": OLD, "web4": OLD}
        assert scene.versions() == {"web1": None, "web2": NEW, "web3": OLD, "web4": OLD}
        for balancer in scene.balancers:
            pool = scene.pool(balancer)
            assert pool.pop("web1") != "UP"
            assert set(pool.values()) == {"UP"}
        if not IS_SHORT:
            check_that_it_is_missed(scene)
        scene.namespaces.mend("web1")
        run = scene.run(RELEASE)
        assert run.code == 0, run.output[-4000:]
        assert "done already: web2" in run.flat
    scene.check_rolled()


def check_that_it_is_missed(scene):
    """The next release ends by its name before anything is done, as long as the link is cut."""
    before = scene.snapshot()
    run = scene.run(RELEASE)
    assert run.code == 4
    assert "These hosts were unreachable or failed above: web1. Nothing was changed." in run.flat
    assert scene.snapshot() == before
