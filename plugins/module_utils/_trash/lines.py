# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes what is kept in the trash, or is going to be, as lines for a terminal."""

from __future__ import annotations


def trash_lines(trash_info: dict) -> list[str]:
    """Return what an operator wants to know of the trash.

    Parameters:
        trash_info: result of the ``trash_info`` module.
    """
    lines = [_line(row) for row in trash_info["kept"]] or ["The trash is empty."]
    for old in trash_info["old_versions"]:
        name = f"{old['schema']}.{old['name']}".lstrip(".")
        lines.append(f"old version {old['kind']} {name}, beside {old['newest']}: last used {old['last_used']}")
    return lines


def drop_lines(plan: dict, purge_after: str) -> list[str]:
    """Return what contract scripts are going to drop, and what of it can be brought back.

    Parameters:
        plan: result of the ``migration`` module in check mode, with kept and lost.
        purge_after: for how long that is kept, such as ``30d``.
    """
    back = f"kept for at least {purge_after}, everup.deploy.restore brings it back"
    kept = [f"{one['object']}: {back}" for one in plan["kept"]]
    return kept + [f"{one['object']}: dropped for good, {one['why']}" for one in plan["lost"]]


def _line(row: dict) -> str:
    size = "" if row.get("bytes") is None else f", {row['bytes'] / 1e6:.1f} MB"
    until = "may be purged" if row["due"] else f"kept until {row['purge_after']}"
    release = f"release {row['release_version']}" if row["release_version"] else "no release"
    state = until if row["state"] == "dropped" else f"{row['state']} at {row['changed_at']}"
    return f"{row['id']} {row['kind']} {row['object']}, dropped by {release} at {row['dropped_at']}{size}, {state}"
