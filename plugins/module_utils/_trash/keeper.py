# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The interface by which each engine keeps what is dropped, and the selector of the engine's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import Callable, Iterator

from .._db.engines.base import Engine
from .._db.lexis import Statement
from .drops import Drop
from .manifest import Manifest, Place, Refusal

# Gives the name that something is kept under: its own name, and the prefix where no schema says that it is kept.
Naming = Callable[[str, str], str]


class Keeper(ABC):
    """How one engine keeps what is dropped.

    Attributes:
        longest_name: bytes of an identifier.

    Parameters:
        db: the engine.
    """

    longest_name = 64

    def __init__(self, db: Engine) -> None:
        self.db = db

    @abstractmethod
    def manifest(self, drop: Drop, naming: Naming, doomed: frozenset) -> Manifest | Refusal:
        """Return how an object that a statement drops is kept; changes nothing.

        Parameters:
            drop: what is dropped.
            naming: see above; gives the same number to all names of one object.
            doomed: types, functions and sequences that the run drops later, in lower case, which nothing kept may need.
        """

    def apply_trial(self, statement: Statement) -> None:  # noqa: B027 - most engines ask their catalog instead
        """Run the drop and take it back, so that one that the server would refuse is refused; in a transaction.

        Raises:
            DatabaseError: the server refuses it.
        """

    @abstractmethod
    def is_there(self, kind: str, place: Place) -> bool:
        """Return whether an object is there."""

    @abstractmethod
    def taken(self, manifest: Manifest) -> list[str]:
        """Return which of the names that a restore needs are taken by now."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Return whether what a constraint or trigger of a restored object needs is there, as the manifest names it."""

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Give the session what the statements of a restore need."""
        yield

    def size(self, manifest: Manifest) -> int | None:
        """Return how many bytes a kept table takes, None where nobody knows."""
        return None

    def stale_versions(self) -> dict:
        """Return how often each routine was used (uses) and when last (last_used_at), by schema and name.

        Nothing of what the server does not count.
        """
        return {}


def keeper_of(db: Engine) -> Keeper:
    """Return the keeper of an engine; no other engine's is imported."""
    if db.name == "postgresql":
        from .postgresql import PostgresqlKeeper as Found
    elif db.name in ("mariadb", "mysql"):
        from .mysql import MysqlKeeper as Found
    elif db.name == "sqlserver":
        from .sqlserver import SqlserverKeeper as Found
    else:
        from .sqlite import SqliteKeeper as Found
    return Found(db)
