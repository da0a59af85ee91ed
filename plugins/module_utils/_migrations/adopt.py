# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Maps what another migration tool has recorded in the database to the scripts of a folder.

Facts relied on, from each tool's documentation and the tables that it creates: Flyway keeps version, script, success and a CRC-32
of the lines without their ends, and adds a row of another type for a baseline, an undo or a deletion
(``flyway_schema_history``); grate and RoundhousE keep the whole text of each script (``ScriptsRun``); DbUp the script's name, for
an embedded one with its namespace in front (``SchemaVersions``); Liquibase the file of each change set (``DATABASECHANGELOG``),
whose MD5SUM is of its own parse tree and cannot be compared; dbmate versions alone (``schema_migrations``); Alembic only the
newest revision (``alembic_version``).
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import Callable

from .._db.engines.base import Engine
from .._db.errors import DatabaseError
from .._errors import EverupError
from .files import Migration
from .version import Version


@dataclass(frozen=True)
class Foreign:
    """One script as another tool has recorded it.

    Attributes:
        name: what the tool calls it.
        version: its version where the tool has one.
        file: the file's name where the tool has one.
        crc: Flyway's checksum, None where there is none.
        text: the whole text, None where the tool does not keep it.
        repeats: a script that the tool runs again when it changes.
        failed: the tool says that it has not come to its end.
        up_to: all scripts before it count as well: the tool records only its newest one, or it is a baseline.
        bare: a mark that stands for no script of its own.
        part_of: the file of which it is one change set.
        change_sets: how many change sets of a file this stands for.
    """

    name: str
    version: str = ""
    file: str = ""
    crc: int | None = None
    text: str | None = None
    repeats: bool = False
    failed: bool = False
    up_to: bool = False
    bare: bool = False
    part_of: str = ""
    change_sets: int = 0


@dataclass(frozen=True)
class Tool:
    """How one tool's history is read: the tables it may be in, its columns, what a row says, and which rows still count."""

    tables: tuple
    columns: str
    read: Callable[[dict], Foreign]
    standing: Callable[[list], list] = list


def _file(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _flyway(row: dict) -> Foreign:
    baseline = row["type"].upper().endswith("BASELINE")
    return Foreign(
        name=row["script"],
        version=row["version"] or "",
        file=_file(row["script"]),
        # The checksum of a baseline script is of the text that stands in for all those before it.
        crc=None if baseline else row["checksum"],
        repeats=row["version"] is None,
        failed=not _succeeded(row),
        up_to=baseline,
        bare=baseline,
    )


def _succeeded(row: dict) -> bool:
    return str(row["success"]).lower() not in ("0", "false")


def _standing_of_flyway(rows: list[dict]) -> list[dict]:
    """Return the rows that still count: what Flyway undoes or deletes is one more row, and a version's last one decides."""
    last: dict = {}
    for row in sorted(rows, key=lambda row: int(row["installed_rank"])):
        # Of the same version another spelling may be recorded; what repeats has none.
        key = (_version(row["version"]) or row["version"]) if row["version"] else ("script", row["script"])
        last.pop(key, None)
        last[key] = row
    gone = ("UNDO_", "DELETE", "SCHEMA")
    return [row for row in last.values() if not (row["type"].upper().startswith(gone) and _succeeded(row))]


def _version(text: str) -> Version | None:
    try:
        return Version(text) if text else None
    except ValueError:
        return None


def _dbup(row: dict) -> Foreign:
    return Foreign(row["scriptname"], file=_file(row["scriptname"]))


def _scripts_run(row: dict) -> Foreign:
    return Foreign(
        name=row["script_name"],
        file=_file(row["script_name"]),
        text=row["text_of_script"],
        repeats=str(row["one_time_script"]).lower() in ("0", "false"),
    )


_SCRIPTS_RUN_COLUMNS = "script_name, text_of_script, one_time_script"
TOOLS = {
    "alembic": Tool(("alembic_version",), "version_num", lambda row: Foreign(row["version_num"], row["version_num"], up_to=True)),
    "dbmate": Tool(("schema_migrations",), "version", lambda row: Foreign(row["version"], row["version"])),
    "dbup": Tool(("SchemaVersions", "schemaversions"), "ScriptName", _dbup),
    "flyway": Tool(
        ("flyway_schema_history", "schema_version"),
        "installed_rank, version, type, script, checksum, success",
        _flyway,
        _standing_of_flyway,
    ),
    "grate": Tool(("grate.ScriptsRun", "grate_ScriptsRun"), _SCRIPTS_RUN_COLUMNS, _scripts_run),
    "liquibase": Tool(
        ("DATABASECHANGELOG", "databasechangelog"),
        "ID, FILENAME",
        lambda row: Foreign(f"{row['filename']}::{row['id']}", file=_file(row["filename"]), part_of=row["filename"]),
    ),
    "roundhouse": Tool(("RoundhousE.ScriptsRun", "RoundhousE_ScriptsRun"), _SCRIPTS_RUN_COLUMNS, _scripts_run),
}


def read_foreign(db: Engine, tool: str, table: str = "") -> list[Foreign]:
    """Return what a tool has recorded.

    Parameters:
        db: the engine.
        tool: a key of TOOLS.
        table: the table, with its schema in front where it needs one; empty for the tool's usual names.

    Raises:
        EverupError: no such table is there, or it cannot be read.
    """
    refusals = []
    for name in (table,) if table else TOOLS[tool].tables:
        quoted = ".".join(db.quote(part) for part in name.split("."))
        try:
            rows = db.query(f"SELECT {TOOLS[tool].columns} FROM {quoted}")
        except DatabaseError as error:
            refusals.append(f"{name}: {error}")
            continue
        return [TOOLS[tool].read(row) for row in TOOLS[tool].standing(rows)]
    raise EverupError(
        f"The history of {tool} cannot be read ({'; '.join(refusals)}). Name its table with from_table, with its schema in front."
    )


def flyway_checksum(text: str) -> int:
    """Return Flyway's checksum of a script: the CRC-32 of its lines' UTF-8 bytes without line ends, as a signed number."""
    value = 0
    for line in text.split("\n"):
        value = zlib.crc32(line.encode("utf-8"), value)
    return value - (1 << 32) if value >= 1 << 31 else value


@dataclass(frozen=True)
class Match:
    """What one recorded script is here.

    Attributes:
        foreign: as the other tool has it.
        migration: the script of ours, None where none belongs to it.
        checksum: ``same``, ``differs`` or ``not comparable``.
    """

    foreign: Foreign
    migration: Migration | None
    checksum: str

    def as_dict(self) -> dict:
        return {
            "recorded": self.foreign.name,
            "script": self.migration.source if self.migration else None,
            "version": str(self.migration.version) if self.migration else None,
            "checksum": self.checksum,
            **({"change_sets": self.foreign.change_sets} if self.foreign.change_sets else {}),
        }


def match_foreign(recorded: list[Foreign], migrations: list[Migration], names: dict) -> list[Match]:
    """Find the script of ours for everything that another tool has run once.

    Parameters:
        recorded: the other tool's rows.
        migrations: our scripts of the phase, in version order.
        names: the user's own mapping, what the tool calls it to our version, for what cannot be found by version or file name;
            an empty version leaves it out.

    Raises:
        EverupError: the mapping holds what is no version.
    """
    matches: list[Match] = []
    for foreign in _by_file(recorded, names):
        if foreign.repeats or _is_left_out(foreign, names):
            continue
        found = _find(foreign, migrations, names)
        matches.append(Match(foreign, found, _compare(foreign, found)))
        newest = found.version if found else _version(names.get(foreign.name, foreign.version)) if foreign.bare else None
        if foreign.up_to and newest is not None:
            earlier = [migration for migration in migrations if migration.version < newest]
            matches += [Match(foreign, migration, "not comparable") for migration in earlier]
    return matches


def left_out(recorded: list[Foreign], names: dict) -> list[str]:
    """Return what is not taken over: what repeats, and what the user's mapping leaves out."""
    return [foreign.name for foreign in _by_file(recorded, names) if foreign.repeats or _is_left_out(foreign, names)]


def _is_left_out(foreign: Foreign, names: dict) -> bool:
    return foreign.name in names and not names[foreign.name]


def _by_file(recorded: list[Foreign], names: dict) -> list[Foreign]:
    """Put the change sets of a file together, but for those that the user's mapping names."""
    sets = Counter(foreign.part_of for foreign in recorded if foreign.part_of and foreign.name not in names)
    found: list[Foreign] = []
    files: set[str] = set()
    for foreign in recorded:
        if not foreign.part_of or foreign.name in names:
            found.append(foreign)
        elif foreign.part_of not in files:
            files.add(foreign.part_of)
            found.append(replace(foreign, name=foreign.part_of, change_sets=sets[foreign.part_of]))
    return found


def _find(foreign: Foreign, migrations: list[Migration], names: dict) -> Migration | None:
    wanted = names.get(foreign.name, foreign.version)
    try:
        version = Version(wanted) if wanted else None
    except ValueError as error:
        if foreign.name in names:
            raise EverupError(f"mapping of {foreign.name}: {error}") from None
        version = None
    for migration in migrations:
        file = _file(migration.source).lower()
        if version is not None and migration.version == version:
            return migration
        # DbUp writes an embedded script as Namespace.Folder.file.sql.
        if version is None and foreign.file and (foreign.file.lower() == file or foreign.file.lower().endswith(f".{file}")):
            return migration
    return None


def _compare(foreign: Foreign, migration: Migration | None) -> str:
    if migration is None:
        return "not comparable"
    if foreign.text is not None:
        theirs = foreign.text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
        return "same" if theirs.rstrip() == migration.script.text.rstrip() else "differs"
    if foreign.crc is not None:
        return "same" if flyway_checksum(migration.script.text) == foreign.crc else "differs"
    return "not comparable"


def findings_of(matches: list[Match], ignore_missing: bool, accept_changed: bool) -> list[str]:
    """Return what keeps the mapping from being taken over, each with the way on."""
    findings = []
    for match in matches:
        name = match.foreign.name
        if match.foreign.failed:
            findings.append(f"{name} has failed there: repair it with that tool first")
        elif match.migration is None and not ignore_missing and not match.foreign.bare:
            findings.append(f"{name} has no script here: add the file, name its version in mapping, or set ignore_missing")
        elif match.checksum == "differs" and not accept_changed:
            findings.append(
                f"{match.migration.source} is not the text that {name} ran with: put the old text back, or set accept_changed"
            )
    return findings
