# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run of the linter from folder, and database where there is one, to findings: what the module and the command do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .._db.connection import connect
from .._db.ledger import Ledger, Names
from .._errors import EverupError
from .._migrations.history import APPLIED, History
from .._migrations.repeatable import RepeatableHistory
from .._migrations.version import Version
from .cache import default_folder
from .facts import ScriptFacts
from .folder import Folder, Reader, read_folder
from .lint import Finding, lint_scripts
from .live import read_definitions, read_live, target_of, version_numbers
from .parse import ParserMissing
from .report import FORMATS, summary
from .rule import CONTRACT, EXPAND, PHASES, REPEATABLE, SEVERITIES, Live, Target

LINT_SPEC = {
    "phases": {"type": "list", "elements": "str", "choices": list(PHASES), "default": list(PHASES)},
    "since": {"type": "str"},
    "live": {"type": "bool", "default": False},
    "server_version": {"type": "str", "default": ""},
    "edition": {"type": "str", "choices": ["enterprise", "azure", "standard", "web", "express"]},
    "sources": {"type": "list", "elements": "path", "default": []},
    "fail_on": {"type": "str", "choices": ["error", "warning", "notice", "never"], "default": "error"},
    "report": {"type": "path"},
    "report_format": {"type": "str", "choices": list(FORMATS), "default": "sarif"},
    "cache": {"type": "path"},
}
# A longer file of the application is data, or generated.
_LONGEST_SOURCE = 2_000_000


def lint(params: dict, check_mode: bool) -> dict:
    """Judge the scripts of a folder.

    Parameters:
        params: with CONNECTION_SPEC, LEDGER_SPEC, MIGRATIONS_SPEC and LINT_SPEC.
        check_mode: writes no report.

    Returns:
        findings (list of dicts), counts by severity, scripts (names of those judged), summary, changed (the report is another).

    Raises:
        EverupError: the folder, the database or sqlfluff is missing, or there is a finding of ``fail_on`` or worse; its details
            hold the findings.
    """
    findings, judged = judge(params)
    changed, diff = _write_report(params, findings, check_mode)
    result = {
        "findings": [finding.as_dict() for finding in findings],
        "counts": {severity: sum(finding.severity == severity for finding in findings) for severity in SEVERITIES},
        "scripts": judged,
        "summary": summary(findings),
        "lines": [str(finding) for finding in findings],
        "changed": changed,
        "diff": diff,
    }
    fatal = [finding for finding in findings if is_fatal(finding, params["fail_on"])]
    if fatal:
        shown = "".join(f"\n  {finding}" for finding in fatal[:50])
        more = f"\n  ... and {len(fatal) - 50} more" if len(fatal) > 50 else ""
        way_on = "Change the scripts, or waive a rule with -- everup: allow=<rule> <reason>; docs/rules.md tells of each."
        raise EverupError(f"{summary(findings)} in {params['path']}: {way_on}{shown}{more}", **result)
    return result


def is_fatal(finding: Finding, fail_on: str) -> bool:
    """Return whether a finding is of a severity, or a worse one; none is for ``never``."""
    return fail_on != "never" and SEVERITIES.index(finding.severity) >= SEVERITIES.index(fail_on)


def judge(params: dict) -> tuple[list[Finding], list[str]]:
    """Return what is wrong with the scripts of a folder, and the names of those that were judged.

    Parameters:
        params: see lint(); fail_on and the report do not matter.

    Raises:
        EverupError: the folder, the database or sqlfluff is missing.
    """
    try:
        return _judge(params)
    except ParserMissing as error:
        raise EverupError(f"The linter needs sqlfluff on the host that it runs on: pip install sqlfluff ({error}).") from None


def _judge(params: dict) -> tuple[list[Finding], list[str]]:
    engine = params["engine"]
    cache = Path(params["cache"]) if params["cache"] else default_folder()
    reader = Reader(engine, cache, params.get("processes", 0))
    folder = read_folder(params, reader)
    target = Target(engine, version_numbers(params["server_version"]), params["edition"] or "")
    pending, live = _since(params, folder), None
    if params["live"]:
        target, pending, live = _ask(params, folder, reader, target, pending)
    in_phases = [script for script in folder.scripts if script.phase in params["phases"]]
    judged = [script.source for script in in_phases if pending is None or script.source in pending]
    findings = lint_scripts(folder.scripts, target, pending, live, _sources(params["sources"]))
    findings = [finding for finding in findings if finding.source in judged]
    findings += [broken for phase, broken in folder.broken if phase in params["phases"]]
    return findings, judged


def _since(params: dict, folder: Folder) -> set | None:
    """Return the names of the scripts behind a version, None when none was given; repeatable scripts are among them."""
    if not params["since"]:
        return None
    try:
        since = Version(params["since"])
    except ValueError as error:
        raise EverupError(f"since: {error}") from None
    return {script.source for script in folder.scripts if not script.version or Version(script.version) > since}


def _ask(params: dict, folder: Folder, reader: Reader, target: Target, pending: set | None) -> tuple[Target, set, Live]:
    """Ask the database what it is, what it has run and what it holds."""
    db = connect(params)
    try:
        told = target_of(db)
        target = replace(told, version=target.version or told.version, edition=target.edition or told.edition)
        ledger = Ledger(db, Names.of(params))
        pending = pending if pending is not None else _pending(ledger, folder)
        live = read_live(db)
        own = {name.lower() for name in vars(ledger.names).values()}
        live = replace(live, rows={name: count for name, count in live.rows.items() if name.rpartition(".")[2] not in own})
        judged = [script for script in folder.scripts if script.source in pending]
        return target, pending, replace(live, definitions=read_definitions(db, live, judged, reader.read))
    finally:
        db.close()


def _pending(ledger: Ledger, folder: Folder) -> set:
    """Return the names of the scripts that this database has not run."""
    done = {phase: {row.version for row in History(ledger, phase).rows() if row.state == APPLIED} for phase in (EXPAND, CONTRACT)}
    kept = {row.version: row.checksum for row in RepeatableHistory(ledger).rows() if row.state == APPLIED}

    def is_pending(script: ScriptFacts) -> bool:
        if script.phase == REPEATABLE:
            name = script.source.rpartition("/")[2][: -len(".sql")]
            return kept.get(name) != folder.checksums[script.source]
        return Version(script.version) not in done[script.phase]

    return {script.source for script in folder.scripts if is_pending(script)}


def _sources(paths: list[str]) -> dict:
    """Return the text of the application's files by name.

    Raises:
        EverupError: a path does not exist.
    """
    found = {}
    for path in map(Path, paths):
        if not path.exists():
            raise EverupError(f"sources: {path} does not exist on this host.")
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.is_file() and not hidden and file.stat().st_size <= _LONGEST_SOURCE:
                data = file.read_bytes()
                if b"\0" not in data:
                    found[str(file)] = data.decode("utf-8", "replace")
    return found


def _write_report(params: dict, findings: list[Finding], check_mode: bool) -> tuple[bool, list]:
    """Write the report if its text is another one; returns whether it is, and the difference."""
    if not params["report"]:
        return False, []
    path = Path(params["report"])
    text = FORMATS[params["report_format"]](findings, f"{params['path'].rstrip('/')}/")
    try:
        before = path.read_text("utf-8") if path.exists() else ""
        if before == text:
            return False, []
        if not check_mode:
            path.write_text(text, "utf-8")
    except OSError as error:
        raise EverupError(f"The report cannot be written to {path}: {error.strerror}.") from None
    return True, [{"before_header": str(path), "after_header": str(path), "before": before, "after": text}]
