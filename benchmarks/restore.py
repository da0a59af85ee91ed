# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long does it take to bring a dropped table back, beside copying it?

Drops a table (a million rows; --scale small: 100,000) and a column of it by a contract, brings each back by the module trash,
and copies the same table within the server, as a copy that was kept aside would have to be. Prints a table, and one JSON object
as its last line: seconds, and the restore's part of the copy. Fails when a restore takes 5 s or more.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from ansible_collections.everup.deploy.plugins.module_utils._db.connection import connect
from ansible_collections.everup.deploy.plugins.module_utils._migrations.migrate import migrate
from ansible_collections.everup.deploy.plugins.module_utils._migrations.trash import run_trash
from ansible_collections.everup.deploy.plugins.modules import migration, trash

SIZES = {"small": 100_000, "full": 1_000_000}
LONGEST = 5.0
SERVERS = {
    "postgresql": ("lab.postgres", "Postgres", {"shared_buffers": "256MB", "max_wal_size": "4GB"}),
    "mariadb": ("lab.mariadb", "Mariadb", {"innodb-buffer-pool-size": "512M", "innodb-log-file-size": "512M"}),
}
FILL = {
    "postgresql": "INSERT INTO big SELECT n, n % 1000, repeat('x', 80), 1 FROM generate_series(1, {0}) n",
    "mariadb": "INSERT INTO big SELECT seq, seq % 1000, repeat('x', 80), 1 FROM seq_1_to_{0}",
    "sqlite": (
        "INSERT INTO big SELECT n, n % 1000, printf('%.80c', 'x'), 1 FROM"
        " (WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {0}) SELECT n FROM s)"
    ),
}
TABLE = "(id int PRIMARY KEY, small int, words varchar(80), parent int{0})"
KEY = ", FOREIGN KEY (parent) REFERENCES parents (id)"


def options(module, given: dict, **more) -> dict:
    """Return a module's parameters."""
    return {name: option.get("default") for name, option in module.ARGUMENT_SPEC.items()} | given | more


def seconds(function) -> float:
    """Run something and return how long it took."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def measure(engine: str, given: dict, folder: Path, rows: int) -> dict:
    """Return the seconds of everything on one engine."""
    scripts = {
        "expand/1_big.sql": f"CREATE TABLE parents (id int PRIMARY KEY);\nINSERT INTO parents VALUES (1);\nCREATE TABLE big "
        f"{TABLE.format('' if engine == 'sqlite' else KEY)};\nCREATE INDEX big_small ON big (small)",
        "expand/2_more.sql": "CREATE TABLE more (id int)",
    }
    drops = {"contract/1_table.sql": "DROP TABLE big", "contract/2_column.sql": "ALTER TABLE big DROP COLUMN words"}
    for name, text in scripts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    run = options(migration, given, path=str(folder), release_version="2.4.0")
    migrate(run | {"phase": "expand"}, False)
    found = {}
    with closing(connect(run)) as db:
        db.execute(FILL[engine].format(rows))
        if engine == "postgresql":
            db.execute("VACUUM ANALYZE big")
        db.execute(f"CREATE TABLE copied {TABLE.format('')}")
        db.execute("CREATE INDEX copied_small ON copied (small)")
        found["copy"] = seconds(lambda: db.execute("INSERT INTO copied SELECT * FROM big"))
        db.execute("DROP TABLE copied")
    for (name, text), (what, wanted) in zip(drops.items(), (("table", "big"), ("column", "big.words"))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        found[f"drop {what}"] = seconds(lambda: migrate(run | {"phase": "contract"}, False))
        back = options(trash, given, action="restore", object=wanted)
        found[f"restore {what}"] = seconds(lambda back=back: run_trash(back, False))
    return found


def main() -> int:
    """Measure every engine and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="full")
    asked = parser.parse_args().scale
    rows = SIZES.get(asked) or int(asked)
    found = {}
    print(
        f"{rows:,} rows\n| engine | copy | drop table | restore table | drop column | restore column |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for engine in (*SERVERS, "sqlite"):
            scripts = Path(folder) / engine
            scripts.mkdir()
            if engine == "sqlite":
                found[engine] = measure(engine, {"engine": engine, "login_db": str(scripts / "big.sqlite")}, scripts, rows)
            else:
                module, name, settings = SERVERS[engine]
                with getattr(importlib.import_module(module), name)(settings=settings) as server:
                    login = {"engine": engine, "login_db": server.database, "login_host": server.host, "login_port": server.port}
                    login |= {"login_user": server.user, "login_password": server.password, "ssl_mode": "disable"}
                    found[engine] = measure(engine, login, scripts, rows)
            one = found[engine]
            print(f"| {engine} | {one['copy']:.2f} s | " + " | ".join(f"{s:.2f} s" for n, s in one.items() if n != "copy") + " |")
    slowest = max(one[name] for one in found.values() for name in one if name.startswith("restore"))
    ratios = {engine: round(one["restore table"] / one["copy"], 3) for engine, one in found.items()}
    print(json.dumps({"rows": rows, "slowest_restore_seconds": round(slowest, 3), "restore_vs_copy": ratios}))
    return 0 if slowest < LONGEST else 1


if __name__ == "__main__":
    sys.exit(main())
