# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps what availability probes have measured in the ledger, and tells of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Optional

from .._errors import EverupError
from .._moments import iso, unix
from .budget import parse_budget, spend
from .store import Store

_COLUMNS = "id, run, release_id, target, started_at, ended_at, requests, failed, downtime_ms, longest_gap_ms, detail"
_COUNTS = ("requests", "failed", "downtime_ms", "longest_gap_ms")
_DETAILS = (
    *("definition", "rate", "write_rate", "targets", "end", "missed", "reasons", "failed_at"),
    *("bucket_s", "buckets", "down", "down_is_joined", "latency"),
)
# What a phase of a release begins and ends with.
_WINDOWS = (("rolling_at", "rolled_at"), ("rolling_back_at", "rolled_back_at"), ("contracting_at", "contracted_at"))


def windows(release: Mapping | None) -> list[dict]:
    """Return from when to when hosts or schema of a release were changed, as the option ``during`` of availability_probe.

    A time that lies before its beginning is of an earlier round: the window ends when the release failed, or is open.
    """
    found = []
    for begin, end in _WINDOWS:
        start = (release or {}).get(begin)
        if not start:
            continue
        ends = [release[name] for name in (end, "failed_at") if release.get(name) and release[name] >= start]
        found.append({"from": start, "to": min(ends, default=None)})
    return found


class Downtime:
    """The rows of probes in one database."""

    def __init__(self, store: Store) -> None:
        self.store, self.db = store, store.db
        name = store.ledger.names.probe
        self._table = self.db.table(name)
        self._exists = self.db.table_exists(name)

    def runs(self, release_id: Optional[int] = None, since: Optional[str] = None) -> list[dict]:
        """Return the rows with their detail, oldest first; of one release, or of those that ended after a time."""
        if not self._exists:  # a ledger that no run of this version has upgraded yet
            return []
        conditions, parameters = [], []
        if release_id is not None:
            conditions.append("release_id = ?")
            parameters.append(release_id)
        if since is not None:
            conditions.append(f"ended_at >= {self.db.moment(since)}")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self.db.query(f"SELECT {_COLUMNS} FROM {self._table}{where} ORDER BY id", tuple(parameters))
        return [{**row, "target": json.loads(row["target"]), "detail": json.loads(row["detail"])} for row in rows]

    def record(self, release_id: Optional[int], report: Mapping, only_looks: bool = False) -> tuple[dict | None, dict]:
        """Write the row of one run, which may be there; returns the row before and after, without its key.

        Parameters:
            release_id: which release it belongs to, None for none.
            report: of availability_probe.
            only_looks: write nothing.
        """
        after = _row(release_id, report)
        if only_looks:
            return self._find(report["run"]), after
        with self.db.transaction():
            before = self._find(report["run"])
            if before != after:
                self._write(before, after)
                counts = {name: report[name] for name in _COUNTS}
                self.store.ledger.event("availability_recorded", release_id, report["run"], **counts)
            return before, after

    def _find(self, run: str) -> dict | None:
        if not self._exists:
            return None
        rows = self.db.query(f"SELECT {_COLUMNS} FROM {self._table} WHERE run = ?", (run,))
        return next(({name: value for name, value in row.items() if name != "id"} for row in rows), None)

    def _write(self, before: dict | None, row: Mapping) -> None:
        moments = [self.db.moment(row[name]) for name in ("started_at", "ended_at")]
        values = (row["release_id"], row["target"], *(row[name] for name in _COUNTS), row["detail"], row["run"])
        if before:
            self.db.execute(
                f"UPDATE {self._table} SET release_id = ?, target = ?, started_at = {moments[0]}, ended_at = {moments[1]},"
                " requests = ?, failed = ?, downtime_ms = ?, longest_gap_ms = ?, detail = ? WHERE run = ?",
                values,
            )
        else:
            self.db.execute(
                f"INSERT INTO {self._table} (started_at, ended_at, release_id, target, requests, failed, downtime_ms,"
                f" longest_gap_ms, detail, run) VALUES ({moments[0]}, {moments[1]}, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )

    def spent(self, budget: str) -> Optional[dict]:
        """Return what is spent of a budget now, with its text; None where none is set.

        Raises:
            EverupError: the text is no budget.
        """
        parsed = parse_budget(budget)
        if parsed is None:
            return None
        now = unix(self.store.now())
        spent = spend(parsed, [_moments(run) for run in self.runs(since=iso(now - parsed.window))], now)
        return {"budget": budget, **spent, "enough_at": spent["enough_at"] and iso(spent["enough_at"])}


def _row(release_id: Optional[int], report: Mapping) -> dict:
    return {
        "run": report["run"],
        "release_id": release_id,
        "target": json.dumps(report["targets"]),
        "started_at": report["started_at"],
        "ended_at": report["ended_at"],
        **{name: report[name] for name in _COUNTS},
        "detail": json.dumps({name: report[name] for name in _DETAILS}, sort_keys=True),
    }


def _moments(run: Mapping) -> dict:
    detail = run["detail"]
    return {
        "started": unix(run["started_at"]),
        "ended": unix(run["ended_at"]),
        "downtime_ms": run["downtime_ms"],
        "down": None if detail.get("down_is_joined") else detail.get("down"),
    }


def unspent(budget: str) -> Optional[dict]:
    """Return what is left of a budget where no ledger is there yet: all of it; None where none is set.

    Raises:
        EverupError: the text is no budget.
    """
    parsed = parse_budget(budget)
    return parsed and {"budget": budget, **spend(parsed, [], 0.0)}


def told(downtime: Downtime, release: Mapping | None, budget: str) -> dict:
    """Return what a person wants to know: the runs of a release, without their buckets, and what is left of the budget."""
    runs = downtime.runs(release["id"]) if release else []
    kept = ("run", "target", "started_at", "ended_at", *_COUNTS)
    return {
        "runs": [
            {**{name: run[name] for name in kept}, "end": run["detail"].get("end"), "latency": run["detail"].get("latency")}
            for run in runs
        ],
        "budget": downtime.spent(budget),
    }


def check_report(report: Mapping) -> None:
    """Refuse what is no report of a probe.

    Raises:
        EverupError: says what is missing.
    """
    missing = [name for name in ("run", "targets", "started_at", "ended_at", *_COUNTS, *_DETAILS) if name not in report]
    if missing:
        raise EverupError(
            f"report lacks {', '.join(missing)}: give it the report of everup.deploy.availability_probe, with detail=true."
        )
