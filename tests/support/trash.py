"""What the tests of the trash share: a shop of each engine, what a table is like, and contracts that drop of it."""

from __future__ import annotations

import re
from contextlib import closing

import pytest
from ansible_collections.everup.deploy.tests.support.databases import ENGINES


def mostly_on(*engines):
    """Run a test on these engines, on the others only in the whole form of the suite."""
    chosen = [
        name if name in engines or name.startswith("given_") else pytest.param(name, marks=pytest.mark.whole) for name in ENGINES
    ]
    return pytest.mark.parametrize("db", chosen, indirect=True)


# Customers, their orders with everything that a table can have, and another table for the application to go on with.
_ORDERS = {
    "sqlite": (
        "CREATE TABLE customers (id integer PRIMARY KEY, name varchar(50));\n"
        "CREATE TABLE log (what varchar(50));\n"
        "CREATE TABLE orders (id integer PRIMARY KEY AUTOINCREMENT, item varchar(50) NOT NULL, note varchar(50),"
        " amount int NOT NULL DEFAULT 7, code int, parent int REFERENCES orders (id), CHECK (amount > 0));\n"
        "CREATE INDEX orders_item ON orders (item);\n"
        "CREATE TRIGGER orders_logged AFTER INSERT ON orders BEGIN INSERT INTO log VALUES (NEW.item); END;\n"
        "CREATE TABLE bills (id integer PRIMARY KEY, customer int REFERENCES customers (id), total int);\n"
        "CREATE INDEX bills_total ON bills (total)"
    ),
    "postgresql": (
        "CREATE TABLE customers (id int PRIMARY KEY, name varchar(50));\n"
        "CREATE TABLE log (what varchar(50));\n"
        "CREATE TABLE orders (id serial PRIMARY KEY, item varchar(50) NOT NULL, note varchar(50),"
        " amount int NOT NULL DEFAULT 7 CHECK (amount > 0), code int UNIQUE, parent int REFERENCES orders (id));\n"
        "CREATE INDEX orders_item ON orders (item);\n"
        "CREATE FUNCTION logged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (NEW.item); RETURN NEW;"
        " END $$;\n"
        "CREATE TRIGGER orders_logged AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION logged();\n"
        "CREATE TABLE bills (id int PRIMARY KEY, customer int REFERENCES customers (id) ON DELETE CASCADE, total int);\n"
        "CREATE INDEX bills_total ON bills (total)"
    ),
    "mariadb": (
        "CREATE TABLE customers (id int PRIMARY KEY, name varchar(50));\n"
        "CREATE TABLE log (what varchar(50));\n"
        "CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, item varchar(50) NOT NULL COMMENT 'it''s, CHECK (me)',"
        " note varchar(50), amount int NOT NULL DEFAULT 7 CHECK (amount > 0), code int UNIQUE, parent int,"
        " FOREIGN KEY (parent) REFERENCES orders (id));\n"
        "CREATE INDEX orders_item ON orders (item);\n"
        "CREATE TRIGGER orders_logged AFTER INSERT ON orders FOR EACH ROW INSERT INTO log VALUES (NEW.item);\n"
        "CREATE TABLE bills (id int PRIMARY KEY, customer int, total int,"
        " CONSTRAINT bills_customer FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE);\n"
        "CREATE INDEX bills_total ON bills (total)"
    ),
}
_ORDERS["mysql"] = _ORDERS["mariadb"]
_ORDERS["sqlserver"] = (
    "CREATE TABLE customers (id int PRIMARY KEY, name varchar(50));\n"
    "CREATE TABLE log (what varchar(50));\n"
    "CREATE TABLE orders (id int IDENTITY PRIMARY KEY, item varchar(50) NOT NULL, note varchar(50),"
    " amount int NOT NULL DEFAULT 7 CHECK (amount > 0), code int UNIQUE, parent int REFERENCES orders (id));\n"
    "CREATE INDEX orders_item ON orders (item);\n"
    "CREATE TRIGGER orders_logged ON orders AFTER INSERT AS INSERT INTO log SELECT item FROM inserted;\n"
    "CREATE TABLE bills (id int PRIMARY KEY, customer int REFERENCES customers (id) ON DELETE CASCADE, total int);\n"
    "CREATE INDEX bills_total ON bills (total)"
)
_SHAPE = {
    "sqlite": "SELECT type, name, replace(sql, '\"', '') FROM sqlite_master WHERE tbl_name = '{0}' ORDER BY 1, 2",
    "postgresql": (
        "SELECT 'column', attname::text, format_type(atttypid, atttypmod) || attnotnull"
        " || coalesce(pg_get_expr(adbin, adrelid), '')"
        " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE attrelid = '{0}'::regclass AND attnum > 0 AND NOT attisdropped"
        " UNION SELECT contype::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = '{0}'::regclass"
        " UNION SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = '{0}'::regclass"
        " UNION SELECT 'trigger', tgname::text, pg_get_triggerdef(oid) FROM pg_trigger"
        " WHERE tgrelid = '{0}'::regclass AND NOT tgisinternal"
        " UNION SELECT 'sequence', relname::text, relnamespace::regnamespace::text FROM pg_class WHERE relkind = 'S'"
        " AND relname NOT LIKE 'everup%'"
        " UNION SELECT 'grant', relacl::text, '' FROM pg_class WHERE oid = '{0}'::regclass ORDER BY 1, 2"
    ),
    "mariadb": "SHOW CREATE TABLE {0}",
    "sqlserver": (
        "SELECT 'column', name, CONCAT(column_id, TYPE_NAME(user_type_id), is_nullable) FROM sys.columns"
        " WHERE object_id = OBJECT_ID('{0}') UNION SELECT type_desc, name, OBJECT_DEFINITION(object_id) FROM sys.objects"
        " WHERE parent_object_id = OBJECT_ID('{0}') UNION SELECT 'index', name, type_desc FROM sys.indexes"
        " WHERE object_id = OBJECT_ID('{0}') AND name IS NOT NULL ORDER BY 1, 2"
    ),
}
_SHAPE["mysql"] = _SHAPE["mariadb"]


def build(db) -> None:
    """Make the shop with three orders and two bills."""
    db.write("1_shop.sql", _ORDERS[db.engine])
    db.migrate()
    with closing(db.connect()) as connection:
        connection.execute("INSERT INTO customers VALUES (1, 'Ada')")
        for item in ("tea", "cup", "pot"):
            connection.execute(
                f"INSERT INTO orders (item, note, amount, code) VALUES ('{item}', 'n {item}', 3, {len(item)}{ord(item[0])})"
            )
        connection.execute("UPDATE orders SET parent = 1 WHERE id = 2")
        connection.execute("INSERT INTO bills VALUES (1, 1, 30)")
        connection.execute("INSERT INTO bills VALUES (2, 1, 40)")


def shape(db, table: str) -> list[tuple]:
    """Return what a table is made of, as the catalog tells; its keys in any order, and without its counter."""
    found = db.query(_SHAPE[db.engine].format(table))
    if "SHOW" not in _SHAPE[db.engine]:
        return found
    text = re.sub(r" AUTO_INCREMENT=\d+", "", found[0][1])
    lines = [line.rstrip(",") for line in text.split("\n")]
    columns = [line for line in lines if line.startswith("  `")]
    return [(line,) for line in (*columns, *sorted(line for line in lines if line not in columns))]


def rows(db, table: str) -> list[tuple]:
    return sorted(db.query(f"SELECT * FROM {table}"), key=repr)


def contract(db, text: str, version: int = 1, **options) -> dict:
    """Write a contract script and run it as release 2.4.0 does."""
    if version > 1:
        db.write(f"{version}_more.sql", f"CREATE TABLE more{version} (id int)")
        db.migrate()
    db.write(f"{version}_gone.sql", text, phase="contract")
    return db.migrate(phase="contract", **{"release_version": "2.4.0", **options})


def states(db) -> list[tuple]:
    return db.query("SELECT object, state FROM everup_trash ORDER BY id")


def is_there(db, table: str) -> bool:
    """Return whether the application finds a table under its name."""
    with closing(db.connect()) as connection:
        try:
            connection.execute(f"SELECT count(*) FROM {table}")
        except Exception:
            return False
    return True
