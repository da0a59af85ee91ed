"""Where statements end on MariaDB and MySQL: backslashes, comments, DELIMITER."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.mysql import MariadbEngine, MysqlEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import ScriptError, split, tokens
from hypothesis import given, settings
from hypothesis import strategies as st

LEXIS = MariadbEngine.lexis


def texts(script):
    return [statement.text for statement in split(script, LEXIS, "expand/1_x.sql")]


PROCEDURE = "CREATE PROCEDURE p()\nBEGIN\n  SELECT 1; -- it's; fine\n  SELECT '//';\nEND"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        (r"SELECT 'it\'s; on', 'a\\'; SELECT 2", [r"SELECT 'it\'s; on', 'a\\'", "SELECT 2"]),
        (r'SELECT "a\";", "b"";"; SELECT 2', [r'SELECT "a\";", "b"";"', "SELECT 2"]),
        (r"SELECT `a\`; SELECT `b;```", [r"SELECT `a\`", "SELECT `b;```"]),
        ("SELECT 'a'\n'b\\';' ; SELECT 2", ["SELECT 'a'\n'b\\';'", "SELECT 2"]),
        ('SELECT "a"\n\'b"\' ; SELECT 2', ['SELECT "a"\n\'b"\'', "SELECT 2"]),
        ("SELECT 1 # it's; over\n; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1 -- it's; over\n; SELECT 2--\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT 5--1; SELECT 5--'a;'", ["SELECT 5--1", "SELECT 5--'a;'"]),
        ("/* a /* b */ SELECT 1", ["SELECT 1"]),
        ("/*!40101 SET a = 1 */; /*M!100 SELECT ';' */;", ["/*!40101 SET a = 1 */", "/*M!100 SELECT ';' */"]),
        ("SELECT /*+ hint */ 1 /*! + 1 */; # end", ["SELECT /*+ hint */ 1 /*! + 1 */"]),
        (f"DELIMITER //\n{PROCEDURE}//\nDELIMITER ;\nSELECT 1; SELECT 2", None),
        (f"delimiter $$\n{PROCEDURE}$$\n  DELIMITER ;  \nSELECT 1; SELECT 2", None),
        (f"DELIMITER ;;\n{PROCEDURE} ;;\nDELIMITER ;\nSELECT 1; SELECT 2", None),
        (f"DELIMITER //\n{PROCEDURE}\n//\nSELECT 1// SELECT 2\n//", None),
        ("DELIMITER $$\nSELECT a$$SELECT b$$", ["SELECT a", "SELECT b"]),
        ("SELECT 1 AS\ndelimiter; SELECT 2", ["SELECT 1 AS\ndelimiter", "SELECT 2"]),
        ("CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.b = 1; SELECT 2", None),
        ("CREATE PROCEDURE p() BEGIN END; SELECT 2", ["CREATE PROCEDURE p() BEGIN END", "SELECT 2"]),
    ],
)
def test_statements(script, expected):
    if expected is None:
        expected = [PROCEDURE, "SELECT 1", "SELECT 2"] if PROCEDURE in script else script.split("; ")
    if PROCEDURE in script and "SELECT '//'" in PROCEDURE and script.startswith("DELIMITER //"):
        assert "SELECT '//'" in texts(script)[0], "a delimiter inside a string ends nothing"
    assert texts(script) == expected


@pytest.mark.parametrize(
    ("script", "place", "what"),
    [
        ("SELECT 1;\n  SELECT 'abc\\'", "2:10", "quote ' is not closed"),
        ('SELECT "a', "1:8", 'quote " is not closed'),
        ("SELECT `a", "1:8", "quote ` is not closed"),
        ("SELECT 1; /*! SELECT 2", "1:11", "comment /* is not closed"),
        ("SELECT 1;\n DELIMITER \n", "2:2", "DELIMITER needs what shall end a statement"),
        ("DELIMITER '\n", "1:1", "DELIMITER needs what shall end a statement"),
        ("DELIMITER //\nSELECT 1;\nSELECT 2;\n", "2:1", "DELIMITER // is set, and nothing ends this statement"),
        ("SELECT 1;\n\nCREATE PROCEDURE p()\nBEGIN SELECT 1; END;", "3:1", "between lines DELIMITER // and DELIMITER ;"),
        ("CREATE DEFINER=a@b TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN SET @a = 1; END", "1:1", "between lines DELIMITER"),
        ("BEGIN NOT ATOMIC SELECT 1; END", "1:1", "between lines DELIMITER"),
        ("SELECT 1;\nsource x.sql\n", "2:1", "source is a command"),
        ("SELECT 1;\n\\. x.sql\n", "2:1", "\\. is a command"),
    ],
)
def test_place_of_what_cannot_be_read(script, place, what):
    with pytest.raises(ScriptError) as caught:
        split(script, LEXIS, "expand/1_x.sql")
    assert str(caught.value).startswith(f"expand/1_x.sql:{place}: ")
    assert what in str(caught.value)


PIECES = [
    "'",
    '"',
    "`",
    "\\",
    "--",
    "-- ",
    "#",
    "\n",
    "/*",
    "/*!",
    "*/",
    ";",
    "//",
    "$$",
    "DELIMITER //",
    " ",
    "a",
    "END",
    "BEGIN",
    "1",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_tokens_joined_are_the_text(text):
    try:
        found = list(tokens(text, LEXIS, "x.sql"))
    except ScriptError:
        return
    assert "".join(token.text for token in found) == text


def check(engine, sql):
    (statement,) = split(sql, engine.lexis, "x.sql")
    db = object.__new__(engine)
    db._connection_string = "DRIVER={MariaDB Unicode}"
    db.check_statement(statement, "expand/1_x.sql", in_transaction=True)


@pytest.mark.parametrize(
    ("engine", "sql", "what"),
    [
        (MariadbEngine, "COMMIT", "COMMIT inside a script"),
        (MariadbEngine, "START TRANSACTION", "START inside a script"),
        (MariadbEngine, "XA START 'x'", "XA inside a script"),
        (MariadbEngine, "LOCK TABLES t WRITE", "LOCK TABLES would keep everup from its own tables"),
        (MariadbEngine, "SET @@session.autocommit = 0", "SET autocommit"),
        (MariadbEngine, "SET @a = 1, timestamp = 5", "SET timestamp would stop the clock"),
        (MariadbEngine, "SET TRANSACTION READ ONLY", "SET SESSION TRANSACTION"),
        (MariadbEngine, "/*!50000 SELECT 5 */", "a comment that runs as a query cannot be sent"),
        (MysqlEngine, "OPTIMIZE TABLE t", "OPTIMIZE cannot be sent"),
        (MariadbEngine, "SELECT ?", "a question mark outside quotes"),
    ],
)
def test_what_is_refused_before_anything_runs(engine, sql, what):
    with pytest.raises(ScriptError, match=what):
        check(engine, sql)


@pytest.mark.parametrize(
    "sql", ["OPTIMIZE TABLE t", "BEGIN NOT ATOMIC END", "SET SESSION TRANSACTION READ ONLY", "SELECT '?' -- ?"]
)
def test_what_is_not(sql):
    check(MariadbEngine, sql)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("UPDATE profile SET file = 1", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", False),
        ("CALL p()", False),
        ("TRUNCATE t", False),
        ("CREATE TABLE t (a int)", False),
        ("SET @a = 1", False),
    ],
)
def test_what_shares_a_transaction_with_its_count(sql, expected):
    (statement,) = split(sql, LEXIS, "x.sql")
    assert object.__new__(MariadbEngine).joins_transaction(statement) is expected
