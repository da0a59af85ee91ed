"""What in a real schema still refers to what a contract drops, and what goes with it."""

from __future__ import annotations

import pytest

SQLITE, POSTGRESQL, MARIADB, SQLSERVER = "sqlite", "postgresql", "mariadb", "sqlserver"
ALL = (SQLITE, POSTGRESQL, MARIADB, SQLSERVER)
PG_TRIGGER = (
    "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := NEW.client_id; RETURN NEW; END'",
    "CREATE TRIGGER keep_note BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION keep()",
)
# What is made, by which engines, and the words of the proof.
REFERRING = {
    "view": (ALL, ["CREATE VIEW v AS SELECT id, client_id AS c FROM orders"], "view {schema}v refers to column orders.client_id"),
    "view of all columns": (
        ALL,
        ["CREATE VIEW v AS SELECT * FROM orders"],
        "view {schema}v refers to column orders.client_id",
    ),
    "foreign key": (
        ALL,
        ["CREATE TABLE child (id int, legacy_id int, CONSTRAINT fk FOREIGN KEY (legacy_id) REFERENCES legacy (id))"],
        "of {of}child refers to table legacy",
    ),
    "generated column of another": (
        (SQLITE,),
        ["CREATE TABLE sums (id int, legacy int, twice int AS (legacy * 2))"],
        "refers to table legacy",
    ),
    "generated column": (
        (POSTGRESQL,),
        ["ALTER TABLE orders ADD COLUMN twice int GENERATED ALWAYS AS (client_id * 2) STORED"],
        "column twice of orders refers to column orders.client_id",
    ),
    "generated column of MariaDB": (
        (MARIADB,),
        ["ALTER TABLE orders ADD COLUMN twice int AS (client_id * 2)"],
        "column orders.twice refers to column orders.client_id",
    ),
    "trigger with a function": ((POSTGRESQL,), PG_TRIGGER, "routine public.keep refers to column orders.client_id"),
    "trigger of a column": (
        (POSTGRESQL,),
        [
            "CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER said AFTER UPDATE OF client_id ON orders FOR EACH ROW EXECUTE FUNCTION say()",
        ],
        "trigger said of orders refers to column orders.client_id",
    ),
    "trigger": (
        (MARIADB,),
        ["CREATE TRIGGER keep_note BEFORE INSERT ON orders FOR EACH ROW SET NEW.note = NEW.client_id"],
        "trigger {schema}keep_note refers to column orders.client_id",
    ),
    "trigger on another table": (
        (SQLITE,),
        ["CREATE TABLE log (id int)", "CREATE TRIGGER t AFTER INSERT ON log BEGIN DELETE FROM legacy; END"],
        "trigger t refers to table legacy",
    ),
    "procedure": (
        (MARIADB,),
        ["CREATE PROCEDURE p() SELECT count(*) FROM legacy"],
        "routine {schema}p refers to table legacy",
    ),
    "function": (
        (POSTGRESQL,),
        ["CREATE FUNCTION p() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM legacy'"],
        "routine public.p refers to table legacy",
    ),
    "overloaded function": (
        (POSTGRESQL,),
        [
            "CREATE FUNCTION p() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM legacy'",
            "CREATE FUNCTION p(int) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
        ],
        "routine public.p refers to table legacy",
    ),
    "policy": (
        (POSTGRESQL,),
        ["CREATE POLICY own ON orders USING (id IN (SELECT id FROM legacy))"],
        "policy own of orders refers to table legacy",
    ),
    "event": (
        (MARIADB,),
        ["CREATE EVENT clean ON SCHEDULE EVERY 1 DAY DO DELETE FROM legacy"],
        "event {schema}clean refers to table legacy",
    ),
    "procedure of SQL Server": (
        (SQLSERVER,),
        ["CREATE PROCEDURE p AS SELECT count(*) FROM legacy"],
        "routine dbo.p refers to table legacy",
    ),
}


def references(world) -> dict:
    return world.gate("references", gates=["references"])


def test_what_refers_keeps_the_contract_from_running(world):
    engine = world.db.engine
    schema = {SQLITE: "", POSTGRESQL: "public.", SQLSERVER: "dbo.", MARIADB: f"{getattr(world.db, 'name', '')}."}[engine]
    wrong = []
    for name, (engines, statements, proof) in REFERRING.items():
        if engine not in engines:
            continue
        for statement in statements:
            world.db.execute(statement)
        found = references(world)
        if found["state"] != "no" or proof.format(schema=schema, of="dbo." if engine == SQLSERVER else "") not in found["proof"]:
            wrong.append((name, found))
        for statement in reversed(statements):
            world.db.execute(undone(statement))
        left = references(world)
        if left["state"] != "yes":
            wrong.append((name, "left behind", left))
    assert wrong == []


def undone(statement: str) -> str:
    """Return what takes a CREATE or ADD COLUMN of these back."""
    words = statement.split()
    if words[0] == "ALTER":
        return "ALTER TABLE orders DROP COLUMN twice"
    name = f"{words[2]} ON orders" if words[1] == "POLICY" or "EXECUTE FUNCTION" in statement else words[2]
    return f"DROP {words[1]} {name if words[1] == 'FUNCTION' else name.removesuffix('()')}"


def test_nothing_refers_at_first(world):
    assert references(world)["proof"] == "nothing in the database refers to column orders.client_id, table legacy"


def test_what_goes_with_the_same_contract_does_not_count(world):
    world.db.execute("CREATE VIEW v AS SELECT id, client_id FROM orders")
    world.db.execute("CREATE TABLE child (id int, legacy_id int, FOREIGN KEY (legacy_id) REFERENCES legacy (id))")
    assert references(world)["state"] == "no"
    for number, statement in enumerate(("DROP VIEW v;", "DROP TABLE child;")):
        world.db.write(f"000{number}_5_first.sql", statement, "contract")
    found = references(world)
    assert found["state"] == "yes", found
    assert "table child" in found["proof"]


def test_a_trigger_function_goes_with_its_trigger(make_world):
    world = make_world(POSTGRESQL)
    for statement in PG_TRIGGER:
        world.db.execute(statement)
    assert references(world)["state"] == "no"
    world.db.write("0001_drop.sql", "DROP TRIGGER keep_note ON orders; ALTER TABLE orders DROP COLUMN client_id;", "contract")
    assert references(world)["state"] == "yes"


def test_a_view_that_is_written_anew_without_the_column_does_not_count(make_world):
    world = make_world(POSTGRESQL)
    world.db.execute("CREATE VIEW v AS SELECT id, client_id FROM orders")
    text = "DROP VIEW v; CREATE VIEW v AS SELECT id{0} FROM orders; ALTER TABLE orders DROP COLUMN client_id;"
    world.db.write("0001_drop.sql", text.format(", profile_id"), "contract")
    assert references(world)["state"] == "yes"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("DO $$ BEGIN EXECUTE 'DROP TABLE ' || current_setting('my.table'); END $$;", "put together when it runs"),
        ("CALL tidy_up();", "what tidy_up does"),
        ("DROP SCHEMA old CASCADE;", "DROP SCHEMA"),
        ("ALTER SCHEMA public RENAME TO attic;", "a new name for SCHEMA public"),
    ],
)
def test_a_script_that_nobody_can_read_is_not_known(make_world, script, why):
    world = make_world(POSTGRESQL)
    world.db.write("0001_drop.sql", script, "contract")
    found = references(world)
    assert found["state"] == "not known", found
    assert "contract/0001_drop.sql:1: " in found["proof"]
    assert why in found["proof"]


def test_a_procedure_whose_text_is_hidden_is_not_known(make_world):
    world = make_world(MARIADB)
    admin = world.db.admin
    admin.execute("CREATE PROCEDURE hidden() SQL SECURITY DEFINER SELECT 1")
    admin.execute("CREATE USER 'clerk'@'%' IDENTIFIED BY 'p'")
    try:
        for right in ("SELECT, EXECUTE, CREATE, ALTER, INSERT, UPDATE, DELETE",):
            admin.execute(f"GRANT {right} ON `{world.db.name}`.* TO 'clerk'@'%'")
        found = world.gate("references", gates=["references"], login_user="clerk", login_password="p")
        assert found["state"] == "not known", found
        assert f"the text of {world.db.name}.hidden is hidden" in found["proof"]
    finally:
        admin.execute("DROP USER 'clerk'@'%'")


FUNCTION = "CREATE FUNCTION {0} RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT {1} FROM orders); END'"
USES = "count(client_id)"
DROP_COLUMN = "ALTER TABLE orders DROP COLUMN client_id;"
# What is made, the script, and what must be said of it: what stays behind although something that looks like it goes.
LOOKALIKES = {
    "function with other arguments": (
        [FUNCTION.format("f(x int)", USES), FUNCTION.format("f(x text)", USES)],
        f"DROP FUNCTION f(int); {DROP_COLUMN}",
        "routine public.f refers to column orders.client_id",
    ),
    "function with other arguments that is written anew": (
        [FUNCTION.format("f(x int)", USES), FUNCTION.format("f(x text)", USES)],
        f"{FUNCTION.format('f(x int)', '1').replace('CREATE', 'CREATE OR REPLACE')}; {DROP_COLUMN}",
        "routine public.f refers to column orders.client_id",
    ),
    "function that the script does not find": (
        [FUNCTION.format("f(x text)", USES)],
        f"DROP FUNCTION IF EXISTS f(int); {DROP_COLUMN}",
        "routine public.f refers to column orders.client_id",
    ),
    "function of another schema": (
        [FUNCTION.format("f(x int)", "1"), "CREATE SCHEMA audit", FUNCTION.format("audit.f(x int)", USES)],
        f"DROP FUNCTION f(int); {DROP_COLUMN}",
        "routine audit.f refers to column orders.client_id",
    ),
    "function that is made again": (
        [FUNCTION.format("f(x int)", USES)],
        f"DROP FUNCTION f(int); {FUNCTION.format('f(x int)', USES)}; {DROP_COLUMN}",
        "routine public.f refers to column orders.client_id",
    ),
    "trigger of the same name": (
        [
            FUNCTION.format("f(x int)", USES),
            "CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER f BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION say()",
        ],
        f"DROP TRIGGER f ON orders; {DROP_COLUMN}",
        "routine public.f refers to column orders.client_id",
    ),
    "trigger of a table whose name is quoted": (
        [
            'CREATE TABLE "Orders" (id int, "ClientId" int)',
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := NEW.\"ClientId\"; RETURN NEW; END'",
            'CREATE TRIGGER kept BEFORE INSERT ON "Orders" FOR EACH ROW EXECUTE FUNCTION keep()',
        ],
        'ALTER TABLE "Orders" DROP COLUMN "ClientId";',
        "routine public.keep refers to column Orders.ClientId",
    ),
    "table that is made again": (
        [FUNCTION.format("f(x int)", USES)],
        "DROP TABLE orders; CREATE TABLE orders (id int PRIMARY KEY);",
        "routine public.f refers to table orders",
    ),
    "table that the script makes only where it is missing": (
        ["CREATE FUNCTION p() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM legacy'"],
        "CREATE TABLE IF NOT EXISTS legacy (id int); DROP TABLE legacy;",
        "routine public.p refers to table legacy",
    ),
    "table that goes to another schema": (
        ["CREATE SCHEMA attic", "CREATE FUNCTION p() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM legacy'"],
        "ALTER TABLE legacy SET SCHEMA attic;",
        "routine public.p refers to table legacy",
    ),
    "function that goes to another schema": (
        ["CREATE SCHEMA attic", FUNCTION.format("f(x int)", "1"), FUNCTION.format("p()", "f(1)")],
        "ALTER FUNCTION f(int) SET SCHEMA attic;",
        "routine public.p refers to routine f",
    ),
    "table of another schema that the script makes": (
        ["CREATE SCHEMA audit", FUNCTION.format("f(x int)", USES)],
        "CREATE TABLE audit.orders (id int); DROP TABLE orders;",
        "routine public.f refers to table orders",
    ),
}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_what_looks_like_it_does_not_go_in_its_place(make_world, name):
    made, script, proof = LOOKALIKES[name]
    world = make_world(POSTGRESQL)
    for statement in made:
        world.db.execute(statement)
    world.db.write("0001_drop.sql", script, "contract")
    found = references(world)
    assert found["state"] == "no", found
    assert proof in found["proof"]


@pytest.mark.parametrize(
    "script",
    [
        "DROP FUNCTION f(int); DROP FUNCTION public.f(text);",
        "DROP FUNCTION f(x integer), f(character varying(50)), f(text);",
        f"DROP FUNCTION f(text); {FUNCTION.format('f(y int)', '1').replace('CREATE', 'CREATE OR REPLACE')};",
    ],
)
def test_each_of_several_functions_of_one_name_goes(make_world, script):
    world = make_world(POSTGRESQL)
    for arguments in ("x int", "x text"):
        world.db.execute(FUNCTION.format(f"f({arguments})", USES))
    if "varying" in script:
        world.db.execute(FUNCTION.format("f(x varchar)", USES))
    world.db.write("0001_drop.sql", f"{script} {DROP_COLUMN}", "contract")
    found = references(world)
    assert found["state"] == "yes", found


def test_a_table_that_the_scripts_make_themselves_is_nobodys(make_world):
    world = make_world(POSTGRESQL)
    world.db.execute("CREATE FUNCTION p() RETURNS text LANGUAGE sql AS 'SELECT ''spare''::text'")
    world.db.write("0001_drop.sql", f"CREATE TABLE spare (id int); DROP TABLE spare; {DROP_COLUMN}", "contract")
    assert references(world)["proof"] == "nothing in the database refers to column orders.client_id, table legacy"
