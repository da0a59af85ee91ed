# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How two versions of an application stand to each other, as far as their texts tell."""

from __future__ import annotations

import re

_FORM = re.compile(r"v?(?P<numbers>\d+(?:\.\d+)*)(?P<rest>[-+].*)?")
# A longer number is a date or a build's, and says nothing beside one of another kind.
_LONGEST_COUNTED = 5


def compare(one: str, other: str) -> int | None:
    """Return -1, 0 or 1 as one version is older than another, the same or newer; None where the texts do not tell.

    Numbers joined by dots are compared, ``2.10.0`` with ``2.9``. What stands behind ``-`` or ``+`` is a preview for one team and
    a rebuild for another, so beside the same numbers it tells nothing; nor does the hash of a commit.
    """
    if one == other:
        return 0
    left, right = _FORM.fullmatch(one), _FORM.fullmatch(other)
    if not left or not right:
        return None
    ours, theirs = (_numbers(match.group("numbers")) for match in (left, right))
    if not _is_one_kind(left.group("numbers"), right.group("numbers")):
        return None
    if ours != theirs:
        return -1 if ours < theirs else 1
    return 0 if left.group("rest") == right.group("rest") else None


def is_at_least(version: str, release: str) -> bool:
    """Return whether a version is surely a release's or a newer one."""
    return compare(version, release) in (0, 1)


def _numbers(text: str) -> tuple:
    numbers = [int(part) for part in text.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _is_one_kind(one: str, other: str) -> bool:
    left, right = one.split("."), other.split(".")
    longest = [max(len(parts[0]), _LONGEST_COUNTED) for parts in (left, right)]
    return (len(left) == 1) == (len(right) == 1) and longest[0] == longest[1]
