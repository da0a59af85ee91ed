# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings one member to a state on every balancer of a group: reach all, change what differs, wait within a bound."""

from __future__ import annotations

import time
from dataclasses import asdict, replace

from .._errors import EverupError
from .base import DRAIN, MAINT, READY, Balancer, Member


def read_members(
    balancers: list[Balancer], pool: str | None = None, name: str | None = None, with_counters: bool = False
) -> list[dict]:
    """Return the members of one pool or of all, or one member, as dicts which name their balancer.

    Parameters:
        with_counters: whether to add ``counters`` to each; needs the pool.

    Raises EverupError when any balancer cannot answer, does not know the pool or member, or does not count.
    """
    found = []
    for balancer in balancers:
        seen = [balancer.get_member(pool, name)] if name else balancer.list_members(pool)
        rows = [{"balancer": balancer.address, **_identity(member), **_facts(member)} for member in seen]
        if with_counters:
            counted = balancer.list_counters(pool)
            rows = [{**row, "counters": asdict(counted[row["member"]])} for row in rows]
        found += rows
    return found


def apply_state(
    balancers: list[Balancer],
    pool: str,
    name: str,
    state: str,
    *,
    wait: bool = True,
    timeout: float = 60,
    interval: float = 0.25,
    on_timeout: str = "fail",
    check_mode: bool = False,
) -> dict:
    """Bring a member to a state on every balancer and return the module result.

    Every balancer is reached, the member found on it and the right to change it seen before anything changes.

    Parameters:
        wait: ``drain``: until no balancer has a session left. ``ready``: until every balancer's health check passes;
            a member that comes from ``maint`` is checked in ``drain`` first, because HAProxy sends requests to a
            member fresh from ``maint`` before it has checked it.
        timeout: seconds to wait, over all balancers and steps.
        interval: seconds between two looks.
        on_timeout: ``fail``, or ``proceed`` when sessions outlast a drain.

    Raises EverupError; its details say what had been changed by then.
    """
    if interval <= 0 or timeout < 0:
        raise EverupError("interval must be more than 0 seconds and timeout at least 0.")
    before = _on_all(balancers, lambda balancer: balancer.get_member(pool, name))
    differing = [balancer for balancer, member in zip(balancers, before) if member.state != state]
    _on_all(differing, lambda balancer: balancer.check_writable(pool))
    move = _Move(balancers, pool, name, before, timeout, interval)
    if check_mode:
        move.seen = {balancer.address: replace(was, state=state) for balancer, was in zip(balancers, before)}
    else:
        try:
            move.make(state, wait, on_timeout)
        except EverupError as error:
            raise EverupError(str(error), **{**move.result(), **error.details}) from error
    return move.result()


class _Move:
    """One member on its way to a state: what it was, what has been changed, what was last seen, and the time left."""

    def __init__(self, balancers, pool, name, before, timeout, interval) -> None:
        self.balancers, self.pool, self.name = balancers, pool, name
        self.before = {balancer.address: member for balancer, member in zip(balancers, before)}
        self.seen = dict(self.before)
        self.timeout, self.interval = timeout, interval
        self.started = time.monotonic()
        self.waited = 0.0
        self.warnings: list[str] = []

    def make(self, state: str, wait: bool, on_timeout: str) -> None:
        """Go to the state, and wait for it where asked."""
        if state == READY and wait:
            self._set(DRAIN, [balancer for balancer in self.balancers if self._state(balancer) == MAINT])
            if any(self._state(balancer) != READY for balancer in self.balancers):
                self._wait_healthy()
        self._set(state, [balancer for balancer in self.balancers if self._state(balancer) != state])
        if state == READY and wait:
            self._wait_serving()
        elif state == DRAIN and wait:
            self._wait_drained(on_timeout)
        else:
            self._look()

    def result(self) -> dict:
        """Return what a module returns. ``changed`` is about administrative states only, never about counters."""
        states_before = {address: member.state for address, member in self.before.items()}
        states_after = {address: member.state for address, member in self.seen.items()}
        result = {
            "changed": states_before != states_after,
            "members": [
                {
                    "balancer": address,
                    **_identity(was),
                    "before": _facts(was),
                    "after": _facts(self.seen[address]),
                }
                for address, was in self.before.items()
            ],
            "waited_seconds": round(self.waited, 2),
            "diff": {
                "before_header": f"{self.pool}/{self.name}",
                "after_header": f"{self.pool}/{self.name}",
                "before": states_before,
                "after": states_after,
            },
        }
        if self.warnings:
            result["warnings"] = self.warnings
        return result

    def _wait_drained(self, on_timeout: str) -> None:
        pending = self._wait(
            lambda member: member.sessions == 0,
            lambda member: f"{member.sessions} session{'s' if member.sessions != 1 else ''}",
            held=(DRAIN, MAINT),
        )
        if not pending:
            return
        said = (
            f"Member {self.name} of pool {self.pool} is not drained after {self.timeout:g} s: "
            f"last seen {_listed(pending)}. New sessions are stopped, running ones were not cut, and it stays in drain."
        )
        if on_timeout != "proceed":
            raise EverupError(
                f"{said} Give it a longer timeout, find out who holds on, or set on_timeout=proceed to go on and let "
                "the restart of the application cut what is left."
            )
        self.warnings.append(said)

    def _wait_healthy(self) -> None:
        pending = self._wait(lambda member: member.healthy, lambda member: member.health)
        if pending:
            raise EverupError(
                f"Member {self.name} of pool {self.pool} is not healthy after {self.timeout:g} s: "
                f"last seen {_listed(pending)}. It is kept out of the pool, so that no new session meets it. "
                "Look at the application's log and at the balancer's health check."
            )

    def _wait_serving(self) -> None:
        pending = self._wait(
            lambda member: member.serving,
            lambda member: (
                member.health
                + (f", state {member.state}" if member.state != READY else "")
                + (", weight 0: no new session is sent to it" if member.weight == 0 else "")
            ),
        )
        if pending:
            raise EverupError(
                f"Member {self.name} of pool {self.pool} is ready but does not serve after {self.timeout:g} s: "
                f"last seen {_listed(pending)}. Look at the application's log and at the balancer's health check."
            )

    def _wait(self, done, describe, held: tuple = ()) -> dict:
        """Look until done(member) on every balancer; return who was not, by address, when time is up.

        A balancer that does not answer is asked again until then: it may be reloading. A member that left every state
        in ``held`` ends the wait at once: somebody else acts on it, or a reload forgot it.
        """
        while True:
            pending = {}
            for balancer in self.balancers:
                try:
                    member = balancer.get_member(self.pool, self.name)
                except EverupError as error:
                    pending[balancer.address] = str(error)
                    continue
                self.seen[balancer.address] = member
                if held and member.state not in held:
                    raise EverupError(
                        f"Member {self.name} of pool {self.pool} went back to {member.state} on balancer "
                        f"{balancer.address} while it drained ({member.sessions} sessions): the balancer was reloaded "
                        "without its server state file, or somebody else changed it. Find out who before trying again."
                    )
                if not done(member):
                    pending[balancer.address] = describe(member)
            self.waited = time.monotonic() - self.started
            left = self.timeout - self.waited
            if not pending or left <= 0:
                return pending
            time.sleep(min(self.interval, left))

    def _set(self, state: str, balancers: list[Balancer]) -> None:
        for balancer in balancers:
            balancer.set_state(self.pool, self.name, state)
            self.seen[balancer.address] = replace(self.seen[balancer.address], state=state)

    def _look(self) -> None:
        for balancer in self.balancers:
            self.seen[balancer.address] = balancer.get_member(self.pool, self.name)

    def _state(self, balancer: Balancer) -> str:
        return self.seen[balancer.address].state


def _on_all(balancers: list[Balancer], ask) -> list:
    """Return ask(balancer) of each; when any fails, say so of every one that did, and that nothing was changed."""
    answers, errors = [], []
    for balancer in balancers:
        try:
            answers.append(ask(balancer))
        except EverupError as error:
            errors.append(str(error))
    if errors:
        raise EverupError(" ".join([*errors, "Nothing was changed on any balancer."]), changed=False)
    return answers


def _identity(member: Member) -> dict:
    return {"pool": member.pool, "member": member.name, "address": member.address}


def _facts(member: Member) -> dict:
    facts = {**asdict(member), "serving": member.serving}
    for name in ("pool", "name", "address"):
        del facts[name]
    return facts


def _listed(pending: dict) -> str:
    return "; ".join(f"{seen} on balancer {address}" for address, seen in pending.items())
