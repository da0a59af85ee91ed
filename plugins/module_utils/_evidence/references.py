# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says which objects contract scripts drop, and what in the database still refers to one of them."""

from __future__ import annotations

import re

from .._db.witnesses.base import Edge, Module, Object, names_all
from .._lint.facts import Fact, ScriptFacts, bare, same_name

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
_DEFINITIONS = ("create_view", "alter_view", "create_materialized_view", "create_routine", "alter_routine", "create_trigger")
# What a DROP of these takes with it, nobody has written down.
_TAKES_MORE = ("SCHEMA", "DATABASE", "OWNED", "EXTENSION", "USER", "ROLE", "LOGIN", "SERVER")
_NOBODY_NAMES = ("EVENT", "STATISTICS")
_CODE = {"VIEW": "view", "FUNCTION": "routine", "PROCEDURE": "routine"}
# SELECT *, t.* or a, *, and neither count(*) nor a product.
_ALL_COLUMNS = re.compile(r"""(?i)(?:\bselect\s+(?:all\s+|distinct\s+|top\s*\(?\s*\d+\s*\)?\s+)?|[\w\]"`]\s*\.\s*|,\s*)\*""")
# What takes a name out of its schema.
_MOVES_AWAY, _TAKES_FROM_ANOTHER = "SET SCHEMA ", "TRANSFER "


def dropped_objects(scripts: list[ScriptFacts]) -> list[Object]:
    """Return what scripts take away, each once; a new name or another schema takes the old one away.

    What they have made themselves before is nobody's.
    """
    made: list[str] = []
    found = []
    for fact in _facts(scripts):
        if fact.kind == "create_table" and not fact.has("if_not_exists"):
            made.append(fact.table or fact.name)
        found += [wanted for wanted in _taken_away(fact) if not any(same_name(m, wanted.table or wanted.name) for m in made)]
        if fact.kind in ("drop_table", "rename_table"):
            made = [name for name in made if not same_name(name, fact.table or fact.name)]
    return list(dict.fromkeys(found))


def _taken_away(fact: Fact) -> list[Object]:
    kind, action = _KINDS.get(fact.kind), str(fact.values.get("action", ""))
    if fact.kind == "rename_object":
        return [] if _what(fact) in _TAKES_MORE else _renamed(fact)
    if fact.kind == "drop_other":
        return [] if _what(fact) in (*_TAKES_MORE, *_NOBODY_NAMES) else [Object(_what(fact).lower() or "object", fact.name)]
    if action.startswith(_MOVES_AWAY):
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


def still_referring(objects: list[Object], edges: list[Edge], modules: list[Module], scripts: list[ScriptFacts]) -> list[str]:
    """Return a sentence for each thing that refers to an object and is not taken away, or written anew without it, as well.

    Parameters:
        objects: as dropped_objects() returns them.
        edges, modules: of the live schema.
        scripts: the contract scripts that are about to run.
    """
    facts = _facts(scripts)
    tables = [wanted.name for wanted in objects if wanted.kind == "table"]
    found = []
    for wanted in objects:
        if wanted.kind == "trigger":
            continue
        for edge in edges:
            if _refers(edge, wanted) and not _edge_goes(edge, wanted, facts, tables):
                of = f" of {edge.table}" if edge.table else ""
                found.append(f"{edge.kind} {edge.by}{of} refers to {wanted}")
        for module in modules:
            if _names(module, wanted, facts) and not _module_goes(module, wanted, facts, tables):
                found.append(f"{module.kind} {module.name} refers to {wanted}")
    return list(dict.fromkeys(found))


def hidden_modules(modules: list[Module], scripts: list[ScriptFacts]) -> list[str]:
    """Return the names of modules whose text this user may not see and that stay."""
    facts = _facts(scripts)
    return sorted(module.name for module in modules if module.text is None and not _is_dropped(module.name, facts))


def _facts(scripts: list[ScriptFacts]) -> list[Fact]:
    return [fact for script in scripts for fact in script.facts]


def _refers(edge: Edge, wanted: Object) -> bool:
    if wanted.kind == "column":
        return same_name(edge.on, wanted.table) and edge.column.lower() == wanted.name.lower()
    return same_name(edge.on, wanted.name)


def _edge_goes(edge: Edge, wanted: Object, facts: list[Fact], tables: list[str]) -> bool:
    if edge.table and any(same_name(edge.table, table) for table in tables):
        return True
    if edge.kind == "constraint":
        return any(_of_table(fact, "drop_constraint", edge.table) and same_name(fact.name, edge.by) for fact in facts)
    if edge.kind == "column":
        return any(_of_table(fact, "drop_column", edge.table) and same_name(fact.name, edge.by) for fact in facts)
    return _is_dropped(edge.by, facts) or _is_freed(edge.by, wanted, facts)


def _of_table(fact: Fact, kind: str, table: str) -> bool:
    return fact.kind == kind and same_name(fact.table, table)


def _names(module: Module, wanted: Object, facts: list[Fact]) -> bool:
    """Return whether a module's text names an object.

    On its own table a column is named without it; a view of all columns, which some engines keep as it was written, names each.
    """
    if not module.text or (wanted.kind in ("view", "routine") and same_name(module.name, wanted.name)):
        return False
    words = wanted.words
    if wanted.kind == "column":
        staying = [table for table, trigger in module.attached if not (trigger and _is_dropped(trigger, facts))]
        if any(same_name(table, wanted.table) for table in staying):
            words = words[-1:]
        elif module.kind == "view" and _ALL_COLUMNS.search(module.text):
            words = words[:1]
    return names_all(module.text, words)


def _module_goes(module: Module, wanted: Object, facts: list[Fact], tables: list[str]) -> bool:
    if module.kind in ("trigger", "column") and any(same_name(t, table) for t, _by in module.attached for table in tables):
        return True
    if module.kind == "column":
        owner = module.attached[0][0] if module.attached else ""
        return any(_of_table(fact, "drop_column", owner) and bare(module.name) == fact.name.lower() for fact in facts)
    return _is_dropped(module.name, facts) or _is_freed(module.name, wanted, facts)


def _is_dropped(name: str, facts: list[Fact]) -> bool:
    kinds = ("drop_view", "drop_materialized_view", "drop_routine", "drop_trigger")
    return any(fact.kind in kinds and same_name(fact.name, name) for fact in facts)


def _is_freed(name: str, wanted: Object, facts: list[Fact]) -> bool:
    """Return whether the scripts define a module anew, by a text that does not name the object any more."""
    texts = [fact.values.get("body", "") for fact in facts if fact.kind in _DEFINITIONS and same_name(fact.name, name)]
    return bool(texts) and bool(texts[-1]) and not names_all(texts[-1], wanted.words)
