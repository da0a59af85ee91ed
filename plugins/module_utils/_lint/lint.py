# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks every rule about every fact, weighs what it says, and takes out what a script waives with a reason."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import asdict, dataclass, replace
from typing import Iterable, Iterator

from .._db.connection import engine_class
from .._db.script import Allowance, Script, parse_script
from .facts import Fact, ScriptFacts, Unread
from .parse import Parser, read_facts
from .rule import ERROR, EXPAND, NOTICE, REPEATABLE, RULES, WARNING, Context, Live, Rule, Target
from .rules.definitions import next_version  # which registers every rule of its package

UNPARSABLE, UNUSED, UNKNOWN = "unparsable", "unused-suppression", "unknown-suppression"
# A statement of these that nobody can read may do anything to the schema.
_SCHEMA_WORDS = ("ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE", "EXEC", "DO")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a script.

    Attributes:
        source: the script's name.
        line, column: where.
        rule: its stable name.
        severity: error, warning or notice.
        message: what is wrong, about this very statement.
        why: what happens otherwise.
        instead: how to do it instead, as SQL for the engine; may be empty.
    """

    source: str
    line: int
    column: int
    rule: str
    severity: str
    message: str
    why: str = ""
    instead: str = ""

    def as_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}: {self.severity}: {self.message} [{self.rule}]"


def lint_facts(script: ScriptFacts, context: Context) -> list[Finding]:
    """Return what is wrong with one script, in the order of its text; waived findings are left out.

    Parameters:
        script: its facts.
        context: of that script.
    """
    found = [*_asked(script, context), *(_unread(script, unread) for unread in script.unread)]
    return sorted(
        [*_left(script, found), *_idle(script, found)], key=lambda finding: (finding.line, finding.column, finding.rule)
    )


def _asked(script: ScriptFacts, context: Context) -> Iterator[Finding]:
    asked: dict[str, list[Rule]] = {}
    for rule in RULES.values():
        if context.target.engine in rule.engines and script.phase in rule.phases:
            for kind in rule.kinds:
                asked.setdefault(kind, []).append(rule)
    for fact in (Fact("script", 1, 1), *script.facts):
        for rule in asked.get(fact.kind, ()):
            message = rule.check(fact, context)
            if message:
                yield _finding(script, fact, rule, message, context)


def _finding(script: ScriptFacts, fact: Fact, rule: Rule, message: str, context: Context) -> Finding:
    is_harmless = rule.scales and context.is_small(fact.table)
    if is_harmless:
        message = f"{message} ({fact.table} has about {context.rows(fact.table)} rows)"
    instead = rule.instead.get(context.target.engine, "")
    said = {"table": fact.table, "name": fact.name, "to": fact.to, "type": fact.spec.type, "next": next_version(fact.name)}
    for name, value in said.items():
        instead = instead.replace(f"{{{name}}}", value or name)
    severity = NOTICE if is_harmless else rule.severity
    return Finding(script.source, fact.line, fact.column, rule.name, severity, message, rule.why, instead)


def _unread(script: ScriptFacts, unread: Unread) -> Finding:
    words = re.findall(r"[A-Za-z]{2,}", unread.text.partition("used up from here on: ")[2] or unread.text)
    is_schema = bool(words) and words[0].upper() in _SCHEMA_WORDS
    return Finding(
        script.source,
        unread.line,
        unread.column,
        UNPARSABLE,
        ERROR if is_schema else WARNING,
        f"this cannot be parsed, so that no rule has looked at it: {unread.text}",
        "What nobody can read may break the running version, block its users or lose data.",
        f"-- everup: allow={UNPARSABLE} <who has looked at it, and why it is safe>",
    )


def unreadable(source: str, line: int, column: int, what: str) -> Finding:
    """Return the finding for a script that cannot even be split into its statements, so that nothing in it can waive it."""
    why = "It cannot run either."
    return Finding(source, line, column, UNPARSABLE, ERROR, f"this script cannot be read: {what}", why)


def _left(script: ScriptFacts, found: list[Finding]) -> Iterator[Finding]:
    return (finding for finding in found if not any(_waives(script, allowance, finding) for allowance in script.allow))


def _waives(script: ScriptFacts, allowance: Allowance, finding: Finding) -> bool:
    """Return whether an allowance meets a finding: in front of the script all of that rule, elsewhere those of one statement.

    That is the statement which the comment stands in, or else the next one below it.
    """
    if allowance.rule != finding.rule:
        return False
    if not allowance.line:
        return True
    statement = bisect_left(script.ends, allowance.line)
    begin = script.ends[statement - 1] if statement else 0
    return statement < len(script.ends) and begin < finding.line <= script.ends[statement]


def _idle(script: ScriptFacts, found: list[Finding]) -> Iterator[Finding]:
    """Yield a finding for each allowance that waives nothing."""
    for allowance in script.allow:
        if allowance.rule not in RULES and allowance.rule != UNPARSABLE:
            message = f"there is no rule named {allowance.rule}; docs/rules.md lists them"
            yield Finding(script.source, allowance.line or 1, 1, UNKNOWN, WARNING, message, "It waives nothing.")
        elif not any(_waives(script, allowance, finding) for finding in found):
            message = f"allow={allowance.rule} waives nothing here: take it out"
            why = "A suppression that is left behind hides the next mistake."
            yield Finding(script.source, allowance.line or 1, 1, UNUSED, WARNING, message, why)


def lint_scripts(
    scripts: Iterable[ScriptFacts],
    target: Target,
    pending: set | None = None,
    live: Live | None = None,
    sources: dict | None = None,
    settings: dict | None = None,
) -> list[Finding]:
    """Return what is wrong with scripts that will run one after the other, script by script.

    Parameters:
        scripts: of every phase, in their order.
        pending: the names of those that have not run yet, which go out together; only they are judged. None when nobody knows:
            then each script is judged as if it went out alone, after those in front of it.
        target: the server they are for.
        live: its schema, where there is a connection.
        sources, settings: see Context.
    """
    scripts = list(scripts)
    by_phase: dict[str, list[ScriptFacts]] = {}
    for script in scripts:
        by_phase.setdefault(script.phase, []).append(script)
    expand = tuple(by_phase.get(EXPAND, ()))
    places = {id(script): place for siblings in by_phase.values() for place, script in enumerate(siblings)}
    found: list[Finding] = []
    for script in scripts:
        if pending is not None and script.source not in pending:
            continue
        siblings = by_phase[script.phase]
        in_front = siblings[: places[id(script)]]
        before = tuple(other for other in in_front if pending is not None and other.source in pending)
        ran = in_front if script.phase == EXPAND else expand
        context = Context(
            target,
            script,
            before=before,
            gone=tuple(other for other in ran if script.phase != EXPAND or pending is None or other.source not in pending),
            expand=expand,
            repeatable=tuple(by_phase.get(REPEATABLE, ())),
            live=live,
            sources=sources or {},
            settings=settings or {},
        )
        found += lint_facts(script, context)
    return found


def facts_of(script: Script, engine: str, phase: str, version: str, read: Parser | tuple) -> ScriptFacts:
    """Return everything that rules need to know of a script.

    Parameters:
        script: read and split.
        engine: one of DIALECTS.
        phase, version: see ScriptFacts.
        read: a parser for this engine, or the facts and the unread places that an earlier parse has left.
    """
    facts, unread = read_facts(script, engine, read) if isinstance(read, Parser) else read
    ends = tuple(sorted({statement.line + statement.text.strip().count("\n") for statement in script.statements}))
    return ScriptFacts(
        source=script.source,
        phase=phase,
        version=version,
        transaction=script.directives.transaction and engine_class(engine).transactional_ddl,
        idempotent=script.directives.idempotent,
        allow=script.directives.allow,
        ends=ends,
        facts=tuple(facts),
        unread=tuple(unread),
    )


def lint_sql(
    text: str,
    target: Target,
    phase: str = EXPAND,
    transaction: bool = True,
    before: str = "",
    past: str = "",
    live: Live | None = None,
    parser: Parser | None = None,
) -> list[Finding]:
    """Return what is wrong with a piece of SQL, as if it were one script.

    Parameters:
        text: the script.
        target: the server it is for.
        phase: which it stands in.
        transaction: false as with ``-- everup: transaction=none``.
        before: an earlier script of the phase, which goes out with it.
        past: an expand script that has run long ago.
        live: the live schema.
        parser: for the target's engine; one is made when there is none.

    Raises:
        ScriptError: the script cannot even be split.
    """
    parser = parser or Parser(target.engine)
    lexis = engine_class(target.engine).lexis
    scripts = []
    for name, sql, of_phase in (
        ("0000_past.sql", past, EXPAND),
        ("0001_before.sql", before, phase),
        ("0002_script.sql", text, phase),
    ):
        if sql:
            facts = facts_of(parse_script(sql, name, lexis), target.engine, of_phase, name[:4], parser)
            scripts.append(facts if transaction else replace(facts, transaction=False))
    pending = {script.source for script in scripts if script.source != "0000_past.sql"}
    return [finding for finding in lint_scripts(scripts, target, pending, live) if finding.source == "0002_script.sql"]
