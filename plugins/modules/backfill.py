# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: fill the rows of existing tables in batches."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backfill
short_description: Fill the rows of existing tables in batches
version_added: 0.2.0
description:
  - Works at the backfills of a migrations folder that are not finished, in version order, one batch after another along the key
    of their table. A batch commits together with the record of how far it has come, so that a run that is killed at any point is
    continued by running it again, and no batch is done twice.
  - Batches grow and shrink so that each takes the time that its definition asks for. A batch that does not get its locks is
    rolled back and tried again at half the size; a throttle makes it wait.
  - The module itself works for one O(slice). The action plugin of the same name calls it again and again, shows a line of
    progress after each, and ends when every backfill is finished or O(time_budget) is used up. The same command goes on later.
  - When the end of the table is reached, what has grown behind it meanwhile is done once more; then the verify query of the
    definition must count no rows.
  - Every definition is read and checked before the first batch runs.
author: everup.deploy contributors (@everup)
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
  - everup.deploy.connection
  - everup.deploy.migrations
attributes:
  action:
    support: full
    description: Runs on the control node and calls the module on the host.
  check_mode:
    support: full
    details: Says which backfills would run, and about how many rows their tables have.
  diff_mode:
    support: full
    details: Shows the statement of one batch, with names in place of placeholders and keys.
options:
  target:
    description: The last version to work on; backfills beyond it wait for a later run.
    type: str
  slice:
    description: For how long the module works before it comes back, to the end of the batch at hand.
    type: str
    default: 10s
  time_budget:
    description: After how long to stop between two slices, such as C(2h); without it the end decides.
    type: str
  lock_timeout:
    description: How long a batch may wait for one lock, and so the longest that the application's own statements wait behind it.
    type: str
    default: 1s
  lock_budget:
    description: How long a batch may go on retrying in total, with growing pauses, when its locks are not to be had.
    type: str
    default: 60s
  wait_for_other_run:
    description: How long to wait while another run is working at the same backfill.
    type: str
    default: 30s
  repair:
    description:
      - V(retry) begins a backfill at the first key again, with all that this means for rows it has filled, when its definition
        was edited before it finished, or when its verify query has counted rows at the end.
    type: str
    choices: [retry]
  release_version:
    description: The release that the backfills belong to; recorded with them.
    type: str
  lease_token:
    description: Fencing token of the release's lease. A batch commits only while the token is the newest.
    type: int
  lease_ttl:
    description: For how long each batch renews the lease.
    type: str
    default: 10m
requirements:
  - PyYAML on the host that the module runs on, which is there when that is localhost
seealso:
  - module: everup.deploy.migration
  - module: everup.deploy.migration_info
"""

EXAMPLES = r"""
- name: See what would be filled
  everup.deploy.backfill:
    path: /srv/shop/migrations
    login_db: /srv/shop/shop.sqlite
  check_mode: true
  diff: true

- name: Fill for at most two hours
  everup.deploy.backfill:
    path: /srv/shop/migrations
    engine: postgresql
    login_host: db.example.com
    login_db: shop
    login_user: shop_owner
    login_password: "{{ shop_db_password }}"
    time_budget: 2h
  register: fill

- name: Come back tomorrow when it is not finished
  ansible.builtin.debug:
    msg: "{{ fill.backfill.progress }}"
  when: not fill.finished
"""

RETURN = r"""
finished:
  description: Whether every backfill up to O(target) is finished.
  type: bool
  returned: success
backfill:
  description: The backfill at hand, or the last one that was; null when there was nothing to do.
  type: dict
  returned: success
  contains: &facts
    backfill:
      description: Its file.
      type: str
    version:
      description: Its version.
      type: str
    table:
      description: The table.
      type: str
    state:
      description: V(pending), V(running), V(finished), V(incomplete) when rows were left at the end, or V(failed).
      type: str
    rows:
      description: Rows changed so far, as the database counts them.
      type: int
    rows_seen:
      description: Rows looked at so far.
      type: int
    rows_left:
      description: What the verify query counted at the end.
      type: int
    estimate:
      description: About how many rows the table had at the start.
      type: int
    percent:
      description: O(ignore:rows_seen) of O(ignore:estimate); 100 only at the end.
      type: int
    watermark:
      description: The last key that is done.
      type: list
      elements: raw
    batch_size:
      description: Rows of the next batch.
      type: int
    batches:
      description: Batches so far.
      type: int
    rate:
      description: Rows a second in this slice, pauses included.
      type: float
    eta:
      description: Seconds that are left at this rate.
      type: float
    waiting:
      description: Why it waits, when a throttle says so.
      type: str
    tries:
      description: How many tries the locks of one batch took at most.
      type: int
    progress:
      description: All this in a line.
      type: str
      sample: 'backfill/0007_profile_id.yml: 1,204,000 of about 5,000,000 rows (24 %), 98,100 rows/s, 39 s left'
    error:
      description: Why it stopped the last time.
      type: str
backfills:
  description: The same facts, but for the ones of a slice, of every backfill.
  type: list
  elements: dict
  returned: success
findings:
  description: Each problem with file and line.
  type: list
  elements: str
  returned: when a definition is refused
blockers:
  description: The sessions that held the lock.
  type: list
  elements: dict
  returned: when the lock budget is used up
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._migrations.backfill import run_backfill
from ansible_collections.everup.deploy.plugins.module_utils._migrations.migrate import MIGRATIONS_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {
    **CONNECTION_SPEC,
    **LEDGER_SPEC,
    **MIGRATIONS_SPEC,
    "target": {"type": "str"},
    "slice": {"type": "str", "default": "10s"},
    "time_budget": {"type": "str"},
    "lock_timeout": {"type": "str", "default": "1s"},
    "lock_budget": {"type": "str", "default": "60s"},
    "wait_for_other_run": {"type": "str", "default": "30s"},
    "repair": {"type": "str", "choices": ["retry"]},
    "release_version": {"type": "str"},
    "lease_token": {"type": "int", "no_log": False},
    "lease_ttl": {"type": "str", "default": "10m"},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, run_backfill)


if __name__ == "__main__":
    main()
