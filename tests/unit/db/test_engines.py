"""What an engine refuses before anything runs, and how it is addressed."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC, connect
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.mysql import MariadbEngine, MysqlEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.postgresql import PostgresqlEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.sqlite import SqliteEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.errors import DatabaseError
from ansible_collections.everup.deploy.plugins.module_utils._db.ledger import Ledger, Names
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import ScriptError, split
from ansible_collections.everup.deploy.plugins.module_utils._redact import odbc_parts

DEFAULTS = {name: option.get("default") for name, option in CONNECTION_SPEC.items()}


def check(engine, sql, in_transaction=True):
    (statement,) = split(f"\n {sql}", engine.lexis, "x.sql")
    engine.check_statement(object.__new__(engine), statement, "expand/1_x.sql", in_transaction)


TRANSACTIONS = ["BEGIN", "COMMIT", "end", "ROLLBACK TO a", "SAVEPOINT a", "RELEASE a", "START TRANSACTION", "ABORT"]


@pytest.mark.parametrize("in_transaction", [True, False])
@pytest.mark.parametrize("sql", TRANSACTIONS)
@pytest.mark.parametrize("engine", [PostgresqlEngine, SqliteEngine])
def test_a_script_leaves_transactions_to_us(engine, sql, in_transaction):
    with pytest.raises(ScriptError, match=rf"^expand/1_x.sql:2:2: {sql.split()[0].upper()} inside a script"):
        check(engine, sql, in_transaction)


OUTSIDE = [
    (PostgresqlEngine, "CREATE INDEX CONCURRENTLY i ON t (a)"),
    (PostgresqlEngine, "create unique index /* now */ concurrently i on t (a)"),
    (PostgresqlEngine, "DROP INDEX CONCURRENTLY i"),
    (PostgresqlEngine, "REINDEX (VERBOSE) INDEX CONCURRENTLY i"),
    (PostgresqlEngine, "ALTER TABLE t DETACH PARTITION p CONCURRENTLY"),
    (PostgresqlEngine, "VACUUM t"),
    (PostgresqlEngine, "CREATE DATABASE d"),
    (PostgresqlEngine, "ALTER SYSTEM SET a = 1"),
    (PostgresqlEngine, "REINDEX SCHEMA s"),
    (SqliteEngine, "VACUUM"),
    (SqliteEngine, "PRAGMA journal_mode = WAL"),
]


@pytest.mark.parametrize(("engine", "sql"), OUTSIDE)
def test_what_cannot_run_in_a_transaction(engine, sql):
    with pytest.raises(ScriptError, match=r"^expand/1_x.sql:2:2: .* cannot run in a transaction: put '-- everup"):
        check(engine, sql)
    check(engine, sql, in_transaction=False)


@pytest.mark.parametrize(
    "sql", ["REFRESH MATERIALIZED VIEW CONCURRENTLY v", "CREATE INDEX i ON t (a)", "PREPARE p AS SELECT 1", "COPY t TO 'f'"]
)
def test_what_may_run_in_a_transaction(sql):
    check(PostgresqlEngine, sql)


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("COPY t (a)\nFROM stdin", "COPY FROM STDIN"),
        ("CREATE INDEX CONCURRENTLY i ON t ((a ? 'x'))", "jsonb_exists"),
    ],
)
def test_what_cannot_be_sent_at_all(sql, what):
    with pytest.raises(ScriptError, match=what):
        check(PostgresqlEngine, sql, in_transaction=False)


def test_options_become_a_connection_string():
    options = {
        **DEFAULTS,
        "login_db": "shop",
        "login_user": "owner",
        "login_password": "a}b;c'%",
        "odbc_driver": "x",
        "login_port": 6000,
    }
    parts = odbc_parts(PostgresqlEngine.connection_string(options, "it's ours"))
    assert parts == {
        "driver": "{x}",
        "server": "localhost",
        "port": "6000",
        "database": "shop",
        "uid": "owner",
        "pwd": "{a}}b;c'%}",
        "sslmode": "prefer",
        "protocol": "7.4-1",
        "boolsaschar": "0",
        "useserversideprepare": "0",
        "pqopt": "{application_name='it\\'s ours'}",
    }


@pytest.mark.parametrize(
    ("engine", "options", "expected"),
    [
        (MariadbEngine, {"odbc_driver": "x"}, {"server": "localhost", "port": "3306", "pwd": "{a}}b;c'%}", "option": "2"}),
        (MariadbEngine, {"odbc_driver": "x", "login_unix_socket": "/run/m.sock"}, {"socket": "/run/m.sock"}),
        (MariadbEngine, {"odbc_driver": "x", "ssl_mode": "require"}, {"forcetls": "1"}),
        (MariadbEngine, {"odbc_driver": "x", "ssl_mode": "verify-full"}, {"forcetls": "1", "sslverify": "1"}),
        (MysqlEngine, {"odbc_driver": "MySQL ODBC 8.4", "ssl_mode": "verify-ca"}, {"sslmode": "VERIFY_CA"}),
        (MysqlEngine, {"odbc_driver": "MySQL ODBC 8.4", "ssl_mode": "prefer"}, {"sslmode": "PREFERRED"}),
        (MysqlEngine, {"connection_string": "DSN=shop;Option=8;"}, {"dsn": "shop", "option": "10"}),
        (MysqlEngine, {"connection_string": "DSN=shop;PWD={a;OPTION=4}"}, {"pwd": "{a;OPTION=4}", "option": "2"}),
    ],
)
def test_options_become_a_connection_string_of_mariadb_and_mysql(engine, options, expected):
    login = {"login_db": "shop", "login_user": "owner", "login_password": "a}b;c'%"}
    parts = odbc_parts(engine.connection_string({**DEFAULTS, **login, **options}, "ours"))
    assert expected.items() <= parts.items()


@pytest.mark.parametrize("option", ["login_host", "login_db", "login_user", "login_unix_socket"])
def test_an_option_cannot_bring_in_another(option):
    with pytest.raises(DatabaseError, match=f"{option} may not hold ';'"):
        PostgresqlEngine.connection_string({**DEFAULTS, "odbc_driver": "x", option: "a;PWD=b"}, "x")


@pytest.mark.parametrize(
    ("given", "added"),
    [
        (
            "DSN=shop;PWD={a;Protocol=1;pqopt=x};",
            {"protocol": "7.4-1", "boolsaschar": "0", "useserversideprepare": "0", "pqopt": "{application_name='me'}"},
        ),
        ("DSN=shop; protocol = 7.4-2 ;BOOLSASCHAR=1;PQOPT={a=b};UseServerSidePrepare=1", {}),
    ],
)
def test_a_whole_connection_string_gets_what_it_lacks(given, added):
    parts = odbc_parts(PostgresqlEngine.connection_string({**DEFAULTS, "connection_string": given}, "me"))
    assert {key: value for key, value in parts.items() if key not in odbc_parts(given)} == added


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({}, "login_db is missing"),
        ({"login_db": "x", "schema": "s"}, "SQLite has no schemas"),
        ({"login_db": "x", "connection_string": "y"}, "connection_string is for server engines"),
        ({"engine": "postgresql"}, "login_db or connection_string is missing"),
    ],
)
def test_options_that_make_no_connection(options, what):
    with pytest.raises(DatabaseError, match=what):
        connect({**DEFAULTS, **options})


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"table_prefix": "a-b"}, "table_prefix is 'a-b'"),
        ({"table_prefix": "a\n"}, "table_prefix is 'a"),
        ({"schema": 'a"b'}, "schema is"),
        ({"expand_history_table": "x;y"}, "expand_history_table is 'x;y'"),
        ({"table_prefix": "x" * 50}, "table_prefix .* is too long: x+expand_history"),
        ({"expand_history_table": "h", "contract_history_table": "H"}, "H and h would be one table"),
        ({"expand_history_table": "everup_lease"}, "everup_lease would be one table"),
    ],
)
def test_names_that_are_refused(options, what):
    with pytest.raises(DatabaseError, match=what):
        Names.of({**DEFAULTS, **options})


def test_names():
    names = Names.of({**DEFAULTS, "table_prefix": "", "contract_history_table": "Old"})
    assert (names.steps, names.history("expand"), names.history("contract")) == ("ledger", "expand_history", "Old")


PIECEWISE = [
    (MysqlEngine, "CALL p()"),
    (MariadbEngine, "call p()"),
    (MariadbEngine, "DELIMITER //\nBEGIN NOT ATOMIC DELETE FROM t; DELETE FROM u; END//\nDELIMITER ;"),
    (MariadbEngine, "DELIMITER //\nWHILE @n > 0 DO DELETE FROM t LIMIT 9; SET @n = @n - 1; END WHILE//\nDELIMITER ;"),
    (MariadbEngine, "SET STATEMENT max_statement_time = 9 FOR CALL p()"),
    (MariadbEngine, "EXECUTE st"),
    (MariadbEngine, "EXECUTE IMMEDIATE 'CALL p()'"),
    (MariadbEngine, "EXECUTE IMMEDIATE concat('CALL ', @p)"),
    (PostgresqlEngine, "CALL p()"),
    (PostgresqlEngine, "DO $$ BEGIN DELETE FROM t; COMMIT; END $$"),
    (PostgresqlEngine, "DO $$ BEGIN CALL p(); END $$"),
    (PostgresqlEngine, "DO LANGUAGE plpython3u 'plpy.commit()'"),
    (PostgresqlEngine, r"DO E'BEGIN \x43OMMIT; END'"),
]
WHOLE = [
    (MysqlEngine, "ALTER TABLE t ADD a int"),
    (MariadbEngine, "CREATE TABLE a (b int)"),
    (MariadbEngine, "OPTIMIZE TABLE t"),
    (MariadbEngine, "SET STATEMENT max_statement_time = 9 FOR ALTER TABLE t ADD a int"),
    (MariadbEngine, "EXECUTE IMMEDIATE 'ALTER TABLE t ADD a int'"),
    (PostgresqlEngine, "CREATE INDEX CONCURRENTLY i ON t (a)"),
    (PostgresqlEngine, "VACUUM t"),
    (PostgresqlEngine, "DO $$ BEGIN ALTER TABLE t ADD a int; END $$"),
    (SqliteEngine, "VACUUM"),
]


@pytest.mark.parametrize(("engine", "sql", "atomic"), [(*case, False) for case in PIECEWISE] + [(*case, True) for case in WHOLE])
def test_what_can_commit_in_the_middle_of_itself(engine, sql, atomic):
    (statement,) = split(sql, engine.lexis, "x.sql")
    assert object.__new__(engine).is_atomic(statement) is atomic


def test_a_statement_behind_set_statement_is_no_setting():
    """Run again as one when the script goes on, it would insert twice."""
    (statement,) = split("SET STATEMENT max_statement_time = 9 FOR INSERT INTO t VALUES (1)", MariadbEngine.lexis, "x.sql")
    assert object.__new__(MariadbEngine).session_state(statement) == ""


class Gone(SqliteEngine):
    """A server that dies while the ledger is created."""

    def create_schema(self):
        raise DatabaseError("the server went away")

    def release_session_lock(self, name):
        super().release_session_lock(name)
        raise DatabaseError("no connection")


def test_a_session_that_is_gone_does_not_hide_why(tmp_path):
    db = Gone(str(tmp_path / "x.sqlite"), "tests", True)
    with pytest.raises(DatabaseError, match="the server went away"):
        Ledger(db, Names.of({"table_prefix": "everup_", "schema": ""})).ensure()
    db.close()
