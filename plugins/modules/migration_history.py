# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: change a history by hand, running no script."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_history
short_description: Baseline, adopt or repair the history of a phase
version_added: 0.2.0
description:
  - Changes what the history of a phase says, and runs no script. Each change is written to the event log.
  - With V(baseline) and V(adopt) a database that already has a schema comes under the collection's care without replaying it.
author: everup.deploy contributors (@everup)
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
  - everup.deploy.connection
  - everup.deploy.migrations
attributes:
  check_mode:
    support: full
    details: Shows the changes, and for V(adopt) the whole mapping.
  diff_mode:
    support: full
options:
  action:
    description:
      - V(baseline) counts every script up to O(version) as applied.
      - V(adopt) counts every script as applied that another tool's history has. Its text is compared with what that tool has kept
        of it - a checksum with Flyway, the whole text with grate and RoundhousE, nothing with the others. What Flyway has undone
        or deleted since does not count, and its baseline counts everything up to its version.
      - V(rechecksum) records the text that the file of an applied script has now.
      - V(mark_applied) counts one script as applied that did not come to its end, or was run by hand; its backfill only with
        O(backfills).
      - V(forget) takes out the row of a script that did not come to its end, or whose file is gone.
    type: str
    choices: [baseline, adopt, rechecksum, mark_applied, forget]
    required: true
  phase:
    description: The phase whose history to change.
    type: str
    choices: [expand, contract]
    default: expand
  version:
    description: The version that the action is for; needed by every action but V(adopt).
    type: str
  from_tool:
    description: Whose history to take over.
    type: str
    choices: [alembic, dbmate, dbup, flyway, grate, liquibase, roundhouse]
  from_table:
    description: The table of that history, with its schema in front where it needs one; by default the tool's usual name.
    type: str
    default: ''
  mapping:
    description:
      - The version of the script here, by what the other tool calls it, for scripts that share neither version nor file name.
      - Alembic records only its newest revision; map it to the version here up to which everything has run.
      - Liquibase records change sets, and a script here counts as applied when any change set of its file is recorded. Compare
        C(change_sets) in RV(mapping) with the file. The key for a single change set is V(file::id), for the others of a file its
        path as it is recorded.
      - An empty version leaves it out, so that its script here stays pending.
    type: dict
    default: {}
  ignore_missing:
    description: Whether scripts of the other tool that have no file here are left out.
    type: bool
    default: false
  accept_changed:
    description: Whether scripts are taken over whose text is no longer the one that the other tool ran.
    type: bool
    default: false
  backfills:
    description:
      - Whether the backfills of the versions that count as applied count as finished as well, without a look at their rows. With
        V(baseline) these are all up to O(version), those that have no script of their own included; with V(adopt) those of the
        scripts that are taken over.
      - By default they do with V(baseline) and V(adopt), so that the next expand does not fill a table again that has been in
        use for long.
      - By default they do not with V(mark_applied), since a script that was run by hand says nothing about the rows, and the next
        expand fills them. Set it when the rows are filled too, or when the column is gone and the backfill can no longer run.
      - One that began here and did not finish is refused with V(baseline) and V(adopt).
      - Only for the expand phase. The contract script of the version still asks the verify query whether rows are left.
    type: bool
  reason:
    description: Why; kept with each event.
    type: str
    default: ''
  wait_for_other_run:
    description: How long to wait while a run is migrating the same database.
    type: str
    default: 30s
seealso:
  - module: everup.deploy.migration
  - module: everup.deploy.migration_info
"""

EXAMPLES = r"""
- name: See what taking Flyway's history over would do
  everup.deploy.migration_history:
    action: adopt
    from_tool: flyway
    path: /srv/shop/migrations
    engine: postgresql
    login_host: db.example.com
    login_db: shop
    login_user: shop_owner
    login_password: "{{ shop_db_password }}"
  check_mode: true
  register: adoption

- name: The database was built by hand up to 0042
  everup.deploy.migration_history:
    action: baseline
    version: '0042'
    reason: schema of the vendor's installer 7.1
    path: /srv/shop/migrations
    login_db: /srv/shop/shop.sqlite
"""

RETURN = r"""
changes:
  description:
    - The rows that were changed, or in check mode would be.
    - C(what) is V(applied), V(checksum) or V(forgotten), or for a backfill V(finished).
  type: list
  elements: dict
  returned: success
  sample: [{what: applied, version: '0042', script: expand/0042_add_profile_id.sql}]
mapping:
  description:
    - For each script of the other tool the one here, and whether their texts are the same.
    - For Liquibase a whole file is one entry, with C(change_sets), the number of its change sets that are recorded.
  type: list
  elements: dict
  returned: when O(action=adopt)
  sample: [{recorded: V7__profile.sql, script: expand/V7__profile.sql, version: '7', checksum: same}]
left_out:
  description:
    - Scripts that the other tool runs again when they change; put them into the folder of the repeatable scripts.
    - What O(mapping) leaves out.
  type: list
  elements: str
  returned: when O(action=adopt)
findings:
  description: What keeps the history from being taken over.
  type: list
  elements: str
  returned: when it is refused
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._migrations.adopt import TOOLS
from ansible_collections.everup.deploy.plugins.module_utils._migrations.amend import amend
from ansible_collections.everup.deploy.plugins.module_utils._migrations.migrate import MIGRATIONS_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {
    **CONNECTION_SPEC,
    **LEDGER_SPEC,
    **MIGRATIONS_SPEC,
    "action": {
        "type": "str",
        "choices": ["baseline", "adopt", "rechecksum", "mark_applied", "forget"],
        "required": True,
    },
    "phase": {"type": "str", "choices": ["expand", "contract"], "default": "expand"},
    "version": {"type": "str"},
    "from_tool": {"type": "str", "choices": list(TOOLS)},
    "from_table": {"type": "str", "default": ""},
    "mapping": {"type": "dict", "default": {}},
    "ignore_missing": {"type": "bool", "default": False},
    "accept_changed": {"type": "bool", "default": False},
    "backfills": {"type": "bool"},
    "reason": {"type": "str", "default": ""},
    "wait_for_other_run": {"type": "str", "default": "30s"},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, amend)


if __name__ == "__main__":
    main()
