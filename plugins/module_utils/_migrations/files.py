# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds and reads the scripts of one phase in a migrations folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .._db.engines.base import Engine
from .._db.lexis import ScriptError
from .._db.script import Script, load_script
from .._errors import EverupError
from .version import Version, parse_name


@dataclass(frozen=True)
class Migration:
    """One script of a phase with the version and description that its file name gives it."""

    version: Version
    description: str
    script: Script

    @property
    def source(self) -> str:
        return self.script.source


def read_phase(folder: str, subfolder: str, engine: Engine, placeholders: dict) -> list[Migration]:
    """Return the migrations of one phase in version order, read, split and checked.

    Parameters:
        folder: the migrations folder; a subfolder that is missing is an empty phase.
        subfolder: the phase's folder below it.
        engine: decides how scripts are split and what may stand in them.
        placeholders: values of ``${name}``.

    Raises:
        EverupError: the folder is missing, or any script is bad: every finding is listed, each with file, line and column.
    """
    findings: list[str] = []
    migrations: list[Migration] = []
    for path, source in script_files(folder, subfolder, findings):
        try:
            version, description = parse_name(path.name[: -len(".sql")])
        except ValueError as error:
            findings.append(f"{source}:1:1: {error}")
            continue
        try:
            script = read_script(path, source, engine, placeholders)
            migrations.append(Migration(version, description, script))
            if script.directives.after:
                findings.append(f"{source}:1:1: 'after' is for repeatable scripts: this one comes after the version before it")
        except ScriptError as error:
            findings.append(str(error))
    migrations.sort(key=lambda migration: migration.version)
    findings += duplicates(migrations)
    refuse(findings, folder, subfolder)
    return migrations


def read_script(path: Path, source: str, engine: Engine, placeholders: dict) -> Script:
    """Return one script, read, split and checked for the engine.

    Raises:
        ScriptError: it is bad.
    """
    script = load_script(path, source, engine.lexis, placeholders)
    for statement in script.statements:
        engine.check_statement(statement, source, script.directives.transaction)
    return script


def refuse(findings: list[str], folder: str, subfolder: str) -> None:
    """Raise EverupError with every finding in a folder, when there is one."""
    if findings:
        raise EverupError(
            f"{len(findings)} problem(s) in {Path(folder) / subfolder}, nothing was run:\n  " + "\n  ".join(findings),
            findings=findings,
        )


def script_files(folder: str, subfolder: str, findings: list[str], suffixes: tuple = (".sql",)) -> list[tuple[Path, str]]:
    """Return the files of a subfolder by name, each with its name for messages; none when the subfolder is missing.

    Parameters:
        suffixes: in lower case, of the files that are meant.

    Raises:
        EverupError: the migrations folder is missing, or the subfolder cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise EverupError(f"The migrations folder {folder} does not exist on this host.")
    try:
        return [(path, f"{subfolder}/{path.name}") for path in _files(root / subfolder, findings, suffixes)]
    except OSError as error:
        raise EverupError(f"The folder {error.filename} cannot be read: {error.strerror}.") from None


def _files(folder: Path, findings: list[str], suffixes: tuple) -> list[Path]:
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if any(below.suffix.lower() in suffixes for below in path.rglob("*")):
                findings.append(f"{folder.name}/{path.name}:1:1: scripts in a subfolder are not run: move them up")
        elif path.suffix.lower() in suffixes:
            found.append(path)
    return found


def duplicates(found: list) -> list[str]:
    """Return a finding for each of two neighbours with the same version.

    Parameters:
        found: what has a version and a source, in version order.
    """
    return [
        f"{after.source}:1:1: version {after.version} is taken by {before.source}"
        for before, after in zip(found, found[1:])
        if before.version == after.version
    ]
