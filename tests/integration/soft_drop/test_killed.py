"""A contract that is killed between any two statements of ours: the object is in one place, and the next run knows in which."""

import os

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines import odbc, sqlite
from ansible_collections.everup.deploy.tests.support.trash import build, rows, shape, states

DROPS = "ALTER TABLE orders DROP COLUMN note;\nDROP TABLE bills;\nDROP VIEW big"
NONE = "-- everup: transaction=none\n"


class Killer:
    """Ends this process in front of, or behind, one of the statements that change anything."""

    def __init__(self, at):
        self.left = at

    def arm(self, monkeypatch):
        for engine in (odbc.OdbcEngine, sqlite.SqliteEngine):
            monkeypatch.setattr(engine, "_run", self.over(engine._run))

    def over(self, run):
        def killed(engine, sql, parameters=()):
            if sql.lstrip().upper().startswith(("SELECT", "SHOW", "SET", "PRAGMA")):
                return run(engine, sql, parameters)
            self.count()
            result = run(engine, sql, parameters)
            self.count()
            return result

        return killed

    def count(self):
        self.left -= 1
        if self.left < 0:
            os._exit(77)


def in_child(run):
    """Run something in a fork; return its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            run()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_everywhere(db, monkeypatch, run, check, step):
    """Kill run at every step-th place until it comes to its end, and check what is there each time."""
    kills = 0
    while True:
        with monkeypatch.context() as patched:
            Killer(kills).arm(patched)
            code = in_child(run)
        assert code in (0, 77)
        check()
        if code == 0:
            return kills
        kills += step


def places(db):
    """Return for each object whether it is where it was, and whether it is in the trash."""
    tables = {name.lower() for name in db.tables()}
    orders = str(shape(db, "orders"))
    return {
        "bills": ("bills" in tables, any(name != "bills" and "bills" in name for name in tables)),
        "note": ("everup_trash_note" not in orders, "everup_trash_note" in orders),
    }


STEP = 1 if os.environ.get("EVERUP_TESTS") != "short" else 3
VARIANTS = [
    pytest.param("mariadb", "", id="mariadb"),
    pytest.param("postgresql", NONE, id="postgresql-steps"),
    pytest.param("postgresql", "", id="postgresql", marks=pytest.mark.whole),
    pytest.param("sqlite", NONE, id="sqlite-steps", marks=pytest.mark.whole),
]


@pytest.mark.parametrize(("engine", "head"), VARIANTS)
def test_killed_between_any_two_statements(request, monkeypatch, engine, head):
    db = request.getfixturevalue(f"{engine}_database")
    build(db)
    db.execute("CREATE VIEW big AS SELECT id, item FROM orders")
    held = {table: rows(db, table) for table in ("bills",)}, db.query("SELECT id, note FROM orders ORDER BY id")
    before = {table: shape(db, table) for table in ("orders", "bills")}
    db.write("1_gone.sql", head + DROPS, phase="contract")

    def exactly_one_place():
        for name, (was, is_kept) in places(db).items():
            assert was != is_kept, name

    # Each kill is followed by the same command again, which goes on from there.
    kills = kill_everywhere(
        db, monkeypatch, lambda: db.migrate(phase="contract", release_version="2.4.0"), exactly_one_place, STEP
    )
    assert kills > 5
    db.migrate(phase="contract", release_version="2.4.0")
    assert sorted((name.split(".")[-1], state) for name, state in states(db)) == [
        ("big", "dropped"),
        ("bills", "dropped"),
        ("note", "dropped"),
    ]
    assert db.history("contract")["1"]["state"] == "applied"
    assert db.events().count("soft_dropped") == 3

    # And the same for the way back.
    kill_everywhere(db, monkeypatch, lambda: db.trash("restore", release_version="2.4.0"), exactly_one_place, STEP)
    db.trash("restore", release_version="2.4.0")
    assert {state for _name, state in states(db)} == {"restored"}
    assert {table: shape(db, table) for table in before} == before
    assert ({"bills": rows(db, "bills")}, db.query("SELECT id, note FROM orders ORDER BY id")) == held
    assert len(db.query("SELECT * FROM big")) == 3


@pytest.mark.parametrize("db", ["mariadb"], indirect=True)
def test_a_purge_that_is_killed(db, monkeypatch):
    build(db)
    db.write("1_gone.sql", "DROP TABLE bills;\nALTER TABLE orders DROP COLUMN note", phase="contract")
    db.migrate(phase="contract", purge_after="0s")
    kill_everywhere(db, monkeypatch, lambda: db.trash("purge"), lambda: None, STEP)
    db.trash("purge")
    assert {state for _name, state in states(db)} == {"purged"}
    assert not any("bills" in name for name in db.tables()) and "everup_trash" not in str(shape(db, "orders"))
