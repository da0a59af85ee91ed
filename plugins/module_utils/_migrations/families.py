# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds views, procedures and functions that live in several versions side by side, such as ``spFind`` and ``spFind_2``."""

from __future__ import annotations

import re

_NUMBERED = re.compile(r"(?P<base>.*[^\d_])_(?P<number>[1-9]\d*)")


def families(objects: list[dict]) -> list[dict]:
    """Return the families of objects that have more than one version, each with its versions from old to new.

    Parameters:
        objects: dicts with schema, name and kind of every stored view, procedure and function.

    Returns:
        dicts with schema, name (of the family), kind, and versions: dicts with name and version; the name without a number is
        version 1.
    """
    found: dict[tuple, dict[int, str]] = {}
    for one in objects:
        match = _NUMBERED.fullmatch(one["name"])
        base, number = (match["base"], int(match["number"])) if match else (one["name"], 1)
        found.setdefault((one["schema"] or "", base, one["kind"]), {})[number] = one["name"]
    return [
        {
            "schema": schema,
            "name": base,
            "kind": kind,
            "versions": [{"name": name, "version": number} for number, name in sorted(versions.items())],
        }
        for (schema, base, kind), versions in sorted(found.items())
        if len(versions) > 1
    ]
