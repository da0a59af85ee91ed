# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes findings down for those who read them: people, GitHub, and whatever reads SARIF."""

from __future__ import annotations

import json
from urllib.parse import quote

from .lint import Finding
from .rule import ERROR, NOTICE, RULES, SEVERITIES, WARNING

_GITHUB = {ERROR: "error", WARNING: "warning", NOTICE: "notice"}
_SARIF = {ERROR: "error", WARNING: "warning", NOTICE: "note"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_HOME = "https://github.com/everup/deploy/blob/main/docs/rules.md"


def summary(findings: list[Finding]) -> str:
    """Return how many of which severity there are, as ``1 error, 2 warnings``; ``nothing found`` for none."""
    counts = [(severity, sum(finding.severity == severity for finding in findings)) for severity in reversed(SEVERITIES)]
    return ", ".join(f"{count} {severity}{'s' if count != 1 else ''}" for severity, count in counts if count) or "nothing found"


def as_text(findings: list[Finding], root: str = "") -> str:
    """Return findings for a person: place and sentence, then why and what to do instead, indented.

    Parameters:
        root: is put in front of each file's name.
    """
    lines = []
    for finding in findings:
        lines.append(f"{root}{finding}")
        lines += [f"    why: {finding.why.strip()}"] if finding.why else []
        instead = finding.instead.split("\n") if finding.instead else []
        lines += [f"    {' ' * 8 if number else 'instead:'} {line}" for number, line in enumerate(instead)]
    return "\n".join([*lines, summary(findings)]) + "\n"


def as_github(findings: list[Finding], root: str = "") -> str:
    """Return findings as GitHub's workflow commands, which show them at their lines in a pull request."""
    lines = [
        f"::{_GITHUB[finding.severity]} file={_property(root + finding.source)},line={finding.line},col={finding.column},"
        f"title={_property(finding.rule)}::{_data(finding.message)}"
        for finding in findings
    ]
    return "".join(f"{line}\n" for line in lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_sarif(findings: list[Finding], root: str = "") -> str:
    """Return findings as a log of the Static Analysis Results Interchange Format 2.1.0."""
    names = sorted({finding.rule for finding in findings})
    rules = [
        {
            "id": name,
            "shortDescription": {"text": name.replace("-", " ")},
            "fullDescription": {"text": RULES[name].why if name in RULES else name},
            "helpUri": f"{_HOME}#{name}",
        }
        for name in names
    ]
    results = [
        {
            "ruleId": finding.rule,
            "ruleIndex": names.index(finding.rule),
            "level": _SARIF[finding.severity],
            "message": {"text": finding.message + (f"\n\nInstead:\n{finding.instead}" if finding.instead else "")},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(root + finding.source, safe="/,;:@!$&'()*+=~")},
                        "region": {"startLine": finding.line, "startColumn": finding.column},
                    }
                }
            ],
        }
        for finding in findings
    ]
    driver = {"name": "everup.deploy migration_lint", "informationUri": _HOME, "rules": rules}
    runs = [{"tool": {"driver": driver}, "results": results}]
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}, indent=2) + "\n"


def as_json(findings: list[Finding], root: str = "") -> str:
    """Return findings as a JSON list."""
    return json.dumps([{**finding.as_dict(), "source": root + finding.source} for finding in findings], indent=2) + "\n"


FORMATS = {"text": as_text, "github": as_github, "sarif": as_sarif, "json": as_json}
