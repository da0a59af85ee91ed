# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter that plans the batches of a rolling upgrade."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rolling_batches
short_description: Plan the batches of a rolling upgrade over several groups
version_added: 0.1.0
author: everup.deploy contributors (@everup)
description:
  - Splits an ordered list of groups into batches of hosts that are upgraded together.
  - A batch never spans two groups, the canary of a group comes first, and every host is in exactly one batch.
  - Canary and batches are as large as asked, unless a rule about zones, pools or what may be out at once makes them smaller.
  - An empty group has no batch. A host listed twice, an unknown key or a size that is none is an error.
positional: _input
options:
  _input:
    description: The groups, in the order in which they are upgraded.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the group.
        type: str
        required: true
      hosts:
        description: Its hosts, in the order in which they are upgraded.
        type: list
        elements: str
        required: true
      canary:
        description:
          - Size of the first batch of the group, as a number of hosts or as a percentage of the group's
            hosts, which is rounded down to no less than 1.
          - V(0) for no canary.
        type: str
        default: '1'
      batch:
        description:
          - Size of every later batch of the group, as a number of hosts or as a percentage like
            O(_input[].canary).
        type: str
        default: 25%
      max_unavailable:
        description:
          - No batch of the group is larger, neither is its canary. As a number of hosts or as a percentage like
            O(_input[].canary).
        type: str
      min_healthy:
        description:
          - How many hosts a batch must leave of the pool, or of the group where no pool is named. It is an error when
            that leaves no host to take out.
        type: int
      pool:
        description:
          - The pool that the group is in. Groups that name the same one are counted together.
          - A batch never takes all of a pool of two hosts or more.
        type: str
      zones:
        description:
          - The zone of every host of the group, such as a rack or a data centre. The order of the hosts is then spread over the
            zones, behind the first host of the group, which stays the first.
          - A batch takes no more from a zone than its share, which is the size of the batch times the zone's part of the
            group, rounded up. In a group of several zones it never takes all of a zone of two hosts or more.
        type: dict
        default: {}
      whole:
        description:
          - All hosts of the group, where O(_input[].hosts) is only what is left to do. Sizes, zones and floors are of these.
        type: list
        elements: str
      out:
        description: Hosts that do not serve anyhow. They come first.
        type: list
        elements: str
        default: []
seealso:
  - plugin: ansible.builtin.linear
    plugin_type: strategy
    description: Runs a play with the batch sizes given in C(serial).
"""

EXAMPLES = r"""
- name: Plan the rolling upgrade
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Upgrade the API first, then the web servers
      ansible.builtin.set_fact:
        rollout: "{{ rollout_groups | everup.deploy.rolling_batches }}"
      vars:
        rollout_groups:
          - name: api
            hosts: "{{ groups['api'] }}"
            canary: 0
          - name: web
            hosts: "{{ groups['web'] }}"
            canary: 1
            batch: 25%
            max_unavailable: 3
            zones: {web1: north, web2: north, web3: south, web4: south}

    - name: Line the hosts up
      ansible.builtin.add_host:
        name: "{{ item }}"
        groups: rollout
      loop: "{{ rollout.hosts }}"

- name: Upgrade batch by batch
  hosts: rollout
  order: inventory
  serial: "{{ hostvars['localhost'].rollout.sizes }}"
  tasks: []
"""

RETURN = r"""
_value:
  description: The plan.
  type: dict
  contains:
    batches:
      description: The batches, in order.
      type: list
      elements: dict
      contains:
        group:
          description: The group all hosts of the batch are from.
          type: str
        number:
          description: The number of the batch, counting from 1 over all groups.
          type: int
        canary:
          description: Whether this is the canary of its group.
          type: bool
        hosts:
          description: The hosts of the batch.
          type: list
          elements: str
    hosts:
      description: All hosts, in the order in which they are upgraded.
      type: list
      elements: str
    sizes:
      description: The size of each batch, for the C(serial) of a play.
      type: list
      elements: int
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._release.batches import plan_batches


def rolling_batches(groups) -> dict:
    """Return the plan for groups; AnsibleFilterError says which group, host or value is wrong."""
    try:
        return plan_batches(groups)
    except EverupError as error:
        raise AnsibleFilterError(f"rolling_batches: {error}") from error


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict:
        """Return filter functions by name."""
        return {"rolling_batches": rolling_batches}
