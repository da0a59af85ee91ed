# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is looked at before a contract, what must be known, and what the answer to one question is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .gates import DEFAULT_GATES


@dataclass(frozen=True)
class Gate:
    """One question and its answer.

    Attributes:
        name: of GATES.
        is_open: the answer; None where it is not known, which does not open it.
        proof: what the answer rests on.
        way_on: what opens a gate that is not open.
        applies: the question can be asked here; else it stands open, and the proof says why.
        override: why somebody passes it although it is not open.
    """

    name: str
    is_open: bool | None
    proof: str
    way_on: str = ""
    applies: bool = True
    override: str = ""

    @property
    def passes(self) -> bool:
        """Whether it does not stand in the way."""
        return bool(self.is_open or self.override)

    @property
    def state(self) -> str:
        """The answer in a word."""
        if not self.applies:
            return "not applicable"
        answer = {True: "yes", False: "no", None: "not known"}[self.is_open]
        return f"{answer}, overridden" if self.override and not self.is_open else answer

    def __str__(self) -> str:
        line = f"{self.name:<10}  {self.state:<14}  {self.proof}"
        if self.override and not self.is_open:
            return f"{line} | overridden: {self.override}"
        return line if self.passes or not self.way_on else f"{line} | {self.way_on}"

    def as_dict(self) -> dict:
        return {
            "name": self.name,
            "state": self.state,
            "passes": self.passes,
            "proof": self.proof,
            "way_on": "" if self.passes else self.way_on,
            "override": self.override if not self.is_open else "",
        }


@dataclass(frozen=True)
class HostAnswer:
    """What a host said when it was asked.

    Attributes:
        version: what it says that it runs; empty where only its health check named the version.
        why: why it did not say that it runs the release, empty when it did.
        run: the run in which it was asked.
    """

    host: str
    version: str = ""
    why: str = ""
    run: str = ""


@dataclass(frozen=True)
class PoolAnswer:
    """What the balancers of a pool say of its members.

    Attributes:
        known: the names that the inventory's hosts have there.
        seen: the members that each balancer told, by balancer.
        mute: a sentence for each balancer that told nothing.
        lists: the balancers can list members that nobody named to them.
        run: the run in which they were asked.
    """

    pool: str
    known: tuple = ()
    seen: Mapping = field(default_factory=dict)
    mute: tuple = ()
    lists: bool = True
    run: str = ""


@dataclass(frozen=True)
class Session:
    """A session that is connected to the database.

    Attributes:
        session: its number.
        program: the name that it gave itself, empty where it gave none or the server keeps none.
        since: when it connected, where the server tells.
    """

    session: str
    program: str = ""
    user: str = ""
    host: str = ""
    since: str = ""

    def __str__(self) -> str:
        parts = [f"session {self.session}", f"'{self.program}'" if self.program else "without a program name"]
        parts += [f"user {self.user}"] if self.user else []
        parts += [f"from {self.host}"] if self.host else []
        parts += [f"since {self.since}"] if self.since else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Policy:
    """What must be known before a contract.

    Attributes:
        gates: those that must be open; ``window``, ``approval`` and ``usage`` join them where there is something to judge.
        override: by gate, why it may be passed.
        run: the run whose answers count.
        soak: how long the release must have served, in seconds and as it was written.
        known_members: members of pools that are no host of the inventory and need not be.
        session_pattern: how a session's name tells the version, with a group ``version``; empty for names that end with it.
        session_ignore: patterns of program names, or of ``user@host``, of sessions that are not the application's.
        usage_history: for how long nobody may have used an object, in seconds.
        windows, timezone: when a contract may run.
        approvals: how many people must have approved.
        clock_tolerance: by how many seconds the clocks may move apart.
    """

    gates: tuple = DEFAULT_GATES
    override: Mapping = field(default_factory=dict)
    run: str = ""
    soak: tuple = (0.0, "0s")
    known_members: tuple = ()
    session_pattern: str = ""
    session_ignore: tuple = ()
    usage_history: tuple = (604800.0, "168h")
    windows: tuple = ()
    timezone: str = "UTC"
    approvals: int = 0
    clock_tolerance: float = 300.0


@dataclass(frozen=True)
class Facts:
    """Everything that the gates look at.

    Attributes:
        release: the ledger's row.
        members: the ledger's rows of the release's hosts, by host.
        events: of the release, oldest first, with id, at, what, subject and detail.
        now: the database's clock.
        controller_now: the controller's, in seconds since the epoch; None where nobody asked it.
        wanted: every host that the inventory has in the web groups.
        hosts, pools: what they said.
        sessions: of others; None where the engine has none.
        engine: its name for sentences.
        own_program: what our own sessions call themselves.
        drops: the objects that the contract scripts drop, such as ``column orders.client_id``.
        unread: where a script could not be read.
        references: a sentence for each thing that still refers to an object.
        hidden: modules whose text this user may not see.
        readings: of the objects' counters, now; None where the engine keeps none.
        snapshots: of the same, as the ledger has them, in the order in which they were taken.
        backfills: how many backfills of the contract scripts are finished without rows left; findings where one is not.
        assertions: how many assertions passed; what failed.
        plan_hash: of the contract scripts that would run.
        problems: by gate, why its facts could not be had.
    """

    release: Mapping
    members: Mapping = field(default_factory=dict)
    events: tuple = ()
    now: str = ""
    controller_now: float | None = None
    wanted: tuple = ()
    hosts: tuple = ()
    pools: tuple = ()
    sessions: tuple | None = ()
    engine: str = "the database"
    own_program: str = "everup.deploy"
    drops: tuple = ()
    unread: tuple = ()
    references: tuple = ()
    hidden: tuple = ()
    readings: tuple | None = ()
    snapshots: tuple = ()
    backfills: tuple = (0, ())
    assertions: tuple = (0, ())
    plan_hash: str = ""
    problems: Mapping = field(default_factory=dict)

    @property
    def version(self) -> str:
        return self.release["version"]
