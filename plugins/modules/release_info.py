# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: read releases, members, events and the lease from the ledger."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Tell where a release and its hosts are
version_added: 0.1.0
description:
  - Reads the ledger. Changes nothing, and creates nothing in a database that has no ledger yet.
author: everup.deploy contributors (@everup)
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
  - everup.deploy.connection
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  version:
    description: The release to tell about; by default the newest.
    type: str
  soak:
    description: The soak to reckon RV(soak_seconds_left) with, such as V(24h).
    type: str
    default: ''
  events:
    description: How many of the newest events to return.
    type: int
    default: 50
  budget:
    description: The downtime that releases may cause, such as V(30m per 7d), to reckon RV(downtime.budget) with.
    type: str
    default: ''
    version_added: 0.2.0
seealso:
  - module: everup.deploy.release
"""

EXAMPLES = r"""
- name: Where is the release?
  everup.deploy.release_info:
    login_db: /srv/shop/shop.sqlite
  register: status

- name: Show it
  ansible.builtin.debug:
    msg: "{{ status.release.version }} is {{ status.release.state }}: {{ status.next_step }}"
"""

RETURN = r"""
ledger:
  description: Whether the collection's own tables exist in this database.
  type: bool
  returned: success
releases:
  description: Every release, oldest first.
  type: list
  elements: dict
  returned: success
release:
  description: The release asked for, or the newest; nothing when there is none.
  type: dict
  returned: success
members:
  description: Where each host is in that release, by host. C(stays_out) is where somebody else had taken its member out before.
  type: dict
  returned: success
  sample: {web1: {host: web1, web_group: web, state: ready, version_before: 2.3.0, version_after: 2.4.0}}
events:
  description: The newest events of that release, oldest first.
  type: list
  elements: dict
  returned: success
lease:
  description: Who holds the lease, since when, and for how many seconds yet.
  type: dict
  returned: success
soak_seconds_left:
  description: Seconds of soak that are left, negative when it is over; nothing before the release was rolled.
  type: float
  returned: when there is a release
downtime:
  description: What availability probes have measured.
  type: dict
  returned: success
  contains:
    runs:
      description: Each run of the probe during that release, with its figures, oldest first.
      type: list
      elements: dict
    budget:
      description:
        - Of O(budget) over every release, C(spent_ms), C(left_ms), and C(enough_at), from when on something is left again.
      type: dict
next_step:
  description: What a person does next.
  type: str
  returned: success
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module
from ansible_collections.everup.deploy.plugins.module_utils._release.commands import release_info

ARGUMENT_SPEC = {
    **CONNECTION_SPEC,
    **LEDGER_SPEC,
    "version": {"type": "str"},
    "soak": {"type": "str", "default": ""},
    "events": {"type": "int", "default": 50},
    "budget": {"type": "str", "default": ""},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, release_info)


if __name__ == "__main__":
    main()
