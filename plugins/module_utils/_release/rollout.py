# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides which hosts a roll-out takes, in which batches, from inventory variables and the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from .._errors import EverupError
from .batches import DEFAULT_BATCH, DEFAULT_CANARY, plan_batches
from .versions import is_at_least

DEFAULT_MIN_HEALTHY = 1
_LAST_WORDS = 300  # characters of a failed command's output
# States of a host that an earlier run has left somewhere on its way.
STRANDED = ("draining", "upgrading", "healthy", "failed")


def candidates(names: list, groups: Mapping) -> list[dict]:
    """Return name and hosts of each web group of a release, in the stated order.

    Raises:
        EverupError: a group is not in the inventory, is empty, or shares a host with another.
    """
    if isinstance(names, str) or not names:
        raise EverupError(f"rollout_groups must be a list of inventory groups in the order to upgrade them, not {names!r}.")
    found = []
    for name in names:
        if name not in groups:
            raise EverupError(f"rollout_groups names the group '{name}', which the inventory does not have.")
        if not groups[name]:
            raise EverupError(f"The group '{name}' of rollout_groups has no hosts.")
        found.append({"name": name, "hosts": list(groups[name])})
    plan_batches(found)
    return found


def plan_forward(found: list[dict], hostvars: Mapping, members: Mapping, version: str) -> dict:
    """Plan the way to a version: every host that the ledger and its own word do not both call finished.

    Parameters:
        found: the web groups as candidates() returns them.
        hostvars: variables of each host: rolling_upgrade_zone and rolling_upgrade_version_now; and of the group's first host:
            rolling_upgrade_canary, rolling_upgrade_batch, rolling_upgrade_max_unavailable, rolling_upgrade_min_healthy,
            rolling_upgrade_pool, and rolling_upgrade_pool_seen where this run has looked at the pool: whoever does not serve is
            taken first.
        members: the release's ledger rows by host.
        version: the version to reach.

    Returns:
        plan_batches()'s plan of the hosts to take, with ``finished`` hosts, by host ``group_of`` and ``version_before``, the
        ``stranded`` ones, which an earlier run may have left out of the pool or between two versions, the ``canaries``, which
        are the hosts of each group's first batch, and the ``proving`` ones, each group's first that serve the version before.
    """
    groups, finished, before = [], [], {}
    for group in found:
        takes = []
        for host in group["hosts"]:
            row = members.get(host)
            now = hostvars[host].get("rolling_upgrade_version_now") or ""
            if row and row["state"] == "ready" and row["version_after"] == version and now in ("", version):
                finished.append(host)
                continue
            takes.append(host)
            before[host] = (row and row["version_before"]) or (now if now != version else "")
        groups.append({"name": group["name"], "hosts": takes, "whole": group["hosts"]})
    return _completed(groups, hostvars, finished, before, members)


def plan_back(found: list[dict], hostvars: Mapping, members: Mapping, states: list | None = None) -> dict:
    """Plan the way back: every host that a release touched and that is not back yet, the last group first.

    Parameters:
        found, hostvars, members: as for plan_forward().
        states: take only hosts in these states; by default every one that is not back.

    Raises:
        EverupError: a touched host is no longer in the inventory's web groups, or its version before is not known.
    """
    touched = {
        host: row for host, row in members.items() if row["state"] != "rolled_back" and (not states or row["state"] in states)
    }
    known = {host for group in found for host in group["hosts"]}
    strangers = sorted(set(touched) - known)
    if strangers:
        raise EverupError(f"{', '.join(strangers)} took part in the release and is in no group of rollout_groups any more.")
    unknown = sorted(host for host, row in touched.items() if not row["version_before"])
    if unknown:
        raise EverupError(
            f"The ledger does not know which version {', '.join(unknown)} ran before the release: upgrade forward instead, or "
            "take it out of the pool and deploy it by hand."
        )
    groups = [
        {"name": group["name"], "hosts": [host for host in reversed(group["hosts"]) if host in touched], "whole": group["hosts"]}
        for group in reversed(found)
    ]
    finished = sorted(set(members) - set(touched))
    return _completed(groups, hostvars, finished, {host: row["version_before"] for host, row in touched.items()}, members)


def _rules(groups: list[dict], hostvars: Mapping) -> list[dict]:
    """Return the groups with the sizes, the zones, the pool and the floor that their hosts' variables give.

    A floor that the release's own hosts cannot keep is not for the plan to judge: the pool may have members that are in no group
    of the release. The preflight and the guard ask the balancers.
    """
    first = {group["name"]: hostvars[group["whole"][0]] for group in groups}
    pools = {name: _pool(variables) for name, variables in first.items()}
    ruled = []
    for group in groups:
        variables, pool = first[group["name"]], pools[group["name"]]
        total = sum(len(other["whole"]) for other in groups if pools[other["name"]] == pool)
        floor = variables.get("rolling_upgrade_min_healthy", DEFAULT_MIN_HEALTHY)
        is_left_to_balancers = not pool or (str(floor).strip().isdigit() and int(floor) >= total)
        ruled.append(
            {
                **group,
                "canary": variables.get("rolling_upgrade_canary", DEFAULT_CANARY),
                "batch": variables.get("rolling_upgrade_batch", DEFAULT_BATCH),
                "max_unavailable": variables.get("rolling_upgrade_max_unavailable"),
                "min_healthy": None if is_left_to_balancers else floor,
                "pool": pool,
                "zones": {host: hostvars[host].get("rolling_upgrade_zone") for host in group["whole"]},
            }
        )
    return ruled


def _pool(variables: Mapping) -> str:
    """Return the pool that a host is in with the balancers that have it, empty without a pool."""
    pool, balancers = variables.get("rolling_upgrade_pool") or "", variables.get("rolling_upgrade_balancers") or []
    return f"{pool} on {', '.join(balancers)}" if pool and balancers else pool


def _completed(groups: list[dict], hostvars: Mapping, finished: list[str], before: dict, members: Mapping) -> dict:
    stranded = [host for group in groups for host in group["hosts"] if (members.get(host) or {}).get("state") in STRANDED]
    plan = plan_batches([{**group, "out": stranded + _not_serving(group, hostvars)} for group in _rules(groups, hostvars)])
    return {
        **plan,
        "finished": finished,
        "group_of": {host: batch["group"] for batch in plan["batches"] for host in batch["hosts"]},
        "version_before": before,
        "stranded": [host for host in plan["hosts"] if host in stranded],
        "stays_out": {host: (members.get(host) or {}).get("stays_out") or {} for host in plan["hosts"]},
        "canaries": _first_batches(plan["batches"]),
        "proving": _first_batches(
            [
                {**batch, "hosts": clean}
                for batch in plan["batches"]
                if (clean := [h for h in batch["hosts"] if h not in stranded])
            ]
        ),
    }


def _not_serving(group: Mapping, hostvars: Mapping) -> list[str]:
    """Return the hosts of a group that did not serve on every balancer when this run looked at their pool."""
    seen = pool_members(hostvars[group["whole"][0]].get("rolling_upgrade_pool_seen") or {})
    out = {member["member"] for member in seen if not member["serving"]}
    return [host for host, name in zip(group["whole"], member_names(group["whole"], hostvars)) if name in out]


def _first_batches(batches: list[dict]) -> list[str]:
    """Return the hosts of each group's first batch."""
    first: dict = {}
    for batch in batches:
        first.setdefault(batch["group"], batch["hosts"])
    return [host for hosts in first.values() for host in hosts]


def describe(plan: dict, version: str) -> list[str]:
    """Return the plan as lines for a person."""
    if not plan["hosts"]:
        return [f"Nothing to do: {len(plan['finished'])} host(s) are done."]
    lines = [
        f"batch {batch['number']} ({batch['group']}{', canary' if batch['canary'] else ''}): {', '.join(batch['hosts'])}"
        for batch in plan["batches"]
    ]
    done = [f"done already: {', '.join(plan['finished'])}"] if plan["finished"] else []
    return [f"{len(plan['hosts'])} host(s) to {version}", *lines, *done]


def behind(hosts: list, hostvars: Mapping, version: str) -> list[str]:
    """Return a sentence for each host that did not say, when asked just now, that it runs a version: not known is no.

    Parameters:
        hosts: every host of the release's web groups.
        hostvars: with rolling_upgrade_evidence, the registered answer of each host's health check, skipped where it has no
            health URL and missing where it was not reachable; and, once rolling_upgrade_said_version, with
            rolling_upgrade_version_now, empty where it is not known; and rolling_upgrade_names_version, whether the health
            check asks for the version.
        version: the version it must run.
    """
    return [why for why in (_why_behind(host, hostvars[host], version) for host in hosts) if why]


def host_answers(hosts: list, hostvars: Mapping, version: str) -> list[dict]:
    """Return what each host said when it was asked for evidence: host, version, why (not), and the run that asked it.

    Parameters:
        hosts, hostvars, version: see behind(); with rolling_upgrade_said_run, the mark of the run.
    """
    return [
        {
            "host": host,
            "version": hostvars[host].get("rolling_upgrade_version_now") or "",
            "why": _why_behind(host, hostvars[host], version),
            "run": hostvars[host].get("rolling_upgrade_said_run") or "",
        }
        for host in hosts
    ]


def pool_answers(found: list[dict], hostvars: Mapping) -> list[dict]:
    """Return what the balancers of each pool said of its members: pool, known, seen, mute, lists, and the run that asked them.

    Parameters:
        found: the web groups as candidates() returns them.
        hostvars: of each group's first host with rolling_upgrade_pool and rolling_upgrade_lb and, where it has looked,
            rolling_upgrade_pool_seen and rolling_upgrade_pool_run.
    """
    answers = []
    for group in found:
        variables = hostvars[group["hosts"][0]]
        if not variables.get("rolling_upgrade_pool"):
            continue
        registered = variables.get("rolling_upgrade_pool_seen") or {}
        seen: dict[str, list[str]] = {}
        for member in pool_members(registered):
            seen.setdefault(member["balancer"], []).append(member["member"])
        providers = {result.get("provider") for result in registered.get("results", []) if result.get("provider")}
        answers.append(
            {
                "pool": variables["rolling_upgrade_pool"],
                "known": member_names(group["hosts"], hostvars),
                "seen": seen,
                "mute": mute_balancers(registered),
                "lists": providers != {"health_flag"},
                "run": variables.get("rolling_upgrade_pool_run") or "",
            }
        )
    return answers


def _why_behind(host: str, variables: Mapping, version: str) -> str:
    evidence, now = variables.get("rolling_upgrade_evidence"), variables.get("rolling_upgrade_version_now") or ""
    if not isinstance(evidence, Mapping) or evidence.get("unreachable"):
        return f"{host} did not answer"
    is_asked = not evidence.get("skipped")
    if is_asked and _is_failure(evidence):
        return f"{host} does not serve {version}: {evidence.get('msg') or 'no reason given'}"
    if not variables.get("rolling_upgrade_said_version"):
        return f"{host} could not say which version it has installed"
    if now and not is_at_least(now, version):
        return f"{host} has {now} installed"
    if not now and not (is_asked and variables.get("rolling_upgrade_names_version")):
        return (
            f"it cannot be known which version {host} serves: give it rolling_upgrade_health_url with "
            "rolling_upgrade_health_version_path, or, with the custom strategy, rolling_upgrade_custom_version"
        )
    return ""


def _is_failure(evidence: Mapping) -> bool:
    """Return whether a health check did not succeed; under ``failed_when: false`` a failure says failed=false of itself.

    Its module gives ``msg`` with a failure alone, and ``polls`` with every success.
    """
    return bool(evidence.get("failed") or evidence.get("msg") or not evidence.get("polls"))


def balancers_of(hosts: list, hostvars: Mapping, default: list) -> dict[str, list[str]]:
    """Return the balancers of a group by the hosts that are asked for them, each with the members that it must have.

    Parameters:
        hosts: of the group, in order.
        hostvars: with rolling_upgrade_balancers and rolling_upgrade_member of each host.
        default: the balancers of a host that names none.
    """
    found: dict[str, list[str]] = {}
    for host, name in zip(hosts, member_names(hosts, hostvars)):
        for balancer in hostvars[host].get("rolling_upgrade_balancers", default):
            found.setdefault(balancer, []).append(name)
    return found


def pool_members(registered: Mapping) -> list[dict]:
    """Return the members of every balancer out of a registered loop of ``lb_member_info`` over the balancers.

    ``balancer`` becomes the host that was asked with the address there, for two hosts may have the same: a socket has one path on
    both of a pair. Members that answer for themselves, as with health flags, are all of one balancer that nobody can ask.
    ``asked`` is the host that was asked.
    """
    return [
        {**member, "balancer": _called(result, member), "asked": _item(result)}
        for result in registered.get("results", [])
        for member in result.get("members", [])
    ]


def _called(result: Mapping, member: Mapping) -> str:
    if result.get("provider") == "health_flag":
        return "the health flags of its members"
    return f"{_item(result)} ({member['balancer']})"


def pool_refusals(pool: str, registered: Mapping, behind: Mapping, floor: int) -> list[str]:
    """Return a sentence for each balancer whose pool is not as a roll-out needs it.

    Parameters:
        pool: its name.
        registered: a loop of ``lb_member_info`` over the balancers.
        behind: by the host that was asked, the members that the roll-out will take out there, a few at a time.
        floor: how many healthy members must be left while it does.
    """
    known: dict = {}
    wanted: dict = {}
    for member in pool_members(registered):
        known.setdefault(member["balancer"], set()).add(member["member"])
        wanted.setdefault(member["balancer"], {}).update(dict.fromkeys(behind.get(member["asked"], [])))
    sentences = []
    for balancer, members in known.items():
        missing = [name for name in wanted[balancer] if name not in members]
        if missing:
            sentences.append(f"Pool {pool} on {balancer} has no member {', '.join(missing)}.")
        if len(members) <= floor:
            sentences.append(
                f"Pool {pool} on {balancer} has {len(members)} member(s) and rolling_upgrade_min_healthy is {floor}: that leaves "
                "no host to take out. Lower it, or add members."
            )
    return sentences


def _item(result: Mapping) -> str:
    return result[result.get("ansible_loop_var", "balancer")]


def lost_balancers(*registered: Mapping) -> list[str]:
    """Return the balancers that were unreachable in registered loops over the balancers."""
    results = [result for one in registered for result in one.get("results", [])]
    return sorted({_item(result) for result in results if result.get("unreachable")})


def mute_balancers(registered: Mapping) -> list[str]:
    """Return a sentence for each balancer that gave no answer in a registered loop over the balancers."""
    sentences = []
    for result in registered.get("results", []):
        if result.get("unreachable") or result.get("failed"):
            trouble = "is unreachable" if result.get("unreachable") else "did not answer"
            sentences.append(f"balancer {_item(result)} {trouble}: {failure_reason(result)}")
    return sentences


def taken_out(registered: Mapping, member: str, is_stranded: bool, stayed_out: Mapping | None = None) -> dict:
    """Return the balancers on which somebody else had taken a member out, with the state that it had there.

    A release drains, and never uses ``maint``; so ``maint`` is always somebody else's, and ``drain`` is unless an earlier run of
    the release has left the host on its way, and had not found the member in ``drain`` itself.

    Parameters:
        registered: a loop of ``lb_member_info`` from before the member was touched.
        member: its name in the pool.
        is_stranded: whether an earlier run has left the host on its way.
        stayed_out: what this returned in that run.
    """
    found = {}
    for result in registered.get("results", []):
        for seen in result.get("members", []):
            is_theirs = not is_stranded or (stayed_out or {}).get(_item(result)) == "drain"
            if seen["member"] == member and (seen["state"] == "maint" or (seen["state"] == "drain" and is_theirs)):
                found[_item(result)] = seen["state"]
    return found


def stays_out(taken: Mapping) -> str:
    """Return a sentence on a member that taken_out() has found, empty where it has found nothing."""
    where = ", ".join(f"in {state} on {balancer}" for balancer, state in taken.items())
    return f"stays {where}, as it was before the release" if where else ""


def member_names(hosts: list, hostvars: Mapping) -> list[str]:
    """Return the name of each host in its pool: rolling_upgrade_member, or the host's own."""
    return [hostvars[host].get("rolling_upgrade_member") or host for host in hosts]


def observed_members(hosts: list, hostvars: Mapping) -> list[str]:
    """Return the names of the members that are judged together: of the hosts that were put back and have not failed since.

    Parameters:
        hosts: of the batch.
        hostvars: with rolling_upgrade_observed of each that users reach, and rolling_upgrade_host_failed.
    """
    left = [host for host in hosts if hostvars[host].get("rolling_upgrade_observed")]
    return member_names([host for host in left if not hostvars[host].get("rolling_upgrade_host_failed")], hostvars)


def silent_hosts(hosts: list, hostvars: Mapping) -> list[str]:
    """Return the hosts that did not come to the end of the preflight: unreachable, or failed, or led by a host that failed."""
    return [host for host in hosts if not hostvars[host].get("rolling_upgrade_passed")]


def stops(hosts: list, hostvars: Mapping) -> list[str]:
    """Return why a roll-out stopped, in the order of its hosts, each reason once with the hosts it holds for."""
    reasons: dict = {}
    for host in hosts:
        reason = hostvars[host].get("rolling_upgrade_failure")
        if reason:
            reasons.setdefault(reason, []).append(host)
    return [f"{', '.join(named)}: {reason}" for reason, named in reasons.items()]


def failed(hosts: list, hostvars: Mapping, members: Mapping) -> list[str]:
    """Return the hosts whose upgrade failed in this run, or that went unreachable in the middle of it.

    Parameters:
        hosts: of the plan, in order.
        hostvars: with rolling_upgrade_host_failed, and rolling_upgrade_leaving once a host has begun to leave its pool.
        members: the release's ledger rows by host, once the batches are over.
    """
    return [
        host
        for host in hosts
        if hostvars[host].get("rolling_upgrade_host_failed")
        or ("rolling_upgrade_leaving" in hostvars[host] and (members.get(host) or {}).get("state") in STRANDED)
    ]


def why_back(failed_hosts: list, hostvars: Mapping) -> str:
    """Return why hosts that serve go back: which others failed, and of what.

    Parameters:
        failed_hosts: as failed() returns them.
        hostvars: with rolling_upgrade_failure of each, unless it went unreachable.
    """
    reasons = [
        f"{host} failed: {hostvars[host].get('rolling_upgrade_failure') or 'it went unreachable'}" for host in failed_hosts
    ]
    return f"taken back, since {'; '.join(reasons)}"


def failure_reason(result: Mapping) -> str:
    """Return why a task failed: its message, or those of the failed items of a loop, with the last words of a command.

    Of what is marked ``no_log`` nothing is told. Ansible hides it where it prints; ``ansible_failed_result`` has all of it
    (ansible-core 2.19).
    """
    items = [item for item in result.get("results", []) if item.get("failed") or item.get("unreachable")]
    is_hidden = bool(result.get("_ansible_no_log"))
    return "; ".join(_why_failed(item, item.get("_ansible_no_log", is_hidden)) for item in items or [result])


def _why_failed(item: Mapping, is_hidden: bool) -> str:
    if is_hidden:
        return "failed; its output is hidden (no_log)"
    said = " ".join(str(item.get("stderr") or item.get("stdout") or "").split())[-_LAST_WORDS:]
    message = str(item.get("msg") or "no reason given")
    return f"{message} (exit code {item['rc']}): {said}" if item.get("rc") and said else message
