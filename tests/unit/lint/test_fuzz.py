# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever a script holds, the linter ends in findings or says that it cannot be split, and within its time."""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path

import pytest
import yaml
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import ScriptError
from ansible_collections.everup.deploy.plugins.module_utils._lint import parse
from ansible_collections.everup.deploy.plugins.module_utils._lint.facts import Fact
from ansible_collections.everup.deploy.plugins.module_utils._lint.lint import UNPARSABLE, Finding, lint_sql
from ansible_collections.everup.deploy.plugins.module_utils._lint.rule import PHASES, Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .written import lines, parser, read

ENGINES = ("postgresql", "sqlserver", "mariadb", "sqlite")
CORPUS = Path(__file__).parent / "corpus"
_WORDS = r"""
ALTER CREATE DROP TABLE VIEW INDEX PROCEDURE FUNCTION TRIGGER COLUMN CONSTRAINT ADD IF NOT EXISTS BEGIN END ELSE WHILE TRY
CATCH TRAN COMMIT ROLLBACK SELECT FROM WHERE INSERT INTO VALUES UPDATE SET DELETE MERGE USING WITH AS ON DECLARE EXEC EXECUTE
sp_executesql sp_rename DO GO NULL DEFAULT PRIMARY KEY CHECK REFERENCES UNIQUE RENAME TO TYPE int varchar(10) CASE WHEN THEN
LOOP FOR RETURNS RETURN LANGUAGE CONCURRENTLY ONLINE = ON TOP ( ) ( ) , ; . * + || @a @b #t a b dbo. [a] "b" `c` 'x' N'y' 'DROP
x' '''' $$ $a$ :: 1 2.5 0x -- /* */ /*! \ ? : % & DELIMITER PREPARE IMMEDIATE format CONCAT
"""
WORDS = [*_WORDS.split(), "\n", "\nGO\n", "'DROP TABLE x'"]
SLOWEST = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@cache
def _statements(engine: str) -> list[str]:
    """Return short statements of the corpus for an engine."""
    found = []
    for path in sorted(CORPUS.glob("*.yml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
            if engine in entry["engine"]:
                for case in [*entry.get("fires", []), *entry.get("silent", [])]:
                    sql = case if isinstance(case, str) else case["sql"]
                    found += [sql] if len(sql) < 400 else []
    return found


@st.composite
def _mutated(draw, engine: str) -> str:
    """Return a statement of the corpus in which tokens are missing, doubled or swapped, or whose end is missing."""
    words = draw(st.sampled_from(_statements(engine))).split(" ")
    for _time in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(words) - 1))
        other = draw(st.integers(0, len(words) - 1))
        change = draw(st.sampled_from(["delete", "double", "swap", "truncate", "cut", "foreign"]))
        if change == "delete" and len(words) > 1:
            del words[at]
        elif change == "double":
            words.insert(at, words[at])
        elif change == "swap":
            words[at], words[other] = words[other], words[at]
        elif change == "truncate":
            words = words[: at + 1]
        elif change == "cut":
            words[at] = words[at][: len(words[at]) // 2]
        else:
            words.insert(at, draw(st.sampled_from(WORDS)))
    return " ".join(words)


def _lint(text: str, engine: str, phase: str = "expand") -> list[Finding]:
    """Lint a text; that it cannot be split is an answer as well."""
    try:
        return lint_sql(text, Target(engine), phase=phase, parser=parser(engine))
    except ScriptError as error:
        assert str(error).startswith(("0002_script.sql:", "sql:")), error
        return []


@pytest.mark.parametrize("engine", ENGINES)
def test_any_words_end_in_findings(engine: str) -> None:
    @SLOWEST
    @given(st.lists(st.sampled_from(WORDS), max_size=25), st.sampled_from(PHASES))
    def any_words(words: list[str], phase: str) -> None:
        text = " ".join(words)
        for finding in _lint(text, engine, phase):
            assert 1 <= finding.line <= text.count("\n") + 1
            assert finding.column >= 1

    any_words()


@pytest.mark.parametrize("engine", ENGINES)
def test_any_change_of_a_good_statement_ends_in_findings(engine: str) -> None:
    @SLOWEST
    @given(_mutated(engine), st.sampled_from(PHASES))
    def any_change(text: str, phase: str) -> None:
        _lint(text, engine, phase)

    any_change()


@pytest.mark.parametrize("engine", ENGINES)
def test_any_characters_end_in_findings(engine: str) -> None:
    @settings(SLOWEST, max_examples=100)
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
    def any_characters(text: str) -> None:
        _lint(text, engine)

    any_characters()


@pytest.mark.parametrize("engine", ENGINES)
def test_facts_survive_json(engine: str) -> None:
    @SLOWEST
    @given(_mutated(engine))
    def through_json(text: str) -> None:
        try:
            facts, _unread = read(text, engine)
        except ScriptError:
            return
        for fact in facts:
            back = Fact.of(json.loads(json.dumps(fact.as_dict())))
            assert back == fact
            assert back.columns == fact.columns

    through_json()


DEEP = 3000
PATHOLOGICAL = {
    "parentheses": ("postgresql", "SELECT " + "(" * DEEP + "1" + ")" * DEEP),
    "unclosed parentheses": ("mariadb", "SELECT " + "(" * DEEP),
    "ors": ("postgresql", "SELECT 1 FROM t WHERE " + " OR ".join(f"a = {number}" for number in range(DEEP))),
    "functions": ("sqlserver", "SELECT " + "NULLIF(" * DEEP + "1" + ", 1)" * DEEP + " FROM t"),
    "ifs": ("sqlserver", "IF 1 = 1 " * DEEP + "SELECT 1"),
    "blocks": ("sqlserver", "BEGIN " * DEEP + "SELECT 1" + " END" * DEEP),
    "cases": ("sqlite", "SELECT " + "CASE WHEN 1 THEN " * DEEP + "1" + " END" * DEEP),
    "plpgsql": ("postgresql", "DO $$ BEGIN " + "IF a THEN " * DEEP + "NULL; " + "END IF; " * DEEP + "END $$"),
    "executed literals": ("sqlserver", "".join(f"SET @a = @a + 'x{number}';" for number in range(DEEP // 2)) + "EXEC(@a)"),
    "variables that hold each other": (
        "sqlserver",
        "".join(f"SET @a{number} = {'+'.join([f'@a{number + 1}'] * 60)};\n" for number in range(9)) + "EXEC(@a0)",
    ),
    "columns": ("mariadb", "CREATE TABLE t (" + ", ".join(f"c{number} int" for number in range(DEEP)) + ")"),
    "rows": ("mariadb", "INSERT INTO t VALUES " + ", ".join("(NULL, 'x', 1)" for _ in range(DEEP * 2))),
    "common tables": ("sqlite", "WITH " + ", ".join(f"a{number} AS (SELECT 1)" for number in range(DEEP)) + " SELECT 1"),
    "long list": ("sqlite", "SELECT 1 FROM " + ", ".join(f"t{number}" for number in range(DEEP))),
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_a_pathological_statement_ends_in_time(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(parse, "PARSE_BUDGET", 0.5)
    engine, text = PATHOLOGICAL[name]
    parser(engine)
    begin = time.process_time()
    found = _lint(f"{text};\n", engine)
    # The parser's half second for the statement, as much for what it gives up, and our own readers' time, beside the objects
    # of thousands of tests that the collector of garbage has to look through.
    assert time.process_time() - begin < 25
    assert len(found) < DEEP


def test_a_statement_behind_one_that_is_too_deep_is_read() -> None:
    text = PATHOLOGICAL["ifs"][1] + "\nGO\nDROP TABLE dbo.x\n"
    found = _lint(text, "sqlserver")
    assert [(finding.line, finding.rule) for finding in found] == [(1, UNPARSABLE), (3, "expand-drop-table")]


def test_a_statement_that_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "PARSE_BUDGET", 0.01)
    slow = "SELECT 1 FROM t WHERE " + " OR ".join(f"a = {number}" for number in range(150))
    assert lines(slow, "postgresql")[1].startswith("1:1 unparsable: SELECT 1 FROM t")
    monkeypatch.setattr(parse, "PARSE_BUDGET", 60.0)
    assert lines(slow, "postgresql") == ["1:1 select reads=t"]


def test_a_script_that_takes_too_long_says_from_where_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "SCRIPT_BUDGET", 0.0)
    text = "SELECT 1;\nSELECT 2;\nDROP TABLE x;\n"
    assert lines(text, "postgresql")[2:] == [
        "3:1 drop_table x",
        "1:1 unparsable: 0 s of parsing are used up from here on: SELECT 1",
    ]
