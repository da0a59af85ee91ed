# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judges from gathered facts whether a release may contract: one gate a question, each with its proof. Not known is no."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from .._errors import EverupError
from .._moments import in_words, parse_time
from .clock import clock_doubt, last_ready, rolled_event, still_soaking
from .evidence import Facts, Gate, HostAnswer, Policy, Session
from .gates import GATES
from .usage import Reading, watch
from .versions import compare, is_at_least
from .window import is_within, parse_windows

_SHOWN = 10
_LONGEST_PROOF = 2000
# Between the names of a program and of its version, as in 'shop 2.4.0', 'shop/2.4.0' and 'shop-v2.4.0'.
_BEFORE_VERSION = r"(?:^|.*[\s/@:;=_-])v?"
_ANY_VERSION = re.compile(_BEFORE_VERSION + r"(?P<version>\d+(?:\.\d+)+[\w.+-]*)")


def check_policy(policy: Policy) -> None:
    """Refuse a policy that nobody can have meant.

    Raises:
        EverupError: names the gate or setting.
    """
    unknown = [name for name in (*policy.gates, *policy.override) if name not in GATES]
    if unknown:
        raise EverupError(f"There is no gate {', '.join(unknown)}; the gates are {', '.join(GATES)}.")
    unreasoned = [name for name, reason in policy.override.items() if not str(reason or "").strip()]
    if unreasoned:
        raise EverupError(f"The override of {', '.join(unreasoned)} has no reason: say why, it is kept in the event log.")
    patterns = [("session_ignore", pattern) for pattern in policy.session_ignore]
    patterns += [("session_pattern", policy.session_pattern)] if policy.session_pattern else []
    for option, pattern in patterns:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise EverupError(f"{option}: '{pattern}' is no regular expression: {error}") from None
        if option == "session_pattern" and "version" not in groups:
            raise EverupError(f"session_pattern: '{pattern}' has no group (?P<version>...), which is what it must find.")
    parse_windows(policy.windows, policy.timezone)


def required_gates(facts: Facts, policy: Policy) -> list[str]:
    """Return the gates that must be open, in their order.

    A window, approvals or snapshots that have counted what is dropped are only there where somebody wants them heeded.
    """
    counted = any(
        reading.uses is not None and (bool(facts.unread) or reading.object in facts.drops) for reading in facts.snapshots
    )
    more = {"window": policy.windows, "approval": policy.approvals > 0, "usage": counted}
    return [name for name in GATES if name in policy.gates or more.get(name)]


def judge(facts: Facts, policy: Policy) -> list[Gate]:
    """Return the gates that must be open, each with its answer.

    Raises:
        EverupError: see check_policy().
    """
    check_policy(policy)
    return [_judged(name, facts, policy) for name in required_gates(facts, policy)]


def _judged(name: str, facts: Facts, policy: Policy) -> Gate:
    if name in facts.problems:
        gate = Gate(name, None, f"it could not be found out: {facts.problems[name]}", "mend that and run it again")
    else:
        gate = _JUDGES[name](facts, policy)
    return replace(gate, proof=_short(gate.proof), override=str(policy.override.get(name, "")).strip())


def _hosts(facts: Facts, policy: Policy) -> Gate:
    version, answers = facts.version, {answer.host: answer for answer in facts.hosts}
    reasons = [why for why in (_why_behind(answers.get(host), host, version, policy.run) for host in facts.wanted) if why]
    reasons += [
        f"{host} took part in the release and is in no web group of this run"
        for host, row in facts.members.items()
        if host not in facts.wanted and row["state"] != "rolled_back"
    ]
    way_on = f"every host must serve {version}: upgrade it, bring it back, or take it out of inventory and pool for good"
    if reasons:
        return Gate("hosts", False, "; ".join(reasons), way_on)
    if not facts.wanted:
        return Gate("hosts", None, "no host was asked", "name the web groups in rollout_groups")
    said = ", ".join(f"{host} {answers[host].version or version}" for host in facts.wanted[:_SHOWN])
    return Gate("hosts", True, f"{len(facts.wanted)} host(s) said so now: {said}{_more(facts.wanted)}")


def _why_behind(answer: HostAnswer | None, host: str, version: str, run: str) -> str:
    if answer is None:
        return f"{host} was not asked"
    if answer.run != run or not run:
        return f"{host} was not asked in this run, and what it said before does not count"
    if answer.why:
        return answer.why
    if answer.version and not is_at_least(answer.version, version):
        return f"{host} says {answer.version}"
    return ""


def _members(facts: Facts, policy: Policy) -> Gate:
    if not facts.pools:
        return Gate(
            "members", True, "no web group has a pool (rolling_upgrade_pool), so there is no balancer to ask", applies=False
        )
    stale = [pool.pool for pool in facts.pools if pool.run != policy.run or not policy.run]
    if stale:
        return Gate("members", None, f"pool {', '.join(stale)} was not looked at in this run", "run everup.deploy.contract")
    known = {name for pool in facts.pools for name in pool.known} | set(policy.known_members)
    mute = [sentence for pool in facts.pools for sentence in pool.mute]
    mute += [
        f"no balancer of pool {pool.pool} answered" for pool in facts.pools if not pool.seen and not pool.mute and pool.lists
    ]
    strangers = [
        f"{name} is in pool {pool.pool} on {balancer} and no host of the inventory"
        for pool in facts.pools
        if pool.lists
        for balancer, names in pool.seen.items()
        for name in names
        if name not in known
    ]
    if strangers:
        way_on = "upgrade it with the others, take it out of the pool, or name it in contract_known_members"
        return Gate("members", False, "; ".join(strangers), way_on)
    if mute:
        return Gate("members", None, "; ".join(mute), "let every balancer be asked")
    listed = [pool for pool in facts.pools if pool.lists]
    if not listed:
        proof = "the balancers look at flags of the members that they know, and can list no others (health_flag)"
        return Gate("members", True, proof, applies=False)
    said = "; ".join(
        f"{pool.pool} on {balancer}: {', '.join(names) or 'none'}" for pool in listed for balancer, names in pool.seen.items()
    )
    return Gate("members", True, f"every member is a host of the inventory: {said}")


def session_version(program: str, pattern: str, release: str) -> str:
    """Return the version that a session's program name tells, empty where it tells none.

    Parameters:
        pattern: the user's, with a group ``version``. Without one a name must end with the very version of the release: what else
            looks like a version may be a driver's.
    """
    if pattern:
        match = re.search(pattern, program)
        return (match.group("version") or "") if match else ""
    return release if re.fullmatch(_BEFORE_VERSION + re.escape(release), program) else ""


def _sessions(facts: Facts, policy: Policy) -> Gate:
    if facts.sessions is None:
        return Gate("sessions", True, f"{facts.engine} keeps no record of who is connected", applies=False)
    theirs = [session for session in facts.sessions if not _is_left_out(session, facts, policy)]
    old, unknown = [], []
    for session in theirs:
        version = session_version(session.program, policy.session_pattern, facts.version)
        if version and is_at_least(version, facts.version):
            continue
        told = version or _told(session.program)
        (old if told and compare(told, facts.version) == -1 else unknown).append(session)
    left_out = len(facts.sessions) - len(theirs)
    aside = f"; {left_out} of everup's own or in contract_session_ignore" if left_out else ""
    if old:
        way_on = "end them: a program that still runs the old version, or a pool that it left"
        return Gate("sessions", False, f"of an older version: {_listed(old)}", way_on)
    if unknown:
        way_on = (
            "let the application name its version when it connects (docs/contract.md), and name other programs in "
            "contract_session_ignore"
        )
        return Gate("sessions", None, f"it cannot be told which version these are: {_listed(unknown)}", way_on)
    said = f"{len(theirs)} session(s), each of {facts.version} or newer" if theirs else "nobody else is connected"
    return Gate("sessions", True, said + aside)


def _told(program: str) -> str:
    match = _ANY_VERSION.fullmatch(program)
    return match.group("version") if match else ""


def _is_left_out(session: Session, facts: Facts, policy: Policy) -> bool:
    own = facts.own_program
    # A release stands behind our own name alone: behind one that somebody has chosen, it may be the application's.
    is_named_on = own == Facts.own_program and session.program.startswith(f"{own} ")
    if own and (session.program == own or is_named_on):
        return True
    names = (session.program, f"{session.user}@{session.host}")
    return any(re.fullmatch(pattern, name) for pattern in policy.session_ignore for name in names if name)


def _references(facts: Facts, policy: Policy) -> Gate:
    if facts.references:
        way_on = "change what refers to it first, in expand/ or repeatable/, or drop it in the same contract"
        return Gate("references", False, "; ".join(facts.references), way_on)
    if facts.unread:
        way_on = "write the statement so that it can be read"
        return Gate("references", None, f"what is dropped cannot be read: {'; '.join(facts.unread)}", way_on)
    if not facts.drops:
        return Gate("references", True, "the contract scripts drop nothing that anything could refer to")
    if facts.hidden:
        way_on = "give the deploy's user the right to see their text"
        return Gate("references", None, f"the text of {', '.join(facts.hidden[:_SHOWN])} is hidden from this user", way_on)
    return Gate("references", True, f"nothing in the database refers to {_named(facts.drops)}")


def _usage(facts: Facts, policy: Policy) -> Gate:
    if facts.readings is None:
        return Gate("usage", True, f"{facts.engine} keeps no counters of use", applies=False)
    if facts.unread:
        return Gate(
            "usage", None, f"what is dropped cannot be read: {'; '.join(facts.unread)}", "write it so that it can be read"
        )
    objects = [name for name in facts.drops if not name.startswith("trigger ")]
    if not objects:
        return Gate("usage", True, "the contract scripts drop nothing whose use is counted")
    since, doubt = last_ready(facts), clock_doubt(facts, policy)
    if since is None or doubt:
        return Gate("usage", None, doubt or "it is not known since when every host is ready", "mend the clock, or wait")
    used, unknown = [], []
    for name in objects:
        now = [reading for reading in facts.readings if reading.object == name]
        seen = {reading.source: _watched(reading, facts, since) for reading in now}
        against = next((f"{name} {one.used}" for one in seen.values() if one.used), "")
        if against:
            used.append(against)
            continue
        why = _why_not_watched(name, now, seen, policy)
        unknown += [why] if why else []
    if used:
        return Gate("usage", False, "; ".join(used), "find out who uses it")
    if unknown:
        way_on = "let the module usage_snapshot run on a schedule from the roll-out on (playbook everup.deploy.usage_snapshot)"
        return Gate("usage", None, "; ".join(unknown), way_on)
    return Gate(
        "usage", True, f"nobody has used {_named(objects)} for {policy.usage_history[1]} or longer, by the server's counters"
    )


def _watched(reading: Reading, facts: Facts, since: str):
    before = [other for other in facts.snapshots if (other.source, other.object) == (reading.source, reading.object)]
    return watch([*before, reading], since)


def _why_not_watched(name: str, now: list[Reading], seen: Mapping, policy: Policy) -> str:
    """Return why it is not known that an object is unused, empty where it is."""
    enough = [seen[reading.source] for reading in now if reading.suffices and reading.uses is not None]
    if not enough:
        whys = [reading.why for reading in now if reading.why] or ["no counter of it was read"]
        return f"use of {name} is not known: {'; '.join(whys)}"
    best = max(enough, key=lambda one: one.seconds or 0.0)
    if (best.seconds or 0.0) >= policy.usage_history[0]:
        return ""
    gap = f", since {best.gap}" if best.gap else ""
    return f"{name} was watched for {best.seconds or 0:.0f} s of {policy.usage_history[1]}{gap}"


def _soak(facts: Facts, policy: Policy) -> Gate:
    seconds, written = policy.soak
    since = last_ready(facts)
    if since is None:
        return Gate(
            "soak", False, f"release {facts.version} is '{facts.release['state']}' and serves no traffic yet", "roll it out"
        )
    if seconds <= 0:
        return Gate("soak", True, f"every host is ready since {since}, and no soak is asked for (contract_soak={written})")
    doubt = clock_doubt(facts, policy)
    if doubt:
        return Gate("soak", None, doubt, "mend the clock, or wait for another soak and override this gate")
    served = (parse_time(facts.now) - parse_time(since)).total_seconds()
    if served < seconds:
        proof = still_soaking(facts.version, since, written, seconds - served)
        return Gate("soak", False, proof, "run everup.deploy.contract again after that")
    return Gate("soak", True, f"every host is ready since {since}, {in_words(served)} ago; asked for were {written}")


def _window(facts: Facts, policy: Policy) -> Gate:
    if not policy.windows:
        return Gate("window", True, "no change window is set (contract_window)", applies=False)
    doubt = clock_doubt(facts, policy)
    if doubt:
        return Gate("window", None, doubt, "mend the clock")
    written = f"{', '.join(policy.windows)} {policy.timezone}"
    if is_within(parse_time(facts.now), policy.windows, policy.timezone):
        return Gate("window", True, f"{facts.now} is within {written}")
    return Gate("window", False, f"{facts.now} is outside of {written}", "run it again within the window")


def _approval(facts: Facts, policy: Policy) -> Gate:
    wanted = max(1, policy.approvals)
    ended = rolled_event(facts)
    given = [event for event in facts.events if event["what"] == "release_approved"]
    fresh = [event for event in given if ended is not None and event["id"] > ended["id"]]
    fitting = [event for event in fresh if event["detail"].get("plan_hash") == facts.plan_hash]
    names = list({str(event["subject"]).strip().casefold(): event["subject"] for event in fitting}.values())
    if len(names) >= wanted:
        said = "; ".join(f"{event['subject']} at {event['at']}: {event['detail'].get('reason')}" for event in fitting)
        return Gate("approval", True, f"approved by {said}")
    asides = []
    if len(given) > len(fresh):
        asides.append(f"{len(given) - len(fresh)} from before the roll-out ended do not count")
    if len(fresh) > len(fitting):
        asides.append(f"{len(fresh) - len(fitting)} were given to other scripts than those that would run")
    have = f"{len(names)} of {wanted} approval(s)" + (f" ({', '.join(names)})" if names else "")
    way_on = "run everup.deploy.approve with approve_reason"
    return Gate("approval", False, "; ".join([have, *asides]), way_on)


def _backfills(facts: Facts, policy: Policy) -> Gate:
    finished, findings = facts.backfills
    if findings:
        return Gate("backfills", False, "; ".join(findings), "run the expand phase again")
    if not finished:
        return Gate("backfills", True, "no contract script that would run has a backfill")
    return Gate("backfills", True, f"{finished} backfill(s) are finished, and their verify queries count no row that is left")


def _assertions(facts: Facts, policy: Policy) -> Gate:
    passed, failed = facts.assertions
    if failed:
        return Gate("assertions", False, "; ".join(failed), "mend the data, or the assertion")
    return Gate("assertions", True, f"{passed} assertion(s) passed" if passed else "no assertion of the migrations folder is due")


_JUDGES = {
    "hosts": _hosts,
    "members": _members,
    "sessions": _sessions,
    "references": _references,
    "usage": _usage,
    "soak": _soak,
    "window": _window,
    "approval": _approval,
    "backfills": _backfills,
    "assertions": _assertions,
}


def _listed(sessions: list[Session]) -> str:
    return "; ".join(map(str, sessions[:_SHOWN])) + _more(sessions)


def _named(names) -> str:
    return ", ".join(names[:_SHOWN]) + _more(names)


def _more(things) -> str:
    return f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_PROOF else f"{text[:_LONGEST_PROOF]} ..."
