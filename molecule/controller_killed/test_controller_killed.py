# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller is killed; the same command always goes on, users notice nothing, and nothing is left behind.

Set EVERUP_KILL_SEED for other delays and kinds of kill, and EVERUP_KILLS for another number of random ones.
"""

from __future__ import annotations

import os
import random
import re

import pytest

from lab.playbook import kill_at
from lab.scene import IS_SHORT, RELEASE

SEED = int(os.environ.get("EVERUP_KILL_SEED", "20261121"))
KILLS = int(os.environ.get("EVERUP_KILLS", "50"))
LONGEST_S = 45.0  # a run that is killed sooner each time would never come to the hosts
SHORT_POINTS = ("Drain web", "Restart .* by its command", "Put .* back into pool")

in_full = pytest.mark.skipif(IS_SHORT, reason="in full only")


@pytest.fixture
def chance():
    return random.Random(SEED)


def finish(scene):
    """Run the same command once more, to its end."""
    run = scene.run(RELEASE)
    assert run.code == 0, run.output[-4000:]


def test_a_release_that_is_killed_out_of_the_pool_comes_to_its_end(scene, chance):
    with scene.users():
        for point in SHORT_POINTS:
            run = kill_at(scene.start(RELEASE), lambda line, point=point: re.search(point, line), 0.2, chance.random() < 0.5)
            assert run is None, f"the release ended before '{point}' was reached:\n{run.output[-4000:]}"
        finish(scene)
    scene.check_rolled()


@in_full
def test_a_release_that_is_killed_at_every_task_comes_to_its_end(scene, chance):
    """Each run is killed at the first task that none was killed at before; a task counts once, whichever hosts it names."""
    killed = set()

    def is_new(line: str) -> bool:
        name = re.sub(r"web\d(, web\d)*", "web", line.rstrip(" *\n"))
        is_first = name not in killed
        killed.add(name)
        return is_first

    with scene.users():
        while (run := kill_at(scene.start(RELEASE), is_new, chance.uniform(0.0, 0.3), chance.random() < 0.5)) is None:
            continue
        assert run.code == 0, run.output[-4000:]
    print(f"killed {len(killed)} times")
    assert len(killed) > 60
    scene.check_rolled()


@in_full
def test_a_release_that_is_killed_at_any_moment_comes_to_its_end(scene, chance):
    kills = 0
    while kills < KILLS:
        scene.reset()
        with scene.users():
            release = scene.start(RELEASE)
            while not release.is_over_after(chance.uniform(0.5, LONGEST_S)):
                release.kill(chance.random() < 0.5)
                kills += 1
                release = scene.start(RELEASE)
            run = release.finish()
            assert run.code == 0, run.output[-4000:]
            finish(scene)
        scene.check_rolled()
