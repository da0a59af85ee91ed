# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can go wrong between us and a database, as exceptions a caller can tell apart."""

from __future__ import annotations

from .._errors import EverupError


class DatabaseError(EverupError):
    """The database refused a statement or a connection; the message is the server's own, made readable.

    Attributes:
        in_doubt: what to do about a statement that may have committed a part of itself before it failed; empty for one that
            has left nothing.
    """

    in_doubt: str = ""


class LockTimeout(DatabaseError):
    """A lock was not to be had within the lock time-out of the session."""


class LeaseLost(EverupError):
    """The fencing token is no longer the newest: another run has taken over the right to act."""
