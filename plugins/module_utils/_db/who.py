# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names the person and machine that this process acts for."""

from __future__ import annotations

import getpass
import os
import platform
from functools import lru_cache


def user_name() -> str:
    """Return the user's name, or its number where the machine knows no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@lru_cache
def whoami() -> str:
    """Return user@host of this process, for 'by whom' columns."""
    return f"{user_name()}@{platform.node()}"
