# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: say of each gate in front of a contract whether it is open, and by what proof."""

from __future__ import annotations

DOCUMENTATION = r"""
module: contract_evidence_info
short_description: Say whether a release may contract, gate by gate and each with its proof
version_added: 0.2.0
description:
  - A contract removes what the version before used, and cannot be undone. This gathers from hosts, balancers, database, ledger
    and migrations folder what speaks for it and against it, and judges each question by itself. What is not known opens no gate.
  - Times are those of the database's clock. That the controller's has moved against it since the roll-out is a doubt of its own.
  - C(docs/contract.md) tells of each gate what it proves and what it cannot prove.
  - Hosts and balancers are asked by the playbook C(everup.deploy.contract), and their answers given here.
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
  - sqlfluff >= 4.0 on the host that the module runs on, for the gates V(references) and V(usage)
options:
  version:
    description: The release.
    type: str
    required: true
  run:
    description: A mark of this run. Only answers that bear it count, so that nothing an earlier play has left is taken for now.
    type: str
    default: ''
  hosts:
    description: Every host that the inventory has in the web groups of the release, whether it was reached or not.
    type: list
    elements: str
    default: []
  answers:
    description:
      - What the hosts said. Each has C(host), C(version) (what it says that it runs), C(why) (why it did not say that it runs the
        release, empty where it did) and C(run).
    type: list
    elements: dict
    default: []
  pools:
    description:
      - What the balancers said. Each has C(pool), C(known) (the names of the inventory's hosts there), C(seen) (the members by
        balancer), C(mute) (a sentence for each balancer that said nothing), C(lists) (whether they can list members at all)
        and C(run).
    type: list
    elements: dict
    default: []
  known_members:
    description: Members of pools that are no host of the inventory and need not be.
    type: list
    elements: str
    default: []
  gates:
    description:
      - The gates that must be open.
      - V(window) and V(approval) join them once O(window) or O(approvals) is set, V(usage) once the ledger has snapshots of
        M(everup.deploy.usage_snapshot).
    type: list
    elements: str
    choices: [hosts, members, sessions, references, usage, soak, window, approval, backfills, assertions]
    default: [hosts, members, sessions, references, soak, backfills, assertions]
  override:
    description: By gate, the reason for which it may be passed although it is not open.
    type: dict
    default: {}
  soak:
    description: How long every host must have been ready, such as V(24h).
    type: str
    default: 24h
  session_pattern:
    description:
      - Regular expression with a group C(version) that finds the version in the program name of a database session.
      - By default a name must end with the very version of the release, as V(shop 2.4.0) or V(shop/2.4.0) does.
    type: str
    default: ''
  session_ignore:
    description: Regular expressions of program names, or of C(user@host), of sessions that are not the application's.
    type: list
    elements: str
    default: []
  usage_history:
    description: For how long nobody may have used what is dropped, by counters that were watched without a gap.
    type: str
    default: 168h
  window:
    description: When a contract may run, such as V(mon-thu 22:00-04:00) or V(02:00-05:00); in none of several windows is no.
    type: list
    elements: str
    default: []
  window_timezone:
    description: Time zone of O(window), such as V(Europe/Berlin).
    type: str
    default: UTC
  approvals:
    description: How many people must have approved since the roll-out, by M(everup.deploy.release) with C(action=approve).
    type: int
    default: 0
  clock_tolerance:
    description: By how much the clocks of database and controller may have moved apart since the roll-out.
    type: str
    default: 5m
  target:
    description: The last contract script that would run, as the schema version of the release.
    type: str
  tests_folder:
    description: Name of the folder of the assertions below O(path).
    type: str
    default: tests
  statement_timeout:
    description: How long one assertion may take.
    type: str
    default: 5m
  cache:
    description: Where to keep what scripts were read into; by default C(everup-lint) in the user's cache folder.
    type: path
seealso:
  - module: everup.deploy.usage_snapshot
  - module: everup.deploy.release
"""

EXAMPLES = r"""
- name: Look at what can be known without hosts and balancers
  everup.deploy.contract_evidence_info:
    engine: postgresql
    login_host: db1
    login_db: shop
    login_user: deploy
    login_password: "{{ vault_database_password }}"
    path: /srv/shop/migrations
    version: 2.4.0
    gates: [sessions, references, soak, backfills, assertions]
    session_ignore: [psql, 'metabase@.*']
  register: evidence

- name: Show it
  ansible.builtin.debug:
    var: evidence.lines
"""

RETURN = r"""
gates:
  description: Each gate that must be open, with its answer.
  type: list
  elements: dict
  returned: success
  sample:
    - name: soak
      state: 'yes'
      passes: true
      proof: every host is ready since 2026-11-20T09:40:00.000Z, 172800 s ago; asked for were 24h
      way_on: ''
      override: ''
lines:
  description: The same, a line each.
  type: list
  elements: str
  returned: success
passes:
  description: Whether every gate is open or overridden.
  type: bool
  returned: success
refusal:
  description: Why the contract may not run, in a sentence; empty where it may.
  type: str
  returned: success
plan_hash:
  description: Hash of the contract scripts that would run.
  type: str
  returned: success
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._evidence.run import EVIDENCE_SPEC, evidence_info
from ansible_collections.everup.deploy.plugins.module_utils._migrations.migrate import MIGRATIONS_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {**CONNECTION_SPEC, **LEDGER_SPEC, **MIGRATIONS_SPEC, **EVIDENCE_SPEC}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, evidence_info)


if __name__ == "__main__":
    main()
