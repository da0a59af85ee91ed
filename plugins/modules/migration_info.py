# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: say what is applied, pending and changed since, per phase."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_info
short_description: Tell what is applied, pending and changed since, per phase
version_added: 0.1.0
description:
  - Compares the scripts of both phases with their histories. Changes nothing, and creates nothing in a database that has no
    ledger yet.
author: everup.deploy contributors (@everup)
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
  - everup.deploy.connection
  - everup.deploy.migrations
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  target:
    description: The last version to look at; scripts beyond it are not pending.
    type: str
seealso:
  - module: everup.deploy.migration
"""

EXAMPLES = r"""
- name: What is pending?
  everup.deploy.migration_info:
    path: /srv/shop/migrations
    login_db: /srv/shop/shop.sqlite
  register: migrations

- name: Show it
  ansible.builtin.debug:
    var: migrations.expand.pending
"""

RETURN = r"""
engine:
  description: The database engine.
  type: str
  returned: success
exists:
  description:
    - Whether the database is there. It is false only of a file of SQLite, which M(everup.deploy.migration) would make.
  type: bool
  returned: success
  version_added: 0.2.0
server_version:
  description: The server's version as it says it itself.
  type: str
  returned: success
driver:
  description: Name and version of the driver that reaches the server.
  type: str
  returned: success
capabilities:
  description: What this server can do, from its version and edition.
  type: dict
  returned: success
  contains:
    transactional_ddl:
      description: A schema change rolls back with its transaction.
      type: bool
    session_lock:
      description: A lock that ends with its session keeps a second run out.
      type: bool
    online_index:
      description: An index can be built while the application writes.
      type: bool
    resumable_index:
      description: Building an index can be paused and resumed.
      type: bool
    instant_add_column:
      description: A column with a constant default is added without touching the rows.
      type: bool
    instant_drop_column:
      description: A column is dropped without touching the rows.
      type: bool
    statement_timeout:
      description: Any statement can be given a longest time.
      type: bool
    subsecond_lock_timeout:
      description: A lock time-out may be shorter than a second.
      type: bool
    sequences:
      description: C(CREATE SEQUENCE) exists.
      type: bool
settings:
  description:
    - The server's settings that matter for a deploy, by the server's own names and in its own units. What this user may not see
      is null or left out.
    - C(replication) tells whether replicas are connected or this server is one, C(replication_lag_seconds) the longest known lag.
  type: dict
  returned: success
  sample:
    wal_level: replica
    lock_timeout: 0ms
    statement_timeout: 0ms
    idle_in_transaction_session_timeout: 0ms
    replication: false
    replication_lag_seconds: null
ledger:
  description: Whether the collection's own tables exist in this database.
  type: bool
  returned: success
expand:
  description: The expand phase.
  type: dict
  returned: success
  contains: &phase
    current:
      description: The newest applied version.
      type: str
    applied:
      description: Rows of the history whose script has run.
      type: list
      elements: dict
    unfinished:
      description: Rows of the history that are running or failed.
      type: list
      elements: dict
    pending:
      description: Scripts to be applied, in order.
      type: list
      elements: dict
    changed_since:
      description: Scripts whose text is no longer the one that was applied.
      type: list
      elements: dict
    missing:
      description: Scripts in the history whose file is gone.
      type: list
      elements: str
    plan_hash:
      description: Hash of the pending scripts.
      type: str
contract:
  description: The contract phase.
  type: dict
  returned: success
  contains: *phase
repeatable:
  description: The repeatable scripts.
  type: dict
  returned: success
  contains:
    applied:
      description: The newest run of each.
      type: list
      elements: dict
    unfinished:
      description: Those whose newest run did not come to its end.
      type: list
      elements: dict
    pending:
      description: Those whose text is not the one that ran last, in the order in which they would run.
      type: list
      elements: dict
    missing:
      description: Those that have run and whose file is gone.
      type: list
      elements: str
families:
  description: Views, procedures and functions that live in several versions side by side, each with its versions from old to new.
  type: list
  elements: dict
  returned: success
  sample:
    - schema: dbo
      name: spFindAllThings
      kind: procedure
      versions: [{name: spFindAllThings, version: 1}, {name: spFindAllThings_2, version: 2}]
backfills:
  description: Every backfill with its state, rows, estimate and watermark, as M(everup.deploy.backfill) returns them.
  type: list
  elements: dict
  returned: success
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._migrations.migrate import MIGRATIONS_SPEC, inform
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {**CONNECTION_SPEC, **LEDGER_SPEC, **MIGRATIONS_SPEC, "target": {"type": "str"}}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, lambda params, check_mode: inform(params))


if __name__ == "__main__":
    main()
