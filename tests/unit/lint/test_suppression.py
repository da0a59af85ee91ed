# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a script waives: in its header for all of it, elsewhere for one statement; never without a reason, never for nothing."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import ScriptError
from ansible_collections.everup.deploy.plugins.module_utils._lint.lint import UNKNOWN, UNPARSABLE, UNUSED, lint_sql
from ansible_collections.everup.deploy.plugins.module_utils._lint.rule import Target

from .written import parser

WAIVED = "-- everup: allow=expand-drop-table nobody has used it for a year"


def found(text: str, engine: str = "postgresql") -> list[tuple[int, str]]:
    return [(finding.line, finding.rule) for finding in lint_sql(text, Target(engine), parser=parser(engine))]


def test_in_the_header_it_holds_for_the_whole_script() -> None:
    assert found("DROP TABLE a;\nDROP TABLE b;\n") == [(1, "expand-drop-table"), (2, "expand-drop-table")]
    assert found(f"{WAIVED}\nDROP TABLE a;\nDROP TABLE b;\n") == []


def test_below_a_statement_it_holds_for_the_next_one_alone() -> None:
    assert found(f"SELECT 1;\n{WAIVED}\nDROP TABLE a;\nDROP TABLE b;\n") == [(4, "expand-drop-table")]


def test_inside_a_statement_it_holds_for_that_one() -> None:
    text = f"SELECT 1;\nDROP TABLE\n  {WAIVED}\n  a;\nDROP TABLE b;\n"
    assert found(text) == [(5, "expand-drop-table")]


def test_behind_a_statement_on_its_last_line_it_holds_for_that_one() -> None:
    assert found(f"SELECT 1;\nDROP TABLE a; {WAIVED}\nDROP TABLE b;\n") == [(3, "expand-drop-table")]


def test_it_waives_its_own_rule_alone() -> None:
    text = "SELECT 1;\n-- everup: allow=expand-drop-column it is empty\nALTER TABLE t DROP COLUMN a, RENAME TO u;\n"
    assert found(text) == [(3, "expand-rename-table")]


def test_on_sql_server_it_holds_for_the_batch() -> None:
    text = f"SELECT 1\nGO\n{WAIVED}\nDROP TABLE a\nDROP TABLE b\nGO\nDROP TABLE c\n"
    assert found(text, "sqlserver") == [(7, "expand-drop-table")]


def test_one_that_waives_nothing_is_a_finding() -> None:
    assert found(f"{WAIVED}\nSELECT 1;\n") == [(1, UNUSED)]
    assert found(f"SELECT 1;\n{WAIVED}\nSELECT 2;\nDROP TABLE a;\n") == [(2, UNUSED), (4, "expand-drop-table")]
    assert found(f"DROP TABLE a;\n{WAIVED}\n") == [(1, "expand-drop-table"), (2, UNUSED)]
    assert found(f"DROP TABLE a;\n{WAIVED}\nSELECT 1;\n") == [(1, "expand-drop-table"), (2, UNUSED)]


def test_two_that_waive_the_same_are_both_used() -> None:
    assert found(f"{WAIVED}\nSELECT 1;\n{WAIVED}\nDROP TABLE a;\n") == []


def test_one_of_a_rule_that_does_not_exist_is_a_finding() -> None:
    text = "-- everup: allow=expand-drop-tabel it is empty\nDROP TABLE a;\n"
    assert found(text) == [(1, UNKNOWN), (2, "expand-drop-table")]


def test_what_cannot_be_parsed_can_be_waived_too() -> None:
    assert found("FROBNICATE a;\n") == [(1, UNPARSABLE)]
    assert found(f"-- everup: allow={UNPARSABLE} it is an extension's own statement\nFROBNICATE a;\n") == []


@pytest.mark.parametrize("waived", ["allow=expand-drop-table", "allow=expand-drop-table  ", "allow=", "allow"])
def test_without_a_reason_the_script_is_refused(waived: str) -> None:
    with pytest.raises(ScriptError, match=r"0002_script\.sql:1:1: (allow needs a rule and a reason|unknown directive)"):
        found(f"-- everup: {waived}\nDROP TABLE a;\n")


def test_in_a_text_it_is_none() -> None:
    assert found(f"INSERT INTO a VALUES ('{WAIVED}\n');\nDROP TABLE b;\n") == [(3, "expand-drop-table")]
