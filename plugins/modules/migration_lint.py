# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: say what scripts would break, block or lose, before any of them runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_lint
short_description: Say what scripts would break, block or lose, before any of them runs
version_added: 0.2.0
description:
  - Reads the scripts of a migrations folder with the grammar of their engine and holds them against rules that know the phase,
    the engine, its version and edition, and, with O(live), the schema and the size of its tables.
  - Statements behind C(IF NOT EXISTS) guards, in C(DO) blocks and in literals that are executed are looked into. What nobody can
    read is itself a finding.
  - A script waives a rule with C(-- everup:) C(allow=<rule> <reason>), in front of its first statement for all of it, elsewhere
    for the statement at or below the comment. A suppression that waives nothing is a finding.
  - C(docs/rules.md) lists the rules, with the reason for each and what to do instead.
  - What a script was read into is kept by checksum, so that an unchanged script is not parsed again; scripts with values of
    O(placeholders) in them are not kept.
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
    support: full
requirements:
  - sqlfluff >= 4.0 on the host that the module runs on
options:
  live:
    description:
      - Ask the database as well. Then only scripts that have not run there are judged, its version and edition count, small
        tables weigh less, columns have a type and a size, and views and routines are compared with what they are now.
      - Reads catalogs only.
    type: bool
    default: false
  phases:
    description:
      - Judge the scripts of these phases.
      - With O(live), contract scripts are best judged when they are about to run. Before the release has gone out, what
        they drop is still used.
    type: list
    elements: str
    choices: [expand, contract, repeatable]
    default: [expand, contract, repeatable]
  since:
    description: Judge scripts beyond this version alone; those up to it count as having run.
    type: str
  server_version:
    description:
      - The server's version, such as V(15.4); for SQL Server its product version, V(16.0) for SQL Server 2022.
      - By default what O(live) tells; without it, rules assume the oldest version that its maker still supports.
    type: str
    default: ''
  edition:
    description:
      - SQL Server's edition; V(enterprise) is Developer and Evaluation, too.
      - By default what O(live) tells; without it, rules assume V(standard).
    type: str
    choices: [enterprise, azure, standard, web, express]
  sources:
    description:
      - Files and folders of the application's source. What a contract script drops must not be named in them any more.
      - Hidden files, and those that hold no text, are left out.
    type: list
    elements: path
    default: []
  fail_on:
    description: Fail when there is a finding of this severity or a worse one.
    type: str
    choices: [error, warning, notice, never]
    default: error
  report:
    description: Write the findings to this file; its folder exists.
    type: path
  report_format:
    description: What the report is written in. V(github) are the workflow commands that annotate a pull request.
    type: str
    choices: [text, github, sarif, json]
    default: sarif
  cache:
    description: Where to keep what scripts were read into; by default C(everup-lint) in the user's cache folder.
    type: path
seealso:
  - module: everup.deploy.migration
  - module: everup.deploy.migration_info
"""

EXAMPLES = r"""
- name: Judge every script, without a database
  everup.deploy.migration_lint:
    engine: postgresql
    path: migrations
    server_version: '15'
    report: lint.sarif

- name: Judge what is still to run against the live schema
  everup.deploy.migration_lint:
    engine: sqlserver
    login_host: db1
    login_db: shop
    login_user: deploy
    login_password: "{{ vault_database_password }}"
    path: migrations
    live: true
    sources: [src]
  register: lint
"""

RETURN = r"""
findings:
  description: What is wrong, in the order of the scripts; also returned on failure.
  type: list
  elements: dict
  returned: always
  sample:
    - source: expand/0007_orders.sql
      line: 3
      column: 1
      rule: expand-drop-column
      severity: error
      message: column client_id of orders is dropped while the old version still uses it
      why: The old version runs until the last web server is upgraded, and again after a rollback.
      instead: ALTER TABLE orders DROP COLUMN client_id;
lines:
  description: The findings as a compiler would print them.
  type: list
  elements: str
  returned: always
  sample: ["expand/0007_orders.sql:3:1: error: column client_id of orders is dropped [expand-drop-column]"]
counts:
  description: How many findings there are of each severity.
  type: dict
  returned: always
  sample: {error: 1, warning: 0, notice: 2}
summary:
  description: The same in words.
  type: str
  returned: always
  sample: 1 error, 2 notices
scripts:
  description: The scripts that were judged.
  type: list
  elements: str
  returned: always
  sample: [expand/0007_orders.sql]
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._lint.run import LINT_SPEC, lint
from ansible_collections.everup.deploy.plugins.module_utils._migrations.migrate import MIGRATIONS_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {**CONNECTION_SPEC, **LEDGER_SPEC, **MIGRATIONS_SPEC, **LINT_SPEC}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, lint)


if __name__ == "__main__":
    main()
