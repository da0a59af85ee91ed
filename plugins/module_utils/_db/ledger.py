# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection's own tables in the application's database: names, creation and upgrade, events, fencing."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass

from .engines.base import Engine
from .errors import DatabaseError, LeaseLost, LockTimeout
from .lexis import split
from .questions import questions_of
from .who import whoami

PHASES = ("expand", "contract")
HISTORIES = (*PHASES, "repeatable")
_TABLES = ("lease", "release", "member", "event", "backfill", "usage", "probe", "trash")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_CREATE_SECONDS = 15.0

LEDGER_SPEC = {
    "expand_history_table": {"type": "str"},
    "contract_history_table": {"type": "str"},
}


@dataclass(frozen=True)
class Names:
    """The names of the collection's own tables, unquoted."""

    prefix: str
    expand_history: str
    contract_history: str

    @property
    def steps(self) -> str:
        return f"{self.prefix}ledger"

    @property
    def lease(self) -> str:
        return f"{self.prefix}lease"

    @property
    def release(self) -> str:
        return f"{self.prefix}release"

    @property
    def member(self) -> str:
        return f"{self.prefix}member"

    @property
    def backfill(self) -> str:
        return f"{self.prefix}backfill"

    @property
    def event(self) -> str:
        return f"{self.prefix}event"

    @property
    def usage(self) -> str:
        return f"{self.prefix}usage"

    @property
    def probe(self) -> str:
        return f"{self.prefix}probe"

    @property
    def trash(self) -> str:
        return f"{self.prefix}trash"

    def history(self, phase: str) -> str:
        own = {"expand": self.expand_history, "contract": self.contract_history}
        return own.get(phase) or f"{self.prefix}{phase}_history"

    @classmethod
    def of(cls, params: dict) -> Names:
        """Return the names that the options ask for.

        Raises:
            DatabaseError: a name is not a plain identifier.
        """
        prefix = params["table_prefix"]
        names = cls(
            prefix,
            params.get("expand_history_table") or f"{prefix}expand_history",
            params.get("contract_history_table") or f"{prefix}contract_history",
        )
        given = {
            "table_prefix": prefix or "everup_",
            "schema": params["schema"] or "public",
            "expand_history_table": params.get("expand_history_table") or "x",
            "contract_history_table": params.get("contract_history_table") or "x",
        }
        for option, name in given.items():
            if not _IDENTIFIER.fullmatch(name):
                raise DatabaseError(f"{option} is '{name}': it must be at most 63 letters, digits and underscores.")
        own = [names.steps, *(getattr(names, table) for table in _TABLES)]
        tables = [*own, *(names.history(history) for history in HISTORIES)]
        long = [table for table in tables if not _IDENTIFIER.fullmatch(table)]
        if long:
            raise DatabaseError(f"table_prefix '{prefix}' is too long: {long[0]} would have more than 63 characters.")
        twice = sorted({table for table in tables if [other.lower() for other in tables].count(table.lower()) > 1})
        if twice:
            raise DatabaseError(f"{' and '.join(twice)} would be one table for two purposes: give them names of their own.")
        return names


# Every step is applied once, in order, and never edited after it was released: the ledger upgrades itself.
# {types} of the engine, {t.<table>} quoted names. A new step goes to the end.
# Where schema changes do not roll back, a step that was killed goes on by asking the catalog: every statement is one that
# questions_of() understands, or one that may run twice.
_STEPS = (
    (
        "CREATE TABLE {release} (id {count} NOT NULL PRIMARY KEY, version {name} NOT NULL, state {name} NOT NULL,"
        " reached {name} NOT NULL, schema_version {name}, plan_hash {name}, reason {text}, opened_by {name},"
        " opened_at {time}, expanding_at {time}, expanded_at {time}, rolling_at {time}, rolled_at {time},"
        " contracting_at {time}, contracted_at {time}, rolling_back_at {time}, rolled_back_at {time},"
        " failed_at {time}, aborted_at {time})",
        "CREATE TABLE {lease} (name {name} NOT NULL PRIMARY KEY, token {count} NOT NULL, release_id {count},"
        " holder {name}, holder_process {text}, taken_at {time}, renewed_at {time}, expires_at {time})",
        "INSERT INTO {lease} (name, token) SELECT 'release', 0 FROM (SELECT 1 AS one) AS once"
        " WHERE NOT EXISTS (SELECT 1 FROM {lease})",
        "CREATE TABLE {member} (release_id {count} NOT NULL, host {name} NOT NULL, web_group {name} NOT NULL,"
        " state {name} NOT NULL, version_before {name}, version_after {name}, reason {text}, planned_at {time},"
        " changed_at {time}, PRIMARY KEY (release_id, host))",
        "CREATE TABLE {event} (id {serial}, at {time} NOT NULL, who {name} NOT NULL, what {name} NOT NULL,"
        " release_id {count}, subject {name}, detail {text})",
    ),
    (
        "CREATE TABLE {backfill} (version {name} NOT NULL PRIMARY KEY, description {text} NOT NULL, definition {text} NOT NULL,"
        " checksum {name} NOT NULL, state {name} NOT NULL, watermark {text}, end_key {text}, sweep {count} NOT NULL,"
        " rows_changed {count} NOT NULL, rows_seen {count} NOT NULL, row_estimate {count}, rows_left {count},"
        " batch_size {count} NOT NULL, batches {count} NOT NULL, started_at {time} NOT NULL, finished_at {time},"
        " applied_by {name} NOT NULL, release_version {name}, error {text})",
    ),
    (
        "CREATE TABLE {usage} (id {serial}, taken_at {time} NOT NULL, source {name} NOT NULL, object {name} NOT NULL,"
        " uses {count}, last_used_at {time}, counted_since {name})",
        "CREATE TABLE {probe} (id {serial}, run {name} NOT NULL, release_id {count}, target {text} NOT NULL,"
        " started_at {time} NOT NULL, ended_at {time} NOT NULL, requests {count} NOT NULL, failed {count} NOT NULL,"
        " downtime_ms {count} NOT NULL, longest_gap_ms {count} NOT NULL, detail {text} NOT NULL)",
        "CREATE TABLE {trash} (id {serial}, release_version {name}, script {name}, kind {name} NOT NULL, object {name} NOT NULL,"
        " kept_as {name} NOT NULL, manifest {text} NOT NULL, state {name} NOT NULL, dropped_at {time} NOT NULL,"
        " purge_after {time}, changed_at {time} NOT NULL, changed_by {name} NOT NULL)",
    ),
)
_HISTORY = (
    "CREATE TABLE {table} (version {name} NOT NULL PRIMARY KEY, description {text} NOT NULL, script {text} NOT NULL,"
    " checksum {name} NOT NULL, state {name} NOT NULL, statements_done {count} NOT NULL,"
    " statements_total {count} NOT NULL, started_at {time} NOT NULL, finished_at {time}, applied_by {name} NOT NULL,"
    " release_version {name}, error {text})"
)


class Ledger:
    """Access to the collection's own tables on one connection.

    Parameters:
        db: the engine.
        names: the tables' names.
    """

    def __init__(self, db: Engine, names: Names) -> None:
        self.db = db
        self.names = names
        db.settle_schema(names.steps)

    def exists(self) -> bool:
        """Return whether the ledger was created in this database."""
        return self.db.table_exists(self.names.steps)

    def history_exists(self, phase: str) -> bool:
        """Return whether a phase has its history table."""
        return self.db.table_exists(self.names.history(phase))

    def ensure(self) -> None:
        """Create the tables on first use and bring an older ledger up to this version.

        Safe when several processes do it at once: the session lock lets one in, the others find it done.

        Raises:
            DatabaseError: the ledger was written by a newer everup.deploy, or the tables cannot be created.
        """
        if self._is_current():
            return
        lock = f"everup ledger {self.names.steps}"
        deadline = time.monotonic() + _CREATE_SECONDS
        while not self.db.try_session_lock(lock):
            if time.monotonic() > deadline:
                holder = self.db.session_lock_holder(lock)
                raise LockTimeout(f"The ledger's tables wait to be created since {_CREATE_SECONDS:.0f} s: {holder} does it.")
            time.sleep(0.1)
        try:
            if not self._is_current():
                self._create()
        finally:
            with suppress(DatabaseError):  # a session that is gone has no lock, and its error is not the one to see
                self.db.release_session_lock(lock)

    def _is_current(self) -> bool:
        if not self.exists():
            return False
        done = self._steps_done()
        if done > len(_STEPS):
            raise DatabaseError(
                f"The ledger {self.names.steps} is at step {done}, this everup.deploy knows {len(_STEPS)}: "
                "a newer version of the collection has been here. Upgrade the collection."
            )
        return done == len(_STEPS) and all(self.history_exists(history) for history in HISTORIES)

    def _steps_done(self) -> int:
        return self.db.query(f"SELECT coalesce(max(step), 0) AS done FROM {self.db.table(self.names.steps)}")[0]["done"]

    def _create(self) -> None:
        db, words = self.db, dict(self.db.types)
        words.update({name: db.table(getattr(self.names, name)) for name in _TABLES})
        if not db.transactional_ddl:
            self._create_step_by_step(words)
            return
        with db.transaction():
            db.create_schema()
            if not self.exists():
                db.execute(self._steps_table(words))
            for number in range(self._steps_done() + 1, len(_STEPS) + 1):
                for statement in _STEPS[number - 1]:
                    db.execute(self._sql(statement, words))
                self._mark(number)
            for history in HISTORIES:
                if not self.history_exists(history):
                    db.execute(self._history_table(history))

    def _create_step_by_step(self, words: dict) -> None:
        """Create or upgrade the tables so that a kill between any two statements is made good by the next run.

        The table of steps comes behind the first step, since its being there says that the others are.
        """
        db = self.db
        db.create_schema()
        for history in HISTORIES:
            self._run_once(self._history_table(history))
        done = self._steps_done() if self.exists() else 0
        for number in range(done + 1, len(_STEPS) + 1):
            for statement in _STEPS[number - 1]:
                self._run_once(self._sql(statement, words))
            if number == 1:
                self._run_once(self._steps_table(words))
            with db.transaction():
                self._mark(number)

    def _run_once(self, sql: str) -> None:
        """Run a statement unless the catalog shows that an earlier, killed run has."""
        asked = [q for statement in split(sql, self.db.lexis, "ledger") for q in questions_of(statement, self.db.lexis)]
        if not asked or not all(self.db.has_happened(question) for question in asked):
            self.db.execute(sql)

    def _sql(self, statement: str, words: dict) -> str:
        return statement.format(**words) + (self.db.table_options if statement.startswith("CREATE TABLE") else "")

    def _steps_table(self, words: dict) -> str:
        columns = "step {count} NOT NULL PRIMARY KEY, applied_at {time} NOT NULL"
        return self._sql(f"CREATE TABLE {{steps}} ({columns})", {**words, "steps": self.db.table(self.names.steps)})

    def _history_table(self, history: str) -> str:
        return self._sql(_HISTORY, {**self.db.types, "table": self.db.table(self.names.history(history))})

    def _mark(self, number: int) -> None:
        steps = self.db.table(self.names.steps)
        self.db.execute(f"INSERT INTO {steps} (step, applied_at) VALUES (?, {self.db.now()})", (number,))

    def event(self, what: str, release_id: int | None = None, subject: str = "", **detail) -> None:
        """Append one event; call it inside the transaction of what it tells about."""
        self.db.execute(
            f"INSERT INTO {self.db.table(self.names.event)} (at, who, what, release_id, subject, detail)"
            f" VALUES ({self.db.now()}, ?, ?, ?, ?, ?)",
            (whoami(), what, release_id, subject, json.dumps(detail, sort_keys=True)),
        )

    def assert_token(self, token: int, ttl_seconds: float) -> None:
        """Renew the lease by its fencing token; call it inside the transaction that the token shall guard.

        Raises:
            LeaseLost: the token is not the newest: the transaction must not commit.
        """
        renewed = self.db.execute(
            f"UPDATE {self.db.table(self.names.lease)} SET renewed_at = {self.db.now()},"
            f" expires_at = {self.db.later(ttl_seconds)} WHERE name = 'release' AND token = ? AND holder IS NOT NULL",
            (token,),
        )
        if renewed != 1:
            raise LeaseLost(self.describe_lost(token), lease_lost=True)

    def describe_lost(self, token: int) -> str:
        """Return the sentence about a fencing token that no longer holds the lease."""
        rows = self.db.query(f"SELECT holder, token, taken_at, expires_at FROM {self.db.table(self.names.lease)}")
        now = rows[0] if rows else {}
        if now.get("holder"):
            return (
                f"The lease is lost: this run has fencing token {token}, but {now['holder']} took it at {now['taken_at']} "
                f"with token {now['token']}. Nothing was changed. Let that run finish; then run this again."
            )
        return (
            f"The lease is lost: this run's fencing token {token} is no longer valid and nobody holds the lease now. "
            "Nothing was changed. Run the same command again: it takes a new lease and goes on."
        )
