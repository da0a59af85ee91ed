# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How fast is a backfill beside one single UPDATE, and what does an application notice of it?

Fills one column of a table (5 million rows; --scale small: 100,000) in four ways, on an idle server and beside an
application that reads and changes single rows at a fixed rate: by one UPDATE, by everup, by batches of 1,000 rows with a commit
each, and by pt-online-schema-change where that is installed (MariaDB). Prints a table, and one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import ENGINES, connect
from ansible_collections.everup.deploy.plugins.module_utils._db.errors import DatabaseError
from ansible_collections.everup.deploy.plugins.module_utils._migrations.backfill import run_backfill
from ansible_collections.everup.deploy.plugins.modules.backfill import ARGUMENT_SPEC

SIZES = {"small": 100_000, "full": 5_000_000}
WORKERS, PER_SECOND = 2, 100
FAILED = float("inf")  # milliseconds
DEFINITION = "table: accounts\nkey: id\nset: {profile_id: client_id + 1}\nwhere: profile_id IS NULL\n"
# A server as people run one, but for the disk: what is compared is how the work is cut.
SERVERS = {
    "postgresql": ("lab.postgres", "Postgres", {"shared_buffers": "512MB", "max_wal_size": "8GB", "autovacuum": "off"}),
    "mariadb": ("lab.mariadb", "Mariadb", {"innodb-buffer-pool-size": "1G", "innodb-log-file-size": "1G"}),
}
NUMBERS = {
    "postgresql": "INSERT INTO accounts SELECT n, n % 1000003, NULL, 0, repeat('x', 80) FROM generate_series(1, {rows}) n",
    "mariadb": "INSERT INTO accounts SELECT seq, seq % 1000003, NULL, 0, repeat('x', 80) FROM seq_1_to_{rows}",
}
SETTLE = {"postgresql": "VACUUM ANALYZE accounts", "mariadb": "ANALYZE TABLE accounts"}


def options_of(engine: str, server) -> dict:
    """Return the module options that lead to a server's database."""
    options = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
    login = {"login_db": server.database, "login_host": server.host, "login_port": server.port}
    login |= {"login_user": server.user, "login_password": server.password}
    return options | login | {"engine": engine} | ({"ssl_mode": "disable"} if engine == "postgresql" else {})


def prepare(options: dict, rows: int) -> None:
    """Make the table as it is before it is filled, and forget the backfill."""
    with closing(connect(options)) as db:
        for table in ("accounts", "_accounts_new", "everup_backfill", "everup_ledger", "everup_lease", "everup_release"):
            db.execute(f"DROP TABLE IF EXISTS {table}")
        for table in ("everup_member", "everup_event", "everup_expand_history", "everup_contract_history"):
            db.execute(f"DROP TABLE IF EXISTS {table}")
        db.execute(
            "CREATE TABLE accounts (id bigint NOT NULL PRIMARY KEY, client_id int NOT NULL, profile_id int, touched int NOT NULL,"
            " padding varchar(80) NOT NULL)"
        )
        db.execute(NUMBERS[options["engine"]].format(rows=rows))
        db.query(SETTLE[options["engine"]]) if options["engine"] == "mariadb" else db.execute(SETTLE[options["engine"]])


def single_update(options: dict, rows: int) -> None:
    """Fill the table by one statement."""
    with closing(connect(options)) as db:
        db.execute("UPDATE accounts SET profile_id = client_id + 1 WHERE profile_id IS NULL")


def everup(options: dict, rows: int) -> None:
    """Fill the table by the backfill module's function, in its usual slices."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "backfill" / "1_accounts.yml"
        path.parent.mkdir()
        path.write_text(DEFINITION, encoding="utf-8")
        while not run_backfill({**options, "path": folder}, False)["finished"]:
            continue


def fixed_batches(options: dict, rows: int) -> None:
    """Fill the table by a loop over the key, 1,000 rows and a commit each time."""
    with closing(connect(options)) as db:
        for first in range(1, rows + 1, 1000):
            db.execute(
                "UPDATE accounts SET profile_id = client_id + 1 WHERE profile_id IS NULL AND id BETWEEN ? AND ?",
                (first, first + 999),
            )


def pt_online_schema_change(options: dict, rows: int) -> None:
    """Copy the table into one whose column is computed, behind triggers, and swap them."""
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as secret:
        quoted = options["login_password"].replace("\\", "\\\\").replace('"', '\\"')
        secret.write(f'[client]\npassword="{quoted}"\n')
        secret.flush()
        where = f"F={secret.name},h={options['login_host']},P={options['login_port']},u={options['login_user']}"
        alter = "DROP COLUMN profile_id, ADD COLUMN profile_id int AS (client_id + 1) PERSISTENT"
        subprocess.run(
            [
                "pt-online-schema-change",
                *("--execute", "--recursion-method=none", "--no-check-replication-filters", "--chunk-time=0.25"),
                *("--max-load=Threads_running=1000", "--critical-load=Threads_running=1000"),
                *("--alter", alter, f"{where},D={options['login_db']},t=accounts"),
            ],
            check=True,
            capture_output=True,
            timeout=3600,
        )


def application(options: dict, rows: int, seed: int, over, results) -> None:
    """Read and change one row at a time at a fixed rate; hand over when each was due, and how long it took from then in ms.

    A statement that fails, as one does when its table is swapped under its feet, is handed over as one that took for ever.
    """
    pick, latencies = random.Random(seed), []  # noqa: S311 - which row the application reads is no secret
    with closing(connect({**options, "application_name": "the shop"})) as db:
        db.set_lock_timeout(3600)  # it waits as long as it must, so that its waits are seen
        due = time.monotonic()
        while not over.is_set():
            due += pick.expovariate(PER_SECOND)
            time.sleep(max(0.0, due - time.monotonic()))
            row = (pick.randint(1, rows),)
            try:
                if pick.random() < 0.7:
                    db.query("SELECT client_id, touched FROM accounts WHERE id = ?", row)
                else:
                    db.execute("UPDATE accounts SET touched = touched + 1 WHERE id = ?", row)
            except DatabaseError:
                latencies.append((due, FAILED))
            else:
                latencies.append((due, (time.monotonic() - due) * 1000))
    results.put(latencies)


def measure(options: dict, rows: int, way, loaded: bool, least: float = 0.0) -> dict:
    """Run one way of filling; return seconds, rows a second, and with the application beside it its p50 and p99 in ms."""
    prepare(options, rows)
    context = multiprocessing.get_context("spawn")
    over, results = context.Event(), context.Queue()
    workers = [
        context.Process(target=application, args=(options, rows, seed, over, results), daemon=True)
        for seed in range(WORKERS if loaded else 0)
    ]
    for worker in workers:
        worker.start()
    time.sleep(1.5 if loaded else 0)
    began = time.monotonic()
    if way:
        way(options, rows)
    seconds = time.monotonic() - began
    time.sleep(max(0.0, least - seconds))
    over.set()
    # What was due before the work began says nothing about it.
    found = sorted(latency for _worker in workers for due, latency in results.get(timeout=120) if due >= began)
    for worker in workers:
        worker.join()
    with closing(connect(options)) as db:
        left = db.query("SELECT count(*) AS n FROM accounts WHERE profile_id IS NULL OR profile_id <> client_id + 1")[0]["n"]
    if way and left:
        raise SystemExit(f"{way.__name__} has left {left} rows")
    result = {"seconds": round(seconds, 2), "rows_per_second": round(rows / seconds) if way else None}
    if found:
        result |= {
            "failed": found.count(FAILED),
            "p50_ms": round(found[len(found) // 2], 2),
            "p99_ms": round(found[int(len(found) * 0.99)], 2),
        }
    return result


def compare(engine: str, rows: int) -> dict | None:
    """Return the figures of one engine, None when it cannot run here."""
    module, name, settings = SERVERS[engine]
    if engine not in ENGINES:
        return None
    try:
        server_class = getattr(importlib.import_module(module), name)
    except ImportError:
        return None
    ways = {"single UPDATE": single_update, "everup": everup, "batches of 1,000": fixed_batches}
    if engine == "mariadb" and shutil.which("pt-online-schema-change"):
        ways["pt-online-schema-change"] = pt_online_schema_change
    baseline_seconds = 8.0 if rows <= SIZES["small"] else 30.0
    with server_class(settings=settings) as server:
        options = options_of(engine, server)
        figures = {"nothing": {"loaded": measure(options, rows, None, True, baseline_seconds)}}
        print(f"\n{engine}, {rows:,} rows, {WORKERS * PER_SECOND} statements a second beside it", flush=True)
        print(f"{'':26}{'idle':>12}{'loaded':>14}{'p50':>10}{'p99':>10}")
        show("nothing", None, figures["nothing"]["loaded"])
        for label, way in ways.items():
            figures[label] = {"idle": measure(options, rows, way, False), "loaded": measure(options, rows, way, True)}
            show(label, figures[label]["idle"], figures[label]["loaded"])
    ours, single = figures["everup"], figures["single UPDATE"]
    return {
        "throughput_vs_single_update": round(single["idle"]["seconds"] / ours["idle"]["seconds"], 3),
        "p99_vs_baseline": round(ours["loaded"]["p99_ms"] / figures["nothing"]["loaded"]["p99_ms"], 3),
        "figures": figures,
    }


def show(label: str, idle: dict | None, loaded: dict) -> None:
    """Print one line of the table."""
    speeds = [f"{found['rows_per_second']:,}/s" if found and found["rows_per_second"] else "" for found in (idle, loaded)]
    times = f"{loaded['p50_ms']:>7.2f} ms{loaded['p99_ms']:>7.2f} ms"
    print(f"{label:26}{speeds[0]:>12}{speeds[1]:>14}{times}", flush=True)


def main() -> None:
    """Run the benchmark for every engine that is here."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--scale", default="full", help="small (100,000 rows), full (5 million) or a number of rows")
    parser.add_argument("--engine", action="append", choices=list(SERVERS), help="may be repeated; default: all")
    given = parser.parse_args()
    rows = SIZES.get(given.scale) or int(given.scale)
    found = {engine: result for engine in given.engine or SERVERS if (result := compare(engine, rows))}
    if not found:
        raise SystemExit("No engine could be measured: install postgresql or mariadb-server.")
    print(
        json.dumps(
            {
                "benchmark": "backfill",
                "rows": rows,
                "throughput_vs_single_update": min(result["throughput_vs_single_update"] for result in found.values()),
                "p99_vs_baseline": max(result["p99_vs_baseline"] for result in found.values()),
                "engines": found,
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
