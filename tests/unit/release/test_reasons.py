# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What counts as a reason."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._release.reasons import reason_of


@pytest.mark.parametrize(
    "given", [None, True, False, "true", " True ", "yes", "on", "1", 1, 0, "", " ", [], ["why"], {"why": "so"}]
)
def test_a_switch_is_no_reason(given):
    assert reason_of(given) == ""


@pytest.mark.parametrize(
    ("given", "reason"),
    [("OPS-4711", "OPS-4711"), (4711, "4711"), (" the fix of it ", "the fix of it"), ("true love", "true love")],
)
def test_a_text_or_the_number_of_a_ticket_is_one(given, reason):
    assert reason_of(given) == reason
