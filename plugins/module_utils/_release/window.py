# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says whether a moment lies within a change window such as ``mon-thu 22:00-04:00``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from .._errors import EverupError

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))?\s+)?(?P<begin>[0-2]\d:[0-5]\d)-(?P<end>[0-2]\d:[0-5]\d)", re.IGNORECASE
)


def parse_windows(windows, zone: str) -> list[tuple]:
    """Return days, first and last minute of each window.

    Parameters:
        windows: texts, with days or for every day. A window whose end is not behind its beginning lasts into the next day.
        zone: an IANA time zone.

    Raises:
        EverupError: one of them is no window, or the zone is not known here.
    """
    if not windows:
        return []
    _zone(zone)
    return [_parsed(text) for text in windows]


def _parsed(text: str) -> tuple:
    match = _FORM.fullmatch(str(text).strip())
    days = [match.group(name) for name in ("first", "last")] if match else []
    if not match or any(day and day.lower() not in _DAYS for day in days):
        raise EverupError(f"'{text}' is no window: write it as 'mon-thu 22:00-04:00', 'sat 06:00-12:00' or '02:00-05:00'.")
    first, last = (day.lower() if day else None for day in days)
    if first is None:
        covered = set(range(7))
    else:
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        covered = {day % 7 for day in range(begin, end + 1 + (7 if end < begin else 0))}
    return covered, _minutes(match.group("begin")), _minutes(match.group("end"))


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    if int(hours) > 23:
        raise EverupError(f"{text} is no time of day.")
    return int(hours) * 60 + int(minutes)


def is_within(moment: datetime, windows, zone: str) -> bool:
    """Return whether a moment, in UTC, lies in one of the windows; the end does not belong to it."""
    local = moment.replace(tzinfo=timezone.utc).astimezone(_zone(zone))
    minute, today = local.hour * 60 + local.minute, local.weekday()
    yesterday = (local - timedelta(days=1)).weekday()
    for days, begin, end in parse_windows(windows, zone):
        if begin < end:
            if today in days and begin <= minute < end:
                return True
        elif (today in days and minute >= begin) or (yesterday in days and minute < end):
            return True
    return False


def _zone(name: str):
    if name == "UTC":
        return timezone.utc
    from zoneinfo import ZoneInfo  # its data may be missing on a host that needs no other zone than UTC

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise EverupError(
            f"The time zone '{name}' is not known on this host: check contract_window_timezone ({error})."
        ) from None
