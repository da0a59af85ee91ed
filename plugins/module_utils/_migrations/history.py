# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads and writes the history table of one phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from .._db.ledger import Ledger
from .._db.who import whoami
from .files import Migration
from .version import Version

APPLIED, RUNNING, FAILED = "applied", "running", "failed"


@dataclass(frozen=True)
class Row:
    """One script as the history knows it; times are ISO 8601 UTC text."""

    version: Version
    description: str
    script: str
    checksum: str
    state: str
    statements_done: int
    statements_total: int
    started_at: str
    finished_at: str | None
    applied_by: str
    release_version: str | None
    error: str | None

    def as_dict(self) -> dict:
        return {**self.__dict__, "version": str(self.version)}


class History:
    """The history of one phase.

    Attributes:
        begins_again: a script that did not come to its end runs again from its first statement, whatever it did.

    Parameters:
        ledger: the collection's own tables.
        phase: ``expand`` or ``contract``.
    """

    key: Callable = Version
    begins_again = False

    def __init__(self, ledger: Ledger, phase: str) -> None:
        self.ledger = ledger
        self._db = ledger.db
        self.phase = phase
        self.table = self._db.table(ledger.names.history(phase))
        # How the table spelt a version when it was last read: a file may have been renamed from 7 to 0007 since then.
        self._spelt: dict = {}
        self._exists = False

    def rows(self) -> list[Row]:
        """Return every row in version order; none when the table was not created yet."""
        self._exists = self._exists or self.ledger.history_exists(self.phase)
        if not self._exists:
            return []
        columns = ", ".join(Row.__dataclass_fields__)
        found = self._db.query(f"SELECT {columns} FROM {self._db.settled_rows(self.table)}")
        rows = [Row(**{**row, "version": self.key(row["version"])}) for row in found]
        self._spelt = {row.version: str(row.version) for row in rows}
        return sorted(rows, key=lambda row: row.version)

    def _spellings(self, migration: Migration) -> tuple[str, str]:
        """Return the spelling that was read and the file's: which one the row has depends on what was rolled back since."""
        own = str(migration.version)
        return self._spelt.get(migration.version, own), own

    def row(self, version: Version) -> Row | None:
        """Return the row of one version as it is now."""
        return next((row for row in self.rows() if row.version == version), None)

    def forget(self, version: Version) -> None:
        """Take a row out."""
        self._db.execute(f"DELETE FROM {self.table} WHERE version = ?", (self._spelt[version],))

    def set_checksum(self, migration: Migration) -> None:
        """Record the text that the file has now."""
        self._db.execute(
            f"UPDATE {self.table} SET checksum = ? WHERE version IN (?, ?)",
            (migration.script.checksum, *self._spellings(migration)),
        )

    def start(self, migration: Migration, release_version: str | None) -> None:
        """Write a fresh ``running`` row for a script, in place of one that did not come to an end.

        The row of an applied script stays, and the key then refuses this one.
        """
        self._clear(migration)
        self._insert(migration, RUNNING, 0, self._db.now(), "NULL", release_version)

    def record_applied(self, migration: Migration, release_version: str | None, seconds: float) -> None:
        """Write the row of a script that has just run in this transaction.

        Parameters:
            seconds: how long ago it began.
        """
        if migration.version in self._spelt:
            self._clear(migration)
        total = len(migration.script.statements)
        self._insert(migration, APPLIED, total, self._db.later(-seconds), self._db.now(), release_version)

    def _clear(self, migration: Migration) -> None:
        self._db.execute(
            f"DELETE FROM {self.table} WHERE version IN (?, ?) AND state <> ?", (*self._spellings(migration), APPLIED)
        )

    def _insert(self, migration: Migration, state: str, done: int, started: str, finished: str, release_version) -> None:
        self._spelt.setdefault(migration.version, str(migration.version))
        self._db.execute(
            f"INSERT INTO {self.table} (version, description, script, checksum, state, statements_done,"
            f" statements_total, started_at, finished_at, applied_by, release_version)"
            f" VALUES (?, ?, ?, ?, ?, ?, ?, {started}, {finished}, ?, ?)",
            (
                str(migration.version),
                migration.description,
                migration.source,
                migration.script.checksum,
                state,
                done,
                len(migration.script.statements),
                whoami(),
                release_version,
            ),
        )

    def resume(self, migration: Migration, done: int, release_version: str | None) -> None:
        """Mark a script as running again behind its first statements, so that another crash is told apart from this one."""
        self._db.execute(
            f"UPDATE {self.table} SET state = ?, statements_done = ?, error = NULL, finished_at = NULL, applied_by = ?,"
            " release_version = ? WHERE version IN (?, ?) AND state <> ?",
            (RUNNING, done, whoami(), release_version, *self._spellings(migration), APPLIED),
        )

    def progress(self, migration: Migration, done: int) -> None:
        """Record how many statements of a running script have ended."""
        self._db.execute(
            f"UPDATE {self.table} SET statements_done = ? WHERE version IN (?, ?)", (done, *self._spellings(migration))
        )

    def finish(self, migration: Migration) -> None:
        """Mark a script as applied."""
        self._db.execute(
            f"UPDATE {self.table} SET state = ?, statements_done = statements_total, error = NULL,"
            f" finished_at = {self._db.now()} WHERE version IN (?, ?)",
            (APPLIED, *self._spellings(migration)),
        )

    def fail(self, migration: Migration, error: str, done: int = 0) -> None:
        """Mark a script as failed, with what the database said and how many of its statements stay."""
        self._db.execute(
            f"UPDATE {self.table} SET state = ?, error = ?, statements_done = ?, finished_at = {self._db.now()}"
            " WHERE version IN (?, ?) AND state <> ?",
            (FAILED, error, done, *self._spellings(migration), APPLIED),
        )

    def leave_in_doubt(self, migration: Migration, error: str, done: int) -> None:
        """Leave a script running behind its first statements, with what the database said of the next one: the next run asks."""
        self._db.execute(
            f"UPDATE {self.table} SET state = ?, error = ?, statements_done = ? WHERE version IN (?, ?) AND state <> ?",
            (RUNNING, error, done, *self._spellings(migration), APPLIED),
        )
