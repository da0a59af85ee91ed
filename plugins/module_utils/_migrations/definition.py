# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a backfill's definition file and refuses everything in it that could not be meant."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from .._db.lexis import Lexis, ScriptError, split, tokens
from .._db.script import parse_duration, substitute
from .._errors import EverupError
from .batch_sql import bounds_in

try:
    import yaml

    YAML_ERROR = ""
except ImportError as import_error:  # said when a definition is read, with what to install
    yaml = None
    YAML_ERROR = str(import_error)

DEFAULT_BATCH = 1000
_DEFAULT_TARGET = "250ms"
_NAME = re.compile(r"[^\W\d][\w$]*")
_TABLE = re.compile(r"(?:[^\W\d][\w$]*\.)?[^\W\d][\w$]*")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_FIELDS = ("table", "key", "set", "where", "sql", "verify", "batch", "target", "pause", "throttle", "engines")
_BY_ENGINE = ("set", "where", "sql", "verify", "throttle")
_THROTTLE = ("query", "most", "lag", "load", "every")
_BATCH = ("start", "most")


@dataclass(frozen=True)
class Throttle:
    """When to wait: query returns a number that may be at most ``most``; lag in seconds; load in busy sessions."""

    query: str = ""
    most: float = 0.0
    lag: float | None = None
    load: int | None = None
    every: float = 1.0


@dataclass(frozen=True)
class Definition:
    """What a backfill does, checked.

    Attributes:
        source: folder and file name, for errors and the ledger.
        text: the file, before placeholders.
        checksum: of text.
        table: ``name`` or ``schema.name``.
        key: the columns to walk along.
        assignments: column to SQL expression; empty with ``sql``.
        where: which rows of a batch to change, empty for all.
        sql: a whole statement a batch, empty with assignments.
        verify: a query for the number of rows that are left to do.
        batch, most: rows of the first batch and of the largest one, None to decide by the size of the table.
        target: seconds that a batch should take.
        pause: seconds between batches, None to decide by the load.
        pause_share: pause as a share of the time that the last batch took, None when not given so.
        throttle: when to wait.
        values: placeholders.
    """

    source: str
    text: str
    checksum: str
    table: str
    key: tuple
    assignments: dict
    where: str
    sql: str
    verify: str
    batch: int
    most: int | None
    target: float
    pause: float | None
    pause_share: float | None
    throttle: Throttle
    values: dict = field(default_factory=dict, repr=False)

    def filled(self) -> Definition:
        """Return the definition with the values of the placeholders in its SQL: what is run, and never shown."""

        def fill(text: str) -> str:
            return substitute(text, self.values, self.source)

        return replace(
            self,
            assignments={name: fill(text) for name, text in self.assignments.items()},
            where=fill(self.where),
            sql=fill(self.sql),
            verify=fill(self.verify),
            throttle=replace(self.throttle, query=fill(self.throttle.query)),
        )


def read_definition(text: str, checksum: str, source: str, engine: str, engines: list, lexis: Lexis, values: dict) -> Definition:
    """Return a definition for one engine.

    Parameters:
        text: the file's text.
        checksum: of the text.
        source: the file's name for errors.
        engine: whose overrides count.
        engines: the names that ``engines`` may hold.
        lexis: the engine's lexical rules.
        values: of the placeholders.

    Raises:
        EverupError: PyYAML is missing, or the file is bad: every finding names file and line.
    """
    if yaml is None:
        raise EverupError(
            f"PyYAML cannot be imported by the Python that runs this module ({YAML_ERROR}), and {source} is YAML: install it "
            "there with 'pip install pyyaml', or run the database modules on localhost, beside ansible-core."
        )
    return _Reader(text, source, lexis, values).read(checksum, engine, engines)


class _Reader:
    """Collects what is wrong with one file."""

    def __init__(self, text: str, source: str, lexis: Lexis, values: dict) -> None:
        self._text, self._source, self._lexis, self._values = text, source, lexis, values
        self._findings: list[str] = []

    def read(self, checksum: str, engine: str, engines: list) -> Definition:
        root = self._root()
        if root is not None:
            given = self._mapping(root, _FIELDS, "")
            overrides = self._overrides(given.pop("engines", None), engine, engines)
            self._sections(given, "")
            # A statement of one engine replaces what is assigned on the others, and the other way round.
            instead = {"sql": ("set", "where"), "set": ("sql",)}
            replaced = [name for chosen, names in instead.items() if chosen in overrides for name in names]
            given = {name: pair for name, pair in given.items() if name not in replaced}
            definition = self._definition({**given, **overrides}, checksum, root)
        if self._findings:
            raise EverupError("\n".join(self._findings), findings=self._findings)
        return definition

    def _overrides(self, pair: tuple | None, engine: str, engines: list) -> dict:
        """Check the overrides of every engine and return this one's."""
        chosen = {}
        for name, (_key, node) in self._mapping(pair[1], engines, "engines.").items() if pair else ():
            override = self._mapping(node, _BY_ENGINE, f"engines.{name}.")
            self._sections(override, f"engines.{name}.")
            if name == engine:
                chosen = override
        return chosen

    def _root(self):
        try:
            root = yaml.compose(self._text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
            what = getattr(error, "problem", None) or str(error)
            self._findings.append(f"{self._source}:{place}: this is no YAML: {what}")
            return None
        if root is None:
            self._findings.append(f"{self._source}:1:1: the file is empty: it needs table, key, verify, and set or sql")
        return root

    def _say(self, node, what: str) -> None:
        mark = node.start_mark
        self._findings.append(f"{self._source}:{mark.line + 1}:{mark.column + 1}: {what}")

    def _mapping(self, node, known: tuple | list, prefix: str) -> dict:
        """Return (key node, value node) by name; unknown and repeated names are findings."""
        if not isinstance(node, yaml.MappingNode):
            self._say(node, f"{prefix.rstrip('.') or 'the definition'} must be a mapping, such as 'name: value' lines")
            return {}
        found: dict = {}
        for key, value in node.value:
            name = str(key.value)
            if known and name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
                self._say(key, f"'{prefix}{name}' is unknown: {hint}")
            elif name in found:
                self._say(key, f"'{prefix}{name}' is given twice")
            else:
                found[name] = (key, value)
        return found

    def _sections(self, given: dict, prefix: str) -> None:
        """Check the SQL of one level, which must be text whatever engine it is for."""
        for name in ("where", "sql", "verify"):
            if name in given:
                self._sql(given[name][1], f"{prefix}{name}", whole=name != "where")
        if "set" in given:
            columns = self._mapping(given["set"][1], [], f"{prefix}set.")
            if not columns and isinstance(given["set"][1], yaml.MappingNode):
                self._say(given["set"][1], f"'{prefix}set' is empty: it needs a column and its expression")
            for column, (key, node) in columns.items():
                if not _NAME.fullmatch(column):
                    self._say(key, f"'{column}' is no name of a column")
                self._sql(node, f"{prefix}set.{column}", whole=False)
        if "set" in given and "sql" in given:
            self._say(given["sql"][0], f"'{prefix}sql' and '{prefix}set' exclude each other: a batch is either")
        if "where" in given and "sql" in given:
            self._say(given["where"][0], f"'{prefix}where' belongs into the statement of '{prefix}sql'")

    def _definition(self, given: dict, checksum: str, root) -> Definition:
        for name in ("table", "key"):
            if name not in given:
                self._say(root, f"'{name}' is missing")
        if "set" not in given and "sql" not in given:
            self._say(root, "'set' or 'sql' is missing: what is a batch to do?")
        table = self._text_of(given, "table")
        if table and not _TABLE.fullmatch(table):
            self._say(given["table"][1], f"'{table}' is no name of a table: write name or schema.name, as the catalog has it")
        key = self._key(given)
        if key and self._text_of(given, "sql"):
            self._bounds(given["sql"][1], key)
        columns = given["set"][1].value if "set" in given and isinstance(given["set"][1], yaml.MappingNode) else []
        where, verify = self._text_of(given, "where"), self._text_of(given, "verify")
        if not verify and not where:
            self._say(root, "'verify' is missing: a query for the number of rows left, which cannot be told without 'where'")
        batch, most = self._batch(given)
        pause, share = self._pause(given)
        return Definition(
            source=self._source,
            text=self._text,
            checksum=checksum,
            table=table,
            key=key,
            assignments={str(name.value): str(node.value).strip() for name, node in columns},
            where=where,
            sql=self._text_of(given, "sql"),
            verify=verify,
            batch=batch,
            most=most,
            target=self._duration(given, "target", _DEFAULT_TARGET),
            pause=pause,
            pause_share=share,
            throttle=self._throttle(given),
            values=self._values,
        )

    def _text_of(self, given: dict, name: str) -> str:
        node = given[name][1] if name in given else None
        if node is None:
            return ""
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str" or not node.value.strip():
            if name not in ("where", "sql", "verify"):
                self._say(node, f"'{name}' must be text")
            return ""
        return node.value.strip().rstrip(";").rstrip()

    def _key(self, given: dict) -> tuple:
        node = given["key"][1] if "key" in given else None
        if node is None:
            return ()
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        names = []
        for item in items:
            if not isinstance(item, yaml.ScalarNode) or not _NAME.fullmatch(item.value):
                self._say(item, "'key' must be a column, or a list of columns")
            elif item.value in names:
                self._say(item, f"'key' names {item.value} twice")
            else:
                names.append(item.value)
        if not items:
            self._say(node, "'key' is empty: name the columns of the primary key")
        return tuple(names)

    def _bounds(self, node, key: tuple) -> None:
        """A statement without the bounds of its batch would change the whole table each time."""
        try:
            found = bounds_in(substitute(node.value, self._values, ""), key, self._lexis)
        except ScriptError:
            return  # is a finding already
        own = "" if len(key) == 1 else f"_{key[0]}"
        sides = [{name, f"{name}_{key[0]}"} & found for name in ("first", "last")]
        if "range" not in found and not all(sides):
            self._say(node, f"'sql' is not bound to its batch: use :range, :range(alias), or :first{own} and :last{own}")

    def _number(self, node, name: str, least: int = 1) -> int:
        plain = isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:int" and node.value.isdigit()
        if not plain or int(node.value) < least:
            self._say(node, f"'{name}' must be a whole number of at least {least}")
            return least
        return int(node.value)

    def _batch(self, given: dict) -> tuple[int, int | None]:
        node = given["batch"][1] if "batch" in given else None
        if node is None:
            return DEFAULT_BATCH, None
        if not isinstance(node, yaml.MappingNode):
            return self._number(node, "batch"), None
        found = self._mapping(node, _BATCH, "batch.")
        most = self._number(found["most"][1], "batch.most") if "most" in found else None
        start = self._number(found["start"][1], "batch.start") if "start" in found else min(DEFAULT_BATCH, most or DEFAULT_BATCH)
        if most is not None and most < start:
            self._say(found["most"][1], f"'batch.most' is less than 'batch.start', which is {start}")
        return start, most

    def _duration(self, given: dict, name: str, default: str, prefix: str = "") -> float:
        node = given[name][1] if name in given else None
        text = default if node is None else node.value if isinstance(node, yaml.ScalarNode) else ""
        try:
            seconds = parse_duration(text)
        except ValueError as error:
            self._say(node, f"'{prefix}{name}': {error}")
            return 1.0
        if not seconds:
            self._say(node, f"'{prefix}{name}' must be longer than nothing")
        return seconds

    def _pause(self, given: dict) -> tuple[float | None, float | None]:
        node = given["pause"][1] if "pause" in given else None
        if node is None or (isinstance(node, yaml.ScalarNode) and node.value == "auto"):
            return None, None
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        percent = _PERCENT.fullmatch(text.strip())
        if percent:
            return None, float(percent.group(1)) / 100
        try:
            return parse_duration(text), None
        except ValueError as error:
            self._say(node, f"'pause': {error}, as a share of the batch's time (50%), or leave it to the load (auto)")
            return None, None

    def _throttle(self, given: dict) -> Throttle:
        if "throttle" not in given:
            return Throttle()
        node = given["throttle"][1]
        found = self._mapping(node, _THROTTLE, "throttle.")
        if "query" in found:
            self._sql(found["query"][1], "throttle.query", whole=True)
        if ("query" in found) != ("most" in found):
            self._say(node, "'throttle.query' and 'throttle.most' belong together: a number, and how large it may be")
        if isinstance(node, yaml.MappingNode) and not {"query", "lag", "load"} & set(found):
            self._say(node, "'throttle' has no bound: give query and most, lag, or load")
        most = 0.0
        if "most" in found:
            try:
                most = float(found["most"][1].value)
            except (TypeError, ValueError):
                self._say(found["most"][1], "'throttle.most' must be a number")
        return Throttle(
            query=found["query"][1].value.strip().rstrip(";") if "query" in found and _is_text(found["query"][1]) else "",
            most=most,
            lag=self._duration(found, "lag", "1s", "throttle.") if "lag" in found else None,
            load=self._number(found["load"][1], "throttle.load", 0) if "load" in found else None,
            every=self._duration(found, "every", "1s", "throttle."),
        )

    def _sql(self, node, name: str, whole: bool) -> None:
        """Check that a value is one statement, or one expression that cannot reach out of the parentheses around it."""
        if not _is_text(node):
            kind = "empty" if isinstance(node, yaml.ScalarNode) and not node.value.strip() else "no text"
            self._say(node, f"'{name}' is {kind}: write SQL, in quotes where YAML would read a number, null or boolean")
            return
        try:
            text = substitute(node.value, self._values, "")
            statements = split(text, self._lexis, "")
        except ScriptError as error:
            self._say(node, f"'{name}': {str(error).split(': ', 1)[1]}")
            return
        if len(statements) != 1 or (not whole and ";" in [t.text for t in tokens(text, self._lexis, "")]):
            self._say(node, f"'{name}' must be one {'statement' if whole else 'expression'}")
        if any(statement.has_marker for statement in statements):
            self._say(node, f"'{name}' holds a question mark, which the driver takes for a parameter: write a function for it")
        depth = 0
        for token in tokens(text, self._lexis, ""):
            depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "other" else 0
            if depth < 0:
                break
        if depth:
            self._say(node, f"'{name}' has parentheses that do not match")


def _is_text(node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str" and bool(node.value.strip())
