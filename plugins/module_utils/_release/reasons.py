# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What counts as a reason, wherever somebody must give one to pass a check by."""

from __future__ import annotations

# ``-e name=true`` is text when it comes here.
_SWITCHES = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "t", "f", "0", "1", "none", "null"})


def reason_of(given: object) -> str:
    """Return a reason as text, empty for what is none: ``true`` or a list is a switch, and says nothing to who reads the log.

    A number is one: it may be a ticket's.
    """
    if isinstance(given, bool) or not isinstance(given, (str, int, float)):
        return ""
    text = str(given).strip()
    return "" if text.casefold() in _SWITCHES else text
