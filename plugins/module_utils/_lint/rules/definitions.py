# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Views and routines that change under the old version's feet."""

from __future__ import annotations

import re

from ..data_types import is_widening
from ..facts import Fact, bare
from ..rule import CONTRACT, ERROR, EXPAND, MARIADB, MYSQL, POSTGRESQL, REPEATABLE, SERVERS, SQLITE, SQLSERVER, Context, rule

_PHASES = (EXPAND, REPEATABLE)
_VERSION = re.compile(r"_(?P<number>\d+)$")
_WHY = "The old version runs until the last web server is upgraded, and again after a rollback. "


def next_version(name: str) -> str:
    """Return the name that the next version of a view or routine has: ``spFind`` becomes ``spFind_2``."""
    match = _VERSION.search(name)
    return f"{name[: match.start()]}_{int(match['number']) + 1}" if match else f"{name}_2"


def changed_parameters(before: list[dict], after: list[dict]) -> list[str]:
    """Return what callers of the first form would trip over in the second one, a sentence part each.

    Parameters:
        before, after: parameters as of create_routine, in their order.
    """
    old = {parameter["name"].lower() or str(i): parameter for i, parameter in enumerate(before)}
    new = {parameter["name"].lower() or str(i): parameter for i, parameter in enumerate(after)}
    problems = [f"parameter {parameter['name'] or key} is gone" for key, parameter in old.items() if key not in new]
    for key, parameter in new.items():
        name = parameter["name"] or f"number {int(key) + 1}"
        if key not in old:
            if not parameter["has_default"]:
                problems.append(f"parameter {name} is new and has no default")
            continue
        if parameter["type"] and not is_widening(old[key]["type"], parameter["type"]):
            problems.append(f"parameter {name} goes from {old[key]['type']} to {parameter['type']}")
        if old[key]["has_default"] and not parameter["has_default"]:
            problems.append(f"parameter {name} loses its default")
    kept = [key for key in old if key in new]
    if not problems and kept != [key for key in new if key in old][: len(kept)]:
        problems.append("the parameters have another order")
    if not problems and list(new)[: len(kept)] != kept:
        problems.append("a new parameter stands in front of the old ones")
    return problems


def changed_columns(before: list[str], after: list[str]) -> list[str]:
    """Return which result columns are gone or have moved; nothing where one of the two lists is not known."""
    if not before or not after:
        return []
    new = [name.lower() for name in after]
    gone = [f"result column {name} is gone" for name in before if name.lower() not in new]
    if not gone and new[: len(before)] != [name.lower() for name in before]:
        return ["the result columns have another order"]
    return gone


@rule(
    "incompatible-routine",
    ERROR,
    kinds=("create_routine", "alter_routine"),
    phases=_PHASES,
    engines=SERVERS,
    why=_WHY + "It calls the routine as it was: with the old parameters, reading the old columns.",
    instead={
        SQLSERVER: "CREATE OR ALTER PROCEDURE {next} ...;  -- a version of its own beside {name}, which contract/ drops",
        POSTGRESQL: "CREATE FUNCTION {next} ...;  -- a version of its own beside {name}, which contract/ drops",
        MYSQL: "CREATE PROCEDURE {next} ...;  -- a version of its own beside {name}, which contract/ drops",
        MARIADB: "CREATE OR REPLACE PROCEDURE {next} ...;  -- a version of its own beside {name}, which contract/ drops",
    },
    peers=("squawk:ban-replace-view-function",),
)
def incompatible_routine(fact: Fact, context: Context) -> str | None:
    before = context.definition_before(fact)
    if before is None:
        return None
    problems = changed_parameters(before.values.get("parameters", []), fact.values.get("parameters", []))
    problems += changed_columns(before.values.get("columns", []), fact.values.get("columns", []))
    returned, returns = before.values.get("returns", ""), fact.values.get("returns", "")
    if returned and returns and "TABLE" not in returned.upper() and not is_widening(returned, returns):
        problems.append(f"it returns {returns} instead of {returned}")
    return _told(fact, problems)


@rule(
    "incompatible-view",
    ERROR,
    kinds=("create_view", "alter_view", "create_materialized_view"),
    phases=_PHASES,
    why=_WHY + "It reads the columns that the view had.",
    instead={
        SQLSERVER: "CREATE OR ALTER VIEW {next} AS ...;  -- a version of its own beside {name}, which contract/ drops",
        POSTGRESQL: "CREATE VIEW {next} AS ...;  -- a version of its own beside {name}, which contract/ drops",
        MYSQL: "CREATE VIEW {next} AS ...;  -- a version of its own beside {name}, which contract/ drops",
        MARIADB: "CREATE VIEW {next} AS ...;  -- a version of its own beside {name}, which contract/ drops",
        SQLITE: "CREATE VIEW {next} AS ...;  -- a version of its own beside {name}, which contract/ drops",
    },
    peers=("squawk:ban-replace-view-function",),
)
def incompatible_view(fact: Fact, context: Context) -> str | None:
    before = context.definition_before(fact)
    return _told(fact, changed_columns(before.values.get("columns", []), fact.values.get("columns", []))) if before else None


def _told(fact: Fact, problems: list[str]) -> str | None:
    if not problems:
        return None
    name = f"{fact.name}, a version that is out already," if _VERSION.search(bare(fact.name)) else fact.name
    return f"{name} changes so that its callers break: {'; '.join(problems)}. Make it {next_version(bare(fact.name))}"


@rule(
    "contract-changes-definition",
    ERROR,
    kinds=("create_view", "create_routine"),
    phases=(CONTRACT,),
    why="Contract comes days after the new version: what that one needs must be there before it, or it never was.",
    instead=dict.fromkeys((*SERVERS, SQLITE), "-- move it to expand/ or repeatable/"),
)
def contract_changes_definition(fact: Fact, context: Context) -> str | None:
    if fact.has("or_replace") or any(
        other.kind == fact.kind.replace("create", "drop") and bare(other.name) == bare(fact.name)
        for other in context.earlier(fact)
    ):
        return None  # an existing one, made anew without what contract removes
    return f"{fact.name} is made in contract, where the new version should already have it"
