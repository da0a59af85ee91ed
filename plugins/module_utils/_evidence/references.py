# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says which objects contract scripts drop, and what in the database still refers to one of them."""

from __future__ import annotations

import re

from .._db.witnesses.base import Edge, Module, Object, names_all
from .._lint.facts import Fact, ScriptFacts, bare, same_name
from .._trash.postgresql import same_arguments

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
_DROPS = {"view": ("drop_view", "drop_materialized_view"), "routine": ("drop_routine",), "trigger": ("drop_trigger",)}
_DEFINITIONS = {
    "view": ("create_view", "alter_view", "create_materialized_view"),
    "routine": ("create_routine", "alter_routine"),
    "trigger": ("create_trigger", "alter_trigger"),
}
# What a DROP of these takes with it, nobody has written down.
_TAKES_MORE = ("SCHEMA", "DATABASE", "OWNED", "EXTENSION", "USER", "ROLE", "LOGIN", "SERVER")
_NOBODY_NAMES = ("EVENT", "STATISTICS")
_CODE = {"VIEW": "view", "MATERIALIZED VIEW": "view", "FUNCTION": "routine", "PROCEDURE": "routine", "ROUTINE": "routine"}
# SELECT *, t.* or a, *, and neither count(*) nor a product.
_ALL_COLUMNS = re.compile(r"""(?i)(?:\bselect\s+(?:all\s+|distinct\s+|top\s*\(?\s*\d+\s*\)?\s+)?|[\w\]"`]\s*\.\s*|,\s*)\*""")
# What takes a name out of its schema.
_MOVES_AWAY, _TAKES_FROM_ANOTHER = " SET SCHEMA ", "TRANSFER "


def dropped_objects(scripts: list[ScriptFacts]) -> list[Object]:
    """Return what scripts take away, each once; a new name or another schema takes the old one away.

    What they have surely made themselves before, written the same way, is nobody's.
    """
    made: set[str] = set()
    found = []
    for fact in _facts(scripts):
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


def still_referring(
    objects: list[Object], edges: list[Edge], modules: list[Module], scripts: list[ScriptFacts], home: tuple = ()
) -> list[str]:
    """Return a sentence for each thing that refers to an object and is not taken away, or written anew without it, as well.

    Parameters:
        objects: as dropped_objects() returns them.
        edges, modules: of the live schema.
        scripts: the contract scripts that are about to run.
        home: the schemas in which a name without one is looked for, in their order; where none is known it may mean any.
    """
    facts = _facts(scripts)
    fates = _Fates(facts, modules, home)
    tables = [wanted.name for wanted in objects if wanted.kind == "table"]
    found = []
    for wanted in objects:
        if wanted.kind == "trigger":
            continue
        for edge in edges:
            if _refers(edge, wanted) and not _edge_goes(edge, wanted, fates, tables):
                of = f" of {edge.table}" if edge.table else ""
                found.append(f"{edge.kind} {edge.by}{of} refers to {wanted}")
        for module in modules:
            if _names(module, wanted, fates) and not _module_goes(module, wanted, fates, tables):
                found.append(f"{module.kind} {module.name} refers to {wanted}")
    return list(dict.fromkeys(found))


def hidden_modules(modules: list[Module], scripts: list[ScriptFacts], home: tuple = ()) -> list[str]:
    """Return the names of modules whose text this user may not see and that stay; home is as for still_referring()."""
    fates = _Fates(_facts(scripts), modules, home)
    return sorted(module.name for module in modules if module.text is None and not fates.goes(module, None))


def _facts(scripts: list[ScriptFacts]) -> list[Fact]:
    return [fact for script in scripts for fact in script.facts]


def _refers(edge: Edge, wanted: Object) -> bool:
    if wanted.kind == "column":
        return same_name(edge.on, wanted.table) and edge.column.lower() == wanted.name.lower()
    return same_name(edge.on, wanted.name)


def _edge_goes(edge: Edge, wanted: Object, fates: _Fates, tables: list[str]) -> bool:
    facts = fates.facts
    if edge.table and any(same_name(edge.table, table) for table in tables):
        return True
    if edge.kind == "constraint":
        return any(_of_table(fact, "drop_constraint", edge.table) and same_name(fact.name, edge.by) for fact in facts)
    if edge.kind == "column":
        return any(_of_table(fact, "drop_column", edge.table) and same_name(fact.name, edge.by) for fact in facts)
    if edge.kind == "trigger":
        return fates.trigger_goes(edge.by, edge.table)
    behind = [module for module in fates.modules if module.kind == edge.kind and module.name.lower() == edge.by.lower()]
    return bool(behind) and all(fates.goes(module, wanted) for module in behind)


def _of_table(fact: Fact, kind: str, table: str) -> bool:
    return fact.kind == kind and same_name(fact.table, table)


def _names(module: Module, wanted: Object, fates: _Fates) -> bool:
    """Return whether a module's text names an object.

    On its own table a column is named without it; a view of all columns, which some engines keep as it was written, names each.
    """
    if not module.text or (wanted.kind in ("view", "routine") and same_name(module.name, wanted.name)):
        return False
    words = wanted.words
    if wanted.kind == "column":
        staying = [table for table, trigger in module.attached if not (trigger and fates.trigger_goes(trigger, table))]
        if any(same_name(table, wanted.table) for table in staying):
            words = words[-1:]
        elif module.kind == "view" and _ALL_COLUMNS.search(module.text):
            words = words[:1]
    return names_all(module.text, words)


def _module_goes(module: Module, wanted: Object, fates: _Fates, tables: list[str]) -> bool:
    if module.kind in ("trigger", "column") and any(same_name(t, table) for t, _by in module.attached for table in tables):
        return True
    if module.kind == "column":
        owner = module.attached[0][0] if module.attached else ""
        return any(_of_table(fact, "drop_column", owner) and bare(module.name) == fact.name.lower() for fact in fates.facts)
    return fates.goes(module, wanted)


class _Fates:
    """What the scripts do with modules of the live schema: the last that they do with one counts.

    Parameters:
        facts: of the scripts, in their order.
        modules, home: see still_referring().
    """

    def __init__(self, facts: list[Fact], modules: list[Module], home: tuple) -> None:
        self.facts, self.modules, self._home = facts, modules, home

    def goes(self, module: Module, wanted: Object | None) -> bool:
        """Return whether a module is gone behind the scripts, or written anew by a text that does not name an object any more.

        What may mean another module as well, such as a name without its schema or one of several functions of one name, takes
        none away.
        """
        gone = False
        drops, definitions = _DROPS.get(module.kind, ()), _DEFINITIONS.get(module.kind, ())
        for fact in self.facts:
            if fact.kind in drops and self._means(fact, module, fact.values.get("arguments"), not fact.has("if_exists")):
                gone = True
            elif fact.kind in definitions and self._means(fact, module, _parameters(fact), False):
                body = fact.values.get("body", "")
                gone = wanted is not None and bool(body) and not names_all(body, wanted.words)
        return gone

    def trigger_goes(self, name: str, table: str) -> bool:
        """Return whether a trigger of a table is dropped, and not made again."""
        gone = False
        for fact in self.facts:
            is_of_it = same_name(fact.name, name) and (not fact.table or same_name(fact.table, table))
            if is_of_it and fact.kind in (*_DROPS["trigger"], *_DEFINITIONS["trigger"]):
                gone = fact.kind in _DROPS["trigger"]
        return gone

    def _means(self, fact: Fact, module: Module, arguments: str | None, must_be_one: bool) -> bool:
        """Return whether a fact is surely about a module.

        Parameters:
            arguments: those of a routine as the script writes them, None where it writes none.
            must_be_one: the script fails unless there is something of that name, so that the only one is meant.
        """
        if not same_name(fact.name, module.name):
            return False
        named = self._named(fact.name, module.kind)
        if module not in named:
            return False
        if arguments is None or module.arguments is None or (must_be_one and len(named) == 1):
            return len(named) == 1
        return same_arguments(_without_sizes(arguments), _without_sizes(module.arguments))

    def _named(self, name: str, kind: str) -> list[Module]:
        """Return the modules that a name may mean."""
        named = [module for module in self.modules if module.kind == kind and same_name(name, module.name)]
        if "." in name:
            return named
        for schema in self._home:
            at_home = [module for module in named if module.name.lower() == f"{schema}.{name}".lower()]
            if at_home:
                return at_home
        return named


def _parameters(fact: Fact) -> str | None:
    parameters = fact.values.get("parameters")
    if parameters is None:
        return None
    return ", ".join(one["type"] for one in parameters if one["mode"] != "OUT")


def _without_sizes(arguments: str) -> str:
    return re.sub(r"\s*\([^)]*\)", "", arguments)
