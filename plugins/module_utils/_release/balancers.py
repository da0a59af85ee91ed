# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says from what balancers have told in a run, who their members are, and which of them somebody else has taken out."""

from __future__ import annotations

from collections.abc import Mapping

from .hosts import failure_reason


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
    backups: dict = {}
    wanted: dict = {}
    for member in pool_members(registered):
        known.setdefault(member["balancer"], []).append(member["member"])
        backups.setdefault(member["balancer"], []).extend([member["member"]] if member.get("backup") else [])
        wanted.setdefault(member["balancer"], {}).update(dict.fromkeys(behind.get(member["asked"], [])))
    shared = sorted({name for names in behind.values() for name in names if names.count(name) > 1})
    sentences = [
        f"Several hosts are member {name} of pool {pool}, so one would be upgraded while it serves: give each its own "
        "rolling_upgrade_member."
        for name in shared
    ]
    for balancer, members in known.items():
        missing = [name for name in wanted[balancer] if name not in members]
        if missing:
            sentences.append(f"Pool {pool} on {balancer} has no member {', '.join(missing)}.")
        twice = [name for name in wanted[balancer] if members.count(name) > 1]
        if twice:
            sentences.append(f"Pool {pool} on {balancer} has several members {', '.join(twice)}: give each a name of its own.")
        capacity = len(set(members) - set(backups[balancer]))
        if capacity <= floor:
            sentences.append(
                f"Pool {pool} on {balancer} has {capacity} member(s){' that are no backup' if backups[balancer] else ''} and "
                f"rolling_upgrade_min_healthy is {floor}: that leaves no host to take out. Lower it, or add members."
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
