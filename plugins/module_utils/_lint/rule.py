# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a rule is, what it may look at, and how one is registered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable

from .facts import Column, Fact, ScriptFacts, same_name

ERROR, WARNING, NOTICE = "error", "warning", "notice"
SEVERITIES = (NOTICE, WARNING, ERROR)

POSTGRESQL, SQLSERVER, MYSQL, MARIADB, SQLITE = "postgresql", "sqlserver", "mysql", "mariadb", "sqlite"
MYSQLS = (MYSQL, MARIADB)
SERVERS = (POSTGRESQL, SQLSERVER, *MYSQLS)
ENGINES = (*SERVERS, SQLITE)

EXPAND, CONTRACT, REPEATABLE = "expand", "contract", "repeatable"
PHASES = (EXPAND, CONTRACT, REPEATABLE)

# Below this many rows a scan or a rewrite is over before anybody waits for it.
SMALL_TABLE_ROWS = 10_000


@dataclass(frozen=True)
class Target:
    """The server that the scripts are for.

    Attributes:
        engine: one of ENGINES.
        version: as numbers, ``(15, 4)``; SQL Server's as of @@VERSION's product version, ``(16, 0)`` for 2022. Empty when nobody
            said: rules then assume the oldest version that the engine's maker supports.
        edition: of SQL Server: enterprise (also Developer and Evaluation), azure (SQL Database, Managed Instance), standard,
            web, express; empty when nobody said, which rules take for standard, the more careful one.
    """

    engine: str
    version: tuple = ()
    edition: str = ""

    def at_least(self, *version: int) -> bool:
        """Return whether the server is of this version or a later one; of an unknown version nothing is promised."""
        return bool(self.version) and self.version >= version

    def before(self, *version: int) -> bool:
        """Return whether the server is known to be older than this version."""
        return bool(self.version) and self.version < version

    @property
    def is_enterprise(self) -> bool:
        """Whether SQL Server does online work: Enterprise and its siblings, and Azure."""
        return self.edition in ("enterprise", "azure")


@dataclass(frozen=True)
class Live:
    """What a live connection told of the schema; every name in lower case.

    Attributes:
        rows: estimated row count by ``schema.table`` and by ``table`` alone.
        columns: per table, ``{column: {type, nullable, default}}``, in their order.
        constraints: per table, ``{constraint: {type, expression, valid}}``.
        modules: the text of each view, procedure, function and trigger by ``schema.name``.
        definitions: the facts of those modules that a script is about to define anew, likewise.
    """

    rows: dict = field(default_factory=dict)
    columns: dict = field(default_factory=dict)
    constraints: dict = field(default_factory=dict)
    modules: dict = field(default_factory=dict)
    definitions: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a rule may look at beside the fact.

    Attributes:
        target: the server.
        script: the script that the fact stands in.
        before: the scripts of the same phase in front of it, in order, as far as they are still to run.
        gone: the expand scripts that have run before this one, in order.
        expand: every expand script of the folder, in order; repeatable: every repeatable script.
        live: the live schema, when there is a connection.
        sources: text of the application by file name, where it is configured.
        settings: long_tables (names that are large although nobody can count), timeouts (the runner sets lock time-outs) ...
    """

    target: Target
    script: ScriptFacts
    before: tuple = ()
    gone: tuple = ()
    expand: tuple = ()
    repeatable: tuple = ()
    live: Live | None = None
    sources: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)

    @property
    def phase(self) -> str:
        return self.script.phase

    def earlier(self, fact: Fact) -> list[Fact]:
        """Return the facts in front of one, in its script and in those before it."""
        here = [other for other in self.script.facts if (other.line, other.column) < (fact.line, fact.column)]
        return [*(other for script in self.before for other in script.facts), *here]

    def later(self, fact: Fact) -> list[Fact]:
        """Return the facts behind one in its script."""
        return [other for other in self.script.facts if (other.line, other.column) > (fact.line, fact.column)]

    def is_made(self, fact: Fact, *kinds: str) -> bool:
        """Return whether scripts that are still to run make a fact's object in front of it, so that nobody uses it yet.

        Parameters:
            kinds: of facts that make it, such as create_view.
        """
        return any(
            other.kind in kinds and same_name(other.name, fact.name) and not other.has("or_replace", "if_not_exists")
            for other in self.earlier(fact)
        )

    def is_new(self, table: str, fact: Fact | None = None) -> bool:
        """Return whether a table is made by these scripts, before the fact where one is given, so that nobody uses it yet."""
        if not table or table.startswith(("#", "@")):
            return bool(table)
        everything = [other for script in (*self.before, self.script) for other in script.facts]
        facts = self.earlier(fact) if fact else everything
        made = [other for other in facts if other.kind in ("create_table", "drop_table", "rename_table", "select")]
        for other in reversed(made):
            if other.kind == "create_table" or (other.kind == "select" and other.has("into")):
                if same_name(other.table, table) and not (other.has("if_not_exists") and not self._is_initial(other)):
                    return True
            elif other.kind == "rename_table" and same_name(other.to, table):
                return self.is_new(other.table, other)
            elif other.kind == "drop_table" and same_name(other.table, table):
                return False
        return False

    def _is_initial(self, fact: Fact) -> bool:
        """Return whether CREATE TABLE IF NOT EXISTS surely makes the table: the live schema does not have it."""
        return self.live is None or self.rows(fact.table) is None

    def rows(self, table: str) -> int | None:
        """Return the estimated number of rows of a table, None when it is not known or does not exist."""
        if self.live is None:
            return None
        return next((count for name, count in self.live.rows.items() if same_name(name, table)), None)

    def is_small(self, table: str) -> bool:
        """Return whether a table is known to be so small that reading or rewriting all of it is nothing."""
        rows = self.rows(table)
        return rows is not None and rows < SMALL_TABLE_ROWS

    def live_column(self, table: str, column: str) -> dict | None:
        """Return what the live schema says of a column, None when nothing is known of it."""
        for name, columns in (self.live.columns if self.live else {}).items():
            if same_name(name, table):
                return columns.get(column.lower())
        return None

    def past(self, fact: Fact) -> list[Fact]:
        """Return what is in front of a fact, and what expand scripts did that have run already."""
        return [other for script in self.gone for other in script.facts] + self.earlier(fact)

    def column_before(self, table: str, name: str, fact: Fact) -> Column | None:
        """Return a column as it is before a fact, as far as scripts or the live schema tell; None when nobody knows."""
        for other in reversed(self.past(fact)):
            if other.kind in ("create_table", "add_column", "alter_column") and same_name(other.table, table):
                found = next((column for column in other.columns if column.name.lower() == name.lower()), None)
                if found and (found.type or other.kind != "alter_column"):
                    return found
        live = self.live_column(table, name)
        if live is None:
            return None
        flags = (() if live.get("nullable", True) else ("not_null",)) + (("default",) if live.get("default") else ())
        return Column(name, str(live.get("type", "")).upper(), flags, str(live.get("default") or ""))

    def is_new_column(self, table: str, name: str, fact: Fact) -> bool:
        """Return whether scripts that are still to run add a column in front of a fact, so that the old version ignores it."""
        return self.is_new(table, fact) or any(
            other.kind == "add_column" and same_name(other.table, table) and other.name.lower() == name.lower()
            for other in self.earlier(fact)
        )

    def definition_before(self, fact: Fact) -> Fact | None:
        """Return the definition of a view or routine that a fact replaces, as far as scripts or the live schema tell."""
        base = fact.kind.partition("_")[2]
        for other in reversed(self.past(fact)):
            if other.kind in (f"create_{base}", f"alter_{base}") and same_name(other.name, fact.name):
                return other
        found = (self.live.definitions if self.live else {}).items()
        return next((other for name, other in found if same_name(name, fact.name)), None)

    @property
    def in_transaction(self) -> bool:
        """Whether the script runs in a transaction of the runner."""
        return self.script.transaction


Check = Callable[[Fact, Context], "str | None"]


@dataclass(frozen=True)
class Rule:
    """One thing that must not, or should not, stand in a script.

    Attributes:
        name: stable, as suppressions write it.
        severity: error stops a release, warning and notice do not.
        engines, phases: where it applies.
        kinds: the kinds of facts it is asked about; ``script`` for once a script, with a fact of that kind at its first line.
        why: what happens to users or data otherwise: which lock, how long, which version.
        instead: how to do it instead, as SQL, by engine. ``{table}``, ``{name}``, ``{to}`` and ``{type}`` are the fact's,
            ``{next}`` is the name with its version number raised.
        check: returns what is wrong, one sentence about this very statement, or None.
        scales: the harm grows with the table: on one that is known to be small an error or warning becomes a notice.
        peers: the rules of other linters that it covers, as ``squawk:name``, ``strong_migrations:name``, ``atlas:code``.
    """

    name: str
    severity: str
    engines: tuple
    phases: tuple
    kinds: tuple
    why: str
    instead: dict
    check: Check
    scales: bool = False
    peers: tuple = ()

    @property
    def family(self) -> str:
        """The file it stands in."""
        return self.check.__module__.rpartition(".")[2]


RULES: dict[str, Rule] = {}


def rule(
    name: str,
    severity: str,
    *,
    kinds: tuple,
    why: str,
    instead: dict,
    engines: tuple = ENGINES,
    phases: tuple = PHASES,
    scales: bool = False,
    peers: tuple = (),
) -> Callable[[Check], Check]:
    """Register the decorated function as the check of a rule; see Rule for the parameters.

    Raises:
        ValueError: the name is taken.
    """

    def register(check: Check) -> Check:
        if name in RULES:
            raise ValueError(f"there are two rules named {name}")
        RULES[name] = Rule(name, severity, engines, phases, kinds, why, instead, check, scales, peers)
        return check

    return register
