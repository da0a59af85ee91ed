# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter of the preflight: variables of hosts whose names are nearly those of settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from ansible_collections.everup.deploy.plugins.module_utils._release.spelling import misspelt

# What the playbooks read themselves.
OF_PLAYBOOKS = (
    *("release_version", "release_contract", "release_takeover", "release_older_reason", "rollout_groups"),
    *("everup_database", "everup_migrations", "everup_placeholders"),
    *("approve_reason", "approve_by", "trash_object", "trash_early"),
)
_BEGINNINGS = ("release_", "rollout_", "everup_", "approve_", "trash_")
_ROLES = Path(__file__).resolve().parents[2] / "roles"


def settings() -> set[str]:
    """Return the names of all variables that roles and playbooks of this collection read."""
    names = set(OF_PLAYBOOKS)
    for file in _ROLES.glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"].values():
            names.update(entry.get("options", {}))
    return names


def misspelt_settings(hosts: Iterable[str], hostvars: Mapping) -> list[str]:
    """Return a sentence for each variable of the hosts that is most likely a misspelt setting."""
    beginnings = (*_BEGINNINGS, *(f"{role.name}_" for role in _ROLES.iterdir()))
    found = misspelt({name for host in hosts for name in hostvars[host]}, settings(), beginnings)
    return [f"{name} is no setting of everup.deploy, and nobody reads it: is {meant} meant?" for name, meant in found.items()]


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict:
        """Return the filter by name."""
        return {"misspelt_settings": misspelt_settings}
