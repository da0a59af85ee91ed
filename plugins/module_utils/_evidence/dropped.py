# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says which objects contract scripts take away, and where that cannot be told."""

from __future__ import annotations

from .._db.witnesses.base import Object
from .._lint.facts import Fact, ScriptFacts

_KINDS = {
    "drop_table": "table",
    "rename_table": "table",
    "drop_column": "column",
    "rename_column": "column",
    "drop_view": "view",
    "drop_materialized_view": "view",
    "drop_routine": "routine",
    "drop_trigger": "trigger",
}
# What a DROP of these takes with it, nobody has written down.
_TAKES_MORE = ("SCHEMA", "DATABASE", "OWNED", "EXTENSION", "USER", "ROLE", "LOGIN", "SERVER")
_NOBODY_NAMES = ("EVENT", "STATISTICS")
_CODE = {"VIEW": "view", "MATERIALIZED VIEW": "view", "FUNCTION": "routine", "PROCEDURE": "routine", "ROUTINE": "routine"}
# What takes a name out of its schema.
_MOVES_AWAY, _TAKES_FROM_ANOTHER = " SET SCHEMA ", "TRANSFER "


def dropped_objects(scripts: list[ScriptFacts]) -> list[Object]:
    """Return what scripts take away, each once; a new name or another schema takes the old one away.

    What they have surely made themselves before, written the same way, is nobody's.
    """
    made: set[str] = set()
    found = []
    for fact in facts_of(scripts):
        if fact.kind == "create_table" and not (fact.guarded or fact.has("if_not_exists")):
            made.add((fact.table or fact.name).lower())
        found += [wanted for wanted in _taken_away(fact) if (wanted.table or wanted.name).lower() not in made]
        if fact.kind in ("drop_table", "rename_table"):
            made.discard((fact.table or fact.name).lower())
    return list(dict.fromkeys(found))


def _taken_away(fact: Fact) -> list[Object]:
    kind, action = _KINDS.get(fact.kind), str(fact.values.get("action", ""))
    if fact.kind == "rename_object":
        return [] if _what(fact) in _TAKES_MORE else _renamed(fact)
    if fact.kind == "drop_other":
        return [] if _what(fact) in (*_TAKES_MORE, *_NOBODY_NAMES) else [Object(_what(fact).lower() or "object", fact.name)]
    if _MOVES_AWAY in f" {action}":
        return [Object("table", fact.table) if fact.kind == "alter_table" else Object(_kind_of(fact), fact.name)]
    if action.startswith(_TAKES_FROM_ANOTHER):
        return [Object("table", action.removeprefix(_TAKES_FROM_ANOTHER).rpartition("::")[2].strip().lower())]
    if kind is None or fact.has("temporary"):
        return []
    name = fact.name if kind != "table" else fact.table or fact.name
    return [Object(kind, name, fact.table if kind in ("column", "trigger") else "")]


def _kind_of(fact: Fact) -> str:
    return _CODE.get(_what(fact)) or _what(fact).lower() or "object"


def _what(fact: Fact) -> str:
    return str(fact.values.get("object", "")).upper()


def _renamed(fact: Fact) -> list[Object]:
    """Return what a new name takes away; of sp_rename nobody can tell whether the last part of a name with dots is a column."""
    if _what(fact):
        return [Object(_kind_of(fact), fact.name)]
    table, _dot, last = fact.name.rpartition(".")
    return [Object("table", fact.name), *([Object("column", last, table)] if table else [])]


def unread_places(scripts: list[ScriptFacts]) -> list[str]:
    """Return where it cannot be told what a script does."""
    found = []
    for script in scripts:
        found += [f"{script.source}:{place.line}: {' '.join(place.text.split())[:80]}" for place in script.unread]
        for fact in script.facts:
            if fact.kind == "dynamic":
                found.append(f"{script.source}:{fact.line}: SQL that is put together when it runs")
            elif fact.kind == "execute" and not fact.has("literal"):
                found.append(f"{script.source}:{fact.line}: what {fact.name} does when it is called")
            elif fact.kind == "drop_other" and _what(fact) in _TAKES_MORE:
                found.append(f"{script.source}:{fact.line}: what DROP {_what(fact)} {fact.name} takes with it")
            elif fact.kind == "rename_object" and _what(fact) in _TAKES_MORE:
                found.append(f"{script.source}:{fact.line}: what a new name for {_what(fact)} {fact.name} takes with it")
    return found


def facts_of(scripts: list[ScriptFacts]) -> list[Fact]:
    """Return what scripts do, in order."""
    return [fact for script in scripts for fact in script.facts]
