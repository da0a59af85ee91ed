"""Who is connected to a real server, and how often its counters say that something was used."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support.contract_world import BEFORE, DAY, IGNORED, OLD_QUERY, VERSION, World
from ansible_collections.everup.deploy.tests.support.named_session import named_session

SESSIONS = {"gates": ["sessions"], "session_pattern": "", "session_ignore": IGNORED}
USAGE = {"gates": ["usage"]}
WATCHED = (8 * DAY, DAY)


def test_a_session_is_judged_by_the_version_that_it_names(counted):
    assert counted.gate("sessions", **SESSIONS)["proof"].startswith("nobody else is connected")
    with counted.connected(f"shop {VERSION}"):
        assert counted.gate("sessions", **SESSIONS)["proof"].startswith("1 session(s), each of 2.4.0 or newer")
        with counted.connected(f"shop {BEFORE}"):
            found = counted.gate("sessions", **SESSIONS)
            assert (found["state"], "'shop 2.3.0', user shop" in found["proof"]) == ("no", True), found
        with counted.connected("nightly"):
            found = counted.gate("sessions", **SESSIONS)
            assert (found["state"], "'nightly'" in found["proof"]) == ("not known", True), found
            ignored = {**SESSIONS, "session_ignore": ["night.*", *IGNORED]}
            assert counted.gate("sessions", **ignored)["state"] == "yes"


def test_sessions_of_another_database_are_none_of_this(counted, make_world):
    other = make_world(counted.db.engine)
    with other.connected(f"shop {BEFORE}"):
        assert counted.gate("sessions", **SESSIONS)["state"] == "yes"


def test_who_may_not_see_the_sessions_of_others_does_not_know(make_world):
    world = make_world("mariadb")
    world.db.admin.execute("CREATE USER 'clerk'@'%' IDENTIFIED BY 'p'")
    try:
        world.db.admin.execute(f"GRANT ALL ON `{world.db.name}`.* TO 'clerk'@'%'")
        found = world.gate("sessions", **SESSIONS, login_user="clerk", login_password="p")
        assert (found["state"], "GRANT PROCESS" in found["proof"]) == ("not known", True), found
    finally:
        world.db.admin.execute("DROP USER 'clerk'@'%'")


def test_where_a_session_of_others_came_from_is_not_made_up(make_world):
    world = make_world("postgresql")
    world.db.admin.execute("SET application_name = 'psql'")
    asked = {**SESSIONS, "session_ignore": ["the shop", "postgres@local socket"]}
    world.db.admin.execute(f"REVOKE pg_read_all_stats FROM {world.db.server.user}")
    found = world.gate("sessions", **asked)
    assert (found["state"], "local socket" in found["proof"]) == ("not known", False), found


def test_without_counters_of_names_no_session_of_mariadb_has_one(mariadb_database):
    world = World(mariadb_database)
    with world.connected(f"shop {VERSION}"):
        found = world.gate("sessions", **SESSIONS)
        assert (found["state"], "without a program name" in found["proof"]) == ("not known", True), found


def test_an_object_is_unused_once_it_was_watched_for_long_enough(counted):
    assert "was watched for" in counted.gate("usage", **USAGE)["proof"]
    counted.watch(DAY)
    found = counted.gate("usage", **USAGE)
    assert (found["state"], "of 168h" in found["proof"]) == ("not known", True), found
    counted.watch(*WATCHED)
    found = counted.gate("usage", **USAGE)
    assert found["state"] == "yes", found
    assert "nobody has used column orders.client_id, table legacy for 168h or longer" in found["proof"]


@pytest.mark.parametrize(
    ("query", "named"), [(OLD_QUERY, "column orders.client_id was used"), ("SELECT note FROM legacy", "table legacy was used")]
)
def test_a_use_is_seen_live_and_stays_seen(counted, query, named):
    counted.watch(*WATCHED)
    counted.ask(query)
    found = counted.gate("usage", **USAGE)
    assert (found["state"], named in found["proof"]) == ("no", True), found
    counted.snapshot()
    assert counted.gate("usage", **USAGE)["state"] == "no"


def test_what_mariadb_does_not_tell_apart_is_not_known(make_world):
    world = make_world("mariadb")
    world.watch(*WATCHED)
    assert world.gate("usage", **USAGE)["state"] == "yes"
    world.db.query("SELECT 1")  # prepared, by the ODBC driver
    found = world.gate("usage", **USAGE)
    assert (found["state"], "the counters began anew" in found["proof"]) == ("not known", True), found
    with world.connected("x"):
        login = {"login_user": world.db.server.user, "login_password": world.db.server.password}
        world.db.admin.execute(f"GRANT SELECT ON performance_schema.* TO '{world.db.server.user}'@'%'")
        assert "give the deploy a user of its own" in world.gate("usage", **USAGE, **login)["proof"]


def test_a_use_from_another_database_of_the_server_is_a_use(make_world):
    world = make_world("mariadb")
    world.watch(*WATCHED)
    with named_session(world.db.server, "information_schema", f"shop {VERSION}") as ask:
        ask(f"SELECT client_id FROM {world.db.name}.orders")
    assert "column orders.client_id was used" in world.gate("usage", **USAGE)["proof"]


def test_a_statement_whose_text_is_cut_short_is_not_known(make_world):
    world = make_world("mariadb")
    world.watch(*WATCHED)
    world.ask(f"SELECT {', '.join(f'note AS the_note_of_number_{n}' for n in range(60))}, client_id FROM orders")
    found = world.gate("usage", **USAGE)
    assert (found["state"], "statements in no digest or cut short" in found["proof"]) == ("not known", True), found


def test_digests_that_were_thrown_away_begin_the_watch_anew(make_world):
    world = make_world("mariadb")
    world.watch(*WATCHED)
    time.sleep(1.1)  # when a statement was first seen is told in whole seconds
    world.forget_uses()
    found = world.gate("usage", **USAGE)
    assert (found["state"], "the counters began anew" in found["proof"]) == ("not known", True), found


def test_other_statements_are_no_use(counted):
    counted.watch(*WATCHED)
    counted.ask("SELECT id, profile_id FROM orders WHERE note = 'client of mine'")
    counted.ask("SELECT count(*) FROM orders")
    assert counted.gate("usage", **USAGE)["state"] == "yes"


def test_what_the_deploy_asks_itself_is_no_use(counted):
    counted.db.write("0001_same.sql", "SELECT id FROM orders WHERE client_id <> profile_id AND note <> 'x';", "tests")
    counted.db.write(
        "0001_profiles.yml",
        "table: orders\nkey: id\nset: {profile_id: client_id}\nwhere: profile_id IS NULL\n"
        "verify: SELECT count(*) FROM orders WHERE profile_id IS NULL AND client_id > 0\n",
        "backfill",
    )
    while not counted.db.backfill()["finished"]:
        pass
    counted.forget_uses()
    counted.watch(*WATCHED)
    for _time in range(2):
        gates = {gate["name"]: gate for gate in counted.evidence(gates=["usage", "backfills", "assertions"], soak="0s")["gates"]}
        assert {name: gate["state"] for name, gate in gates.items()} == dict.fromkeys(gates, "yes"), gates
    counted.ask("SELECT count(*) FROM orders WHERE client_id > 0")
    assert counted.gate("usage", **USAGE)["state"] == "no"


def test_counters_that_were_reset_begin_the_watch_anew(counted):
    if counted.db.engine == "sqlserver":
        pytest.skip("its Query Store is emptied by who owns the database")
    counted.watch(*WATCHED)
    counted.reset_counters()
    found = counted.gate("usage", **USAGE)
    assert (found["state"], "the counters began anew" in found["proof"]) == ("not known", True), found


def test_tables_whose_counters_were_reset_are_not_known(make_world):
    world = make_world("postgresql")
    world.watch(*WATCHED)
    world.db.admin.execute("SELECT pg_stat_reset()")
    found = world.gate("usage", **USAGE)
    assert found["state"] == "not known", found
    assert "table legacy was watched for 0 s of 168h, since the counters began anew" in found["proof"]


def test_a_routine_is_counted_by_itself(make_world):
    world = make_world("postgresql")
    world.db.execute("CREATE FUNCTION old_total() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'")
    world.db.execute("CREATE FUNCTION caller() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN old_total(); END'")
    world.db.write("0002_drop.sql", "DROP FUNCTION old_total();", "contract")
    world.watch(*WATCHED)
    assert world.gate("usage", **USAGE)["state"] == "yes"
    world.ask("SELECT caller()")
    assert "routine old_total was used 1 time(s)" in world.gate("usage", **USAGE)["proof"]


def test_a_routine_in_sql_is_counted_by_the_statements_that_call_it(make_world):
    world = make_world("postgresql")
    world.db.execute("CREATE FUNCTION old_total(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n + 1'")
    world.db.write("0002_drop.sql", "DROP FUNCTION old_total(int);", "contract")
    world.watch(*WATCHED)
    assert world.gate("usage", **USAGE)["state"] == "yes"
    world.ask("SELECT old_total(profile_id) FROM orders")  # which becomes profile_id + 1, and no call
    assert "routine old_total was used 1 time(s)" in world.gate("usage", **USAGE)["proof"]


def test_a_use_of_a_partition_is_one_of_its_table(make_world):
    world = make_world("postgresql")
    world.db.execute("DROP TABLE legacy")
    world.db.execute("CREATE TABLE legacy (id int, note text) PARTITION BY RANGE (id)")
    world.db.execute("CREATE TABLE legacy_1 PARTITION OF legacy FOR VALUES FROM (0) TO (100)")
    world.watch(*WATCHED)
    assert world.gate("usage", **USAGE)["state"] == "yes"
    world.ask("SELECT note FROM legacy")
    assert "table legacy was used 1 time(s)" in world.gate("usage", **USAGE)["proof"]


def test_a_copy_of_rows_is_a_use(counted):
    counted.watch(*WATCHED)
    if counted.db.engine == "sqlserver":
        counted.db.execute("SELECT client_id INTO #copied FROM orders")
    else:
        act = counted.ask if counted.db.engine == "mariadb" else counted.db.execute
        act("CREATE TEMPORARY TABLE copied AS SELECT client_id FROM orders")
    assert "column orders.client_id was used" in counted.gate("usage", **USAGE)["proof"]


def test_what_one_role_leaves_out_is_not_known(make_world):
    world = make_world("postgresql")
    world.watch(*WATCHED)
    world.db.admin.execute(f'ALTER DATABASE "{world.db.name}" SET pg_stat_statements.track = none')
    world.ask(OLD_QUERY)
    found = world.gate("usage", **USAGE)
    assert (found["state"], "pg_stat_statements.track leaves statements out" in found["proof"]) == ("not known", True), found
    world.db.admin.execute(f'ALTER DATABASE "{world.db.name}" RESET pg_stat_statements.track')
    world.db.admin.execute(f'ALTER DATABASE "{world.db.name}" SET track_counts = false')
    found = world.gate("usage", **USAGE)
    assert (found["state"], "set track_counts = on for every role" in found["proof"]) == ("not known", True), found


def test_a_crash_takes_the_counters_with_it(make_world):
    world = make_world("postgresql")
    world.db.write("0001_drop.sql", "DROP TABLE legacy;", "contract")
    world.db.write("0002_drop.sql", "DROP TABLE legacy;", "contract")
    world.watch(*WATCHED)
    assert world.gate("usage", **USAGE)["state"] == "yes"
    world.crash()
    found = world.gate("usage", **USAGE)
    assert (found["state"], "the counters began anew" in found["proof"]) == ("not known", True), found


def test_what_nothing_counts_is_told_with_the_way_on(db):
    world = World(db)
    done = world.snapshot()
    if db.engine == "sqlite":
        assert (done["changed"], done["readings"]) == (False, [])
        assert world.gate("usage", **USAGE)["state"] == "not applicable"
    else:
        way = {"postgresql": "CREATE EXTENSION", "mariadb": "performance_schema = ON"}[db.engine]
        assert any(line.startswith("column orders.client_id: it needs") and way in line for line in done["unknown"]), done
        found = world.gate("usage", **USAGE)
        assert (found["state"], way in found["proof"]) == ("not known", True), found


def test_statements_of_others_that_are_hidden_are_not_known(make_world):
    world = make_world("postgresql")
    world.db.admin.execute(f"REVOKE pg_read_all_stats FROM {world.db.server.user}")
    found = world.gate("usage", **USAGE)
    assert (found["state"], "GRANT pg_read_all_stats" in found["proof"]) == ("not known", True), found


def test_a_snapshot_keeps_what_is_asked_for_and_drops_what_is_old(counted):
    done = counted.snapshot(check=True)
    assert done["changed"] is True
    assert counted.db.query("SELECT count(*) FROM everup_usage")[0][0] == 0
    counted.watch(100 * DAY)
    done = counted.snapshot(objects=["table orders", "column orders.note"])
    assert {reading["object"] for reading in done["readings"]} == {
        "column orders.client_id",
        "table legacy",
        "table orders",
        "column orders.note",
    }
    assert done["dropped"] >= 2
    with pytest.raises(EverupError, match="objects: 'orders' is none"):
        counted.snapshot(objects=["orders"])


def test_a_last_host_that_was_late_begins_the_watch(counted):
    counted.watch(*WATCHED)
    counted.db.execute(f"UPDATE everup_member SET changed_at = {counted.moment(timedelta(days=2))} WHERE host = 'web2'")
    found = counted.gate("usage", **USAGE)
    assert (found["state"], "was watched for 864" in found["proof"]) == ("not known", True), found
