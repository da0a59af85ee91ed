# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the trash modules do: list what is kept, bring it back, drop it for good, retire old versions."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from typing import Callable, Sequence

from .._db.connection import connect
from .._db.engines.base import Engine
from .._db.errors import DatabaseError
from .._db.ledger import Ledger, Names
from .._db.lexis import Statement
from .._errors import EverupError
from .._trash.choose import matching, old_versions, to_purge, to_restore, to_retire
from .._trash.keeper import Keeper, keeper_of
from .._trash.manifest import Manifest
from .._trash.soft_drop import REQUIRED, SoftDrop, run_sql
from .._trash.store import DROPPED, PURGED, PURGING, RESTORED, RESTORING, Kept, Store, keep_seconds
from .families import families
from .locks import BlockerWatch, take_session_lock, with_lock_budget
from .migrate import option_seconds

_DUPLICATE_KEY_NAME = 1061  # of MariaDB and MySQL: a run that was killed has made the index


def trash_info(params: dict, _check_mode: bool) -> dict:
    """List what is kept, and the old versions that could be; changes nothing.

    Returns:
        kept, due (how many of them may be purged), old_versions.
    """
    db = connect(params)
    try:
        store, keeper = Store(Ledger(db, Names.of(params))), keeper_of(db)
        rows = store.rows(*([] if params["gone"] else [DROPPED]))
        if params["release_version"]:
            rows = [row for row in rows if row.release_version == params["release_version"]]
        return {
            "kept": [_listed(row, keeper) for row in rows],
            "due": sum(row.due and row.state == DROPPED for row in rows),
            "old_versions": old_versions(families(db.stored_objects()), keeper.stale_versions()),
        }
    finally:
        db.close()


def _listed(row: Kept, keeper: Keeper) -> dict:
    is_kept = row.state == DROPPED
    return {
        **row.as_dict(),
        "bytes": keeper.size(row.manifest) if is_kept else None,
        "notes": list(row.manifest.notes) if is_kept else [],
    }


def run_trash(params: dict, check_mode: bool) -> dict:
    """Carry out one action of the ``trash`` module.

    Returns:
        changed, objects (what was restored, purged or retired), warnings, diff.

    Raises:
        EverupError: it makes no sense as things are, or the database refuses it; what was done before it stays and is named.
    """
    db = connect(params)
    try:
        trash = _Trash(db, params)
        if check_mode:
            return trash.foreseen()
        return trash.run()
    finally:
        db.close()


class _Trash:
    """One action on one connection."""

    def __init__(self, db: Engine, params: dict) -> None:
        self.db = db
        self.params = params
        self.ledger = Ledger(db, Names.of(params))
        self.store = Store(self.ledger)
        self.keeper = keeper_of(db)
        self.lock_timeout = option_seconds(params, "lock_timeout")
        self.lock_budget = option_seconds(params, "lock_budget")
        self.keep = keep_seconds(params["purge_after"])
        self.watch = BlockerWatch(db)
        self.warnings: list[str] = []

    def foreseen(self) -> dict:
        """Say what the action would do."""
        if self.params["action"] == "retire":
            manifest = self._to_retire()[1]
            return self._result([{"object": str(manifest.place), "kind": manifest.kind, "kept_as": manifest.kept_as}])
        rows, done = self._chosen(), []
        for row in rows:
            before = [one.id for one in done]
            if self.params["action"] == "restore":
                self._check_restore(row.manifest, before)
            elif self._waits_for_table(row, before):
                continue
            done.append(row)
        return self._result([_named(row) for row in done])

    def run(self) -> dict:
        self.ledger.ensure()
        name = f"everup migration {self.ledger.names.steps}"
        wait = option_seconds(self.params, "wait_for_other_run")
        take_session_lock(self.db, name, wait, "is migrating this database", "the trash was not touched")
        done: list[dict] = []
        try:
            self.store.settle(self.keeper)
            for row in self.store.rows(RESTORED):  # by a run that was killed before it had done the last things
                self._finish(row, row.manifest)
            if self.params["action"] == "retire":
                done.append(self._retire())
                return self._result(done)
            act = self._restore if self.params["action"] == "restore" else self._purge
            for row in self._chosen():
                if act(row):
                    done.append(_named(row))
            return self._result(done)
        except DatabaseError as error:
            before = f" Done before that: {', '.join(one['object'] for one in done)}." if done else ""
            raise EverupError(f"{error}{before}", **error.details, objects=done) from None
        finally:
            self.watch.close()
            with suppress(DatabaseError):  # a session that is gone has no lock
                self.db.release_session_lock(name)

    def _chosen(self) -> list[Kept]:
        rows, wanted, release = self.store.rows(), self.params["object"], self.params["release_version"]
        if self.params["action"] == "restore":
            found = to_restore(rows, wanted, release)
            gone = [row for row in matching(rows, wanted, release) if row.state == PURGED] if found and wanted is None else []
            self.warnings += [
                f"{row.object} stays away: it was purged at {row.changed_at} by {row.changed_by}, and only a backup has it."
                for row in gone
            ]
            return found
        return to_purge(rows, wanted, release, self.params["early"])

    def _result(self, done: list[dict]) -> dict:
        verb = {"restore": "restored", "purge": "purged", "retire": "retired"}[self.params["action"]]
        kept = "".join(f"kept: {one['object']} as {one['kept_as']}\n" for one in done)
        after = "".join(f"{verb}: {one['object']}\n" for one in done)
        before = "" if self.params["action"] == "retire" else kept
        return {
            "changed": bool(done),
            "objects": done,
            "warnings": self.warnings,
            "diff": {"before": before, "after": kept if self.params["action"] == "retire" else after},
        }

    def _within_budget(self, attempt: Callable[[], None], otherwise: str) -> None:
        """Run attempt until it gets its locks."""
        self.db.set_lock_timeout(self.lock_timeout)
        with_lock_budget(self.watch, attempt, self.lock_budget, self.lock_timeout, random.random, otherwise)

    # Restore

    def _check_restore(self, manifest: Manifest, before: Sequence[int] = ()) -> None:
        """Refuse what cannot come back.

        Parameters:
            before: the rows that would have come back by then.

        Raises:
            EverupError: its name is taken, or what is kept of it is not there.
        """
        taken = self.keeper.taken(manifest)
        if taken:
            raise EverupError(
                f"{manifest.place} cannot be restored: {', '.join(taken)} is there again. Nothing was changed. Rename or drop "
                "that first."
            )
        if not manifest.is_text and not self.keeper.is_there(manifest.kind, manifest.kept):
            where = f"{manifest.kept} is not there"
            in_trash = [row for row in self.store.rows(DROPPED) if _is_table_of(row.manifest, manifest)]
            if any(row.id in before for row in in_trash):
                return
            way = f": restore its table {in_trash[0].object} first" if in_trash else ": somebody has moved or dropped it by hand"
            raise EverupError(f"{manifest.place} cannot be restored: {where}{way}.")

    def _restore(self, row: Kept) -> bool:
        manifest = row.manifest
        self._check_restore(manifest)
        usable = [one for one in manifest.constraints if self.keeper.has(one["needs"])]
        left_out = [one for one in manifest.constraints if one not in usable]
        names = {one["name"] for one in left_out}
        left = replace(manifest, finish=tuple(last for last in manifest.finish if last["of"] not in names))
        self._within_budget(lambda: self._bring_back(row, usable, left), f"{row.object} was not restored")
        for one in left_out:
            self.warnings.append(
                f"{one['what']} of {row.object} was not put back, since {one['needs']} is gone. With that there again, run: "
                f"{one['sql']}"
            )
        self.warnings += [f"{row.object}: {note}" for note in manifest.notes]
        self._finish(row, left)
        return True

    def _bring_back(self, row: Kept, constraints: list[dict], left: Manifest) -> None:
        manifest = row.manifest
        if self.db.transactional_ddl:
            with self.db.transaction():
                for sql in (*manifest.restore, *(one["sql"] for one in constraints)):
                    run_sql(self.db, sql)
                self._note(row, RESTORED)
                self.store.set_manifest(row.id, left)
            self.db.reset_session()
            return
        # One statement does it all, so that a kill leaves the object in one place or the other.
        with self.db.transaction():
            self.store.set_state(row.id, RESTORING)
            self.store.set_manifest(row.id, left)
        try:
            with self.keeper.restoring():
                for sql in manifest.restore:
                    run_sql(self.db, sql if manifest.is_text else _with_constraints(sql, constraints))
        except DatabaseError:
            with self.db.transaction():
                self.store.set_manifest(row.id, manifest)
            self.store.settle(self.keeper)
            raise
        with self.db.transaction():
            self._note(row, RESTORED)

    def _finish(self, row: Kept, left: Manifest) -> None:
        """Do the last things behind a restore, each once; one that the rows do not allow any longer is told."""
        for last in left.finish:
            rest = replace(left, finish=tuple(other for other in left.finish[left.finish.index(last) + 1 :]))
            try:
                self._within_budget(
                    lambda last=last, rest=rest: self._do_last(row, last, rest), f"{last['what']} was not put back"
                )
            except DatabaseError as error:
                if error.details.get("number") != _DUPLICATE_KEY_NAME:
                    self.warnings.append(
                        f"{last['what']} of {row.object} was not put back: {error}. Once the rows allow it, run: {last['sql']}"
                    )
                with self.db.transaction():
                    self.store.set_manifest(row.id, rest)

    def _do_last(self, row: Kept, last: dict, rest: Manifest) -> None:
        if last.get("rows") and self.db.query(last["sql"]):
            self.warnings.append(f"{last['what']} of {row.object} is back, but rows break it. They are found by: {last['sql']}")
        if not last.get("rows") and not self.db.transactional_ddl:
            run_sql(self.db, last["sql"])
        with self.db.transaction():
            if not last.get("rows") and self.db.transactional_ddl:
                run_sql(self.db, last["sql"])
            self.store.set_manifest(row.id, rest)

    def _note(self, row: Kept, state: str) -> None:
        self.store.set_state(row.id, state)
        self.ledger.event(f"trash_{state}", subject=row.object, kind=row.kind, kept_as=row.kept_as, release=row.release_version)

    # Purge

    def _purge(self, row: Kept) -> bool:
        manifest = row.manifest
        if self._waits_for_table(row):
            return False
        gone = self._is_gone(manifest)
        self._within_budget(lambda: self._drop_for_good(row, () if gone else manifest.purge), f"{row.object} was not purged")
        return True

    def _is_gone(self, manifest: Manifest) -> bool:
        return manifest.is_text or not self.keeper.is_there(manifest.kind, manifest.kept)

    def _waits_for_table(self, row: Kept, before: Sequence[int] = ()) -> bool:
        """Return whether a column cannot go before its table, which is in the trash itself, and say so.

        Parameters:
            before: the rows that would have been purged by then.
        """
        kept = [other for other in self.store.rows(DROPPED) if other.id not in before]
        waits = self._is_gone(row.manifest) and any(_is_table_of(other.manifest, row.manifest) for other in kept)
        if waits:
            self.warnings.append(f"{row.object} stays as long as its table, which is in the trash itself.")
        return waits

    def _drop_for_good(self, row: Kept, statements: tuple) -> None:
        if not self.db.transactional_ddl and statements:
            with self.db.transaction():
                self.store.set_state(row.id, PURGING)
            try:
                for sql in statements:
                    self.db.execute(sql)
            except DatabaseError:
                self.store.settle(self.keeper)
                raise
            statements = ()
        with self.db.transaction():
            for sql in statements:
                self.db.execute(sql)
            self.store.set_manifest(row.id, replace(row.manifest, move=(), restore=(), constraints=(), finish=(), purge=()))
            self._note(row, PURGED)

    # Retire

    def _to_retire(self) -> tuple[Statement, Manifest]:
        versions = old_versions(families(self.db.stored_objects()), {})
        one = to_retire(versions, self.params["object"])
        name = ".".join(self.db.quote(part) for part in (one["schema"], one["name"]) if part)
        statement = Statement(f"DROP {one['kind'].upper()} {name}", 1, 1, ("DROP", one["kind"].upper()))
        soft_drop = self._soft_drop()
        ((_drop, manifest),) = soft_drop.judge(statement, soft_drop.read(statement))
        if not isinstance(manifest, Manifest):
            why = manifest.why or "several have its name, with different arguments"
            raise EverupError(f"{one['name']} cannot be retired: {why}.")
        return statement, manifest

    def _soft_drop(self) -> SoftDrop:
        return SoftDrop(self.ledger, REQUIRED, self.keep, self.params["release_version"])

    def _retire(self) -> dict:
        statement, manifest = self._to_retire()
        self._within_budget(lambda: self._take(statement), f"{manifest.place} was not retired")
        return {"object": str(manifest.place), "kind": manifest.kind, "kept_as": manifest.kept_as}

    def _take(self, statement: Statement) -> None:
        soft_drop = self._soft_drop()
        soft_drop.begin_run()
        if not self.db.transactional_ddl:
            self.db.begin_script()
            try:
                soft_drop.take("retired", statement)
            finally:
                self.db.reset_session()
            return
        with self.db.transaction():
            soft_drop.take("retired", statement)
            soft_drop.record()


def _with_constraints(sql: str, constraints: list[dict]) -> str:
    """Return the statement that renames a table back with its foreign keys at their place; names may hold braces as well."""
    actions = "".join(f"{one['sql']}, " for one in constraints)
    return sql.replace(" {constraints}RENAME TO ", f" {actions}RENAME TO ", 1)


def _is_table_of(table: Manifest, column: Manifest) -> bool:
    same = (table.place.schema, table.place.name) == (column.place.schema, column.place.name)
    return table.kind == "table" and column.kind == "column" and same


def _named(row: Kept) -> dict:
    return {"id": row.id, "object": row.object, "kind": row.kind, "kept_as": row.kept_as, "release_version": row.release_version}
