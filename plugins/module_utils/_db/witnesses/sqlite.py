# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a SQLite file tells of who uses what: its schema alone, since there is no server that could count.

Facts relied on, from sqlite.org: sqlite_master keeps each statement as it was written ("The Schema Table"); hidden is 2 or 3 of a
generated column in table_xinfo (pragma.html).
"""

from __future__ import annotations

import re

from .base import Edge, Module, Witness

_REFERENCES = (
    'SELECT m.name, f."table" AS target, f."to" AS col FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f'
    " WHERE m.type = 'table'"
)
_COMPUTED = (
    "SELECT DISTINCT m.name FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c WHERE m.type = 'table' AND c.hidden > 1"
)
_AS = re.compile(r"(?i)\bas\s*\(")


class SqliteWitness(Witness):
    """The schema of one file."""

    has_sessions = False
    has_counters = False

    def edges(self) -> list[Edge]:
        rows = self.db.query(_REFERENCES)
        return [Edge("constraint", "a foreign key", row["name"], row["target"], row["col"] or "") for row in rows]

    def modules(self) -> list[Module]:
        found = [
            Module(row["type"], row["name"], row["sql"], ((row["tbl_name"], ""),) if row["type"] == "trigger" else ())
            for row in self.db.query("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type IN ('view', 'trigger')")
        ]
        for row in self.db.query(_COMPUTED):
            sql = self.db.query("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (row["name"],))[0]["sql"]
            found.append(Module("column", f"a generated column of {row['name']}", _computations(sql), ((row["name"], ""),)))
        return found


def _computations(sql: str) -> str:
    """Return what stands in the parentheses behind each AS of a CREATE TABLE."""
    found = []
    for match in _AS.finditer(sql):
        depth, end = 1, match.end()
        while end < len(sql) and depth:
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        found.append(sql[match.end() : end - 1])
    return "; ".join(found)
