# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long do an application's users stand still while a schema change waits behind a long transaction?

An application runs short transactions on one table; somebody's report holds a lock on it; then `ALTER TABLE ... ADD` comes,
once by the module `migration` and once by a plain client that runs the same script. Both wait for the report, but everything that
comes after a waiting ALTER TABLE waits behind it, and only the module gives way in between.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pyodbc
from ansible_collections.everup.deploy.tests.support.databases import Mariadb, Postgresql
from ansible_collections.everup.deploy.tests.support.modules import finish_module, start_module

from lab.mariadb import Mariadb as MariadbServer
from lab.postgres import Postgres

LOCK_TIMEOUT_S = 1.0
USERS = 4
# rows of the table, seconds that the report lasts
SCALES = {"full": (1_000_000, 15.0), "small": (50_000, 5.0)}
ENGINES = {
    "postgresql": (Postgres, Postgresql, "generate_series(1, {0}) AS s (n)", "n"),
    "mariadb": (MariadbServer, Mariadb, "seq_1_to_{0}", "seq"),
}


class Application:
    """Users who read and change one row each, again and again, and remember how long the slowest time took."""

    def __init__(self, db, rows: int) -> None:
        self._db, self._rows = db, rows
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._use, args=(number,)) for number in range(USERS)]
        self._longest = [0.0] * USERS
        self._done = [0] * USERS
        self._repeated = [0] * USERS

    @property
    def longest_ms(self) -> float:
        return max(self._longest) * 1000

    @property
    def transactions(self) -> int:
        return sum(self._done)

    @property
    def repeated(self) -> int:
        return sum(self._repeated)

    def _use(self, number: int) -> None:
        with closing(self._db.connect()) as connection:
            connection.autocommit = False
            while not self._over.is_set():
                key = 1 + (self._done[number] * 7919 + number) % self._rows
                began = time.monotonic()
                while not self._transaction(connection, key):
                    self._repeated[number] += 1
                self._longest[number] = max(self._longest[number], time.monotonic() - began)
                self._done[number] += 1
                time.sleep(0.005)

    @staticmethod
    def _transaction(connection, key: int) -> bool:
        """Run one transaction; False when the server broke a deadlock at its cost, as MariaDB does before an ALTER TABLE."""
        try:
            connection.execute(f"SELECT total FROM orders WHERE id = {key}").fetchall()  # noqa: S608
            connection.execute(f"UPDATE orders SET total = total + 1 WHERE id = {key}")  # noqa: S608
            connection.commit()
        except pyodbc.Error as error:
            if error.args[0] != "40001":
                raise
            connection.rollback()
            return False
        return True

    def __enter__(self) -> Application:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def ours(db, script: str) -> None:
    """Run the script by the module, in a process of its own."""
    db.write("2_note.sql", script)
    options = {"lock_timeout": f"{LOCK_TIMEOUT_S}s", "lock_budget": "10m"}
    result = finish_module(start_module("everup.deploy.migration", db.migration_options(**options)))
    if result["failed"]:
        raise SystemExit(result["msg"])


def plain(db, script: str) -> None:
    """Run the script by a client that knows no lock time-out."""
    db.execute(script)


def stall(db, run, script: str, rows: int, report_s: float) -> dict:
    """Return the longest stall in ms, how long the change took in s, and how many transactions ran meanwhile."""
    with closing(db.connect()) as report:
        report.autocommit = False
        with Application(db, rows) as application:
            time.sleep(1)
            usual = application.longest_ms
            report.execute("SELECT count(*) FROM orders WHERE id < 1000").fetchall()
            timer = threading.Timer(report_s, report.rollback)
            timer.start()
            began = time.monotonic()
            run(db, script)
            took = time.monotonic() - began
            timer.join()
            time.sleep(0.2)
    return {
        "max_stall_ms": round(application.longest_ms, 1),
        "usual_ms": round(usual, 1),
        "change_s": round(took, 1),
        "transactions": application.transactions,
        "repeated": application.repeated,
    }


def measure(engine: str, rows: int, report_s: float) -> dict:
    """Return both measurements on a server of its own."""
    server_class, database_class, numbers, number = ENGINES[engine]
    with server_class() as server, tempfile.TemporaryDirectory() as folder:
        db = database_class(server, Path(folder))
        source = numbers.format(rows)
        db.write("1_orders.sql", "CREATE TABLE orders (id int PRIMARY KEY, total int NOT NULL)")
        db.migrate()
        db.execute(f"INSERT INTO orders SELECT {number}, 0 FROM {source}")  # noqa: S608 - a benchmark's own numbers
        return {
            "ours": stall(db, ours, "ALTER TABLE orders ADD COLUMN note int", rows, report_s),
            "plain": stall(db, plain, "ALTER TABLE orders ADD COLUMN note_2 int", rows, report_s),
        }


def main() -> int:
    """Measure, print a table, and as the last line one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=SCALES, default="full")
    rows, report_s = SCALES[parser.parse_args().scale]
    print(f"{USERS} users, {rows} rows, a report of {report_s:g} s, lock time-out {LOCK_TIMEOUT_S:g} s")
    print(
        f"{'engine':<12} {'who':<6} {'longest stall':>14} {'usual':>9} {'change took':>12} {'transactions':>13} {'repeated':>9}"
    )
    engines = {}
    for engine in ENGINES:
        found = measure(engine, rows, report_s)
        for who, one in found.items():
            print(
                f"{engine:<12} {who:<6} {one['max_stall_ms']:>11.0f} ms {one['usual_ms']:>6.0f} ms {one['change_s']:>10.1f} s"
                f" {one['transactions']:>13} {one['repeated']:>9}",
                flush=True,
            )
        engines[engine] = {
            "ours_max_stall_ms": found["ours"]["max_stall_ms"],
            "plain_max_stall_ms": found["plain"]["max_stall_ms"],
            "lock_timeout_ms": LOCK_TIMEOUT_S * 1000,
        }
    worst = {key: max(one[key] for one in engines.values()) for key in next(iter(engines.values()))}
    print(json.dumps({**worst, "report_ms": report_s * 1000, "rows": rows, "engines": engines}))
    return 0 if worst["ours_max_stall_ms"] <= worst["lock_timeout_ms"] + 100 else 1


if __name__ == "__main__":
    sys.exit(main())
