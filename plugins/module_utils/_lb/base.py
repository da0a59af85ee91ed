# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every load balancer must be able to do, and what it says of a member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from .._errors import EverupError

READY, DRAIN, MAINT = STATES = ("ready", "drain", "maint")
# What a change that was killed in the middle has left: neither state is certain, and whichever is wanted is set again.
CHANGING = "changing"


@dataclass(frozen=True)
class Member:
    """One server of a pool as one balancer sees it now.

    Parameters:
        pool: name of the pool (HAProxy: backend).
        name: name of the member in the pool (HAProxy: server).
        address: where the balancer sends its requests, ``host:port``.
        state: the administrative state: ``ready``, ``drain`` (no new sessions), ``maint`` (out, and not checked) or,
            of a change that was cut short, ``changing``.
        health: what the balancer's health check says, in the balancer's own words: ``UP``, ``DOWN (L4CON)``.
        healthy: whether the check passes without reserve. True where nothing is checked.
        sessions: sessions running on the member or queued for it.
        weight: share of new sessions; 0 gets none.
        backup: whether it gets sessions only once no other member is left, such as a page that says sorry.
    """

    pool: str
    name: str
    address: str
    state: str
    health: str
    healthy: bool
    sessions: int
    weight: int
    backup: bool = False

    @property
    def serving(self) -> bool:
        """Whether new sessions reach it, and it is known to answer them."""
        return self.state == READY and self.healthy and self.weight > 0


@dataclass(frozen=True)
class Counters:
    """What one balancer has counted of one member since it started; they only grow until they start at 0 again.

    Parameters:
        requests: requests that the member has answered, or should have.
        errors: those of them that got a status of 500 or more from it, or no whole answer.
        response_ms: how long the member took to begin its answers, as the balancer says it now; None where it does not.
        response_over: how many answers that average remembers: an older one counts for 1/e of a new one at most.
    """

    requests: int
    errors: int
    response_ms: int | None = None
    response_over: int | None = None


class Balancer(ABC):
    """One running load balancer. A subclass a product; no state is cached, every call asks the balancer.

    Every method raises EverupError, naming the balancer by ``address``, when the balancer cannot be reached within
    its time-out, refuses, or does not know the pool or member.
    """

    #: How the user wrote the balancer's address: its name in results and errors.
    address: str
    #: How members get names of their own, for a sentence.
    way_to_names = "give each a name of its own"

    @abstractmethod
    def list_members(self, pool: str | None = None) -> list[Member]:
        """Return the members of one pool, or of all pools."""

    def list_names(self) -> list[tuple[str, str]]:
        """Return pool and name of each member of all pools, which may take less than to look at each."""
        return [(member.pool, member.name) for member in self.list_members()]

    def get_member(self, pool: str, name: str) -> Member:
        """Return one member of one pool."""
        return self.pick(self.list_members(pool), pool, name)

    def pick(self, members: list, pool: str, name: str):
        """Return which of a pool's members has a name; EverupError when none has it, and when several have."""
        found = [member for member in members if member.name == name]
        if not found:
            known = ", ".join(sorted(member.name for member in members)) or "none"
            raise EverupError(f"Pool {pool} on balancer {self.address} has no member {name}; its members are: {known}.")
        if len(found) > 1:
            raise EverupError(f"Pool {pool} on balancer {self.address} has {len(found)} members {name}: {self.way_to_names}.")
        return found[0]

    def list_counters(self, pool: str) -> dict[str, Counters]:
        """Return by name what the balancer has counted of each member of a pool; only some products count by member."""
        raise EverupError(
            f"Balancer {self.address} does not tell how many requests each member of pool {pool} answered with errors: only "
            "HAProxy and Envoy do."
        )

    @abstractmethod
    def check_writable(self, pool: str) -> None:
        """Raise when this connection may look at a pool but not change it; change nothing."""

    def check_change(self, pool: str, name: str, state: str) -> None:
        """Raise when this connection may not bring a member to a state, or the balancer would not do what it means."""
        self.check_writable(pool)

    @abstractmethod
    def set_state(self, pool: str, name: str, state: str) -> None:
        """Set the administrative state; return once the balancer itself reports it."""
