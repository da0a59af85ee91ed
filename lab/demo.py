# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`make demo`: release a real web shop from version 1 to version 2 while people use it, and count what went wrong.

Ends with 0 only when not one request failed, none was answered wrongly, no acknowledged write was lost, and every server is
where it should be. `result.json` has the figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from ansible_collections.everup.deploy.plugins.module_utils._probe.running import stop_prober

from lab.load_process import LoadProcess
from lab.load_report import summarise
from lab.process import LabError
from lab.shop import stop_leftovers
from lab.site import ROOT, Site

PHASES = {"expand": ("expanding_at", "expanded_at"), "rolling": ("rolling_at", "rolled_at")}
PHASES_CONTRACT = {"contract": ("contracting_at", "contracted_at")}
PHASES_BREAK = {"expand": ("expanding_at", "expanded_at"), "rolling": ("rolling_at", "failed_at")}
SOAK_SECONDS = 5
RESULT_KEYS = (
    "requests",
    "failed",
    "wrong",
    "lost_writes",
    "longest_gap_ms",
    "p50_before_ms",
    "p99_before_ms",
    "p50_during_ms",
    "p99_during_ms",
)


def say(text: str = "") -> None:
    """Print a line of the demo's own, apart from Ansible's."""
    print(f"\033[1m{text}\033[0m" if sys.stdout.isatty() and text else text, flush=True)


class Ticker:
    """Prints how the load is doing every few seconds, between Ansible's lines."""

    def __init__(self, load: LoadProcess, seconds: float = 5.0) -> None:
        self._load, self._seconds = load, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Ticker:
        self._thread.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._over.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            now = self._load.latest()
            answered = ", ".join(f"{count} by {version}" for version, count in sorted(now["versions"].items()))
            say(
                f"    ~~ load: {now['requests']:,} requests, {now['failed']} failed, {now['wrong']} wrong; "
                f"last second: p99 {now['p99_ms'] or 0:.0f} ms, answered {answered or 'none'}"
            )


def play(site: Site, title: str, *arguments: str) -> int:
    """Run one playbook with its output on this terminal; returns its exit code."""
    say(f"\n==== {title}")
    say("     $ ansible-playbook -i inventories/dev " + " ".join(arguments) + "\n")
    process = subprocess.Popen(site.command(*arguments), env=site.environment(), cwd=ROOT / "examples" / "shop")
    try:
        return process.wait(timeout=900)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=30)


def durations(row: dict, phases: dict) -> dict:
    """Return the seconds that each phase took, from the ledger's times."""
    seconds = {}
    for phase, (start, end) in phases.items():
        if row[start] and row[end]:
            took = datetime.fromisoformat(row[end][:-1]) - datetime.fromisoformat(row[start][:-1])
            seconds[phase] = round(took.total_seconds(), 3)
    return seconds


def problems_after(site: Site, version: str) -> list[str]:
    """Return what is not as it should be once everything is over: versions that answer, and members that do not serve."""
    answers = {server.name: server.service("status") for server in site.farm.servers}
    found = [
        f"{name} runs {Path(answer['release']).name if answer['release'] else 'nothing'}"
        for name, answer in answers.items()
        if not answer["release"] or Path(answer["release"]).name != version
    ]
    states = site.haproxy.command("show stat").splitlines()
    header = states[0].removeprefix("# ").split(",")
    for line in states[1:]:
        row = dict(zip(header, line.split(",")))
        if row.get("svname") in answers and row["status"] != "UP":
            found.append(f"{row['svname']} is {row['status']} in the pool")
    return found


def run(options: argparse.Namespace) -> int:
    """Run the whole demo; returns the exit code."""
    directory = Path(options.directory).resolve()
    stop_leftovers(directory / "site")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with Site(directory / "site", options.db) as site, measured(site, directory / "availability"):
        say(f"The shop runs at {site.url}: HAProxy, 4 web servers at version 1.0.0, one {options.db} database.")
        with LoadProcess(site.url, directory, options.rate) as load:
            with Ticker(load):
                say(f"A load of {options.rate:g} requests a second reads and writes from now on, and reads back what it wrote.")
                time.sleep(options.before)
                started = time.time()
                phases, problems = broken_release(site) if options.broken else good_release(site)
                ended = time.time()
                deadline = time.monotonic() + options.least / options.rate * 3
                while load.latest()["requests"] < options.least and time.monotonic() < deadline:
                    time.sleep(0.5)
            say("The load ends, and reads every order once more.")
            figures = summarise(load.finish(), started, ended)
        if play(site, "Report", "everup.deploy.report", "-e", json.dumps({"report_directory": str(directory / "report")})):
            problems.append("the report was not written")
        probe = seen_by_probe(site, "2.0.1-broken" if options.broken else "2.0.0")
    result = {name: figures[name] for name in RESULT_KEYS} | {"phases": phases, "probe": probe}
    (directory / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return report(result, problems, directory / "result.json")


@contextmanager
def measured(site: Site, folder: Path) -> Iterator[None]:
    """Have every release of the site measured through its balancer; a probe that is left over in the end is ended."""
    inventory = site.hosts()
    inventory["all"]["vars"] |= {
        "availability_urls": [f"{site.url}/", f"{site.url}/customers/1/orders"],
        "availability_folder": str(folder),
        "availability_bound": "10s",
        "availability_budget": "30m per 7d",
    }
    site.write_inventory(inventory)
    try:
        yield
    finally:
        for one in folder.glob("*"):
            stop_prober(one, timeout=0.0)


def seen_by_probe(site: Site, version: str) -> dict:
    """Return what the probe has measured of a release, over all its runs."""
    runs = site.ledger(version)["downtime"]["runs"]
    sums = {name: sum(run[name] for run in runs) for name in ("requests", "failed", "downtime_ms")}
    return sums | {"longest_gap_ms": max((run["longest_gap_ms"] for run in runs), default=None)}


def good_release(site: Site) -> tuple[dict, list[str]]:
    """Release 2.0.0 and contract; returns seconds a phase and what went wrong."""
    version = ["-e", "release_version=2.0.0"]
    code = play(site, "Release 2.0.0: preflight, expand, rolling upgrade", "release.yml", *version)
    problems = [f"the release ended with {code}"] if code else []
    if not code:
        title = f"Contract, after a soak of {SOAK_SECONDS} s: remove what only 1.0.0 used"
        code = play(site, title, "everup.deploy.contract", *version, "-e", f"contract_soak={SOAK_SECONDS}s")
        problems += [f"the contract ended with {code}"] if code else []
    play(site, "Status", "everup.deploy.status")
    return durations(site.ledger("2.0.0")["release"], PHASES | PHASES_CONTRACT), problems + problems_after(site, "2.0.0")


def broken_release(site: Site) -> tuple[dict, list[str]]:
    """Release a version whose health check fails; returns seconds a phase and what did not go as it should."""
    version = "2.0.1-broken"
    say(f"\nVersion {version} starts, but its health check answers 500. The canary must be taken back by itself.")
    quick = ["-e", "rolling_upgrade_health_timeout=8"]
    code = play(site, f"Release {version}", "release.yml", "-e", f"release_version={version}", *quick)
    problems = [] if code else ["the release of a broken version ended well"]
    row = site.ledger(version)["release"]
    play(site, "Status", "everup.deploy.status")
    return durations(row, PHASES_BREAK), problems + problems_after(site, "1.0.0")


def report(result: dict, problems: list[str], file: Path) -> int:
    """Print the figures and return the exit code."""
    bad = [f"{result[name]} {name.replace('_', ' ')}" for name in ("failed", "wrong", "lost_writes") if result[name]]
    probe = result["probe"]
    if probe["downtime_ms"] or not probe["requests"]:
        bad.append(f"{probe['downtime_ms']} ms of downtime in {probe['requests']} requests of the probe")
    say("\n==== Result")
    for name in RESULT_KEYS:
        value = result[name]
        print(f"  {name:<16} {value if value is None else f'{value:,.1f}' if isinstance(value, float) else f'{value:,}'}")
    for phase, seconds in result["phases"].items():
        print(f"  {phase + ' phase':<16} {seconds:.1f} s")
    print(
        f"  downtime measured by the probe: {probe['downtime_ms']} ms; {probe['failed']} of {probe['requests']:,} requests "
        f"failed, longest gap {probe['longest_gap_ms'] or 0:,} ms"
    )
    print(f"  written to       {file}")
    for page in sorted((file.parent / "report").glob("*.html")):
        print(f"  to look at       {page}")
    for problem in bad + problems:
        say(f"  WRONG: {problem}")
    say("" if bad + problems else "  Not one request failed, and no write was lost.")
    return 1 if bad + problems else 0


def _terminated(_number, _frame) -> NoReturn:
    raise SystemExit(143)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", default="sqlite", help="sqlite or postgresql")
    parser.add_argument("--broken", action="store_true", help="release a version that fails its health check")
    parser.add_argument("--directory", default=str(ROOT / "build" / "demo"))
    parser.add_argument("--rate", type=float, default=120.0, help="requests per second")
    parser.add_argument("--least", type=int, default=10_000, help="requests before it ends")
    parser.add_argument("--before", type=float, default=15.0, help="seconds of load before the release")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return run(options)
    except LabError as error:
        print(f"The demo could not run: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; everything that the demo started is stopped as well.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
