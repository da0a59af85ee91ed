# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says which scripts of a phase have changed the database already, to their end or not."""

from __future__ import annotations

from .._db.ledger import Ledger
from .history import FAILED, History
from .version import Version


def begun_versions(ledger: Ledger, phase: str) -> set[Version]:
    """Return the versions whose script is applied, or was stopped where a part of it may have stayed."""
    return {row.version for row in History(ledger, phase).rows() if row.state != FAILED or row.statements_done}
