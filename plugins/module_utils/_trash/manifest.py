# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is remembered of an object that is kept: where it was, where it is, and how it comes back or goes for good."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from .drops import TEXT_KINDS

_LONGEST_LABEL = 255


@dataclass(frozen=True)
class Place:
    """Where an object is: schema (or database), name, and for a column its own name; as the catalog spells them.

    Attributes:
        arguments: of a routine, where several may have one name.
    """

    schema: str
    name: str
    column: str = ""
    arguments: str = ""

    def __str__(self) -> str:
        text = ".".join(part for part in (self.schema, self.name, self.column) if part)
        return (f"{text}({self.arguments})" if self.arguments else text)[:_LONGEST_LABEL]


@dataclass(frozen=True)
class Manifest:
    """How one object is moved into the trash, comes back, and goes for good; SQL of the engine that it is on.

    Attributes:
        kind: table, column, view, procedure or function.
        place: where it was.
        kept: where it is now; the place itself for what is kept as its text.
        move: statements that move it; none for what is kept as its text, whose own statement drops it.
        restore: statements that bring it back.
        constraints: further ones, each only while another object is there: dicts with name, needs (that object), sql and what.
        finish: behind the restore, each by itself: dicts with of (the name of a constraint that it is for, or nothing), sql and
            what; one that the data does not allow any longer is told. With rows it is a query that must find none.
        takes: names that have to be free for the restore.
        purge: statements that drop it for good.
        notes: what a restore does not bring back as it was, as sentences.
    """

    kind: str
    place: Place
    kept: Place
    move: tuple = ()
    restore: tuple = ()
    constraints: tuple = ()
    finish: tuple = ()
    takes: tuple = ()
    purge: tuple = ()
    notes: tuple = ()

    @property
    def is_text(self) -> bool:
        """Whether only its text is kept, since it holds no data."""
        return self.kind in TEXT_KINDS

    @property
    def kept_as(self) -> str:
        return "its text in the ledger" if self.is_text else str(self.kept)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        values = {name: value for name, value in json.loads(text).items() if name in {f.name for f in fields(cls)}}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**{**values, "place": Place(**values["place"]), "kept": Place(**values["kept"])})


@dataclass(frozen=True)
class Refusal:
    """Why an object is not kept, and its statement runs as it is written.

    Attributes:
        why: as the end of a sentence; empty where nothing is lost.
        object: as far as it is known.
        missing: there is no such object.
        undecided: others name it now, so that the server would refuse the statement unless they go before it.
    """

    why: str = ""
    object: str = ""
    missing: bool = False
    undecided: bool = False


MISSING = Refusal(missing=True)
NOTHING_LOST = Refusal()


def undecided(place: Place) -> Refusal:
    return Refusal("others name it, so that it was left to the server", str(place), undecided=True)
