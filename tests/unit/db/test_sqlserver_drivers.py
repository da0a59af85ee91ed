"""What the real drivers make of what a server sends: the engine through FreeTDS, and Microsoft's driver where it is installed.

The peer speaks TDS and answers from a list: drivers, pyodbc and engine are real, the server's decisions are not.
"""

import importlib.util
import os

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.batches import split_batches
from ansible_collections.everup.deploy.plugins.module_utils._db.engines import odbc, sqlserver_connection
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.sqlserver import SqlserverEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.sqlserver_connection import packaged_library
from ansible_collections.everup.deploy.plugins.module_utils._db.errors import DatabaseError, LockTimeout
from ansible_collections.everup.deploy.tests.support import tds

DRIVERS = {name: name for name in odbc.installed_drivers() if name == "FreeTDS" or name.endswith("for SQL Server")}
if importlib.util.find_spec(sqlserver_connection.PACKAGE):
    DRIVERS["mssql-python-odbc"] = str(packaged_library())
pytestmark = pytest.mark.skipif(not DRIVERS, reason="no ODBC driver for SQL Server on this host")
STATE = tds.columns("open_transactions", "state", "db") + tds.row(0, 0, 1) + tds.done(tds.COUNT, 1)
ROWS = tds.columns("a") + tds.row(1) + tds.row(2)


class Session(SqlserverEngine):
    """The engine on a connection whose server has no settings to look at."""

    def __init__(self, connection_string: str) -> None:
        self._in_transaction = False
        self._statement_timeout = 0
        self._messages = []
        self._connection_string = connection_string
        self._connect_timeout = 5
        self._connection = self._connect()
        self._home = {"db": 1}

    def reset_session(self) -> None:
        """Leave the session alone: the peer has none."""


@pytest.fixture(params=DRIVERS)
def peer(request):
    with tds.Peer() as peer:
        driver = DRIVERS[request.param]
        address = f"127.0.0.1;PORT={peer.port};Encryption=off" if "FreeTDS" in driver else f"127.0.0.1,{peer.port};Encrypt=no"
        peer.login = f"DRIVER={{{driver}}};SERVER={address};UID=a;PWD=b;" + ("TDS_Version=7.4" if "FreeTDS" in driver else "")
        nothing_open = tds.columns("open_transactions") + tds.row(0) + tds.done(tds.COUNT, 1)
        peer.answers = [("ROLLBACK TRANSACTION", nothing_open), ("@@TRANCOUNT AS open_transactions, CAST", STATE)]
        yield peer


@pytest.fixture
def engine(peer):
    engine = Session(peer.login)
    yield engine
    engine.close()


def run(engine, peer, answer):
    peer.answers.insert(0, ("THE BATCH", answer))
    (batch,) = split_batches("EXEC x -- THE BATCH {braces}", engine.lexis, "x.sql")
    engine.run_script_statement(batch)


def test_messages_between_results(engine, peer):
    answer = tds.info("one") + ROWS + tds.done(tds.MORE | tds.COUNT, 2) + tds.info("two") + tds.info("three") + tds.done(tds.MORE)
    run(engine, peer, answer + tds.done(tds.MORE | tds.COUNT, 5) + tds.info("four") + tds.done())
    if "FreeTDS" in peer.login:
        # FreeTDS passes over results without columns or count, and what was said with them is gone.
        assert set(engine.take_messages()) >= {"one", "four"}
    else:
        assert engine.take_messages() == ["one", "two", "three", "four"]
    assert peer.seen[-2] == "EXEC x -- THE BATCH {braces}", "sent as it is written"


@pytest.mark.parametrize(
    "before",
    [
        b"",
        tds.info("hello"),
        tds.done(tds.MORE | tds.COUNT, 3),
        ROWS,
        ROWS + tds.done(tds.MORE | tds.COUNT, 2),
        ROWS + tds.done(tds.MORE | tds.COUNT, 2) + ROWS,
        ROWS + tds.done(tds.MORE | tds.COUNT, 2) + tds.done(tds.MORE | tds.COUNT, 1) + tds.info("x") + tds.done(tds.MORE),
    ],
    ids=["at once", "message", "count", "rows", "result", "second rows", "third result"],
)
def test_an_error_wherever_it_comes(engine, peer, before):
    with pytest.raises(DatabaseError) as caught:
        run(engine, peer, before + tds.error(245, "Conversion failed.") + tds.done(tds.ERROR))
    assert str(caught.value) == "SQL Server: Conversion failed. (error 245)"
    assert caught.value.details["number"] == 245
    assert engine.query("SELECT 1") == [], "the session goes on"


@pytest.mark.parametrize("number", [1222, 1205])
def test_a_lock_time_out_is_told_by_its_number(engine, peer, number):
    with pytest.raises(LockTimeout, match=rf"error {number}\)"):
        run(engine, peer, ROWS + tds.error(number, "Lock request time out period exceeded.", 13) + tds.done(tds.ERROR))


def test_several_errors_at_once(engine, peer):
    answer = tds.error(2714, "There is already an object named 'x'.") + tds.error(1750, "Could not create constraint.")
    with pytest.raises(DatabaseError) as caught:
        run(engine, peer, answer + tds.done(tds.ERROR))
    assert "There is already an object named 'x'." in str(caught.value)
    assert "[" not in str(caught.value)


def test_rows_of_a_query_come_with_what_is_behind_them(engine, peer):
    peer.answers.insert(0, ("GOOD", tds.done(tds.MORE | tds.COUNT, 1) + ROWS + tds.done(tds.COUNT, 2)))
    peer.answers.insert(0, ("BAD", ROWS + tds.done(tds.MORE | tds.COUNT, 2) + tds.error(208, "Gone.") + tds.done(tds.ERROR)))
    assert engine.query("GOOD") == [{"a": 1}, {"a": 2}]
    with pytest.raises(DatabaseError, match="error 208"):
        engine.query("BAD")


def test_counts_are_asked_for(engine, peer):
    peer.answers.insert(0, ("@@ROWCOUNT", tds.columns("changed") + tds.row(7) + tds.done(tds.COUNT, 1)))
    assert engine.execute("UPDATE t SET a = 1") == 7


def test_the_driver_says_what_it_is(engine):
    assert engine.driver().startswith(("libtdsodbc", "libmsodbcsql"))


def test_a_session_that_breaks_off(engine, peer):
    """The server is gone: that is an error with a place, and closing the session afterwards is none."""
    with pytest.raises(DatabaseError):
        run(engine, peer, tds.HANG_UP)


def test_freetds_is_tried_where_the_project_installs_it():
    """The Makefile's packages bring it; elsewhere the tests above would be skipped unseen."""
    if os.environ.get("CI"):
        assert "FreeTDS" in DRIVERS
