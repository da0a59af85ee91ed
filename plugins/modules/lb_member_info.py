#!/usr/bin/python
# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: say what load balancers know of the members of their pools."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lb_member_info
short_description: Read state, health and sessions of load balancer pool members
version_added: 0.1.0
author: everup.deploy contributors (@everup)
description:
  - Returns the members of one pool or of every pool, as each balancer sees them now.
  - Fails when a balancer cannot be reached, or does not know the pool or the member.
extends_documentation_fragment:
  - everup.deploy.lb
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
attributes:
  action_group:
    membership:
      - everup.deploy.all
      - everup.deploy.lb
  check_mode:
    support: full
    details: Only reads.
  diff_mode:
    support: N/A
    details: Only reads.
options:
  pool:
    description: Name of the pool. Without it, or with V(*), the members of all pools are returned.
    type: str
  member:
    description: Name of the one member to return. Needs O(pool).
    type: str
  counters:
    description:
      - Whether to return what each balancer has counted of each member since it started. Needs O(pool).
      - Only O(provider=haproxy) and O(provider=envoy) count by member; it is an error with the others.
    type: bool
    default: false
    version_added: 0.2.0
seealso:
  - module: everup.deploy.lb_member
"""

EXAMPLES = r"""
- name: Read pool shop on both balancers
  everup.deploy.lb_member_info:
    address: [lb1.example.com:9999, lb2.example.com:9999]
    pool: shop
  register: shop_members
  delegate_to: localhost

- name: Count the members that serve
  ansible.builtin.debug:
    msg: "{{ shop_members.members | selectattr('serving') | map(attribute='member') | unique | length }} serve"
"""

RETURN = r"""
provider:
  description: What was asked, as given.
  returned: success
  type: str
  sample: haproxy
  version_added: 0.2.0
members:
  description: One entry a member and balancer, in the order of the addresses and of the balancer's configuration.
  returned: success
  type: list
  elements: dict
  contains:
    balancer:
      description: Address of the balancer, as given.
      type: str
      sample: lb1.example.com:9999
    pool:
      description: Name of the pool.
      type: str
      sample: shop
    member:
      description: Name of the member.
      type: str
      sample: web1
    address:
      description: Where the balancer sends the member's requests.
      type: str
      sample: 192.0.2.11:8080
    state:
      description: Administrative state, V(ready), V(drain) or V(maint), or V(changing) after a change that was cut short.
      type: str
      sample: ready
    health:
      description: What the health check says, in the balancer's words.
      type: str
      sample: UP
    healthy:
      description: Whether the health check passes without reserve. True where nothing is checked.
      type: bool
      sample: true
    serving:
      description: Whether new sessions reach it and it is known to answer them.
      type: bool
      sample: true
    sessions:
      description: Sessions running on the member or queued for it.
      type: int
      sample: 57
    weight:
      description: Share of new sessions.
      type: int
      sample: 1
    backup:
      description: Whether it gets sessions only once no other member is left; a roll-out does not count it as capacity.
      type: bool
      sample: false
    counters:
      description: What the balancer has counted since it started; a reload lets it count from 0 again.
      type: dict
      returned: O(counters=true)
      contains:
        requests:
          description: Requests that it sent to the member.
          type: int
          sample: 4211
        errors:
          description: Those of them that got a status of 500 or more from the member, or no whole answer.
          type: int
          sample: 3
        response_ms:
          description: Average time until the member began to answer, V(null) where the balancer does not measure it.
          type: int
          sample: 12
        response_over:
          description: How many answers this moving average remembers.
          type: int
          sample: 512
"""

from ..module_utils._lb.members import read_members
from ..module_utils._lb.providers import argument_spec, connect, required_if
from ..module_utils._module import run_module

ARGUMENT_SPEC = argument_spec(pool={"type": "str"}, member={"type": "str"}, counters={"type": "bool", "default": False})


def run(params: dict, check_mode: bool) -> dict:
    """Return what every balancer says of the members asked for."""
    members = read_members(connect(params), params["pool"], params["member"], params["counters"])
    return {"members": members, "provider": params["provider"]}


def main() -> None:
    run_module(ARGUMENT_SPEC, run, required_if=[*required_if(), ("counters", True, ["pool"])], required_by={"member": "pool"})


if __name__ == "__main__":
    main()
