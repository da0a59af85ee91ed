# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an engine can testify of who uses what: sessions, references between objects, and counters of use."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass

from ..engines.base import Engine
from ..errors import DatabaseError


class Unseen(DatabaseError):
    """This user may not see what was asked for, so the answer would be wrong rather than empty."""


@dataclass(frozen=True)
class Object:
    """An object that may be dropped.

    Attributes:
        kind: table, column, view, routine or trigger.
        name: as the script writes it, with its schema where that is written; of a column and a trigger its own name.
        table: of a column or trigger.
    """

    kind: str
    name: str
    table: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.table}.{self.name}" if self.kind == "column" else f"{self.kind} {self.name}"

    @property
    def words(self) -> tuple:
        """The words that a text must hold to use the object, in lower case: for a column its table as well."""
        names = (self.table, self.name) if self.kind == "column" else (self.name,)
        return tuple(name.rpartition(".")[2].lower() for name in names)


@dataclass(frozen=True)
class Edge:
    """A reference that the catalog knows of.

    Attributes:
        kind: of what refers: view, constraint, trigger, column, routine, policy, synonym.
        by: its name.
        table: the table that it belongs to, empty for one that stands by itself.
        on: what is referred to, with its schema; column: of that, empty for all of it.
    """

    kind: str
    by: str
    table: str
    on: str
    column: str = ""


@dataclass(frozen=True)
class Module:
    """Something that holds SQL.

    Attributes:
        kind: view, routine, trigger, event, or column for one that is computed.
        name: with its schema.
        text: None where this user may not see it.
        attached: the tables that it belongs to, whose columns it may name without them, each with the trigger that attaches it
            (empty where it is itself what stands on the table).
        arguments: of a routine where several may have one name, as the catalog writes them; else None.
    """

    kind: str
    name: str
    text: str | None
    attached: tuple = ()
    arguments: str | None = None


def module_of(row: dict) -> Module:
    """Return the module of a row with kind, name, text and of_table, empty or NULL for one that stands by itself."""
    return Module(row["kind"], row["name"], row["text"], ((row["of_table"], ""),) if row["of_table"] else ())


@dataclass(frozen=True)
class Count:
    """A counter of one object.

    Attributes:
        source: the view that counts.
        object: as :class:`Object` writes itself.
        uses: None where nobody can tell; ``why`` then says what is missing.
        last_used_at, counted_since: see :class:`..._release.usage.Reading`.
        suffices: whether no use here means no use at all.
    """

    source: str
    object: str
    uses: int | None
    last_used_at: str | None = None
    counted_since: str | None = None
    suffices: bool = True
    why: str = ""


class Witness(ABC):
    """Asks one connection; nothing of it reads a user's rows.

    Attributes:
        has_sessions, has_counters: whether the engine keeps such a record at all.
    """

    has_sessions = True
    has_counters = True

    def __init__(self, db: Engine) -> None:
        self.db = db

    def sessions(self) -> list[dict]:
        """Return session, program, user, host and since of every session of others on this database.

        Raises:
            Unseen: this user sees its own sessions only.
        """
        return []

    def home(self) -> tuple:
        """Return the schemas, or databases, in which a name without one is looked for, in their order."""
        return ()

    @abstractmethod
    def edges(self) -> list[Edge]:
        """Return the references that the catalog knows of."""

    @abstractmethod
    def modules(self) -> list[Module]:
        """Return everything of the users' that holds SQL."""

    def counts(self, objects: list[Object], own: set[str]) -> list[Count]:
        """Return at least one counter of each object, with ``uses`` None where there is none.

        Parameters:
            own: skeletons of statements that the deploy itself asks; they are no use.
        """
        return []

    def try_query(self, sql: str, parameters: tuple = ()) -> list[dict] | None:
        """Return the rows of a view that may be missing or hidden, None where it is."""
        with suppress(DatabaseError):
            return self.db.query(sql, parameters)
        return None


_COMMENT = re.compile(r"(?s)/\*.*?\*/|--[^\n]*|^#[^\n]*")
_LITERAL = re.compile(r"'(?:[^']|'')*'|\$\d+|\?|(?<![\w.])\d+(?:\.\d+)?")


def skeleton(sql: str) -> str:
    """Return a statement without what two callers of it, or a server that counts it, may write in different ways."""
    text = _LITERAL.sub("?", _COMMENT.sub(" ", sql)).lower()
    text = re.sub(r'[`"\[\]]', "", text)
    return re.sub(r"\s*([^\w?$]|\s)\s*", lambda match: match.group(1).strip() or " ", text).strip(" ;")


def names_all(text: str, words: tuple) -> bool:
    """Return whether a text holds all of these words, as words."""
    return all(re.search(rf"(?<![\w@#]){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in words)


def counted_texts(source: str, objects: list[Object], rows: list[dict], since: str, own: set[str]) -> list[Count]:
    """Return a counter for each object: the calls of all statements that name it, or that are a routine's own.

    Parameters:
        rows: text, calls and last (None where it is not kept) of each statement, and inside: the routine that it is of.
        since: from when they count.
        own: see :meth:`Witness.counts`.
    """
    others = [row for row in rows if row["text"] and skeleton(row["text"]) not in own]
    found = []
    for wanted in objects:
        named = [row for row in others if _is_inside(row, wanted) or _is_use(row["text"], wanted)]
        lasts = [row["last"] for row in named if row.get("last")]
        calls = sum(int(row["calls"]) for row in named)
        found.append(Count(source, str(wanted), calls, max(lasts) if lasts else None, since))
    return found


def _is_inside(row: dict, wanted: Object) -> bool:
    return wanted.kind == "routine" and f".{row.get('inside') or ''}".endswith(f".{wanted.name.lower()}")


def _is_use(text: str, wanted: Object) -> bool:
    return names_all(text, wanted.words) and not _is_schema_change(text)


_SCHEMA_CHANGE = re.compile(r"(?is)\s*(create|alter|drop|comment|grant|revoke|analyze|vacuum)\b")
# A copy of rows by CREATE TABLE ... AS SELECT, and a statement that MariaDB's ANALYZE runs.
_READS = re.compile(
    r"(?is)\s*(?:create\s+(?:or\s+replace\s+)?(?:\w+\s+){0,2}table\b.*\b(?:select|as\s+table)\b"
    r"|analyze\b.*\b(?:select|insert|update|delete)\b)"
)


def _is_schema_change(text: str) -> bool:
    plain = _COMMENT.sub(" ", text)
    return bool(_SCHEMA_CHANGE.match(plain)) and not _READS.match(plain)


def not_counted(source: str, objects: list[Object], why: str) -> list[Count]:
    """Return for each object that nobody can tell, and why."""
    return [Count(source, str(wanted), None, why=why) for wanted in objects]
