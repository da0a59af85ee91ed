# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks URLs at a fixed rate and keeps a journal of what came back: a program of its own, which needs nothing but Python.

Its one argument is a private folder, its standard input the settings, so that no secret is ever in a file. A request is due at
a fixed time, whatever became of those before it, and its latency counts from then. The program ends when it is told to, when its
time is over, or when the folder is no longer its own.
"""

from __future__ import annotations

import heapq
import http.client
import json
import os
import queue
import signal
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

PID_FILE, JOURNAL = "prober.json", "journal.jsonl"
AGENT = "everup.deploy availability_probe"
_FLUSH_SECONDS = 1.0
_LONGEST_SLEEP = 0.1
_STACK_BYTES = 512 * 1024
_CHUNK = 64 * 1024
_LONGEST_REASON = 80
_MOST_KEPT_LINES = 1000


class Target:
    """One URL, and how it is asked.

    Parameters:
        settings: url, shown (the URL as anybody may see it), method, headers, body, rate (requests a second).
        validate_certs: whether the certificate of an https URL must be valid.
    """

    def __init__(self, settings: dict, validate_certs: bool) -> None:
        parts = urlsplit(settings["url"])
        self.is_tls = parts.scheme == "https"
        self.host, self.port = parts.hostname, parts.port
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.method, self.rate, self.shown = settings["method"], settings["rate"], settings["shown"]
        self.body = settings["body"].encode() if settings["body"] else None
        own = {"User-Agent": AGENT, "Cache-Control": "no-cache", "Connection": "close"}
        self.headers = {**own, **settings["headers"]}
        self._tls = None
        if self.is_tls:
            self._tls = ssl.create_default_context()
            if not validate_certs:
                self._tls.check_hostname = False
                self._tls.verify_mode = ssl.CERT_NONE

    def connection(self, timeout: float) -> http.client.HTTPConnection:
        """Return a new connection that is not open yet."""
        if self.is_tls:
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self._tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)


class Request:
    """One request under way: which target, when it was due and when it was begun, in seconds of the prober's clock."""

    def __init__(self, target: int, due: float, begun: float) -> None:
        self.target, self.due, self.begun = target, due, begun
        self.socket: socket.socket | None = None

    def cut(self) -> None:
        """End the wait for an answer that nobody counts any longer."""
        if self.socket:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)


def is_expected(status: int, expected: list) -> bool:
    """Return whether a status is one of those expected, or below 400 where none are named."""
    return status in expected if expected else 200 <= status < 400


def ask(target: Target, request: Request, timeout: float, expected: list) -> str:
    """Send one request and read its whole answer; return why it failed, nothing when it did not.

    The reason is of our own words and the system's, never of what was sent.
    """
    deadline = time.monotonic() + timeout
    connection = target.connection(timeout)
    try:
        connection.connect()
        held = request.socket = connection.sock
        held.settimeout(max(0.001, deadline - time.monotonic()))
        connection.request(target.method, target.path, target.body, target.headers)
        answer = connection.getresponse()
        while answer.read1(_CHUNK):
            held.settimeout(max(0.001, deadline - time.monotonic()))
        if answer.length:
            return "the connection was closed within the answer"
        return "" if is_expected(answer.status, expected) else f"HTTP {answer.status}"
    except socket.timeout:
        return f"no answer within {timeout:g} s"
    except ssl.SSLError as error:
        return f"TLS: {error.reason or type(error).__name__}"[:_LONGEST_REASON]
    except OSError as error:
        return str(error.strerror or type(error).__name__)[:_LONGEST_REASON]
    except Exception as error:
        return type(error).__name__
    finally:
        connection.close()


class Prober:
    """One run.

    Parameters:
        folder: where its files are.
        settings: run (its name), process (what others know this process by), settings (what of them anybody may see), targets,
            timeout, status, validate_certs, max_duration, max_in_flight; times in seconds.
    """

    def __init__(self, folder: str, settings: dict) -> None:
        self.folder, self.settings = Path(folder), settings
        self.timeout = settings["timeout"]
        self.targets = [Target(one, settings["validate_certs"]) for one in settings["targets"]]
        self.stopping = ""
        self._lock = threading.Lock()
        self._under_way: set[Request] = set()
        self._results: list[list] = []
        self._missed = 0
        self._todo: queue.SimpleQueue = queue.SimpleQueue()
        self._threads = self._busy = 0
        self._kept: list[str] = []

    def run(self) -> None:
        """Ask until there is a reason to end; then wait for what is under way, and say so in the journal."""
        signal.signal(signal.SIGTERM, lambda _number, _frame: self._stop("stopped"))
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        threading.stack_size(_STACK_BYTES)
        self._journal = os.open(self.folder / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        started = time.time()
        self._clock = time.monotonic()
        self._write({"started": started, **{name: self.settings[name] for name in ("run", "timeout", "status", "settings")}})
        self._announce()
        self._schedule()
        ended = self._now()
        self._finish()
        self._write({"end": self.stopping, "at": round(ended, 3)})

    def _now(self) -> float:
        return time.monotonic() - self._clock

    def _stop(self, why: str) -> None:
        self.stopping = self.stopping or why

    def _announce(self) -> None:
        """Write the file by which others find this process; it is whole or it is not there."""
        unfinished = self.folder / f"{PID_FILE}.new"
        told = {name: self.settings[name] for name in ("run", "process", "settings")}
        unfinished.write_text(json.dumps({**told, "clock": self._clock}), encoding="utf-8")
        unfinished.replace(self.folder / PID_FILE)

    def _is_ours(self) -> bool:
        try:
            return json.loads((self.folder / PID_FILE).read_text(encoding="utf-8")).get("run") == self.settings["run"]
        except (OSError, ValueError):
            return False

    def _schedule(self) -> None:
        # Targets take turns within the second rather than all at the same moment.
        due = [((number / len(self.targets)) / one.rate, number, 0) for number, one in enumerate(self.targets)]
        first = {number: at for at, number, _count in due}
        heapq.heapify(due)
        flushed = 0.0
        while not self.stopping:
            now = self._now()
            while due[0][0] <= now and not self.stopping:
                at, number, count = due[0]
                heapq.heapreplace(due, (first[number] + (count + 1) / self.targets[number].rate, number, count + 1))
                self._begin(number, at)
                now = self._now()
            self._end_overdue(now)
            if now - flushed >= _FLUSH_SECONDS:
                flushed = now
                self._flush(now)
                if now >= self.settings["max_duration"]:
                    self._stop("max_duration")
                elif not self._is_ours():
                    self._stop("abandoned")
            time.sleep(max(0.0, min(_LONGEST_SLEEP, due[0][0] - self._now())))

    def _begin(self, number: int, due: float) -> None:
        """Hand a request to a thread.

        What cannot be begun any more has failed, unless this process slept, or its system gives it no more threads.
        """
        now = self._now()
        if now - due > max(self.timeout, _FLUSH_SECONDS):
            self._missed += 1
            return
        request = Request(number, due, now)
        with self._lock:
            if self._busy >= self.settings["max_in_flight"]:
                most = self.settings["max_in_flight"]
                self._results.append([number, round(due, 3), None, f"not begun: {most} requests were under way"])
                return
            self._busy += 1
            self._under_way.add(request)
            is_short = self._busy > self._threads
        if is_short:
            try:
                threading.Thread(target=self._work, daemon=True).start()
            except RuntimeError:
                with self._lock:
                    self._busy -= 1
                    self._under_way.remove(request)
                    self._missed += 1
                return
            self._threads += 1
        self._todo.put(request)

    def _work(self) -> None:
        while True:
            request = self._todo.get()
            target = self.targets[request.target]
            why = ask(target, request, self.timeout, self.settings["status"])
            took = self._now() - request.due
            with self._lock:
                self._busy -= 1
                if request in self._under_way:  # an overdue one has been counted
                    self._under_way.remove(request)
                    self._results.append(self._result(request, took, why))

    @staticmethod
    def _result(request: Request, took: float, why: str) -> list:
        answered = None if why else round(took * 1000, 1)
        return [request.target, round(request.due, 3), answered, *([why] if why else [])]

    def _end_overdue(self, now: float) -> None:
        with self._lock:
            overdue = [request for request in self._under_way if now - request.begun > self.timeout]
            for request in overdue:
                self._under_way.remove(request)
                self._results.append(self._result(request, 0.0, f"no answer within {self.timeout:g} s"))
        for request in overdue:
            request.cut()

    def _finish(self) -> None:
        deadline = self._now() + self.timeout + 0.1
        while self._under_way and self._now() < deadline:
            time.sleep(0.01)
        self._end_overdue(deadline + self.timeout)
        self._flush(self._now())

    def _flush(self, now: float) -> None:
        with self._lock:
            results, self._results = self._results, []
            missed, self._missed = self._missed, 0
        self._write({"at": round(now, 3), "asked": results, **({"missed": missed} if missed else {})})

    def _write(self, line: dict) -> None:
        """Append a line; what a full disk does not take of it, or of those before, is kept and tried again with the next."""
        self._kept.append(json.dumps(line, separators=(",", ":")))
        # The first line says whose journal it is: without it none of the others could be read.
        surplus = len(self._kept) - _MOST_KEPT_LINES
        if surplus > 0:
            first = 1 if "started" in json.loads(self._kept[0]) else 0
            del self._kept[first : first + surplus]
        # A line that was cut off before ends here, and is skipped by whoever reads.
        pieces = [f"\n{text}".encode() for text in self._kept]
        try:
            written = os.write(self._journal, b"".join(pieces) + b"\n")
        except OSError:
            return
        whole = 0
        for piece in pieces:
            written -= len(piece)
            if written < 0:
                break
            whole += 1
        del self._kept[:whole]


def main() -> None:
    """Run with the folder of the command line and the settings of standard input."""
    settings = json.load(sys.stdin)
    os.chdir("/")
    Prober(sys.argv[1], settings).run()


if __name__ == "__main__":
    main()
