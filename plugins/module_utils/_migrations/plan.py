# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides which scripts of a phase run next, from the files and the history alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Sequence

from .._errors import EverupError
from .files import Migration
from .history import APPLIED, FAILED, RUNNING, Row
from .version import Version


@dataclass(frozen=True)
class Plan:
    """What a run would do, and what it found.

    Attributes:
        pending: scripts to run, in order.
        applied: rows whose script has run.
        changed: (script, row) pairs whose text differs from what was applied.
        missing: rows whose file is gone.
        beyond_target: scripts left for later because of the target.
        interrupted: rows of scripts that began outside a transaction and did not end.
        repeatables: repeatable scripts to run behind the pending ones.
    """

    pending: tuple
    applied: tuple
    changed: tuple
    missing: tuple
    beyond_target: tuple
    interrupted: tuple
    repeatables: tuple = ()

    @property
    def to_run(self) -> tuple:
        """All scripts that would run, in order."""
        return (*self.pending, *self.repeatables)

    @property
    def hash(self) -> str:
        """Return the SHA-256 of what would run: versions and checksums in order."""
        text = "\n".join(f"{migration.version} {migration.script.checksum}" for migration in self.to_run)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


def make_plan(migrations: list[Migration], rows: list[Row], target: Version | None = None) -> Plan:
    """Compare files and history.

    Parameters:
        migrations: the phase's scripts in version order.
        rows: the phase's history.
        target: the last version to run, None for all.
    """
    by_version = {row.version: row for row in rows}
    files = {migration.version: migration for migration in migrations}
    waiting = [m for m in migrations if m.version not in by_version or by_version[m.version].state != APPLIED]
    return Plan(
        pending=tuple(m for m in waiting if target is None or m.version <= target),
        applied=tuple(row for row in rows if row.state == APPLIED),
        changed=tuple(
            (files[row.version], row)
            for row in rows
            if (row.state != FAILED or row.statements_done)
            and row.version in files
            and files[row.version].script.checksum != row.checksum
        ),
        missing=tuple(row for row in rows if row.version not in files),
        beyond_target=tuple(m for m in waiting if target is not None and m.version > target),
        interrupted=tuple(row for row in rows if row.state == RUNNING),
    )


def check_plan(
    plan: Plan,
    phase: str,
    expand_rows: list[Row],
    expand_files: list[Migration],
    out_of_order: bool,
    repair: str | None,
    ignore_missing: bool = False,
    known: frozenset = frozenset(),
    more: Sequence[str] = (),
) -> None:
    """Refuse a plan that must not run.

    Parameters:
        plan: the plan of the phase.
        phase: ``expand`` or ``contract``.
        expand_rows: history of the expand phase, for contract.
        expand_files: scripts of the expand phase, for contract.
        out_of_order: scripts older than the newest applied one may run.
        repair: the way on that the user chose for an interrupted script, or None.
        ignore_missing: go on although files of scripts in the history are gone.
        known: versions of interrupted scripts whose statement in flight is known to have happened or not.
        more: what else stands in the way.

    Raises:
        EverupError: names every script that stands in the way and the way on.
    """
    findings = [_edited(phase, m, row) for m, row in plan.changed if row.state == APPLIED or repair != "retry"]
    if plan.applied and not out_of_order:
        newest = max(row.version for row in plan.applied)
        findings += [
            f"{m.source}:1:1: version {m.version} is older than {newest}, which is applied: give it a newer version, or, if the "
            f"order does not matter, run this with {option_text(phase, 'out_of_order', 'true')}"
            for m in plan.pending
            if m.version < newest
        ]
    if phase == "contract":
        findings += _without_expand(plan, expand_rows, expand_files)
    if not ignore_missing:
        findings += [
            f"{row.script}:1:1: is in the history since {row.started_at}, and its file is gone: is this an older checkout of the "
            f"folder? Put the file back, or run this with {option_text(phase, 'ignore_missing', 'true')}"
            for row in plan.missing
            if row.state == APPLIED
        ]
    findings += more
    gone = {row.version for row in plan.missing}
    findings += [_interrupted_and_gone(phase, row) for row in plan.interrupted if row.version in gone]
    if not repair:
        doubtful = [row for row in plan.interrupted if row.version not in known | gone]
        findings += [problem for row in doubtful for problem in _interrupted(phase, row, plan)]
    if findings:
        raise EverupError(
            f"The {phase} phase cannot run, nothing was changed:\n  " + "\n  ".join(findings),
            findings=findings,
        )


def option_text(phase: str, name: str, value: str) -> str:
    """Write an option of the module, and the variable that gives it to the module in the playbooks."""
    return f"{name}={value} (of the playbooks: -e {phase}_{name}={value})"


def _edited(phase: str, migration: Migration, row: Row) -> str:
    """Say what to do about a file whose text is no longer what ran."""
    then = f"(checksum then {row.checksum[:12]}, now {migration.script.checksum[:12]})"
    if row.state == APPLIED:
        return (
            f"{migration.source}:1:1: the file changed after it was applied at {row.finished_at} by {row.applied_by} {then}: "
            "put the old text back, and write the change as a new script with a higher version"
        )
    return (
        f"{migration.source}:1:1: the file changed after {row.statements_done} of {row.statements_total} statements of its old "
        f"text had run {then}: put the old text back, or run the new text from its first statement with "
        + option_text(phase, "repair", "retry")
    )


def _without_expand(plan: Plan, expand_rows: list[Row], expand_files: list[Migration]) -> list[str]:
    """Name the contract scripts whose expand script of the same version has not run."""
    applied = {row.version for row in expand_rows if row.state == APPLIED}
    known = {migration.version for migration in expand_files} | {row.version for row in expand_rows}
    findings = []
    for migration in plan.pending:
        if migration.version in applied:
            continue
        why = (
            "has not been applied: run the expand phase and upgrade the application first"
            if migration.version in known
            else "does not exist: give both scripts the same version"
        )
        findings.append(f"{migration.source}:1:1: the expand script of version {migration.version} {why}")
    return findings


def _interrupted_and_gone(phase: str, row: Row) -> str:
    """Name a script that stopped in mid-way and whose file no run finds, so that none can bring it to its end."""
    return (
        f"{row.script}:1:1: was interrupted after {row.statements_done} of {row.statements_total} statements at "
        f"{row.started_at} by {row.applied_by}, and its file is gone: put the file back, or, once nothing of it is left to do or "
        f"to undo, take the row out with migration_history (action=forget, phase={phase}, version={row.version})"
    )


def _interrupted(phase: str, row: Row, plan: Plan) -> list[str]:
    """Name a script that stopped in mid-way outside a transaction, unless it says that it may be repeated."""
    script = next((m.script for m in plan.pending if m.version == row.version), None)
    if script is not None and script.directives.idempotent:
        return []
    number = row.statements_done + 1
    place = ""
    if script is not None and number <= len(script.statements):
        line = script.statements[number - 1].line
        place = f" (line {line}: {script.line(line)[:80]})"
    return [
        f"{row.script}:1:1: was interrupted after {row.statements_done} of {row.statements_total} statements at "
        f"{row.started_at} by {row.applied_by}; statement {number}{place} may or may not have happened. Look at the database, "
        f"then run again with {option_text(phase, 'repair', 'applied')} if it has, or with "
        f"{option_text(phase, 'repair', 'retry')} if it has not"
    ]
