# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A version that starts but does not become healthy ends at the canary, which serves its old version again."""

from __future__ import annotations

from lab.scene import BROKEN, IS_SHORT, NEW, OLD, RELEASE

PATIENCE = ("-e", "rolling_upgrade_health_timeout=4")


def test_a_bad_version_is_taken_back_at_the_canary(fresh_scene):
    scene = fresh_scene
    with scene.users():
        if IS_SHORT:
            assert scene.run("expand", version=BROKEN).code == 0
        check_taken_back(scene, scene.run(RELEASE, *PATIENCE, version=BROKEN))
        if not IS_SHORT:
            check_taken_back(scene, scene.run("release", *PATIENCE, version=BROKEN))
            run = scene.run(RELEASE)
            assert run.code == 2
            assert f"release {BROKEN} is 'failed'" in run.flat and "everup.deploy.rollback" in run.flat
        run = scene.run("rollback", version=BROKEN)
        assert run.code == 0, run.output[-4000:]
        assert scene.ledger(BROKEN)["release"]["state"] == "rolled_back"
        assert scene.ledger(BROKEN)["lease"]["holder"] is None
        scene.check_served(OLD)
        if not IS_SHORT:
            run = scene.run(RELEASE)
            assert run.code == 0, run.output[-4000:]
            scene.check_rolled(NEW)


def check_taken_back(scene, run):
    """The canary serves what it served before, nobody else was touched, and run and ledger say why."""
    assert run.code == 2
    assert "The batch web3, web4 does not begin: web1 of an earlier batch is 'rolled_back'" in run.flat
    assert "500" in run.flat and "Mend that, then run the same command again." in run.flat
    scene.check_served(OLD)
    ledger = scene.ledger(BROKEN)
    assert ledger["release"]["state"] == "failed"
    rows = {host: (row["state"], row["version_after"]) for host, row in ledger["members"].items()}
    assert rows == dict.fromkeys(("web1", "web2"), ("rolled_back", OLD))
    assert all("500" in row["reason"] for row in ledger["members"].values()), ledger["members"]
