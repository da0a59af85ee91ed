# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts, restarts and stops the shop on a host without systemd: `python service.py restart --home DIR`.

The home of a web server holds `current`, a symbolic link to a release folder, and `shop.env` with its
settings (DATABASE_URL, SHOP_NAME, SHOP_PORT, SHOP_BIND). Which processes belong to a home is read from the
process table, where each carries the home in its command line: no pid file can be stale, and a run that was
killed half-way leaves nothing that the next one does not see. Standard library only; prints one line of JSON;
ends with 0, or 3 for the status of a stopped shop, or 1 with a sentence on standard error.
"""

from __future__ import annotations

import argparse
import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.05
LOG_TAIL_LINES = 8


class ServiceError(Exception):
    """The shop could not be brought into the wanted state; the message says why."""


@dataclass(frozen=True)
class Service:
    """One web server: its folder, its address, and how long to wait for anything (in seconds)."""

    home: Path
    bind: str
    port: int
    timeout: float = 30.0
    python: str = sys.executable

    @property
    def marker(self) -> str:
        """What every process of this home, and no other one, has in its command line."""
        return f"shop:{self.home}"

    @property
    def log(self) -> Path:
        return self.home / "log" / "shop.log"


def read_settings(home: Path) -> dict[str, str]:
    """The KEY=VALUE lines of the home's shop.env, or nothing when it has none."""
    path = home / "shop.env"
    if not path.exists():
        return {}
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#") and "=" in line)


def is_ours(cmdline: bytes, marker: str) -> bool:
    """Whether a command line is that of a gunicorn with this marker, setproctitle or not."""
    if b"gunicorn" not in cmdline:
        return False
    arguments = cmdline.split(b"\0")
    return marker.encode() in arguments or f"[{marker}]".encode() in cmdline


def _process(pid: int) -> tuple[bytes, int, str] | None:
    """A process's command line, parent and state; None when there is no such process."""
    try:
        cmdline = Path(f"/proc/{pid}/cmdline").read_bytes()
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return cmdline, int(fields[1]), fields[0]


def processes(marker: str) -> dict[int, int]:
    """The running processes that carry the marker: process id to parent process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := _process(int(entry.name))) is not None:
            cmdline, parent, state = process
            if state != "Z" and is_ours(cmdline, marker):
                found[int(entry.name)] = parent
    return found


def masters(found: dict[int, int]) -> list[int]:
    """Those of the processes that are nobody's worker among them."""
    return sorted(pid for pid, parent in found.items() if parent not in found)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def stop(service: Service) -> list[int]:
    """End every process of the home: gracefully within the time-out, else by force; returns the masters."""
    found = processes(service.marker)
    stopped = masters(found)
    _signal(stopped, signal.SIGTERM)
    deadline = time.monotonic() + service.timeout
    while found and time.monotonic() < deadline:
        time.sleep(POLL_S)
        found = processes(service.marker)
    if found:
        _signal(list(found), signal.SIGKILL)
        deadline = time.monotonic() + 5
        while found := processes(service.marker):
            if time.monotonic() > deadline:
                raise ServiceError(f"processes {sorted(found)} of {service.home} are still there 5 s after SIGKILL")
            time.sleep(POLL_S)
    return stopped


def start(service: Service) -> int:
    """Start the release that `current` points to until it answers; returns the master's process id."""
    # The real folder, once: moving the link later must not change what a running server imports.
    release = (service.home / "current").resolve()
    if not (release / "gunicorn.conf.py").is_file():
        raise ServiceError(f"{service.home / 'current'} does not lead to a release of the shop (looked in {release})")
    if _listening(service):
        raise ServiceError(f"{service.bind}:{service.port} is in use by a process that does not belong to {service.home}")
    service.log.parent.mkdir(exist_ok=True)
    environment = os.environ | read_settings(service.home) | {"PWD": str(release), "PYTHONUNBUFFERED": "1"}
    # The caller's PYTHONPATH is not the shop's, and without cached bytecode a start takes three times longer.
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    command = [service.python, "-m", "gunicorn", "--name", service.marker]
    command += ["--bind", f"{service.bind}:{service.port}", "--config", str(release / "gunicorn.conf.py")]
    with service.log.open("ab") as log:
        child = subprocess.Popen(
            command,
            cwd=release,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + service.timeout
    while not (answers := _answers(service)) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
    if child.poll() is not None:
        raise ServiceError(f"gunicorn ended with {child.returncode} while starting {release}; {_log_tail(service)}")
    if not answers:
        stop(service)
        raise ServiceError(
            f"{release} did not answer on {service.bind}:{service.port} within {service.timeout:g} s; {_log_tail(service)}"
        )
    return child.pid


def _listening(service: Service) -> bool:
    try:
        socket.create_connection((service.bind, service.port), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(service: Service) -> bool:
    """Whether the shop answers HTTP at all; how healthy it is, is for the deploy's health gate to judge."""
    connection = http.client.HTTPConnection(service.bind, service.port, timeout=2)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _log_tail(service: Service) -> str:
    lines = service.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return f"the end of {service.log}:\n" + "\n".join(lines)


def status(service: Service) -> dict:
    """Whether the shop runs, as which process, and from which release folder."""
    running = masters(processes(service.marker))
    if not running:
        return {"running": False}
    try:
        release = str(Path(f"/proc/{running[0]}/cwd").readlink())
    except OSError:
        release = None
    return {"running": True, "pid": running[0], "release": release}


@contextmanager
def exclusive(service: Service) -> Iterator[None]:
    """One command per home at a time; the lock goes with the process that holds it."""
    path = service.home / "service.lock"
    deadline = time.monotonic() + service.timeout * 2
    with path.open("ab") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ServiceError(f"another command held {path} for {service.timeout * 2:g} s") from None
                time.sleep(POLL_S)
        yield


def run(action: str, service: Service) -> dict:
    """Carry out one command and return what it reports; raises ServiceError."""
    if action == "status":
        return {"changed": False} | status(service)
    with exclusive(service):
        if action == "stop":
            return {"changed": bool(stop(service))} | status(service)
        before = status(service)
        if action == "start" and before["running"] and before["release"] == str((service.home / "current").resolve()):
            return {"changed": False} | before
        stop(service)
        start(service)
        return {"changed": True} | status(service)


def parse(arguments: list[str]) -> tuple[str, Service]:
    """The command line: what to do, and with which web server."""
    parser = argparse.ArgumentParser(prog="service.py", description="Start, restart or stop the shop of one home.")
    parser.add_argument("action", choices=["start", "restart", "stop", "status"])
    parser.add_argument("--home", type=Path, required=True, help="folder with current, shop.env and releases")
    parser.add_argument("--port", type=int, help="default: SHOP_PORT in shop.env")
    parser.add_argument("--bind", help="default: SHOP_BIND in shop.env, or else 127.0.0.1")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for the stop, and again for the start")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has gunicorn")
    options = parser.parse_args(arguments)
    if not options.home.is_dir():
        parser.error(f"--home {options.home} is not a folder")
    home = options.home.resolve()
    settings = read_settings(home)
    port = options.port or int(settings.get("SHOP_PORT", 0))
    if not port and options.action in ("start", "restart"):
        parser.error("say --port, or set SHOP_PORT in shop.env")
    bind = options.bind or settings.get("SHOP_BIND", "127.0.0.1")
    return options.action, Service(home, bind, port, options.timeout, options.python)


def main() -> int:
    action, service = parse(sys.argv[1:])
    try:
        report = run(action, service)
    except (ServiceError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(report))
    return 3 if action == "status" and not report["running"] else 0


if __name__ == "__main__":
    sys.exit(main())
