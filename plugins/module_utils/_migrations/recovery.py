# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds out where a script outside a transaction goes on after its process was killed."""

from __future__ import annotations

import re
from dataclasses import replace

from .._db.engines.base import Engine
from .._db.lexis import Statement
from .._db.questions import Question, is_repeatable, questions_of
from .._db.script import Script
from .._errors import EverupError
from .plan import option_text

_OF_A_TABLE = ("column", "index", "constraint", "primary_key")


def has_happened(db: Engine, script: Script, number: int) -> bool | None:
    """Return whether a statement that was in flight has happened; None when nobody can know.

    False stands for a statement that may run now as well: it has not happened, was undone together with its count, or says
    itself that it may run twice.

    Parameters:
        db: the engine.
        script: the script whose text ran.
        number: the statement's number, from 1; a number behind the last one is a script that was all done.
    """
    if number > len(script.statements):
        return False
    statement = script.statements[number - 1]
    if db.joins_transaction(statement):
        return False if db.undone_with_count(statement) else None
    if db.session_state(statement):
        return False  # whatever it made ended with its session
    if (statement.words[:1] and statement.words[0] in db.repeatable) or is_repeatable(statement, db.lexis):
        return False
    return is_there(db, script, number)


def is_there(db: Engine, script: Script, number: int) -> bool | None:
    """Return whether the catalog shows all that a statement leaves behind, or nothing of it; None when it cannot tell."""
    home = _database_in_use(script.statements[: number - 1])
    questions = (_in_database(question, home) for question in questions_of(script.statements[number - 1], db.lexis))
    answers = {db.has_happened(question) for question in questions} - {None}
    return answers.pop() if len(answers) == 1 else None


def _database_in_use(statements: tuple) -> str:
    """Return the name behind the last USE as it is written, empty without one."""
    used = [statement.text.split(None, 1)[1].strip() for statement in statements if statement.words[:1] == ("USE",)]
    return used[-1] if used else ""


def _in_database(question: Question, home: str) -> Question:
    if not home:
        return question
    part = "table" if question.kind in _OF_A_TABLE else "name"
    name = getattr(question, part)
    return replace(question, **{part: (home, *name)}) if len(name) == 1 else question


def session_statements(db: Engine, script: Script, done: int, phase: str) -> list[Statement]:
    """Return the statements that make the session what the rest of a script expects, such as USE and SET.

    Raises:
        EverupError: an earlier statement left something in its session that ended with it, and the rest asks for it.
    """
    again = [statement for statement in script.statements[:done] if db.session_state(statement) == "again"]
    rest = " ".join(statement.text for statement in [*again, *script.statements[done:]]).lower()
    for number, statement in enumerate(script.statements[:done], start=1):
        if db.session_state(statement) == "lost" and any(name in rest for name in _names_left(statement)):
            raise EverupError(
                f"{script.source}:{statement.line}:{statement.column}: statement {number} of {len(script.statements)} left "
                f"something in the session of a run that is over, and the statements from {done + 1} on ask for it. Put what is "
                "left to do into the file, and run it from its first statement with "
                f"{option_text(phase, 'repair', 'retry')}."
            )
    return again


def _names_left(statement: Statement) -> list[str]:
    """Return the user variables that a statement set, or the name of its temporary table, in lower case."""
    temporary = re.match(r"(?is)create\s.*?temporary\s+table\s+(?:if\s+not\s+exists\s+)?`?([\w$]+)", statement.text)
    if temporary:
        return [temporary.group(1).lower()]
    return ["@" + name.lower() for name in re.findall(r"(?<!@)@`?([\w$.]+)", statement.text)] or [""]
