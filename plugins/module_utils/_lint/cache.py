# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps what scripts were read into, so that a script is parsed once and not again until it, or this code changes."""

from __future__ import annotations

import hashlib
import json
import os
import pkgutil
import tempfile
from contextlib import suppress
from pathlib import Path

from .facts import Fact, Unread

_CODE = (
    "collect.py", "dynamic.py", "facts.py", "parse.py", "read.py", "read_alter.py", "read_columns.py", "read_indexes.py",
    "read_modules.py", "read_others.py", "read_query.py", "read_tables.py", "segments.py", "tokens.py",
)  # fmt: skip


def default_folder() -> Path:
    """Return the user's own cache folder, as the XDG base directory specification has it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "everup-lint"


class FactsCache:
    """Facts by checksum of text, engine, sqlfluff's version and the code that reads them, one file each.

    A file that is missing or broken is no fact: the script is parsed again. A folder that cannot be written keeps
    nothing, and nothing fails for it.

    Parameters:
        folder: created on first use, for this user alone; None keeps nothing.
        engine: one of DIALECTS.
        parser_version: sqlfluff's.
    """

    def __init__(self, folder: Path | None, engine: str, parser_version: str) -> None:
        self._folder = folder
        code = b"".join(pkgutil.get_data(__package__, name) or b"" for name in _CODE)
        self._base = f"{engine}|{parser_version}|{hashlib.sha256(code).hexdigest()}|"

    def _path(self, text: str) -> Path:
        digest = hashlib.sha256((self._base + text).encode("utf-8")).hexdigest()
        return self._folder / digest[:2] / f"{digest}.json"

    def get(self, text: str) -> tuple[list, list] | None:
        """Return facts and unread places of a script's text, None when they are not kept."""
        if self._folder is None:
            return None
        try:
            stored = json.loads(self._path(text).read_text("utf-8"))
            return [Fact.of(fact) for fact in stored["facts"]], [Unread(**unread) for unread in stored["unread"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, text: str, facts: list, unread: list) -> None:
        """Keep what a script's text was read into."""
        if self._folder is None:
            return
        path = self._path(text)
        stored = {"facts": [fact.as_dict() for fact in facts], "unread": [vars(one) for one in unread]}
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(stored, file)
            Path(temporary).replace(path)
