# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds settings that nobody reads since their names are written wrongly."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# How much alike two names must be behind their beginning: a transposed, missing or wrong letter or two, and not another word.
_LIKENESS = 0.8


def misspelt(names: Iterable[str], known: Iterable[str], beginnings: Iterable[str]) -> dict[str, str]:
    """Return what was most likely meant by each name that begins as settings do, is none, and is much like one.

    A team's own variable may begin in the same way. Names with two underscores are a role's own.

    Parameters:
        names: of variables.
        known: of settings.
        beginnings: what settings begin with, such as ``contract_``.
    """
    known, beginnings = set(known), tuple(beginnings)
    found = {}
    for name in sorted(set(names) - known):
        beginning = next((one for one in beginnings if name.startswith(one)), None)
        if beginning is None or "__" in name:
            continue
        rests = sorted(other.removeprefix(beginning) for other in known if other.startswith(beginning))
        nearest = get_close_matches(name.removeprefix(beginning), rests, n=1, cutoff=_LIKENESS)
        if nearest:
            found[name] = beginning + nearest[0]
    return found
