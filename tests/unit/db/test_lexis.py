"""Where statements end: the lexical rules of PostgreSQL and SQLite."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.postgresql import PostgresqlEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.sqlite import SqliteEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import ScriptError, split, tokens
from hypothesis import example, given, settings
from hypothesis import strategies as st

POSTGRESQL, SQLITE = PostgresqlEngine.lexis, SqliteEngine.lexis


def texts(script, lexis=POSTGRESQL):
    return [statement.text for statement in split(script, lexis, "expand/1_x.sql")]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1", ["SELECT 1"]),
        ("", []),
        (";;\n ; ", []),
        ("-- nothing; at all\n/* here; */", []),
        ("SELECT 'a;b''c;'; SELECT 2", ["SELECT 'a;b''c;'", "SELECT 2"]),
        ("SELECT 'back\\'; SELECT 2", ["SELECT 'back\\'", "SELECT 2"]),
        ('SELECT ";" FROM "a""b;"; SELECT 2', ['SELECT ";" FROM "a""b;"', "SELECT 2"]),
        ("SELECT 1 -- it's; over\n; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("/* ' ; */ SELECT 1 /* \" */;", ["SELECT 1"]),
    ],
)
@pytest.mark.parametrize("lexis", [POSTGRESQL, SQLITE], ids=["postgresql", "sqlite"])
def test_both_engines(script, expected, lexis):
    assert texts(script, lexis) == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("/* a /* ; */ ; */ SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        (r"SELECT E'it\'s; on'; SELECT 2", [r"SELECT E'it\'s; on'", "SELECT 2"]),
        (r"SELECT e'\\'; SELECT 2", [r"SELECT e'\\'", "SELECT 2"]),
        ("SELECT E'a'\n  'b\\';c'; SELECT 2", ["SELECT E'a'\n  'b\\';c'", "SELECT 2"]),
        ("SELECT 1 AS fooE'a\\'; SELECT 2", ["SELECT 1 AS fooE'a\\'", "SELECT 2"]),
        ("DO $$ BEGIN a; END $$; SELECT 2", ["DO $$ BEGIN a; END $$", "SELECT 2"]),
        ("DO $a$ x; $b$ y; $$ z; $a$; SELECT 2", ["DO $a$ x; $b$ y; $$ z; $a$", "SELECT 2"]),
        ("SELECT $1; SELECT $2$$;$$; SELECT 3", ["SELECT $1", "SELECT $2$$;$$", "SELECT 3"]),
        ("SELECT a$b$ FROM t; SELECT $b$;$b$", ["SELECT a$b$ FROM t", "SELECT $b$;$b$"]),
        ("SELECT x#$a$;$a$", ["SELECT x#$a$;$a$"]),
        ("SELECT é$t$; SELECT $t$;$t$", ["SELECT é$t$", "SELECT $t$;$t$"]),
        ("SELECT $😀$;$😀$; SELECT 2", ["SELECT $😀$;$😀$", "SELECT 2"]),
        (
            "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1;"
            " SELECT CASE WHEN a = 1 THEN 2 END; END; SELECT 3",
            [
                "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a = 1 THEN 2 END; END",
                "SELECT 3",
            ],
        ),
        (
            "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; END; SELECT 2",
            ["CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; END", "SELECT 2"],
        ),
        ("CREATE TABLE t (a int); SELECT CASE WHEN 1 = 1 THEN 2 END; SELECT 3", None),
    ],
)
def test_postgresql(script, expected):
    assert texts(script) == (expected if expected is not None else script.split("; "))


TRIGGER = (
    "CREATE TEMP TRIGGER IF NOT EXISTS t AFTER UPDATE ON a BEGIN\n  UPDATE a SET b = CASE WHEN 1 THEN 2 END;\n"
    "  SELECT CASE 1 WHEN 1 THEN 'END;' END;\nEND"
)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (f"{TRIGGER};\nSELECT 1", [TRIGGER, "SELECT 1"]),
        (TRIGGER, [TRIGGER]),
        ("/* a /* b */ SELECT 1", ["SELECT 1"]),
        ("SELECT [a;'b] FROM `c;\"d`; SELECT 2", ["SELECT [a;'b] FROM `c;\"d`", "SELECT 2"]),
        ("SELECT $$; SELECT 2", ["SELECT $$", "SELECT 2"]),
        ("INSERT INTO t VALUES (\n.5); SELECT t\n.a FROM t", ["INSERT INTO t VALUES (\n.5)", "SELECT t\n.a FROM t"]),
    ],
)
def test_sqlite(script, expected):
    assert texts(script, SQLITE) == expected


@pytest.mark.parametrize(
    ("script", "lexis", "place", "what"),
    [
        ("SELECT 1;\n  SELECT 'abc;", POSTGRESQL, "2:10", "quote ' is not closed"),
        ('SELECT "abc', POSTGRESQL, "1:8", 'quote " is not closed'),
        ("SELECT [abc", SQLITE, "1:8", "quote [ is not closed"),
        ("x /* a /* b */", POSTGRESQL, "1:3", "comment /* is not closed"),
        ("\n\n $q$ a $Q$", POSTGRESQL, "3:2", "dollar quote $q$ is not closed"),
        ("SELECT E'a\\'", POSTGRESQL, "1:9", "quote ' is not closed"),
        ("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;", POSTGRESQL, "1:1", "no END"),
        ("SELECT 0;\n CREATE TRIGGER t BEGIN SELECT CASE WHEN 1 THEN 2 END", SQLITE, "2:2", "no END"),
        ("SELECT 1;\n\\d orders\n", POSTGRESQL, "2:1", "\\d is a command"),
        ("SELECT 1 \\gexec", POSTGRESQL, "1:10", "\\gexec is a command"),
        ("SELECT 1;\n.read x.sql", SQLITE, "2:1", ".read is a command"),
        (".mode csv", SQLITE, "1:1", ".mode is a command"),
    ],
)
def test_place_of_what_cannot_be_read(script, lexis, place, what):
    with pytest.raises(ScriptError) as caught:
        split(script, lexis, "expand/1_x.sql")
    assert str(caught.value).startswith(f"expand/1_x.sql:{place}: ")
    assert what in str(caught.value)
    line, column = map(int, place.split(":"))
    assert caught.value.details == {"file": "expand/1_x.sql", "line": line, "column": column}


def test_statements_know_their_place_and_words():
    first, second = split("-- head\nSELECT 1;\n\n  /* x */ create  INDEX /* y */ concurrently i ON t", POSTGRESQL, "x.sql")
    assert (first.line, first.column, first.words) == (2, 1, ("SELECT",))
    assert (second.line, second.column) == (4, 11)
    assert second.words == ("CREATE", "INDEX", "CONCURRENTLY", "I", "ON", "T")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT a ? 'x'", True),
        ("SELECT a ?| b", True),
        ("SELECT '?', $$?$$, \"?\", E'?' -- ?\n /* ? */ FROM t", False),
    ],
)
def test_question_marks_that_a_driver_would_take_for_parameters(statement, expected):
    assert split(statement, POSTGRESQL, "x.sql")[0].has_marker is expected


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
    "\\",
    "--",
    "\n",
    "/*",
    "*/",
    ";",
    " ",
    "a",
    "END",
    "BEGIN",
    "?",
    "é",
    "1",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.sampled_from([POSTGRESQL, SQLITE]))
@example("a$b$;$b$", POSTGRESQL)
def test_tokens_joined_are_the_text(text, lexis):
    try:
        found = list(tokens(text, lexis, "x.sql"))
    except ScriptError:
        return
    assert "".join(token.text for token in found) == text
    assert [token.start for token in found] == [sum(len(t.text) for t in found[:n]) for n in range(len(found))]


WITHIN = st.text(alphabet="ab;'\"$/*-\\\n?[]` é", max_size=12)


@settings(max_examples=150, deadline=None)
@given(WITHIN, st.sampled_from(["'", '"', "$q$", "E'", "/*", "--"]))
def test_nothing_splits_inside_a_literal(inner, opener):
    """Whatever stands in a literal or comment, the statement around it stays one, and the next one is found."""
    if opener in ("'", '"'):
        literal = opener + inner.replace(opener, opener * 2) + opener
    elif opener == "E'":
        literal = "E'" + inner.replace("\\", "\\\\").replace("'", "\\'") + "'"
    elif opener == "$q$":
        literal = f"$q${inner.replace('$', '')}$q$"
    elif opener == "/*":
        literal = f"/*{inner.replace('*', '').replace('/', '')}*/"
    else:
        literal = f"--{inner}".replace("\n", "") + "\n"
    assert texts(f"SELECT a, {literal} b; SELECT 2") == [f"SELECT a, {literal} b", "SELECT 2"]
