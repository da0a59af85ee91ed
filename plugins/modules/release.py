# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: move a release through its states, holding the lease."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Open, advance, close, abort or fail a release in the ledger
version_added: 0.1.0
description:
  - A release is one application version going out. Its state is a row in the collection's own tables in the application's
    database, the ledger, so that any run, from any controller, goes on where the last one ended.
  - V(open) takes the lease, the exclusive right to act, and returns its fencing token. Every later write names the token and is
    refused by name once another run has taken over.
  - The lease expires when it is not renewed, and every call renews it. The holder is the C(ansible-playbook) process; when it
    is found dead on the same controller, the lease is taken over at once.
author: everup.deploy contributors (@everup)
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
  - everup.deploy.connection
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  action:
    description:
      - V(open) takes the lease and opens the release, or goes on with it.
      - V(advance) moves the release to O(to).
      - V(renew) keeps the lease, and fails where another run has taken it; where nothing else is said to the ledger for long.
      - V(close) gives the lease back and leaves the state as it is; every run ends with it.
      - V(fail) marks a release in motion as failed, with O(reason), and gives the lease back.
      - V(abort) ends a release for good that has not touched any host yet.
      - V(approve) records that O(approver) approves of the contract of a release that is rolled out, for O(reason). It takes no
        lease. Rolling the release out again ends its approvals. Available since 0.2.0.
      - V(evidence) records what O(gates) say, and fails where one of them stands in the way of the contract. Available since
        0.2.0.
    type: str
    choices: [open, advance, renew, close, abort, fail, approve, evidence]
    required: true
  version:
    description: The application version that is released.
    type: str
    required: true
  to:
    description: The state to advance to.
    type: str
    choices: [expanding, expanded, rolling, rolled, contracting, contracted, rolling_back, rolled_back]
  token:
    description: The fencing token that V(open) returned; required for every other action but V(approve).
    type: int
  hosts:
    description: With O(to=rolled), every host that must be ready at O(version); the ledger is held against it.
    type: list
    elements: str
  gone:
    description: With O(to=rolled_back), hosts that are gone for good and did not go back; kept in the event log.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  soak:
    description: With O(to=contracting), how long the release must have served all traffic, such as V(24h).
    type: str
    default: ''
  reason:
    description: Why; kept with the release and in the events.
    type: str
  schema_version:
    description: With O(to=expanded), the newest expand script; the release contracts no further than this.
    type: str
  plan_hash:
    description:
      - Hash of the expand plan that was carried out.
      - With O(action=approve), where it is required, hash of the contract plan that is approved, as
        M(everup.deploy.contract_evidence_info) returns it; the approval is of no other.
    type: str
  approver:
    description: With O(action=approve), who approves; by default user and host of the process.
    type: str
    default: ''
    version_added: 0.2.0
  gates:
    description: With O(action=evidence), the gates that M(everup.deploy.contract_evidence_info) returned.
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
  lease_ttl:
    description: For how long the lease is valid after each call, at least V(1s). It must be longer than the longest single step.
    type: str
    default: 10m
  takeover:
    description: Take the lease although somebody holds it. Only for a holder that is known to be dead.
    type: bool
    default: false
  existing:
    description: With O(action=open), only go on with a release that is in the ledger. Check mode does not insist on it.
    type: bool
    default: false
  older_reason:
    description:
      - With O(action=open), why a version may be released that is older than one whose contract has started.
      - Without it such a version is refused, for what only older versions used may be gone. Versions that are no numbers joined
        by dots are not compared.
    type: str
    default: ''
    version_added: 0.2.0
  process:
    description: Identity of the controlling process; filled in by the action plugin.
    type: dict
    default: {}
  dead_token:
    description: Token of a holder that was found dead on this controller; filled in by the action plugin.
    type: int
seealso:
  - module: everup.deploy.release_info
  - module: everup.deploy.release_member
"""

EXAMPLES = r"""
- name: Take the lease and open release 2.4.0
  everup.deploy.release:
    action: open
    version: 2.4.0
    login_db: /srv/shop/shop.sqlite
  register: opened

- name: Begin to expand
  everup.deploy.release:
    action: advance
    to: expanding
    version: 2.4.0
    token: "{{ opened.token }}"
    login_db: /srv/shop/shop.sqlite

- name: Approve of the contract
  everup.deploy.release:
    action: approve
    version: 2.4.0
    approver: ann@example.com
    reason: Seen the reports of two weeks
    plan_hash: "{{ evidence.plan_hash }}"
    login_db: /srv/shop/shop.sqlite
"""

RETURN = r"""
changed:
  description:
    - Whether the release's state changed. Taking, renewing or giving back the lease does not count.
    - Whether an approval is a new one.
  type: bool
  returned: always
release:
  description: The release as the ledger has it now.
  type: dict
  returned: success
  sample: {id: 3, version: 2.4.0, state: expanding, reached: open, opened_at: '2026-11-20T09:30:00.000Z'}
token:
  description: The fencing token.
  type: int
  returned: when the action is open or advance
new:
  description: Whether the release was opened by this call.
  type: bool
  returned: when the action is open
next_step:
  description: What a person does next with this release.
  type: str
  returned: success
lease:
  description: Who holds the lease, since when, and when it expires.
  type: dict
  returned: when the lease is refused
lease_lost:
  description: That another run has taken the lease over, so that this one must not act any more.
  type: bool
  returned: when it has
  version_added: 0.2.0
approver:
  description: Who has approved.
  type: str
  returned: when the action is approve
  version_added: 0.2.0
gates:
  description: The gates as they were given.
  type: list
  elements: dict
  returned: when a gate is closed
  version_added: 0.2.0
"""

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import LEDGER_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module
from ansible_collections.everup.deploy.plugins.module_utils._release.commands import run_release

ARGUMENT_SPEC = {
    **CONNECTION_SPEC,
    **LEDGER_SPEC,
    "action": {
        "type": "str",
        "choices": ["open", "advance", "renew", "close", "abort", "fail", "approve", "evidence"],
        "required": True,
    },
    "version": {"type": "str", "required": True},
    "to": {
        "type": "str",
        "choices": [
            "expanding",
            "expanded",
            "rolling",
            "rolled",
            "contracting",
            "contracted",
            "rolling_back",
            "rolled_back",
        ],
    },
    "token": {"type": "int", "no_log": False},
    "hosts": {"type": "list", "elements": "str"},
    "gone": {"type": "list", "elements": "str", "default": []},
    "soak": {"type": "str", "default": ""},
    "reason": {"type": "str"},
    "schema_version": {"type": "str"},
    "plan_hash": {"type": "str"},
    "approver": {"type": "str", "default": ""},
    "gates": {"type": "list", "elements": "dict", "default": []},
    "lease_ttl": {"type": "str", "default": "10m"},
    "takeover": {"type": "bool", "default": False},
    "older_reason": {"type": "str", "default": ""},
    "existing": {"type": "bool", "default": False},
    "process": {"type": "dict", "default": {}},
    "dead_token": {"type": "int", "no_log": False},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, run_release)


if __name__ == "__main__":
    main()
