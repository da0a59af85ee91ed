# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the release modules do, from parameters to result."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Iterator

from .._db.connection import connect
from .._db.ledger import Ledger, Names
from .._db.script import parse_duration
from .._db.who import whoami
from .._errors import EverupError
from .._moments import parse_time
from . import downtime as measured
from . import guard as guard_rules
from . import lease, states
from .clock import still_soaking
from .gates import refusal
from .reasons import reason_of
from .report import read_report
from .store import Store

_SHORTEST_LEASE_SECONDS = 1.0
_NEW = {"state": "open", "reached": "open"}


@contextmanager
def _store(params: dict, create: bool) -> Iterator[Store]:
    """Give a store on a connection of its own; create says whether the ledger may be created."""
    db = connect(params, create=create)
    try:
        ledger = Ledger(db, Names.of(params))
        if create:
            ledger.ensure()
        yield Store(ledger)
    finally:
        db.close()


def _seconds(params: dict, option: str) -> float:
    try:
        return parse_duration(params[option])
    except ValueError as error:
        raise EverupError(f"{option}: {error}") from None


def _ttl(params: dict) -> float:
    seconds = _seconds(params, "lease_ttl")
    if seconds < _SHORTEST_LEASE_SECONDS:
        raise EverupError(f"lease_ttl is {params['lease_ttl']}: a lease must last longer than the longest step, at least 1s.")
    return seconds


def _token(params: dict) -> int:
    if params["token"] is None:
        raise EverupError(f"token is missing: action '{params['action']}' needs the fencing token that 'open' returned.")
    return params["token"]


def run_release(params: dict, check_mode: bool) -> dict:
    """Carry out one action of the ``release`` module.

    Returns:
        changed (whether the release's state changed), release, token, next_step, diff.
    """
    with _store(params, create=not check_mode) as store:
        if check_mode:
            return _foreseen(store, params)
        return _ACTIONS[params["action"]](store, params)


def _open(store: Store, params: dict) -> dict:
    release, token, is_new = store.open(
        params["version"],
        params["process"],
        _ttl(params),
        params["dead_token"],
        params["takeover"],
        params["existing"],
        reason_of(params["older_reason"]),
    )
    return {**_described(release if not is_new else None, release), "token": token, "new": is_new}


def _advance(store: Store, params: dict) -> dict:
    if not params["to"]:
        raise EverupError("to is missing: which state should the release go to?")
    if params["soak"] and params["to"] == "contracting":
        _check_soak(store, params)
    before, after = store.advance(
        params["version"],
        params["to"],
        _token(params),
        _ttl(params),
        hosts=params["hosts"],
        reason=params["reason"],
        schema_version=params["schema_version"],
        plan_hash=params["plan_hash"],
        gone=params["gone"],
    )
    return {**_described(before, after), "token": params["token"]}


def _check_soak(store: Store, params: dict) -> None:
    release = store.find(params["version"])
    left = soak_left(release, store.now(), _seconds(params, "soak"))
    if left is not None and left > 0:
        raise EverupError(
            f"{still_soaking(params['version'], release['rolled_at'], params['soak'], left)}. Run everup.deploy.contract again "
            "after that.",
            soak_seconds_left=left,
        )


def soak_left(release: dict, now: str, soak_seconds: float) -> float | None:
    """Return the seconds of soak that are left at a time, negative when it is over, None before the release was rolled."""
    if release.get("reached") not in ("rolled", "contracted") or not release.get("rolled_at"):
        return None
    return soak_seconds - (parse_time(now) - parse_time(release["rolled_at"])).total_seconds()


def _abort(store: Store, params: dict) -> dict:
    before, after = store.advance(params["version"], "aborted", _token(params), _ttl(params), reason=params["reason"])
    store.close(_token(params))
    return _described(before, after)


def _fail(store: Store, params: dict) -> dict:
    before, after = store.fail(params["version"], _token(params), _ttl(params), params["reason"] or "no reason given")
    return _described(before, after)


def _renew(store: Store, params: dict) -> dict:
    release = store.renew(params["version"], _token(params), _ttl(params))
    return {**_described(release, release), "token": params["token"]}


def _close(store: Store, params: dict) -> dict:
    release = store.find(params["version"])
    return {**_described(release, release), "lease_held": store.close(_token(params))}


def _approve(store: Store, params: dict, check_mode: bool = False) -> dict:
    reason = reason_of(params["reason"])
    if not reason:
        raise EverupError("reason is missing: say why the contract may run, it is kept with the approval.")
    if not params["plan_hash"]:
        raise EverupError("plan_hash is missing: an approval is of the scripts that contract_evidence_info gives the hash of.")
    approver = params["approver"].strip() or whoami()
    is_news = store.approve(params["version"], approver, reason, params["plan_hash"], check_mode)
    release = store.find(params["version"])
    return {**_described(release, release), "changed": is_news, "approver": approver}


def _evidence(store: Store, params: dict) -> dict:
    """Record the gates of a contract, and refuse it where one is closed; the record stays."""
    if not params["gates"]:
        raise EverupError("gates is missing: the gates that contract_evidence_info returned.")
    why_not = refusal(params["gates"])
    store.record_evidence(params["version"], _token(params), _ttl(params), params["gates"], not why_not)
    if why_not:
        raise EverupError(why_not, gates=params["gates"])
    release = store.find(params["version"])
    return {**_described(release, release), "token": params["token"]}


_ACTIONS = {
    "open": _open,
    "advance": _advance,
    "renew": _renew,
    "abort": _abort,
    "fail": _fail,
    "close": _close,
    "approve": _approve,
    "evidence": _evidence,
}


def _foreseen(store: Store, params: dict) -> dict:
    """Say what an action would do, reading only; transitions that earlier foreseen ones would allow are not refused."""
    if not store.ledger.exists():
        release = {**_NEW, "version": params["version"]}
        return {**_described(None, release), "token": 0, "new": True}
    if params["action"] == "approve":
        return _approve(store, params, check_mode=True)
    if params["action"] == "evidence" and refusal(params["gates"]):
        raise EverupError(refusal(params["gates"]), gates=params["gates"])
    current = store.lease()
    to = {"advance": params["to"], "abort": "aborted", "fail": "failed"}.get(params["action"])
    if params["action"] == "open":
        lease.may_take(current, params["process"], current["seconds_left"] or 0.0, params["dead_token"], params["takeover"])
        found = states.check_open(params["version"], store.releases(), older_reason=reason_of(params["older_reason"]))
        release = found or {**_NEW, "version": params["version"]}
        return {**_described(found, release), "token": current["token"], "new": found is None}
    known = [release for release in store.releases() if release["version"] == params["version"]]
    before = known[-1] if known else {**_NEW, "version": params["version"]}
    return {**_described(before, {**before, "state": to or before["state"]}), "token": params["token"]}


def _described(before: dict | None, after: dict) -> dict:
    state = {"version": after["version"], "state": after["state"]}
    return {
        "changed": before is None or before["state"] != after["state"],
        "release": after,
        "next_step": states.next_step(after["state"], after["reached"]),
        "diff": {
            "before": {"version": before["version"], "state": before["state"]} if before else {},
            "after": state,
        },
    }


def release_info(params: dict, check_mode: bool = False) -> dict:
    """Return the releases of a database, the lease, and of one release its members and events; changes nothing in any mode.

    Returns:
        ledger (whether it exists), releases, release (the asked one or the newest, None without any), members by host,
        events, lease, soak_seconds_left, next_step, downtime (what probes have measured, and what is left of the budget).
    """
    empty = {"ledger": False, "releases": [], "release": None, "members": {}, "events": [], "lease": None, "next_step": None}
    empty["downtime"] = {"runs": [], "budget": measured.unspent(params["budget"])}
    with _store(params, create=False) as store:
        if not store.ledger.exists():
            return empty
        releases = store.releases()
        known = [r for r in releases if params["version"] in (None, r["version"])]
        facts = {**empty, "ledger": True, "releases": releases, "lease": store.lease()}
        facts["downtime"] = measured.told(measured.Downtime(store), known[-1] if known else None, params["budget"])
        if not known:
            return facts
        release = known[-1]
        soak = _seconds(params, "soak") if params["soak"] else 0.0
        return {
            **facts,
            "release": release,
            "members": _members(store, release["id"]),
            "events": store.events(release["id"], params["events"]),
            "next_step": states.next_step(release["state"], release["reached"]),
            "soak_seconds_left": soak_left(release, store.now(), soak),
        }


def release_report(params: dict, check_mode: bool = False) -> dict:
    """Return all that the ledger knows of a release, the newest without ``version``; changes nothing in any mode.

    Raises:
        EverupError: there is no such release.
    """
    with _store(params, create=False) as store:
        return {"changed": False, "report": read_report(store, params["version"])}


def _members(store: Store, release_id: int) -> dict:
    out = store.stays_out(release_id)
    return {host: {**row, "stays_out": out.get(host, {})} for host, row in store.members(release_id).items()}


def record_member(params: dict, check_mode: bool) -> dict:
    """Write where one host is in a release.

    Returns:
        changed, member (its row), diff.
    """
    member = {name: params[name] or None for name in ("host", "web_group", "state", "version_before", "version_after", "reason")}
    member["stays_out"] = params["stays_out"]
    with _store(params, create=not check_mode) as store:
        if check_mode:
            known = [r for r in store.releases() if r["version"] == params["version"]] if store.ledger.exists() else []
            before = store.members(known[-1]["id"]).get(params["host"]) if known else None
            after = member
        else:
            before, after = store.record_member(params["version"], params["token"], _ttl(params), member)
    return {
        "changed": before is None or before["state"] != after["state"],
        "member": after,
        "diff": {
            "before": {"host": params["host"], "state": before["state"]} if before else {},
            "after": {"host": params["host"], "state": after["state"]},
        },
    }


def record_availability(params: dict, check_mode: bool) -> dict:
    """Write what a run of the availability probe has measured.

    Returns:
        changed, run (its row), diff.

    Raises:
        EverupError: the report lacks something.
    """
    report = params["report"]
    if report is None and not params["override"]:
        raise EverupError("report and override are missing: give one of them.")
    if report is None:
        return _override(params, check_mode)
    measured.check_report(report)
    with _store(params, create=not check_mode) as store:
        release = next((one for one in reversed(_releases(store)) if one["version"] == params["version"]), None)
        before, after = measured.Downtime(store).record(release and release["id"], report, only_looks=check_mode)
    return {
        "changed": before != after,
        "row": after,
        "diff": {"before": _counted(before), "after": _counted(after)},
    }


def _override(params: dict, check_mode: bool) -> dict:
    reason = reason_of(params["override"])
    if not reason:
        raise EverupError("override has no reason: say why the release may begin, it is kept in the event log.")
    if not check_mode:
        with _store(params, create=True) as store, store.db.transaction():
            release = store.find(params["version"])
            store.ledger.event("availability_overridden", release["id"], params["version"], reason=reason)
    return {"changed": True}


def _releases(store: Store) -> list[dict]:
    return store.releases() if store.ledger.exists() else []


def _counted(row: dict | None) -> dict:
    return {name: row[name] for name in ("run", "requests", "failed", "downtime_ms")} if row else {}


def guard(params: dict, check_mode: bool) -> dict:
    """Refuse the next batch unless the plan, the ledger, the lease and the live balancers allow it.

    Returns:
        changed, always false; checked_at, seconds since 1970.

    Raises:
        EverupError: every reason why not.
        LeaseLost: another run has taken over.
    """
    with _store(params, create=False) as store:
        members: dict = {}
        if not check_mode:
            with store.db.transaction():
                store.ledger.assert_token(params["token"], _ttl(params))
            members = store.members(store.find(params["version"])["id"])
    reasons = guard_rules.reasons_to_stop(
        params["planned"],
        params["alive"],
        params["batch"],
        members,
        params["version"],
        ("rolled_back",) if params["direction"] == "back" else ("ready",),
    )
    if check_mode:
        reasons = [reason for reason in reasons if "earlier batch" not in reason]
    reasons += guard_rules.capacity_reasons(
        params["pool"],
        params["pool_members"],
        params["leaving"],
        params["mute_balancers"],
        params["min_healthy"],
        params["behind"],
    )
    if reasons:
        raise EverupError(
            f"The batch {', '.join(params['batch'])} does not begin: {'; '.join(reasons)}. Nothing of it was touched. "
            "Mend that, then run the same command again.",
            reasons=reasons,
        )
    return {"changed": False, "checked_at": time.time()}
