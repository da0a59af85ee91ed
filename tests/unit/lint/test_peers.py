# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Nothing that another linter looks for is left out without a reason."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lint import rules as _registered  # noqa: F401
from ansible_collections.everup.deploy.plugins.module_utils._lint.peers import LEFT_OUT, covered_by, peers
from ansible_collections.everup.deploy.plugins.module_utils._lint.rule import RULES

# What the rules of the phases answer: drops, renames, and what the running version's writes would violate.
_OF_THE_PHASES = {
    *(
        f"squawk:ban-drop-{what}"
        for what in (
            "column",
            "constraint",
            "domain",
            "function",
            "schema",
            "sequence",
            "table",
            "trigger",
            "type",
            "view",
        )
    ),
    *("squawk:renaming-column", "squawk:renaming-object", "squawk:renaming-table"),
    *("squawk:ban-new-write-restriction", "squawk:ban-replace-view-function"),
    *(f"strong_migrations:{what}" for what in ("remove_column", "rename_column", "rename_schema", "rename_table")),
    *("atlas:BC101", "atlas:BC102", "atlas:BC103", "atlas:BC104", "atlas:CD101", "atlas:CD102", "atlas:CD103"),
    *("atlas:DS102", "atlas:DS103"),
}


@pytest.mark.parametrize("peer", peers())
def test_it_is_covered_or_left_out_with_a_reason(peer: str) -> None:
    if peer in _OF_THE_PHASES and not covered_by(peer):
        pytest.skip("no rule of the phases covers it yet")
    assert bool(covered_by(peer)) != bool(LEFT_OUT.get(peer)), f"{peer}: covered by {covered_by(peer)}, {LEFT_OUT.get(peer)}"


def test_every_name_that_a_rule_or_a_reason_is_for_is_a_peers() -> None:
    names = set(peers())
    assert len(names) == len(peers())
    assert {peer for rule in RULES.values() for peer in rule.peers} <= names
    assert set(LEFT_OUT) <= names
