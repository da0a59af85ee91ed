# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks the database whether a backfill should wait, and why."""

from __future__ import annotations

from .._db.engines.base import Engine
from .._errors import EverupError
from .definition import Throttle


def reason_to_wait(db: Engine, throttle: Throttle, source: str) -> str:
    """Return what is over its bound, empty when nothing is.

    Raises:
        EverupError: a bound is asked for that this engine or user cannot tell, or the query gives no number.
    """
    if throttle.query:
        value = number(db.query(throttle.query), f"{source}: throttle.query")
        if value > throttle.most:
            return f"throttle.query says {value:g}, at most {throttle.most:g}"
    if throttle.lag is not None:
        lag = db.replication_lag()
        if lag is None:
            raise EverupError(
                f"{source}: throttle.lag: {db.name} does not tell this user how far its replicas are behind. Give the user that "
                "right (pg_monitor on PostgreSQL), or ask in another way with throttle.query."
            )
        if lag > throttle.lag:
            return f"a replica is {lag:.1f} s behind, at most {throttle.lag:g} s"
    if throttle.load is not None:
        busy = db.busy_sessions()
        if busy is None:
            raise EverupError(
                f"{source}: throttle.load: {db.name} does not tell how many sessions are at work. Ask in another way with "
                "throttle.query."
            )
        if busy > throttle.load:
            return f"{busy} other sessions are at work, at most {throttle.load}"
    return ""


def number(rows: list[dict], what: str) -> float:
    """Return the one number that a query gave.

    Raises:
        EverupError: it gave something else.
    """
    values = [list(row.values()) for row in rows]
    try:
        ((value,),) = values
        return float(value)
    except (TypeError, ValueError):
        shown = str(values)[:100]
        raise EverupError(f"{what} must return one row with one number, and returned {shown}.") from None
