# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes a history by hand: baseline, taking another tool's over, and repairs. No script runs; every change is an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from .._db.connection import connect
from .._errors import EverupError
from .adopt import findings_of, left_out, match_foreign, read_foreign
from .backfill_store import BackfillRow, BackfillStore
from .backfills import Backfill, pending_backfills
from .files import Migration
from .history import APPLIED, Row
from .migrate import Limits, Phase, Project, option_seconds, option_version
from .runner import Runner
from .version import Version


@dataclass(frozen=True)
class Change:
    """One row of a history that is to be changed.

    Attributes:
        what: ``applied`` (a row that says so is written), ``checksum`` (of the text as it is now), ``forgotten`` (it goes),
            ``finished`` (a backfill's row that says so is written).
        version, script: of the row.
        migration: the script or backfill, None for a row whose file is gone.
        detail: for the event.
    """

    what: str
    version: Version
    script: str
    migration: Migration | Backfill | None
    detail: dict

    def as_dict(self) -> dict:
        return {"what": self.what, "version": str(self.version), "script": self.script}


def amend(params: dict, check_mode: bool) -> dict:
    """Carry out one action of the ``migration_history`` module.

    Returns:
        changed, changes (what was or would be changed), mapping (for adopt), diff.

    Raises:
        EverupError: the action makes no sense for the history as it is; nothing was changed.
    """
    db = connect(params, create=not check_mode)
    try:
        project = Project(db, {**params, "target": None})
        phase = project.phases[params["phase"]]
        runner = Runner(db, phase.history, project.ledger, Limits(session_wait=option_seconds(params, "wait_for_other_run")))
        result = _decide(project, phase, params)
        if check_mode or not result["changes"]:
            return _described(result)
        project.ledger.ensure()
        runner.take_session_lock()
        try:
            result = _decide(project, phase, params)
            with db.transaction():
                for change in result["changes"]:
                    _apply(phase, change, params)
        finally:
            runner.release_session_lock()
        return _described(result)
    finally:
        db.close()


def _described(result: dict) -> dict:
    changes = [change.as_dict() for change in result["changes"]]
    lines = "".join(f"{change['what']}: {change['script']}\n" for change in changes)
    return {**result, "changed": bool(changes), "changes": changes, "diff": {"before": "", "after": lines}}


def _apply(phase: Phase, change: Change, params: dict) -> None:
    history = phase.history
    if change.what == "forgotten":
        history.forget(change.version)
    elif change.what == "checksum":
        history.set_checksum(change.migration)
    elif change.what == "finished":
        BackfillStore(history.ledger).count_as_finished(change.migration)
    else:
        history.start(change.migration, None)
        history.finish(change.migration)
    detail = {**change.detail, **({"reason": params["reason"]} if params["reason"] else {})}
    phase.history.ledger.event(
        f"history_{params['action']}", subject=change.script, phase=phase.name, change=change.what, **detail
    )


def _decide(project: Project, phase: Phase, params: dict) -> dict:
    """Return the changes that an action asks for, and what it found out."""
    rows = {row.version: row for row in phase.history.rows()}
    if params["action"] == "adopt":
        result = _adopt(phase, rows, params)
        taken = {change.version for change in result["changes"]}
        return {**result, "changes": result["changes"] + _finished(project, phase, params, taken)}
    version = option_version(params, "version")
    if version is None:
        raise EverupError(f"version is missing: which one is '{params['action']}' for?")
    migrations = {migration.version: migration for migration in phase.migrations}
    only_backfill = version not in migrations and any(backfill.version == version for backfill in project.backfills)
    if params["action"] == "mark_applied" and params["backfills"] and only_backfill:
        changes = []
    else:
        changes = _ACTIONS[params["action"]](version, migrations, rows)
    reached = {version}
    if params["action"] == "baseline":
        reached = {backfill.version for backfill in project.backfills if backfill.version <= version}
    return {"changes": changes + _finished(project, phase, params, reached)}


# Whether the backfills of the versions count as finished where the user does not say. A single script that was run by hand, or
# failed, says nothing about the rows: the next expand fills them.
_BACKFILLS_TOO = {"baseline": True, "adopt": True, "mark_applied": False}


def _finished(project: Project, phase: Phase, params: dict, versions: set[Version]) -> list[Change]:
    """Return the backfills that count as finished with the expand scripts of their versions.

    Raises:
        EverupError: one of them has begun here, and the user has not named it.
    """
    action = params["action"]
    too = _BACKFILLS_TOO.get(action, False) if params["backfills"] is None else params["backfills"]
    if not too or (phase.name != "expand" and params["backfills"] is None):
        return []
    if action not in _BACKFILLS_TOO or phase.name != "expand":
        raise EverupError(f"backfills is for {', '.join(_BACKFILLS_TOO)} of the expand phase: no other action counts any.")
    rows = {row.version: row for row in BackfillStore(project.ledger).rows()}
    pending = pending_backfills(project.backfills, list(rows.values()), None)
    found = [backfill for backfill in pending if backfill.version in versions]
    unfinished = [backfill.source for backfill in found if backfill.version in rows]
    if unfinished and action != "mark_applied":
        raise EverupError(
            f"{', '.join(unfinished)} began and did not come to its end: let the expand phase finish it; or, if its rows are "
            "filled, use mark_applied with backfills=true for its version; or run this with backfills=false, which leaves all to "
            "the next expand."
        )
    return [
        Change("finished", backfill.version, backfill.source, backfill, _before(rows.get(backfill.version))) for backfill in found
    ]


def _baseline(version: Version, migrations: dict, rows: dict) -> list[Change]:
    """Every script up to a version counts as applied."""
    if version not in migrations:
        known = ", ".join(str(known) for known in migrations) or "none"
        raise EverupError(f"There is no script of version {version}; there are: {known}.")
    unfinished = [row.script for row in rows.values() if row.state != APPLIED and row.version <= version]
    if unfinished:
        raise EverupError(f"{', '.join(unfinished)} began and did not come to its end: use mark_applied or forget for it first.")
    return [_applied(migration) for known, migration in migrations.items() if known <= version and known not in rows]


def _mark_applied(version: Version, migrations: dict, rows: dict) -> list[Change]:
    if version not in migrations:
        raise EverupError(f"There is no script of version {version} in the folder, so it cannot count as applied.")
    row = rows.get(version)
    return [] if row is not None and row.state == APPLIED else [_applied(migrations[version], _before(row))]


def _rechecksum(version: Version, migrations: dict, rows: dict) -> list[Change]:
    row, migration = rows.get(version), migrations.get(version)
    if row is None or migration is None or row.state != APPLIED:
        where = "folder" if migration is None else "history as applied"
        raise EverupError(f"Version {version} is not in the {where}: a checksum is recorded anew for a script that is in both.")
    if row.checksum == migration.script.checksum:
        return []
    detail = {"before": row.checksum, "after": migration.script.checksum}
    return [Change("checksum", version, migration.source, migration, detail)]


def _forget(version: Version, migrations: dict, rows: dict) -> list[Change]:
    row = rows.get(version)
    if row is None:
        return []
    if row.state == APPLIED and version in migrations:
        raise EverupError(
            f"{row.script} is applied, and its file is there: forgetting it would run it again. Write a new script instead."
        )
    return [Change("forgotten", version, row.script, None, _before(row))]


_ACTIONS: dict[str, Callable] = {
    "baseline": _baseline,
    "mark_applied": _mark_applied,
    "rechecksum": _rechecksum,
    "forget": _forget,
}


def _before(row: Row | BackfillRow | None) -> dict:
    return {"before": row.state, "error": row.error} if row else {}


def _applied(migration: Migration, detail: dict | None = None) -> Change:
    return Change("applied", migration.version, migration.source, migration, detail or {})


def _adopt(phase: Phase, rows: dict, params: dict) -> dict:
    """Every script that another tool has run counts as applied."""
    if not params["from_tool"]:
        raise EverupError("from_tool is missing: whose history is to be taken over?")
    recorded = read_foreign(phase.history.ledger.db, params["from_tool"], params["from_table"])
    matches = match_foreign(recorded, phase.migrations, params["mapping"])
    findings = findings_of(matches, params["ignore_missing"], params["accept_changed"])
    mapping = [match.as_dict() for match in matches]
    if findings:
        raise EverupError(
            f"The history of {params['from_tool']} cannot be taken over, nothing was changed:\n  " + "\n  ".join(findings),
            findings=findings,
            mapping=mapping,
        )
    found: dict[Version, Change] = {}
    for match in matches:
        migration = match.migration
        if migration is not None and migration.version not in rows:
            detail = {"tool": params["from_tool"], "recorded": match.foreign.name, "checksum": match.checksum}
            found[migration.version] = _applied(migration, detail)
    changes = [found[version] for version in sorted(found)]
    return {"changes": changes, "mapping": mapping, "left_out": left_out(recorded, params["mapping"])}
