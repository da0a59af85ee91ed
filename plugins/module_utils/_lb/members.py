# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings one member to a state on every balancer of a group: reach all, change what differs, wait within a bound."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace

from .._errors import EverupError
from .base import DRAIN, MAINT, READY, Balancer, Member

EVERY_POOL = "*"  # in the place of a pool's name


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
        if name:
            seen = [place.look() for place in _places(balancer, pool, name)]
        else:
            seen = balancer.list_members(None if pool == EVERY_POOL else pool)
        rows = [{"balancer": balancer.address, **_identity(member), **_facts(member)} for member in seen]
        if with_counters:
            counted = {pool: balancer.list_counters(pool) for pool in {row["pool"] for row in rows}}
            rows = [{**row, "counters": asdict(counted[row["pool"]][row["member"]])} for row in rows]
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
        pool: the pool, or EVERY_POOL for all that the member is in.
        wait: ``drain``: until no balancer has a session left. ``ready``: until every balancer's health check passes;
            a member that comes from ``maint`` is checked in ``drain`` first, because HAProxy sends requests to a
            member fresh from ``maint`` before it has checked it.
        timeout: seconds to wait, over all balancers and steps; the time that a balancer takes for a change is not counted.
        interval: seconds between two looks.
        on_timeout: ``fail``, or ``proceed`` when sessions outlast a drain. A balancer that does not answer is never passed by:
            it may have been started again, and have forgotten the drain.

    Raises EverupError; its details say what had been changed by then.
    """
    if not (interval > 0 and timeout >= 0):  # which is true of no NaN
        raise EverupError("interval must be more than 0 seconds and timeout at least 0.")
    places = [place for found in _on_all(balancers, lambda balancer: _places(balancer, pool, name)) for place in found]
    before = _on_all(places, _Place.look)
    differing = [place for place, member in zip(places, before) if member.state != state]
    _on_all(differing, lambda place: place.check_change(state))
    move = _Move(places, pool, name, before, timeout, interval)
    if check_mode:
        move.seen = {place: replace(was, state=state) for place, was in zip(places, before)}
    else:
        try:
            move.make(state, wait, on_timeout)
        except EverupError as error:
            raise EverupError(str(error), **{**move.result(), **error.details}) from error
    return move.result()


@dataclass(frozen=True)
class _Place:
    """A pool of a balancer that has the member.

    Parameters:
        is_one_of_many: whether the pool has to be told where the balancer is.
    """

    balancer: Balancer
    pool: str
    name: str
    is_one_of_many: bool

    def __str__(self) -> str:
        return f"{self.pool} on {self.balancer.address}" if self.is_one_of_many else self.balancer.address

    @property
    def where(self) -> str:
        """Where it is, for a sentence."""
        return f"{f'in pool {self.pool} ' if self.is_one_of_many else ''}on balancer {self.balancer.address}"

    def look(self) -> Member:
        return self.balancer.get_member(self.pool, self.name)

    def check_change(self, state: str) -> None:
        self.balancer.check_change(self.pool, self.name, state)

    def set_state(self, state: str) -> None:
        self.balancer.set_state(self.pool, self.name, state)


def _places(balancer: Balancer, pool: str, name: str) -> list[_Place]:
    """Return where a member is; EverupError when it is in no pool and every one was asked for."""
    if pool != EVERY_POOL:
        return [_Place(balancer, pool, name, False)]
    names = balancer.list_names()
    places = [_Place(balancer, found, name, True) for found, member in names if member == name]
    if not places:
        known = ", ".join(sorted({member for _pool, member in names})) or "none"
        raise EverupError(f"No pool on balancer {balancer.address} has a member {name}; the members are: {known}.")
    return places


class _Move:
    """One member on its way to a state: what it was, what has been changed, what was last seen, and the time left."""

    def __init__(self, places: list[_Place], pool, name, before, timeout, interval) -> None:
        self.places = places
        self.header = f"{pool}/{name}"
        self.member = f"Member {name} of {'every pool' if pool == EVERY_POOL else f'pool {pool}'}"
        self.before = dict(zip(places, before))
        self.seen = dict(self.before)
        self.timeout, self.interval = timeout, interval
        self.started = time.monotonic()
        self.waited = 0.0
        self.warnings: list[str] = []
        self.mute: list[_Place] = []  # which did not answer when they were last looked at

    def make(self, state: str, wait: bool, on_timeout: str) -> None:
        """Go to the state, and wait for it where asked."""
        if state == READY and wait:
            self._set(DRAIN, [place for place in self.places if self._state(place) == MAINT])
            if any(self._state(place) != READY for place in self.places):
                self._wait_healthy()
        self._set(state, [place for place in self.places if self._state(place) != state])
        if state == READY and wait:
            self._wait_serving()
        elif state == DRAIN and wait:
            self._wait_drained(on_timeout)
        else:
            self._look()

    def result(self) -> dict:
        """Return what a module returns. ``changed`` is about administrative states only, never about counters."""
        states_before = {str(place): member.state for place, member in self.before.items()}
        states_after = {str(place): member.state for place, member in self.seen.items()}
        result = {
            "changed": states_before != states_after,
            "members": [
                {
                    "balancer": place.balancer.address,
                    **_identity(was),
                    "before": _facts(was),
                    "after": _facts(self.seen[place]),
                }
                for place, was in self.before.items()
            ],
            "waited_seconds": round(self.waited, 2),
            "diff": {
                "before_header": self.header,
                "after_header": self.header,
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
        said = f"{self.member} is not drained after {self.timeout:g} s: last seen {_listed(pending)}."
        if self.mute:
            raise EverupError(
                f"{said} A balancer that cannot be asked may send it new sessions: the application must not be stopped before it "
                "answers. Bring it back, and try again."
            )
        said += " New sessions are stopped, running ones were not cut, and it stays in drain."
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
                f"{self.member} is not healthy after {self.timeout:g} s: "
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
                f"{self.member} is ready but does not serve after {self.timeout:g} s: "
                f"last seen {_listed(pending)}. Look at the application's log and at the balancer's health check."
            )

    def _wait(self, done, describe, held: tuple = ()) -> dict:
        """Look until done(member) on every balancer; return who was not, by place, when time is up.

        A balancer that does not answer is asked again until then: it may be reloading. A member that left every state
        in ``held`` ends the wait at once: somebody else acts on it, or a reload forgot it.
        """
        while True:
            pending, self.mute = {}, []
            for place in self.places:
                try:
                    member = place.look()
                except EverupError as error:
                    pending[place] = str(error)
                    self.mute.append(place)
                    continue
                self.seen[place] = member
                if held and member.state not in held:
                    raise EverupError(
                        f"{self.member} went back to {member.state} {place.where} "
                        f"while it drained ({member.sessions} sessions): the balancer was reloaded "
                        "without its server state file, or somebody else changed it. Find out who before trying again."
                    )
                if not done(member):
                    pending[place] = describe(member)
            self.waited = time.monotonic() - self.started
            left = self.timeout - self.waited
            if not pending or left <= 0:
                return pending
            time.sleep(min(self.interval, left))

    def _set(self, state: str, places: list[_Place]) -> None:
        began = time.monotonic()
        for place in places:
            place.set_state(state)
            self.seen[place] = replace(self.seen[place], state=state)
        self.started += time.monotonic() - began

    def _look(self) -> None:
        for place in self.places:
            self.seen[place] = place.look()

    def _state(self, place: _Place) -> str:
        return self.seen[place].state


def _on_all(asked: list, ask) -> list:
    """Return ask() of each; when any fails, say so of every one that did, and that nothing was changed."""
    answers, errors = [], []
    for one in asked:
        try:
            answers.append(ask(one))
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
    return "; ".join(f"{seen} {place.where}" for place, seen in pending.items())
