# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: list what contracts have moved into the trash."""

from __future__ import annotations

DOCUMENTATION = r"""
module: trash_info
short_description: List what is kept in the trash, and old versions of procedures
version_added: 0.2.0
description:
  - Lists the tables, columns, views, procedures and functions that a contract has moved away and that
    M(everup.deploy.trash) can bring back, with their size, their last use where the server knows it, and when they may be purged.
  - Lists beside them the views, procedures and functions that live in several versions (C(spFind), C(spFind_2)), all but the
    newest of each, with their last use.
  - PostgreSQL counts calls only with C(track_functions), SQL Server since the plan is in its cache, the others not at all.
  - Changes nothing, and creates nothing in a database that has no ledger yet.
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
  release_version:
    description: Only what this release has dropped.
    type: str
  gone:
    description: Whether what was restored or purged since is listed as well.
    type: bool
    default: false
seealso:
  - module: everup.deploy.trash
  - module: everup.deploy.migration
"""

EXAMPLES = r"""
- name: What is kept?
  everup.deploy.trash_info:
    login_db: /srv/shop/shop.sqlite
  register: trash

- name: Show it
  ansible.builtin.debug:
    msg: "{{ trash.kept | map(attribute='object') | list }}"
"""

RETURN = r"""
kept:
  description: What is kept, in the order in which it was dropped; times are UTC.
  type: list
  elements: dict
  returned: success
  sample:
    - id: 7
      release_version: 2.4.0
      script: contract/0007_drop_orders.sql
      kind: table
      object: public.orders
      kept_as: everup_trash.orders__2_4_0_7
      state: dropped
      dropped_at: '2026-11-21T09:40:40.355Z'
      purge_after: '2026-12-21T09:40:40.355Z'
      changed_at: '2026-11-21T09:40:40.355Z'
      changed_by: ops@control
      due: false
      bytes: 81920
      notes: []
due:
  description: How many of them may be purged.
  type: int
  returned: success
old_versions:
  description: Views, procedures and functions beside which there is a newer version.
  type: list
  elements: dict
  returned: success
  sample:
    - schema: dbo
      name: spFindAllThings_2
      kind: procedure
      version: 2
      newest: spFindAllThings_3
      uses: 0
      last_used: never since the server counts
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._migrations.trash import trash_info
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {
    **CONNECTION_SPEC,
    **LEDGER_SPEC,
    "release_version": {"type": "str"},
    "gone": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, trash_info)


if __name__ == "__main__":
    main()
