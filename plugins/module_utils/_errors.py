# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one exception every area raises for a person to read."""

from __future__ import annotations


class EverupError(Exception):
    """Something a person must act on, said in a sentence: what, where, what was last seen, what to do next.

    Parameters:
        message: the sentence.
        details: JSON-serialisable facts returned beside the message (a holder, a blocker, a list of findings).
    """

    def __init__(self, message: str, **details) -> None:
        super().__init__(message)
        self.details = details
