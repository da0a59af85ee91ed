"""Real processes: killed at any point, or two at once, every script still runs exactly once."""

import random
import time

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support.databases import TRANSACTIONAL
from ansible_collections.everup.deploy.tests.support.modules import finish_module, start_module

MODULE = "everup.deploy.migration"
POINTS = [random.Random(f"everup {number}").uniform(0, 1) for number in range(3)]


def scripts(db, seconds, head=""):
    """Four scripts, each of which writes down that it ran, and takes its time in the middle."""
    db.write("0_log.sql", "CREATE TABLE log (what varchar(50))")
    for number in (1, 2, 3):
        slow = db.slow.format(seconds)
        db.write(f"{number}_x.sql", f"{head}INSERT INTO log VALUES ('{number}');\n{slow};\nCREATE TABLE t{number} (a int);")


def ran(db):
    return [what for (what,) in db.query("SELECT what FROM log")]


WHOLE = ["1", "slow", "2", "slow", "3", "slow"]


def eventually(true, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.02)


def begun(db):
    """Whether a run has come as far as the scripts."""
    return "everup_expand_history" in db.tables()


@pytest.mark.parametrize("point", POINTS, ids=[f"{point:.2f}" for point in POINTS])
def test_killed_at_some_point(db, point):
    scripts(db, 0.2)
    victim = start_module(MODULE, db.migration_options())
    eventually(lambda: begun(db))
    time.sleep(point * 0.7)
    victim.kill()
    victim.communicate()
    db.migrate()
    assert ran(db) == WHOLE
    assert {row["state"] for row in db.history().values()} == {"applied"}
    assert db.migrate()["changed"] is False


@pytest.mark.parametrize("db", TRANSACTIONAL, indirect=True)
def test_killed_in_the_middle_of_a_script(db):
    scripts(db, 2 if db.engine == "sqlite" else 20)
    victim = start_module(MODULE, db.migration_options(target="1"))
    eventually(lambda: begun(db) and "0" in db.history())
    time.sleep(0.2)
    victim.kill()
    victim.communicate()
    scripts(db, 0.01)
    # PostgreSQL's session sees within two seconds that its client is gone, though its statement takes twenty.
    assert [script["version"] for script in db.migrate(wait_for_other_run="12s")["applied"]] == ["1", "2", "3"]
    assert ran(db) == WHOLE


def test_killed_outside_a_transaction(db):
    """What changes rows is undone together with its count, and so the next run knows where to go on."""
    scripts(db, 0.3 if db.engine == "sqlite" else 2.5, head="-- everup: transaction=none\n")
    victim = start_module(MODULE, db.migration_options(target="1"))
    eventually(lambda: begun(db) and (db.history().get("1") or {"statements_done": 0})["statements_done"] == 1)
    victim.kill()
    victim.communicate()
    assert ran(db) == ["1"]
    db.migrate(target="1", wait_for_other_run="12s")
    assert ran(db) == ["1", "slow"]
    assert "t1" in db.tables()


def test_two_at_once(db):
    scripts(db, 0.1)
    both = [start_module(MODULE, db.migration_options()) for _number in range(2)]
    results = [finish_module(process) for process in both]
    assert not any(result["failed"] for result in results), results
    assert sorted(len(result["applied"]) for result in results) == [0, 4]
    assert ran(db) == WHOLE


def test_the_second_names_the_first(db):
    scripts(db, 3, head="-- everup: transaction=none\n")
    first = start_module(MODULE, db.migration_options(target="1", application_name="the first run"))
    try:
        eventually(lambda: begun(db) and (db.history().get("1") or {"statements_done": 0})["statements_done"] == 1)
        assert db.migrate(check=True)["pending"][0]["version"] == "1"
        with pytest.raises(EverupError, match="Another run is migrating this database") as caught:
            db.migrate(wait_for_other_run="100ms")
        holder = caught.value.details["holder"]
        # MariaDB has no names of programs unless performance_schema is on.
        assert holder["program"] == ("" if db.engine == "mariadb" else "the first run")
        assert holder["user"] == db.user
        if db.engine == "sqlite":
            assert holder["session"] == f"process {first.pid}"
        else:
            sessions = {
                "postgresql": "SELECT pid::text FROM pg_stat_activity WHERE application_name = 'the first run'",
                "mariadb": "SELECT cast(id AS char) FROM information_schema.processlist WHERE info LIKE '%sleep(3)%'",
                "sqlserver": "SELECT CAST(session_id AS varchar(9)) FROM sys.dm_exec_sessions"
                " WHERE program_name = 'the first run'",
            }
            assert (holder["session"],) in db.query(sessions[db.engine])
        program = f", program '{holder['program']}'" if holder["program"] else ""
        assert f"{holder['session']}, user {holder['user']}{program}" in str(caught.value)
    finally:
        first.kill()
        first.communicate()
