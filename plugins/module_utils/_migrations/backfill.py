# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One slice of the backfills from folder and ledger to result: what the backfill module does."""

from __future__ import annotations

import time

from .._db.connection import connect
from .._db.engines.base import Engine
from .._errors import EverupError
from . import pace
from .backfill_facts import inform_backfills
from .backfill_store import FINISHED, BackfillStore
from .backfills import Backfill, check_backfills, pending_backfills
from .filler import Filler, Slice, batch_sql, key_columns
from .migrate import Project, option_seconds, option_version
from .runner import Limits


def run_backfill(params: dict, check_mode: bool) -> dict:
    """Work at the backfills that are not finished, in version order, for one slice of time.

    Returns:
        changed, finished (whether none is left), backfill (the facts of the one at hand, None when there was nothing to do),
        backfills (the facts of all), diff.

    Raises:
        EverupError: a definition or the ledger stands in the way, a batch failed, or rows are left at the end; every batch
            before that is committed.
    """
    limits = Limits(*(option_seconds(params, name) for name in ("lock_timeout", "lock_budget", "wait_for_other_run")))
    seconds, lease_ttl = option_seconds(params, "slice"), option_seconds(params, "lease_ttl")
    db = connect(params, create=not check_mode)
    try:
        project = Project(db, params)
        backfills = project.backfills
        store, target = BackfillStore(project.ledger), option_version(params, "target")
        pending = pending_backfills(backfills, store.rows(), target)
        expand = project.phases["expand"]
        check_backfills(
            backfills, pending, store.rows(), expand.migrations, expand.history.rows(), params["repair"], foresee=check_mode
        )
        if check_mode or not pending:
            return {
                **_result(project, pending[0] if pending else None, Slice()),
                "changed": bool(pending),
                "finished": not pending,
                "diff": [_diff(db, backfill) for backfill in pending],
            }
        project.ledger.ensure()
        fence = None
        if params["lease_token"]:

            def fence() -> None:
                project.ledger.assert_token(params["lease_token"], lease_ttl)

        done, deadline, worked = 0, time.monotonic() + seconds, Slice()
        for backfill in pending:
            filler = Filler(db, project.ledger, backfill, limits, params["release_version"], fence)
            worked = filler.run(max(0.0, deadline - time.monotonic()), params["repair"])
            finished = store.row(backfill.version).state == FINISHED
            done += worked.batches + finished
            if not finished or time.monotonic() >= deadline:
                break
        left = pending_backfills(backfills, store.rows(), target)
        diff = [_diff(db, backfill) for backfill in pending[: pending.index(backfill) + 1]]
        result = _result(project, backfill, worked)
        return {**result, "changed": done > 0, "finished": not left, "diff": diff}
    finally:
        db.close()


def _result(project: Project, at_hand: Backfill | None, worked: Slice) -> dict:
    facts = inform_backfills(project.ledger, project.backfills)
    current = None
    if at_hand is not None:
        current = facts[project.backfills.index(at_hand)]
        speed = pace.rate(worked.seen, worked.seconds)
        current.update(
            rate=speed,
            eta=pace.time_left(current["rows_seen"], current["estimate"], speed) if current["state"] != FINISHED else 0.0,
            waiting=worked.waiting,
            tries=worked.tries,
        )
        current["progress"] = pace.progress_line(current)
    return {"backfill": current, "backfills": facts}


def _diff(db: Engine, backfill: Backfill) -> dict:
    """Show the statement of a batch, placeholders and bounds as names."""
    try:
        columns = key_columns(db, backfill)
        sql = batch_sql(db, backfill.definition, columns).change.shown(backfill.definition.key)
    except EverupError as error:
        sql = f"-- {error}"
    return {"before_header": backfill.source, "after_header": backfill.source, "before": "", "after": sql}
