# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller is killed again and again over one release; the same command always goes on, and nothing is lost.

Set EVERUP_KILL_SEED for other delays, hosts and kinds of kill. With EVERUP_TESTS=short it is killed at half of the points.
"""

from __future__ import annotations

import os
import random
import re
import sqlite3
import time

import pytest

from lab.load_process import LoadProcess
from lab.load_report import summarise
from lab.playbook import kill_at
from lab.site import Site

SEED = int(os.environ.get("EVERUP_KILL_SEED", "20261121"))
VERSION = "2.0.0"
COMMAND = ("release.yml", "-e", f"release_version={VERSION}", "-e", "release_contract=true", "-e", "contract_soak=1s")
QUICK = {
    "rolling_upgrade_health_interval": 0.1,
    "rolling_upgrade_health_consecutive": 2,
    "rolling_upgrade_batch": 1,
    "rolling_upgrade_min_healthy": 1,
}
# One task of each step of a release, in its order. The later ones can only be reached if going on after the earlier kills works.
POINTS = (
    "Take the lease and open",
    "Apply the pending expand scripts",
    "Record that the database is expanded",
    "Begin to roll",
    "Unpack",
    "Record that .* leaves the pool",
    "Drain",
    "Switch .* to",
    "Restart .* by its command",
    "Check the health",
    "Put .* back into pool",
    "Record that .* serves",
    "Record that every host serves",
    "Begin to contract",
    "Apply the pending contract scripts",
    "Record that .* is contracted",
)
PER_HOST = POINTS[POINTS.index("Unpack") : POINTS.index("Record that .* serves") + 1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("kill"), count=3, variables=QUICK) as running:
        yield running


def reached(points: tuple, occurrence: int):
    """Say yes to the n-th task of the first point, or to one of a later point.

    A worker that outlives a kill may finish its task, and so take the release past a point before the next run comes there.
    """
    later = "|".join(points[1:]) or "$."
    seen = 0

    def is_reached(line: str) -> bool:
        nonlocal seen
        seen += bool(re.search(points[0], line))
        return seen == occurrence or (occurrence == 1 and bool(re.search(later, line)))

    return is_reached


def test_a_release_that_is_killed_at_every_step_comes_to_its_end(site, tmp_path):
    chance = random.Random(SEED)
    points = POINTS[1::2] if os.environ.get("EVERUP_TESTS") == "short" else POINTS  # the last one is among them
    later_hosts = chance.sample([point for point in points if point in PER_HOST], 2)
    with LoadProcess(site.url, tmp_path, rate=40) as load:
        started, kills = time.time(), 0
        for number, point in enumerate(points):
            occurrence = 2 if point in later_hosts else 1
            is_reached = reached(points[number:], occurrence)
            run = kill_at(site.start(*COMMAND), is_reached, chance.uniform(0.0, 0.4), chance.random() < 0.5)
            kills += run is None
            if run is not None:
                assert point == points[-1], f"the release ended before '{point}' was reached:\n{run.output[-4000:]}"
        assert kills >= len(points) - 1
        done = site.play(*COMMAND)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        figures = summarise(load.finish(), started, time.time())
    assert (figures["failed"], figures["wrong"], figures["lost_writes"]) == (0, 0, 0), figures
    assert figures["acknowledged_writes"] > 100
    assert_released(site)


def assert_released(site: Site) -> None:
    """Every host and member is where it should be, and every script ran exactly once."""
    for server in site.farm.servers:
        assert server.service("status")["release"].endswith(f"/{VERSION}"), server.name
    states = [line.split(",") for line in site.haproxy.command("show stat").splitlines()]
    status = {row[1]: row[17] for row in states if len(row) > 17 and row[1].startswith("web")}
    assert status == {"web1": "UP", "web2": "UP", "web3": "UP"}
    with sqlite3.connect(site.login["login_db"]) as database:
        assert database.execute("SELECT state FROM everup_release WHERE version = ?", (VERSION,)).fetchall() == [("contracted",)]
        applied = database.execute("SELECT subject FROM everup_event WHERE what = 'script_applied'").fetchall()
        states = database.execute("SELECT DISTINCT state FROM everup_member").fetchall()
        holder = database.execute("SELECT holder FROM everup_lease").fetchall()
    assert len(applied) == len(set(applied)) == 13, applied
    assert states == [("ready",)]
    assert holder == [(None,)]


@pytest.mark.whole
def test_the_finished_release_changes_nothing_when_run_again(site):
    done = site.play(*COMMAND)
    assert done.returncode == 0
    recaps = re.findall(r"^(\S+)\s+: ok=.* changed=(\d+)", done.stdout, flags=re.M)
    assert recaps
    assert {changed for _host, changed in recaps} == {"0"}, recaps
