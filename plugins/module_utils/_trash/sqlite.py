# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps what is dropped on SQLite: tables and columns under another name, views as their text.

Facts relied on, from sqlite.org: RENAME TO and RENAME COLUMN write the schema alone; a view or trigger of another table that
names a renamed one is rewritten, but with PRAGMA legacy_alter_table it is left as it is, as behind DROP TABLE
(lang_altertable.html, pragma.html); index and trigger names are the whole database's; no ALTER TABLE takes a foreign key or a
NOT NULL off; whether foreign keys are enforced, each connection decides (foreignkeys.html), so that one of a kept table could
keep the application from deleting. DROP COLUMN refuses a column that anything else names; whether it would is tried on a copy of
the schema in memory.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from .._db import kept
from .drops import Drop, plain, written
from .keeper import Keeper, Naming
from .manifest import MISSING, NOTHING_LOST, Manifest, Place, Refusal, undecided

_OBJECT = "SELECT type, name, sql FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')"
_OF_TABLE = "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = ? AND type = ? AND sql IS NOT NULL ORDER BY rowid"
_COLUMNS = 'SELECT name, "notnull" AS not_null, dflt_value AS fallback, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid'
_PARENTS = 'SELECT "table" AS parent, "from" AS col FROM pragma_foreign_key_list(?)'
_SCHEMA = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"


class SqliteKeeper(Keeper):
    """Keeps what is dropped on SQLite."""

    longest_name = 120

    def manifest(self, drop: Drop, naming: Naming, doomed: frozenset) -> Manifest | Refusal:
        if len(drop.name) > 1 and plain(drop.name[0]).lower() != "main":
            return Refusal("it is in an attached or temporary database", written(drop.name))
        found = self.db.query(_OBJECT, (plain(drop.name[-1]),))
        if self.db.query("SELECT 1 FROM sqlite_temp_master WHERE name = ? COLLATE NOCASE", (plain(drop.name[-1]),)):
            return NOTHING_LOST
        if not found:
            return MISSING
        one = found[0]
        if one["type"] != ("view" if drop.kind == "view" else "table"):
            return MISSING
        place = Place("", one["name"])
        if drop.kind == "view":
            return Manifest("view", place, place, restore=(one["sql"], *self._of(one["name"], "trigger")), takes=(one["name"],))
        if one["sql"].upper().startswith("CREATE VIRTUAL"):
            return Refusal("it is a virtual table", str(place))
        if drop.kind == "column":
            return self._column(place, drop, naming)
        return self._table(place, one["sql"], naming)

    def _of(self, table: str, kind: str) -> list[str]:
        return [row["sql"] for row in self.db.query(_OF_TABLE, (table, kind))]

    def _table(self, place: Place, sql: str, naming: Naming) -> Manifest:
        there = Place("", naming(place.name, kept.PREFIX))
        old, new = self.db.quote(place.name), self.db.quote(there.name)
        named = [(kind, row["name"]) for kind in ("trigger", "index") for row in self._rows(place, kind)]
        own = [f"DROP {kind.upper()} {self.db.quote(name)}" for kind, name in named]
        again = [*self._of(place.name, "index"), *self._of(place.name, "trigger")]
        if any(row["parent"].lower() != place.name.lower() for row in self.db.query(_PARENTS, (place.name,))):
            columns = ", ".join(self.db.quote(row["name"]) for row in self.db.query(_COLUMNS, (place.name,)) if not row["hidden"])
            move = [f"CREATE TABLE {new} AS SELECT {columns} FROM {old}", f"DROP TABLE {old}"]
            restore = [sql, f"INSERT INTO {old} ({columns}) SELECT {columns} FROM {new}", *self._counter(place)]
            restore += [*again, f"DROP TABLE {new}"]
        else:
            move = [*own, *_renaming(old, new)]
            restore = [*_renaming(new, old), *again]
        takes = [place.name, *(name for _kind, name in named)]
        return Manifest("table", place, there, tuple(move), tuple(restore), takes=tuple(takes), purge=(f"DROP TABLE {new}",))

    def _counter(self, place: Place) -> list[str]:
        """Return what lets an AUTOINCREMENT go on where it was, so that no key is given twice; nothing without one."""
        if not self.db.query("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"):
            return []
        name = "'" + place.name.replace("'", "''") + "'"
        found = self.db.query("SELECT seq FROM sqlite_sequence WHERE name = ?", (place.name,))
        return [
            sql
            for row in found
            for sql in (
                f"DELETE FROM sqlite_sequence WHERE name = {name}",
                f"INSERT INTO sqlite_sequence (name, seq) VALUES ({name}, {int(row['seq'])})",
            )
        ]

    def _rows(self, place: Place, kind: str) -> list[dict]:
        return self.db.query(_OF_TABLE, (place.name, kind))

    def _column(self, place: Place, drop: Drop, naming: Naming) -> Manifest | Refusal:
        wanted = plain(drop.column).lower()
        column = next((row for row in self.db.query(_COLUMNS, (place.name,)) if row["name"].lower() == wanted), None)
        if column is None:
            return MISSING
        whole = Place("", place.name, column["name"])
        table, old = self.db.quote(place.name), self.db.quote(column["name"])
        if column["hidden"]:
            return Refusal("its values are computed from other columns, so that none is lost", str(whole))
        if not self._would_drop(f"ALTER TABLE {table} DROP COLUMN {old}"):
            return undecided(whole)
        if any(row["col"].lower() == wanted for row in self.db.query(_PARENTS, (place.name,))):
            return Refusal("its foreign key would go on to be enforced, and SQLite cannot take it off", str(whole))
        if column["not_null"] and column["fallback"] is None:
            return Refusal(
                "it is NOT NULL without a default, which SQLite cannot take off, so that inserts would fail", str(whole)
            )
        there = Place("", place.name, naming(column["name"], kept.PREFIX))
        rename = f"ALTER TABLE {table} RENAME COLUMN {{}} TO {{}}"
        new = self.db.quote(there.column)
        value = "its default" if column["fallback"] is not None else "NULL"
        return Manifest(
            "column",
            whole,
            there,
            (rename.format(old, new),),
            (rename.format(new, old),),
            takes=(column["name"],),
            purge=(f"ALTER TABLE {table} DROP COLUMN {new}",),
            notes=(f"Rows written since the contract hold {value} there.",),
        )

    def _would_drop(self, sql: str) -> bool:
        """Return whether SQLite would drop a column, tried on an empty copy of the schema."""
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
            try:
                for row in self.db.query(_SCHEMA):
                    copy.execute(row["sql"])
                copy.execute(sql)
            except sqlite3.Error:
                return False
        return True

    def is_there(self, kind: str, place: Place) -> bool:
        if kind == "column":
            wanted = place.column.lower()
            return any(row["name"].lower() == wanted for row in self.db.query(_COLUMNS, (place.name,)))
        return bool(self.db.query("SELECT 1 FROM sqlite_master WHERE name = ? COLLATE NOCASE", (place.name,)))

    def has(self, name: str) -> bool:
        return True

    def taken(self, manifest: Manifest) -> list[str]:
        """Return which of the names that a restore needs are taken."""
        if manifest.kind == "column":
            return [str(manifest.place)] if self.is_there("column", manifest.place) else []
        return [name for name in manifest.takes if self.is_there(manifest.kind, Place("", name))]


def _renaming(before: str, after: str) -> list[str]:
    """Return how a table is renamed so that nothing else is rewritten."""
    return ["PRAGMA legacy_alter_table = ON", f"ALTER TABLE {before} RENAME TO {after}", "PRAGMA legacy_alter_table = OFF"]
