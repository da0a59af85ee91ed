# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads and writes the ledger's table of what is kept."""

from __future__ import annotations

from dataclasses import dataclass

from .._db.ledger import Ledger
from .._db.script import parse_duration
from .._db.who import whoami
from .._errors import EverupError
from .keeper import Keeper
from .manifest import Manifest

# Beside them, where schema changes do not roll back, what a run is just doing with an object: settled by asking the catalog.
DROPPED, RESTORED, PURGED = "dropped", "restored", "purged"
DROPPING, RESTORING, PURGING = "dropping", "restoring", "purging"
_LONGEST_KEPT = 36500 * 86400.0
_COLUMNS = "id, release_version, script, kind, object, kept_as, manifest, state, dropped_at, purge_after, changed_at, changed_by"


@dataclass(frozen=True)
class Kept:
    """One object that is, or was, kept; times are ISO 8601 UTC text.

    Attributes:
        due: its time to be purged has come.
    """

    id: int
    release_version: str | None
    script: str | None
    kind: str
    object: str
    kept_as: str
    manifest: Manifest
    state: str
    dropped_at: str
    purge_after: str | None
    changed_at: str
    changed_by: str
    due: bool

    def as_dict(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name not in ("manifest",)}


class Store:
    """The ledger's table of what is kept.

    Parameters:
        ledger: the collection's own tables.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._db = ledger.db
        self._table = ledger.db.table(ledger.names.trash)

    def rows(self, *states: str) -> list[Kept]:
        """Return the rows in the order in which things were dropped; none where the ledger has no such table yet."""
        if not self._db.table_exists(self.ledger.names.trash):
            return []
        due = f"CASE WHEN purge_after <= {self._db.now()} THEN 1 ELSE 0 END AS due"
        found = self._db.query(f"SELECT {_COLUMNS}, {due} FROM {self._db.settled_rows(self._table)} ORDER BY id")
        wanted = [row for row in found if not states or row["state"] in states]
        return [Kept(**{**row, "manifest": Manifest.from_json(row["manifest"]), "due": row["due"] == 1}) for row in wanted]

    def last_number(self) -> int:
        """Return the newest row's id, 0 without any."""
        return self._db.query(f"SELECT coalesce(max(id), 0) AS number FROM {self._table}")[0]["number"]

    def add(self, manifest: Manifest, state: str, release: str | None, script: str, keep_seconds: float) -> None:
        """Write the row of an object that is moved away in this transaction, or about to be."""
        now = self._db.now()
        self._db.execute(
            f"INSERT INTO {self._table} (release_version, script, kind, object, kept_as, manifest, state, dropped_at,"
            f" purge_after, changed_at, changed_by) VALUES (?, ?, ?, ?, ?, ?, ?, {now}, {self._db.later(keep_seconds)}, {now},"
            " ?)",
            (
                release,
                script,
                manifest.kind,
                str(manifest.place),
                manifest.kept_as,
                manifest.to_json(),
                state,
                whoami(),
            ),
        )
        if state == DROPPED:
            self.note_dropped(manifest, release, script)

    def note_dropped(self, manifest: Manifest, release: str | None, script: str) -> None:
        """Write the event of an object that has been moved away."""
        detail = {"kind": manifest.kind, "kept_as": manifest.kept_as, "script": script, "release": release}
        self.ledger.event("soft_dropped", subject=str(manifest.place), **detail)

    def set_state(self, number: int, state: str) -> None:
        """Write what has become of an object."""
        self._db.execute(
            f"UPDATE {self._table} SET state = ?, changed_at = {self._db.now()}, changed_by = ? WHERE id = ?",
            (state, whoami(), number),
        )

    def set_manifest(self, number: int, manifest: Manifest) -> None:
        """Write what is left to do with an object."""
        self._db.execute(f"UPDATE {self._table} SET manifest = ? WHERE id = ?", (manifest.to_json(), number))

    def forget(self, number: int) -> None:
        """Take out the row of a move that never happened."""
        self._db.execute(f"DELETE FROM {self._table} WHERE id = ?", (number,))

    def settle(self, keeper: Keeper) -> None:
        """Give every row that a killed run has left in the middle the state that the catalog shows.

        Nobody else may be at work: the caller holds the session lock.
        """
        for row in self.rows(DROPPING, RESTORING, PURGING):
            manifest = row.manifest
            there = keeper.is_there(manifest.kind, manifest.place)
            still_kept = not there if manifest.is_text else keeper.is_there(manifest.kind, manifest.kept)
            with self._db.transaction():
                if row.state == DROPPING and still_kept:
                    self.set_state(row.id, DROPPED)
                    self.note_dropped(manifest, row.release_version, row.script or "")
                elif row.state == DROPPING:
                    self.forget(row.id)
                elif still_kept:
                    self.set_state(row.id, DROPPED)
                else:
                    self.set_state(row.id, RESTORED if row.state == RESTORING else PURGED)


def keep_seconds(text: str) -> float:
    """Return the seconds of a time to keep something, such as 30d or 12h.

    Raises:
        EverupError: it is none, or longer than anybody keeps anything.
    """
    try:
        seconds = parse_duration(text)
    except ValueError:
        raise EverupError(f"purge_after is '{text}': write it as 30d, 4w, 12h, 90m or 10s.") from None
    if seconds > _LONGEST_KEPT:
        raise EverupError(f"purge_after is '{text}': it can be 36500d at most.")
    return seconds
