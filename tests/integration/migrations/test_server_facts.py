"""What servers tell of themselves: abilities, settings, who holds a lock, who blocks."""

import time
from contextlib import closing

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.base import CAPABILITIES
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._migrations import locks
from ansible_collections.everup.deploy.plugins.modules import migration_info
from ansible_collections.everup.deploy.tests.support.databases import given, run_main

SERVERS = pytest.mark.parametrize("db", ["postgresql", "mariadb", *given("sqlserver")], indirect=True)


def test_every_engine_answers_with_the_same_abilities(db):
    facts = run_main(migration_info, {**db.options, "path": str(db.folder.parent)})
    assert set(facts["capabilities"]) == set(CAPABILITIES)
    assert all(type(able) is bool for able in facts["capabilities"].values())
    assert facts["capabilities"]["transactional_ddl"] is db.transactional
    assert {"replication", "replication_lag_seconds"} <= set(facts["settings"])


def test_settings_of_postgresql(postgresql_database):
    db = postgresql_database
    db.execute(f"ALTER DATABASE {db.name} SET statement_timeout = '7s'")
    with closing(db.engine_connection()) as connection:
        found = connection.settings()
    assert (found["statement_timeout"], found["lock_timeout"]) == ("7000ms", "0ms"), "what the application has, not what we set"
    assert found["wal_level"] in ("replica", "minimal", "logical")
    assert (found["replication"], found["replication_lag_seconds"]) == (False, None)


def test_settings_of_sqlite(sqlite_database):
    sqlite_database.execute("PRAGMA journal_mode = WAL")
    found = sqlite_database.inform()["settings"]
    assert (found["journal_mode"], found["foreign_keys"]) == ("wal", 0)


def test_a_sqlite_lock_without_a_name_is_held_all_the_same(sqlite_database):
    with closing(sqlite_database.engine_connection()) as holder, closing(sqlite_database.engine_connection()) as other:
        assert holder.try_session_lock("x")
        holder._lock_file.truncate(0)
        assert str(other.session_lock_holder("x")).startswith("an unknown process")
        holder.release_session_lock("x")
        assert other.session_lock_holder("x") is None


@SERVERS
def test_a_watch_looks_many_times_over_one_connection(db, monkeypatch):
    db.execute("CREATE TABLE t (a int)")
    with closing(db.engine_connection()) as waiting, closing(db.connect()) as holder:
        holder.autocommit = False
        holder.execute("INSERT INTO t VALUES (1)")
        opened = []
        kind = type(waiting)
        real = kind._connect
        monkeypatch.setattr(kind, "_connect", lambda self: opened.append(1) or real(self))
        waiting.set_lock_timeout(2)
        assert waiting.try_session_lock("a script")
        watch = locks.BlockerWatch(waiting)
        with watch.over(0.4), pytest.raises(EverupError):
            waiting.execute("ALTER TABLE t ADD b int")
        watch.close()
        holder.rollback()
    assert len(opened) == 1
    assert len(watch.seen) == 1 and watch.seen[0].certain


@SERVERS
def test_a_spent_budget_outside_a_transaction_is_told_once_and_says_what_stays(db):
    db.write("1_t.sql", "CREATE TABLE t (a int);\nCREATE TABLE log (what varchar(50))")
    db.migrate()
    db.write("2_x.sql", "-- everup: transaction=none\nINSERT INTO log VALUES ('x');\nALTER TABLE t ADD b int")
    with closing(db.connect()) as holder:
        holder.autocommit = False
        holder.execute("INSERT INTO t VALUES (1)")
        began = time.monotonic()
        with pytest.raises(EverupError) as caught:
            db.migrate(lock_timeout="400ms", lock_budget="500ms")
        assert time.monotonic() - began < 30
        holder.rollback()
    assert "1 of 2 statements of the script were applied and stay; number 2 was not: end that session" in str(caught.value)
    assert "The script was not applied" not in str(caught.value)
    assert db.events().count("script_failed") == 1
    assert db.history()["2"]["statements_done"] == 1
    db.migrate()
    assert db.query("SELECT what FROM log") == [("x",)]
