# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: keep in the ledger what the server's counters say of the objects that a contract will drop."""

from __future__ import annotations

DOCUMENTATION = r"""
module: usage_snapshot
short_description: Keep how often the objects that a contract will drop were used
version_added: 0.2.0
description:
  - Reads the server's counters of the tables, columns, views and routines that pending contract scripts drop, and keeps them in
    the ledger with the time. A series of such snapshots shows to M(everup.deploy.contract_evidence_info) that nobody has used
    them, and notices when counters begin anew. Run it on a schedule, from cron or AWX, from the roll-out to the contract.
  - PostgreSQL counts in C(pg_stat_user_tables), C(pg_stat_user_functions) and C(pg_stat_statements), MariaDB and MySQL in
    C(performance_schema), SQL Server in C(sys.dm_db_index_usage_stats), C(sys.dm_exec_procedure_stats) and the Query Store.
    SQLite counts nothing.
  - What nothing counts is returned with what is missing.
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
requirements:
  - sqlfluff >= 4.0 on the host that the module runs on
options:
  objects:
    description: Further objects to watch, each as V(table NAME), V(column TABLE.NAME), V(view NAME) or V(routine NAME).
    type: list
    elements: str
    default: []
  keep:
    description: Drop snapshots that are older than this.
    type: str
    default: 2160h
  tests_folder:
    description: Name of the folder of the assertions below O(path), which are no use of what they ask for.
    type: str
    default: tests
  cache:
    description: Where to keep what scripts were read into; by default C(everup-lint) in the user's cache folder.
    type: path
seealso:
  - module: everup.deploy.contract_evidence_info
"""

EXAMPLES = r"""
- name: Keep how often the old columns were used
  everup.deploy.usage_snapshot:
    engine: postgresql
    login_host: db1
    login_db: shop
    login_user: deploy
    login_password: "{{ vault_database_password }}"
    path: /srv/shop/migrations
    objects: [table legacy_orders]
"""

RETURN = r"""
changed:
  description: Whether readings were kept.
  type: bool
  returned: always
readings:
  description: What each counter says.
  type: list
  elements: dict
  returned: success
  sample:
    - source: pg_stat_statements
      object: column orders.client_id
      uses: 0
      last_used_at:
      counted_since: 2026-11-02T04:00:00.000Z, 0 thrown away
      taken_at: '2026-11-20T09:40:00.000Z'
      suffices: true
      why: ''
unknown:
  description: A sentence for each object that nothing counts, with what is missing.
  type: list
  elements: str
  returned: success
dropped:
  description: How many old readings were dropped.
  type: int
  returned: success
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._evidence.run import SNAPSHOT_SPEC, usage_snapshot
from ansible_collections.everup.deploy.plugins.module_utils._migrations.migrate import MIGRATIONS_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {**CONNECTION_SPEC, **LEDGER_SPEC, **MIGRATIONS_SPEC, **SNAPSHOT_SPEC}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, usage_snapshot)


if __name__ == "__main__":
    main()
