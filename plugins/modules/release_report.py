# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: read all that the ledger knows of one release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_report
short_description: Tell how a release went
version_added: 0.2.0
description:
  - Reads from the ledger the phases of a release, each host's way through it, the scripts and backfills, the gates before the
    contract with their proof, what the availability probe saw, and every event. Changes nothing.
  - The role C(report) writes it as an HTML page, as Markdown and as JSON.
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
seealso:
  - module: everup.deploy.release_info
"""

EXAMPLES = r"""
- name: How did the release go?
  everup.deploy.release_report:
    login_db: /srv/shop/shop.sqlite
    version: 2.4.0
  register: found

- name: Show what took how long
  ansible.builtin.debug:
    msg: "{{ found.report.phases }}"
"""

RETURN = r"""
report:
  description: All that the ledger knows of the release. Times are ISO 8601 in UTC by the database's clock, durations in seconds.
  type: dict
  returned: success
  contains:
    release:
      description: The release's row, as RV(everup.deploy.release_info#module:release).
      type: dict
    written_at:
      description: When this was read.
      type: str
    written_by:
      description: User and host who read it.
      type: str
    phases:
      description: What the release did when, C(name), C(from), C(to), C(seconds) and the C(state) it ended in.
      type: list
      elements: dict
    hosts:
      description: Each host's row with the C(steps) it went through, in the order in which they were begun.
      type: list
      elements: dict
    scripts:
      description: The scripts that were applied for this release. C(waited_s) and C(tries) tell of their waiting for locks.
      type: list
      elements: dict
    backfills:
      description: The backfills that were run for this release.
      type: list
      elements: dict
    gates:
      description: The gates before the contract as last judged, with their proof.
      type: list
      elements: dict
    overrides:
      description: Gates that somebody has overridden, who, when and why.
      type: list
      elements: dict
    probes:
      description: What each run of the availability probe saw, oldest first; empty where none ran.
      type: list
      elements: dict
    trash:
      description: What the contract has moved away, what it is kept as, and until when.
      type: list
      elements: dict
    events:
      description: Every event of the release, oldest first.
      type: list
      elements: dict
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module
from ansible_collections.everup.deploy.plugins.module_utils._release.commands import release_report

ARGUMENT_SPEC = {**CONNECTION_SPEC, **LEDGER_SPEC, "version": {"type": "str"}}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, release_report)


if __name__ == "__main__":
    main()
