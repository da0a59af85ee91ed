# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole scripts of SQL Server, as products on .NET bring them: every fact of them and its place."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lint.lint import UNPARSABLE, lint_sql
from ansible_collections.everup.deploy.plugins.module_utils._lint.rule import Target

from .written import described, parser

FILES = sorted((Path(__file__).parent / "files").glob("*.sql"))
# What a fact's place must show: the first word of the statement, or of the clause.
BEGINS = {
    "add_column": r"(ADD|\[|\w)",
    "add_constraint": r"(WITH (NO)?CHECK )?(ADD|CONSTRAINT)",
    "alter_column": "ALTER COLUMN",
    "checkident": "DBCC",
    "create_index": "CREATE (UNIQUE |NONCLUSTERED |CLUSTERED )?(COLUMNSTORE )?INDEX",
    "create_routine": "CREATE",
    "create_table": "CREATE TABLE",
    "create_trigger": "CREATE TRIGGER",
    "create_view": "CREATE VIEW",
    "delete": "DELETE",
    "drop_column": r"(DROP|COLUMN|\[?Old)",
    "drop_constraint": "DROP",
    "drop_index": "DROP INDEX",
    "drop_other": "DROP",
    "drop_routine": "DROP PROCEDURE",
    "drop_table": "DROP TABLE",
    "drop_view": "DROP VIEW",
    "dynamic": "EXEC",
    "insert": "INSERT",
    "merge": "MERGE",
    "rename_column": "EXEC sp_rename",
    "select": "SELECT",
    "truncate": "TRUNCATE",
    "update": "UPDATE",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_fact_of_a_script(path: Path) -> None:
    assert described(path) == path.with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_fact_stands_where_its_words_are(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")
    for described_fact in path.with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        line, column, kind = re.match(r"(\d+):(\d+) (\w+)", described_fact).groups()
        shown = lines[int(line) - 1][int(column) - 1 :]
        assert re.match(BEGINS.get(kind, "."), shown, re.IGNORECASE), f"{described_fact} stands at: {shown}"


@pytest.mark.parametrize("bom", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE], ids=["little endian", "big endian"])
@pytest.mark.parametrize("name", ["upgrade_script", "dynamic"])
def test_a_script_that_management_studio_has_saved(tmp_path: Path, name: str, bom: bytes) -> None:
    path = next(path for path in FILES if path.stem == name)
    encoding = "utf-16-le" if bom == codecs.BOM_UTF16_LE else "utf-16-be"
    saved = tmp_path / path.name
    saved.write_bytes(bom + path.read_text(encoding="utf-8").replace("\n", "\r\n").encode(encoding))
    assert described(saved) == described(path)


def test_what_cannot_be_read_is_told_and_its_neighbours_are_read() -> None:
    text = next(path for path in FILES if path.stem == "half_readable").read_text(encoding="utf-8")
    found = lint_sql(text, Target("sqlserver"), parser=parser("sqlserver"))
    unread = [(finding.line, finding.column, finding.severity) for finding in found if finding.rule == UNPARSABLE]
    assert unread == [(2, 1, "error"), (5, 1, "warning"), (10, 5, "error"), (11, 5, "warning"), (15, 7, "error")]
    told = {(finding.line, finding.rule) for finding in found}
    assert {
        (3, "expand-drop-column"),
        (6, "expand-drop-table"),
        (12, "expand-drop-view"),
        (16, "expand-drop-routine"),
    } <= told


def test_a_batch_that_runs_five_times_is_told_once() -> None:
    found = lint_sql("DROP TABLE dbo.a\nGO 5\nDROP TABLE dbo.b\nGO\n", Target("sqlserver"), parser=parser("sqlserver"))
    assert [finding.line for finding in found if finding.rule == "expand-drop-table"] == [1, 3]


def test_the_findings_of_a_generated_script() -> None:
    text = next(path for path in FILES if path.stem == "ef_core_idempotent").read_text(encoding="utf-8")
    found = lint_sql(text, Target("sqlserver", (16, 0), "enterprise"), parser=parser("sqlserver"))
    told = {(finding.line, finding.rule) for finding in found if finding.severity == "error"}
    # Nothing is said of the table and index that the script itself has made, or of the rows put into its own history.
    assert told == {
        (44, "expand-set-not-null"),
        (44, "sqlserver-alter-column"),
        (53, "expand-rename-column"),
    }
    assert [finding.line for finding in found if finding.rule == "dynamic-sql"] == [42]
