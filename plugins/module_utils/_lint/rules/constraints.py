# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Constraints: what is checked under which lock."""

from __future__ import annotations

import re

from ..ask import above, action, exists, opens_table, promised_online, proves_not_null
from ..facts import Fact, same_name
from ..rule import ERROR, EXPAND, MARIADB, MYSQL, MYSQLS, NOTICE, POSTGRESQL, WARNING, Context, rule


@rule(
    "add-foreign-key-blocking",
    ERROR,
    engines=(POSTGRESQL, *MYSQLS),
    kinds=("add_constraint", "add_column"),
    scales=True,
    peers=(
        "squawk:adding-foreign-key-constraint",
        "squawk:constraint-missing-not-valid",
        "strong_migrations:add_foreign_key",
        "strong_migrations:add_reference",
        "atlas:PG306",
        "atlas:MY131",
    ),
    why="""PostgreSQL holds a SHARE ROW EXCLUSIVE lock on both tables while it looks up every row: no write to either until
    it is done. NOT VALID checks new rows only, VALIDATE CONSTRAINT then checks the old ones while writes go on. MySQL and
    MariaDB copy the whole table with writes blocked, unless foreign_key_checks is off for the session: then the key is
    added in place and old rows are not checked.""",
    instead={
        "postgresql": "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (...) REFERENCES ... NOT VALID;\n"
        "-- in the next script\nALTER TABLE {table} VALIDATE CONSTRAINT {name};",
        "mysql": "SET foreign_key_checks = 0;\n"
        "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (...) REFERENCES ..., ALGORITHM=INPLACE, LOCK=NONE;\n"
        "SET foreign_key_checks = 1;",
        "mariadb": "SET foreign_key_checks = 0;\n"
        "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (...) REFERENCES ..., ALGORITHM=INPLACE, LOCK=NONE;\n"
        "SET foreign_key_checks = 1;",
    },
)
def add_foreign_key_blocking(fact: Fact, context: Context) -> str | None:
    if fact.kind == "add_column":
        # MySQL ignores REFERENCES behind a column, which is another rule's concern.
        if (
            context.target.engine == MYSQL
            or not (fact.spec.references or fact.spec.has("references"))
            or fact.spec.has("not_valid")
        ):
            return None
        other = fact.spec.references
    elif fact.values.get("type") != "foreign_key" or fact.has("not_valid"):
        return None
    else:
        other = str(fact.values.get("references") or "")
    if not exists(fact, context):
        return None
    if context.target.engine in MYSQLS:
        if promised_online(fact) or _checks_are_off(fact, context):
            return None
        return f"adding this foreign key copies {fact.table} with writes blocked: switch foreign_key_checks off for it"
    return f"adding this foreign key blocks writes to {fact.table} and {other or 'the other table'} while every row is checked"


def _checks_are_off(fact: Fact, context: Context) -> bool:
    switched = [other for other in above(fact, context) if other.kind == "set" and other.name.endswith("FOREIGN_KEY_CHECKS")]
    return bool(switched) and switched[-1].to.strip("'\"") in ("0", "OFF", "FALSE")


@rule(
    "add-check-scan",
    ERROR,
    engines=(POSTGRESQL, *MYSQLS),
    kinds=("add_constraint", "add_column", "alter_table"),
    scales=True,
    peers=(
        "squawk:constraint-missing-not-valid",
        "strong_migrations:add_check_constraint",
        "strong_migrations:add_check_constraint_mysql",
        "atlas:PG305",
        "atlas:MY144",
        "atlas:MY145",
    ),
    why="""PostgreSQL reads the whole table under an ACCESS EXCLUSIVE lock: nobody reads or writes it meanwhile. NOT VALID
    checks new rows only, VALIDATE CONSTRAINT then reads the table while everybody works. MySQL and MariaDB copy the table
    with writes blocked; MySQL (8.0.16 and later) can add the check NOT ENFORCED at once, but enforcing it copies as
    well.""",
    instead={
        "postgresql": "ALTER TABLE {table} ADD CONSTRAINT {name} CHECK (...) NOT VALID;\n"
        "-- in the next script\nALTER TABLE {table} VALIDATE CONSTRAINT {name};",
        "mysql": "-- the new version checks; the database follows in contract, at a quiet hour\n"
        "ALTER TABLE {table} ADD CONSTRAINT {name} CHECK (...) NOT ENFORCED;",
        "mariadb": "-- new rows only, and the table is left alone; likewise for UPDATE\n"
        "CREATE TRIGGER {table}_check BEFORE INSERT ON {table} FOR EACH ROW\n"
        "IF NOT (...) THEN SIGNAL SQLSTATE '45000'; END IF;",
    },
)
def add_check_scan(fact: Fact, context: Context) -> str | None:
    if fact.kind == "add_column":
        if not fact.spec.has("check") or fact.spec.has("not_valid"):
            return None
    elif fact.kind == "alter_table":
        if not re.match(r"ALTER (CHECK|CONSTRAINT) \S+ ENFORCED\b", action(fact)):
            return None
    elif fact.values.get("type") != "check" or fact.has("not_valid", "not_enforced"):
        return None
    if not exists(fact, context) or promised_online(fact):
        return None
    if context.target.engine in MYSQLS:
        return f"adding this check copies {fact.table} with writes blocked"
    return f"adding this check reads all of {fact.table} while nobody else can read or write it: add it NOT VALID, validate later"


@rule(
    "validate-behind-lock",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("validate_constraint",),
    scales=True,
    peers=(
        "squawk:constraint-missing-not-valid",
        "strong_migrations:validate_check_constraint",
        "strong_migrations:validate_foreign_key",
    ),
    why="""VALIDATE CONSTRAINT alone lets everybody work. In one transaction with the ALTER TABLE that added the constraint
    it reads the table behind that statement's lock, which is kept until the end: writes, and for all but foreign keys reads
    as well, wait as if NOT VALID had not been written.""",
    instead={
        "postgresql": "-- in a script of its own, so in a transaction of its own\nALTER TABLE {table} VALIDATE CONSTRAINT {name};"
    },
)
def validate_behind_lock(fact: Fact, context: Context) -> str | None:
    if not opens_table(fact, context) or not exists(fact, context):
        return None
    holders = ("add_constraint", "add_column", "drop_column", "alter_column", "drop_constraint", "alter_table", "rename_column")
    held = [other for other in above(fact, context) if other.kind in holders and same_name(other.table, fact.table)]
    if not held:
        return None
    return f"{fact.name or 'the constraint'} is validated behind the lock that line {held[-1].line} took on {fact.table}"


@rule(
    "add-unique-blocking",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("add_constraint", "add_column"),
    scales=True,
    peers=("squawk:disallowed-unique-constraint", "strong_migrations:add_unique_constraint", "atlas:PG105"),
    why="""A UNIQUE constraint builds its index under an ACCESS EXCLUSIVE lock: nobody reads or writes the table until it is
    built. An index that was built CONCURRENTLY becomes the constraint's in an instant.""",
    instead={
        "postgresql": "-- everup: transaction=none\nCREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} (...);\n"
        "ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name};",
    },
)
def add_unique_blocking(fact: Fact, context: Context) -> str | None:
    unique = fact.spec.has("unique") if fact.kind == "add_column" else fact.values.get("type") == "unique"
    if not unique or fact.values.get("using_index") or not exists(fact, context):
        return None
    return f"the unique constraint builds its index while nobody can read or write {fact.table}"


@rule(
    "add-primary-key-blocking",
    ERROR,
    engines=(POSTGRESQL, *MYSQLS),
    kinds=("add_constraint", "add_column"),
    scales=True,
    peers=(
        "squawk:adding-serial-primary-key-field",
        "atlas:PG104",
        "atlas:PG304",
        "atlas:PG312",
        "atlas:MY132",
    ),
    why="""PostgreSQL builds the key's index, and reads all rows for NULLs where a column may be NULL, under an ACCESS
    EXCLUSIVE lock: nobody reads or writes the table meanwhile. With USING INDEX only the look for NULLs is left, and it too
    is spared by a valid CHECK (... IS NOT NULL). MySQL and MariaDB rebuild the whole table around the new key; writes go
    on, unless a column must become NOT NULL.""",
    instead={
        "postgresql": "-- everup: transaction=none\nCREATE UNIQUE INDEX CONCURRENTLY {table}_pkey ON {table} (id);\n"
        "ALTER TABLE {table} ADD PRIMARY KEY USING INDEX {table}_pkey;",
        "mysql": "ALTER TABLE {table} ADD PRIMARY KEY (id), ALGORITHM=INPLACE, LOCK=NONE;",
        "mariadb": "ALTER TABLE {table} ADD PRIMARY KEY (id), ALGORITHM=INPLACE, LOCK=NONE;",
    },
)
def add_primary_key_blocking(fact: Fact, context: Context) -> str | None:
    key = fact.spec.has("primary_key") if fact.kind == "add_column" else fact.values.get("type") == "primary_key"
    if not key or not exists(fact, context) or promised_online(fact):
        return None
    if context.target.engine in MYSQLS:
        return f"the primary key rebuilds all of {fact.table}: assert ALGORITHM=INPLACE, LOCK=NONE, or it may block writes"
    if not fact.values.get("using_index"):
        return f"the primary key builds its index while nobody can read or write {fact.table}"
    for column in fact.values.get("columns", []):
        known = context.live_column(fact.table, column)
        if known and known.get("nullable") and not proves_not_null(fact, context, column):
            return f"{column} may be NULL, so all of {fact.table} is read while nobody else can read or write it"
    return None


@rule(
    "drop-primary-key-copy",
    ERROR,
    engines=MYSQLS,
    kinds=("drop_constraint",),
    scales=True,
    peers=("atlas:MY133", "atlas:MY137"),
    why="""The rows of InnoDB lie in the order of the primary key. Dropping it without adding another in the same statement
    copies the table with writes blocked.""",
    instead=dict.fromkeys(
        MYSQLS, "ALTER TABLE {table} DROP PRIMARY KEY, ADD PRIMARY KEY (tenant, id), ALGORITHM=INPLACE, LOCK=NONE;"
    ),
)
def drop_primary_key_copy(fact: Fact, context: Context) -> str | None:
    if fact.values.get("type") != "primary_key" or not exists(fact, context) or promised_online(fact):
        return None
    together = [other for other in context.script.facts if other.statement == fact.statement and other.kind == "add_constraint"]
    if any(other.values.get("type") == "primary_key" for other in together):
        return f"the new primary key rebuilds all of {fact.table}: assert ALGORITHM=INPLACE, LOCK=NONE"
    return f"dropping the primary key copies {fact.table} with writes blocked: add the new one in the same statement"


@rule(
    "add-exclusion-blocking",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("add_constraint",),
    scales=True,
    peers=("strong_migrations:add_exclusion_constraint", "atlas:PG109"),
    why="""An exclusion constraint builds its index under an ACCESS EXCLUSIVE lock and knows neither NOT VALID nor USING
    INDEX. There is no way to add it online: a new table takes it from the start.""",
    instead={
        "postgresql": "CREATE TABLE {table}_next (LIKE {table}, CONSTRAINT {name} EXCLUDE USING gist (... WITH &&));\n"
        "-- then backfill it and let the new version use it",
    },
)
def add_exclusion_blocking(fact: Fact, context: Context) -> str | None:
    if fact.values.get("type") != "exclude" or not exists(fact, context):
        return None
    return f"the exclusion constraint builds its index while nobody can read or write {fact.table}"


@rule(
    "domain-constraint",
    WARNING,
    engines=(POSTGRESQL,),
    kinds=("create_other",),
    peers=("squawk:ban-create-domain-with-constraint",),
    why="""A constraint of a domain is checked wherever the domain is used, and changing it later reads every table that has
    such a column, with writes to all of them blocked. A constraint of the table can be added NOT VALID and changed
    alone.""",
    instead={"postgresql": "CREATE TABLE t (a text CONSTRAINT a_is_short CHECK (length(a) < 100));"},
)
def domain_constraint(fact: Fact, context: Context) -> str | None:
    action = str(fact.values.get("action", "")).upper()
    if fact.values.get("object") != "DOMAIN" or not ("CHECK" in action or "NOT NULL" in action):
        return None
    return f"the constraint of domain {fact.name} cannot be changed later without reading every table that uses it"


@rule(
    "alter-domain-constraint",
    ERROR,
    engines=(POSTGRESQL,),
    kinds=("alter_other",),
    peers=("squawk:ban-alter-domain-with-add-constraint",),
    why="""ALTER DOMAIN reads every table that has a column of the domain and holds a SHARE lock on all of them at once: no
    writes to any until the last is read. NOT VALID spares the reading, not the running version, whose writes are refused
    from then on.""",
    instead={"postgresql": "ALTER TABLE t ADD CONSTRAINT a_is_short CHECK (length(a) < 100) NOT VALID;"},
)
def alter_domain_constraint(fact: Fact, context: Context) -> str | None:
    action = str(fact.values.get("action", "")).upper()
    if fact.values.get("object") != "DOMAIN" or not (action.startswith("ADD") or action.startswith("SET NOT NULL")):
        return None
    if any(other.kind == "create_other" and same_name(other.name, fact.name) for other in context.earlier(fact)):
        return None
    return f"every table with a column of domain {fact.name} is read with writes blocked"


@rule(
    "inline-references-ignored",
    WARNING,
    engines=(MYSQL, MARIADB),
    kinds=("add_column", "create_table"),
    peers=("atlas:MY102",),
    why="""MySQL before 9.0 and MariaDB before 10.5 read REFERENCES behind a column and forget it: no foreign key is made
    and nothing is checked.""",
    instead=dict.fromkeys(MYSQLS, "ALTER TABLE {table} ADD CONSTRAINT {table}_fk FOREIGN KEY (a) REFERENCES b (id);"),
)
def inline_references_ignored(fact: Fact, context: Context) -> str | None:
    target = context.target
    if target.at_least(9) if target.engine == MYSQL else not target.before(10, 5):
        return None
    named = [column.name for column in fact.columns if column.references or column.has("references")]
    if not named:
        return None
    return f"REFERENCES behind {', '.join(named)} is ignored: no foreign key is made"


@rule(
    "new-write-restriction",
    NOTICE,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=("add_constraint",),
    peers=("squawk:ban-new-write-restriction",),
    why="""NOT VALID leaves the old rows alone, not the new ones: whatever the running version writes is checked from the
    moment the constraint is there, also when the release is rolled back. That is right where its code keeps to the
    constraint anyway.""",
    instead={
        "postgresql": "-- contract/, where the running version does not keep to it\n"
        "ALTER TABLE {table} ADD CONSTRAINT {name} ... NOT VALID;"
    },
)
def new_write_restriction(fact: Fact, context: Context) -> str | None:
    if not fact.has("not_valid") or not exists(fact, context):
        return None
    columns = fact.values.get("columns", [])
    if columns and all(context.is_new_column(fact.table, column, fact) for column in columns):
        return None
    return f"the running version's writes to {fact.table} are held against {fact.name or 'this constraint'} from now on"
