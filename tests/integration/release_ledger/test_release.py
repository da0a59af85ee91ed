"""A release moves through the ledger one conditional step at a time, and only for who holds the lease."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db import ledger as ledger_module
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.modules import release, release_info, release_member
from ansible_collections.everup.deploy.tests.support.databases import TRANSACTIONAL, run_main
from ansible_collections.everup.deploy.tests.support.modules import finish_module, start_module

ANN = {"host": "c1", "boot": "b", "namespace": "n", "pid": 7, "start": 100}
BOB = {**ANN, "pid": 8}
STEPS = [(number,) for number in range(1, len(ledger_module._STEPS) + 1)]


def advance(db, to, token, version="2.4.0", **options):
    return db.release("advance", version, to=to, token=token, **options)


def opened(db, version="2.4.0", process=ANN, **options):
    return db.release("open", version, process=process, **options)["token"]


def roll(db, token, hosts=("web1",), version="2.4.0"):
    for to in ("expanding", "expanded", "rolling"):
        advance(db, to, token, version)
    for host in hosts:
        db.record(host, "ready", token, version, version_before="1", version_after=version)
    return advance(db, "rolled", token, version, hosts=list(hosts))


def test_from_open_to_contracted(db):
    first = db.release("open", process=ANN)
    assert (first["changed"], first["new"], first["token"], first["release"]["state"]) == (True, True, 1, "open")
    assert first["next_step"] == "run everup.deploy.expand"
    token = first["token"]
    rolled = roll(db, token, ["web1", "web2"])
    assert (rolled["changed"], rolled["release"]["reached"]) == (True, "rolled")
    assert rolled["diff"] == {
        "before": {"version": "2.4.0", "state": "rolling"},
        "after": {"version": "2.4.0", "state": "rolled"},
    }
    assert advance(db, "rolled", token, hosts=["web1", "web2"])["changed"] is False
    assert advance(db, "contracting", token)["release"]["rolled_at"] == rolled["release"]["rolled_at"]
    with pytest.raises(EverupError, match="cannot go back: its contract has started"):
        advance(db, "rolling_back", token)
    done = advance(db, "contracted", token, schema_version="7", plan_hash="abc")["release"]
    assert (done["schema_version"], done["plan_hash"]) == ("7", "abc")
    times = [
        done[f"{state}_at"] for state in ("opened", "expanding", "expanded", "rolling", "rolled", "contracting", "contracted")
    ]
    assert times == sorted(times)
    assert db.release("close", token=token)["lease_held"] is True
    assert db.release_info()["lease"]["holder"] is None
    assert db.release("close", token=token)["lease_held"] is False
    assert [event for event in db.events() if event.startswith("release_")] == [
        f"release_{state}" for state in ("opened", "expanding", "expanded", "rolling", "rolled", "contracting", "contracted")
    ]


def test_opening_again_goes_on(db):
    token = opened(db)
    advance(db, "expanding", token)
    again = db.release("open", process=ANN)
    assert (again["changed"], again["new"], again["token"], again["release"]["state"]) == (False, False, token, "expanding")
    with pytest.raises(EverupError, match=r"Release 2\.5\.0 cannot be opened: release 2\.4\.0 is 'expanding'"):
        opened(db, "2.5.0")


def test_a_version_older_than_a_contracted_one_is_refused_without_a_reason(db):
    token = opened(db)
    roll(db, token)
    advance(db, "contracting", token)
    for is_check in (True, False):
        with pytest.raises(EverupError, match=r"it is older than 2\.4\.0, whose contract has started at 20.*older_reason"):
            db.release("open", "2.3.9", process=ANN, check=is_check)
    assert [row["version"] for row in db.release_info()["releases"]] == ["2.4.0"]
    opened(db, "2.3.9", older_reason="made for the schema as it is")
    event = [event for event in db.release_info(version="2.3.9")["events"] if event["what"] == "release_opened"][-1]
    assert event["detail"] == {"older_reason": "made for the schema as it is"}


def test_a_transition_that_is_not_allowed_changes_nothing(db):
    token = opened(db)
    before = db.release_info()["release"]
    with pytest.raises(EverupError, match=r"is 'open' and cannot become 'rolling': run everup\.deploy\.expand"):
        advance(db, "rolling", token)
    assert db.release_info()["release"] == before
    with pytest.raises(EverupError, match=r"no release 9 in this database's ledger"):
        advance(db, "expanding", token, version="9")
    with pytest.raises(EverupError, match="token is missing"):
        db.release("advance", to="expanding")


def test_rolled_is_said_of_every_host(db):
    token = opened(db)
    for to in ("expanding", "expanded", "rolling"):
        advance(db, to, token)
    db.record("web1", "ready", token, version_after="2.4.0")
    db.record("web2", "failed", token, reason="no disk")
    with pytest.raises(EverupError, match=r"not rolled on every host: web2 is 'failed': no disk; web3 was not touched") as caught:
        advance(db, "rolled", token, hosts=["web1", "web2", "web3"])
    assert set(caught.value.details["hosts"]) == {"web2", "web3"}
    with pytest.raises(EverupError, match="hosts is missing"):
        advance(db, "rolled", token)
    db.record("web2", "ready", token, version_after="2.4.0")
    assert advance(db, "rolled", token, hosts=["web1", "web2"])["release"]["state"] == "rolled"


def test_the_way_back(db):
    token = opened(db)
    roll(db, token)
    with pytest.raises(EverupError, match="cannot be aborted: web1 may already run it"):
        db.release("abort", token=token)
    advance(db, "rolling_back", token)
    with pytest.raises(EverupError, match="not rolled back on every host: web1 is 'ready'"):
        advance(db, "rolled_back", token)
    db.record("web1", "rolled_back", token, version_after="1")
    assert advance(db, "rolled_back", token)["release"]["reached"] == "expanded"
    assert opened(db, "2.5.0") == token


def test_failing_and_going_on(db):
    token = opened(db)
    advance(db, "expanding", token)
    failed = db.release("fail", token=token, reason="no disk")
    assert (failed["release"]["state"], failed["release"]["reason"]) == ("failed", "no disk")
    assert failed["next_step"] == "run everup.deploy.expand again, or abort it"
    assert db.release_info()["lease"]["holder"] is None
    token = opened(db, process=BOB)
    assert token == 2
    assert advance(db, "expanding", token)["release"]["reason"] is None
    aborted = db.release("abort", token=token, reason="not now")
    assert (aborted["release"]["state"], db.release_info()["lease"]["holder"]) == ("aborted", None)
    assert opened(db) == 3
    assert [release["state"] for release in db.release_info()["releases"]] == ["aborted", "open"]


def test_what_does_not_move_does_not_fail(db):
    token = opened(db)
    roll(db, token)
    assert db.release("fail", token=token, reason="late")["release"]["state"] == "rolled"


def test_soak(db):
    token = opened(db)
    roll(db, token)
    with pytest.raises(EverupError, match=r"its soak of 1h has (1 h|59 min \d+ s) left") as caught:
        advance(db, "contracting", token, soak="1h")
    assert 3500 < caught.value.details["soak_seconds_left"] <= 3600
    assert 3500 < db.release_info(soak="1h")["soak_seconds_left"] <= 3600
    for run in (lambda: advance(db, "contracting", token, soak="soon"), lambda: db.release_info(soak="soon")):
        with pytest.raises(EverupError, match="soak: 'soon' is no duration"):
            run()
    assert advance(db, "contracting", token, soak="0s")["changed"]


def test_members(db):
    token = opened(db)
    first = db.record("web1", "draining", token, version_before="1")
    assert (first["changed"], first["diff"]["before"], first["member"]["version_before"]) == (True, {}, "1")
    assert db.record("web1", "draining", token, version_before="2.4.0")["changed"] is False
    second = db.record("web1", "ready", token, version_before="2.4.0", version_after="2.4.0")
    assert (second["changed"], second["member"]["version_before"], second["member"]["version_after"]) == (True, "1", "2.4.0")
    assert second["member"]["changed_at"] >= second["member"]["planned_at"]
    assert db.release_info()["members"]["web1"] == {**second["member"], "stays_out": {}}


def test_check_mode_writes_nothing(db):
    assert db.release("open", process=ANN, check=True)["new"] is True
    assert db.record("web1", "ready", 1, check=True)["changed"] is True
    assert db.tables() == set()
    token = opened(db)
    before = (db.release_info(), db.events())
    assert advance(db, "expanding", token, check=True)["changed"] is True
    db.release("fail", token=token, reason="x", check=True)
    db.record("web1", "ready", token, check=True)
    with pytest.raises(EverupError, match="held by"):
        db.release("open", process=BOB, check=True)
    after = (db.release_info(), db.events())
    for facts, _events in (before, after):
        facts["lease"].pop("seconds_left")
    assert after == before


def test_events(db):
    token = opened(db)
    for number in range(5):
        db.record(f"web{number}", "draining", token)
    events = db.release_info(events=3)["events"]
    assert [event["subject"] for event in events] == ["web2", "web3", "web4"]
    assert events[0]["detail"] == {"reason": None, "version": None}
    assert len(db.release_info()["events"]) == 7


def test_a_second_live_process_is_refused_by_name(db):
    opened(db)
    with pytest.raises(
        EverupError, match=r"held by \S+@\S+ \(process 7\) for release 2\.4\.0 since 20.*in (599|600) s"
    ) as caught:
        opened(db, process=BOB)
    lease = caught.value.details["lease"]
    assert (lease["holder_process"], lease["token"], lease["release_version"]) == (ANN, 1, "2.4.0")


def stale(db):
    """Let Bob take over what Ann holds; return both tokens."""
    ann = opened(db)
    advance(db, "expanding", ann)
    return ann, opened(db, process=BOB, takeover=True)


def test_a_stale_token_changes_nothing(db):
    ann, bob = stale(db)
    assert bob == ann + 1
    db.write("1_a.sql", "CREATE TABLE a (b int)")
    db.write("2_b.sql", "-- everup: transaction=none\nCREATE TABLE b (b int)")
    before = (db.release_info()["release"], db.events())
    tries = [
        lambda: advance(db, "expanded", ann),
        lambda: db.release("fail", token=ann, reason="x"),
        lambda: db.release("abort", token=ann),
        lambda: db.record("web1", "ready", ann),
        lambda: db.guard(version="2.4.0", token=ann, planned=["web1"], alive=["web1"], batch=["web1"]),
        lambda: db.migrate(lease_token=ann),
    ]
    for run in tries:
        with pytest.raises(EverupError) as caught:
            run()
        message = str(caught.value)
        assert "The lease is lost: this run has fencing token 1, but " in message
        assert f" took it at {db.release_info()['lease']['taken_at']} with token 2" in message
    db.write("0_bad.sql", "nonsense that a stale run does not even try")
    with pytest.raises(EverupError, match="The lease is lost"):
        db.migrate(lease_token=ann)
    (db.folder / "expand/0_bad.sql").unlink()
    (db.folder / "expand/1_a.sql").unlink()
    with pytest.raises(EverupError, match="The lease is lost"):
        db.migrate(lease_token=ann)
    assert db.release("close", token=ann)["lease_held"] is False
    assert (db.release_info()["release"], db.events()) == before
    assert db.release_info()["members"] == {}
    assert not {"a", "b"} & db.tables()
    assert db.history() == {}
    assert db.migrate(lease_token=bob)["changed"]


@pytest.mark.parametrize("db", TRANSACTIONAL, indirect=True)
def test_a_token_that_goes_stale_in_the_middle_of_a_script(db):
    """The script runs to its end and is then rolled back, because the lease was taken meanwhile."""
    ann = opened(db)
    db.write("1_log.sql", "CREATE TABLE log (what varchar(50))")
    db.migrate(lease_token=ann)
    if db.engine == "sqlite":
        # One writer at a time: only the script itself can take the lease away while it runs.
        db.write("2_x.sql", "UPDATE everup_lease SET token = token + 1;\nINSERT INTO log VALUES ('x')")
        with pytest.raises(EverupError, match="The lease is lost"):
            db.migrate(lease_token=ann)
    else:
        db.write("2_x.sql", f"INSERT INTO log VALUES ('x');\n{db.slow.format(1)}")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(db.migrate, lease_token=ann)
            time.sleep(0.4)
            opened(db, process=BOB, takeover=True)
            with pytest.raises(EverupError, match=r"The lease is lost: .* with token 2"):
                running.result(20)
    assert db.query("SELECT * FROM log") == []
    assert "2" not in db.history()


def test_after_a_lost_lease_a_script_without_transaction_goes_on(db):
    """What was done is recorded, nothing is in flight, and so nobody is asked to repair."""
    ann = opened(db)
    db.write("1_log.sql", "CREATE TABLE log (what varchar(50))")
    taken = "UPDATE everup_lease SET token = token + 1"
    db.write("2_x.sql", f"-- everup: transaction=none\nINSERT INTO log VALUES ('a');\n{taken};\nINSERT INTO log VALUES ('c')")
    with pytest.raises(EverupError, match="The lease is lost"):
        db.migrate(lease_token=ann)
    assert (db.history()["2"]["state"], db.history()["2"]["statements_done"]) == ("failed", 2)
    db.migrate()
    assert db.query("SELECT what FROM log") == [("a",), ("c",)]


def test_each_use_renews_the_lease(db):
    token = opened(db, lease_ttl="5s")
    assert db.release_info()["lease"]["seconds_left"] <= 5
    advance(db, "expanding", token, lease_ttl="10m")
    assert db.release_info()["lease"]["seconds_left"] > 500
    db.record("web1", "draining", token, lease_ttl="20s")
    assert 15 < db.release_info()["lease"]["seconds_left"] <= 20
    for ttl in ("0s", "soon"):
        with pytest.raises(EverupError, match="lease_ttl"):
            db.record("web1", "draining", token, lease_ttl=ttl)


def test_a_lease_is_renewed_without_a_word_in_the_events(db):
    token = opened(db)
    before, events = db.release_info()["lease"]["expires_at"], db.events()
    renewed = db.release("renew", token=token, lease_ttl="1h")
    assert (renewed["changed"], renewed["release"]["state"]) == (False, "open")
    assert db.release_info()["lease"]["expires_at"] > before
    assert db.events() == events
    with pytest.raises(EverupError, match="lost"):
        db.release("renew", token=token - 1)


def test_where_a_member_was_out_is_known_after_a_kill(db):
    token = opened(db)
    for to in ("expanding", "expanded", "rolling"):
        advance(db, to, token)
    db.record("web1", "draining", token, stays_out={"lb1": "drain"})
    db.record("web1", "upgrading", token)
    db.record("web2", "draining", token, stays_out={})
    members = db.release_info()["members"]
    assert (members["web1"]["stays_out"], members["web2"]["stays_out"]) == ({"lb1": "drain"}, {})


def test_an_expired_lease_is_taken(db):
    opened(db, lease_ttl="1s")
    with pytest.raises(EverupError, match="held by"):
        opened(db, process=BOB)
    time.sleep(1.1)
    assert opened(db, process=BOB) == 2
    assert db.release_info()["lease"]["holder_process"] == BOB


def test_a_dead_holders_token_is_taken(db):
    ann = opened(db)
    with pytest.raises(EverupError, match="held by"):
        opened(db, process=BOB, dead_token=ann - 1)
    assert opened(db, process=BOB, dead_token=ann) == ann + 1


def test_a_lease_that_is_renewed_while_another_looks_is_not_taken(postgresql_database):
    """The row is locked before it is read: an expired lease whose holder is just renewing it counts as held."""
    db = postgresql_database
    token = opened(db, lease_ttl="1s")
    time.sleep(1.1)
    with closing(db.engine_connection()) as connection, ThreadPoolExecutor(1) as pool:
        with connection.transaction():
            db.ledger(connection).assert_token(token, 60)
            other = pool.submit(opened, db, process=BOB)
            time.sleep(0.5)
            assert not other.done()
        with pytest.raises(EverupError, match="held by"):
            other.result(20)


def test_one_of_many_openers_wins(db):
    with ThreadPoolExecutor(6) as pool:
        tries = [pool.submit(opened, db, process={**ANN, "pid": pid}) for pid in range(6)]
        errors = [future.exception() for future in tries]
    winners = [future.result() for future, error in zip(tries, errors) if error is None]
    assert winners == [1]
    assert all("held by" in str(error) for error in errors if error), errors
    assert len(db.release_info()["releases"]) == 1


def test_many_processes_create_one_ledger(db):
    started = [start_module("everup.deploy.release", {**db.options, "action": "open", "version": "2.4.0"}) for _ in range(3)]
    results = [finish_module(process) for process in started]
    assert sorted(result["failed"] for result in results) == [False, True, True]
    assert all("held by" in result["msg"] for result in results if result["failed"]), results
    assert db.query("SELECT step FROM everup_ledger ORDER BY step") == STEPS
    assert db.query("SELECT count(*) FROM everup_lease") == [(1,)]


def test_a_ledger_of_a_newer_version_is_refused(db):
    token = opened(db)
    db.execute(f"INSERT INTO everup_ledger SELECT {len(STEPS) + 1}, applied_at FROM everup_ledger WHERE step = 1")
    known = rf"is at step {len(STEPS) + 1}, this everup\.deploy knows {len(STEPS)}: .* Upgrade the collection"
    with pytest.raises(EverupError, match=known):
        advance(db, "expanding", token)


def test_an_older_ledger_is_upgraded_once(db, monkeypatch):
    token = opened(db)
    step = ("CREATE TABLE extra (a {count})", "INSERT INTO extra VALUES (1)")
    monkeypatch.setattr(ledger_module, "_STEPS", (*ledger_module._STEPS, step))
    advance(db, "expanding", token)
    advance(db, "expanded", token)
    assert db.query("SELECT a FROM extra") == [(1,)]
    assert db.query("SELECT step FROM everup_ledger ORDER BY step") == [*STEPS, (len(STEPS) + 1,)]


@pytest.mark.parametrize("db", TRANSACTIONAL, indirect=True)
def test_an_upgrade_is_whole_or_not_at_all(db, monkeypatch):
    opened(db)
    step = ("CREATE TABLE extra (a {count})", "INSERT INTO nowhere VALUES (1)")
    monkeypatch.setattr(ledger_module, "_STEPS", (*ledger_module._STEPS, step))
    with pytest.raises(EverupError, match="nowhere"):
        opened(db)
    assert "extra" not in db.tables()


class Killed(BaseException):
    """What a killed process leaves behind, without killing this one."""


def test_a_ledger_whose_making_is_killed_anywhere_is_made_by_the_next_run(db, monkeypatch):
    """Before its first write, then before its second one, and so on; a reader meanwhile finds all of it or none."""
    kind = type(db.engine_connection())
    real, left = kind.execute, [0]

    def execute(self, sql, parameters=()):
        if sql.startswith(("CREATE", "INSERT")):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
        return real(self, sql, parameters)

    monkeypatch.setattr(kind, "execute", execute)
    kills = 0
    while True:
        left[0] = 2 if kills else 0
        with closing(db.engine_connection()) as connection:
            try:
                db.ledger(connection).ensure()
                break
            except Killed:
                kills += 1
                if db.transactional:
                    left[0] = 1000
                    db.ledger(connection).ensure()
                    break
        assert db.release_info()["releases"] == []
        assert kills < 50
    monkeypatch.undo()
    assert kills == 1 if db.transactional else kills >= 5
    assert opened(db) == 1
    assert db.query("SELECT step FROM everup_ledger ORDER BY step") == STEPS
    assert db.query("SELECT name FROM everup_lease") == [("release",)]


def test_the_guard(db):
    token = opened(db)
    hosts = {"version": "2.4.0", "token": token, "planned": ["web1", "web2"], "alive": ["web1", "web2"]}
    asked_at = time.time()
    assert asked_at <= db.guard(**hosts, batch=["web1"])["checked_at"] <= time.time()
    with pytest.raises(EverupError, match=r"The batch web2 does not begin: web1 of an earlier batch was not touched") as caught:
        db.guard(**hosts, batch=["web2"])
    assert len(caught.value.details["reasons"]) == 1
    assert db.guard(**hosts, batch=["web2"], check=True)["changed"] is False
    db.record("web1", "ready", token)
    assert db.guard(**hosts, batch=["web2"])["changed"] is False
    with pytest.raises(EverupError, match="web1 of an earlier batch is 'ready'"):
        db.guard(**hosts, batch=["web2"], direction="back")
    with pytest.raises(EverupError, match="balancer lb1 is unreachable"):
        db.guard(**hosts, batch=["web2"], pool="shop", mute_balancers=["balancer lb1 is unreachable"], leaving=["web2"])


def test_the_module_itself(db):
    result = run_main(release, {**db.options, "action": "open", "version": "2.4.0"}, diff=True)
    assert result["diff"] == {"before": {}, "after": {"version": "2.4.0", "state": "open"}}
    options = {**db.options, "version": "2.4.0", "token": result["token"]}
    assert run_main(release, {**options, "action": "advance", "to": "expanding"})["changed"]
    member = run_main(release_member, {**options, "host": "web1", "web_group": "web", "state": "draining"})
    assert member["member"]["state"] == "draining"
    assert run_main(release_info, db.options)["members"]["web1"]["state"] == "draining"
    refused = run_main(release, {**db.options, "action": "open", "version": "2.4.0"})
    assert refused["failed"] and refused["lease"]["token"] == 1


def test_a_release_that_fails_again_tells_why_it_failed_last(db):
    token = opened(db)
    advance(db, "expanding", token)
    db.release("fail", token=token, reason="a syntax error")
    token = opened(db)
    db.release("fail", token=token, reason="an assertion")
    facts = db.release_info()
    assert (facts["release"]["state"], facts["release"]["reason"]) == ("failed", "an assertion")
    assert [event["detail"]["reason"] for event in facts["events"] if event["what"] == "release_failed"] == [
        "a syntax error",
        "an assertion",
    ]
