# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the SQL assertions of a migrations folder: every row that a statement returns is a failure."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from .._db.connection import connect
from .._db.engines.base import Engine
from .._db.errors import DatabaseError
from .._db.ledger import Ledger, Names
from .._db.lexis import ScriptError, Statement
from .._db.script import Script
from .._errors import EverupError
from .begun import begun_versions
from .files import read_script, refuse, script_files
from .history import APPLIED, History
from .junit import write_junit
from .migrate import option_seconds
from .version import Version, parse_name

_SHOWN_ROWS = 5
# What begins otherwise may change something, and not every engine could take it back.
_QUERIES = ("SELECT", "SHOW", "TABLE", "VALUES", "WITH")


@dataclass(frozen=True)
class Assertions:
    """One file of assertions.

    Attributes:
        version: it holds from the expand script of this version on; None for one that always holds.
    """

    version: Version | None
    script: Script


@dataclass(frozen=True)
class Result:
    """How one assertion went.

    Attributes:
        name: file and place.
        suite: the file, or the class of a test suite in the database.
        seconds: how long it took.
        failure: what is wrong, empty when nothing is.
    """

    name: str
    suite: str
    seconds: float
    failure: str = ""

    def as_dict(self) -> dict:
        return {**self.__dict__, "seconds": round(self.seconds, 3)}


def read_assertions(folder: str, subfolder: str, engine: Engine, placeholders: dict) -> list[Assertions]:
    """Return the files of assertions by name; a name that begins with a version waits for that version.

    Raises:
        EverupError: any file is bad; every finding is listed.
    """
    findings: list[str] = []
    found: list[Assertions] = []
    for path, source in script_files(folder, subfolder, findings):
        try:
            script = read_script(path, source, engine, placeholders)
        except ScriptError as error:
            findings.append(str(error))
            continue
        found.append(Assertions(_version(path), script))
        findings += [problem for statement in script.statements for problem in _unfit(statement, source, engine)]
    refuse(findings, folder, subfolder)
    return found


def _unfit(statement: Statement, source: str, engine: Engine) -> list[str]:
    """Say why a statement cannot be an assertion; a batch of T-SQL may do what it likes, since all of it is rolled back."""
    place = f"{source}:{statement.line}:{statement.column}"
    if statement.words[:1] and statement.words[0] not in _QUERIES and not engine.lexis.batches:
        return [f"{place}: {statement.words[0]} is no query, and an assertion only asks: begin it with {', '.join(_QUERIES)}"]
    if statement.has_marker and engine.name == "postgresql":
        return [f"{place}: the operator '?' cannot be sent in a query: write jsonb_exists(column, 'key') instead"]
    return []


def _version(path: Path) -> Version | None:
    try:
        return parse_name(path.stem)[0]
    except ValueError:
        return None


def due(assertions: list[Assertions], expanded: set[Version], contracted: set[Version]) -> tuple[list, list]:
    """Divide assertions into those that hold now and those that do not yet, or no longer.

    Parameters:
        assertions: what the folder has.
        expanded, contracted: versions whose script of that phase is applied.
    """
    now, not_now = [], []
    for one in assertions:
        until = one.script.directives.until
        begun = one.version is None or one.version in expanded
        over = until is not None and Version(until) in contracted
        (now if begun and not over else not_now).append(one)
    return now, not_now


def run_assertions(params: dict, check_mode: bool) -> dict:
    """Run what is due; in check mode too, since an assertion only asks. Suites in the database change it: then they do not run.

    Returns:
        changed (never), passed, failed (counts), results, not_due (files), junit (path, if written).

    Raises:
        EverupError: a file is bad, or an assertion failed; names each with file and line.
    """
    timeout = option_seconds(params, "statement_timeout")
    db = connect(params)
    try:
        assertions = read_assertions(params["path"], params["tests_folder"], db, params["placeholders"])
        ledger = Ledger(db, Names.of(params))
        now, not_now = due(assertions, _applied(ledger, "expand"), _applied(ledger, "contract"))
        results = [result for one in now for result in _run_file(db, one, timeout)]
        if params["suites"] and not check_mode:
            db.set_statement_timeout(timeout)
            results += [Result(**found) for found in db.run_test_suites()]
    finally:
        db.close()
    if params["junit"] and not check_mode:
        write_junit(Path(params["junit"]), results)
    failed = [result for result in results if result.failure]
    facts = {
        "passed": len(results) - len(failed),
        "failed_assertions": len(failed),
        "results": [result.as_dict() for result in results],
        "not_due": [one.script.source for one in not_now],
    }
    if failed:
        lines = "\n  ".join(f"{result.name}: {result.failure}" for result in failed)
        raise EverupError(f"{len(failed)} of {len(results)} assertions about the database failed:\n  {lines}", **facts)
    return {"changed": False, **facts}


def _applied(ledger: Ledger, phase: str) -> set[Version]:
    """Return the versions of a phase that count: what contract has begun to take away holds no longer."""
    if phase == "contract":
        return begun_versions(ledger, phase)
    return {row.version for row in History(ledger, phase).rows() if row.state == APPLIED}


class _TakeBack(Exception):
    """Ends a transaction whose changes nobody wants."""


def _run_file(db: Engine, assertions: Assertions, timeout: float) -> list[Result]:
    """Run the statements of a file, each in a transaction that is rolled back."""
    results = []
    script = assertions.script
    for statement in script.statements:
        started = time.monotonic()
        failure = ""
        try:
            with db.transaction():
                db.set_statement_timeout(script.directives.statement_timeout or timeout)
                failure = script.mask(_failure(db, statement))
                raise _TakeBack
        except _TakeBack:
            pass
        except DatabaseError as error:
            failure = script.mask(str(error))
        finally:
            db.reset_session()
        name = f"{script.source}:{statement.line}"
        results.append(Result(name, script.source, time.monotonic() - started, failure))
    return results


def _failure(db: Engine, statement: Statement) -> str:
    rows = db.assertion_rows(statement)
    if not rows:
        return ""
    shown = "; ".join(", ".join(f"{column}={value}" for column, value in row.items()) for row in rows[:_SHOWN_ROWS])
    more = f"; and {len(rows) - _SHOWN_ROWS} more" if len(rows) > _SHOWN_ROWS else ""
    return f"{len(rows)} row(s) that should not be there: {shown}{more}"
