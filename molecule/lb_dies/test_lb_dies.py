# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One of two balancers cannot be reached. It may still send users to the hosts, so none of them is touched."""

from __future__ import annotations

import pytest

from lab.scene import IS_SHORT, OLD, RELEASE

in_full = pytest.mark.skipif(IS_SHORT, reason="in full only")


def test_a_balancer_that_is_lost_before_the_drain_keeps_the_hosts_as_they_are(scene):
    """It answers the controller no longer, and goes on sending requests to every member."""
    with scene.users("lb1", "lb2", rate=10):
        release = scene.start(RELEASE)
        release.until_task("Record that web1, web2 leaves the pool")
        scene.namespaces.hide("lb2")
        run = release.finish()
        assert run.code == 2
        assert "could not be drained on every balancer: lb2 unreachable" in run.flat
        scene.check_served(OLD)
        assert scene.members() == {"web1": "failed", "web2": "failed"}
        assert scene.ledger()["release"]["state"] == "failed"
        if not IS_SHORT:
            check_that_it_is_missed(scene)
        scene.namespaces.mend("lb2")
        run = scene.run(RELEASE)
        assert run.code == 0, run.output[-4000:]
    scene.check_rolled()


@in_full
def test_a_balancer_that_is_lost_before_the_release_is_named_and_nothing_is_done(scene):
    with scene.users("lb1", "lb2", rate=10):
        scene.namespaces.hide("lb2")
        before = scene.snapshot()
        run = scene.run(RELEASE)
        assert run.code == 2
        assert "balancer lb2 is unreachable" in run.flat
        assert "Nothing was changed." in run.flat
        assert scene.snapshot() == before


@in_full
def test_a_balancer_that_dies_while_hosts_are_out_of_the_pool_leaves_the_others_serving(scene):
    """Its users are gone with it. Those of the other one are served by the hosts that are left."""
    with scene.users("lb1"):
        release = scene.start(RELEASE)
        release.until_task("Restart web1, web2 by its command")
        scene.namespaces.cut("lb2")
        run = release.finish()
        assert run.code == 2
        assert "could not be put back on every balancer: lb2 unreachable" in run.flat
        assert scene.members() == {"web1": "failed", "web2": "failed"}
        assert scene.installed() | {"web1": "", "web2": ""} == {"web1": "", "web2": "", "web3": OLD, "web4": OLD}
        scene.namespaces.mend("lb2")
        run = scene.run(RELEASE)
        assert run.code == 0, run.output[-4000:]
    scene.check_rolled()


def check_that_it_is_missed(scene):
    """The next run ends by its name as long as it cannot be reached."""
    before = scene.snapshot()[2:]
    run = scene.run("rollout")
    assert run.code == 2
    assert "balancer lb2 is unreachable" in run.flat
    assert scene.snapshot()[2:] == before
