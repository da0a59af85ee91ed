# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users stay connected while the release goes on: by downloads, long polls, WebSockets and connections that are kept alive.

What ends by itself is never cut. What does not end holds its host up until the bound of the drain; then the run ends and it
stays, or, where the team has asked for that, it is told and cut.
"""

from __future__ import annotations

import time
from datetime import datetime

from lab.scene import NEW, OLD, RELEASE, wait_until

SECONDS = 4.0  # of a session that ends by itself
SHORT_BOUND, BOUND = 2, 8
PROCEED = ("-e", "rolling_upgrade_drain_on_timeout=proceed")


def test_long_sessions_end_by_themselves_and_one_that_does_not_meets_the_bound(scene):
    with scene.users(), scene.streams(SECONDS, endless="web1") as streams:
        wait_until(lambda: streams.latest()["held"], "a WebSocket is held on web1")
        time.sleep(SECONDS)

        run = scene.run(RELEASE, "-e", f"rolling_upgrade_drain_timeout={SHORT_BOUND}")
        assert run.code == 2
        assert f"Member web1 of pool web is not drained after {SHORT_BOUND} s: last seen " in run.flat
        assert "running ones were not cut" in run.flat
        latest = streams.latest()
        assert latest["held"], f"cut although the run did not go on: {latest['cut']}\n{scene.log('web1')}\n{run.output[-6000:]}"
        assert scene.members()["web1"] == "rolled_back"
        assert scene.installed() | {"web2": ""} == {"web1": OLD, "web2": "", "web3": OLD, "web4": OLD}
        for balancer in scene.balancers:
            assert set(scene.pool(balancer).values()) == {"UP"}

        run = scene.run(RELEASE, "-e", f"rolling_upgrade_drain_timeout={BOUND}", *PROCEED)
        assert run.code == 0, run.output[-4000:]
        assert f"Member web1 of pool web is not drained after {BOUND} s: last seen 1 session on" in run.flat
        for host in ("web2", "web3", "web4"):
            assert f"Member {host} of pool web is not drained" not in run.flat
        assert not streams.latest()["held"]
        seen = streams.finish()
    scene.check_rolled()
    check_sessions(seen["sessions"], drained_at(scene, "web1"))
    check_kept_alive(seen["kept_alive"])


def drained_at(scene, host: str) -> float:
    """Return when the last drain of a host began, as Unix time."""
    events = scene.ledger()["events"]
    began = [event["at"] for event in events if (event["what"], event["subject"]) == ("member_draining", host)]
    return datetime.fromisoformat(max(began)).timestamp()


def check_sessions(sessions: list, drained: float) -> None:
    """All came to their end, but for the one that never ends, which was cut after the bound and not before."""
    cut = [session for session in sessions if session["outcome"] == "cut"]
    assert [(session["kind"], session["server"], session["version"]) for session in cut] == [("endless", "web1", OLD)], cut
    assert cut[0]["ended"] - drained >= BOUND, f"cut {cut[0]['ended'] - drained:.1f} s after the drain began"
    for kind in ("download", "poll", "feed"):
        ended = [session for session in sessions if (session["kind"], session["outcome"]) == (kind, "ended")]
        assert {session["version"] for session in ended} == {OLD, NEW}, f"{kind}: {ended}"
        assert min(session["ended"] - session["began"] for session in ended) >= SECONDS * 0.9


def check_kept_alive(kept: dict) -> None:
    """Connections were kept over the whole release, and not one request on them failed."""
    assert kept["failed"] == []
    assert kept["versions"] == [OLD, NEW]
    assert kept["requests"] > 50 * kept["connections"], kept
