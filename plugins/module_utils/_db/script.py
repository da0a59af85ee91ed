# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a script file: decoding, checksum, header directives, placeholders, statements."""

from __future__ import annotations

import codecs
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from .batches import split_batches
from .lexis import Lexis, Places, ScriptError, Statement, split, tokens

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DIRECTIVE = re.compile(r"(?i)--\s*everup\s*:\s*(?P<body>.*)$")
_WRITTEN_DIRECTIVE = re.compile(r"(?i)--\s*everup\s*:")
_PLACEHOLDER = re.compile(r"\$\$\{|\$\{(?P<name>[^}\n]*)\}|\$\{")
_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h|d|w)?")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, None: 1.0}


@dataclass(frozen=True)
class Allowance:
    """A lint rule that a script waives.

    Attributes:
        rule, reason: as written.
        line: where; 0 in front of the first statement, where it holds for the whole script.
    """

    rule: str
    reason: str
    line: int


@dataclass(frozen=True)
class Directives:
    """What a script's header asks for.

    Attributes:
        transaction: false for ``transaction=none``: each statement commits by itself.
        lock_timeout, statement_timeout: seconds, or None for the caller's value.
        idempotent: every statement may safely run twice.
        allow: the lint rules that are waived.
        after: names of the repeatable scripts that this one comes after.
        until: for assertions, the version whose contract ends them; None for never.
    """

    transaction: bool = True
    lock_timeout: float | None = None
    statement_timeout: float | None = None
    idempotent: bool = False
    allow: tuple = ()
    after: tuple = ()
    until: str | None = None


@dataclass(frozen=True)
class Script:
    """A script, read and ready: its text before placeholders, checksum, directives and statements.

    The statements hold the values of placeholders; whatever is shown or recorded goes through :meth:`line` or :meth:`mask`.
    """

    source: str
    text: str
    checksum: str
    directives: Directives
    statements: tuple
    placeholders: dict = field(default_factory=dict, repr=False)

    @property
    def placeholders_used(self) -> bool:
        """Whether values of placeholders stand in the statements."""
        return any(f"${{{name}}}" in self.text for name in self.placeholders)

    def line(self, number: int) -> str:
        """Return one line of the text as it was written, without the space around it."""
        return self.text.split("\n")[number - 1].strip()

    def mask(self, message: str) -> str:
        """Return a server's message with the values of this script's placeholders as they are written in the script.

        A value of one or two characters is replaced only where it stands alone, since it is part of many words.
        """
        return mask(message, self.text, self.placeholders)


def mask(message: str, text: str, placeholders: dict) -> str:
    """Return a message with the values of the placeholders that stand in text as they are written there."""
    for name, value in sorted(placeholders.items(), key=lambda item: len(str(item[1])), reverse=True):
        secret = str(value)
        if f"${{{name}}}" not in text or not secret:
            continue
        pattern = re.escape(secret) if len(secret) > 2 else rf"(?<!\w){re.escape(secret)}(?!\w)"
        message = re.sub(pattern, lambda _match, name=name: f"${{{name}}}", message)
    return message


def parse_duration(text: str) -> float:
    """Return seconds of '250ms', '2s', '5m', '1h', '7d', '4w' or a bare number of seconds.

    Raises:
        ValueError: the text is none of these.
    """
    match = _DURATION.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"'{text}' is no duration: write it as 250ms, 2s, 5m, 1h, 7d or 4w")
    return float(match.group("number")) * _UNIT_SECONDS[match.group("unit")]


def decode(data: bytes, source: str) -> str:
    """Return the text of a script file with newlines normalised to ``\\n`` and without BOM.

    Accepts UTF-8 with or without BOM and UTF-16 with BOM (SQL Server Management Studio writes it).

    Raises:
        ScriptError: the bytes are neither.
    """
    encoding, body = "utf-8", data
    for bom, name in _BOMS:
        if data.startswith(bom):
            encoding, body = name, data[len(bom) :]
            break
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        before = body[: error.start].decode(encoding, "replace")
        line = before.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
        raise ScriptError(
            source,
            line,
            1,
            f"byte {len(data) - len(body) + error.start} is not {encoding.upper()}: save the file as UTF-8, or UTF-16 with BOM",
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    zero = text.find("\0")
    if zero >= 0:
        raise ScriptError(source, *Places(text).of(zero), "a zero byte: UTF-16 without BOM? Save the file as UTF-8")
    return text


def checksum(text: str) -> str:
    """Return the SHA-256 of the decoded, newline-normalised text in hex."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def substitute(text: str, values: dict, source: str) -> str:
    """Return text with each ``${name}`` replaced by its value and each ``$${`` by ``${``.

    Raises:
        ScriptError: a placeholder is undefined, not closed, or its value holds a newline (places would shift).
    """
    places = Places(text)

    def replacement(match: re.Match) -> str:
        if match.group() == "$${":
            return "${"
        name, place = match.group("name"), places.of(match.start())
        if name is None:
            raise ScriptError(source, *place, "the placeholder ${ is not closed; write $${ for a literal ${")
        if name not in values:
            known = ", ".join(sorted(values)) or "none"
            raise ScriptError(source, *place, f"the placeholder ${{{name}}} is undefined (defined: {known})")
        value = str(values[name])
        if "\n" in value or "\r" in value:
            raise ScriptError(source, *place, f"the value of ${{{name}}} holds a newline")
        return value

    return _PLACEHOLDER.sub(replacement, text)


def read_directives(text: str, lexis: Lexis, source: str) -> Directives:
    """Return the directives of the ``-- everup:`` comments; all but ``allow`` stand before the first statement.

    Raises:
        ScriptError: a directive is unknown, misplaced, repeated or has a bad value.
    """
    written = [match.end() for match in _WRITTEN_DIRECTIVE.finditer(text)]
    if not written:
        return Directives()
    places = Places(text)
    values: dict = {}
    allow: list[Allowance] = []
    after: list[str] = []
    in_header = True
    for token in tokens(text, lexis, source):
        if token.start >= written[-1]:
            break  # the megabytes behind it are read once, by the splitter
        if token.kind == "comment":
            match = _DIRECTIVE.match(token.text)
            if match:
                name, value = _directive(match.group("body"), source, places.of(token.start))
                if name == "allow":
                    rule, _space, reason = value.partition(" ")
                    allow.append(Allowance(rule, reason.strip(), 0 if in_header else places.of(token.start)[0]))
                elif name == "after" and in_header:
                    after.append(value)
                elif not in_header:
                    raise ScriptError(
                        source,
                        *places.of(token.start),
                        f"'{name}' stands after the first statement: move it to the top",
                    )
                elif name in values:
                    raise ScriptError(source, *places.of(token.start), f"'{name}' is given twice")
                else:
                    values[name] = value
        elif token.kind != "space":
            in_header = False
    return Directives(allow=tuple(allow), after=tuple(after), **values)


def _directive(body: str, source: str, place: tuple[int, int]) -> tuple[str, object]:
    name, equals, value = (part.strip() for part in body.partition("="))
    if name == "idempotent" and not equals:
        return name, True
    if name == "transaction" and value == "none":
        return name, False
    if name in ("lock_timeout", "statement_timeout"):
        try:
            return name, parse_duration(value)
        except ValueError as error:
            raise ScriptError(source, *place, f"{name}: {error}") from None
    if name == "allow":
        if not re.match(r"[\w-]+\s+\S", value):
            raise ScriptError(source, *place, "allow needs a rule and a reason: -- everup: allow=<rule> <reason>")
        return name, value
    if name == "after" and value:
        return name, value.removesuffix(".sql")
    if name == "until" and re.fullmatch(r"[0-9]+(?:[._-][0-9]+)*", value):
        return name, value
    raise ScriptError(
        source,
        *place,
        f"unknown directive '{body}': known are transaction=none, lock_timeout=<duration>, "
        "statement_timeout=<duration>, idempotent, allow=<rule> <reason>, for repeatable scripts after=<name>, and for "
        "assertions until=<version>",
    )


def load_script(path: Path, source: str, lexis: Lexis, placeholders: dict) -> Script:
    """Read, check and split one script file.

    Parameters:
        path: the file.
        source: its name for errors and the history (phase folder and file name).
        lexis: the engine's lexical rules.
        placeholders: values of ``${name}``.

    Raises:
        ScriptError: the file cannot be read, decoded, substituted or split; names file, line and column.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScriptError(source, 1, 1, f"cannot be read: {error.strerror}") from None
    return parse_script(decode(data, source), source, lexis, placeholders)


def parse_script(text: str, source: str, lexis: Lexis, placeholders: dict | None = None) -> Script:
    """Check and split the text of a script; see load_script for the parameters.

    Raises:
        ScriptError: it cannot be substituted or split; names file, line and column.
    """
    placeholders = placeholders or {}
    substituted = substitute(text, placeholders, source)
    directives = read_directives(substituted, lexis, source)
    statements: list[Statement] = (split_batches if lexis.batches else split)(substituted, lexis, source)
    return Script(source, text, checksum(text), directives, tuple(statements), dict(placeholders))
