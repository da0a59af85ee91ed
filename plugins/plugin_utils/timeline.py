# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Knows where each host of a roll-out is, and draws it as a table with a bar for each group."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

WAITING, UNREACHABLE, FAILED = "waiting", "unreachable", "failed"
DONE = ("ready", "rolled_back")
OUT = (FAILED, UNREACHABLE)
_SHOWN = {"rolled_back": "went back", "healthy": "putting back"}
_COLOURS = {"ready": "32", "rolled_back": "33", FAILED: "31", UNREACHABLE: "31", WAITING: "2"}
_ACTIVE_COLOUR = "36"
_LEAST_WIDTH, _LEAST_BAR = 40, 8


@dataclass
class Host:
    """One host of a roll-out.

    Attributes:
        group, batch: where the plan has it; batches count from 1.
        state: as the ledger has it, or ``waiting`` or ``unreachable``.
        since: when it came to that, in seconds of the caller's clock.
        doing: the task that runs on it now.
        reason: why it failed or went back.
    """

    group: str
    batch: int
    state: str = WAITING
    since: float = 0.0
    doing: str = ""
    reason: str = ""

    @property
    def active(self) -> bool:
        """Whether it is on its way."""
        return self.state not in (WAITING, *DONE, *OUT)


class Timeline:
    """The hosts of one roll-out in the order of the plan."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}

    def plan(self, batches: list[dict], now: float) -> None:
        """Take the plan's batches, each with group, number and hosts."""
        self.hosts = {
            name: Host(group=batch["group"], batch=batch["number"], since=now) for batch in batches for name in batch["hosts"]
        }

    def move(self, name: str, state: str, now: float, reason: str = "") -> bool:
        """Bring a host to a state; return whether that is news. A host that is not in the plan is none of ours."""
        host = self.hosts.get(name)
        if host is None or (host.state, host.reason) == (state, reason):
            return False
        host.state, host.since, host.reason = state, now, reason
        if not host.active:
            host.doing = ""
        return True

    def task(self, name: str, task: str) -> bool:
        """Note what runs on a host that is on its way; return whether that is news."""
        host = self.hosts.get(name)
        if host is None or host.doing == task:
            return False
        host.doing = task
        return host.active

    def bars(self, width: int) -> list[str]:
        """Return one line a group: a bar, how many hosts are done, and how many are not well."""
        groups: dict[str, list[Host]] = {}
        for host in self.hosts.values():
            groups.setdefault(host.group, []).append(host)
        longest = max(map(len, groups), default=0)
        return [_bar(group.ljust(longest), hosts, width) for group, hosts in groups.items()]

    def table(self, now: float, width: int, height: int, colour: bool = False) -> list[str]:
        """Return the bars, and below them a line for each host, as many as there is room for.

        Hosts on their way and hosts that failed come first; the others are summed up where they do not all fit.

        Parameters:
            now: for how long each host is where it is.
            width, height: of the space, in characters and lines.
            colour: whether to colour the states.
        """
        width = max(width, _LEAST_WIDTH)
        bars = self.bars(width)
        room = max(1, height - len(bars))
        names = list(self.hosts)
        shown = names
        if len(names) > room:
            urgent = [name for name in names if self.hosts[name].active or self.hosts[name].state in OUT]
            shown = urgent[: room - 1]
        lines = [self._line(name, now, width, colour) for name in shown]
        hidden = Counter(_text(self.hosts[name].state) for name in names if name not in set(shown))
        if hidden:
            lines.append(("… " + ", ".join(f"{count} {state}" for state, count in hidden.items()))[:width])
        return [*bars, *lines]

    def _line(self, name: str, now: float, width: int, colour: bool) -> str:
        host = self.hosts[name]
        longest = max(map(len, self.hosts))
        state = _text(host.state).ljust(len(UNREACHABLE) + 1)
        seconds = int(max(0.0, now - host.since))
        since = f"{seconds // 60:>3}:{seconds % 60:02d}" if host.state != WAITING else " " * 6
        said = " ".join("".join(letter if letter.isprintable() else " " for letter in host.reason or host.doing).split())
        line = f"{name.ljust(longest)}  {host.batch:>3}  {state}  {since}  {said}"[:width].rstrip()
        if not colour:
            return line
        code = _COLOURS.get(host.state, _ACTIVE_COLOUR)
        return line.replace(state.rstrip(), f"\x1b[{code}m{state.rstrip()}\x1b[0m", 1) if state.rstrip() in line else line


def _text(state: str) -> str:
    return _SHOWN.get(state, state)


def _bar(label: str, hosts: list[Host], width: int) -> str:
    total = len(hosts)
    ready = sum(host.state == "ready" for host in hosts)
    counts = Counter(_text(host.state) for host in hosts if host.state not in ("ready", WAITING))
    said = f"{ready}/{total} ready" + "".join(f", {count} {state}" for state, count in sorted(counts.items()))
    room = max(_LEAST_BAR, min(40, width - len(label) - len(said) - 4))
    full = room * ready // total if total else 0
    moving = min(room - full, -(-room * sum(host.active for host in hosts) // total)) if total else 0
    return f"{label} [{'█' * full}{'▒' * moving}{'·' * (room - full - moving)}] {said}"[: max(width, _LEAST_WIDTH)]
