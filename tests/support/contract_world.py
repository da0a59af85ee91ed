# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A release on a real database that is rolled out since days, and what hosts and balancers say of it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import Iterator

import psycopg
import pyodbc
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._evidence.run import evidence_info, usage_snapshot
from ansible_collections.everup.deploy.plugins.modules import contract_evidence_info
from ansible_collections.everup.deploy.plugins.modules import usage_snapshot as usage_module
from ansible_collections.everup.deploy.tests.support.databases import Database, Mariadb, _params
from ansible_collections.everup.deploy.tests.support.named_session import named_session

VERSION, BEFORE, RUN = "2.4.0", "2.3.0", "77"
HOSTS = ["web1", "web2", "web3"]
# What a test's own hands are.
IGNORED = ["the shop", "postgres@.*", "root@localhost"]
# Starts of a server are told in whole seconds, and those less apart than five are taken for one.
_SAME_START_SECONDS = 6
_BACK_SECONDS = 60
DAY = timedelta(days=1)
OLD_QUERY = "SELECT client_id FROM orders WHERE id = 3"


class World:
    """A release that is rolled out since nine days, whose contract drops a column and a table.

    Attributes:
        said: what hosts and balancers say, as options of contract_evidence_info.
        closed: the gates that the last contract was refused by.
    """

    def __init__(self, db: Database) -> None:
        self.db = db
        self.said: dict = {}
        self.closed: list[str] = []
        text = "varchar(50)"
        db.write("0001_a.sql", f"CREATE TABLE orders (id int PRIMARY KEY, client_id int, note {text}, profile_id int);")
        db.write("0002_b.sql", f"CREATE TABLE legacy (id int PRIMARY KEY, note {text});")
        db.migrate()
        db.execute("INSERT INTO orders (id, client_id, profile_id) VALUES (3, 1, 1)")
        db.query(OLD_QUERY)  # the version before has used it
        self.forget_uses()
        db.write("0001_drop.sql", "ALTER TABLE orders DROP COLUMN client_id;", "contract")
        db.write("0002_drop.sql", "DROP TABLE legacy;", "contract")
        db.write("0001_profiles.sql", "SELECT id FROM orders WHERE profile_id IS NULL;", "tests")
        self.token = db.release("open", VERSION)["token"]
        for to in ("expanding", "expanded", "rolling"):
            db.release("advance", VERSION, to=to, token=self.token)
        for host in HOSTS:
            db.record(host, "ready", self.token, VERSION, version_before=BEFORE, version_after=VERSION)
        db.release("advance", VERSION, to="rolled", token=self.token, hosts=HOSTS)
        self.reset()

    def ask(self, sql: str) -> None:
        """Query as the application does; on MariaDB as text, since its ODBC driver prepares."""
        if self.db.engine != "mariadb":
            self.db.query(sql)
            return
        with named_session(self.db.server, self.db.name, f"shop {VERSION}") as ask:
            ask(sql)

    def forget_uses(self) -> None:
        """Empty MariaDB's table of statements: it keeps when each was last seen, which no ledger can move back by nine days."""
        if self.db.engine == "mariadb" and hasattr(self.db, "admin"):
            self.db.admin.execute("TRUNCATE TABLE performance_schema.events_statements_summary_by_digest")

    def reset_counters(self) -> None:
        """Let the server's counters begin anew: on PostgreSQL by a word, on MariaDB by another start of the server."""
        if self.db.engine == "postgresql":
            self.db.admin.execute("SELECT pg_stat_statements_reset()")
            return
        self.db.admin.close()
        self.db.server.stop()
        time.sleep(_SAME_START_SECONDS)
        self.db.server.start()
        self.db.options["login_port"] = self.db.server.port
        self.db._emptied.setdefault(self.db.server.port, [])
        self.db.admin = self.db.server.connect_admin(self.db.name)

    def crash(self) -> None:
        """Kill one process of a PostgreSQL server, so that it starts all others anew, and wait for it."""
        admin = self.db.admin
        admin.execute("CHECKPOINT")  # the lab's server commits without waiting for its disk, and would lose the last snapshots
        pid = admin.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'").fetchone()[0]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _BACK_SECONDS
        while not self._is_back(pid):
            assert time.monotonic() < deadline, "PostgreSQL is not back"
            time.sleep(0.1)

    def _is_back(self, pid: int) -> bool:
        try:
            self.db.admin = self.db.server.connect_admin(self.db.name)
            self.db.admin.autocommit = True
            now = self.db.admin.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'").fetchone()
        except psycopg.Error:
            return False
        return bool(now) and now[0] != pid

    def reset(self) -> None:
        """Bring the ledger to nine days after the roll-out, and what hosts and balancers say to all being well."""
        self.said = {
            "hosts": list(HOSTS),
            "answers": [{"host": host, "version": VERSION, "why": "", "run": RUN} for host in HOSTS],
            "pools": [{"pool": "shop", "known": list(HOSTS), "seen": {"lb1": list(HOSTS)}, "run": RUN}],
        }
        self.shift_roll_out(9 * DAY)

    def shift_roll_out(self, ago: timedelta, controller_ago: timedelta | None = None) -> None:
        """Let the roll-out have ended so long ago by the database's clock, and by the controller's."""
        moment = self.moment(ago)
        self.db.execute(f"UPDATE everup_release SET rolled_at = {moment}")
        self.db.execute(f"UPDATE everup_member SET changed_at = {moment}")
        then = time.time() - (ago if controller_ago is None else controller_ago).total_seconds()
        detail = f'{{"before": "rolling", "controller_at": {then:.3f}, "reason": null}}'
        self.db.execute(f"UPDATE everup_event SET at = {moment}")
        self.db.execute(f"UPDATE everup_event SET detail = '{detail}' WHERE what = 'release_rolled'")

    def moment(self, ago: timedelta) -> str:
        """Return a literal of a time as the ledger keeps it."""
        then = (datetime.now(timezone.utc) - ago).replace(tzinfo=None).isoformat(timespec="milliseconds")
        return f"'{then}Z'" if self.db.engine == "sqlite" else f"'{then.replace('T', ' ')}'"

    def watch(self, *ages: timedelta) -> None:
        """Take snapshots now, and let them have been taken so long ago."""
        self.db.execute("DELETE FROM everup_usage")
        for ago in ages:
            done = self.snapshot()
            newest = "(SELECT n FROM (SELECT max(taken_at) AS n FROM everup_usage) AS x)"
            if done["readings"]:
                self.db.execute(f"UPDATE everup_usage SET taken_at = {self.moment(ago)} WHERE taken_at = {newest}")

    def snapshot(self, check: bool = False, **options) -> dict:
        """Run the usage_snapshot module's function."""
        folders = {"path": str(self.db.folder), "cache": str(self.db.folder.parent / "lint-cache")}
        return usage_snapshot(_params(usage_module, {**self.db.options, **folders, **options}), check)

    def evidence(self, **options) -> dict:
        """Run the contract_evidence_info module's function."""
        asked = {
            **self.db.options,
            "path": str(self.db.folder),
            "cache": str(self.db.folder.parent / "lint-cache"),
            "version": VERSION,
            "run": RUN,
            "session_pattern": r"shop (?P<version>\S+)",
            "session_ignore": IGNORED,
            **self.said,
            **options,
        }
        return evidence_info(_params(contract_evidence_info, asked))

    def gate(self, name: str, **options) -> dict:
        """Return one gate."""
        return {gate["name"]: gate for gate in self.evidence(**options)["gates"]}[name]

    def contracts(self, **options) -> bool:
        """Return whether the ledger lets the contract of this evidence pass, and see that it has kept it."""
        gates = self.evidence(**options)["gates"]
        self.closed = [f"{gate['name']}: {gate['proof']}" for gate in gates if not gate["passes"]]
        try:
            self.db.release("evidence", VERSION, token=self.token, gates=gates)
        except EverupError as error:
            assert "The contract does not run: " in str(error)
            return False
        return True

    @contextmanager
    def connected(self, program: str) -> Iterator[None]:
        """Keep a session open that calls itself by a name."""
        db = self.db
        if isinstance(db, Mariadb):
            with named_session(db.server, db.name, program):
                yield
            return
        if db.engine == "sqlserver":
            with closing(pyodbc.connect(f"{db.options['connection_string']};APP={program}", autocommit=True)):
                yield
            return
        login = {name: db.options[f"login_{name}"] for name in ("host", "port", "user", "password")}
        with psycopg.connect(dbname=db.name, application_name=program, **login):
            yield
