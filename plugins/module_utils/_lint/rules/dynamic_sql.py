# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQL that nobody can see before it runs."""

from __future__ import annotations

from ..facts import Fact
from ..rule import SERVERS, WARNING, Context, rule


@rule(
    "dynamic-sql",
    WARNING,
    engines=SERVERS,
    kinds=("dynamic",),
    why="The text is put together at run time, from names or values that are not here: no rule has looked at what will run.",
    instead=dict.fromkeys(SERVERS, "-- write the statement out, or execute it as one literal: that is looked into"),
)
def dynamic_sql(fact: Fact, context: Context) -> str | None:
    return f"the text that is executed here cannot be read: {fact.values.get('text', '')[:60]}".rstrip(": ")
