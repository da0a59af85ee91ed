# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of the strategies: which version a package, a container or an image is of, and what the control node lacks."""

from __future__ import annotations

from importlib.util import find_spec

from ansible_collections.everup.deploy.plugins.module_utils._app import containers, packages


def missing_collections(names: list) -> list[str]:
    """Return the collections that are not installed on the control node."""
    return [name for name in names if not _is_there(f"ansible_collections.{name}")]


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even the namespace
        return False


class FilterModule:
    """Names the filters for Ansible."""

    def filters(self) -> dict:
        """Return the filters by name."""
        return {
            "container_version": containers.container_version,
            "image_leftovers": containers.image_leftovers,
            "missing_collections": missing_collections,
            "version_in": packages.version_in,
        }
