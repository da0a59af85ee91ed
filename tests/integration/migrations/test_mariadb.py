"""What is particular to MariaDB: sessions that last a script, whole-second lock time-outs, blockers, DELIMITER."""

import re
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.connection import connect
from ansible_collections.everup.deploy.plugins.module_utils._db.engines import mysql_catalog
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import split
from ansible_collections.everup.deploy.plugins.module_utils._db.script import Directives, Script
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._migrations import recovery

from lab.mariadb import Mariadb as MariadbServer

SLACK = 0.4


@pytest.fixture
def db(mariadb_database):
    return mariadb_database


@pytest.fixture
def orders(db):
    db.write(
        "1_t.sql",
        "CREATE TABLE orders (id int PRIMARY KEY, n int);\nINSERT INTO orders VALUES (1, 1);\nCREATE TABLE log (what text)",
    )
    db.migrate()
    return db


def log(db):
    return [what for (what,) in db.query("SELECT what FROM log")]


def columns(db):
    sql = "SELECT column_name FROM information_schema.columns WHERE table_schema = database() AND table_name = 'orders'"
    return [name for (name,) in db.query(sql)]


@contextmanager
def blocked(db, sql, seconds=None):
    """Hold a lock in a transaction of another session, for some seconds or as long as the block lasts."""
    with closing(db.connect()) as connection:
        (number,) = connection.execute("SELECT connection_id()").fetchone()
        connection.autocommit = False
        connection.execute(sql).cancel()
        timer = threading.Timer(seconds, connection.rollback) if seconds else None
        if timer:
            timer.start()
        yield number
        if timer:
            timer.join()
        connection.rollback()


def test_the_application_never_waits_longer_than_the_lock_time_out(orders):
    orders.write("2_a.sql", "ALTER TABLE orders ADD a int")
    longest, over = [0.0], threading.Event()

    def read():
        with closing(orders.connect()) as connection:
            while not over.is_set():
                began = time.monotonic()
                connection.execute("SELECT n FROM orders WHERE id = 1").fetchall()
                longest[0] = max(longest[0], time.monotonic() - began)
                time.sleep(0.005)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with blocked(orders, "SELECT count(*) FROM orders", seconds=2.5):
            result = orders.migrate(lock_timeout="300ms", lock_budget="20s")
    finally:
        over.set()
        reader.join(30)
    assert result["applied"][0]["tries"] > 1
    assert "a" in columns(orders)
    assert 0.5 < longest[0] <= 1 + SLACK, "a lock time-out below a second is rounded up to one"


def refused(db, **options):
    with pytest.raises(EverupError) as caught:
        db.migrate(lock_timeout="1s", lock_budget="500ms", **options)
    return caught.value


def test_who_holds_a_metadata_lock_is_named(orders):
    orders.write("2_a.sql", "INSERT INTO log VALUES ('x');\nALTER TABLE orders ADD a int")
    with blocked(orders, "SELECT 'a long report' FROM orders") as number:
        error = refused(orders)
    message = str(error)
    assert message.startswith("expand/2_a.sql:2:1: MariaDB: Lock wait timeout exceeded")
    assert re.search(rf"Blocked by: session {number}, user shop, from 127\.0\.0\.1, in a transaction for \d+ s", message)
    assert "1 of 2 statements of the script were applied and stay; number 2 was not" in message
    assert [blocker["session"] for blocker in error.details["blockers"]] == [str(number)]
    assert orders.events().count("script_failed") == 1
    assert (orders.history()["2"]["state"], orders.history()["2"]["statements_done"]) == ("failed", 1)
    orders.migrate()
    assert (log(orders), "a" in columns(orders)) == (["x"], True)


def test_who_holds_a_row_is_named(orders):
    orders.write("2_a.sql", "UPDATE orders SET n = 2")
    with blocked(orders, "UPDATE orders SET n = 3") as number:
        error = refused(orders)
    assert f"Blocked by: session {number}, user shop" in str(error)
    assert orders.query("SELECT n FROM orders") == [(1,)]


def test_without_a_view_of_the_locks_the_suspects_are_called_suspects(orders, monkeypatch):
    monkeypatch.setattr(mysql_catalog, "_METADATA_LOCKS", ("SELECT id FROM information_schema.not_loaded",))
    orders.write("2_a.sql", "ALTER TABLE orders ADD a int")
    with blocked(orders, "SELECT * FROM orders") as number:
        error = refused(orders)
    assert f"Blocked by: perhaps session {number}, user shop" in str(error)
    assert error.details["blockers"][0]["certain"] is False


def test_a_deadlock_is_tried_again(orders):
    orders.execute("INSERT INTO orders VALUES (2, 2)")
    orders.write("2_a.sql", "UPDATE orders SET n = n + 10 WHERE id = 1 OR (id = 2 AND sleep(0.6) = 0)")
    with closing(orders.connect()) as other:
        other.autocommit = False
        # The server takes back the smaller transaction, and this one is the larger.
        other.execute("INSERT INTO log SELECT 'x' FROM seq_1_to_500")
        other.execute("UPDATE orders SET n = 5 WHERE id = 2")

        def cross():
            time.sleep(0.3)
            other.execute("UPDATE orders SET n = 5 WHERE id = 1")
            other.commit()

        thread = threading.Thread(target=cross)
        thread.start()
        result = orders.migrate(lock_timeout="5s", lock_budget="20s")
        thread.join()
    assert result["applied"][0]["tries"] > 1
    assert orders.query("SELECT n FROM orders ORDER BY id") == [(15,), (15,)]


def test_what_a_script_sets_lasts_to_its_end_and_no_longer(orders):
    settings = "concat(@@sql_mode, '|', @@time_zone, '|', @@max_statement_time, '|', @@foreign_key_checks, '|', @@tx_read_only)"
    defaults = orders.query(f"SELECT {settings}")[0][0]
    note = f"INSERT INTO log SELECT concat({settings}, '|', database())"
    orders.write(
        "2_a.sql",
        "SET sql_mode = 'ANSI', time_zone = '+09:00', max_statement_time = 7, foreign_key_checks = 0;\nSET @kept = 'kept';\n"
        f"{note};\nINSERT INTO log VALUES (@kept);\nSET sql_select_limit = 1;\nUSE information_schema",
    )
    orders.write("3_b.sql", note)
    orders.migrate()
    first, kept, second = log(orders)
    assert first.split("|")[1:5] == ["+09:00", "7.000000", "OFF", "OFF"] and "ANSI_QUOTES" in first
    assert kept == "kept"
    assert second == f"{defaults}|{orders.name}"
    started = orders.history()["3"]["started_at"]
    assert abs(time.time() - time.mktime(time.strptime(started[:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 600, "UTC"


def test_the_clock_goes_on_behind_a_script_that_sets_something(orders):
    with closing(orders.engine_connection()) as connection:
        (statement,) = split("SET sql_mode = 'ANSI'", connection.lexis, "x.sql")
        connection.begin_script()
        connection.run_script_statement(statement)
        connection.pause_script()
        connection.reset_session()
        first = connection.query("SELECT UTC_TIMESTAMP(6) AS now, @@insert_id AS id")[0]
        time.sleep(0.01)
        second = connection.query("SELECT UTC_TIMESTAMP(6) AS now, @@insert_id AS id")[0]
    assert first["now"] < second["now"] and second["id"] == 0


def test_what_a_script_set_is_set_again_when_it_goes_on(orders):
    orders.write(
        "2_a.sql",
        "SET sql_mode = 'ANSI_QUOTES';\nSET @kept = 'kept';\nUSE information_schema;\n"
        f'INSERT INTO "{orders.name}".log SELECT concat(@kept, database());\nINSERT INTO "{orders.name}".nowhere VALUES (1)',
    )
    with pytest.raises(EverupError, match="nowhere"):
        orders.migrate()
    orders.execute("CREATE TABLE nowhere (a int)")
    orders.execute("UPDATE everup_expand_history SET statements_done = 3 WHERE version = '2'")
    orders.migrate()
    assert log(orders) == ["keptinformation_schema"] * 2


def test_what_ended_with_its_session_is_not_made_up(orders):
    orders.write("2_a.sql", "SELECT max(id) INTO @last FROM orders;\nINSERT INTO nowhere VALUES (@last)")
    with pytest.raises(EverupError, match="nowhere"):
        orders.migrate()
    orders.execute("CREATE TABLE nowhere (a int)")
    with pytest.raises(EverupError, match=r"2_a\.sql:1:1: statement 1 of 2 left something in the session of a run that is over"):
        orders.migrate()
    orders.write("2_a.sql", "SELECT max(id) INTO @last FROM orders;\nINSERT INTO nowhere SELECT @last")
    orders.migrate(repair="retry")
    assert orders.query("SELECT a FROM nowhere") == [(1,)]


def test_a_table_without_transactions_leaves_a_doubt(orders):
    orders.execute("CREATE TABLE old (a int) ENGINE=MyISAM")
    orders.write("2_a.sql", "INSERT INTO old VALUES (1);\nINSERT INTO orders VALUES (2, 2)")
    orders.migrate()
    orders.execute("UPDATE everup_expand_history SET state = 'running', statements_done = 0 WHERE version = '2'")
    with pytest.raises(EverupError, match=r"statement 1 \(line 1: INSERT INTO old"):
        orders.migrate()
    orders.execute("CREATE VIEW `window` AS SELECT a FROM old")
    with closing(orders.engine_connection()) as connection:
        for sql, certain in (("UPDATE orders SET n = 1", True), ("DELETE FROM `window`", False), ("DELETE FROM old", False)):
            assert connection.undone_with_count(split(sql, connection.lexis, "x.sql")[0]) is certain
    orders.execute("DELETE FROM orders WHERE id = 2")
    orders.execute("UPDATE everup_expand_history SET statements_done = 1 WHERE version = '2'")
    orders.migrate()
    assert orders.query("SELECT count(*) FROM old") == [(1,)]


def test_routines_between_delimiters_and_what_the_driver_cannot_send_plainly(orders):
    orders.write(
        "2_p.sql",
        "DELIMITER //\nCREATE PROCEDURE fill(n int)\nBEGIN\n  -- it's; one?\n  INSERT INTO log VALUES (concat('p', n));\n"
        "  SELECT 1; SELECT 2;\nEND//\nCREATE TRIGGER tr BEFORE INSERT ON orders FOR EACH ROW\nBEGIN IF NEW.n IS NULL THEN"
        " SET NEW.n = 7; END IF; END //\nDELIMITER ;\nCALL fill(1);\nINSERT INTO orders (id) VALUES (2);\n"
        "SET @sql = IF(1 = 1, 'INSERT INTO log VALUES (\"made\")', 'SELECT 1');\nPREPARE st FROM @sql;\nEXECUTE st;\n"
        "DEALLOCATE PREPARE st;\nOPTIMIZE TABLE orders;\nVALUES (1), (2);\nDO 1;\n# it's over\n"
        "/*!40101 SET @old = @@sql_mode */;\n/*M!100100 INSERT INTO log VALUES ('hinted') */;\n"
        "INSERT INTO log VALUES ('it\\'s; {d ''x''} \\\\'), (\"q\\\"é😀\");",
    )
    orders.migrate()
    assert log(orders) == ["p1", "made", "hinted", "it's; {d 'x'} \\", 'q"é😀']
    assert orders.query("SELECT n FROM orders WHERE id = 2") == [(7,)]


def test_a_long_error_is_kept_whole(orders):
    text = "é" * 20_000
    orders.write("2_x.sql", f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'short';\nSELECT '{text}'")
    with pytest.raises(EverupError, match="short"):
        orders.migrate()
    with closing(orders.engine_connection()) as connection:
        ledger = orders.ledger(connection)
        ledger.event("long", detail=text)
    assert any(text in detail.encode().decode("unicode_escape") for (detail,) in orders.query("SELECT detail FROM everup_event"))


def options(db, **changed):
    return {
        **{name: None for name in ("connection_string", "odbc_driver")},
        "connect_timeout": 5,
        "application_name": "x",
        "schema": "",
        "login_unix_socket": "",
        "ssl_mode": "prefer",
        **(db.options if db else {}),
        **changed,
    }


def test_a_user_who_may_see_little_is_told_little_and_no_lie(orders):
    with closing(orders.server.connect_admin()) as admin:
        admin.execute("CREATE OR REPLACE USER limited IDENTIFIED BY 'secret'")
        admin.execute(f"GRANT ALL ON `{orders.name}`.* TO limited")
    limited = {"login_user": "limited", "login_password": "secret"}
    with closing(connect(options(orders, **limited))) as first, closing(connect(options(orders, **limited))) as second:
        assert first.try_session_lock("x")
        assert str(second.session_lock_holder("x")).startswith(f"session {first._id}, user limited, from 127.0.0.1, ")
        first.release_session_lock("x")
        assert second.session_lock_holder("x") is None
    with closing(orders.engine_connection()) as holder, closing(connect(options(orders, **limited))) as other:
        assert holder.try_session_lock("x")
        assert str(other.session_lock_holder("x")) == f"session {holder._id}"
    orders.write("2_a.sql", "ALTER TABLE orders ADD a int")
    with blocked(orders, "SELECT * FROM orders"):
        assert "Blocked by: not visible to this user" in str(refused(orders, **limited))
    assert orders.inform(**limited)["settings"]["replication"] is False


@pytest.mark.parametrize(
    ("sql", "happened"),
    [
        ("SET @a = (SELECT max(id) FROM orders)", False),
        ("CREATE TEMPORARY TABLE x (a int)", False),
        ("SET GLOBAL max_connections = 200", None),
    ],
)
def test_what_ended_with_its_session_runs_again(orders, sql, happened):
    with closing(orders.engine_connection()) as connection:
        script = Script("expand/1_x.sql", sql, "", Directives(), tuple(split(sql, connection.lexis, "x.sql")))
        assert recovery.has_happened(connection, script, 1) is happened


def test_ways_to_connect(db):
    server = db.server
    quoted = "{" + server.password.replace("}", "}}") + "}"
    text = f"DRIVER={{MariaDB Unicode}};SERVER={server.host};PORT={server.port};DATABASE={db.name};UID=shop;PWD={quoted}"
    for given in (
        options(db, login_unix_socket=str(server.socket), login_host="nowhere"),
        {**options(db), "connection_string": text},
        {**options(db), "connection_string": text + ";OPTION=1;"},
    ):
        with closing(connect(given)) as connection:
            connection.execute("CREATE OR REPLACE TABLE x (a int)")
            connection.execute("INSERT INTO x VALUES (1)")
            assert connection.execute("UPDATE x SET a = 1") == 1, "rows found are counted, not rows changed"


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"engine": "mysql"}, "set engine=mariadb for it"),
        ({"ssl_mode": "require"}, "the connection is not encrypted, although ssl_mode is require"),
        ({"ssl_mode": "verify-full"}, "SSL is required"),
        ({"ssl_mode": "verify-ca"}, "ssl_mode=verify-ca is not known to MariaDB Connector/ODBC"),
        ({"login_password": "wrong"}, "Access denied for user"),
        ({"login_host": "a;PWD=b"}, "login_host may not hold ';'"),
        ({"login_db": "nowhere"}, "nowhere"),
    ],
)
def test_connections_that_are_refused(db, changed, what):
    with pytest.raises(EverupError, match=what):
        connect(options(db, **changed))


def test_encryption_is_what_was_asked_for():
    folder = Path(tempfile.mkdtemp(prefix="everup-tls-"))  # the server's own user must be able to read it
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*request, *names], check=True, capture_output=True)
    for path in (folder, key, certificate):
        path.chmod(0o755)
    with MariadbServer(settings={"ssl-cert": str(certificate), "ssl-key": str(key)}, password="secret") as server:
        given = {"engine": "mariadb", "login_host": server.host, "login_port": server.port, "login_db": "shop"}
        login = options(None, **given, login_user="shop", login_password="secret")
        text = f"DRIVER={{MariaDB Unicode}};SERVER={server.host};PORT={server.port};UID=shop;PWD=secret;DATABASE=shop;FORCETLS=1"
        for one in ({"ssl_mode": "require"}, {"connection_string": f"{text};SSLVERIFY=1;SSLCA={certificate}"}):
            with closing(connect({**login, **one})) as connection:
                assert connection.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0]["value"]
        with pytest.raises(EverupError, match="self-signed certificate"):
            connect({**login, "ssl_mode": "verify-full"})
    shutil.rmtree(folder)


def test_what_the_server_can_do_and_how_it_is_set(db):
    facts = db.inform()
    assert facts["capabilities"] == {
        "transactional_ddl": False,
        "session_lock": True,
        "online_index": True,
        "instant_add_column": True,
        "instant_drop_column": True,
        "statement_timeout": True,
        "subsecond_lock_timeout": False,
        "sequences": True,
    }
    wanted = {"sql_mode", "transaction_isolation", "log_bin", "log_bin_trust_function_creators", "lock_wait_timeout"}
    assert wanted | {"innodb_lock_wait_timeout", "replication", "replication_lag_seconds"} <= set(facts["settings"])
    assert facts["settings"]["replication"] is False
