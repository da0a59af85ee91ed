# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides who may hold the lease, from its row and what is known of the process that took it."""

from __future__ import annotations

from .._errors import EverupError


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
