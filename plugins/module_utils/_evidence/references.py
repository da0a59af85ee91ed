# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says what in the database still refers to the objects that contract scripts take away."""

from __future__ import annotations

import re

from .._db.routine_arguments import same_arguments
from .._db.witnesses.base import Edge, Module, Object, names_all
from .._lint.facts import Fact, ScriptFacts, bare, same_name
from .dropped import facts_of

_DROPS = {"view": ("drop_view", "drop_materialized_view"), "routine": ("drop_routine",), "trigger": ("drop_trigger",)}
_DEFINITIONS = {
    "view": ("create_view", "alter_view", "create_materialized_view"),
    "routine": ("create_routine", "alter_routine"),
    "trigger": ("create_trigger", "alter_trigger"),
}
# SELECT *, t.* or a, *, and neither count(*) nor a product.
_ALL_COLUMNS = re.compile(r"""(?i)(?:\bselect\s+(?:all\s+|distinct\s+|top\s*\(?\s*\d+\s*\)?\s+)?|[\w\]"`]\s*\.\s*|,\s*)\*""")


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
    facts = facts_of(scripts)
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
    fates = _Fates(facts_of(scripts), modules, home)
    return sorted(module.name for module in modules if module.text is None and not fates.goes(module, None))


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
