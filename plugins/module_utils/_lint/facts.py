# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a script does, as plain data: the only thing that rules look at.

A statement becomes one fact for each thing it does: ``ALTER TABLE t ADD a int, DROP COLUMN b`` is an ``add_column`` and a
``drop_column``. The kinds, and what their facts hold beside ``table`` and ``name``:

==================  =========================================================================================================
kind                name, flags and values
==================  =========================================================================================================
create_table        columns (list of Column as dict), constraints (list of dicts as of add_constraint: type, name, ...); flags
                    temporary, if_not_exists, as_select
drop_table          flags if_exists, cascade, temporary
rename_table        to
truncate            flags cascade
lock_table          values mode
alter_table         a clause without a kind of its own: values action (its words in upper case), such as ``SET TABLESPACE x``,
                    ``SET LOGGED``, ``ENGINE = INNODB``, ``CONVERT TO CHARACTER SET utf8mb4``, ``ENABLE ROW LEVEL SECURITY``,
                    ``REBUILD``, ``SWITCH PARTITION``, ``ATTACH PARTITION``, ``DETACH PARTITION``, ``DISABLE TRIGGER``
add_column          name, column (Column as dict); flags if_not_exists
drop_column         name; flags if_exists, cascade
rename_column       name, to
alter_column        name, column (what is said of it; SQL Server and MySQL state the whole column, flag whole, and MySQL's CHANGE
                    may give it another name: to), using (PostgreSQL's expression); flags of what changes: type, set_not_null,
                    drop_not_null, set_default, drop_default, set_statistics, set_storage, set_generated, drop_identity,
                    set_expression, drop_expression, first, after
add_constraint      name, type (primary_key, unique, foreign_key, check, exclude, default, not_null), columns (list), references
                    (table), using_index (name), expression (text); flags not_valid (NOT VALID of PostgreSQL, WITH NOCHECK of SQL
                    Server), with_check, clustered, nonclustered, online, cascade
drop_constraint     name, type where the statement tells it; flags if_exists, cascade
validate_constraint name (ALL for every one; PostgreSQL's VALIDATE, SQL Server's WITH CHECK CHECK CONSTRAINT)
trust_constraint    name: SQL Server's CHECK CONSTRAINT without WITH CHECK, which leaves it untrusted
disable_constraint  name: SQL Server's NOCHECK CONSTRAINT
rename_constraint   name, to
create_index        name, columns (list of text), include (list), where (text), using (method); flags unique, concurrently,
                    only (ON ONLY a partitioned table), if_not_exists, online, resumable, clustered, columnstore, fulltext,
                    spatial, drop_existing
drop_index          name, flags concurrently, if_exists, cascade, online
rename_index        name, to
rebuild_index       name (ALL for every one); flags concurrently, online, resumable, reorganize, disable, and object (PostgreSQL's
                    REINDEX of a table, schema, database or system) in values
create_view, alter_view, create_materialized_view, refresh_materialized_view, drop_view, drop_materialized_view
                    name; columns (list of names where they can be told), body (text), reads (list of names); flags or_replace,
                    concurrently, if_exists, cascade, schemabinding
create_routine, alter_routine, drop_routine
                    name; routine (PROCEDURE, FUNCTION), parameters (list of dicts: name, type, has_default, mode), returns
                    (text), columns (names of its last result where they can be told), body (text), reads; arguments (text) of
                    a drop_routine that writes parentheses; flags or_replace, if_exists, cascade
create_trigger, alter_trigger, drop_trigger
                    name, table; body, reads, events (list: INSERT, UPDATE, DELETE), timing (BEFORE, AFTER, INSTEAD OF); flags
                    or_replace, if_exists, can_fail (it raises, throws, signals or rolls back)
rename_object       name, to, object (VIEW, FUNCTION, PROCEDURE, TYPE, SCHEMA, SEQUENCE, or empty: sp_rename does not say)
create_other, alter_other, drop_other
                    name, object (TYPE, DOMAIN, SEQUENCE, SCHEMA, DATABASE, EXTENSION, ROLE, POLICY, SYNONYM, PUBLICATION, ...),
                    action (the words behind the name, in upper case), flags if_exists, if_not_exists, cascade, or_replace
insert              reads; flags select (rows come from a query), columns (they are named), upsert (ON CONFLICT, ON
                    DUPLICATE KEY), identity_insert
update, delete      reads, where (text), limit (of TOP); flags where (it has a WHERE), bounded (TOP, LIMIT), joined
merge               reads
select              reads, hints (list, upper case: NOLOCK, INDEX(3), ...); flags into (SELECT ... INTO, with table), for_update
execute             name of the routine, values arguments (text); flag literal (its text was looked into)
dynamic             SQL text that is put together at run time and cannot be read: values text (the literal parts)
set                 name (in upper case: LOCK_TIMEOUT, XACT_ABORT, STATEMENT_TIMEOUT, SEARCH_PATH, ...), to (the value, in
                    upper case); flags local, global
begin, commit, rollback, savepoint
                    transaction control that the script writes itself
use                 to: another database
checkident          table; flag reseed (SQL Server's DBCC CHECKIDENT)
maintenance         action: VACUUM FULL, VACUUM, CLUSTER, ANALYZE, OPTIMIZE, ...; table
other               name: the statement's first words
==================  =========================================================================================================

Each fact of an ALTER TABLE, CREATE INDEX or DROP INDEX of MySQL and MariaDB has the ``algorithm``, ``lock`` and ``wait`` of the
statement in its values where they are written, in upper case; ADD INDEX, DROP INDEX and ADD PRIMARY KEY within ALTER TABLE are
create_index, drop_index and add_constraint there. Facts about queries (``reads``, ``hints``) also come from the bodies of views
and routines; whatever such a body does when it is called is not a fact of the script.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Column:
    """A column as a statement writes it.

    Attributes:
        name: without quotes.
        type: in upper case with single spaces, as ``NUMERIC(10, 2)``; empty where it is not said.
        flags: of not_null, null, default, primary_key, unique, clustered, identity (IDENTITY, AUTO_INCREMENT, GENERATED AS
            IDENTITY), generated (computed from other columns), stored (PERSISTED, STORED), references, check, not_valid,
            with_values, first, after, collate, sparse, rowguid, named (one of its constraints has a name).
        default: the default's text.
        references: the table that an inline foreign key names.
    """

    name: str
    type: str = ""
    flags: tuple = ()
    default: str = ""
    references: str = ""

    def as_dict(self) -> dict:
        return {**asdict(self), "flags": list(self.flags)}

    def has(self, *flags: str) -> bool:
        """Return whether any of these flags is set."""
        return any(flag in self.flags for flag in flags)


@dataclass(frozen=True)
class Fact:
    """One thing that a script does.

    Attributes:
        kind: one of the kinds in the table above.
        line, column: where the statement, or the clause of it, begins in the file; from 1.
        table: the table concerned, without quotes, with its schema where that is written: ``dbo.Order``.
        name: the object concerned below or beside the table.
        to: the new name or value.
        flags: see the table above.
        values: see the table above; nothing but what JSON knows.
        statement: which statement of the script (batch, on SQL Server) it stands in, from 0.
        guarded: an IF decides whether it runs.
        within: of ``loop``, ``try``, ``block`` (DO, BEGIN ... END of a procedural language), ``dynamic`` (a literal that is
            executed), outermost first.
    """

    kind: str
    line: int
    column: int
    table: str = ""
    name: str = ""
    to: str = ""
    flags: tuple = ()
    values: dict = field(default_factory=dict)
    statement: int = 0
    guarded: bool = False
    within: tuple = ()

    def has(self, *flags: str) -> bool:
        """Return whether any of these flags is set."""
        return any(flag in self.flags for flag in flags)

    @property
    def columns(self) -> list[Column]:
        """The columns of a create_table, or the one of an add_column or alter_column."""
        written = self.values.get("columns", []) if self.kind == "create_table" else [self.values.get("column")]
        return [Column(**{**column, "flags": tuple(column["flags"])}) for column in written if column]

    @property
    def spec(self) -> Column:
        """The column of an add_column or alter_column; an empty one where nothing is said of it."""
        return (self.columns or [Column(self.name)])[0]

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def of(cls, stored: dict) -> Fact:
        """Return the fact that :meth:`as_dict` has made, also behind JSON."""
        return cls(**{**stored, "flags": tuple(stored["flags"]), "within": tuple(stored["within"])})


@dataclass(frozen=True)
class Unread:
    """A place where the parser gave up: line, column and the text it could not read, shortened."""

    line: int
    column: int
    text: str


@dataclass(frozen=True)
class ScriptFacts:
    """Everything that rules know of one script.

    Attributes:
        source: its name for messages.
        phase: expand, contract, repeatable or tests.
        version: of its file name; empty for a repeatable script.
        transaction: it runs in one transaction (an engine whose DDL commits by itself never does).
        idempotent: its header says that every statement may run twice.
        allow: the rules its comments waive, as of :class:`.._db.script.Allowance`.
        ends: the last line of each statement (of each batch, on SQL Server).
        facts: in the order of the text.
        unread: what could not be read.
    """

    source: str
    phase: str
    version: str = ""
    transaction: bool = True
    idempotent: bool = False
    allow: tuple = ()
    ends: tuple = ()
    facts: tuple = ()
    unread: tuple = ()


def bare(name: str) -> str:
    """Return the last part of a dotted name, lower case: the engines compare without case, or fold what is not quoted."""
    return name.rpartition(".")[2].lower()


def same_name(one: str, other: str) -> bool:
    """Return whether two names can mean the same object: the parts that both of them write are equal, whatever the case."""
    left, right = one.lower().split("."), other.lower().split(".")
    return all(a == b for a, b in zip(reversed(left), reversed(right)))
