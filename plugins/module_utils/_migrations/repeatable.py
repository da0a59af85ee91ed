# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Repeatable scripts: views, procedures and functions that are kept as their newest text and run again when it changes."""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from .._db.engines.base import Engine
from .._db.lexis import ScriptError
from .._db.script import Script
from .files import read_script, refuse, script_files
from .history import APPLIED, History, Row

REPEATABLE = "repeatable"


@dataclass(frozen=True)
class Repeatable:
    """One repeatable script; its name, the file's without ``.sql``, is what its history knows it by."""

    version: str
    script: Script
    description: str = ""

    @property
    def source(self) -> str:
        return self.script.source


class RepeatableHistory(History):
    """The history of the repeatable scripts: one row a script, of its newest run.

    Parameters:
        ledger: the collection's own tables.
    """

    key = str
    begins_again = True

    def __init__(self, ledger) -> None:
        super().__init__(ledger, REPEATABLE)

    def row(self, version) -> Row | None:
        """Return nothing: a repeatable script that did not come to its end begins again at its first statement."""
        return None

    def _clear(self, migration: Repeatable) -> None:
        """Make room for a new row, also in place of one that was applied."""
        self._db.execute(f"DELETE FROM {self.table} WHERE version = ?", (migration.version,))


def read_repeatables(folder: str, subfolder: str, engine: Engine, placeholders: dict) -> list[Repeatable]:
    """Return the repeatable scripts in the order in which they run: by name, but each behind those it comes ``after``.

    Parameters:
        folder: the migrations folder.
        subfolder: the folder of the repeatable scripts below it; a missing one means none.
        engine: decides how scripts are split and what may stand in them.
        placeholders: values of ``${name}``.

    Raises:
        EverupError: any script is bad, comes after one that is not there, or after itself; every finding is listed.
    """
    findings: list[str] = []
    scripts: dict[str, Repeatable] = {}
    for path, source in script_files(folder, subfolder, findings):
        name = path.name[: -len(".sql")]
        if name.lower() in (other.lower() for other in scripts):
            findings.append(f"{source}:1:1: another repeatable script has this name")
            continue
        try:
            scripts[name] = Repeatable(name, read_script(path, source, engine, placeholders))
        except ScriptError as error:
            findings.append(str(error))
    refuse(findings, folder, subfolder)
    ordered = _in_order(scripts, findings)
    refuse(findings, folder, subfolder)
    return ordered


def _in_order(scripts: dict[str, Repeatable], findings: list[str]) -> list[Repeatable]:
    for script in scripts.values():
        findings += [
            f"{script.source}:1:1: comes after '{before}', and there is no such repeatable script"
            for before in script.script.directives.after
            if before not in scripts
        ]
    if findings:
        return []
    sorter = TopologicalSorter({name: scripts[name].script.directives.after for name in scripts})
    try:
        sorter.prepare()
    except CycleError as error:
        names = error.args[1]
        findings.append(f"{scripts[names[0]].source}:1:1: comes after itself: {' after '.join(reversed(names))}")
        return []
    ordered: list[Repeatable] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()])
        name = ready.pop(0)
        ordered.append(scripts[name])
        sorter.done(name)
    return ordered


def pending_repeatables(scripts: list[Repeatable], rows: list[Row]) -> tuple[Repeatable, ...]:
    """Return the scripts whose text is not the one that was applied last, in their order."""
    applied = {row.version: row.checksum for row in rows if row.state == APPLIED}
    return tuple(script for script in scripts if applied.get(script.version) != script.script.checksum)
