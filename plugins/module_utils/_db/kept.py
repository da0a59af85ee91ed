# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an object is called while it is kept in the trash, so that everybody else can leave it alone."""

from __future__ import annotations

import re

SCHEMA = "everup_trash"
PREFIX = "everup_trash_"
_LONGEST_RELEASE = 20


def kept_name(name: str, release: str | None, number: int, longest: int, prefix: str = "") -> str:
    """Return a name that no other kept object has: the old one, the release and a number, cut in its old part.

    Parameters:
        name: the object's own name, unquoted.
        release: the release that drops it.
        number: tells apart what has one name in one release.
        longest: how many bytes the engine allows.
        prefix: in front, where no schema of its own says that it is kept.
    """
    word = re.sub(r"[^A-Za-z0-9]+", "_", release or "no_release").strip("_")[:_LONGEST_RELEASE]
    tail = f"__{word}_{number}"
    room = longest - len(prefix) - len(tail)
    return f"{prefix}{name.encode()[:room].decode('utf-8', 'ignore')}{tail}"


def is_kept(schema: str | None, name: str) -> bool:
    """Return whether a table, view or column of this name is in the trash."""
    return (schema or "").lower() == SCHEMA or name.lower().startswith(PREFIX)
