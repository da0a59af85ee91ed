"""What a statement is read to drop, in the words of each engine."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.connection import engine_class
from ansible_collections.everup.deploy.plugins.module_utils._db.script import parse_script
from ansible_collections.everup.deploy.plugins.module_utils._trash.drops import names_dropped, plain, read_drops


def read(engine, text):
    lexis = engine_class(engine).lexis
    (statement,) = parse_script(text, "1_a.sql", lexis).statements
    return read_drops(statement, lexis)


def dropped(engine, text):
    reading = read(engine, text)
    assert reading is not None and not reading.refusal, reading
    return [(drop.kind, ".".join(drop.name), drop.column, drop.arguments) for drop in reading.drops]


@pytest.mark.parametrize(
    ("engine", "text", "found"),
    [
        ("postgresql", "DROP TABLE IF EXISTS a.b, c RESTRICT", [("table", "a.b", "", None), ("table", "c", "", None)]),
        ("postgresql", 'DROP TABLE /* x */ "a.b" -- c', [("table", '"a.b"', "", None)]),
        ("postgresql", "alter table only a drop b", [("column", "a", "b", None)]),
        ("postgresql", "ALTER TABLE a DROP COLUMN IF EXISTS b RESTRICT", [("column", "a", "b", None)]),
        (
            "postgresql",
            "DROP FUNCTION f(a int, b numeric(1, 2)), g",
            [("function", "f", "", "a int, b numeric(1, 2)"), ("function", "g", "", None)],
        ),
        ("postgresql", "DROP PROCEDURE p()", [("procedure", "p", "", "")]),
        ("postgresql", "DROP VIEW v", [("view", "v", "", None)]),
        ("mariadb", "DROP TABLE `a` CASCADE", [("table", "`a`", "", None)]),
        ("mariadb", "DROP TABLE a WAIT 5", [("table", "a", "", None)]),
        ("mariadb", "ALTER ONLINE IGNORE TABLE a NOWAIT DROP b", [("column", "a", "b", None)]),
        ("sqlite", "ALTER TABLE [a] DROP COLUMN [b c]", [("column", "[a]", "[b c]", None)]),
        ("sqlserver", "DROP PROC dbo.p;", [("procedure", "dbo.p", "", None)]),
        ("sqlserver", "ALTER TABLE [a] DROP COLUMN [b], c", [("column", "[a]", "[b]", None), ("column", "[a]", "c", None)]),
        ("sqlserver", "ALTER TABLE a DROP COLUMN b, COLUMN c", [("column", "a", "b", None), ("column", "a", "c", None)]),
    ],
)
def test_what_is_dropped(engine, text, found):
    assert dropped(engine, text) == found


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        ("postgresql", "DROP INDEX i"),
        ("postgresql", "DROP TRIGGER t ON a"),
        ("postgresql", "ALTER TABLE a DROP CONSTRAINT b"),
        ("postgresql", "ALTER TABLE a ALTER COLUMN b DROP NOT NULL, ALTER c DROP DEFAULT"),
        ("postgresql", "ALTER VIEW a ALTER b DROP DEFAULT"),
        ("postgresql", "INSERT INTO a VALUES ('DROP TABLE a')"),
        ("postgresql", "CREATE TABLE a (id int)"),
        ("mariadb", "DROP TEMPORARY TABLE a"),
        ("mariadb", "ALTER TABLE a DROP PRIMARY KEY, DROP FOREIGN KEY b, DROP INDEX c, DROP KEY d, DROP CHECK e"),
        ("mariadb", "ALTER TABLE a DROP PARTITION p"),
        ("sqlserver", "ALTER TABLE a DROP CONSTRAINT c"),
        ("sqlserver", "IF OBJECT_ID('tempdb..#a') IS NOT NULL DROP TABLE #a"),
        ("sqlserver", "CREATE PROCEDURE p AS DROP TABLE a"),
        ("sqlite", "DROP TABLE"),
    ],
)
def test_what_drops_nothing_that_is_kept(engine, text):
    assert read(engine, text) is None


@pytest.mark.parametrize(
    ("engine", "text", "why"),
    [
        ("postgresql", "DROP TABLE a CASCADE", "CASCADE"),
        ("postgresql", "ALTER TABLE a DROP COLUMN b CASCADE", "CASCADE"),
        ("postgresql", "DROP SCHEMA s", "schema"),
        ("mariadb", "DROP DATABASE s", "database"),
        ("postgresql", "DROP MATERIALIZED VIEW v", "materialized"),
        ("postgresql", "ALTER TABLE IF EXISTS a DROP COLUMN b, ADD c int", "IF EXISTS"),
        ("sqlserver", "DROP TABLE a; DROP TABLE b", "something else"),
        ("sqlserver", "DROP TABLE a\nDROP TABLE b", "something else"),
        ("sqlserver", "ALTER TABLE a DROP COLUMN b; DROP TABLE c", "something else"),
        ("sqlserver", "IF OBJECT_ID('a') IS NOT NULL DROP TABLE a", "does not stand alone"),
        ("sqlserver", "UPDATE a SET b = 1 ALTER TABLE a DROP COLUMN c", "does not stand alone"),
    ],
)
def test_what_cannot_be_kept_by_its_words(engine, text, why):
    assert why in read(engine, text).refusal


def test_the_rest_of_a_statement():
    text = "ALTER TABLE ONLY a.b -- why\n  ALTER c SET DEFAULT f(1, 2), DROP d, ADD e text DEFAULT ','"
    reading = read("postgresql", text)
    assert [drop.column for drop in reading.drops] == ["d"]
    assert reading.rest == "ALTER TABLE ONLY a.b ALTER c SET DEFAULT f(1, 2), ADD e text DEFAULT ','"


def test_the_names_of_what_others_may_be_made_of():
    lexis = engine_class("postgresql").lexis

    def names(text):
        (statement,) = parse_script(text, "1_a.sql", lexis).statements
        return names_dropped(statement, lexis)

    assert names('DROP TYPE IF EXISTS a.mood, "Other" CASCADE') == {"mood", "other"}
    assert names("DROP FUNCTION f(int), g()") == {"f", "g"}
    assert names("DROP TABLE t") == set()


@pytest.mark.parametrize(
    ("part", "found"),
    [('"a""b"', 'a"b'), ("`a``b`", "a`b"), ("[a]]b]", "a]b"), ("a", "a"), ('"', '"'), ("[a", "[a"), ('""', ""), ('a"', 'a"')],
)
def test_a_name_without_its_quotes(part, found):
    assert plain(part) == found


def test_if_exists_stands_for_all_that_a_statement_does():
    alone = read("postgresql", "ALTER TABLE IF EXISTS a DROP COLUMN b")
    assert (alone.refusal, alone.rest, alone.drops[0].if_exists) == ("", "", False)
    several = read("postgresql", "ALTER TABLE IF EXISTS a DROP COLUMN b, ADD COLUMN c int")
    assert several.refusal == "IF EXISTS stands for other changes as well"
    sure = read("postgresql", "ALTER TABLE a DROP COLUMN b, ADD COLUMN c int")
    assert (sure.refusal, sure.rest) == ("", "ALTER TABLE a ADD COLUMN c int")
    first = read("postgresql", "ALTER TABLE IF EXISTS a DROP COLUMN b CASCADE, ADD COLUMN c int")
    assert first.refusal == "CASCADE takes along what depends on it"


def test_a_column_whose_name_is_a_word_of_others():
    assert dropped("postgresql", "ALTER TABLE a DROP COLUMN identity") == [("column", "a", "identity", None)]
    assert read("mariadb", "ALTER TABLE a DROP DEFAULT") is None


def test_only_sql_server_has_a_drop_in_the_middle_of_a_batch():
    text = "IF OBJECT_ID('a') IS NOT NULL DROP TABLE a"
    assert "it does not stand alone in its batch" in read("sqlserver", text).refusal
    assert read("sqlserver", text).whole == "what the batch drops by DROP TABLE a"
    assert read("sqlserver", "IF OBJECT_ID('a') IS NOT NULL drop column_of_mine") is None
    assert read("mariadb", "DELETE FROM a WHERE b = 'x'") is None
    assert read("sqlserver", "SELECT 1 AS [DROP], 2 AS [TABLE], 3 AS a") is None
