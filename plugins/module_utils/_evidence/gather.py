# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gathers from database, ledger and migrations folder what the gates of a contract look at; changes nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable

from .._db.engines.base import Engine
from .._db.witnesses.base import Object, skeleton
from .._db.witnesses.select import witness_of
from .._errors import EverupError
from .._lint.cache import default_folder
from .._lint.facts import ScriptFacts
from .._lint.folder import Reader
from .._lint.parse import ParserMissing
from .._lint.rule import CONTRACT
from .._migrations.assertions import read_assertions, run_assertions
from .._migrations.backfill_facts import contract_gate
from .._migrations.batch_sql import verify_sql
from .._migrations.files import Migration
from .._migrations.migrate import Project
from .._release.evidence import Facts, Policy, Session
from .._release.judge import required_gates
from .._release.store import Store
from .dropped import dropped_objects, unread_places
from .references import hidden_modules, still_referring
from .snapshots import read_snapshots, readings_of

# A program that connects for each request is not there at every moment.
_LOOKS, _BETWEEN_LOOKS_SECONDS = 3, 0.3
_EVENTS = 100_000


class Gatherer:
    """What one connection and one migrations folder tell of a release.

    Parameters:
        db: the engine.
        params: module parameters with CONNECTION_SPEC, LEDGER_SPEC, MIGRATIONS_SPEC, ``cache``, ``tests_folder``,
            ``statement_timeout`` and ``target``.
    """

    def __init__(self, db: Engine, params: dict) -> None:
        self.db, self.params = db, params
        self.project = Project(db, params)
        self.witness = witness_of(db)
        self.pending: tuple[Migration, ...] = self.project.phases["contract"].plan().pending
        self._scripts: list[ScriptFacts] | None = None

    def scripts(self) -> list[ScriptFacts]:
        """Return the facts of the contract scripts that would run.

        Raises:
            EverupError: they have to be parsed, and sqlfluff is not installed.
        """
        if self._scripts is None:
            cache = Path(self.params["cache"]) if self.params["cache"] else default_folder()
            try:
                reader = Reader(self.db.name, cache)
                self._scripts = reader.read_all([(m.script, CONTRACT, str(m.version)) for m in self.pending])
            except ParserMissing as error:
                raise EverupError(
                    f"sqlfluff is needed on this host to read the scripts: pip install sqlfluff ({error})"
                ) from None
        return self._scripts

    def objects(self) -> list[Object]:
        """Return what the contract scripts that would run take away."""
        return dropped_objects(self.scripts())

    def own_statements(self) -> set[str]:
        """Return the skeletons of what a deploy itself asks of the application's tables."""
        db, params = self.db, self.params
        definitions = [backfill.definition.filled() for backfill in self.project.backfills]
        texts = [verify_sql(definition, db.table_of_user(definition.table)) for definition in definitions]
        for one in read_assertions(params["path"], params["tests_folder"], db, params["placeholders"]):
            texts += [statement.text for statement in one.script.statements]
        return {skeleton(text) for text in texts}

    def facts(self, version: str, policy: Policy, said: dict) -> Facts:
        """Return the facts of those gates that have to be open.

        Parameters:
            said: what hosts and balancers said, as fields of Facts.

        Raises:
            EverupError: there is no such release, or the migrations folder cannot be read.
        """
        store = Store(self.project.ledger)
        store.check_ledger()
        release = store.find(version)
        facts = {
            **said,
            "release": release,
            "members": store.members(release["id"]),
            "events": tuple(store.events(release["id"], _EVENTS)),
            "engine": self.db.name,
            "own_program": self.params["application_name"],
            "plan_hash": self.project.phases["contract"].plan().hash,
            "snapshots": tuple(read_snapshots(self.project.ledger)),
        }
        facts["now"], facts["controller_now"] = store.now(), time.time()
        facts.update(self._drops())
        wanted = required_gates(Facts(**facts), policy)
        problems: dict[str, str] = {}

        def gather(gate: str, ask: Callable[[], dict]) -> None:
            if gate not in wanted:
                return
            try:
                facts.update(ask())
            except EverupError as error:
                problems[gate] = " ".join(str(error).split())

        gather("sessions", lambda: {"sessions": self._sessions()})
        gather("references", self._references)
        gather("usage", self._usage)
        gather("backfills", lambda: {"backfills": self._backfills()})
        gather("assertions", lambda: {"assertions": self._assertions()})
        return Facts(**facts, problems=problems)

    def _sessions(self) -> tuple | None:
        """Return the sessions of several looks, each once."""
        if not self.witness.has_sessions:
            return None
        found: dict = {}
        for look in range(_LOOKS):
            if look:
                time.sleep(_BETWEEN_LOOKS_SECONDS)
            for row in self.witness.sessions():
                session = Session(
                    str(row["session"]), row["program"] or "", row["login"] or "", row["host"] or "", row["since"] or ""
                )
                found[(session.session, session.program)] = session
        return tuple(found.values())

    def _drops(self) -> dict:
        """Return what the scripts take away; the gates that need it say why it cannot be known."""
        try:
            return {"drops": tuple(map(str, self.objects())), "unread": tuple(unread_places(self.scripts()))}
        except EverupError as error:
            return {"unread": (" ".join(str(error).split()),)}

    def _references(self) -> dict:
        scripts, objects = self.scripts(), self.objects()
        if not objects:
            return {}
        modules, home = self.witness.modules(), self.witness.home()
        return {
            "references": tuple(still_referring(objects, self.witness.edges(), modules, scripts, home)),
            "hidden": tuple(hidden_modules(modules, scripts, home)),
        }

    def _usage(self) -> dict:
        objects = self.objects()
        if not self.witness.has_counters:
            return {"readings": None}
        now = self.db.query(f"SELECT {self.db.now()} AS now")[0]["now"]
        return {"readings": tuple(readings_of(self.witness.counts(objects, self.own_statements()), now))}

    def _backfills(self) -> tuple:
        findings = contract_gate(self.project.ledger, self.project.backfills, self.pending)
        versions = {migration.version for migration in self.pending}
        return sum(backfill.version in versions for backfill in self.project.backfills), tuple(findings)

    def _assertions(self) -> tuple:
        """Return how many passed, and which did not.

        What the rows hold is of no use to the gate, and must not get into the ledger. Suites in the database change it, and are
        not for here.
        """
        try:
            found = run_assertions({**self.params, "suites": False, "junit": ""}, check_mode=True)
        except EverupError as error:
            found = error.details
            if "results" not in found:
                raise
        failed = tuple(f"{one['name']}: {one['failure'].partition(': ')[0]}" for one in found["results"] if one["failure"])
        return found["passed"], failed
