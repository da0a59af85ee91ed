# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The version at the front of a script's file name: its grammar and its order."""

from __future__ import annotations

import re
from functools import total_ordering

_PLAIN = re.compile(r"(?P<version>[0-9]+(?:[._-][0-9]+)*)_(?P<description>[^_].*)")
_NUMBERS = re.compile(r"[0-9]+(?:[._-][0-9]+)*")
_JOINT = re.compile(r"[._-]")
_FLYWAY = re.compile(r"V(?P<version>[0-9]+(?:[._][0-9]+)*)__(?P<description>.+)")


@total_ordering
class Version:
    """A version such as 0007, 2.4.0, 20261120093000, 2026-11-20_01 or Flyway's 7_1.

    Versions compare number by number; zeros in front and at the end do not count, so 7, 0007 and 7.0 are equal.

    Raises:
        ValueError: the text holds anything but digits joined by '.', '_' or '-'.
    """

    def __init__(self, text: str) -> None:
        self.text = str(text).strip()
        bare = self.text[1:] if self.text[:1] == "V" else self.text
        if not _NUMBERS.fullmatch(bare):
            raise ValueError(f"'{text}' is no version: digits joined by '.', '_' or '-', such as 0007 or 2.4.0")
        numbers = [int(part) for part in _JOINT.split(bare)]
        while len(numbers) > 1 and numbers[-1] == 0:
            numbers.pop()
        self._key = tuple(numbers)

    def __eq__(self, other) -> bool:
        return self._key == other._key if isinstance(other, Version) else NotImplemented

    def __lt__(self, other) -> bool:
        return self._key < other._key if isinstance(other, Version) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Version({self.text!r})"


def parse_name(stem: str) -> tuple[Version, str]:
    """Return version and description of a file name without its ``.sql``.

    Raises:
        ValueError: the name is not VERSION_description.
    """
    match = _FLYWAY.fullmatch(stem) or _PLAIN.fullmatch(stem)
    if not match:
        raise ValueError(
            "the name is not VERSION_description.sql, such as 0007_add_profile_id.sql, 2.4.0_add_profile_id.sql or "
            "V7__add_profile_id.sql"
        )
    return Version(match.group("version")), match.group("description")
