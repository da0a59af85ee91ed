# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the scripts of a migrations folder into facts: in parallel, and each text only once as long as it stays the same."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from .._db.connection import engine_class
from .._db.lexis import ScriptError
from .._db.script import Script, load_script
from .._migrations.files import script_files
from .._migrations.version import Version, parse_name
from .cache import FactsCache
from .facts import Fact, ScriptFacts
from .lint import Finding, facts_of, unreadable
from .parse import Parser, parser_version
from .rule import CONTRACT, EXPAND, REPEATABLE

# Fewer scripts than this are parsed before other processes have begun.
_WORTH_A_POOL = 4
_worker: dict = {}


class Reader:
    """Reads scripts into facts, from the cache where they are there; sqlfluff is loaded when the first one is not.

    Parameters:
        engine: one of DIALECTS.
        cache_folder: see FactsCache.
        processes: that parse at the same time; 0 for as many as there are processors.
    """

    def __init__(self, engine: str, cache_folder: Path | None, processes: int = 0) -> None:
        self.engine = engine
        self._cache = FactsCache(cache_folder, engine, parser_version())
        self._processes = processes
        self._parser: Parser | None = None

    def read(self, script: Script) -> list[Fact]:
        """Return what one script does.

        Raises:
            ParserMissing: sqlfluff is not installed.
        """
        return list(self.read_all([(script, EXPAND, "")])[0].facts)

    def read_all(self, loaded: list[tuple[Script, str, str]]) -> list[ScriptFacts]:
        """Return the facts of scripts in their order, each of which comes with its phase and version.

        Raises:
            ParserMissing: sqlfluff is not installed, and one of them has to be parsed.
        """
        found: list[ScriptFacts | None] = []
        for script, phase, version in loaded:
            kept = None if script.placeholders_used else self._cache.get(script.text)
            found.append(None if kept is None else facts_of(script, self.engine, phase, version, kept))
        missing = [number for number, facts in enumerate(found) if facts is None]
        if missing:
            self._parser = self._parser or Parser(self.engine)
        for number, facts in zip(
            missing, _parse([loaded[number] for number in missing], self.engine, self._parser, self._processes)
        ):
            found[number] = facts
            script = loaded[number][0]
            if not script.placeholders_used:  # their values may be secret
                self._cache.put(script.text, facts.facts, facts.unread)
        return found


@dataclass
class Folder:
    """The scripts of a folder as far as they could be read.

    Attributes:
        scripts: in the order in which they run, phase after phase.
        checksums: of each script by its source.
        broken: a finding for each script that cannot even be split, with its phase.
    """

    scripts: list[ScriptFacts] = field(default_factory=list)
    checksums: dict = field(default_factory=dict)
    broken: list[tuple[str, Finding]] = field(default_factory=list)


def read_folder(params: dict, reader: Reader) -> Folder:
    """Read every script of a migrations folder.

    Parameters:
        params: with MIGRATIONS_SPEC.
        reader: for the engine.

    Raises:
        EverupError: the folder is missing or cannot be read.
        ParserMissing: sqlfluff is not installed, and a script has to be parsed.
    """
    folder = Folder()
    loaded: list[tuple[Script, str, str]] = []
    for phase, option in ((EXPAND, "expand_folder"), (REPEATABLE, "repeatable_folder"), (CONTRACT, "contract_folder")):
        loaded += _load(params, phase, params[option], reader.engine, folder)
    folder.scripts = reader.read_all(loaded)
    folder.checksums = {script.source: script.checksum for script, _phase, _version in loaded}
    return folder


def _load(params: dict, phase: str, subfolder: str, engine: str, folder: Folder) -> list[tuple[Script, str, str]]:
    lexis = engine_class(engine).lexis
    findings: list[str] = []
    loaded = []
    for path, source in script_files(params["path"], subfolder, findings):
        stem = path.name[: -len(".sql")]
        try:
            version = Version("0") if phase == REPEATABLE else parse_name(stem)[0]
            loaded.append((version, load_script(path, source, lexis, params["placeholders"])))
        except ScriptError as error:
            place = error.details
            broken = unreadable(source, place["line"], place["column"], str(error).partition(": ")[2])
            folder.broken.append((phase, broken))
        except ValueError as error:
            folder.broken.append((phase, unreadable(source, 1, 1, str(error))))
    folder.broken += [(phase, unreadable(text.split(":", 1)[0], 1, 1, text.split(": ", 1)[-1])) for text in findings]
    loaded.sort(key=lambda pair: (pair[0], pair[1].source))
    return [(script, phase, "" if phase == REPEATABLE else str(version)) for version, script in loaded]


def _parse(loaded: list, engine: str, parser: Parser | None, processes: int) -> list[ScriptFacts]:
    workers = min(processes or os.cpu_count() or 1, len(loaded))
    if workers < 2 or len(loaded) < _WORTH_A_POOL or "fork" not in multiprocessing.get_all_start_methods():
        return [facts_of(script, engine, phase, version, parser) for script, phase, version in loaded]
    _worker.update(parser=parser, engine=engine, loaded=loaded)
    # The longest come first, so that no process is left alone with one of them at the end.
    order = sorted(range(len(loaded)), key=lambda number: -len(loaded[number][0].text))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        read = dict(zip(order, pool.map(_parse_one, order, chunksize=1)))
    return [read[number] for number in range(len(loaded))]


def _parse_one(number: int) -> ScriptFacts:
    """Read one script in a process of the pool, which has inherited the parser and the scripts."""
    script, phase, version = _worker["loaded"][number]
    return facts_of(script, _worker["engine"], phase, version, _worker["parser"])
