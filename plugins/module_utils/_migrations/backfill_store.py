# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads and writes how far each backfill has come."""

from __future__ import annotations

from dataclasses import dataclass

from .._db.keyset import decode_key, encode_key
from .._db.ledger import Ledger
from .._db.who import whoami
from .._errors import EverupError
from .version import Version

RUNNING, FINISHED, INCOMPLETE, FAILED = "running", "finished", "incomplete", "failed"


class Overtaken(EverupError):
    """Another run moves the same watermark, so a batch of this one must not commit."""


@dataclass(frozen=True)
class BackfillRow:
    """One backfill as the ledger knows it; times are ISO 8601 UTC text, keys lists of values.

    Attributes:
        watermark: the last key that is done, None before the first batch.
        end_key: the largest key when the sweep began, None when the table was empty.
        sweep: 1 for what was there at the start, 2 for what has grown behind it meanwhile.
        rows_changed, rows_seen: what the batches changed, and looked at.
        rows_left: by the verify query at the end.
    """

    version: Version
    description: str
    definition: str
    checksum: str
    state: str
    watermark: list | None
    end_key: list | None
    sweep: int
    rows_changed: int
    rows_seen: int
    row_estimate: int | None
    rows_left: int | None
    batch_size: int
    batches: int
    started_at: str
    finished_at: str | None
    applied_by: str
    release_version: str | None
    error: str | None

    def as_dict(self) -> dict:
        return {**self.__dict__, "version": str(self.version)}


class BackfillStore:
    """The ledger's table of backfills."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._db = ledger.db
        self.table = self._db.table(ledger.names.backfill)

    def rows(self) -> list[BackfillRow]:
        """Return every row in version order; none when the table was not created yet."""
        if not self._db.table_exists(self._ledger.names.backfill):
            return []
        columns = ", ".join(BackfillRow.__dataclass_fields__)
        rows = [
            BackfillRow(
                **{
                    **row,
                    "version": Version(row["version"]),
                    "watermark": decode_key(row["watermark"]),
                    "end_key": decode_key(row["end_key"]),
                }
            )
            for row in self._db.query(f"SELECT {columns} FROM {self.table}")
        ]
        return sorted(rows, key=lambda row: row.version)

    def row(self, version: Version) -> BackfillRow | None:
        """Return the row of one version as it is now."""
        return next((row for row in self.rows() if row.version == version), None)

    def start(self, backfill, end: list | None, estimate: int | None, size: int, release_version: str | None) -> None:
        """Write a fresh row, in place of one that did not finish; the row of a finished one stays, and the key refuses this."""
        self._insert(backfill, RUNNING, encode_key(end), estimate, size, "NULL", release_version)

    def count_as_finished(self, backfill) -> None:
        """Write the row of a backfill that nobody has run here; how many rows are left is not asked."""
        self._insert(backfill, FINISHED, None, None, backfill.definition.batch, self._db.now(), None)

    def _insert(self, backfill, state: str, end: str | None, estimate: int | None, size: int, finished: str, release) -> None:
        old = self.row(backfill.version)
        if old is not None:
            self._db.execute(f"DELETE FROM {self.table} WHERE version = ? AND state <> ?", (str(old.version), FINISHED))
        self._db.execute(
            f"INSERT INTO {self.table} (version, description, definition, checksum, state, end_key, sweep, rows_changed,"
            " rows_seen, row_estimate, batch_size, batches, started_at, finished_at, applied_by, release_version)"
            f" VALUES (?, ?, ?, ?, ?, ?, 1, 0, 0, ?, ?, 0, {self._db.now()}, {finished}, ?, ?)",
            (
                str(backfill.version),
                backfill.description,
                backfill.source,
                backfill.definition.checksum,
                state,
                end,
                estimate,
                size,
                whoami(),
                release,
            ),
        )

    def advance(self, row: BackfillRow, last: list, end: list | None, sweep: int, changed: int, seen: int, size: int) -> None:
        """Move the watermark; call it inside the batch's transaction.

        Raises:
            Overtaken: the row is no longer as it was read: somebody else is filling, and this batch must not commit.
        """
        moved = self._db.execute(
            f"UPDATE {self.table} SET watermark = ?, end_key = ?, sweep = ?, rows_changed = ?, rows_seen = ?, batch_size = ?,"
            " batches = ?, state = ?, error = NULL WHERE version = ? AND batches = ? AND state <> ?",
            (
                encode_key(last),
                encode_key(end),
                sweep,
                row.rows_changed + changed,
                row.rows_seen + seen,
                size,
                row.batches + 1,
                RUNNING,
                str(row.version),
                row.batches,
                FINISHED,
            ),
        )
        if moved != 1:
            raise Overtaken(
                f"{row.definition}: the ledger's row has moved since batch {row.batches}: another run is filling the same table. "
                "This batch was rolled back. Let that run finish, then run this again."
            )

    def end(self, row: BackfillRow, left: int) -> None:
        """Record the end of the last sweep: finished, or incomplete when the verify query has found rows."""
        self._db.execute(
            f"UPDATE {self.table} SET state = ?, rows_left = ?, error = NULL, finished_at = {self._db.now()} WHERE version = ?",
            (INCOMPLETE if left else FINISHED, left, str(row.version)),
        )

    def fail(self, row: BackfillRow, error: str) -> None:
        """Record why a run stopped; the watermark stays, and the next run goes on behind it."""
        self._db.execute(
            f"UPDATE {self.table} SET state = ?, error = ? WHERE version = ? AND state <> ?",
            (FAILED, error, str(row.version), FINISHED),
        )
