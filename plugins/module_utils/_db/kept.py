# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an object is called while it is kept in the trash, so that everybody else can leave it alone."""

from __future__ import annotations

import hashlib
import re

SCHEMA = "everup_trash"
PREFIX = "everup_trash_"
_LONGEST_RELEASE = 20
_MARK = 8


def kept_name(name: str, release: str | None, number: int, longest: int, prefix: str = "") -> str:
    """Return a name that no other kept object has: the old one, the release and a number.

    A table and its indexes have one number, and often one beginning: what is cut in its old part bears a mark of the whole.

    Parameters:
        name: the object's own name, unquoted.
        release: the release that drops it.
        number: tells apart what has one name in one release.
        longest: how many bytes the engine allows.
        prefix: in front, where no schema of its own says that it is kept.
    """
    word = re.sub(r"[^A-Za-z0-9]+", "_", release or "no_release").strip("_")[:_LONGEST_RELEASE]
    tail = f"__{word}_{number}"
    whole, room = name.encode(), longest - len(prefix) - len(tail)
    if len(whole) > room:
        mark = f"_{hashlib.sha256(whole).hexdigest()[:_MARK]}"
        name = whole[: room - len(mark)].decode("utf-8", "ignore") + mark
    return f"{prefix}{name}{tail}"


def is_kept(schema: str | None, name: str) -> bool:
    """Return whether a table, view or column of this name is in the trash."""
    return (schema or "").lower() == SCHEMA or name.lower().startswith(PREFIX)
