# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides whether the next batch may begin, from the plan, the ledger and the live balancers."""

from __future__ import annotations


def reasons_to_stop(
    planned: list[str], alive: list[str], batch: list[str], members: dict, version: str, accepted: tuple = ("ready",)
) -> list[str]:
    """Return why the batch must not begin, as far as hosts are concerned; empty when it may.

    Ansible's own counting of failures does not stop a rolling play reliably: unreachable hosts do not count, and a block
    with ``rescue`` or ``always`` hides failures. So the plan is held against the hosts Ansible still has, and against the ledger.

    Parameters:
        planned: every host of the roll-out, in order.
        alive: the hosts that Ansible still runs tasks on.
        batch: the hosts about to begin.
        members: ledger rows of the release by host.
        version: the release's version.
        accepted: member states that end a host's part in this direction.
    """
    reasons = [f"{host} failed, is unreachable, or was left out by --limit" for host in planned if host not in alive]
    first = min((planned.index(host) for host in batch if host in planned), default=0)
    earlier = planned[:first]
    strangers = [host for host in batch if host not in planned]
    reasons += [f"{host} is not in the plan" for host in strangers]
    for host in earlier:
        row = members.get(host)
        if host not in alive or (row is not None and row["state"] in accepted):
            continue
        state = "was not touched" if row is None else f"is '{row['state']}'" + (f": {row['reason']}" if row["reason"] else "")
        reasons.append(f"{host} of an earlier batch {state} at {version}")
    return reasons


def capacity_reasons(
    pool: str, pool_members: list[dict], leaving: list[str], mute: list[str], floor: int, behind: dict | None = None
) -> list[str]:
    """Return for each balancer that the batch would bring below the floor, why; empty when capacity is left, or none is taken.

    Parameters:
        pool: the pool, empty for a group without a balancer.
        pool_members: live members with balancer, member, state, health, serving and backup, as ``lb_member_info`` returns
            them; nothing at all is no evidence, and so a reason. Who gets users only once nobody else is left is no capacity.
        leaving: names of the members about to be drained.
        mute: a sentence for each balancer that could not be asked.
        floor: how many healthy members must be left serving.
        behind: by the host that was asked, which is ``asked`` of a member, the members that its balancer must have; a balancer
            that is not named must have every one.
    """
    if not pool:
        return []
    reasons = list(mute)
    if pool == "*":
        return [*reasons, "rolling_upgrade_pool is '*': the guard has to know which pool it guards, so name one"]
    pools: dict = {}
    for member in pool_members:
        pools.setdefault(member["balancer"], []).append(member)
    if not pools and not mute:
        reasons.append(f"no balancer has said which members pool {pool} has")
    if behind:
        drained = {name for names in behind.values() for name in names}
        reasons += [f"no balancer is named for member {name} of pool {pool}" for name in leaving if name not in drained]
    for balancer, members in pools.items():
        serving = [m["member"] for m in members if m["serving"] and not m.get("backup")]
        left = [name for name in serving if name not in leaving]
        names = [m["member"] for m in members]
        wanted = {name for m in members for name in (behind or {}).get(m.get("asked"), leaving)}
        missing = [name for name in leaving if name in wanted and name not in names]
        reasons += [f"pool {pool} on {balancer} has no member {name}" for name in missing]
        # A batch that takes nothing away may always begin: it may be what brings the capacity back.
        if len(left) < min(floor, len(serving)):
            out = [_why_out(m) for m in members if m["member"] not in serving]
            reasons.append(
                f"pool {pool} on {balancer} would be left with {len(left)} healthy member(s), the floor is {floor}"
                + (f" ({'; '.join(out)})" if out else "")
            )
    return reasons


def _why_out(member: dict) -> str:
    return f"{member['member']} is {'a backup' if member.get('backup') else member['state']}, {member['health']}"
