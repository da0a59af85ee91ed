"""How versions of an application stand to each other, and when a change window is open."""

from __future__ import annotations

from datetime import datetime

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._release.versions import compare, is_at_least
from ansible_collections.everup.deploy.plugins.module_utils._release.window import is_within, parse_windows


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("2.4.0", "2.4.0", 0),
        ("2.10.0", "2.9", 1),
        ("2.9", "2.10.0", -1),
        ("v2.4", "2.4.0", 0),
        ("41", "42", -1),
        ("20261120", "20261121", -1),
        ("abc", "abc", 0),
        # Nobody can tell.
        ("2.4.0-rc1", "2.4.0", None),
        ("2.4.0-1", "2.4.0", None),
        ("3f2a9c1", "2.4.0", None),
        ("12ab34c", "2.4.0", None),
        ("20261120", "2.4.0", None),
        ("20261120.1", "2.4.0", None),
        ("7", "2.4.0", None),
        ("", "2.4.0", None),
    ],
)
def test_versions_are_compared_as_far_as_their_texts_tell(one, other, found):
    assert compare(one, other) == found
    assert compare(other, one) == (None if found is None else -found)
    assert is_at_least(one, other) is (found in (0, 1))


FRIDAY_NIGHT = datetime(2026, 11, 20, 23, 30)


@pytest.mark.parametrize(
    ("moment", "window", "zone", "found"),
    [
        (FRIDAY_NIGHT, "fri 22:00-04:00", "UTC", True),
        (datetime(2026, 11, 21, 3, 59), "fri 22:00-04:00", "UTC", True),
        (datetime(2026, 11, 21, 4, 0), "fri 22:00-04:00", "UTC", False),
        (datetime(2026, 11, 21, 23, 0), "fri 22:00-04:00", "UTC", False),
        (datetime(2026, 11, 20, 22, 0), "fri 22:00-04:00", "UTC", True),
        (datetime(2026, 11, 20, 21, 59), "fri 22:00-04:00", "UTC", False),
        (datetime(2026, 11, 20, 22, 0), "22:00-23:00", "UTC", True),
        (datetime(2026, 11, 20, 23, 0), "22:00-23:00", "UTC", False),
        (FRIDAY_NIGHT, "sun 22:00-22:00", "UTC", False),
        (datetime(2026, 11, 22, 23, 0), "fri-sun 22:00-22:00", "UTC", True),
        (FRIDAY_NIGHT, "sat-thu 22:00-04:00", "UTC", False),
        (datetime(2026, 11, 22, 23, 0), "sat-mon 22:00-23:59", "UTC", True),
        (FRIDAY_NIGHT, "00:00-01:00", "Europe/Berlin", True),
        (FRIDAY_NIGHT, "Sat 00:00-01:00", "Europe/Berlin", True),
        (FRIDAY_NIGHT, "fri 00:00-01:00", "Europe/Berlin", False),
    ],
)
def test_a_window_may_last_over_midnight_and_be_of_another_zone(moment, window, zone, found):
    assert is_within(moment, [window], zone) is found


@pytest.mark.parametrize("text", ["fri", "fry 22:00-23:00", "25:00-26:00", "24:00-25:00", "22:00-24:00", "22:00", "mon-fri", ""])
def test_what_is_no_window_is_refused(text):
    with pytest.raises(EverupError, match=r"no window|no time of day"):
        parse_windows([text], "UTC")
    with pytest.raises(EverupError, match="Mars/Crater"):
        parse_windows(["22:00-23:00"], "Mars/Crater")
