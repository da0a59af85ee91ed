# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps readings of the server's counters in the ledger, so that a restart or a reset does not take them away."""

from __future__ import annotations

from .._db.ledger import Ledger
from .._db.witnesses.base import Count
from .._release.usage import Reading

_LONGEST_NAME = 255


def readings_of(counts: list[Count], taken_at: str) -> list[Reading]:
    """Return what the counters say at a time as readings."""
    return [
        Reading(
            one.source,
            one.object[:_LONGEST_NAME],
            one.uses,
            one.last_used_at,
            (one.counted_since or "")[:_LONGEST_NAME] or None,
            taken_at,
            one.suffices,
            one.why,
        )
        for one in counts
    ]


def read_snapshots(ledger: Ledger) -> list[Reading]:
    """Return every reading that was kept, in the order in which they were taken; none without a table."""
    if not ledger.db.table_exists(ledger.names.usage):
        return []
    rows = ledger.db.query(
        "SELECT source, object, uses, last_used_at, counted_since, taken_at"
        f" FROM {ledger.db.table(ledger.names.usage)} ORDER BY id"
    )
    return [
        Reading(row["source"], row["object"], row["uses"], row["last_used_at"], row["counted_since"], row["taken_at"])
        for row in rows
    ]


def write_snapshot(ledger: Ledger, readings: list[Reading], keep_seconds: float) -> int:
    """Keep readings, all with the time of one statement of the database's clock, and drop what is older than asked for.

    Returns:
        how many old ones were dropped.
    """
    db, table = ledger.db, ledger.db.table(ledger.names.usage)
    with db.transaction():
        now = db.query(f"SELECT {db.now()} AS now")[0]["now"]
        for reading in readings:
            db.execute(
                f"INSERT INTO {table} (taken_at, source, object, uses, last_used_at, counted_since) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    _plain(now),
                    reading.source,
                    reading.object,
                    reading.uses,
                    _plain(reading.last_used_at),
                    reading.counted_since,
                ),
            )
        return db.execute(f"DELETE FROM {table} WHERE taken_at < {db.later(-keep_seconds)}")


def _plain(text: str | None) -> str | None:
    """Return a time as every engine reads it; the sessions are in UTC."""
    return text.replace("T", " ").rstrip("Z") if text else None
