# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every rule against the statements of corpus/: what must fire does, and its near misses stay silent."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml
from ansible_collections.everup.deploy.plugins.module_utils._lint import rules as _registered  # noqa: F401
from ansible_collections.everup.deploy.plugins.module_utils._lint.lint import UNPARSABLE, lint_sql
from ansible_collections.everup.deploy.plugins.module_utils._lint.parse import Parser
from ansible_collections.everup.deploy.plugins.module_utils._lint.peers import LEFT_OUT, covered_by, peers
from ansible_collections.everup.deploy.plugins.module_utils._lint.rule import RULES, SEVERITIES, Live, Target

CORPUS = Path(__file__).parent / "corpus"
# Families with tests of their own: those of the phases compare scripts with each other.
_LIVE = ("rows", "columns", "constraints", "modules")
_KNOWN = {"sql", "phase", "version", "edition", "transaction", "before", "past", "severity", *_LIVE}


@cache
def _entries() -> list[dict]:
    """Return the entries of every file, one for each engine that they are for."""
    written = [entry for path in sorted(CORPUS.glob("*.yml")) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))]
    engines = [entry["engine"] if isinstance(entry["engine"], list) else [entry["engine"]] for entry in written]
    return [{**entry, "engine": engine} for entry, several in zip(written, engines) for engine in several]


def _cases(outcome: str) -> list:
    cases = []
    for entry in _entries():
        name = entry.get("rule") or entry["peer"]
        if name in LEFT_OUT:
            continue  # these are there for the benchmark, which counts them apart
        for number, case in enumerate(entry.get(outcome, []), 1):
            case = {"sql": case} if isinstance(case, str) else case
            cases.append(pytest.param(entry, case, id=f"{name}-{entry['engine']}-{outcome}-{number}"))
    return cases


@cache
def _parser(engine: str) -> Parser:
    return Parser(engine)


def _found(entry: dict, case: dict) -> list:
    unknown = set(case) - _KNOWN
    assert not unknown, f"a case has no {unknown}"
    version = tuple(int(part) for part in str(case.get("version", "")).split(".") if part)
    target = Target(entry["engine"], version, case.get("edition", ""))
    live = None
    if set(_LIVE) & set(case):
        live = Live(**{name: case.get(name, {}) for name in _LIVE})
    found = lint_sql(
        case["sql"],
        target,
        phase=case.get("phase", "expand"),
        transaction=case.get("transaction", True),
        before=case.get("before", ""),
        past=case.get("past", ""),
        live=live,
        parser=_parser(entry["engine"]),
    )
    unread = [finding.message for finding in found if finding.rule == UNPARSABLE]
    assert not unread, f"a case must be read, or its silence says nothing: {unread}"
    return found


def _asked(entry: dict) -> set[str]:
    """Return the rules that an entry is about: its own, or all that cover the peer's."""
    if "rule" in entry:
        return {entry["rule"]}
    return set(covered_by(entry["peer"]))


@pytest.mark.parametrize(("entry", "case"), _cases("fires"))
def test_it_fires(entry: dict, case: dict) -> None:
    asked = _asked(entry)
    found = _found(entry, case)
    hits = [finding for finding in found if finding.rule in asked]
    assert hits, f"silent about: {case['sql']} (found: {[finding.rule for finding in found]})"
    if "severity" in case:
        assert hits[0].severity == case["severity"], hits[0]


@pytest.mark.parametrize(("entry", "case"), _cases("silent"))
def test_it_stays_silent(entry: dict, case: dict) -> None:
    asked = _asked(entry)
    hits = [str(finding) for finding in _found(entry, case) if finding.rule in asked]
    assert not hits, f"a false alarm about: {case['sql']}"


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_a_rule_is_tried_on_each_of_its_engines(rule) -> None:
    for engine in rule.engines:
        entries = [entry for entry in _entries() if entry.get("rule") == rule.name and entry["engine"] == engine]
        for outcome in ("fires", "silent"):
            cases = sum(len(entry.get(outcome, [])) for entry in entries)
            assert cases >= 2, f"{rule.name} on {engine}: {cases} cases where it {outcome}"


def test_every_entry_is_about_a_rule_or_a_peer() -> None:
    assert {entry["rule"] for entry in _entries() if "rule" in entry} <= set(RULES)
    assert {entry["peer"] for entry in _entries() if "peer" in entry} <= set(peers())


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_a_rule_says_how_to_do_it_instead_on_each_of_its_engines(rule) -> None:
    assert set(rule.engines) <= set(rule.instead)
    assert rule.severity in SEVERITIES
    assert len(rule.why) > 40
