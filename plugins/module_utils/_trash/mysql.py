# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps what is dropped on MariaDB and MySQL: tables and columns under another name in their database, code as its text.

Facts relied on, from both manuals and tried on MariaDB 10.11: one ALTER TABLE happens wholly or not at all (MariaDB 10.6, MySQL
8.0), whatever its actions; ALGORITHM=NOCOPY (MariaDB) and INPLACE (MySQL) make it an error where rows would be copied; renaming a
column, its default, and INVISIBLE are a change of the catalog (MariaDB 10.5, MySQL 8.0.28), making it NULL is not; an invisible
column is not part of SELECT * nor of an INSERT without names; a rename takes triggers along inside a database and rewrites no
view; foreign keys of other tables follow the parent; with foreign_key_checks=0 a foreign key is added without a look at the rows;
RENAME COLUMN rewrites checks and indexes where DROP COLUMN would refuse or reshape them.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Iterator

from .._db import kept
from .._db.errors import DatabaseError
from .._db.lexis import Lexis, tokens
from .drops import Drop, plain
from .keeper import Keeper, Naming
from .manifest import MISSING, Manifest, Place, Refusal, undecided

_RELATION = (
    "SELECT table_schema AS `schema`, table_name AS name, table_type AS type, create_options AS options"
    " FROM information_schema.tables WHERE table_schema = {schema} AND table_name = ?"
)
_TABLES = ("BASE TABLE", "SYSTEM VERSIONED")
_FOREIGN_KEYS = (
    "SELECT constraint_name AS name, column_name AS col, referenced_table_schema AS parent_schema,"
    " referenced_table_name AS parent, referenced_column_name AS parent_col FROM information_schema.key_column_usage"
    " WHERE table_schema = ? AND table_name = ? AND referenced_table_name IS NOT NULL ORDER BY constraint_name, ordinal_position"
)
_CHILDREN = (
    "SELECT column_name AS col, referenced_column_name AS parent_col, table_schema AS `schema`, table_name AS name"
    " FROM information_schema.key_column_usage WHERE referenced_table_schema = ? AND referenced_table_name = ?"
)
_COLUMN = (
    "SELECT column_name AS name, is_nullable AS nullable, column_default AS fallback, extra, lower(data_type) AS type,"
    " column_type AS whole_type, generation_expression AS expression FROM information_schema.columns"
    " WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position"
)
_INDEXES = (
    "SELECT index_name AS name, non_unique AS plain, column_name AS col{expression} FROM information_schema.statistics"
    " WHERE table_schema = ? AND table_name = ? ORDER BY index_name, seq_in_index"
)
_CHECKS = {
    "mariadb": (
        "SELECT constraint_name AS name, check_clause AS clause, level FROM information_schema.check_constraints"
        " WHERE constraint_schema = ? AND table_name = ?"
    ),
    "mysql": (
        "SELECT c.constraint_name AS name, c.check_clause AS clause, 'Table' AS level FROM information_schema.check_constraints c"
        " JOIN information_schema.table_constraints t ON t.constraint_schema = c.constraint_schema"
        " AND t.constraint_name = c.constraint_name WHERE t.table_schema = ? AND t.table_name = ?"
    ),
}
_PARTITIONS = (
    "SELECT DISTINCT concat_ws(' ', partition_expression, subpartition_expression) AS expression"
    " FROM information_schema.partitions WHERE table_schema = ? AND table_name = ? AND partition_name IS NOT NULL"
)
_ROUTINE = (
    "SELECT routine_schema AS `schema`, routine_name AS name FROM information_schema.routines"
    " WHERE routine_schema = {schema} AND routine_name = ? AND routine_type = ?"
)
_SIZE = "SELECT data_length + index_length AS bytes FROM information_schema.tables WHERE table_schema = ? AND table_name = ?"
# What a column holds in new rows that is NOT NULL without a default, by its type; making it NULL would copy the table.
_STAND_INS = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit"), "0"),
    **dict.fromkeys(("char", "varchar", "binary", "varbinary"), "''"),
    **dict.fromkeys(("tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob"), "('')"),
    "date": "'1970-01-01'",
    "datetime": "'1970-01-01 00:00:00'",
    "timestamp": "'1970-01-01 00:00:01'",
    "time": "'00:00:00'",
    "year": "'1970'",
    "set": "''",
}


class MysqlKeeper(Keeper):
    """Keeps what is dropped on MariaDB and MySQL."""

    @property
    def _algorithm(self) -> str:
        return "ALGORITHM=NOCOPY" if self.db.name == "mariadb" else "ALGORITHM=INPLACE"

    def _full(self, *parts: str) -> str:
        return ".".join(self.db.quote(part) for part in parts)

    def manifest(self, drop: Drop, naming: Naming, doomed: frozenset) -> Manifest | Refusal:
        name = [plain(part) for part in drop.name]
        schema, values = ("?", (name[0],)) if len(name) > 1 else ("DATABASE()", ())
        if drop.kind in ("procedure", "function"):
            found = self.db.query(_ROUTINE.format(schema=schema), (*values, name[-1], drop.kind.upper()))
            return self._routine(drop.kind, Place(found[0]["schema"], found[0]["name"])) if found else MISSING
        found = self.db.query(_RELATION.format(schema=schema), (*values, name[-1]))
        if not found:
            return MISSING
        place = Place(found[0]["schema"], found[0]["name"])
        if drop.kind == "view":
            return self._view(place) if found[0]["type"] == "VIEW" else MISSING
        if found[0]["type"] not in _TABLES:
            return MISSING
        return self._table(place, naming) if drop.kind == "table" else self._column(place, plain(drop.column), naming)

    def _keys(self, place: Place) -> list[dict]:
        """Return the foreign keys of a table to other tables, each with its columns."""
        found: dict[str, dict] = {}
        for row in self.db.query(_FOREIGN_KEYS, (place.schema, place.name)):
            if (row["parent_schema"], row["parent"]) == (place.schema, place.name):
                continue
            key = found.setdefault(row["name"], {**row, "columns": [], "parent_columns": []})
            key["columns"].append(row["col"])
            key["parent_columns"].append(row["parent_col"])
        return list(found.values())

    def _table(self, place: Place, naming: Naming) -> Manifest | Refusal:
        children = self.db.query(_CHILDREN, (place.schema, place.name))
        if any((row["schema"], row["name"]) != (place.schema, place.name) for row in children):
            return undecided(place)
        there = Place(place.schema, naming(place.name, kept.PREFIX))
        old, new = self._full(place.schema, place.name), self._full(there.schema, there.name)
        keys = self._keys(place)
        actions = [*(f"DROP FOREIGN KEY {self.db.quote(key['name'])}" for key in keys), f"RENAME TO {new}"]
        return Manifest(
            "table",
            place,
            there,
            (f"ALTER TABLE {old} {', '.join([*actions, self._algorithm])}",),
            (f"ALTER TABLE {new} {{constraints}}RENAME TO {old}, ALGORITHM=INPLACE",),
            tuple(
                {
                    "name": key["name"],
                    "needs": self._full(key["parent_schema"], key["parent"]),
                    "sql": f"ADD {self._line(place, 'CONSTRAINT ' + self.db.quote(key['name']))}",
                    "what": f"foreign key {key['name']}",
                }
                for key in keys
            ),
            tuple(
                {"of": key["name"], "sql": self._orphans(old, key), "what": f"foreign key {key['name']}", "rows": True}
                for key in keys
            ),
            (place.name,),
            (f"DROP TABLE {new}",),
        )

    def _orphans(self, table: str, key: dict) -> str:
        """Return the query for a row that refers to one that is gone."""
        quote = self.db.quote
        pairs = list(zip(key["columns"], key["parent_columns"]))
        same = " AND ".join(f"p.{quote(b)} = c.{quote(a)}" for a, b in pairs)
        known = " AND ".join(f"c.{quote(a)} IS NOT NULL" for a, _b in pairs)
        parent = self._full(key["parent_schema"], key["parent"])
        return f"SELECT 1 AS one FROM {table} c WHERE {known} AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE {same}) LIMIT 1"

    def _column(self, place: Place, name: str, naming: Naming) -> Manifest | Refusal:
        columns = self.db.query(_COLUMN, (place.schema, place.name))
        for row in columns:  # MariaDB says NULL in so many words
            row["fallback"] = None if row["fallback"] == "NULL" else row["fallback"]
        column = next((row for row in columns if row["name"].lower() == name.lower()), None)
        if column is None:
            return MISSING
        whole = Place(place.schema, place.name, column["name"])
        if self._is_named_elsewhere(whole, columns):
            return undecided(whole)
        extra = (column["extra"] or "").upper()
        if "GENERATED" in extra.replace("DEFAULT_GENERATED", ""):
            return Refusal("its values are computed from other columns, so that none is lost", str(whole))
        indexes = self._indexes(place)
        mine = {key: value for key, value in indexes.items() if any(c.lower() == name.lower() for c in value["columns"])}
        shared = [key for key, value in mine.items() if len(value["columns"]) > 1 or key == "PRIMARY"]
        if shared or "AUTO_INCREMENT" in extra:
            what = f"the index {shared[0]}" if shared else "the counter of its table"
            return Refusal(f"it is part of {what}, which dropping it would reshape", str(whole))
        line = self._definition(place, column["name"])
        if line is None:
            return Refusal("SHOW CREATE TABLE does not show it", str(whole))
        stand_in = ""
        if column["nullable"] != "YES" and column["fallback"] is None:
            stand_in = self._stand_in(column)
            if not stand_in or any(token.text.upper() == "CHECK" for token in tokens(line, self.db.lexis, "")):
                return Refusal(f"it is NOT NULL without a default, and no value of {column['type']} can stand in", str(whole))
        return self._column_manifest(whole, column, line, mine, stand_in, naming)

    def _column_manifest(self, place: Place, column: dict, line: str, indexes: dict, stand_in: str, naming: Naming) -> Manifest:
        there = Place(place.schema, place.name, naming(place.column, kept.PREFIX))
        table, new = self._full(place.schema, place.name), self.db.quote(there.column)
        defaults = column["fallback"] is not None or bool(stand_in)
        unique = [name for name, index in indexes.items() if not index["plain"] and defaults]
        actions = [f"DROP INDEX {self.db.quote(name)}" for name in unique]
        actions.append(f"CHANGE COLUMN {self.db.quote(place.column)} {new} {_hidden(line, stand_in, self.db.lexis)}")
        value = f"{stand_in.strip('()')} as a stand-in" if stand_in else "its default" if defaults else "NULL"
        return Manifest(
            "column",
            place,
            there,
            (f"ALTER TABLE {table} {', '.join([*actions, self._algorithm])}",),
            (f"ALTER TABLE {table} CHANGE COLUMN {new} {self.db.quote(place.column)} {line}, {self._algorithm}",),
            finish=tuple(
                {
                    "of": "",
                    "sql": f"ALTER TABLE {table} ADD UNIQUE INDEX {self.db.quote(name)} ({self.db.quote(place.column)})",
                    "what": f"unique index {name}",
                }
                for name in unique
            ),
            takes=(place.column,),
            purge=(f"ALTER TABLE {table} DROP COLUMN {new}",),
            notes=(f"Rows written since the contract hold {value} there.",),
        )

    def _is_named_elsewhere(self, place: Place, columns: list[dict]) -> bool:
        """Return whether a foreign key, a check, a computed column or a partition names a column: the server decides then."""
        name = place.column.lower()
        if any(name in map(str.lower, key["columns"]) for key in self._keys(place)):
            return True
        rows = self.db.query(_CHILDREN, (place.schema, place.name))
        if any(name == row["parent_col"].lower() or (row["name"] == place.name and name == row["col"].lower()) for row in rows):
            return True
        texts = [row["expression"] for row in columns if row["expression"] and row["name"].lower() != name]
        texts += [row["expression"] for row in self.db.query(_PARTITIONS, (place.schema, place.name))]
        checks = self.db.query(_CHECKS[self.db.name], (place.schema, place.name))
        texts += [row["clause"] for row in checks if row["level"] != "Column"]
        texts += [index["expression"] for index in self._indexes(place).values() if index["expression"]]
        return any(re.search(rf"(?i)(?<![\w$]){re.escape(name)}(?![\w$])", text) for text in texts if text)

    def _indexes(self, place: Place) -> dict[str, dict]:
        found: dict[str, dict] = {}
        expression = ", expression" if self.db.name == "mysql" else ", NULL AS expression"
        for row in self.db.query(_INDEXES.format(expression=expression), (place.schema, place.name)):
            index = found.setdefault(row["name"], {"plain": bool(int(row["plain"])), "columns": [], "expression": ""})
            index["columns"].append(row["col"] or "")
            index["expression"] += row["expression"] or ""
        return found

    def _line(self, place: Place, beginning: str) -> str | None:
        """Return the line of SHOW CREATE TABLE that begins like this, None without one."""
        text = self.db.query(f"SHOW CREATE TABLE {self._full(place.schema, place.name)}")[0]["create table"]
        lines = (line.strip().rstrip(",") for line in text.split("\n"))
        return next((line for line in lines if line.lower().startswith(f"{beginning} ".lower())), None)

    def _definition(self, place: Place, column: str) -> str | None:
        """Return how SHOW CREATE TABLE defines a column, without its name."""
        line = self._line(place, self.db.quote(column))
        return line and line[len(self.db.quote(column)) + 1 :]

    def _stand_in(self, column: dict) -> str:
        if column["type"] == "enum":
            match = re.match(r"(?i)enum\(('(?:[^']|'')*')", column["whole_type"])
            return match.group(1) if match else ""
        return _STAND_INS.get(column["type"], "")

    def _view(self, place: Place) -> Manifest | Refusal:
        text = self._shown("VIEW", place, "create view")
        if text is None:
            return Refusal("this user may not see its text (SHOW VIEW)", str(place))
        return Manifest("view", place, place, restore=(text,), takes=(place.name,))

    def _routine(self, kind: str, place: Place) -> Manifest | Refusal:
        row = self.db.query(f"SHOW CREATE {kind.upper()} {self._full(place.schema, place.name)}")[0]
        text = row[f"create {kind}"]
        if not text:
            return Refusal("this user may not see its text", str(place))
        mode = (row["sql_mode"] or "").replace("'", "''")
        return Manifest(
            kind, place, place, restore=(f"SET SESSION sql_mode = '{mode}'", text), takes=(place.name,), notes=(_RIGHTS,)
        )

    def _shown(self, kind: str, place: Place, column: str) -> str | None:
        try:
            return self.db.query(f"SHOW CREATE {kind} {self._full(place.schema, place.name)}")[0][column]
        except DatabaseError:
            return None

    def is_there(self, kind: str, place: Place) -> bool:
        if kind in ("procedure", "function"):
            return bool(self.db.query(_ROUTINE.format(schema="?"), (place.schema, place.name, kind.upper())))
        if kind == "column":
            found = self.db.query(_COLUMN, (place.schema, place.name))
            return any(row["name"].lower() == place.column.lower() for row in found)
        return bool(self.db.query(_RELATION.format(schema="?"), (place.schema, place.name)))

    def taken(self, manifest: Manifest) -> list[str]:
        return [str(manifest.place)] if self.is_there(manifest.kind, manifest.place) else []

    def has(self, name: str) -> bool:
        schema, table = (plain(part) for part in re.findall(r"`(?:[^`]|``)+`", name))
        return self.is_there("table", Place(schema, table))

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Let foreign keys be added without a look at the rows, which is taken afterwards."""
        self.db.execute("SET SESSION foreign_key_checks = 0")
        try:
            yield
        finally:
            self.db.execute("SET SESSION foreign_key_checks = 1")
            self.db.reset_session()

    def size(self, manifest: Manifest) -> int | None:
        if manifest.kind != "table":
            return None
        rows = self.db.query(_SIZE, (manifest.kept.schema, manifest.kept.name))
        return int(rows[0]["bytes"] or 0) if rows else None


_RIGHTS = "What users were granted on it does not come back."


def _hidden(line: str, stand_in: str, lexis: Lexis) -> str:
    """Return a column's definition so that no statement that does not name it minds it.

    A check of its own goes, and the definition is otherwise as it was, so that nothing is copied.
    """
    words = {token.text.upper(): token.start for token in tokens(line, lexis, "") if token.kind == "word"}
    line = line[: words["CHECK"]].rstrip() if "CHECK" in words else line
    comment = words.get("COMMENT", len(line))
    head, tail = line[:comment].rstrip(), line[comment:]
    hidden = "" if "INVISIBLE" in words else " INVISIBLE"
    default = f" DEFAULT {stand_in}" if stand_in else ""
    return f"{head}{default}{hidden} {tail}".rstrip()
