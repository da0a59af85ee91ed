# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parses a script with sqlfluff and reads it into facts; what cannot be parsed is told, with its place.

sqlfluff's tree says where the statements of a batch begin and end, which of them an IF guards, and what no grammar covers. A
statement that sqlfluff does not know, but that our readers understand word by word, such as SQL Server's ``WITH VALUES``, counts
as read.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from typing import Iterator

from .._db.connection import engine_class
from .._db.lexis import Lexis, ScriptError, Statement
from .._db.script import Script
from .collect import Collector, Setting
from .facts import Fact, Unread
from .read import StatementReader, is_bare_call
from .segments import segments_of_batch, segments_of_block
from .tokens import Token, read_tokens

DIALECTS = {"postgresql": "postgres", "sqlserver": "tsql", "mysql": "mysql", "mariadb": "mariadb", "sqlite": "sqlite"}
# A longer statement holds data, or is generated: its words are read, but sqlfluff would take minutes for its tree.
LONGEST_PARSED = 50_000
# Processor seconds that sqlfluff may take for one statement, and for all of one script.
PARSE_BUDGET = 10.0
SCRIPT_BUDGET = 120.0
_COMPOUND = ("file", "batch", "statement", "begin_end_block", "try_catch", "if_then_statement", "while_statement")
_WITHIN = {"while_statement": "loop", "try_catch": "try"}


class ParserMissing(Exception):
    """sqlfluff cannot be imported."""


class _OutOfTime(BaseException):
    """A statement took longer than its budget; no ``except Exception`` of the parser may keep it."""


class Parser:
    """sqlfluff for one engine, loaded once.

    Parameters:
        engine: one of DIALECTS.

    Raises:
        ParserMissing: sqlfluff is not installed.
    """

    def __init__(self, engine: str) -> None:
        try:
            from sqlfluff.core import FluffConfig
            from sqlfluff.core.parser import Lexer
            from sqlfluff.core.parser import Parser as Grammar
        except ImportError as error:
            raise ParserMissing(str(error)) from error
        config = FluffConfig(overrides={"dialect": DIALECTS[engine]})
        self._lexer, self._grammar = Lexer(config=config), Grammar(config=config)

    def tree(self, text: str, seconds: float | None = None):
        """Return the parse tree of a piece of SQL, None when it is too long, too deep, too slow or beyond the lexer.

        Parameters:
            seconds: of processor time, PARSE_BUDGET by default.
        """
        if len(text) > LONGEST_PARSED:
            return None
        try:
            with _budget(PARSE_BUDGET if seconds is None else seconds):
                segments, errors = self._lexer.lex(text)
                return None if errors else self._grammar.parse(segments)
        except (_OutOfTime, Exception):  # a fault inside the grammar is no fault of the script, which is told as unread
            return None


@contextmanager
def _budget(seconds: float) -> Iterator[None]:
    """Raise _OutOfTime when the block takes more processor time; nothing bounds it outside of a main thread or without signals.

    The processor's time, not the clock's: what can be parsed must not depend on what else the machine does.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def out_of_time(_number, _frame):
        raise _OutOfTime

    before = signal.signal(signal.SIGVTALRM, out_of_time)
    # Again and again: raised inside a callback of the garbage collector, an exception is only written to standard error.
    signal.setitimer(signal.ITIMER_VIRTUAL, max(seconds, 0.001), 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def parser_version() -> str:
    """Return sqlfluff's version, empty when it is not installed."""
    try:
        return metadata.version("sqlfluff")
    except metadata.PackageNotFoundError:
        return ""


def read_facts(script: Script, engine: str, parser: Parser) -> tuple[list[Fact], list[Unread]]:
    """Return what a script does in the order of its text, and what could not be read of it.

    Parameters:
        script: read and split.
        engine: one of DIALECTS.
        parser: for this engine.
    """
    reading = _Reading(engine, parser)
    seen: set[tuple] = set()
    for number, statement in enumerate(script.statements):
        place = (statement.line, statement.column)
        if place not in seen:  # GO 5 runs one batch five times
            seen.add(place)
            reading.read(statement, number)
    return sorted(reading.out.facts, key=lambda fact: (fact.line, fact.column)), reading.out.unread


# Statements that our reader's word is enough for, where sqlfluff gave up.
_OURS = ("ALTER", "CREATE", "DROP", "EXEC", "EXECUTE", "DO", "SET", "LOCK", "UNLOCK", "SAVEPOINT", "ROLLBACK", "RELEASE")


class _Reading:
    """Reads the statements of one script."""

    def __init__(self, engine: str, parser: Parser) -> None:
        self.engine, self.parser = engine, parser
        self.out = Collector(engine)
        self.seconds_left, self.is_late = SCRIPT_BUDGET, False
        lexis = engine_class(engine).lexis
        # A batch is one statement for the splitter; inside of it nothing but tokens counts.
        self.lexis: Lexis = replace(lexis, delimiter_lines=False, client_command="", batches=False)
        self.reader = StatementReader(self.out, self.lexis)

    def read(self, statement: Statement, number: int) -> None:
        try:
            self._read(statement, Setting(number))
        except (ScriptError, RecursionError):
            self.out.give_up([Token("word", statement.text, 0, 0, statement.line, statement.column)])

    def _read(self, statement: Statement, setting: Setting) -> None:
        tokens = self._tokens(statement)
        if not tokens:
            return
        if self.engine == "sqlserver" and is_bare_call(tokens):
            first = tokens[0]
            tokens = [Token("word", "EXEC", first.start, first.start, first.line, first.column), *tokens]
        tree = self._tree(statement.text)
        if tree is None:
            self._without_tree(tokens, setting, statement)
        elif self.engine != "sqlserver":
            self._leaf(tokens, setting, statement, "unparsable" not in tree.descendant_type_set)
        elif "unparsable" in tree.descendant_type_set:
            self._segments(tokens, setting, statement)  # the tree may cut a statement in two where it gave up
        else:
            self._walk(tree, tokens, setting, statement)

    def _tree(self, text: str):
        """Return the parse tree, None as well when the script has used up its time."""
        if self.seconds_left <= 0:
            self.is_late = True
            return None
        begin = time.process_time()
        tree = self.parser.tree(text, min(PARSE_BUDGET, self.seconds_left))
        self.seconds_left -= time.process_time() - begin
        return tree

    def _tokens(self, statement: Statement) -> list[Token]:
        """Return the statement's tokens with their places in the file; its own place is that of its first one."""
        tokens = read_tokens(statement.text, self.lexis, ansi_quotes=self.engine not in ("mysql", "mariadb"))
        if not tokens:
            return []
        is_comment = statement.text.startswith(("/*!", "/*M!"))  # MySQL runs what stands in it: its place is the comment's
        first, column = (1, 1) if is_comment else (tokens[0].line, tokens[0].column)
        down, right = statement.line - first, statement.column - column
        return [
            Token(
                each.kind, each.text, each.start, each.end, each.line + down, each.column + (right if each.line == first else 0)
            )
            for each in tokens
        ]

    def _without_tree(self, tokens: list[Token], setting: Setting, statement: Statement) -> None:
        if self.engine == "sqlserver":
            self._segments(tokens, setting, statement)
        else:
            self._leaf(tokens, setting, statement, parsed=len(statement.text) > LONGEST_PARSED)

    def _walk(self, segment, tokens: list[Token], setting: Setting, statement: Statement) -> None:
        """Go down SQL Server's tree to the single statements."""
        kind = segment.get_type()
        if kind not in _COMPOUND:
            self._leaf(_between(tokens, segment), setting, statement, parsed=True)
            return
        if kind == "if_then_statement":
            setting = setting.inside(guarded=True)
        elif kind in _WITHIN:
            setting = setting.inside(_WITHIN[kind])
        for child in segment.segments:
            if child.is_type("statement", "batch", "begin_end_block") or (kind == "statement" and child.is_code):
                self._walk(child, tokens, setting, statement)

    def _segments(self, tokens: list[Token], setting: Setting, statement: Statement) -> None:
        for leaf, inner in segments_of_batch(tokens, setting):
            self._leaf(leaf, inner, statement, parsed=False)

    def _leaf(self, tokens: list[Token], setting: Setting, statement: Statement, parsed: bool) -> None:
        """Read a single statement; what neither sqlfluff nor our reader understands is told."""
        if not tokens:
            return
        words = [token.upper for token in tokens[:3]]
        self.out.setting = setting
        if self.engine in ("mysql", "mariadb") and words == ["BEGIN", "NOT", "ATOMIC"]:
            for leaf, inner in segments_of_block(tokens, setting.inside("block")):
                self._leaf(leaf, inner, statement, parsed=True)
            return
        understood = self.reader.read(tokens)
        if self.engine == "sqlserver" and not understood and is_bare_call(tokens):
            self._give_up(tokens)  # the grammar takes any word for a procedure; the server does at a batch's beginning alone
            return
        if parsed or (understood and words[0] in _OURS):
            return
        text = statement.text[tokens[0].start : tokens[-1].end]
        tree = None if text == statement.text.rstrip("; \n") else self._tree(text)
        if tree is None or "unparsable" in tree.descendant_type_set:
            self._give_up(tokens)

    def _give_up(self, tokens: list[Token]) -> None:
        """Tell what could not be read; of what only lacked time, the first statement stands for all of them."""
        if self.is_late:
            said = f"{SCRIPT_BUDGET:g} s of parsing are used up from here on:"
            tokens = (
                [] if any(each.text.startswith(said) for each in self.out.unread) else [replace(tokens[0], text=said), *tokens]
            )
        self.out.give_up(tokens)


def _between(tokens: list[Token], segment) -> list[Token]:
    """Return the tokens that a segment of the tree covers."""
    span = segment.pos_marker.source_slice
    return [token for token in tokens if span.start <= token.start < span.stop]
