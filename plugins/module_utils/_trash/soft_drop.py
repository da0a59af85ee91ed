# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries out the drops of a run's scripts as moves into the trash, where that is possible."""

from __future__ import annotations

from contextlib import suppress
from typing import Iterable

from .._db.engines.base import Engine
from .._db.errors import DatabaseError
from .._db.kept import SCHEMA, kept_name
from .._db.ledger import Ledger
from .._db.lexis import Statement, tokens
from .drops import Drop, Reading, names_dropped, plain, read_drops
from .keeper import Naming, keeper_of
from .manifest import Manifest, Refusal
from .store import DROPPED, DROPPING, Store

NO, WHERE_POSSIBLE, REQUIRED = "no", "where_possible", "required"
MODES = (NO, WHERE_POSSIBLE, REQUIRED)
# ALGORITHM is not possible for what is asked (MariaDB and MySQL).
_WOULD_COPY = (1845, 1846)
_SOME = "several objects in one statement are moved one by one here, so that a kill could part them: write one statement each"
_MORE = "it stands in one statement with other changes: write it as a statement of its own"


def run_sql(db: Engine, sql: str) -> None:
    """Run one statement of a manifest, which may be the text of a routine."""
    found = [token for token in tokens(sql, db.lexis, "") if token.kind not in ("space", "comment")]
    words = tuple(token.text.upper() for token in found[:8] if token.kind == "word")
    db.run_script_statement(Statement(sql, 1, 1, words, any(token.kind == "marker" for token in found)))


class SoftDrop:
    """What a run does with the statements of its scripts that drop something.

    Attributes:
        kept: what this run has moved away, as dicts.
        lost: what it has dropped for good, as dicts with why.

    Parameters:
        ledger: the collection's own tables, which must be there.
        mode: one of MODES.
        keep: seconds until what is moved away may be purged.
        release: the release that the run belongs to.
        statements: everything that the run may come to, in its order.
    """

    def __init__(self, ledger: Ledger, mode: str, keep: float, release: str | None, statements: Iterable[Statement] = ()) -> None:
        self._ledger = ledger
        self._db = ledger.db
        self._keeper = keeper_of(ledger.db)
        self._store = Store(ledger)
        self._mode = mode
        self._keep = keep
        self._release = release
        self._ahead = [(statement, names_dropped(statement, ledger.db.lexis)) for statement in statements]
        self._number = 0
        self._taken: list[tuple] = []  # of the script, or statement, whose transaction is open
        self._given_up: list[dict] = []
        self.kept: list[dict] = []
        self.lost: list[dict] = []

    def begin_run(self) -> None:
        """Settle what a killed run has left, and look from which number on names are free; needs the session lock."""
        self._store.settle(self._keeper)
        self._number = int(self._store.last_number())

    def begin(self) -> None:
        """Forget what a try has moved whose transaction did not commit."""
        self._taken, self._given_up = [], []

    def record(self) -> None:
        """Write the rows of what has been moved, in its own transaction."""
        for manifest, source in self._taken:
            self._store.add(manifest, DROPPED, self._release, source, self._keep)
        for lost in self._given_up:
            self._ledger.event("dropped_for_good", subject=lost["object"], script=lost["script"], why=lost["why"])

    def committed(self) -> None:
        """Take what was recorded for done."""
        self.kept += [_described(manifest, source) for manifest, source in self._taken]
        self.lost += self._given_up
        self._number += len(self._taken)
        self.begin()

    def take(self, source: str, statement: Statement) -> bool:
        """Move away what a statement drops; return whether that was done, so that the statement must not run any more.

        Parameters:
            source: the script.
            statement: the next one of it.

        Raises:
            DatabaseError: the server refuses the drop, or the move; or nothing may be dropped that is not kept.
        """
        reading = self.read(statement)
        if reading is None:
            return False
        if not self._db.transactional_ddl:
            return self._take_apart(source, statement, reading)
        manifests = self._manifests(source, statement, reading)
        if not manifests:
            return False
        if all(manifest.is_text for manifest in manifests):
            self._db.run_script_statement(statement)
        else:
            self._keeper.apply_trial(statement)
            for manifest in manifests:
                for sql in manifest.move:
                    self._db.execute(sql)
            if reading.rest:
                run_sql(self._db, reading.rest)
        self._taken += [(manifest, source) for manifest in manifests]
        return True

    def _take_apart(self, source: str, statement: Statement, reading: Reading) -> bool:
        """Do the same where no transaction holds schema changes: the row says what is about to happen, and then what has."""
        db = self._db
        db.pause_script()
        try:
            manifests = self._manifests(source, statement, reading)
            if not manifests:
                self._note_given_up()
                return False
            (manifest,) = manifests
            with db.transaction():
                self._store.add(manifest, DROPPING, self._release, source, self._keep)
            row = self._store.last_number()
            try:
                if not self._moved(manifest, source, statement):
                    self._store.settle(self._keeper)
                    self._note_given_up()
                    return False
            except BaseException:
                with suppress(DatabaseError):
                    db.pause_script()
                    self._store.settle(self._keeper)
                raise
            with db.transaction():
                self._store.set_state(row, DROPPED)
                self._store.note_dropped(manifest, self._release, source)
            self.kept.append(_described(manifest, source))
            self._number = int(row)
            return True
        finally:
            db.begin_script()

    def _note_given_up(self) -> None:
        if self._given_up:
            with self._db.transaction():
                self.record()
            self.committed()

    def _moved(self, manifest: Manifest, source: str, statement: Statement) -> bool:
        """Move one object by its one statement; return whether the server could without copying its rows."""
        if manifest.is_text:
            self._db.begin_script()
            self._db.run_script_statement(statement)
            self._db.pause_script()
            return True
        try:
            for sql in manifest.move:
                self._db.execute(sql)
        except DatabaseError as error:
            if error.details.get("number") not in _WOULD_COPY:
                raise
            refusal = Refusal(f"the server would have to copy the table for it ({error})", str(manifest.place))
            self._give_up(source, statement, None, refusal)
            return False
        return True

    def _manifests(self, source: str, statement: Statement, reading: Reading) -> list[Manifest]:
        """Return how everything that a statement drops is kept; nothing when the statement runs as it is written."""
        found = self.judge(statement, reading)
        refusals = [(drop, one) for drop, one in found if isinstance(one, Refusal) and not (one.missing and drop.if_exists)]
        for drop, refusal in refusals:
            if refusal.why:
                self._give_up(source, statement, drop, refusal)
                # What a statement cannot keep of one object it cannot keep of the others.
                for other, one in found:
                    if isinstance(one, Manifest) and other is not drop:
                        self._give_up(source, statement, other, Refusal(f"{refusal.object} in the same statement is not kept"))
                break
        return [] if refusals else [one for _drop, one in found if isinstance(one, Manifest)]

    def read(self, statement: Statement) -> Reading | None:
        """Return what a statement drops."""
        return read_drops(statement, self._db.lexis)

    def judge(self, statement: Statement, reading: Reading) -> list[tuple[Drop | None, Manifest | Refusal]]:
        """Return each object that a statement drops with how it is kept, or why it is not; changes nothing."""
        if reading.refusal:
            whole = reading.whole or ", ".join(_label(drop) for drop in reading.drops)
            return [(None, Refusal(reading.refusal, whole))]
        apart = not self._db.transactional_ddl
        if apart and (len(reading.drops) > 1 or reading.rest):
            why = _MORE if reading.rest else _SOME
            return [(None, Refusal(why, ", ".join(_label(drop) for drop in reading.drops)))]
        doomed = self._doomed(statement)
        first = self._number + len(self._taken) + 1
        return [
            (drop, self._keeper.manifest(drop, self._naming(first + place), doomed)) for place, drop in enumerate(reading.drops)
        ]

    def _naming(self, number: int) -> Naming:
        return lambda name, prefix: kept_name(name, self._release, number, self._keeper.longest_name, prefix)

    def _doomed(self, statement: Statement) -> frozenset:
        """Return what the run drops behind a statement; all of it for a statement that is not one of the run's."""
        places = [place for place, (one, _names) in enumerate(self._ahead) if one is statement]
        behind = self._ahead[places[0] + 1 :] if places else self._ahead
        return frozenset(name for _statement, names in behind for name in names)

    def _give_up(self, source: str, statement: Statement, drop: Drop | None, refusal: Refusal) -> None:
        label = refusal.object or (_label(drop) if drop else "")
        if self._mode == REQUIRED:
            raise DatabaseError(
                f"{label} cannot be kept, and soft_drop is required: {refusal.why}. Change the script, or set "
                "soft_drop=where_possible (of the playbooks: -e contract_soft_drop=where_possible) to drop it for good"
            )
        self._given_up.append({"script": source, "line": statement.line, "object": label, "why": refusal.why})

    def advice(self, error: DatabaseError) -> str:
        """Return what to do about an error that names something kept, empty for any other."""
        if SCHEMA not in str(error):
            return ""
        return (
            ". What is in the way is in the trash: bring it back with everup.deploy.restore, or end it with everup.deploy.purge"
        )


def foresee(soft_drop: SoftDrop, scripts: list[tuple[str, tuple]]) -> list[dict]:
    """Return what the drops of scripts would come to with the database as it is now; nothing is changed.

    Parameters:
        scripts: name and statements of each.

    Returns:
        dicts with script, line, object, kept, kept_as and why; of what is not there yet, nothing.
    """
    found = []
    for source, statements in scripts:
        for statement in statements:
            reading = soft_drop.read(statement)
            for drop, one in soft_drop.judge(statement, reading) if reading else []:
                if isinstance(one, Refusal) and (not one.why or one.undecided):
                    continue
                is_kept = isinstance(one, Manifest)
                label = str(one.place) if is_kept else one.object or (_label(drop) if drop else "")
                found.append(
                    {
                        "script": source,
                        "line": statement.line,
                        "object": label,
                        "kept": is_kept,
                        "kept_as": one.kept_as if is_kept else "",
                        "why": "" if is_kept else one.why,
                    }
                )
    return found


def _label(drop: Drop) -> str:
    return ".".join(plain(part) for part in (*drop.name, *([drop.column] if drop.column else [])))


def _described(manifest: Manifest, source: str) -> dict:
    return {"object": str(manifest.place), "kind": manifest.kind, "kept_as": manifest.kept_as, "script": source}
