"""For every engine: no character is lost by splitting, and nothing splits inside a literal or comment, whatever stands in it."""

import os
import re

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db import lexis as lexis_module
from ansible_collections.everup.deploy.plugins.module_utils._db.batches import split_batches
from ansible_collections.everup.deploy.plugins.module_utils._db.connection import ENGINES, engine_class
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import ScriptError, split, tokens
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

ENGINE_NAMES = sorted(ENGINES)
each_engine = pytest.mark.parametrize("engine", ENGINE_NAMES)
few = settings(
    max_examples=100,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
PIECES = [
    "'",
    '"',
    "`",
    "[",
    "]",
    "$",
    "$$",
    "$a$",
    "E'",
    "N'",
    "\\",
    "--",
    "-- ",
    "#",
    "\n",
    "/*",
    "*/",
    "/*!",
    "/*M!",
    ";",
    "//",
    "DELIMITER //\n",
    "DELIMITER ;\n",
    "\nGO\n",
    "GO 2",
    "GO",
    "go",
    ":r x",
    "\n:setvar",
    "!!",
    "$(a)",
    " ",
    "\t",
    "a",
    "END",
    "BEGIN",
    "ATOMIC",
    "CREATE TRIGGER t ",
    "CREATE PROCEDURE p ",
    "CASE",
    "?",
    "é",
    "😀",
    "1",
    "{",
    "}",
    "@",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def statements_of(text, engine):
    lexis = engine_class(engine).lexis
    return (split_batches if lexis.batches else split)(text, lexis, "x.sql")


@each_engine
@few
@given(TEXTS)
@example("a$b$;$b$")
@example("SELECT 1--1; SELECT 2")
def test_tokens_joined_are_the_text(engine, text):
    try:
        found = list(tokens(text, engine_class(engine).lexis, "x.sql"))
    except ScriptError:
        return
    assert "".join(token.text for token in found) == text
    assert all(token.text and text.startswith(token.text, token.start) for token in found)


PLAIN_PIECES = [
    *("CREATE TABLE a.b_1 (id int, c numeric(9.2))", "SELECT 1.5e3, t.x <> 2 * 3", "1e5x", "begin;", "source x", ".5", "_a", "E"),
    *("INSERT INTO t VALUES (1, 2)", "a b c d e f g h i j", "-", "--\n", "--x\n", "-- x;\n", "-- end", "\n\n", ";", ";", "\f"),
]
SCRIPTS = st.lists(st.sampled_from([*PLAIN_PIECES, *PIECES]) | st.sampled_from([*PLAIN_PIECES, " "]), max_size=8).map("".join)


def split_or_refused(text, engine):
    try:
        return statements_of(text, engine)
    except ScriptError as error:
        return str(error)


@each_engine
@settings(few, max_examples=400)
@given(SCRIPTS)
@example("SELECT 1; SELECT 2 -- x")
@example("CREATE TABLE t (id int);\nCREATE TRIGGER x BEGIN SELECT 1; END")
def test_a_plain_statement_is_read_as_its_tokens_would_be(engine, text):
    """Most scripts take the short way through the splitter, which must come out where the long one does."""
    quick = split_or_refused(text, engine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexis_module, "_PLAIN_STATEMENT", re.compile("(?!)"))
        assert quick == split_or_refused(text, engine)


@each_engine
@few
@given(TEXTS)
@example("--DELIMITER //\nDELIMITER //\n")
@example("-- a\nGO 2\nSELECT 1 -- b\nGO\n/* c */")
@example("DELIMITER //\nSELECT 1; SELECT 2//\nDELIMITER ;\nSELECT 3")
def test_splitting_loses_nothing_but_separators(engine, text):
    """Statements stand in the text in their order; between them are blanks, comments and what separates, and nothing else."""
    try:
        statements = statements_of(text, engine)
        found = list(tokens(text, engine_class(engine).lexis, "x.sql"))
    except ScriptError:
        return
    lines = [0, *(match.end() for match in re.finditer("\n", text))]
    spans, position, before = [], 0, None
    for statement in statements:
        if statement is before:
            continue  # the same batch once more
        before = statement
        place = lines[statement.line - 1] + statement.column - 1
        # A batch keeps the comments before its place; any other statement begins there.
        earliest = max(position, place - len(statement.text) + 1) if engine_class(engine).lexis.batches else place
        start = text.index(statement.text, earliest)
        assert position <= start <= place
        position = start + len(statement.text)
        assert place < position
        spans.append((start, position))
        assert not text[place].isspace()
    between = [token for token in found if not any(start <= token.start < end for start, end in spans)]
    separators = {"space", "comment", "semicolon", "delimiter"}
    for token in between:
        is_go = engine_class(engine).lexis.batches and (token.text.upper() == "GO" or token.kind == "number")
        assert token.kind in separators or is_go, token


INNER = st.text(alphabet="ab;'\"$/*-\\\n?[]`é#{}GOgo 2:!", max_size=14)
LITERALS = {
    "'": lambda inner, engine: "'" + _escaped(inner, "'", engine) + "'",
    '"': lambda inner, engine: '"' + _escaped(inner, '"', engine) + '"',
    "/*": lambda inner, _engine: "/*" + re.sub(r"[*/!]", "", inner) + "*/ 1",
    "--": lambda inner, _engine: "-- " + inner.replace("\n", "") + "\n 1",
    "E'": lambda inner, _engine: "E'" + inner.replace("\\", "\\\\").replace("'", "\\'") + "'",
    "$q$": lambda inner, _engine: f"$q${inner.replace('$', '')}$q$",
    "[": lambda inner, engine: "[" + (inner.replace("]", "]]") if engine == "sqlserver" else inner.replace("]", "")) + "]",
    "`": lambda inner, _engine: "`" + inner.replace("`", "``") + "`",
    "#": lambda inner, _engine: "#" + inner.replace("\n", "") + "\n 1",
    "nested": lambda inner, _engine: "/* /* " + re.sub(r"[*/!]", "", inner) + " */\n" + re.sub(r"[*/!]", "", inner) + "*/ 1",
}
KNOWN = {
    "sqlite": ("'", '"', "/*", "--", "[", "`"),
    "postgresql": ("'", '"', "/*", "--", "E'", "$q$", "nested"),
    "mariadb": ("'", '"', "/*", "--", "`", "#"),
    "mysql": ("'", '"', "/*", "--", "`", "#"),
    "sqlserver": ("'", '"', "/*", "--", "[", "nested"),
}


def _escaped(inner, quote, engine):
    inner = inner.replace("\\", "\\\\") if engine in ("mariadb", "mysql") else inner
    return inner.replace(quote, quote * 2)


def test_every_engine_has_its_literals():
    assert set(KNOWN) == set(ENGINES)


@each_engine
@few
@given(st.data())
def test_nothing_splits_inside_a_literal_or_comment(engine, data):
    literal = st.tuples(st.sampled_from(KNOWN[engine]), INNER).map(lambda pair: LITERALS[pair[0]](pair[1], engine))
    statement = st.lists(literal, min_size=1, max_size=3).map(lambda found: "SELECT " + ", ".join(found) + " a")
    statements = data.draw(st.lists(statement, min_size=1, max_size=4))
    separator = "\nGO\n" if engine_class(engine).lexis.batches else ";\n"
    assert [found.text for found in statements_of(separator.join(statements), engine)] == statements


@few
@given(st.lists(st.tuples(INNER, st.integers(1, 3), st.sampled_from(["GO", "go", "  Go", "GO -- x", "gO /* y */"])), max_size=4))
def test_batches_run_as_often_as_go_says(batches):
    parts = []
    for inner, count, go in batches:
        word, _space, comment = go.strip().partition(" ")
        parts.append(f"SELECT {LITERALS[chr(39)](inner, 'sqlserver')}\n{word} {count} {comment}\n")
    found = statements_of("".join(parts), "sqlserver")
    assert len(found) == sum(count for _inner, count, _go in batches)
