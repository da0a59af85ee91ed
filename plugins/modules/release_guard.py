# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: refuse the next batch unless everything allows it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_guard
short_description: Refuse the next batch of a roll-out unless plan, ledger, lease and balancers allow it
version_added: 0.1.0
description:
  - The first task of every batch. Fails, naming every reason, when a planned host failed or went unreachable, when a host of an
    earlier batch is not where it should be, when the lease is lost, or when draining the batch would leave fewer healthy members
    in a pool than O(min_healthy).
  - Ansible's own C(max_fail_percentage) and C(any_errors_fatal) do not count unreachable hosts and are defeated by C(rescue) and
    C(always); the guard looks at the hosts that are left and at live state instead.
author: everup.deploy contributors (@everup)
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
  - everup.deploy.connection
attributes:
  check_mode:
    support: full
    details: Hosts and capacity are judged; the lease is not held in check mode and not asked for.
  diff_mode:
    support: none
options:
  version:
    description: The release.
    type: str
    required: true
  token:
    description: The fencing token of the lease.
    type: int
    required: true
  planned:
    description: Every host of the roll-out, in order.
    type: list
    elements: str
    required: true
  alive:
    description: The hosts that Ansible still runs tasks on, C(ansible_play_hosts).
    type: list
    elements: str
    required: true
  batch:
    description: The hosts about to begin, C(ansible_play_batch).
    type: list
    elements: str
    required: true
  direction:
    description: Whether the roll-out goes to the new version or back to the old one.
    type: str
    choices: [forward, back]
    default: forward
  pool:
    description: The pool that the batch leaves; empty for a group without a balancer.
    type: str
    default: ''
  mute_balancers:
    description: A sentence for each balancer that could not be asked; the batch does not begin while there are any.
    type: list
    elements: str
    default: []
  pool_members:
    description: Live members of the pool as M(everup.deploy.lb_member_info) returns them, of every balancer.
    type: list
    elements: dict
    default: []
  leaving:
    description: Names of the members that the batch takes out of the pool.
    type: list
    elements: str
    default: []
  behind:
    description:
      - By balancer, the members that it must have, as P(everup.deploy.balancers_of#filter) returns them; C(asked) of
        O(pool_members) says which one is meant.
      - A balancer that is not named must have every member that leaves.
    type: dict
    default: {}
    version_added: 0.2.0
  min_healthy:
    description: How many healthy members must be left serving in each pool, on each balancer.
    type: int
    default: 1
  lease_ttl:
    description: For how long this call renews the lease.
    type: str
    default: 10m
seealso:
  - module: everup.deploy.lb_member_info
"""

EXAMPLES = r"""
- name: May the batch begin?
  everup.deploy.release_guard:
    version: 2.4.0
    token: "{{ opened.token }}"
    planned: [web1, web2, web3]
    alive: "{{ ansible_play_hosts }}"
    batch: "{{ ansible_play_batch }}"
    pool: shop
    pool_members: "{{ pool.members }}"
    leaving: "{{ ansible_play_batch }}"
    login_db: /srv/shop/shop.sqlite
  run_once: true
"""

RETURN = r"""
reasons:
  description: Every reason why the batch must not begin.
  type: list
  elements: str
  returned: when the batch is refused
  sample: ['web2 failed, is unreachable, or was left out by --limit']
checked_at:
  description: When the batch was allowed, in seconds since 1970 by the clock of the host that this ran on.
  type: float
  returned: when the batch may begin
  sample: 1795341600.5
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module
from ansible_collections.everup.deploy.plugins.module_utils._release.commands import guard

ARGUMENT_SPEC = {
    **CONNECTION_SPEC,
    **LEDGER_SPEC,
    "version": {"type": "str", "required": True},
    "token": {"type": "int", "required": True, "no_log": False},
    "planned": {"type": "list", "elements": "str", "required": True},
    "alive": {"type": "list", "elements": "str", "required": True},
    "batch": {"type": "list", "elements": "str", "required": True},
    "direction": {"type": "str", "choices": ["forward", "back"], "default": "forward"},
    "pool": {"type": "str", "default": ""},
    "mute_balancers": {"type": "list", "elements": "str", "default": []},
    "pool_members": {"type": "list", "elements": "dict", "default": []},
    "leaving": {"type": "list", "elements": "str", "default": []},
    "behind": {"type": "dict", "default": {}},
    "min_healthy": {"type": "int", "default": 1},
    "lease_ttl": {"type": "str", "default": "10m"},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, guard)


if __name__ == "__main__":
    main()
