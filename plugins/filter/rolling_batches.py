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
