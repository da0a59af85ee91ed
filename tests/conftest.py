# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of a suite is left to its whole form, and what all tests bear on a machine that is busy with others."""

from __future__ import annotations

import os

from hypothesis import settings

# An example takes as long as a busy machine lets it wait.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")


def pytest_collection_modifyitems(config, items) -> None:
    """With EVERUP_TESTS=short leave out what is marked as whole: what repeats, on one engine or way more, what one has proved."""
    if os.environ.get("EVERUP_TESTS") != "short":
        return
    left_out = [item for item in items if item.get_closest_marker("whole")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("whole")]
