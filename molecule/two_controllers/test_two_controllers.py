# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two releases are started at once: exactly one proceeds, and the other says who does."""

from __future__ import annotations

import time

import pytest

from lab.scene import IS_SHORT, RELEASE

DELAYS = (0.0,) if IS_SHORT else (0.0, 0.5, 3.0, 12.0)


@pytest.mark.parametrize("delay", DELAYS)
def test_of_two_releases_at_once_exactly_one_proceeds(scene, delay):
    with scene.users():
        first = scene.start(RELEASE)
        time.sleep(delay)
        second = scene.start(RELEASE)
        runs = sorted((first.finish(), second.finish()), key=lambda run: run.code)
        winner, loser = runs
        assert (winner.code, loser.code) == (0, 2), loser.output[-4000:]
        assert "The lease is held by" in loser.flat and "for release 2.0.0 since" in loser.flat
        assert "Let that run finish." in loser.flat and "release_takeover=true" in loser.flat
        assert not {host for host, changed in loser.changed.items() if changed}
    scene.check_rolled()
    opened = [event for event in scene.ledger()["events"] if event["what"] == "member_ready"]
    assert len(opened) == len(scene.web), opened
    if not IS_SHORT:
        run = scene.run(RELEASE)
        assert run.code == 0, run.output[-4000:]
        assert set(run.changed.values()) == {0}, run.changed
