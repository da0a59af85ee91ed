# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The names of the gates in front of a contract, and the sentence that ends one whose gates are not all passed."""

from __future__ import annotations

from collections.abc import Mapping

GATES = ("hosts", "members", "sessions", "references", "usage", "soak", "window", "approval", "backfills", "assertions")
DEFAULT_GATES = ("hosts", "members", "sessions", "references", "soak", "backfills", "assertions")


def refusal(gates: list[Mapping]) -> str:
    """Return the sentence that ends a contract whose gates, as dicts, are not all passed; empty when they are."""
    closed = [gate for gate in gates if not gate["passes"]]
    if not closed:
        return ""
    said = "; ".join(gate["proof"] for gate in closed)
    names = ", ".join(gate["name"] for gate in closed)
    ways = " ".join(f"{gate['name']}: {gate['way_on']}." for gate in closed if gate["way_on"])
    return (
        f"The contract does not run: {said}. Closed: {names}. {ways} "
        "To pass one all the same, give its reason in contract_override; docs/contract.md tells of each."
    )
