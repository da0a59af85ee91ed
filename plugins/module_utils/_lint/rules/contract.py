# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the contract phase may do: remove what only the old version used, and nothing else."""

from __future__ import annotations

import re

from ..facts import Fact, bare, same_name
from ..rule import CONTRACT, ENGINES, ERROR, WARNING, Context, rule

_DROPS = ("drop_table", "drop_column", "drop_view", "drop_materialized_view", "drop_routine", "drop_trigger")


@rule(
    "contract-additive",
    ERROR,
    kinds=("create_table", "add_column"),
    phases=(CONTRACT,),
    why="Contract comes days after the new version: what that one needs must be there before it, and its scripts may "
    "never run at all.",
    instead=dict.fromkeys(ENGINES, "-- move it to expand/, with the same version"),
)
def additive(fact: Fact, context: Context) -> str | None:
    if fact.has("temporary") or fact.has("as_select") or context.is_new(fact.table, fact):
        return None
    what = f"table {fact.table}" if fact.kind == "create_table" else f"column {fact.name} of {fact.table}"
    return f"{what} is added in contract, where the new version should already have it"


@rule(
    "contract-not-obsolete",
    WARNING,
    kinds=_DROPS,
    phases=(CONTRACT,),
    why="A drop cannot be undone. Where no expand script has put anything in its place, the version that runs now may "
    "well use it.",
    instead=dict.fromkeys(
        ENGINES,
        "-- give it the version of the expand script that made it obsolete, or say why with -- everup: "
        "allow=contract-not-obsolete <reason>",
    ),
)
def not_obsolete(fact: Fact, context: Context) -> str | None:
    if not context.expand or _is_replaced(fact, context):
        return None
    what = fact.kind.removeprefix("drop_").replace("_", " ")
    return f"no expand script of version {context.script.version} has anything to do with {what} {_full(fact)}"


def _full(fact: Fact) -> str:
    return f"{fact.table}.{fact.name}" if fact.kind == "drop_column" else fact.name


def _is_replaced(fact: Fact, context: Context) -> bool:
    """Return whether the expand script of the same version is about the object, or its next version is made by any script."""
    for script in context.expand:
        if script.version == context.script.version and any(_concerns(other, fact) for other in script.facts):
            return True
    if _is_help(fact, context):
        return True
    base = re.sub(r"_\d+$", "", bare(fact.name))
    made = [other for script in (*context.expand, *context.repeatable) for other in script.facts]
    return any(
        other.kind.startswith("create_")
        and bare(other.name) != bare(fact.name)
        and re.fullmatch(rf"{re.escape(base)}_\d+", bare(other.name))
        for other in made
    )


def _is_help(fact: Fact, context: Context) -> bool:
    """Return whether an expand script made a trigger, or a trigger's function, that only kept both versions in step."""
    return any(
        same_name(other.name, fact.name)
        and (
            other.kind == "create_trigger"
            or (other.kind == "create_routine" and other.values.get("returns", "").upper() == "TRIGGER")
        )
        for script in context.expand
        for other in script.facts
    )


def _concerns(other: Fact, fact: Fact) -> bool:
    about = fact.table if fact.kind in ("drop_column", "drop_trigger") else fact.name
    return (
        bool(other.table and same_name(other.table, about))
        or bool(other.name and same_name(other.name, fact.name))
        or any(same_name(read, about) for read in other.values.get("reads", []))
    )


@rule(
    "contract-still-used",
    ERROR,
    kinds=_DROPS,
    phases=(CONTRACT,),
    why="Whoever still names it fails at once, and the drop cannot be undone.",
    instead=dict.fromkeys(ENGINES, "-- change what still names it first, in expand/ or repeatable/, and release that"),
    peers=("atlas:DS103",),
)
def still_used(fact: Fact, context: Context) -> str | None:
    users = [*_users_in_modules(fact, context), *_users_in_repeatable(fact, context), *_users_in_sources(fact, context)]
    if not users:
        return None
    more = f" and {len(users) - 3} more" if len(users) > 3 else ""
    return f"{_full(fact)} is dropped, and it is still named in {', '.join(users[:3])}{more}"


def _pattern(fact: Fact) -> list[re.Pattern]:
    """Return the words that a text must hold to use the object: for a column its table as well."""
    words = [bare(fact.table), bare(fact.name)] if fact.kind == "drop_column" else [bare(fact.name)]
    return [re.compile(rf"(?<![\w@#]){re.escape(word)}(?!\w)", re.IGNORECASE) for word in words]


def _goes(name: str, context: Context) -> bool:
    """Return whether the contract scripts drop or renew a module themselves."""
    return any(
        other.kind.startswith(("drop_", "create_", "alter_")) and same_name(other.name, name)
        for script in (*context.before, context.script)
        for other in script.facts
    )


def _users_in_modules(fact: Fact, context: Context) -> list[str]:
    patterns = _pattern(fact)
    return [
        name
        for name, text in sorted((context.live.modules if context.live else {}).items())
        if not same_name(name, fact.name) and not _goes(name, context) and all(pattern.search(text) for pattern in patterns)
    ]


def _users_in_repeatable(fact: Fact, context: Context) -> list[str]:
    patterns = _pattern(fact)
    return [
        f"{script.source}:{other.line}"
        for script in context.repeatable
        for other in script.facts
        if not same_name(other.name, fact.name) and all(pattern.search(other.values.get("body", "")) for pattern in patterns)
    ]


def _users_in_sources(fact: Fact, context: Context) -> list[str]:
    """Return the places in the application's source that name the object; a column there often stands without its table."""
    pattern = _pattern(fact)[-1]
    return [
        f"{name}:{number}"
        for name, text in sorted(context.sources.items())
        for number, line in enumerate(text.split("\n"), 1)
        if pattern.search(line)
    ]
