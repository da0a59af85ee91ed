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
    findings += _duplicates(migrations)
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


def script_files(folder: str, subfolder: str, findings: list[str]) -> list[tuple[Path, str]]:
    """Return the scripts of a subfolder by name, each with its name for messages; none when the subfolder is missing.

    Raises:
        EverupError: the migrations folder is missing, or the subfolder cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise EverupError(f"The migrations folder {folder} does not exist on this host.")
    try:
        return [(path, f"{subfolder}/{path.name}") for path in _scripts(root / subfolder, findings)]
    except OSError as error:
        raise EverupError(f"The folder {error.filename} cannot be read: {error.strerror}.") from None


def _scripts(folder: Path, findings: list[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    scripts = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if any(path.rglob("*.[sS][qQ][lL]")):
                findings.append(f"{folder.name}/{path.name}:1:1: scripts in a subfolder are not run: move them up")
        elif path.suffix.lower() == ".sql":
            scripts.append(path)
    return scripts


def _duplicates(migrations: list[Migration]) -> list[str]:
    return [
        f"{after.source}:1:1: version {after.version} is taken by {before.source}"
        for before, after in zip(migrations, migrations[1:])
        if before.version == after.version
    ]
