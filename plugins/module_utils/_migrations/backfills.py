# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the backfill definitions of a migrations folder, and decides from them and the ledger what may be done."""

from __future__ import annotations

from dataclasses import dataclass

from .._db.engines.base import Engine
from .._db.errors import DatabaseError
from .._db.lexis import ScriptError
from .._db.script import checksum, decode, mask
from .._errors import EverupError
from .backfill_store import FINISHED, INCOMPLETE, BackfillRow
from .definition import Definition, read_definition
from .files import Migration, duplicates, refuse, script_files
from .history import APPLIED, Row
from .plan import option_text
from .version import Version, parse_name

_SUFFIXES = (".yml", ".yaml")


@dataclass(frozen=True)
class Backfill:
    """One definition with the version and description that its file name gives it."""

    version: Version
    description: str
    definition: Definition

    @property
    def source(self) -> str:
        return self.definition.source

    def masked(self, error: DatabaseError, doing: str = "") -> DatabaseError:
        """Return what the database said to a statement of this definition, by the file's name, placeholders as names."""
        message = mask(str(error), self.definition.text, self.definition.values)
        return type(error)(f"{self.source}: {doing}{message}", **error.details)


def read_backfills(folder: str, subfolder: str, engine: Engine, engines: list, placeholders: dict) -> list[Backfill]:
    """Return the backfills of a migrations folder in version order, read and checked.

    Parameters:
        folder: the migrations folder.
        subfolder: where the definitions are below it; missing means none.
        engine: decides which overrides count and how SQL is read.
        engines: the engines that definitions may have overrides for.
        placeholders: values of ``${name}``.

    Raises:
        EverupError: any definition is bad: every finding is listed, each with file and line.
    """
    findings: list[str] = []
    backfills: list[Backfill] = []
    for path, source in script_files(folder, subfolder, findings, (*_SUFFIXES, ".sql")):
        if path.suffix.lower() == ".sql":
            findings.append(f"{source}:1:1: a backfill is a .yml file; a script belongs into the folder of its phase")
            continue
        try:
            version, description = parse_name(path.stem)
            text = decode(path.read_bytes(), source)
            read = read_definition(text, checksum(text), source, engine.name, engines, engine.lexis, placeholders)
            backfills.append(Backfill(version, description, read))
        except ValueError as error:
            findings.append(f"{source}:1:1: {str(error).replace('.sql', path.suffix)}")
        except OSError as error:
            findings.append(f"{source}:1:1: cannot be read: {error.strerror}")
        except ScriptError as error:
            findings.append(str(error))
        except EverupError as error:
            findings += error.details.get("findings") or [f"{source}:1:1: {error}"]
    backfills.sort(key=lambda backfill: backfill.version)
    findings += duplicates(backfills)
    refuse(findings, folder, subfolder)
    return backfills


def pending_backfills(backfills: list[Backfill], rows: list[BackfillRow], target: Version | None) -> list[Backfill]:
    """Return the backfills that are not finished, up to the target."""
    finished = {row.version for row in rows if row.state == FINISHED}
    return [b for b in backfills if b.version not in finished and (target is None or b.version <= target)]


def starts_over(backfill: Backfill, row: BackfillRow | None, repair: str | None) -> bool:
    """Return whether a backfill begins at the first key: it is new, or it must and the user said so."""
    if row is None:
        return True
    return repair == "retry" and (row.state == INCOMPLETE or row.checksum != backfill.definition.checksum)


def check_backfills(
    backfills: list[Backfill],
    pending: list[Backfill],
    rows: list[BackfillRow],
    expand_files: list[Migration],
    expand_rows: list[Row],
    repair: str | None,
    foresee: bool = False,
) -> None:
    """Refuse what must not run.

    Parameters:
        backfills: all of them.
        pending: those about to run.
        rows: the ledger's.
        expand_files, expand_rows: a backfill runs after the expand script of its version, where there is one.
        repair: ``retry`` begins an edited or incomplete one at its first key.
        foresee: in check mode the expand scripts may be pending.

    Raises:
        EverupError: names every backfill that stands in the way and the way on.
    """
    by_version = {row.version: row for row in rows}
    findings = []
    for backfill in backfills:
        row = by_version.get(backfill.version)
        if row is not None and row.checksum != backfill.definition.checksum:
            then = f"(checksum then {row.checksum[:12]}, now {backfill.definition.checksum[:12]})"
            if row.state == FINISHED:
                findings.append(
                    f"{backfill.source}:1:1: the file changed after it finished at {row.finished_at} by {row.applied_by} {then}: "
                    "put the old text back, and write the change as a new backfill with a higher version"
                )
            elif repair != "retry":
                findings.append(
                    f"{backfill.source}:1:1: the file changed after {row.rows_seen} rows {then}: put the old text back, or run "
                    f"the new one from the first key with {option_text('expand', 'repair', 'retry')}"
                )
    applied = {row.version for row in expand_rows if row.state == APPLIED}
    needed = {migration.version for migration in expand_files}
    findings += [
        f"{backfill.source}:1:1: the expand script of version {backfill.version} has not been applied: run the expand phase first"
        for backfill in pending
        if not foresee and backfill.version in needed - applied
    ]
    if findings:
        raise EverupError("The backfills cannot run, nothing was changed:\n  " + "\n  ".join(findings), findings=findings)


def contract_findings(contract: list[Migration], backfills: list[Backfill], rows: list[BackfillRow], left: dict) -> list[str]:
    """Return why contract scripts must wait for the backfill of their version.

    Parameters:
        contract: the scripts about to run.
        backfills: all of them.
        rows: the ledger's.
        left: by version of a finished backfill, the rows that its verify query counts now.
    """
    files = {backfill.version: backfill.source for backfill in backfills}
    states = {row.version: row for row in rows}
    findings = []
    for migration in contract:
        version = migration.version
        row = states.get(version)
        source = files.get(version) or (row.definition if row else "")
        if not source:
            continue
        if row is None or row.state != FINISHED:
            far = "has not begun" if row is None else f"is '{row.state}' after {row.rows_seen} rows"
            findings.append(f"{migration.source}:1:1: {source} {far}: run the expand phase again, which goes on with it")
        elif left.get(version):
            findings.append(
                f"{migration.source}:1:1: {left[version]} rows are left to do by the verify query of {source}, which finished at "
                f"{row.finished_at}: what writes rows without the new column? Stop that, and fill them by a new backfill"
            )
    return findings
