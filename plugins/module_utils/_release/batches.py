# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides which hosts are upgraded together and in which order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .._errors import EverupError

DEFAULT_CANARY = 1
DEFAULT_BATCH = "25%"
_KEYS = ("name", "hosts", "canary", "batch")
_PERCENT = re.compile(r"([0-9]{1,3})%", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def plan_batches(groups) -> dict:
    """Split web groups into the batches of a rolling upgrade.

    Parameters:
        groups: ordered list of ``{name, hosts, canary, batch}``. ``hosts`` is an ordered list of host names.
            ``canary`` is the size of the group's first batch (default 1, 0 for none), ``batch`` of every
            later one (default ``25%``). A size is a number of hosts, or a percentage of the group's hosts rounded
            down to no less than 1.

    Returns:
        ``batches``, each ``{group, number, canary, hosts}`` with ``number`` counting from 1 over all groups;
        ``hosts``, all hosts in the order in which they are upgraded; ``sizes``, the size of each batch, for
        Ansible's ``serial``.

    A batch never spans two groups and every host is in exactly one batch. An empty group has no batch.

    Raises:
        EverupError: an unknown or missing key, a size that is none, or a host or group named twice.
    """
    if not _is_list(groups):
        raise EverupError(f"The groups to plan must be a list, not {groups!r}.")
    batches: list[dict] = []
    group_of: dict[str, str] = {}
    names: set[str] = set()
    for index, group in enumerate(groups, start=1):
        name, hosts, canary, batch = _checked(group, index)
        if name in names:
            raise EverupError(f"Group {name!r} is listed twice.")
        names.add(name)
        for host in hosts:
            if group_of.get(host) == name:
                raise EverupError(f"Host {host!r} is listed twice in group {name!r}.")
            if host in group_of:
                raise EverupError(
                    f"Host {host!r} is in group {group_of[host]!r} and in group {name!r}: "
                    "a host is upgraded once, so leave it in one of them."
                )
            group_of[host] = name
        for is_canary, members in _split(hosts, canary, batch):
            number = len(batches) + 1
            batches.append({"group": name, "number": number, "canary": is_canary, "hosts": members})
    return {
        "batches": batches,
        "hosts": [host for batch in batches for host in batch["hosts"]],
        "sizes": [len(batch["hosts"]) for batch in batches],
    }


def _is_list(value) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _split(hosts: list, canary: int, batch: int):
    """Yield (is canary, hosts) for one group."""
    if canary and hosts:
        yield True, hosts[:canary]
    for start in range(canary, len(hosts), batch):
        yield False, hosts[start : start + batch]


def _checked(group, index: int) -> tuple:
    """Return name, hosts, canary size and batch size of one group, or say what is wrong with it."""
    if not isinstance(group, Mapping):
        raise EverupError(f"Group number {index} must be a dictionary with {', '.join(_KEYS)}, not {group!r}.")
    name = group.get("name")
    if not isinstance(name, str) or not name:
        raise EverupError(f"Group number {index} needs a name; it has {name!r}.")
    unknown = sorted(str(key) for key in group if key not in _KEYS)
    if unknown:
        raise EverupError(f"Group {name!r} has unknown keys: {', '.join(unknown)}. Known are {', '.join(_KEYS)}.")
    hosts = group.get("hosts")
    if not _is_list(hosts):
        raise EverupError(f"Group {name!r} needs a list of hosts; it has {hosts!r}.")
    for host in hosts:
        if not isinstance(host, str) or not host:
            raise EverupError(f"Group {name!r} lists a host that is no host name: {host!r}.")
    canary = _size(name, "canary", group.get("canary", DEFAULT_CANARY), len(hosts), lowest=0)
    batch = _size(name, "batch", group.get("batch", DEFAULT_BATCH), len(hosts), lowest=1)
    return name, list(hosts), canary, batch


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
