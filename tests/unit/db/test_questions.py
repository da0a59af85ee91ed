"""What is asked of a catalog for each kind of statement, and of which nothing can be asked."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.mysql import MariadbEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.postgresql import PostgresqlEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import split
from ansible_collections.everup.deploy.plugins.module_utils._db.questions import is_repeatable, questions_of

POSTGRESQL, MARIADB = PostgresqlEngine.lexis, MariadbEngine.lexis


def asked(sql, lexis=MARIADB):
    (statement,) = split(sql, lexis, "x.sql")
    return [
        f"{'+' if q.there else '-'}{q.kind} {'.'.join((*q.table, *q.name))}" + (" filled" if q.filled else "")
        for q in questions_of(statement, lexis)
    ]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE TABLE t (a int)", ["+table t"]),
        ("create table if not exists `a b`.`t` (a int)", ["+table `a b`.`t`"]),
        ("CREATE TABLE t SELECT 1 AS a", ["+table t filled"]),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", ["+view v"]),
        ("CREATE ALGORITHM = MERGE DEFINER = `a`@`b` SQL SECURITY INVOKER VIEW v AS SELECT 1", ["+view v"]),
        ("CREATE DEFINER=a@b TRIGGER g BEFORE UPDATE ON t FOR EACH ROW SET @a = 1", ["+trigger t.g"]),
        ("CREATE UNIQUE INDEX i USING BTREE ON d.t (a)", ["+index d.t.i"]),
        ("CREATE TEMPORARY TABLE t (a int)", []),
        ("DROP TABLE a, b.c CASCADE", ["-table a", "-table b.c"]),
        ("DROP INDEX i ON t", ["-index t.i"]),
        ("RENAME TABLE a TO b, c TO a", ["+table b", "-table c"]),
        ("RENAME TABLE a TO x, b TO a, x TO b", []),
        ("ALTER TABLE t ADD a int FIRST, ADD COLUMN (b int, c varchar(5))", ["+column t.a", "+column t.b", "+column t.c"]),
        ("ALTER TABLE t ADD UNIQUE KEY k (a, b), ADD INDEX (c), DROP KEY j", ["+index t.k", "-index t.j"]),
        (
            "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (a), DROP FOREIGN KEY g",
            ["+constraint t.f", "-constraint t.g"],
        ),
        ("ALTER TABLE t ADD CONSTRAINT FOREIGN KEY (a) REFERENCES u (a)", []),
        ("ALTER TABLE t ADD CONSTRAINT UNIQUE (a), ADD CONSTRAINT CHECK (a > 0)", []),
        ("ALTER TABLE t ADD CONSTRAINT PRIMARY KEY (a)", ["+primary_key t"]),
        ("ALTER TABLE t ADD INDEX USING BTREE (a)", []),
        ("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (b)", []),
        ("ALTER TABLE t CHANGE a b bigint, MODIFY c int", ["-column t.a", "+column t.b"]),
        ("ALTER TABLE t CHANGE COLUMN a A bigint", []),
        ("ALTER TABLE t RENAME u, ADD a int", ["-table t", "+table u"]),
        ("ALTER TABLE t DROP COLUMN a, ADD COLUMN a text", []),
        ("ALTER TABLE t ADD PARTITION (PARTITION p VALUES LESS THAN (5))", []),
        ("ALTER TABLE t ENGINE=InnoDB", []),
        ("UPDATE t SET a = 1", []),
        ("ALTER TABLE", []),
        ("CREATE", []),
    ],
)
def test_mariadb(sql, expected):
    assert asked(sql) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY s.t (a)", ["+index s.t.i"]),
        ("CREATE INDEX ON t (a)", []),
        ("CREATE UNLOGGED TABLE t (a int)", ["+table t"]),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", ["+view v"]),
        ("CREATE CONSTRAINT TRIGGER g AFTER UPDATE OF a, b ON s.t EXECUTE FUNCTION f()", ["+trigger s.t.g"]),
        ("DROP FUNCTION f(int, text), g(int)", ["-function f", "-function g"]),
        ("DROP INDEX CONCURRENTLY IF EXISTS s.i", ["-index s.i"]),
        ("ALTER TABLE IF EXISTS ONLY t * RENAME a TO b", ["-column t.a", "+column t.b"]),
        ("ALTER TABLE s.t RENAME TO u", ["-table s.t", "+table s.u"]),
        ("ALTER VIEW v RENAME TO w", ["-view v", "+view w"]),
        ("ALTER TABLE t RENAME CONSTRAINT a TO b", ["-constraint t.a", "+constraint t.b"]),
        ("ALTER TABLE t ADD UNIQUE (a), ADD CHECK (a > 0), ALTER a SET NOT NULL", []),
        ("DO $$ BEGIN CREATE TABLE t (a int); END $$", []),
    ],
)
def test_postgresql(sql, expected):
    assert asked(sql, POSTGRESQL) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE TABLE IF NOT EXISTS t (a int)", True),
        ("CREATE TABLE t (a int)", False),
        ("CREATE OR REPLACE FUNCTION f() RETURNS int RETURN 1", True),
        ("DROP VIEW IF EXISTS v", True),
        ("DROP INDEX IF EXISTS i ON t", True),
        ("ALTER TABLE t ADD COLUMN IF NOT EXISTS a int, DROP CONSTRAINT IF EXISTS c", True),
        ("ALTER TABLE t ADD COLUMN IF NOT EXISTS a int, ADD b int", False),
        ("ALTER TABLE t MODIFY a int", False),
        ("INSERT INTO t VALUES (1)", False),
    ],
)
def test_what_may_run_twice(sql, expected):
    (statement,) = split(sql, MARIADB, "x.sql")
    assert is_repeatable(statement, MARIADB) is expected
