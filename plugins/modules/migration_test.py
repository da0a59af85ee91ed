# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: run the SQL assertions of a migrations folder."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_test
short_description: Run the SQL assertions about a database
version_added: 0.2.0
description:
  - Runs the statements in the folder C(tests) of a migrations folder. A statement passes when it returns no row.
  - Each is a query, and runs in a transaction that is rolled back.
  - A file whose name begins with a version, such as C(0007_no_null_profile.sql), is run once the expand script of that version is
    applied, and with C(-- everup:) C(until=0009) no longer once the contract script of that version is.
author: everup.deploy contributors (@everup)
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
  - everup.deploy.connection
  - everup.deploy.migrations
attributes:
  check_mode:
    support: full
    details: Runs the assertions as always, but no suites; no file is written.
  diff_mode:
    support: none
options:
  tests_folder:
    description: Name of the folder of the assertions below O(path).
    type: str
    default: tests
  suites:
    description:
      - Whether to run the tSQLt suites of a SQL Server database as well, where tSQLt is installed; never in check mode.
      - They fake tables while they run, which holds up whoever uses them. Leave it to databases that nobody else works with.
    type: bool
    default: false
  statement_timeout:
    description: How long one assertion may take.
    type: str
    default: 5m
  junit:
    description: File to write the results to as JUnit XML.
    type: path
    default: ''
seealso:
  - module: everup.deploy.migration
"""

EXAMPLES = r"""
- name: Check the data before the contract
  everup.deploy.migration_test:
    path: /srv/shop/migrations
    login_db: /srv/shop/shop.sqlite
    junit: /tmp/shop-database.xml
"""

RETURN = r"""
passed:
  description: How many assertions passed.
  type: int
  returned: always
failed_assertions:
  description: How many failed.
  type: int
  returned: always
results:
  description: Each assertion with its file and line, seconds, and what is wrong.
  type: list
  elements: dict
  returned: always
  sample: [{name: 'tests/0007_no_null_profile.sql:1', suite: tests/0007_no_null_profile.sql, seconds: 0.004, failure: ''}]
not_due:
  description: Files whose version is not applied yet, or whose time is over.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._migrations.assertions import run_assertions
from ansible_collections.everup.deploy.plugins.module_utils._migrations.migrate import MIGRATIONS_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {
    **CONNECTION_SPEC,
    **LEDGER_SPEC,
    **MIGRATIONS_SPEC,
    "tests_folder": {"type": "str", "default": "tests"},
    "suites": {"type": "bool", "default": False},
    "statement_timeout": {"type": "str", "default": "5m"},
    "junit": {"type": "path", "default": ""},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, run_assertions)


if __name__ == "__main__":
    main()
