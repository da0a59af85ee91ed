# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long 1,000 small scripts take on PostgreSQL, and a run with nothing pending: ours beside other tools and beside a floor.

The floor is one connection that executes the same statements, each in a transaction with one insert. `--scale small` takes 200.
Ten times as many show whether time is linear, and how much memory it takes.
The last line is one JSON object: first_run_vs_floor, noop_round_trips, tenfold, peers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator
from urllib.parse import quote

from ansible_collections.everup.deploy.plugins.module_utils._db.engines.odbc import OdbcEngine
from ansible_collections.everup.deploy.plugins.module_utils._migrations.migrate import migrate
from ansible_collections.everup.deploy.plugins.modules.migration import ARGUMENT_SPEC

from lab.postgres import Postgres

SCALES = {"full": 1000, "small": 200}
ROUNDS = 3
BIN = Path(sys.executable).parent
PASSWORD = "benchmark"  # noqa: S105 - of a server that lives as long as this program
# A server as it is installed: every commit reaches the disk.
SETTINGS = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


def statement(number: int) -> str:
    """Return the SQL of one script."""
    return f"CREATE TABLE t_{number:05d} (id bigint PRIMARY KEY, what text)"


class Bench:
    """A server with an empty database for each run, and folders with the same scripts for each tool."""

    def __init__(self, server: Postgres, folder: Path, scripts: int) -> None:
        self.server, self.folder, self.scripts = server, folder, scripts
        self._databases = 0

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """Give a new database, and take it away again; it begins behind a checkpoint, so that nobody pays for the one before."""
        self._databases += 1
        name = f"bench_{self._databases}"
        self.server.create_database(name)
        with self.server.connect_admin() as admin:
            admin.execute("CHECKPOINT")
        yield name
        with self.server.connect_admin() as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def login(self, database: str) -> dict:
        defaults = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
        server = self.server
        login = {"login_host": server.host, "login_port": server.port, "login_user": server.user, "login_password": PASSWORD}
        return {**defaults, **login, "engine": "postgresql", "login_db": database, "ssl_mode": "disable"}

    def url(self, database: str, scheme: str = "postgresql") -> str:
        return f"{scheme}://{self.server.user}:{quote(PASSWORD)}@{self.server.host}:{self.server.port}/{database}"


def timed(run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def floor(bench: Bench, database: str) -> None:
    """Execute each statement in a transaction together with one insert, on one connection."""
    with bench.server.connect(dbname=database, password=PASSWORD) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS done (version text PRIMARY KEY, at timestamptz DEFAULT now())")
        connection.commit()
        for number in range(bench.scripts):
            connection.execute(statement(number))
            connection.execute("INSERT INTO done (version) VALUES (%s)", [str(number)])
            connection.commit()


class Tool:
    """One way to run the scripts.

    Attributes:
        name: in the table.
        once: it is slow enough for one round.
    """

    name = ""
    once = False

    def __init__(self, bench: Bench) -> None:
        self.bench = bench


class Ours(Tool):
    """The collection's own function, as the module calls it."""

    name = "everup.deploy"

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        expand = bench.folder / "ours" / "expand"
        expand.mkdir(parents=True)
        for number in range(bench.scripts):
            (expand / f"{number + 1:05d}_table.sql").write_text(statement(number) + ";\n")

    def run(self, database: str) -> None:
        migrate(self.params(database), check_mode=False)

    def params(self, database: str) -> dict:
        """Return the module's parameters."""
        return {**self.bench.login(database), "path": str(self.bench.folder / "ours"), "phase": "expand"}


class OursAsTask(Tool):
    """The same as an Ansible task, with Ansible's own start."""

    name = "everup.deploy, as an Ansible task"

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.playbook = bench.folder / "task.yml"
        self.playbook.write_text(
            "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - everup.deploy.migration: '{{ bench_options }}'\n"
        )

    def run(self, database: str) -> None:
        login = {key: value for key, value in self.bench.login(database).items() if value not in (None, "", {})}
        options = {**login, "path": str(self.bench.folder / "ours"), "phase": "expand"}
        variables = {"bench_options": options, "ansible_python_interpreter": sys.executable}
        command = [
            str(BIN / "ansible-playbook"),
            "-i",
            "localhost,",
            "-c",
            "local",
            str(self.playbook),
            "-e",
            json.dumps(variables),
        ]
        subprocess.run(command, check=True, capture_output=True)


class Alembic(Tool):
    """alembic, with one revision a script."""

    name = "alembic"

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.folder = bench.folder / "alembic"
        versions = self.folder / "versions"
        versions.mkdir(parents=True)
        (self.folder / "env.py").write_text(
            "import os\nfrom alembic import context\nfrom sqlalchemy import create_engine\n"
            "with create_engine(os.environ['BENCH_URL']).connect() as connection:\n"
            "    context.configure(connection=connection, transaction_per_migration=True)\n"
            "    with context.begin_transaction():\n        context.run_migrations()\n"
        )
        (self.folder / "alembic.ini").write_text(f"[alembic]\nscript_location = {self.folder}\n")
        for number in range(bench.scripts):
            before = f"'{number:05d}'" if number else None
            (versions / f"{number + 1:05d}.py").write_text(
                f"from alembic import op\nrevision = '{number + 1:05d}'\ndown_revision = {before}\n"
                f"def upgrade():\n    op.execute('''{statement(number)}''')\n"
            )

    def run(self, database: str) -> None:
        command = [str(BIN / "alembic"), "-c", str(self.folder / "alembic.ini"), "upgrade", "head"]
        environment = os.environ | {"BENCH_URL": self.bench.url(database, "postgresql+psycopg")}
        subprocess.run(command, check=True, capture_output=True, env=environment)


class Yoyo(Tool):
    """yoyo-migrations, with one SQL file a script."""

    name = "yoyo-migrations"

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.folder = bench.folder / "yoyo"
        self.folder.mkdir()
        for number in range(bench.scripts):
            (self.folder / f"{number + 1:05d}.sql").write_text(statement(number))

    def run(self, database: str) -> None:
        url = self.bench.url(database, "postgresql+psycopg")
        command = [str(BIN / "yoyo"), "apply", "--batch", "--no-config-file", "-d", url, str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)


class Dbmate(Tool):
    """dbmate, with one SQL file a script."""

    name = "dbmate"

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.folder = bench.folder / "dbmate"
        self.folder.mkdir()
        for number in range(bench.scripts):
            (self.folder / f"{number + 1:05d}_table.sql").write_text(f"-- migrate:up\n{statement(number)};\n-- migrate:down\n")

    def run(self, database: str) -> None:
        url = self.bench.url(database) + "?sslmode=disable"
        command = [str(BIN / "dbmate"), "--url", url, "--migrations-dir", str(self.folder), "--no-dump-schema", "migrate"]
        subprocess.run(command, check=True, capture_output=True)


class Sqitch(Tool):
    """sqitch, with one change a script."""

    name = "sqitch"
    once = True

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.folder = bench.folder / "sqitch"
        (self.folder / "deploy").mkdir(parents=True)
        (self.folder / "sqitch.conf").write_text("[core]\n  engine = pg\n[user]\n  name = bench\n  email = bench@example.com\n")
        plan = ["%syntax-version=1.0.0", "%project=bench", ""]
        for number in range(bench.scripts):
            plan.append(f"c{number + 1:05d} 2026-01-01T00:00:00Z bench <bench@example.com> # table")
            (self.folder / "deploy" / f"c{number + 1:05d}.sql").write_text(f"BEGIN;\n{statement(number)};\nCOMMIT;\n")
        (self.folder / "sqitch.plan").write_text("\n".join(plan) + "\n")

    def run(self, database: str) -> None:
        command = ["sqitch", "deploy", "--target", self.bench.url(database, "db:pg")]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)


PEERS = {"alembic": Alembic, "yoyo": Yoyo, "dbmate": Dbmate, "sqitch": Sqitch}


def installed(command: str) -> bool:
    return (BIN / command).exists() or shutil.which(command) is not None


def measure(tools: list, bench: Bench) -> tuple[list[float], dict]:
    """Return the floor's seconds of each round, and per tool those of its first runs and of its runs with nothing pending.

    In each round every tool has its turn, because a disk is not as fast at one time as at another.
    """
    least: list[float] = []
    seconds: dict = {tool.name: ([], []) for tool in tools}
    for number in range(ROUNDS):
        with bench.empty_database() as database:
            least.append(timed(lambda database=database: floor(bench, database)))
        for tool in tools:
            if number and tool.once:
                continue
            first, nothing = seconds[tool.name]
            with bench.empty_database() as database:
                first.append(timed(lambda tool=tool, database=database: tool.run(database)))
                nothing += [timed(lambda tool=tool, database=database: tool.run(database)) for _again in range(3)]
    return least, seconds


def times_the_floor(first: list[float], least: list[float]) -> float:
    """Return the median over the rounds of how many times as long as the floor a tool took."""
    return statistics.median(tool / floor for tool, floor in zip(first, least))


def round_trips(ours: Ours, bench: Bench) -> tuple[int, int]:
    """Count the statements that a run with nothing pending sends: those that read a history, and all."""
    sent: list[str] = []
    run = OdbcEngine._run

    def counted(engine, sql, parameters):
        sent.append(sql)
        return run(engine, sql, parameters)

    with bench.empty_database() as database:
        ours.run(database)
        OdbcEngine._run = counted
        try:
            ours.run(database)
        finally:
            OdbcEngine._run = run
    return sum("_history" in sql and "statements_done" in sql for sql in sent), len(sent)


def run_and_measure(params: dict, seconds) -> None:
    """Migrate in a process of its own; hand over the seconds it took and the most memory the process ever had, in MB."""
    took = timed(lambda: migrate(params, check_mode=False))
    seconds.put((took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def tenfold(bench: Bench) -> dict:
    """Return how ten times as many scripts do: seconds, how many times the floor's, and the most memory in MB."""
    larger = Bench(bench.server, bench.folder / "tenfold", 10 * bench.scripts)
    ours, context = Ours(larger), multiprocessing.get_context("spawn")
    with bench.empty_database() as database:
        least = timed(lambda: floor(larger, database))
    with bench.empty_database() as database:
        answers = context.Queue()
        process = context.Process(target=run_and_measure, args=(ours.params(database), answers))
        process.start()
        took, megabytes = answers.get(timeout=3600)
        process.join()
    return {
        "scripts": larger.scripts,
        "first_run_seconds": round(took, 2),
        "first_run_vs_floor": round(took / least, 3),
        "peak_mb": round(megabytes),
    }


def main() -> None:
    """Run the bench and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=SCALES, default="full")
    scripts = SCALES[parser.parse_args().scale]
    with tempfile.TemporaryDirectory(prefix="everup-bench-") as name, Postgres(settings=SETTINGS, password=PASSWORD) as server:
        bench = Bench(server, Path(name), scripts)
        ours = Ours(bench)
        peers = [tool(bench) for command, tool in PEERS.items() if installed(command)]
        missing = [command for command in PEERS if not installed(command)]
        least, rows = measure([ours, OursAsTask(bench), *peers], bench)
        reads, statements = round_trips(ours, bench)
        larger = tenfold(bench)
    if missing:
        print(f"not installed and left out: {', '.join(missing)}", file=sys.stderr)
    print(f"{scripts} scripts on PostgreSQL, fsync on; the floor takes {statistics.median(least):.2f} s\n")
    print(f"{'':<36} {'first run':>10} {'x floor':>8} {'nothing pending':>16}")
    found = {
        tool: {
            "first_run_vs_floor": round(times_the_floor(first, least), 3),
            "first_run_seconds": round(statistics.median(first), 3),
            "noop_seconds": round(statistics.median(nothing), 4),
        }
        for tool, (first, nothing) in rows.items()
    }
    for tool, said in found.items():
        run, times, nothing = said["first_run_seconds"], said["first_run_vs_floor"], said["noop_seconds"]
        print(f"{tool:<36} {run:>8.2f} s {times:>8.2f} {nothing:>14.3f} s")
    run, times, most = larger["first_run_seconds"], larger["first_run_vs_floor"], larger["peak_mb"]
    print(f"\n{larger['scripts']} scripts: {run:.1f} s, {times:.2f} times the floor, at most {most} MB of memory")
    result = {
        "scripts": scripts,
        "rounds": ROUNDS,
        **found[ours.name],
        "noop_round_trips": reads,
        "noop_statements": statements,
        "tenfold": larger,
        "peers": {tool.name: found[tool.name] for tool in peers},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
