# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Puts together what the ledger knows of one release, for people who want to see how it went."""

from __future__ import annotations

from .._db.ledger import PHASES
from .._db.who import whoami
from .._errors import EverupError
from .._moments import seconds_between
from .downtime import Downtime
from .states import STATES
from .store import Store

# What a release does while it is in one of these states; in the others it stands still.
_MOVING = {
    "release_expanding": "expand",
    "release_rolling": "rolling upgrade",
    "release_contracting": "contract",
    "release_rolling_back": "way back",
}
# An approval is an event of a release, too, and ends nothing.
_STEPS = {f"release_{state}" for state in STATES}
# Where a host stays; in the states before it is on its way.
_ARRIVED = ("ready", "rolled_back", "failed")
_MOST_EVENTS = 100_000
_SCRIPT_COLUMNS = (
    "version, script, state, statements_done, statements_total, started_at, finished_at, applied_by, release_version, error"
)
_BACKFILL_COLUMNS = (
    "version, description, state, rows_changed, rows_seen, rows_left, batches, started_at, finished_at, applied_by,"
    " release_version, error"
)


def read_report(store: Store, version: str | None) -> dict:
    """Return what the ledger knows of a release, ready to be looked at; changes nothing.

    Parameters:
        version: the release; None for the newest.

    Returns:
        release, written_at (the database's clock), written_by, phases, hosts, scripts, backfills, gates, overrides, probes,
        trash, events. Times are ISO 8601 UTC texts, durations are in seconds. See the module's RETURN.

    Raises:
        EverupError: there is no such release.
    """
    store.check_ledger()
    release = store.find(version) if version else (store.releases() or [None])[-1]
    if release is None:
        raise EverupError("The ledger knows no release yet: run release.yml first.")
    now = store.now()
    events = _events_of(store, release)
    return {
        "release": release,
        "written_at": now,
        "written_by": whoami(),
        "phases": phases(events, now),
        "hosts": hosts(store.members(release["id"]), events, now),
        "scripts": [row for phase in PHASES for row in _scripts(store, phase, release["version"], events)],
        "backfills": [_timed(row) for row in _rows(store, store.ledger.names.backfill, _BACKFILL_COLUMNS, release["version"])],
        "gates": _last(events, "contract_evidence").get("gates", []),
        "overrides": [_told(event) for event in events if event["what"] == "contract_override"],
        "probes": Downtime(store).runs(release["id"]),
        "trash": _trash(store, release["version"]),
        "events": events,
    }


def phases(events: list[dict], now: str) -> list[dict]:
    """Return when a release did what: name, from, to, state it ended in; a phase that was begun again is there twice."""
    steps = [event for event in events if event["what"] in _STEPS]
    spans = []
    for number, event in enumerate(steps):
        if name := _MOVING.get(event["what"]):
            behind = steps[number + 1] if number + 1 < len(steps) else None
            state = behind["what"].removeprefix("release_") if behind else "running"
            spans.append(_span(event["at"], behind["at"] if behind else now, name=name, state=state))
    return spans


def hosts(members: dict[str, dict], events: list[dict], now: str) -> list[dict]:
    """Return each host with its row and the steps it went through: state, from, to; in the order in which they were begun."""
    told: dict[str, list[dict]] = {host: [] for host in members}
    for event in events:
        if event["what"].startswith("member_") and event["subject"] in told:
            told[event["subject"]].append(event)
    found = [
        {**row, "steps": _steps(told[host], now), "began_at": told[host][0]["at"] if told[host] else row["changed_at"]}
        for host, row in members.items()
    ]
    return sorted(found, key=lambda host: (host["began_at"], host["host"]))


def _steps(events: list[dict], now: str) -> list[dict]:
    steps = []
    for number, event in enumerate(events):
        state = event["what"].removeprefix("member_")
        is_last = number + 1 == len(events)
        end = event["at"] if state in _ARRIVED else now if is_last else events[number + 1]["at"]
        steps.append(_span(event["at"], end, state=state, reason=event["detail"].get("reason")))
    return steps


def _span(start: str, end: str, **about: object) -> dict:
    return {**about, "from": start, "to": end, "seconds": seconds_between(start, end)}


def _timed(row: dict) -> dict:
    end = row["finished_at"]
    return {**row, "seconds": seconds_between(row["started_at"], end) if end else None}


def _events_of(store: Store, release: dict) -> list[dict]:
    """Return the events of a release, and those of its scripts and backfills, which name it in their detail."""
    every = store.events(None, _MOST_EVENTS)
    mine = [event for event in every if event["release_id"] == release["id"]]
    first = mine[0]["id"] if mine else 0
    return [
        event
        for event in every
        if event["release_id"] == release["id"] or (event["id"] >= first and event["detail"].get("release") == release["version"])
    ]


def _rows(store: Store, table: str, columns: str, version: str) -> list[dict]:
    if not store.db.table_exists(table):
        return []
    of_release = f"SELECT {columns} FROM {store.db.table(table)} WHERE release_version = ? ORDER BY started_at, version"
    return store.db.query(of_release, (version,))


def _scripts(store: Store, phase: str, version: str, events: list[dict]) -> list[dict]:
    more = {event["subject"]: event["detail"] for event in events if event["what"] == "script_applied"}
    rows = []
    for row in _rows(store, store.ledger.names.history(phase), _SCRIPT_COLUMNS, version):
        detail = more.get(row["script"], {})
        rows.append({"phase": phase, **_timed(row), "tries": detail.get("tries"), "waited_s": detail.get("waited_s")})
    return rows


def _last(events: list[dict], what: str) -> dict:
    found = [event for event in events if event["what"] == what]
    return {"at": found[-1]["at"], **found[-1]["detail"]} if found else {}


def _told(event: dict) -> dict:
    return {"at": event["at"], "who": event["who"], "subject": event["subject"], **event["detail"]}


def _trash(store: Store, version: str) -> list[dict]:
    if not store.db.table_exists(store.ledger.names.trash):
        return []
    return store.db.query(
        "SELECT script, kind, object, kept_as, state, dropped_at, purge_after"
        f" FROM {store.db.table(store.ledger.names.trash)} WHERE release_version = ? ORDER BY id",
        (version,),
    )
