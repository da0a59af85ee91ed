# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What findings look like for people, GitHub, and readers of SARIF and JSON."""

from __future__ import annotations

import json

import jsonschema
import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lint.lint import Finding
from ansible_collections.everup.deploy.plugins.module_utils._lint.report import (
    FORMATS,
    as_github,
    as_json,
    as_sarif,
    as_text,
    summary,
)

ERROR = Finding(
    "expand/0007_a, b.sql", 3, 5, "expand-drop-table", "error", "100% gone: a\nb\r, c", "Because.", "-- one\nDROP TABLE a;"
)
NOTICE = Finding("expand/0008.sql", 1, 1, "of-nobody", "notice", "well")
WARNING = Finding("expand/0008.sql", 2, 1, "expand-drop-table", "warning", "hm")
# What SARIF 2.1.0 demands of a log with results, in its own words (sarif-schema-2.1.0.json, section 3 of the specification).
SARIF = {
    "type": "object",
    "required": ["version", "runs", "$schema"],
    "properties": {
        "version": {"enum": ["2.1.0"]},
        "$schema": {"type": "string", "format": "uri"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "properties": {
                                                "shortDescription": {"$ref": "#/definitions/message"},
                                                "fullDescription": {"$ref": "#/definitions/message"},
                                                "helpUri": {"type": "string", "pattern": "^https://"},
                                            },
                                        },
                                    }
                                },
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message", "ruleId", "ruleIndex", "level", "locations"],
                            "properties": {
                                "message": {"$ref": "#/definitions/message"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "locations": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": {
                                        "required": ["physicalLocation"],
                                        "properties": {
                                            "physicalLocation": {
                                                "required": ["artifactLocation", "region"],
                                                "properties": {
                                                    "artifactLocation": {"required": ["uri"]},
                                                    "region": {
                                                        "required": ["startLine", "startColumn"],
                                                        "properties": {
                                                            "startLine": {"type": "integer", "minimum": 1},
                                                            "startColumn": {"type": "integer", "minimum": 1},
                                                        },
                                                    },
                                                },
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
    "definitions": {
        "message": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
    },
}


@pytest.mark.parametrize("findings", [[], [ERROR, NOTICE, WARNING]], ids=["none", "three"])
def test_sarif_is_what_its_schema_demands(findings: list) -> None:
    log = json.loads(as_sarif(findings, "migrations/"))
    jsonschema.validate(log, SARIF)
    (run,) = log["runs"]
    assert len(run["results"]) == len(findings)
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_sarif_names_place_rule_and_way_on() -> None:
    (run,) = json.loads(as_sarif([ERROR, NOTICE], "migrations/"))["runs"]
    error, notice = run["results"]
    place = error["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "migrations/expand/0007_a,%20b.sql"
    assert place["region"] == {"startLine": 3, "startColumn": 5}
    assert (error["level"], notice["level"]) == ("error", "note")
    assert error["message"]["text"].endswith("\n\nInstead:\n-- one\nDROP TABLE a;")
    assert run["tool"]["driver"]["rules"][0]["helpUri"].endswith("docs/rules.md#expand-drop-table")


def test_github_commands_are_one_line_each_and_escaped() -> None:
    assert as_github([ERROR, WARNING, NOTICE], "m:%/") == (
        "::error file=m%3A%25/expand/0007_a%2C b.sql,line=3,col=5,title=expand-drop-table::100%25 gone: a%0Ab%0D, c\n"
        "::warning file=m%3A%25/expand/0008.sql,line=2,col=1,title=expand-drop-table::hm\n"
        "::notice file=m%3A%25/expand/0008.sql,line=1,col=1,title=of-nobody::well\n"
    )


def test_text_says_where_what_why_and_what_instead() -> None:
    assert as_text([ERROR, NOTICE], "migrations/") == (
        "migrations/expand/0007_a, b.sql:3:5: error: 100% gone: a\nb\r, c [expand-drop-table]\n"
        "    why: Because.\n"
        "    instead: -- one\n"
        "             DROP TABLE a;\n"
        "migrations/expand/0008.sql:1:1: notice: well [of-nobody]\n"
        "1 error, 1 notice\n"
    )
    assert as_text([]) == "nothing found\n"


def test_json_holds_every_field() -> None:
    (error,) = json.loads(as_json([ERROR], "migrations/"))
    assert error == {**ERROR.as_dict(), "source": "migrations/expand/0007_a, b.sql"}
    assert json.loads(as_json([])) == []


def test_the_summary_counts_the_worst_first() -> None:
    assert summary([NOTICE, WARNING, WARNING, ERROR]) == "1 error, 2 warnings, 1 notice"
    assert summary([]) == "nothing found"


def test_every_format_takes_no_findings_and_any_root() -> None:
    assert set(FORMATS) == {"text", "github", "sarif", "json"}
    for write in FORMATS.values():
        write([], "")
