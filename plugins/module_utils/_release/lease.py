# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides who may hold the lease, from its row and what is known of the process that took it, and for how long."""

from __future__ import annotations

from collections.abc import Mapping

from .._db.script import parse_duration
from .._errors import EverupError

_SPARE_SECONDS = 60  # for Ansible's own time between the end of a step and the next renewal


class LeaseHeld(EverupError):
    """Somebody else holds the lease; details carry the holder for a machine to look at."""


def may_take(row: dict, process: dict, seconds_left: float, dead_token: int | None, takeover: bool) -> str:
    """Return ``renew`` when the asking process holds the lease already, ``take`` when it may take it.

    Parameters:
        row: the lease: token, holder, holder_process (dict), taken_at, expires_at, release_version.
        process: identity of the asking process: host, boot, namespace, pid and start.
        seconds_left: until the lease expires, by the database's clock; negative when it has.
        dead_token: fencing token of a holder whose process the controller has found dead.
        takeover: the user asks for it.

    Raises:
        LeaseHeld: names the holder, since when, from where, and when it expires.
    """
    if not row["holder"]:
        return "take"
    if process and row["holder_process"] == process:
        return "renew"
    if seconds_left < 0 or takeover or dead_token == row["token"]:
        return "take"
    raise LeaseHeld(
        f"The lease is held by {row['holder']} (process {row['holder_process'].get('pid', 'unknown')}) for release "
        f"{row['release_version']} since {row['taken_at']}; it expires at {row['expires_at']}, in {seconds_left:.0f} s, unless "
        "it is renewed. Let that run finish. If you know that it is dead, run this again after that time, or at once with "
        "release_takeover=true.",
        lease={name: row[name] for name in ("holder", "holder_process", "token", "taken_at", "expires_at", "release_version")},
    )


def lease_for(ttl: str, bounds: Mapping) -> str:
    """Return for how long a host's lease must be taken so that no step outlives it, as a duration.

    Bringing a version to the host is no such step: that touches nothing that serves, and a run whose lease is gone by then stops
    before the drain.

    Parameters:
        ttl: for how long it is taken at least.
        bounds: in seconds, what may take as long for the host: ``drain`` and ``ready`` on a balancer, ``notice`` until a balancer
            takes note of a health flag, ``restart``, also each of the team's own tasks, ``install``, ``health`` and ``warm_up``;
            and how many ``balancers`` it has, and ``own_tasks`` between drain and ready.

    Raises:
        EverupError: ttl is no duration.
    """
    try:
        least = parse_duration(ttl)
    except ValueError as error:
        raise EverupError(f"rolling_upgrade_lease_ttl: {error}.") from None
    of = {name: float(value) for name, value in bounds.items()}
    balancers = max(of["balancers"], 1)
    drain, ready = (balancers * (of[step] + of["notice"]) for step in ("drain", "ready"))
    change = of["restart"] + of["install"] + of["health"] + of["warm_up"]
    # From one renewal to the next: a hook and the drain; the team's own tasks and the upgrade; a hook and the way into the
    # pool; or all of the way back.
    longest = max(of["restart"] + drain, of["restart"] * of["own_tasks"] + change, of["restart"] + ready, drain + change + ready)
    return f"{max(least, longest + _SPARE_SECONDS):.0f}s"
