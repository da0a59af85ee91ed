#!/usr/bin/python
# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: keep what a run of the availability probe has measured in the ledger."""

from __future__ import annotations

DOCUMENTATION = r"""
module: availability_record
short_description: Keep what a probe has measured in the ledger
version_added: 0.2.0
description:
  - Writes one row for each run of M(everup.deploy.availability_probe). A run that is recorded again changes its own row.
  - One of O(report) and O(override) is needed.
  - Needs no lease, since nothing depends on it but the budget of later releases.
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
    description: The release that it was measured for.
    type: str
    required: true
  report:
    description: The C(report) of M(everup.deploy.availability_probe), with all its details.
    type: dict
  override:
    description: Why the release may begin although the downtime budget is spent. It is kept as an event.
    type: str
seealso:
  - module: everup.deploy.availability_probe
  - module: everup.deploy.release_info
"""

EXAMPLES = r"""
- name: End the measurement
  everup.deploy.availability_probe:
    state: stopped
    name: shop-2.4.0
  delegate_to: probe.example.com
  register: measured

- name: Keep what it has seen
  everup.deploy.availability_record:
    version: 2.4.0
    report: "{{ measured.report }}"
    login_db: /srv/shop/shop.sqlite
"""

RETURN = r"""
row:
  description: The row of the ledger.
  type: dict
  returned: with O(report)
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module
from ansible_collections.everup.deploy.plugins.module_utils._release.commands import record_availability

ARGUMENT_SPEC = {
    **CONNECTION_SPEC,
    **LEDGER_SPEC,
    "version": {"type": "str", "required": True},
    "report": {"type": "dict"},
    "override": {"type": "str"},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, record_availability)


if __name__ == "__main__":
    main()
