"""Views, procedures and functions that a contract drops, and old versions that are retired: their text comes back."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support.trash import build, contract, mostly_on, states

ROUTINES = {
    "postgresql": (
        "CREATE FUNCTION find(a int) RETURNS int LANGUAGE sql STABLE AS $$ SELECT a + {0} -- what? $$",
        "SELECT find{1}(1)",
    ),
    "mariadb": (
        "CREATE FUNCTION find{1}(a int) RETURNS int DETERMINISTIC BEGIN SET a = a + {0}; RETURN a; END",
        "SELECT find{1}(1)",
    ),
}


def routine(db, number, suffix=""):
    text = ROUTINES[db.engine][0].replace("find(", f"find{suffix}(").format(number, suffix)
    db.execute(text.replace(" -- what? ", " -- what?\n"))


def call(db, suffix=""):
    return db.query(ROUTINES[db.engine][1].format("", suffix))


@mostly_on("mariadb")
def test_a_view_comes_back(db):
    build(db)
    create = "CREATE VIEW big AS SELECT id, item FROM orders WHERE amount > 2"
    db.execute(create)
    before = db.query("SELECT * FROM big")
    drop_column = "ALTER TABLE orders DROP COLUMN note"
    result = contract(db, f"DROP VIEW big;\n{drop_column}")
    assert [one["kind"] for one in result["kept"]] == ["view", "column"]
    assert result["kept"][0]["kept_as"] == "its text in the ledger"
    with pytest.raises(Exception, match="big"):
        db.query("SELECT * FROM big")
    db.trash("restore", "big")
    assert db.query("SELECT * FROM big") == before
    assert db.trash("restore", "big")["changed"] is False


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_a_view_comes_back_with_its_rights(db):
    build(db)
    db.execute(
        "CREATE VIEW big WITH (security_barrier) AS"
        " SELECT id, note ? 'x' AS has FROM (SELECT id, '{}'::jsonb AS note FROM orders) o"
    )
    db.execute("GRANT SELECT ON big TO PUBLIC")
    facts = "SELECT relacl::text, reloptions::text, pg_get_viewdef(oid) FROM pg_class WHERE relname = 'big'"
    before = db.query(facts)
    contract(db, "DROP VIEW big")
    db.trash("restore", "big")
    assert db.query(facts) == before


@pytest.mark.parametrize("db", ROUTINES, indirect=True)
def test_a_function_comes_back(db):
    build(db)
    routine(db, 1)
    text = "DROP FUNCTION find(int)" if db.engine == "postgresql" else "DROP FUNCTION find"
    result = contract(db, text)
    assert [one["kind"] for one in result["kept"]] == ["function"]
    db.trash("restore", "find")
    assert call(db) == [(2,)]


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_one_of_several_functions_of_a_name(db):
    build(db)
    routine(db, 1)
    db.execute("CREATE FUNCTION find(a text, OUT b text) LANGUAGE sql AS $$ SELECT a $$")
    with pytest.raises(EverupError, match=r"is not unique"):
        contract(db, "DROP FUNCTION find")
    contract(db, "DROP FUNCTION find(IN a text)")
    assert states(db)[0][0].startswith("public.find(a text")
    assert call(db) == [(2,)]
    db.trash("restore", release_version="2.4.0")
    assert db.query("SELECT find('x'::text)") == [("x",)]


@pytest.mark.parametrize("db", ROUTINES, indirect=True)
def test_an_old_version_is_listed_retired_and_brought_back(db):
    build(db)
    for number, suffix in ((1, ""), (2, "_2"), (3, "_3")):
        routine(db, number, suffix)
    listed = db.trash_info()["old_versions"]
    assert [(one["name"], one["newest"]) for one in listed] == [("find", "find_3"), ("find_2", "find_3")]
    assert {one["last_used"] for one in listed} == {"not known"}
    assert db.trash("retire", "find_2", check=True)["changed"] and call(db, "_2") == [(3,)]
    result = db.trash("retire", "find_2", release_version="2.5.0")
    assert result["objects"][0]["kept_as"] == "its text in the ledger"
    assert [one["name"] for one in db.trash_info()["old_versions"]] == ["find"]
    (kept,) = db.trash_info(release_version="2.5.0")["kept"]
    assert kept["kind"] == "function" and kept["script"] == "retired"
    with pytest.raises(EverupError, match=r"find_3 cannot be retired.*Old versions: .*find"):
        db.trash("retire", "find_3")
    db.trash("restore", "find_2")
    assert call(db, "_2") == [(3,)]


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_calls_are_counted_where_the_server_does(db):
    build(db)
    routine(db, 1)
    routine(db, 2, "_2")
    with db.server.connect_admin(db.name) as admin:
        admin.execute(f"ALTER DATABASE {db.name} SET track_functions = 'all'")
    assert [one["last_used"] for one in db.trash_info()["old_versions"]] == ["not known"]  # in SQL, so part of its caller
    db.execute("CREATE OR REPLACE FUNCTION find(a integer) RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN 2; END'")
    assert [one["last_used"] for one in db.trash_info()["old_versions"]] == ["never since the server counts"]


@mostly_on("sqlite")
def test_what_is_retired_is_purged(db):
    build(db)
    db.execute("CREATE VIEW v AS SELECT 1 AS one")
    db.execute("CREATE VIEW v_2 AS SELECT 2 AS one")
    db.trash("retire", "v", purge_after="0s")
    assert [one["kind"] for one in db.trash("purge")["objects"]] == ["view"]
    with pytest.raises(EverupError, match="Nothing is kept by the name v"):
        db.trash("restore", "v")
