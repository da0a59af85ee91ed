# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: apply the pending scripts of one phase."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration
short_description: Apply the pending database scripts of one phase
version_added: 0.1.0
description:
  - Applies the scripts of the C(expand) or the C(contract) phase that are not in that phase's history yet, in version order.
  - On engines that can roll schema changes back, a script and its history row commit together, so that a run that is killed
    at any point is continued by running it again.
  - Every script is read, decoded, split and checked before the first one runs. A script that was edited after it was applied,
    a duplicate version, an unreadable name, an undefined placeholder or an unclosed quote is an error with file, line and column.
  - At the end of the expand phase the repeatable scripts run whose text has changed since they ran last.
  - A contract script is refused while the backfill of its version is not finished, or its verify query counts rows again.
  - Two runs on one database exclude each other by a session lock of the engine; the one that waits in vain names the other.
author: everup.deploy contributors (@everup)
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
  - everup.deploy.connection
  - everup.deploy.migrations
attributes:
  check_mode:
    support: full
    details: Everything runs but the scripts, against the live history; the plan is returned.
  diff_mode:
    support: full
    details: Shows the text of each script, before placeholders.
options:
  phase:
    description: The phase whose scripts to apply.
    type: str
    choices: [expand, contract]
    required: true
  target:
    description: The last version to run; scripts beyond it wait for a later run.
    type: str
  ignore_missing:
    description:
      - Whether to go on although the history knows scripts whose files are gone.
      - By default that is an error, since it is what an older checkout of the folder looks like.
    type: bool
    default: false
  lock_timeout:
    description:
      - How long a statement may wait for a lock, and so the longest that the application's own statements wait behind it.
      - The statements of one script share it, since the locks already taken are held until the script ends. A script overrides
        it with C(-- everup:) C(lock_timeout=5s).
      - A statement with C(CONCURRENTLY) may wait for O(lock_budget), since nobody has to wait for it.
    type: str
    default: 2s
  lock_budget:
    description: How long a script may go on retrying in total, with growing pauses, when its locks are not to be had.
    type: str
    default: 60s
  wait_for_other_run:
    description: How long to wait while another run is migrating the same database.
    type: str
    default: 30s
  out_of_order:
    description: Whether a script that is older than the newest applied one may run.
    type: bool
    default: false
  repair:
    description:
      - The way on after a script outside a transaction was interrupted in the middle of a statement.
      - V(applied) says that the statement has happened, V(retry) that it has not.
    type: str
    choices: [applied, retry]
  plan_hash:
    description: The hash of an approved plan; a plan with another hash does not run.
    type: str
  release_version:
    description: The release that the scripts belong to; recorded in the history.
    type: str
  lease_token:
    description: Fencing token of the release's lease. A script commits only while the token is the newest.
    type: int
  lease_ttl:
    description: For how long each use of O(lease_token) renews the lease.
    type: str
    default: 10m
  soft_drop:
    description:
      - Whether a table, column, view, procedure or function that a script drops is moved into the trash, from which
        M(everup.deploy.trash) brings it back with its data.
      - V(where_possible) drops for good what cannot be kept, with a warning that says why; V(required) refuses it before anything
        runs. V(no) drops everything as it is written.
      - The default is V(where_possible) for O(phase=contract), V(no) for O(phase=expand).
    type: str
    choices: ['no', where_possible, required]
    version_added: 0.2.0
  purge_after:
    description: How long what is moved away is kept at least, such as C(30d) or C(12h); then it may be purged.
    type: str
    default: 30d
    version_added: 0.2.0
seealso:
  - module: everup.deploy.backfill
  - module: everup.deploy.migration_info
  - module: everup.deploy.release
  - module: everup.deploy.trash
"""

EXAMPLES = r"""
- name: See what would run
  everup.deploy.migration:
    phase: expand
    path: /srv/shop/migrations
    engine: postgresql
    login_host: db.example.com
    login_db: shop
    login_user: shop_owner
    login_password: "{{ shop_db_password }}"
  check_mode: true
  diff: true

- name: Apply the expand scripts up to version 0007
  everup.deploy.migration:
    phase: expand
    path: /srv/shop/migrations
    target: '0007'
    login_db: /srv/shop/shop.sqlite
"""

RETURN = r"""
phase:
  description: The phase.
  type: str
  returned: success
applied:
  description:
    - The scripts that this run applied, with their duration in seconds, how many tries their locks took, and what the server said
      besides errors (SQL Server's C(PRINT), and C(RAISERROR) up to severity 10; at most 200 messages a script).
  type: list
  elements: dict
  returned: success
  sample:
    - version: '0007'
      description: add_profile_id
      script: expand/0007_add_profile_id.sql
      seconds: 0.012
      tries: 1
      messages: []
pending:
  description: The scripts that are left to apply; in check mode the ones that would be applied.
  type: list
  elements: dict
  returned: success
repeatables:
  description: The repeatable scripts that are left to run; in check mode the ones that would be run.
  type: list
  elements: dict
  returned: success
beyond_target:
  description: The scripts left for later because of O(target).
  type: list
  elements: dict
  returned: success
missing:
  description: Scripts in the history whose file is gone.
  type: list
  elements: str
  returned: success
backfills:
  description: With O(phase=expand), the definitions of the backfills that are not finished, for M(everup.deploy.backfill).
  type: list
  elements: str
  returned: success
kept:
  description: What the scripts dropped that is in the trash; in check mode what would be, with the database as it is now.
  type: list
  elements: dict
  returned: success
  version_added: 0.2.0
  sample:
    - object: public.orders
      kind: table
      kept_as: everup_trash.orders__2_4_0_7
      script: contract/0007_drop_orders.sql
lost:
  description: What the scripts dropped for good, or would, although O(soft_drop) asks to keep it, each with why.
  type: list
  elements: dict
  returned: success
  version_added: 0.2.0
current:
  description: The newest applied version.
  type: str
  returned: success
plan_hash:
  description: Hash of what this run applied or would apply, for O(plan_hash).
  type: str
  returned: success
findings:
  description: Each problem with file, line and column.
  type: list
  elements: str
  returned: when the scripts or the plan are refused
blockers:
  description: The sessions that held the lock.
  type: list
  elements: dict
  returned: when the lock budget is used up
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._migrations.migrate import (
    MIGRATIONS_SPEC,
    migrate,
)
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module
from ansible_collections.everup.deploy.plugins.module_utils._trash.soft_drop import MODES

ARGUMENT_SPEC = {
    **CONNECTION_SPEC,
    **LEDGER_SPEC,
    **MIGRATIONS_SPEC,
    "phase": {"type": "str", "choices": ["expand", "contract"], "required": True},
    "lock_timeout": {"type": "str", "default": "2s"},
    "lock_budget": {"type": "str", "default": "60s"},
    "wait_for_other_run": {"type": "str", "default": "30s"},
    "target": {"type": "str"},
    "out_of_order": {"type": "bool", "default": False},
    "ignore_missing": {"type": "bool", "default": False},
    "repair": {"type": "str", "choices": ["applied", "retry"]},
    "plan_hash": {"type": "str"},
    "release_version": {"type": "str"},
    "lease_token": {"type": "int", "no_log": False},
    "lease_ttl": {"type": "str", "default": "10m"},
    "soft_drop": {"type": "str", "choices": list(MODES)},
    "purge_after": {"type": "str", "default": "30d"},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, migrate)


if __name__ == "__main__":
    main()
