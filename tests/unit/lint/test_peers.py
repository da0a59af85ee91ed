# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Nothing that another linter looks for is left out without a reason."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lint import rules as _registered  # noqa: F401
from ansible_collections.everup.deploy.plugins.module_utils._lint.peers import LEFT_OUT, covered_by, peers
from ansible_collections.everup.deploy.plugins.module_utils._lint.rule import RULES


@pytest.mark.parametrize("peer", peers())
def test_it_is_covered_or_left_out_with_a_reason(peer: str) -> None:
    assert bool(covered_by(peer)) != bool(LEFT_OUT.get(peer)), f"{peer}: covered by {covered_by(peer)}, {LEFT_OUT.get(peer)}"


def test_every_name_that_a_rule_or_a_reason_is_for_is_a_peers() -> None:
    names = set(peers())
    assert len(names) == len(peers())
    assert {peer for rule in RULES.values() for peer in rule.peers} <= names
    assert set(LEFT_OUT) <= names
