# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says how far each backfill has come, and why a contract script must wait for one."""

from __future__ import annotations

from .._db.connection import ENGINES
from .._db.engines.base import Engine
from .._db.errors import DatabaseError
from .._db.ledger import Ledger
from . import pace
from .backfill_store import FINISHED, BackfillRow, BackfillStore
from .backfills import Backfill, contract_findings, read_backfills
from .batch_sql import verify_sql
from .begun import begun_versions
from .files import Migration
from .throttle import number


def backfills_of(params: dict, db: Engine) -> list[Backfill]:
    """Return the backfills of the folder that the module's options name; see :func:`read_backfills`."""
    return read_backfills(params["path"], params["backfill_folder"], db, [*ENGINES], params["placeholders"])


def inform_backfills(ledger: Ledger, backfills: list[Backfill]) -> list[dict]:
    """Return the facts of every backfill; changes nothing."""
    rows = {row.version: row for row in BackfillStore(ledger).rows()}
    return [described(ledger.db, backfill, rows.get(backfill.version)) for backfill in backfills]


def contract_gate(ledger: Ledger, backfills: list[Backfill], contract: tuple[Migration, ...]) -> list[str]:
    """Return why contract scripts must wait for the backfill of their version, asking the finished ones' verify queries.

    A script that was stopped in the middle passed here when it began, and the columns that the query asks for may be gone.

    Raises:
        DatabaseError: a verify query was refused.
        EverupError: it gave something else than a number.
    """
    begun = begun_versions(ledger, "contract") if contract else set()
    contract = tuple(migration for migration in contract if migration.version not in begun)
    if not contract:
        return []
    rows = BackfillStore(ledger).rows()
    asked = {migration.version for migration in contract} & {row.version for row in rows if row.state == FINISHED}
    left = {backfill.version: _rows_left(ledger.db, backfill) for backfill in backfills if backfill.version in asked}
    return contract_findings(list(contract), backfills, rows, left)


def _rows_left(db: Engine, backfill: Backfill) -> int:
    definition = backfill.definition.filled()
    try:
        found = db.query(verify_sql(definition, db.table_of_user(definition.table)))
    except DatabaseError as error:
        # The error it came from holds the values of placeholders: no traceback may lead there.
        raise backfill.masked(error, "verify: ") from None
    return int(number(found, f"{backfill.source}: verify"))


def described(db: Engine, backfill: Backfill, row: BackfillRow | None) -> dict:
    """Return the facts of one backfill: what its row says, or for one that has not begun how many rows there are."""
    estimate = row.row_estimate if row else _estimate(db, backfill)
    return {
        "version": str(backfill.version),
        "description": backfill.description,
        "backfill": backfill.source,
        "table": backfill.definition.table,
        "checksum": backfill.definition.checksum,
        "state": row.state if row else "pending",
        "rows": row.rows_changed if row else 0,
        "rows_seen": row.rows_seen if row else 0,
        "rows_left": row.rows_left if row else None,
        "estimate": estimate,
        "percent": pace.percent(row.rows_seen, estimate, row.state == FINISHED) if row else 0,
        "watermark": row.watermark if row else None,
        "batch_size": row.batch_size if row else backfill.definition.batch,
        "batches": row.batches if row else 0,
        "started_at": row.started_at if row else None,
        "finished_at": row.finished_at if row else None,
        "applied_by": row.applied_by if row else None,
        "release_version": row.release_version if row else None,
        "error": row.error if row else None,
    }


def _estimate(db: Engine, backfill: Backfill) -> int | None:
    """Return about how many rows the table has, None while an expand script has not created it yet."""
    try:
        return db.row_estimate(backfill.definition.table)
    except DatabaseError:
        return None
