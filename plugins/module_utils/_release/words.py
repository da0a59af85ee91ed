# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How durations are told to people."""

from __future__ import annotations


def in_words(seconds: float | None) -> str:
    """Return a duration as people say it: ``120 ms``, ``3.4 s``, ``2 min 5 s``, ``26 h 3 min``, ``3 d 4 h``."""
    if seconds is None:
        return "not known"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for size, name, part, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
