"""Where the batches of a T-SQL script end, and what in it is meant for sqlcmd."""

import codecs

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.batches import MOST_REPEATS, split_batches
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.sqlserver import SqlserverEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import ScriptError
from ansible_collections.everup.deploy.plugins.module_utils._db.script import load_script

LEXIS = SqlserverEngine.lexis


def batches(text):
    return [batch.text for batch in split_batches(text, LEXIS, "x.sql")]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("SELECT 1\nGO\nSELECT 2\ngo", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1; SELECT 2;\n  Go  \nSELECT 3", ["SELECT 1; SELECT 2;", "SELECT 3"]),
        ("GO\nGO\n\n  \nGO", []),
        ("", []),
        ("-- only\nGO\n/* a comment */\nGO 3", []),
        ("SELECT 1\nGO 3\nSELECT 2", ["SELECT 1"] * 3 + ["SELECT 2"]),
        ("SELECT 1\nGO -- the end\nSELECT 2\ngo 2--x\nSELECT 3\nGO /* a */ /* b */\nSELECT 4\nGO\t2 \n", None),
        ("/* GO\n/*\nGO\n*/\nGO\n*/ SELECT 1", ["/* GO\n/*\nGO\n*/\nGO\n*/ SELECT 1"]),
        ("SELECT '\nGO\n''\nGO\n'", ["SELECT '\nGO\n''\nGO\n'"]),
        ('SELECT [\nGO\n]]\nGO\n], "\nGO\n"', ['SELECT [\nGO\n]]\nGO\n], "\nGO\n"']),
        ("SELECT 1 AS\n  [GO]\nFROM t\nWHERE a = @go AND\n@go = 1\n#go\ngo_live = 1 AND\ngo$x = 1", None),
        ("SELECT 1 GO\nGO", ["SELECT 1 GO"]),
        ("SELECT 'it''s' -- GO\nGO\nSELECT 2", ["SELECT 'it''s' -- GO", "SELECT 2"]),
        ("-- kept with\n/* the procedure */\nCREATE PROC p AS\n-- and inside\nRETURN\nGO", None),
        ("SELECT geography\n::Parse('x'), a\n: b", None),
    ],
)
def test_batches(script, expected):
    if expected is None and "GO -- the end" in script:
        expected = ["SELECT 1", "SELECT 2", "SELECT 2", "SELECT 3", "SELECT 4", "SELECT 4"]
    assert batches(script) == (expected if expected is not None else [script.removesuffix("\nGO")])


def test_places_are_those_of_the_first_word():
    text = "-- a\n\n  SELECT 1\nGO 2\n\n/* b\n*/ EXEC x\n"
    assert [(batch.line, batch.column, batch.words) for batch in split_batches(text, LEXIS, "x.sql")] == [
        (3, 3, ("SELECT",)),
        (3, 3, ("SELECT",)),
        (7, 4, ("EXEC", "X")),
    ]


ALONE = "GO must stand alone on its line"


@pytest.mark.parametrize(
    ("script", "place", "what"),
    [
        ("SELECT 1\n GO;", "2:2", ALONE),
        ("SELECT 1\nGO SELECT 2", "2:1", ALONE),
        ("CREATE TABLE t (\n  go int)", "2:3", ALONE),
        ("SELECT 1\nGO -5", "2:1", ALONE),
        ("SELECT 1\nGO /* a\n*/", "2:1", ALONE),
        ("SELECT 1 /*\n*/ GO", "2:4", "GO behind a comment"),
        ("SELECT 1\nGO 0", "2:1", "at least once"),
        (f"SELECT 1\nGO {MOST_REPEATS + 1}", "2:1", f"at most {MOST_REPEATS} times"),
        ("SELECT 1\nGO 2\n  :setvar name value", "3:3", ":setvar is a command of sqlcmd, not SQL: write ${name}"),
        (":r other.sql", "1:1", ":r is a command of sqlcmd, not SQL: give the other file a version"),
        ("SELECT 1\n:On Error exit", "2:1", ":On is a command of sqlcmd"),
        ("\n!! dir", "2:1", "!! dir is a command of sqlcmd"),
        ("USE [$(Database)]", "1:5", "$(Database) is a variable of sqlcmd, which nothing here fills in: write ${Database}"),
        ("SELECT * FROM $(Schema).t", "1:15", "$(Schema) is a variable of sqlcmd"),
        ("SELECT 1\nGO\nSELECT 'a\nGO", "3:8", "the quote ' is not closed"),
        ("SELECT 1 /* /* */\nGO", "1:10", "the comment /* is not closed"),
    ],
)
def test_what_is_refused(script, place, what):
    with pytest.raises(ScriptError) as caught:
        batches(script)
    assert str(caught.value).startswith(f"x.sql:{place}: ")
    assert what in str(caught.value)


@pytest.mark.parametrize("text", ["SELECT '$(document).ready()'", "-- $(x)\nSELECT 1", "SELECT $ (1)", "SELECT $1, $(1)"])
def test_what_only_looks_like_a_variable(text):
    assert batches(text) == [text]


SCRIPT = (
    "-- everup: transaction=none\n-- everup: lock_timeout=3s\nSELECT '${word}' -- ${word}\nGO 2\nCREATE PROC p AS SELECT 'é'\nGO"
)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_a_file_of_management_studio(tmp_path, newline, bom):
    """Encodings, newlines, directives and placeholders work as for the other engines."""
    encoding = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}.get(bom, "utf-8")
    (tmp_path / "1_x.sql").write_bytes(bom + SCRIPT.replace("\n", newline).encode(encoding))
    script = load_script(tmp_path / "1_x.sql", "expand/1_x.sql", LEXIS, {"word": "hunter2"})
    assert (script.directives.transaction, script.directives.lock_timeout) == (False, 3)
    assert [batch.text.splitlines()[-1] for batch in script.statements] == ["SELECT 'hunter2' -- hunter2"] * 2 + [
        "CREATE PROC p AS SELECT 'é'"
    ]
    assert [batch.line for batch in script.statements] == [3, 3, 5]
    assert "hunter2" not in script.text
    with pytest.raises(ScriptError, match=r"^expand/1_x\.sql:3:9: the placeholder \$\{word\} is undefined"):
        load_script(tmp_path / "1_x.sql", "expand/1_x.sql", LEXIS, {})


def check(sql, in_transaction=True):
    (batch,) = split_batches(f"\n {sql}", LEXIS, "x.sql")
    SqlserverEngine.check_statement(object.__new__(SqlserverEngine), batch, "expand/1_x.sql", in_transaction)


@pytest.mark.parametrize("in_transaction", [True, False])
@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN TRAN",
        "begin transaction x",
        "SELECT 1\nCOMMIT",
        "IF @@ERROR <> 0 ROLLBACK TRAN",
        "SAVE TRAN a",
        "BEGIN DISTRIBUTED TRAN",
        "SET IMPLICIT_TRANSACTIONS ON",
    ],
)
def test_a_script_leaves_transactions_to_us(sql, in_transaction):
    line = 2 + sql.count("\n")
    with pytest.raises(
        ScriptError, match=rf"^expand/1_x.sql:2:2: .* inside a script \(line {line}\): .*leave transactions to everup"
    ):
        check(sql, in_transaction)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE DATABASE d",
        "-- first\nALTER DATABASE CURRENT SET RECOVERY SIMPLE",
        "DROP DATABASE d",
        "BACKUP DATABASE d TO DISK = 'x'",
        "RESTORE LOG d",
        "EXEC sp_configure 'x', 1; RECONFIGURE",
        "CREATE FULLTEXT INDEX ON t (a) KEY INDEX k",
        "CREATE INDEX i ON t (a) WITH (ONLINE = ON (WAIT_AT_LOW_PRIORITY (MAX_DURATION = 1, ABORT_AFTER_WAIT = SELF)))",
        "CREATE INDEX i ON t (a) WITH (ONLINE = ON, RESUMABLE = ON)",
        "KILL 53",
        "DBCC SHRINKFILE (1)",
        "CREATE TABLE t (a int) WITH (MEMORY_OPTIMIZED = ON)",
        "CREATE PROCEDURE p WITH NATIVE_COMPILATION, SCHEMABINDING AS BEGIN ATOMIC WITH (x = 1) SELECT 1 END",
    ],
)
def test_what_cannot_run_in_a_transaction(sql):
    with pytest.raises(ScriptError, match=r"cannot run in a transaction: put '-- everup: transaction=none' at the top"):
        check(sql)
    check(sql, in_transaction=False)


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN TRY SELECT 1 END TRY BEGIN CATCH THROW END CATCH",
        "CREATE PROC p AS BEGIN TRAN; COMMIT",
        "CREATE OR ALTER TRIGGER t ON x AFTER INSERT AS ROLLBACK",
        "ALTER PROCEDURE p AS ALTER DATABASE x SET RECOVERY SIMPLE",
        "GRANT CREATE DATABASE TO x",
        "SELECT 'COMMIT', [commit] -- ROLLBACK",
        "SET IMPLICIT_TRANSACTIONS OFF",
        "CREATE INDEX i ON t (a) WITH (ONLINE = ON)",
        "CREATE TABLE t (commit_id int)",
    ],
)
def test_what_may_run_in_a_transaction(sql):
    check(sql)


def test_a_question_mark_has_no_value():
    with pytest.raises(ScriptError, match="a question mark outside literals"):
        check("SELECT ?", in_transaction=False)


def test_low_priority_waits_for_long():
    engine = object.__new__(SqlserverEngine)
    (low,) = split_batches("ALTER INDEX i ON t REBUILD WITH (ONLINE = ON (WAIT_AT_LOW_PRIORITY (...)))", LEXIS, "")
    (plain,) = split_batches("ALTER INDEX i ON t REBUILD WITH (ONLINE = ON) -- WAIT_AT_LOW_PRIORITY", LEXIS, "")
    assert engine.is_online(low) and not engine.is_online(plain)
