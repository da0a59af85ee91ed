# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Single statements of each engine: what they do, where, within what, and what cannot be read of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from .written import lines

STATEMENTS = yaml.safe_load((Path(__file__).parent / "statements.yml").read_text(encoding="utf-8"))
CASES = [
    pytest.param(engine, case["sql"], case["facts"], id=f"{engine}-{number}")
    for engine, cases in STATEMENTS.items()
    for number, case in enumerate(cases, 1)
]


@pytest.mark.parametrize(("engine", "sql", "facts"), CASES)
def test_what_a_statement_does(engine: str, sql: str, facts: list[str]) -> None:
    assert lines(sql, engine) == facts


@pytest.mark.parametrize(("engine", "sql", "facts"), CASES)
def test_places_move_with_the_text(engine: str, sql: str, facts: list[str]) -> None:
    """Two lines in front of a script move every place down by two, and none to the side."""
    moved = lines("-- one\n-- two\n" + sql, engine)
    expected = []
    for fact in facts:
        line, _colon, rest = fact.partition(":")
        expected.append(f"{int(line) + 2}:{rest}")
    assert moved == expected
