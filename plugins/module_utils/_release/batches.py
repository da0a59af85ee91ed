# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides which hosts are upgraded together and in which order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

from .._errors import EverupError

DEFAULT_CANARY = 1
DEFAULT_BATCH = "25%"
_KEYS = ("name", "hosts", "canary", "batch", "max_unavailable", "min_healthy", "pool", "zones", "whole", "out")
_PERCENT = re.compile(r"([0-9]{1,3})%", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


class _Group(NamedTuple):
    """A group as it was checked: sizes are numbers of hosts, ``zones`` names the zone of every host of ``whole`` or is empty."""

    name: str
    hosts: list
    whole: list
    out: list
    zones: dict
    pool: str
    canary: int
    batch: int
    max_unavailable: Optional[int]
    min_healthy: Optional[int]


def plan_batches(groups) -> dict:
    """Split web groups into the batches of a rolling upgrade.

    Parameters:
        groups: ordered list of dictionaries. ``name`` and ``hosts``, an ordered list of the hosts to upgrade, are required.

            ``canary`` is the size of the group's first batch (default 1, 0 for none), ``batch`` of every later one (default
            ``25%``); no batch is larger than ``max_unavailable``. A size is a number of hosts, or a percentage of the whole
            group rounded down to no less than 1.

            ``pool`` is the pool that the group is in, and counts over all groups that name it: a batch never takes all of
            two hosts or more, and leaves at least ``min_healthy``. Without a pool that is counted over the group.

            ``zones`` is the zone of each host, or empty. A batch takes from a zone its share, the batch's size times the
            zone's part of the group, rounded up; and, in a group of several zones, never all of two hosts or more.

            ``whole`` is all hosts of the group, of which ``hosts`` is what is left to do (default: the same). ``out`` are
            those that do not serve already: they come first, in batches of their own, so that others leave only once they
            are back.

    Returns:
        ``batches``, each ``{group, number, canary, hosts}`` with ``number`` counting from 1 over all groups;
        ``hosts``, all hosts in the order in which they are upgraded; ``sizes``, the size of each batch, for
        Ansible's ``serial``.

    A batch never spans two groups and every host is in exactly one batch. An empty group has no batch. Hosts keep their order;
    where there are zones, the group's first host stays the first, and behind it each zone is spread evenly over the order.

    Raises:
        EverupError: an unknown or missing key, a size that is none, a host or group named twice, a host without a zone among
            hosts with one, or a floor that leaves no host to take out.
    """
    if not _is_list(groups):
        raise EverupError(f"The groups to plan must be a list, not {groups!r}.")
    checked: list[_Group] = []
    group_of: dict[str, str] = {}
    names: set[str] = set()
    for index, given in enumerate(groups, start=1):
        group = _checked(given, index)
        if group.name in names:
            raise EverupError(f"Group {group.name!r} is listed twice.")
        names.add(group.name)
        _claim(group, group_of)
        checked.append(group)
    pools = Counter(group.pool for group in checked for _host in group.whole if group.pool)
    batches: list[dict] = []
    for group in checked:
        for is_canary, members in _split(group, pools[group.pool] if group.pool else None):
            batches.append({"group": group.name, "number": len(batches) + 1, "canary": is_canary, "hosts": members})
    return {
        "batches": batches,
        "hosts": [host for batch in batches for host in batch["hosts"]],
        "sizes": [len(batch["hosts"]) for batch in batches],
    }


def _is_list(value) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _claim(group: _Group, group_of: dict[str, str]) -> None:
    """Note whose the hosts are; refuse one that is listed twice."""
    seen: set[str] = set()
    for host in group.hosts:
        if host in seen:
            raise EverupError(f"Host {host!r} is listed twice in group {group.name!r}.")
        seen.add(host)
    for host in group.whole:
        if group_of.setdefault(host, group.name) != group.name:
            raise EverupError(
                f"Host {host!r} is in group {group_of[host]!r} and in group {group.name!r}: "
                "a host is upgraded once, so leave it in one of them."
            )


def _split(group: _Group, pool_size: Optional[int]):
    """Yield (is canary, hosts) for one group, each batch as large as the rules let it be."""
    limit = _limit(group, pool_size) if group.hosts else 0
    left = _ordered(group)
    is_canary = group.canary > 0
    while left:
        size = min(group.canary if is_canary else group.batch, limit)
        members = _take([host for host in left if host in group.out] or left, size, group)
        left = [host for host in left if host not in members]
        yield is_canary, members
        is_canary = False


def _limit(group: _Group, pool_size: Optional[int]) -> int:
    """Return how many hosts of a group may be out at once, whatever its sizes."""
    total = pool_size or len(group.whole)
    limits = [total]
    if group.max_unavailable is not None:
        limits.append(group.max_unavailable)
    if pool_size is not None and pool_size > 1:
        limits.append(pool_size - 1)
    if group.min_healthy is not None:
        if group.min_healthy >= total:
            unit = f"pool {group.pool!r} of group {group.name!r}" if pool_size else f"group {group.name!r}"
            raise EverupError(
                f"min_healthy is {group.min_healthy} and {unit} has {total} host(s): that leaves no host to take out. Lower "
                "min_healthy, or add hosts."
            )
        limits.append(total - group.min_healthy)
    return min(limits)


def _ordered(group: _Group) -> list:
    """Return the hosts in the order to upgrade them: those that are out, then the others, spread over the zones."""
    out = [host for host in group.hosts if host in group.out]
    others = [host for host in group.hosts if host not in group.out]
    if not group.zones:
        return out + others
    sizes = Counter(group.zones[host] for host in others)
    seen: Counter = Counter()
    place: dict = {}
    for host in others:
        zone = group.zones[host]
        place[host] = (seen[zone] + 0.5) / sizes[zone] if place else 0.0
        seen[zone] += 1
    return out + sorted(others, key=place.__getitem__)


def _take(left: list, size: int, group: _Group) -> list:
    """Return the next batch: hosts in their order, passing by those whose zone has given its share."""
    if not group.zones:
        return left[:size]
    zones = Counter(group.zones.values())
    room = {}
    for zone, hosts in zones.items():
        share = -(-size * hosts // len(group.whole))
        room[zone] = min(share, hosts - 1) if hosts > 1 and len(zones) > 1 else share
    members: list = []
    for host in left:
        zone = group.zones[host]
        if len(members) < size and room[zone]:
            room[zone] -= 1
            members.append(host)
    return members


def _checked(group, index: int) -> _Group:
    """Return one group with its sizes as numbers, or say what is wrong with it."""
    if not isinstance(group, Mapping):
        raise EverupError(f"Group number {index} must be a dictionary with {', '.join(_KEYS)}, not {group!r}.")
    name = group.get("name")
    if not isinstance(name, str) or not name:
        raise EverupError(f"Group number {index} needs a name; it has {name!r}.")
    unknown = sorted(str(key) for key in group if key not in _KEYS)
    if unknown:
        raise EverupError(f"Group {name!r} has unknown keys: {', '.join(unknown)}. Known are {', '.join(_KEYS)}.")
    hosts = _hosts(name, "hosts", group.get("hosts"))
    whole = _hosts(name, "whole", group["whole"]) if group.get("whole") is not None else hosts
    strangers = [host for host in hosts if host not in whole]
    if strangers:
        raise EverupError(f"Group {name!r} has {', '.join(strangers)} in hosts and not in whole.")
    pool = group.get("pool") or ""
    if not isinstance(pool, str):
        raise EverupError(f"Group {name!r} has pool {pool!r}; it must be the name of a pool.")
    total = len(whole)
    given = group.get("max_unavailable")
    return _Group(
        name=name,
        hosts=hosts,
        whole=whole,
        out=_hosts(name, "out", group.get("out") or []),
        zones=_zones(name, group.get("zones") or {}, whole),
        pool=pool,
        canary=_size(name, "canary", group.get("canary", DEFAULT_CANARY), total, lowest=0),
        batch=_size(name, "batch", group.get("batch", DEFAULT_BATCH), total, lowest=1),
        max_unavailable=None if given in (None, "") else _size(name, "max_unavailable", given, total, lowest=1),
        min_healthy=_floor(name, group.get("min_healthy")),
    )


def _hosts(group: str, key: str, hosts) -> list:
    if not _is_list(hosts):
        raise EverupError(f"Group {group!r} needs a list of hosts in {key}; it has {hosts!r}.")
    for host in hosts:
        if not isinstance(host, str) or not host:
            raise EverupError(f"Group {group!r} lists a host in {key} that is no host name: {host!r}.")
    return list(hosts)


def _zones(group: str, zones, whole: list) -> dict:
    """Return the zone of each host of a group, or nothing where no host has one."""
    if not isinstance(zones, Mapping):
        raise EverupError(f"Group {group!r} has zones {zones!r}; it must be the zone of each host.")
    named = {host: str(zones[host]) for host in whole if zones.get(host) not in (None, "")}
    without = [host for host in whole if host not in named]
    if named and without:
        raise EverupError(
            f"Group {group!r} has hosts with a zone and hosts without: give {', '.join(without)} a zone, or none to any host."
        )
    return named


def _floor(group: str, value) -> Optional[int]:
    """Return min_healthy as a number; None where it is not given."""
    if value in (None, ""):
        return None
    text = str(value).strip()
    if isinstance(value, bool) or not _NUMBER.fullmatch(text):
        raise EverupError(f"Group {group!r} has min_healthy {value!r}; it must be a number of hosts from 0.")
    return int(text)


def _size(group: str, key: str, value, total: int, lowest: int) -> int:
    """Return a size as a number of hosts."""
    wanted = f"{'0, ' if lowest == 0 else ''}a number from 1, or a percentage from '1%' to '100%'"
    problem = EverupError(f"Group {group!r} has {key} {value!r}; it must be {wanted}.")
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise problem
    # Without native Jinja a templated number arrives as text.
    text = str(value).strip()
    percent = _PERCENT.fullmatch(text)
    if percent:
        if not 1 <= int(percent.group(1)) <= 100:
            raise problem
        return max(1, total * int(percent.group(1)) // 100)
    if not _NUMBER.fullmatch(text) or int(text) < lowest:
        raise problem
    return int(text)
