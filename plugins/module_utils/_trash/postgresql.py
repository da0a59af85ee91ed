# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps what is dropped on PostgreSQL: tables in the schema everup_trash, columns under another name, code as its text.

Facts relied on, from PostgreSQL's manual: SET SCHEMA moves a table's indexes, constraints and the sequences that its columns own
("ALTER TABLE"); both it and RENAME change the catalog alone; what refers to an object does so by its number, so that a renamed
one is still referred to (52.7 "pg_attribute" and others); a CHECK or FOREIGN KEY that is added NOT VALID holds for new rows at
once, and VALIDATE CONSTRAINT then reads the old ones under a lock that lets others write ("ALTER TABLE"); NULLs are distinct in a
unique index unless it says NULLS NOT DISTINCT (version 15); what a statement did behind a savepoint is taken back with it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

from .._db import kept
from .._db.lexis import Statement
from .._db.routine_arguments import same_arguments
from .drops import Drop, plain, written
from .keeper import Keeper, Naming
from .manifest import MISSING, NOTHING_LOST, Manifest, Place, Refusal

_RELATION = """
SELECT c.oid::bigint AS id, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       c.relpersistence::text AS persistence, (c.relispartition OR c.relkind = 'p' OR EXISTS
       (SELECT 1 FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)))::int AS family,
       has_database_privilege(current_database(), 'CREATE')::int AS may_create,
       (SELECT count(*) FROM pg_namespace t WHERE t.nspname = ?)::int AS has_trash
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(?)
"""
_FOREIGN_KEYS = """
SELECT o.conname::text AS name, pg_get_constraintdef(o.oid) AS definition, o.confrelid::regclass::text AS parent
FROM pg_constraint o WHERE o.conrelid = {id} AND o.contype = 'f' AND o.confrelid <> o.conrelid AND o.conparentid = 0
ORDER BY o.conname
"""
_TRIGGERS = """
SELECT t.tgname::text AS name, pg_get_triggerdef(t.oid) AS definition, t.tgenabled::text AS enabled,
       t.tgfoid::regprocedure::text AS needs
FROM pg_trigger t WHERE t.tgrelid = {id} AND NOT t.tgisinternal ORDER BY t.tgname
"""
_NAMED_WITH_TABLE = """
SELECT c.relname::text AS name, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'INDEX' END AS kind
FROM pg_class c WHERE c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = {id}
  UNION SELECT d.objid FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = {id} AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))
  AND c.relkind IN ('S', 'i', 'I') ORDER BY 1
"""
# Types, functions and sequences that a table, or one column of it, is made of.
_NEEDS = """
WITH made AS (
  SELECT 'pg_class'::regclass::oid AS class, {id}::oid AS object, {number} AS part
  UNION SELECT 'pg_attrdef'::regclass, oid, 0 FROM pg_attrdef WHERE adrelid = {id} AND {number} IN (0, adnum)
  UNION SELECT 'pg_constraint'::regclass, oid, 0 FROM pg_constraint WHERE conrelid = {id} AND {number} = 0
  UNION SELECT 'pg_class'::regclass, indexrelid, 0 FROM pg_index WHERE indrelid = {id}
)
SELECT DISTINCT lower(coalesce(t.typname, p.proname, s.relname)::text) AS name
FROM made m JOIN pg_depend d ON d.classid = m.class AND d.objid = m.object AND (m.part = 0 OR d.objsubid IN (0, m.part))
LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
LEFT JOIN pg_class s ON d.refclassid = 'pg_class'::regclass AND s.oid = d.refobjid AND s.relkind = 'S'
WHERE coalesce(t.typname, p.proname, s.relname) IS NOT NULL
"""
_COLUMN = """
SELECT a.attnum::int AS number, a.attname::text AS name, a.attnotnull::int AS not_null, a.attgenerated::text AS generated,
       a.attidentity::text AS identity, coalesce(pg_get_expr(d.adbin, d.adrelid), t.typdefault) AS fallback,
       (WITH RECURSIVE chain AS (
          SELECT t.oid, t.typbasetype, t.typnotnull WHERE t.typtype = 'd'
          UNION ALL SELECT b.oid, b.typbasetype, b.typnotnull FROM chain c JOIN pg_type b ON b.oid = c.typbasetype
          WHERE b.typtype = 'd')
        SELECT count(*) FROM chain WHERE typnotnull OR EXISTS (SELECT 1 FROM pg_constraint o WHERE o.contypid = chain.oid
          AND pg_get_constraintdef(o.oid) ~* 'is not null'))::int AS never_null
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = {id} AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ?
"""
_CONSTRAINTS = """
SELECT o.conname::text AS name, o.contype::text AS type, pg_get_constraintdef(o.oid) AS definition,
       coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'true' AS nulls_alike,
       CASE WHEN o.contype = 'f' THEN o.confrelid::regclass::text END AS parent
FROM pg_constraint o LEFT JOIN pg_index i ON i.indexrelid = o.conindid AND o.contype IN ('p', 'u')
WHERE o.conrelid = {id} AND o.contype IN ('c', 'f', 'p', 'u', 'x') AND {number} = ANY (o.conkey) ORDER BY o.conname
"""
# Unique indexes that no constraint stands for, of whose key, expressions or condition the column is a part.
_UNIQUE_INDEXES = """
SELECT i.indexrelid::regclass::text AS qualified, c.relname::text AS name, pg_get_indexdef(i.indexrelid) AS definition,
       (i.indpred IS NOT NULL)::int AS partial, coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'true' AS nulls_alike
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = {id} AND i.indisunique AND NOT EXISTS (SELECT 1 FROM pg_constraint o WHERE o.conindid = i.indexrelid)
  AND EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
  AND d.refclassid = 'pg_class'::regclass AND d.refobjid = {id} AND d.refobjsubid = {number}) ORDER BY c.relname
"""
_ROUTINES = """
SELECT p.oid::bigint AS id, n.nspname::text AS schema, p.proname::text AS name, p.prokind::text AS kind,
       pg_get_function_identity_arguments(p.oid) AS arguments,
       (EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = p.oid AND e.classid = 'pg_proc'::regclass AND e.deptype = 'e'))::int
       AS of_extension, pg_get_userbyid(p.proowner)::text AS owner
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
"""
_GRANTS = """
SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS grantee,
       x.privilege_type AS privilege, x.is_grantable::int AS grantable
FROM {catalog} o, aclexplode(o.{acl}) x WHERE o.oid = {id} ORDER BY 1, 2
"""
_SIZE = "SELECT pg_total_relation_size(to_regclass(?))::bigint AS bytes"
# Without a row nobody has called what is counted: not what is in SQL, which may become a part of its caller, and C only by "all".
_LAST_USES = """
SELECT n.nspname::text AS schema, p.proname::text AS name,
       CASE WHEN bool_and(s.calls IS NOT NULL OR l.lanname NOT IN ('sql', 'c', 'internal')) THEN coalesce(sum(s.calls), 0)::bigint
       END AS uses
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
LEFT JOIN pg_stat_user_functions s ON s.funcid = p.oid
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' GROUP BY 1, 2
"""
_TRIAL = "everup_trial"


class PostgresqlKeeper(Keeper):
    """Keeps what is dropped on PostgreSQL."""

    longest_name = 63

    def apply_trial(self, statement: Statement) -> None:
        self.db.execute(f"SAVEPOINT {_TRIAL}")
        self.db.run_script_statement(statement)
        self.db.execute(f"ROLLBACK TO SAVEPOINT {_TRIAL}")
        self.db.execute(f"RELEASE SAVEPOINT {_TRIAL}")

    def manifest(self, drop: Drop, naming: Naming, doomed: frozenset) -> Manifest | Refusal:
        if drop.kind in ("procedure", "function"):
            return self._routine(drop)
        rows = self.db.query(_RELATION, (kept.SCHEMA, written(drop.name)))
        if not rows:
            return MISSING
        table = rows[0]
        place = Place(table["schema"], table["name"])
        if table["persistence"] == "t":
            return NOTHING_LOST
        if drop.kind == "view":
            return self._view(table, place) if table["kind"] == "v" else MISSING
        if table["kind"] not in ("r", "p"):
            return MISSING
        if table["family"]:
            return Refusal("it is partitioned, a partition or inherits, and would stay a part of the others", str(place))
        if drop.kind == "table":
            if not (table["has_trash"] or table["may_create"]):
                why = f"the schema {kept.SCHEMA} is missing, and this user may not create one (GRANT CREATE ON DATABASE)"
                return Refusal(why, str(place))
            return self._table(table, place, naming, doomed)
        return self._column(table, place, plain_folded(drop.column), naming, doomed)

    @contextmanager
    def _full_names(self) -> Iterator[None]:
        """Let the catalog write every name with its schema."""
        path = self.db.query("SELECT current_setting('search_path') AS path")[0]["path"]
        self.db.query("SELECT set_config('search_path', 'pg_catalog', false) AS path")
        try:
            yield
        finally:
            self.db.query("SELECT set_config('search_path', ?, false) AS path", (path,))

    def _full(self, *parts: str) -> str:
        return ".".join(self.db.quote(part) for part in parts)

    def _ask(self, sql: str, parameters: tuple = (), **words) -> list[dict]:
        return self.db.query(sql.format(**words), parameters)

    def _needs(self, table: dict, doomed: frozenset, number: int = 0) -> str:
        """Return what the run drops later and the object is made of."""
        if not doomed:
            return ""
        found = {row["name"] for row in self._ask(_NEEDS, id=table["id"], number=number)} & doomed
        return ", ".join(sorted(found))

    def _table(self, table: dict, place: Place, naming: Naming, doomed: frozenset) -> Manifest | Refusal:
        with self._full_names():
            keys = self._ask(_FOREIGN_KEYS, id=table["id"])
            triggers = self._ask(_TRIGGERS, id=table["id"])
            named = self._ask(_NAMED_WITH_TABLE, id=table["id"])
            needed = self._needs(table, doomed)
        if needed:
            return Refusal(f"{needed}, which it is made of, is dropped behind it", str(place))
        there = Place(kept.SCHEMA, naming(place.name, ""))
        quote, old, new = self.db.quote, self._full(place.schema, place.name), self._full(there.schema, there.name)
        renamed = {row["name"]: (row["kind"], naming(row["name"], "")) for row in named}
        move = [f"CREATE SCHEMA IF NOT EXISTS {kept.SCHEMA}"] if not table["has_trash"] else []
        move += [f"ALTER TABLE {old} DROP CONSTRAINT {quote(key['name'])}" for key in keys]
        move += [f"DROP TRIGGER {quote(trigger['name'])} ON {old}" for trigger in triggers]
        move += [f"ALTER TABLE {old} RENAME TO {quote(there.name)}"]
        move += [f"ALTER TABLE {self._full(place.schema, there.name)} SET SCHEMA {kept.SCHEMA}"]
        move += [f"ALTER {kind} {self._full(kept.SCHEMA, a)} RENAME TO {quote(b)}" for a, (kind, b) in renamed.items()]
        restore = [f"ALTER TABLE {new} SET SCHEMA {quote(place.schema)}"]
        restore += [f"ALTER TABLE {self._full(place.schema, there.name)} RENAME TO {quote(place.name)}"]
        restore += [f"ALTER {kind} {self._full(place.schema, b)} RENAME TO {quote(a)}" for a, (kind, b) in renamed.items()]
        again = [_added(old, quote(key["name"]), key, key["parent"]) for key in keys]
        for trigger in triggers:
            sql = trigger["definition"]
            if trigger["enabled"] != "O":
                states = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
                sql += f"; ALTER TABLE {old} {states[trigger['enabled']]} TRIGGER {quote(trigger['name'])}"
            again.append(_trigger(trigger, sql))
        return Manifest(
            "table",
            place,
            there,
            tuple(move),
            tuple(restore),
            tuple(again),
            tuple(_validation(old, quote(key["name"]), key) for key in keys if "NOT VALID" not in key["definition"]),
            (place.name, *renamed),
            (f"DROP TABLE {new}",),
        )

    def _column(self, table: dict, place: Place, name: str, naming: Naming, doomed: frozenset) -> Manifest | Refusal:
        found = self._ask(_COLUMN, (name,), id=table["id"])
        if not found:
            return MISSING
        column = found[0]
        place = Place(place.schema, place.name, column["name"])
        if column["generated"]:
            return Refusal("its values are computed from other columns, so that none is lost", str(place))
        if column["never_null"] and not (column["fallback"] or column["identity"]):
            return Refusal("the domain that is its type allows no NULL, so that inserts would fail", str(place))
        with self._full_names():
            constraints = self._ask(_CONSTRAINTS, id=table["id"], number=column["number"])
            indexes = self._ask(_UNIQUE_INDEXES, id=table["id"], number=column["number"])
            needed = self._needs(table, doomed, column["number"])
        if needed:
            return Refusal(f"{needed}, which it is made of, is dropped behind it", str(place))
        return column_manifest(self._full(place.schema, place.name), place, column, constraints, indexes, naming, self.db.quote)

    def _view(self, view: dict, place: Place) -> Manifest:
        name = self._full(place.schema, place.name)
        with self._full_names():
            facts = self.db.query(
                "SELECT pg_get_viewdef(oid) AS definition, array_to_string(reloptions, ', ') AS options,"
                " pg_get_userbyid(relowner)::text AS owner FROM pg_class WHERE oid = ?",
                (view["id"],),
            )[0]
            triggers = self._ask(_TRIGGERS, id=view["id"])
        options = f" WITH ({facts['options']})" if facts["options"] else ""
        restore = [f"CREATE VIEW {name}{options} AS {facts['definition'].strip().rstrip(';')}"]
        restore += [f"ALTER VIEW {name} OWNER TO {self.db.quote(facts['owner'])}"]
        restore += self._grants("pg_class", "relacl", view["id"], name)
        again = tuple(_trigger(trigger, trigger["definition"]) for trigger in triggers)
        return Manifest("view", place, place, restore=tuple(restore), constraints=again, takes=(place.name,))

    def _routine(self, drop: Drop) -> Manifest | Refusal:
        schema, name = (plain_folded(part) for part in ("", *drop.name)[-2:])
        where = "n.nspname = ?" if schema else "pg_function_is_visible(p.oid) AND '' = ?"
        found = self.db.query(f"{_ROUTINES} WHERE {where} AND p.proname = ? AND p.prokind IN ('f', 'p')", (schema, name))
        if len(found) > 1 and drop.arguments is not None:
            found = [row for row in found if same_arguments(drop.arguments, row["arguments"])]
            if len(found) != 1:
                return Refusal(
                    "several have its name, and its arguments do not tell which is meant", f"{schema}.{name}".lstrip(".")
                )
        if len(found) != 1:
            return MISSING
        routine = found[0]
        place = Place(routine["schema"], routine["name"], arguments=routine["arguments"])
        if routine["of_extension"]:
            return NOTHING_LOST
        word = "PROCEDURE" if routine["kind"] == "p" else "FUNCTION"
        with self._full_names():
            definition = self.db.query("SELECT pg_get_functiondef(?) AS text", (routine["id"],))[0]["text"]
            signature = self.db.query("SELECT oid::regprocedure::text AS name FROM pg_proc WHERE oid = ?", (routine["id"],))
        name = signature[0]["name"]
        restore = [definition, f"ALTER {word} {name} OWNER TO {self.db.quote(routine['owner'])}"]
        restore += self._grants("pg_proc", "proacl", routine["id"], f"{word} {name}")
        kind = "procedure" if routine["kind"] == "p" else "function"
        return Manifest(kind, place, place, restore=tuple(restore), takes=(name,))

    def _grants(self, catalog: str, acl: str, number: int, name: str) -> list[str]:
        granted = self._ask(_GRANTS, catalog=catalog, acl=acl, id=number)
        if not granted:
            return []
        taken = [f"REVOKE ALL ON {name} FROM PUBLIC"] if catalog == "pg_proc" else []
        return taken + [
            f"GRANT {row['privilege']} ON {name} TO {row['grantee']}" + (" WITH GRANT OPTION" if row["grantable"] else "")
            for row in granted
        ]

    def is_there(self, kind: str, place: Place) -> bool:
        if kind in ("procedure", "function"):
            sql = _ROUTINES + " WHERE n.nspname = ? AND p.proname = ? AND pg_get_function_identity_arguments(p.oid) = ?"
            return bool(self.db.query(sql, (place.schema, place.name, place.arguments)))
        if kind == "column":
            found = self.db.query("SELECT to_regclass(?)::oid::bigint AS id", (self._full(place.schema, place.name),))
            return bool(found[0]["id"] and self._ask(_COLUMN, (place.column,), id=found[0]["id"]))
        return self.has(self._full(place.schema, place.name))

    def has(self, name: str) -> bool:
        if not name:
            return True
        if name.endswith(")"):
            return bool(self.db.query("SELECT to_regprocedure(?)::oid::bigint AS id", (name,))[0]["id"])
        return bool(self.db.query("SELECT to_regclass(?)::oid::bigint AS id", (name,))[0]["id"])

    def taken(self, manifest: Manifest) -> list[str]:
        """Return which of the names that a restore needs are taken."""
        if manifest.is_text or manifest.kind == "column":
            return [str(manifest.place)] if self.is_there(manifest.kind, manifest.place) else []
        names = [(name, self._full(manifest.place.schema, name)) for name in manifest.takes]
        return [f"{manifest.place.schema}.{name}" for name, full in names if self.has(full)]

    def size(self, manifest: Manifest) -> int | None:
        if manifest.kind != "table":
            return None
        return self.db.query(_SIZE, (self._full(manifest.kept.schema, manifest.kept.name),))[0]["bytes"]

    def stale_versions(self) -> dict:
        counts = self.db.query("SELECT current_setting('track_functions') AS tracked")[0]["tracked"] != "none"
        rows = self.db.query(_LAST_USES) if counts else []
        return {(row["schema"], row["name"]): {"uses": row["uses"], "last_used_at": None} for row in rows}


def plain_folded(name: str) -> str:
    """Return a name as the catalog has it: unquoted ones in lower case."""
    return plain(name) if name.startswith('"') else name.lower()


def _trigger(trigger: dict, sql: str) -> dict:
    return {"name": trigger["name"], "needs": trigger["needs"], "sql": sql, "what": f"trigger {trigger['name']}"}


def _added(table: str, name: str, constraint: dict, needs: str) -> dict:
    definition = constraint["definition"]
    valid = "" if "NOT VALID" in definition else " NOT VALID"
    sql = f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}{valid}"
    return {"name": constraint["name"], "needs": needs, "sql": sql, "what": f"constraint {name}"}


def _validation(table: str, name: str, constraint: dict) -> dict:
    return _last(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}", f"validation of constraint {name}", constraint["name"])


def _last(sql: str, what: str, of: str = "") -> dict:
    return {"of": of, "sql": sql, "what": what}


def column_manifest(
    table: str, place: Place, column: dict, constraints: list[dict], indexes: list[dict], naming: Naming, quote
) -> Manifest:
    """Return how a column is kept under another name.

    Its new rows hold its default, or NULL. Plain indexes stay with it; so does a unique one, where NULLs do not collide. A check,
    a foreign key, a primary key, an exclusion, and a unique one in which new rows could collide are taken off.

    Parameters:
        table: its table's whole name, quoted.
        place: where it is.
        column, constraints, indexes: as the catalog tells of them.
        naming: gives the new name.
        quote: quotes a name.
    """
    there = Place(place.schema, place.name, naming(place.column, kept.PREFIX))
    counts_itself = bool(column["identity"]) or "nextval(" in (column["fallback"] or "")
    null_by_default = not column["fallback"] and not column["identity"]
    optional = bool(column["not_null"]) and null_by_default
    move, again, finish, notes = [], [], [], []
    for one in constraints:
        name = quote(one["name"])
        if one["type"] == "u" and ((null_by_default and not one["nulls_alike"]) or counts_itself):
            continue
        move.append(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        if one["type"] in ("c", "f"):
            again.append(_added(table, name, one, one["parent"] or ""))
            finish += [] if "NOT VALID" in one["definition"] else [_validation(table, name, one)]
        else:
            finish.append(_last(f"ALTER TABLE {table} ADD CONSTRAINT {name} {one['definition']}", f"constraint {name}"))
    for index in indexes:
        if not index["partial"] and ((null_by_default and not index["nulls_alike"]) or counts_itself):
            continue
        move.append(f"DROP INDEX {index['qualified']}")
        finish.append(_last(index["definition"], f"unique index {index['name']}"))
    if optional:
        alter = f"ALTER TABLE {table} ALTER COLUMN {quote(place.column)}"
        move.append(f"{alter} DROP NOT NULL")
        finish.insert(0, _last(f"{alter} SET NOT NULL", f"NOT NULL of {place.column}"))
        notes.append("Rows written since the contract hold NULL there, and NOT NULL comes back only once none does.")
    elif not null_by_default:
        notes.append("Rows written since the contract hold its default there.")
    else:
        notes.append("Rows written since the contract hold NULL there.")
    rename = f"ALTER TABLE {table} RENAME COLUMN {{}} TO {{}}"
    old, new = quote(place.column), quote(there.column)
    return Manifest(
        "column",
        place,
        there,
        (*move, rename.format(old, new)),
        (rename.format(new, old),),
        tuple(again),
        tuple(finish),
        (place.column,),
        (f"ALTER TABLE {table} DROP COLUMN {new}",),
        tuple(notes),
    )
