# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Facts and findings as lines of text, to be compared with what a person has written down."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import engine_class
from ansible_collections.everup.deploy.plugins.module_utils._db.script import Script, load_script, parse_script
from ansible_collections.everup.deploy.plugins.module_utils._lint.facts import Column, Fact
from ansible_collections.everup.deploy.plugins.module_utils._lint.parse import Parser, read_facts

# Values that only repeat the statement, or that have a test of their own.
_LONG = ("body", "tail", "text", "where")


@cache
def parser(engine: str) -> Parser:
    """Return the one parser of an engine: loading its grammar takes a second."""
    return Parser(engine)


def read(text: str, engine: str) -> tuple[list[Fact], list]:
    """Return the facts of a script and what could not be read of it."""
    return read_facts(parse_script(text, "script.sql", engine_class(engine).lexis), engine, parser(engine))


def lines(text: str, engine: str) -> list[str]:
    """Return the facts and then the unread places of a script, a line each."""
    facts, unread = read(text, engine)
    return [line_of(fact) for fact in facts] + [f"{each.line}:{each.column} unparsable: {each.text}" for each in unread]


def described(path: Path, engine: str = "sqlserver") -> str:
    """Return the facts and unread places of a file, a line each."""
    script: Script = load_script(path, path.name, engine_class(engine).lexis, {})
    facts, unread = read_facts(script, engine, parser(engine))
    written = [line_of(fact) for fact in facts] + [f"{each.line}:{each.column} unparsable: {each.text}" for each in unread]
    return "".join(f"{line}\n" for line in written)


def line_of(fact: Fact) -> str:
    """Return a fact as ``line:column kind table name -> to [flags] value=... (guarded, within)``."""
    name = "" if fact.name == fact.table else f".{fact.name}" if fact.table else fact.name
    parts = [f"{fact.line}:{fact.column}", fact.kind, fact.table + name]
    parts += [f"-> {fact.to}"] if fact.to else []
    parts += [f"[{' '.join(fact.flags)}]"] if fact.flags else []
    parts += [_value(name, value) for name, value in sorted(fact.values.items()) if name not in _LONG]
    around = [*(["guarded"] if fact.guarded else []), *fact.within]
    parts += [f"({', '.join(around)})"] if around else []
    return " ".join(part for part in parts if part)


def _value(name: str, value) -> str:
    if name == "column":
        return _column(value)
    if name == "columns" and value and isinstance(value[0], dict):
        return "(" + "; ".join(_column(column) for column in value) + ")"
    if name == "constraints":
        return "constraints=(" + "; ".join(_pairs(constraint) for constraint in value) + ")"
    if name == "parameters":
        return "parameters=(" + "; ".join(_parameter(parameter) for parameter in value) + ")"
    return f"{name}={','.join(value) if isinstance(value, list) else value}"


def _column(stored: dict) -> str:
    column = Column(**{**stored, "flags": tuple(stored["flags"])})
    parts = [column.name, column.type, f"[{' '.join(column.flags)}]" if column.flags else ""]
    parts += [f"default={column.default}" if column.default else "", f"to {column.references}" if column.references else ""]
    return " ".join(part for part in parts if part)


def _parameter(parameter: dict) -> str:
    mode = "" if parameter["mode"] == "IN" else parameter["mode"]
    parts = (mode, parameter["name"], parameter["type"], "=" if parameter["has_default"] else "")
    return " ".join(part for part in parts if part)


def _pairs(stored: dict) -> str:
    written = {name: ",".join(value) if isinstance(value, list) else value for name, value in stored.items()}
    return " ".join(str(value) for value in written.values() if value)
