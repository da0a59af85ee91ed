# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says since when every host of a release is ready, and whether the clocks that tell it can be reckoned with.

Times are the database's clock's. The controller's is only asked whether the two have moved apart since the roll-out ended, which
tells that one of them has jumped.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._moments import in_words, parse_time, unix
from .evidence import Facts, Policy


def last_ready(facts: Facts) -> str | None:
    """Return when the last host became ready, None where the ledger does not know it."""
    rolled = facts.release.get("rolled_at")
    if facts.release.get("reached") not in ("rolled", "contracted") or not rolled:
        return None
    return max([rolled, *(row["changed_at"] for row in facts.members.values() if row["state"] == "ready" and row["changed_at"])])


def clock_doubt(facts: Facts, policy: Policy) -> str:
    """Return why times of the database's clock cannot be reckoned with, empty where they can.

    The event of the roll-out's end has the controller's time beside the database's. How far these two were apart then and are now
    tells whether either has jumped in between; that they were apart all along does not matter.
    """
    since = last_ready(facts)
    if since and facts.now < since:
        return f"the database's clock says {facts.now}, and that the last host became ready at {since}: it has gone back"
    ended = rolled_event(facts)
    later = [event for event in facts.events if ended is not None and event["id"] >= ended["id"]]
    for before, after in zip(later, later[1:]):
        if (parse_time(before["at"]) - parse_time(after["at"])).total_seconds() > policy.clock_tolerance:
            return f"the database's clock has gone back from {before['at']} to {after['at']} since the roll-out"
    if facts.controller_now is None:
        return ""
    apart = unix(facts.now) - facts.controller_now
    then = (ended or {}).get("detail", {}).get("controller_at")
    apart_then = unix(ended["at"]) - then if then is not None else 0.0
    if abs(apart - apart_then) > policy.clock_tolerance:
        return (
            f"database and controller were {apart_then:.0f} s apart when the roll-out ended and are {apart:.0f} s apart now: one "
            "of the clocks has jumped"
        )
    return ""


def still_soaking(version: str, since: str, written: str, left: float) -> str:
    """Return the sentence that a soak of so long, as it was written, has so many seconds left."""
    return f"Release {version} serves all traffic since {since}; its soak of {written} has {in_words(left)} left"


def rolled_event(facts: Facts) -> Mapping | None:
    """Return the event of the roll-out's end, the last one."""
    ends = [event for event in facts.events if event["what"] == "release_rolled"]
    return ends[-1] if ends else None
