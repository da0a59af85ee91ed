# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides which hosts a roll-out takes, in which batches, from inventory variables and the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from .._errors import EverupError
from .balancers import member_names, pool_members
from .batches import DEFAULT_BATCH, DEFAULT_CANARY, plan_batches
from .hosts import STRANDED

DEFAULT_MIN_HEALTHY = 1


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


def plan_back(
    found: list[dict], hostvars: Mapping, members: Mapping, states: list | None = None, gone: list | str | None = None
) -> dict:
    """Plan the way back: every host that a release touched and that is not back yet, the last group first.

    Parameters:
        found, hostvars, members: as for plan_forward(); with rolling_upgrade_answer, the registered question whether a host can
            be reached, where it was asked. Who did not answer goes last: Ansible ends a run with a batch that is lost as a whole.
        states: take only hosts in these states; by default every one that is not back.
        gone: hosts that took part and are left as they are, for they are gone for good; a list, or their names with commas.

    Returns:
        As plan_forward(), and ``gone``.

    Raises:
        EverupError: a touched host is no longer in the inventory's web groups, or its version before is not known.
    """
    touched = {
        host: row for host, row in members.items() if row["state"] != "rolled_back" and (not states or row["state"] in states)
    }
    known = {host for group in found for host in group["hosts"]}
    given = [name.strip() for name in gone.split(",")] if isinstance(gone, str) else list(gone or [])
    here = sorted(set(given) & known)
    if here:
        raise EverupError(f"rollback_gone has {', '.join(here)}, which the inventory has: take it out there, or here.")
    left = sorted(set(touched) & set(given))
    touched = {host: row for host, row in touched.items() if host not in left}
    strangers = sorted(set(touched) - known)
    if strangers:
        raise EverupError(
            f"{', '.join(strangers)} took part in the release and is in no group of rollout_groups any more. Where that is a "
            f"mistake of the inventory, mend it. Hosts that are gone for good: -e rollback_gone={','.join(strangers)}"
        )
    unknown = sorted(host for host, row in touched.items() if not row["version_before"])
    if unknown:
        raise EverupError(
            f"The ledger does not know which version {', '.join(unknown)} ran before the release: upgrade forward instead, or "
            "take it out of the pool and deploy it by hand."
        )
    silent = [host for host in touched if _is_silent(hostvars[host].get("rolling_upgrade_answer"))]
    groups = [
        {
            "name": group["name"],
            "hosts": [host for host in reversed(group["hosts"]) if host in touched and host not in silent],
            "whole": group["hosts"],
        }
        for group in reversed(found)
    ]
    finished = sorted(set(members) - set(touched) - set(left))
    before = {host: row["version_before"] for host, row in touched.items()}
    last = [(group["name"], host) for group in reversed(found) for host in reversed(group["hosts"]) if host in silent]
    return {**_completed(groups, hostvars, finished, before, members, last), "gone": left}


def _is_silent(answer) -> bool:
    return isinstance(answer, Mapping) and bool(answer.get("failed") or answer.get("unreachable"))


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


def _completed(
    groups: list[dict], hostvars: Mapping, finished: list[str], before: dict, members: Mapping, last: list = ()
) -> dict:
    """Return plan_batches()'s plan with what the playbooks want to know of each host.

    Parameters:
        last: group and host of those that go alone, behind all others.
    """
    taken = [host for group in groups for host in group["hosts"]] + [host for _group, host in last]
    stranded = [host for host in taken if (members.get(host) or {}).get("state") in STRANDED]
    plan = plan_batches([{**group, "out": stranded + _not_serving(group, hostvars)} for group in _rules(groups, hostvars)])
    for group, host in last:
        plan["batches"].append({"group": group, "number": len(plan["batches"]) + 1, "canary": False, "hosts": [host]})
        plan["hosts"].append(host)
        plan["sizes"].append(1)
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


def serial(plan: Mapping | None) -> list[int]:
    """Return the sizes of a plan's batches as a play's ``serial``, which cannot be empty: [1] of a plan without a host."""
    return list((plan or {}).get("sizes") or [1])


def describe(plan: dict, version: str) -> list[str]:
    """Return the plan as lines for a person."""
    gone = [f"left as they are, gone for good: {', '.join(plan['gone'])}"] if plan.get("gone") else []
    if not plan["hosts"]:
        return [f"Nothing to do: {len(plan['finished'])} host(s) are done.", *gone]
    lines = [
        f"batch {batch['number']} ({batch['group']}{', canary' if batch['canary'] else ''}): {', '.join(batch['hosts'])}"
        for batch in plan["batches"]
    ]
    done = [f"done already: {', '.join(plan['finished'])}"] if plan["finished"] else []
    return [f"{len(plan['hosts'])} host(s) to {version}", *lines, *done, *gone]
