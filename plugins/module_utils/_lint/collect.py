# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collects the facts of one statement, and knows where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from .facts import Fact, Unread
from .tokens import Token, text_of

_SHOWN = 60


@dataclass(frozen=True)
class Setting:
    """What stands around a statement: which one of the script it is in, whether an IF guards it, and what it is within."""

    statement: int = 0
    guarded: bool = False
    within: tuple = ()

    def inside(self, *within: str, guarded: bool = False) -> Setting:
        """Return the setting of what stands in a loop, a block, or behind an IF here."""
        return Setting(self.statement, self.guarded or guarded, (*self.within, *within))


@dataclass
class Collector:
    """The facts of one script so far.

    Attributes:
        engine: one of ENGINES.
        facts, unread: what was found, in the order of the text.
    """

    engine: str
    facts: list = field(default_factory=list)
    unread: list = field(default_factory=list)
    setting: Setting = field(default_factory=Setting)

    def add(
        self, kind: str, at: Token, table: str = "", name: str = "", to: str = "", flags: tuple = (), **values: object
    ) -> Fact:
        """Add one fact; values that are empty are left out."""
        fact = Fact(
            kind,
            at.line,
            at.column,
            table,
            name,
            to,
            tuple(dict.fromkeys(flags)),
            {key: value for key, value in values.items() if value not in ("", [], None)},
            self.setting.statement,
            self.setting.guarded,
            self.setting.within,
        )
        self.facts.append(fact)
        return fact

    def give_up(self, tokens: list[Token]) -> None:
        """Say that nobody could read these tokens."""
        if tokens:
            text = text_of(tokens[:24])
            self.unread.append(Unread(tokens[0].line, tokens[0].column, text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."))
