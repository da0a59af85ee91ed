# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run of one phase from folder and history to result: what the migration modules do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .._db.connection import connect
from .._db.engines.base import Engine
from .._db.ledger import PHASES, Ledger, Names
from .._db.script import parse_duration
from .._errors import EverupError
from .._trash.soft_drop import NO, REQUIRED, WHERE_POSSIBLE, SoftDrop, foresee
from .._trash.store import keep_seconds
from . import recovery
from .backfill_facts import backfills_of, contract_gate, inform_backfills
from .backfill_store import BackfillStore
from .backfills import pending_backfills
from .families import families
from .files import Migration, read_phase
from .history import APPLIED, RUNNING, History
from .plan import Plan, check_plan, make_plan
from .repeatable import Repeatable, RepeatableHistory, pending_repeatables, read_repeatables
from .runner import Limits, Outcome, Runner
from .version import Version

MIGRATIONS_SPEC = {
    "path": {"type": "path", "required": True},
    "expand_folder": {"type": "str", "default": "expand"},
    "contract_folder": {"type": "str", "default": "contract"},
    "repeatable_folder": {"type": "str", "default": "repeatable"},
    "backfill_folder": {"type": "str", "default": "backfill"},
    "placeholders": {"type": "dict", "default": {}},
}


@dataclass
class Phase:
    """One phase as it is on disk and in the database at this moment."""

    name: str
    migrations: list[Migration]
    history: History
    target: Version | None
    repeatables: list[Repeatable] = field(default_factory=list)
    repeatable_history: RepeatableHistory | None = None

    def plan(self, leave_running: bool = False) -> Plan:
        """Return the plan of now: the history is read again each time.

        Parameters:
            leave_running: look past the rows of scripts that another run is busy with.
        """
        rows = [row for row in self.history.rows() if not (leave_running and row.state == RUNNING)]
        plan = make_plan(self.migrations, rows, self.target)
        # A repeatable script may need any expand script: it waits while a target leaves some for later.
        if not self.repeatables or plan.beyond_target:
            return plan
        return replace(plan, repeatables=pending_repeatables(self.repeatables, self.repeatable_history.rows()))


class Project:
    """A migrations folder and the ledger that belongs to it.

    Parameters:
        db: the engine.
        params: module parameters with CONNECTION_SPEC, LEDGER_SPEC and MIGRATIONS_SPEC.

    Raises:
        EverupError: an option or any script is bad; nothing was run.
    """

    def __init__(self, db: Engine, params: dict) -> None:
        self.ledger = Ledger(db, Names.of(params))
        self.phases: dict[str, Phase] = {}
        for name in PHASES:
            migrations = read_phase(params["path"], params[f"{name}_folder"], db, params["placeholders"])
            target = option_version(params, "target") if params.get("phase") in (None, name) else None
            self.phases[name] = Phase(name, migrations, History(self.ledger, name), target)
        expand = self.phases["expand"]
        expand.repeatables = read_repeatables(params["path"], params["repeatable_folder"], db, params["placeholders"])
        expand.repeatable_history = RepeatableHistory(self.ledger)
        self.backfills = backfills_of(params, db)

    def backfills_to_do(self, target: Version | None) -> list[str]:
        """Return the definitions that are not finished, up to a target; without any nothing is asked."""
        rows = BackfillStore(self.ledger).rows() if self.backfills else []
        return [backfill.source for backfill in pending_backfills(self.backfills, rows, target)]


def option_version(params: dict, option: str) -> Version | None:
    """Return an option's version, None when it is not given.

    Raises:
        EverupError: it is no version.
    """
    try:
        return Version(params[option]) if params.get(option) else None
    except ValueError as error:
        raise EverupError(f"{option}: {error}") from None


def option_seconds(params: dict, option: str) -> float:
    """Return an option's duration in seconds.

    Raises:
        EverupError: it is no duration.
    """
    try:
        return parse_duration(params[option])
    except ValueError as error:
        raise EverupError(f"{option}: {error}") from None


def migrate(params: dict, check_mode: bool) -> dict:
    """Apply the pending scripts of one phase, or in check mode say which they are.

    Returns:
        changed, phase, applied (what this run did), pending (what check mode would run), backfills (those not finished, with
        the expand phase), kept and lost (what the scripts dropped, or would drop), current, plan_hash, warnings, diff.

    Raises:
        EverupError: nothing could run, or a script failed; the ones before it are applied and recorded.
    """
    limits = Limits(*(option_seconds(params, name) for name in ("lock_timeout", "lock_budget", "wait_for_other_run")))
    lease_ttl = option_seconds(params, "lease_ttl")
    db = connect(params, create=not check_mode)
    try:
        project = Project(db, params)
        phase = project.phases[params["phase"]]
        runner = Runner(db, phase.history, project.ledger, limits, params["release_version"])
        keep = keep_seconds(params["purge_after"])
        plan = phase.plan()
        # What another run has begun and not ended is judged once that run is out of the way.
        running = bool(plan.interrupted) and runner.other_run() is not None
        _check(project, phase, phase.plan(leave_running=True) if running else plan, params)
        soft_drop = _soft_drop(project, phase, plan, params, keep)
        foreseen = _foreseen(soft_drop, plan, params)
        if check_mode or not plan.to_run:
            return {**_result(project, phase, plan, [], check_mode), **foreseen}
        project.ledger.ensure()
        if params["lease_token"]:
            runner.fence = lambda: project.ledger.assert_token(params["lease_token"], lease_ttl)
        runner.take_session_lock()
        try:
            plan = phase.plan()
            _check(project, phase, plan, params)
            runner.soft_drop = _soft_drop(project, phase, plan, params, keep)
            if runner.soft_drop is not None:
                runner.soft_drop.begin_run()
            outcomes = runner.run_all(plan.pending, params["repair"])
            if plan.repeatables:
                runner.history = phase.repeatable_history
                outcomes += runner.run_all(plan.repeatables)
            return {**_result(project, phase, plan, outcomes, check_mode), **_dropped(runner.soft_drop)}
        finally:
            runner.release_session_lock()
    finally:
        db.close()


def _soft_drop(project: Project, phase: Phase, plan: Plan, params: dict, keep: float) -> SoftDrop | None:
    """Return what takes care of the drops of a run, None where they are carried out as they are written."""
    mode = params["soft_drop"] or (WHERE_POSSIBLE if phase.name == "contract" else NO)
    if mode == NO:
        return None
    ahead = [statement for migration in plan.pending for statement in migration.script.statements]
    return SoftDrop(project.ledger, mode, keep, params["release_version"], ahead)


def _foreseen(soft_drop: SoftDrop | None, plan: Plan, params: dict) -> dict:
    """Return what the drops of a plan would come to.

    Raises:
        EverupError: something would be dropped for good, and may not be.
    """
    if soft_drop is None:
        return {"kept": [], "lost": []}
    found = foresee(soft_drop, [(migration.source, migration.script.statements) for migration in plan.pending])
    lost = [drop for drop in found if not drop["kept"]]
    if lost and params["soft_drop"] == REQUIRED:
        findings = [f"{drop['script']}:{drop['line']}:1: {drop['object']} cannot be kept: {drop['why']}" for drop in lost]
        raise EverupError(
            f"soft_drop is required, and {len(lost)} drop(s) cannot be taken back, nothing was run:\n  " + "\n  ".join(findings),
            findings=findings,
        )
    return {"kept": [drop for drop in found if drop["kept"]], "lost": lost}


def _dropped(soft_drop: SoftDrop | None) -> dict:
    """Return what has become of the drops of a run."""
    if soft_drop is None:
        return {"kept": [], "lost": []}
    warnings = [
        f"{lost['script']}:{lost['line']}: {lost['object']} was dropped for good, it is not in the trash: {lost['why']}."
        for lost in soft_drop.lost
    ]
    return {"kept": soft_drop.kept, "lost": soft_drop.lost, "warnings": warnings}


def _check(project: Project, phase: Phase, plan: Plan, params: dict) -> None:
    expand = project.phases["expand"]
    is_contract = phase.name == "contract"
    check_plan(
        plan,
        phase.name,
        expand.history.rows() if is_contract else [],
        expand.migrations,
        params["out_of_order"],
        repair=params["repair"],
        ignore_missing=params["ignore_missing"],
        known=_known(project, plan),
        more=contract_gate(project.ledger, project.backfills, plan.pending) if is_contract else [],
    )
    wanted = params["plan_hash"]
    if wanted and plan.to_run and plan.hash != wanted:
        raise EverupError(
            f"The {phase.name} plan is {plan.hash}, approved was {wanted}: the pending scripts are not the ones that were "
            "approved. Look at the plan with --check and approve it again.",
            pending=[migration.source for migration in plan.to_run],
        )


def _known(project: Project, plan: Plan) -> frozenset:
    """Return the versions of interrupted scripts of which the database itself knows where they go on."""
    scripts = {migration.version: migration.script for migration in plan.pending}
    return frozenset(
        row.version
        for row in plan.interrupted
        if row.version in scripts
        and row.checksum == scripts[row.version].checksum
        and recovery.has_happened(project.ledger.db, scripts[row.version], row.statements_done + 1) is not None
    )


def _result(project: Project, phase: Phase, plan: Plan, outcomes: list[Outcome], check_mode: bool) -> dict:
    pending = phase.plan() if outcomes else plan
    return {
        "changed": bool(outcomes) or (check_mode and bool(plan.to_run)),
        "phase": phase.name,
        "applied": [
            {**_described(o.migration), "seconds": round(o.seconds, 3), "tries": o.tries, "messages": o.messages}
            for o in outcomes
        ],
        "pending": [_described(migration) for migration in pending.pending],
        "repeatables": [_described(repeatable) for repeatable in pending.repeatables],
        "beyond_target": [_described(migration) for migration in plan.beyond_target],
        "missing": [row.script for row in plan.missing],
        "backfills": project.backfills_to_do(phase.target) if phase.name == "expand" else [],
        "current": _current(pending),
        "plan_hash": plan.hash,
        "diff": [
            {"before_header": m.source, "after_header": m.source, "before": "", "after": m.script.text} for m in plan.to_run
        ],
    }


def _described(migration: Migration) -> dict:
    return {
        "version": str(migration.version),
        "description": migration.description,
        "script": migration.source,
        "checksum": migration.script.checksum,
        "statements": len(migration.script.statements),
    }


def _current(plan: Plan) -> str | None:
    """Return the newest applied version as text."""
    return str(max(row.version for row in plan.applied)) if plan.applied else None


def inform(params: dict) -> dict:
    """Say per phase what is applied, pending, changed since, failed and missing; changes nothing.

    Returns:
        engine, exists (the database), server_version, driver, capabilities, settings, ledger (whether it exists), one entry a
        phase, repeatable, families and backfills.
    """
    db = connect(params)
    try:
        project = Project(db, params)
        return {
            "engine": db.name,
            "exists": db.exists(),
            "server_version": db.server_version(),
            "driver": db.driver(),
            "capabilities": db.capabilities(),
            "settings": db.settings(),
            "ledger": project.ledger.exists(),
            **{phase.name: _informed(phase) for phase in project.phases.values()},
            "repeatable": _informed_repeatable(project.phases["expand"]),
            "families": families(db.stored_objects()),
            "backfills": inform_backfills(project.ledger, project.backfills),
        }
    finally:
        db.close()


def _informed(phase: Phase) -> dict:
    plan = phase.plan()
    return {
        "current": _current(plan),
        "applied": [row.as_dict() for row in plan.applied],
        "unfinished": [row.as_dict() for row in phase.history.rows() if row.state != APPLIED],
        "pending": [_described(migration) for migration in plan.pending],
        "changed_since": [
            {**_described(m), "applied_checksum": row.checksum, "applied_at": row.finished_at} for m, row in plan.changed
        ],
        "missing": [row.script for row in plan.missing],
        "plan_hash": plan.hash,
    }


def _informed_repeatable(phase: Phase) -> dict:
    rows = phase.repeatable_history.rows()
    names = {repeatable.version for repeatable in phase.repeatables}
    return {
        "applied": [row.as_dict() for row in rows if row.state == APPLIED],
        "unfinished": [row.as_dict() for row in rows if row.state != APPLIED],
        "pending": [_described(repeatable) for repeatable in phase.plan().repeatables],
        "missing": [row.script for row in rows if row.version not in names],
    }
