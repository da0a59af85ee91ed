# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads statements about indexes."""

from __future__ import annotations

from .collect import Collector
from .tokens import Cursor, Token, split_commas, text_of

_KINDS = {
    "UNIQUE": "unique",
    "CLUSTERED": "clustered",
    "NONCLUSTERED": "nonclustered",
    "COLUMNSTORE": "columnstore",
    "FULLTEXT": "fulltext",
    "SPATIAL": "spatial",
    "PRIMARY": "primary",
    "XML": "xml",
}
_OPTIONS = (
    (("ONLINE", "=", "ON"), "online"),
    (("RESUMABLE", "=", "ON"), "resumable"),
    (("DROP_EXISTING", "=", "ON"), "drop_existing"),
)


def _options(cursor: Cursor) -> tuple:
    return tuple(flag for words, flag in _OPTIONS if cursor.has(*words))


def _mysql_options(cursor: Cursor) -> dict:
    found = {}
    tokens = [token for token in cursor.tokens[cursor.position :] if token.text != "="]
    for token, value in zip(tokens, tokens[1:]):
        if token.upper in ("ALGORITHM", "LOCK", "WAIT"):
            found[token.upper.lower()] = value.text.upper()
    return found


def index_kind(cursor: Cursor) -> tuple | None:
    """Read the words between CREATE and INDEX, and INDEX itself; None, and nothing is read, when it is no index."""
    begin, flags = cursor.position, []
    while True:
        word = cursor.take_one(*_KINDS)
        if not word:
            break
        flags.append(_KINDS[word])
    if cursor.take("INDEX"):
        return tuple(flags)
    cursor.position = begin
    return None


def read_create_index(cursor: Cursor, out: Collector, at: Token, flags: tuple) -> None:
    """Read what stands behind CREATE ... INDEX."""
    flags += ("concurrently",) if cursor.take("CONCURRENTLY") else ()
    flags += cursor.take_if_exists()
    name = "" if cursor.peek("ON") else cursor.name()
    using = ""
    if cursor.take("USING"):
        using = cursor.name()
    cursor.until("ON")
    cursor.skip()
    flags += ("only",) if cursor.take("ONLY") else ()
    table = cursor.name()
    if cursor.take("USING"):
        using = cursor.name()
    columns = [text_of(part) for part in split_commas(cursor.group() or [])]
    include = []
    if cursor.take("INCLUDE"):
        include = [text_of(part) for part in split_commas(cursor.group() or [])]
    flags += _options(cursor)
    values = _mysql_options(cursor) if out.engine in ("mysql", "mariadb") else {}
    cursor.until("WHERE")
    where = text_of(cursor.until("WITH")[1:]) if cursor.peek("WHERE") else ""
    cursor.doubtful |= not table or (not columns and "columnstore" not in flags)
    out.add("create_index", at, table, name, flags=flags, columns=columns, include=include, where=where, using=using, **values)


def read_drop_index(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read what stands behind DROP INDEX."""
    flags = ("concurrently",) if cursor.take("CONCURRENTLY") else ()
    flags += cursor.take_if_exists() + _options(cursor)
    flags += ("cascade",) if cursor.has("CASCADE") else ()
    values = _mysql_options(cursor)
    for part in split_commas(cursor.rest()):
        inner = Cursor(part)
        name, table = inner.name(), ""
        if inner.take("ON"):
            table = inner.name()
        elif out.engine == "sqlserver" and "." in name:  # the old form: DROP INDEX table.index
            table, _dot, name = name.rpartition(".")
        if name:
            out.add("drop_index", at, table, name, flags=flags, **values)


def read_alter_index(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read what stands behind ALTER INDEX: SQL Server's REBUILD and its siblings, PostgreSQL's RENAME and the rest."""
    exists = cursor.take_if_exists()
    name = cursor.name()
    table = cursor.name() if cursor.take("ON") else ""
    flags = exists + _options(cursor)
    if cursor.take("RENAME", "TO"):
        out.add("rename_index", at, table, name, cursor.name(), flags)
    elif cursor.take("REBUILD"):
        out.add("rebuild_index", at, table, name, flags=flags)
    elif cursor.take("REORGANIZE"):
        out.add("rebuild_index", at, table, name, flags=(*flags, "reorganize"))
    elif cursor.take("DISABLE"):
        out.add("rebuild_index", at, table, name, flags=(*flags, "disable"))
    else:
        out.add("alter_other", at, table, name, flags=flags, object="INDEX", action=text_of(cursor.rest()).upper())
    cursor.rest()


def read_reindex(cursor: Cursor, out: Collector, at: Token) -> None:
    """Read what stands behind REINDEX."""
    options = cursor.group() or []
    of_what = cursor.take_one("INDEX", "TABLE", "SCHEMA", "DATABASE", "SYSTEM")
    flags = ("concurrently",) if cursor.take("CONCURRENTLY") or Cursor(options).has("CONCURRENTLY") else ()
    name = cursor.name()
    out.add("rebuild_index", at, name if of_what == "TABLE" else "", name, flags=flags, object=of_what)
