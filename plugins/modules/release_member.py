# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: write where one host is in a release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_member
short_description: Record where one host is in a release
version_added: 0.1.0
description:
  - Writes one host's row of a release in the ledger and renews the lease. Refused once another run has taken over.
author: everup.deploy contributors (@everup)
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
  - everup.deploy.connection
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  version:
    description: The release.
    type: str
    required: true
  token:
    description: The fencing token of the lease.
    type: int
    required: true
  host:
    description: The host's name in the inventory.
    type: str
    required: true
  web_group:
    description: The group that the host is upgraded with.
    type: str
    required: true
  state:
    description:
      - V(draining) from the moment that it may be out of the pool, V(upgrading) while its application is changed, V(healthy) once
        it has passed its health gate, V(ready) when it serves the new version.
      - V(rolled_back) when it serves the version it had before, V(failed) when it serves neither and stays out of the pool.
    type: str
    choices: [draining, upgrading, healthy, ready, failed, rolled_back]
    required: true
  version_before:
    description: The version it ran before; the first one recorded in a release stays.
    type: str
  version_after:
    description: The version it runs now.
    type: str
  reason:
    description: Why it is there.
    type: str
  stays_out:
    description:
      - With O(state=draining), where somebody else had taken the member out, as P(everup.deploy.taken_out#filter) returns it.
      - Kept with the event, so that a run that goes on after a kill leaves the member there as well.
    type: dict
    version_added: 0.2.0
  lease_ttl:
    description: For how long this call renews the lease.
    type: str
    default: 10m
seealso:
  - module: everup.deploy.release
"""

EXAMPLES = r"""
- name: Record that web1 serves 2.4.0
  everup.deploy.release_member:
    version: 2.4.0
    token: "{{ opened.token }}"
    host: web1
    web_group: web
    state: ready
    version_after: 2.4.0
    login_db: /srv/shop/shop.sqlite
"""

RETURN = r"""
member:
  description: The host's row.
  type: dict
  returned: success
  sample: {host: web1, web_group: web, state: ready, version_before: 2.3.0, version_after: 2.4.0, reason: null}
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module
from ansible_collections.everup.deploy.plugins.module_utils._release.commands import record_member

ARGUMENT_SPEC = {
    **CONNECTION_SPEC,
    **LEDGER_SPEC,
    "version": {"type": "str", "required": True},
    "token": {"type": "int", "required": True, "no_log": False},
    "host": {"type": "str", "required": True},
    "web_group": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["draining", "upgrading", "healthy", "ready", "failed", "rolled_back"], "required": True},
    "version_before": {"type": "str"},
    "version_after": {"type": "str"},
    "reason": {"type": "str"},
    "stays_out": {"type": "dict"},
    "lease_ttl": {"type": "str", "default": "10m"},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, record_member)


if __name__ == "__main__":
    main()
