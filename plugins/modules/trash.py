# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: bring back, or drop for good, what a contract has moved into the trash."""

from __future__ import annotations

DOCUMENTATION = r"""
module: trash
short_description: Restore or purge what a contract has dropped
version_added: 0.2.0
description:
  - Brings back what M(everup.deploy.migration) has moved away in place of dropping it, with its data, or drops it for good.
  - A restore is a change of the catalog. A table comes back with its indexes, constraints, triggers and privileges; foreign keys
    are checked afterwards, and what the rows written since do not allow is told in a warning with the statement to run later.
  - A restore is refused when something of the old name is there again.
  - A retired version of a procedure, function or view is dropped, and its text kept as that of any other one.
  - Excludes a run of scripts on the same database by a session lock of the engine.
author: everup.deploy contributors (@everup)
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
  - everup.deploy.connection
attributes:
  check_mode:
    support: full
    details: Says what would be restored, purged or retired, and refuses what would be refused.
  diff_mode:
    support: full
options:
  action:
    description:
      - V(restore) brings back O(object), or everything that O(release_version) has dropped, the last first.
      - V(purge) drops for good what is due, all of it or O(object) or what O(release_version) has dropped.
      - V(retire) drops an old version of a view, procedure or function beside which there is a newer one, and keeps its text.
    type: str
    choices: [restore, purge, retire]
    required: true
  object:
    description:
      - The object by its old name, with or without schema (C(orders), C(public.orders.client_id)), by what it is kept as, or by
        the C(id) that M(everup.deploy.trash_info) shows.
    type: str
  release_version:
    description:
      - The release whose drops are meant.
      - With O(action=retire) the release that the version is retired for.
    type: str
  early:
    description: Whether what is not due yet is purged as well.
    type: bool
    default: false
  purge_after:
    description: With O(action=retire), how long the text is kept at least.
    type: str
    default: 30d
  lock_timeout:
    description: How long a statement may wait for a lock, and the application's own statements behind it.
    type: str
    default: 2s
  lock_budget:
    description: How long to go on retrying in total, with growing pauses, when the locks are not to be had.
    type: str
    default: 60s
  wait_for_other_run:
    description: How long to wait while a run is migrating the same database.
    type: str
    default: 30s
seealso:
  - module: everup.deploy.trash_info
  - module: everup.deploy.migration
"""

EXAMPLES = r"""
- name: Bring a table back
  everup.deploy.trash:
    action: restore
    object: public.orders
    engine: postgresql
    login_host: db.example.com
    login_db: shop
    login_user: shop_owner
    login_password: "{{ shop_db_password }}"

- name: Drop for good whatever is due
  everup.deploy.trash:
    action: purge
    login_db: /srv/shop/shop.sqlite

- name: Retire the version that nobody calls any more
  everup.deploy.trash:
    action: retire
    object: dbo.spFindAllThings_2
    engine: sqlserver
    login_host: db.example.com
    login_db: shop
    login_user: shop_owner
    login_password: "{{ shop_db_password }}"
"""

RETURN = r"""
objects:
  description: What was restored, purged or retired; in check mode what would be.
  type: list
  elements: dict
  returned: success
  sample:
    - id: 7
      object: public.orders
      kind: table
      kept_as: everup_trash.orders__2_4_0_7
      release_version: 2.4.0
blockers:
  description: The sessions that held the lock.
  type: list
  elements: dict
  returned: when the lock budget is used up
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._migrations.trash import run_trash
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {
    **CONNECTION_SPEC,
    **LEDGER_SPEC,
    "action": {"type": "str", "choices": ["restore", "purge", "retire"], "required": True},
    "object": {"type": "str"},
    "release_version": {"type": "str"},
    "early": {"type": "bool", "default": False},
    "purge_after": {"type": "str", "default": "30d"},
    "lock_timeout": {"type": "str", "default": "2s"},
    "lock_budget": {"type": "str", "default": "60s"},
    "wait_for_other_run": {"type": "str", "default": "30s"},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, run_trash)


if __name__ == "__main__":
    main()
