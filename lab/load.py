# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Constant load on the shop that notices every failed request, wrong answer and lost write.

`python -m lab.load --url http://127.0.0.1:8000 --out result.json`; SIGTERM, SIGINT, --stop-file or --duration
end it: it stops sending, waits for what is under way, reads every acknowledged write once more and writes the
result.

Requests are due at a constant rate whether or not earlier ones were answered, and latencies count from then.
Nothing is ever sent twice: a failure is a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import time
from array import array
from collections import Counter
from pathlib import Path

import aiohttp

from lab.load_journal import Journal, Order
from lab.load_report import longest_gap_ms, percentile

# One round: 7 writes in 20 requests, each read back by one of the reads after it.
ROUND = "create read read move read create list read create read page create read move list create read read read list"
OPERATIONS = ROUND.split()
MAX_IN_FLIGHT = 1000
FINAL_READERS = 16
ERROR_SAMPLES = 100


class WrongError(Exception):
    """A 2xx answer that is not what was written."""


class FailedError(Exception):
    """An answer that is not 2xx."""


class Load:
    """One run of the load.

    Parameters:
        url: base URL of the shop.
        rate: requests per second.
        timeout: seconds until a request counts as failed.
        customers: the shop's customers have the ids 1 to this.
    """

    def __init__(self, url: str, rate: float = 200.0, timeout: float = 10.0, customers: int = 20) -> None:
        self.url = url.rstrip("/")
        self.rate = rate
        self.timeout = timeout
        self.customers = customers
        self.journal = Journal(customers)
        self.requests = self.failed = self.wrong = 0
        self.errors: Counter[str] = Counter()
        self.error_samples: list[dict] = []
        self.failed_at: list[float] = []
        self.lost: list[str] = []
        self.versions: Counter[str] = Counter()
        self.servers: Counter[str] = Counter()
        self._at, self._ms = array("d"), array("d")
        self._run = secrets.token_hex(4)
        self._number = 0
        self._in_flight: set[asyncio.Task] = set()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Send no more requests."""
        self._stopping.set()

    async def run(self, progress: Path, verify_timeout: float = 120.0) -> dict:
        """Send until `stop`, then verify; returns the result. Appends a snapshot a second to `progress`."""
        connector = aiohttp.TCPConnector(limit=MAX_IN_FLIGHT, keepalive_timeout=5)
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as self._session:
            never_retry(self._session)
            self.started, self._clock = time.time(), time.perf_counter()
            snapshots = asyncio.create_task(self._snapshots(progress))
            await self._send()
            sent_for = time.perf_counter() - self._clock
            if self._in_flight:
                await asyncio.wait(self._in_flight)
            snapshots.cancel()
            await asyncio.gather(snapshots, return_exceptions=True)
            await self._verify(verify_timeout)
        return self._result(sent_for)

    async def _send(self) -> None:
        number = 0
        while not self._stopping.is_set():
            due = number / self.rate
            wait = due - (time.perf_counter() - self._clock)
            if wait > 0:
                await asyncio.sleep(wait)
            elif number % 20 == 0:
                await asyncio.sleep(0)
            while len(self._in_flight) >= MAX_IN_FLIGHT:
                await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._timed(OPERATIONS[number % len(OPERATIONS)], due))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
            number += 1

    async def _timed(self, operation: str, due: float) -> None:
        self.requests += 1
        try:
            await getattr(self, f"_{operation}")()
        except WrongError as error:
            self.wrong += 1
            self._note(operation, due, f"wrong: {error}", "wrong")
        except Exception as error:  # whatever it was, the user of this request did not get an answer
            self.failed += 1
            self.failed_at.append(self.started + due)
            text = str(error) if isinstance(error, FailedError) else f"{type(error).__name__}: {error}"
            self._note(operation, due, text, text[:60])
        else:
            self._at.append(due)
            self._ms.append((time.perf_counter() - self._clock - due) * 1000)

    def _note(self, operation: str, due: float, text: str, kind: str) -> None:
        self.errors[kind] += 1
        if len(self.error_samples) < ERROR_SAMPLES:
            self.error_samples.append({"at": self.started + due, "operation": operation, "error": text[:300]})

    async def _ask(self, method: str, path: str, body: dict | None = None) -> object:
        async with self._session.request(method, self.url + path, json=body, allow_redirects=False) as answer:
            content = await answer.read()
            if not 200 <= answer.status < 300:
                who = answer.headers.get("X-Shop-Name", "no shop")
                raise FailedError(f"HTTP {answer.status} from {who}: {content[:120]!r}")
            self.versions[answer.headers.get("X-Shop-Version", "?")] += 1
            self.servers[answer.headers.get("X-Shop-Name", "?")] += 1
        if path == "/":
            return content.decode()
        try:
            return json.loads(content)
        except ValueError:
            raise WrongError(f"{method} {path} was answered with {content[:80]!r}") from None

    async def _create(self) -> None:
        self._number += 1
        customer = self._number % self.customers + 1
        item, quantity = f"item {self._run}-{self._number}", self._number % 5 + 1
        body = {"customer": customer, "item": item, "quantity": quantity}
        answer = await self._ask("POST", "/orders", body)
        order = answer.get("id") if isinstance(answer, dict) else None
        if not isinstance(order, int) or not self.journal.created(Order(order, {customer}, item, quantity)):
            raise WrongError(f"a new order was answered with {answer!r}")

    async def _move(self) -> None:
        order = self.journal.take_for_moving()
        if order is None:
            return await self._list()
        customer = min(order.customers) % self.customers + 1
        acknowledged = False
        try:
            await self._ask("PUT", f"/orders/{order.id}", {"customer": customer})
            acknowledged = True
        finally:
            if acknowledged:
                self.journal.moved(order, customer)
            else:
                self.journal.perhaps_moved(order, customer)

    async def _read(self) -> None:
        order = self.journal.take_for_reading()
        if order is None:
            return await self._list()
        try:
            # Half of the fresh ones through the view, which joins by the column that the release renames.
            if order.id % 2 and len(order.customers) == 1 and order.id in self.journal.newest:
                customer = min(order.customers)
                rows = await self._customer_orders(customer)
                row = next((row for row in rows if row.get("id") == order.id), None)
                if row is None:
                    raise WrongError(f"order {order.id} is not in the list of customer {customer}")
            else:
                row = await self._ask("GET", f"/orders/{order.id}")
            if mismatch := order.mismatch(row):
                raise WrongError(mismatch)
        finally:
            order.pins -= 1

    async def _list(self) -> None:
        self._number += 1
        await self._customer_orders(self._number % self.customers + 1)

    async def _customer_orders(self, customer: int) -> list[dict]:
        answer = await self._ask("GET", f"/customers/{customer}/orders")
        rows = answer.get("orders") if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise WrongError(f"the orders of customer {customer} were answered with {answer!r}"[:200])
        for row in rows:
            if not isinstance(row, dict) or row.get("customer") != customer or row.get("billed_to") != customer:
                raise WrongError(f"{row} is in the list of customer {customer}")
        return rows

    async def _page(self) -> None:
        if "Example shop" not in await self._ask("GET", "/"):
            raise WrongError("the start page is not the shop's")

    async def _snapshots(self, progress: Path) -> None:
        seen, versions = 0, Counter()
        while True:
            await asyncio.sleep(1)
            latencies = self._ms[seen:].tolist()
            seen += len(latencies)
            line = {
                "at": time.time(),
                "requests": self.requests,
                "failed": self.failed,
                "wrong": self.wrong,
                "in_flight": len(self._in_flight),
                "answers": len(latencies),
                "p50_ms": percentile(latencies, 50),
                "p99_ms": percentile(latencies, 99),
                "versions": self.versions - versions,
            }
            versions = self.versions.copy()
            with progress.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    async def _verify(self, timeout: float) -> None:
        left = list(self.journal.orders.values())

        async def reader() -> None:
            while left:
                order = left.pop()
                try:
                    mismatch = order.mismatch(await self._ask("GET", f"/orders/{order.id}"))
                except (FailedError, WrongError, aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                    mismatch = f"order {order.id}: {type(error).__name__} {error}"
                except asyncio.CancelledError:
                    self.lost.append(f"order {order.id} was not read within {timeout:g} s")
                    raise
                if mismatch:
                    self.lost.append(mismatch)

        readers = [asyncio.create_task(reader()) for _reader in range(FINAL_READERS)]
        _done, late = await asyncio.wait(readers, timeout=timeout)
        for one in late:
            one.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        self.lost += [f"order {order.id} was not read within {timeout:g} s" for order in left]

    def _result(self, sent_for: float) -> dict:
        done = [at + ms / 1000 for at, ms in zip(self._at, self._ms, strict=True)]
        return {
            "url": self.url,
            "rate": self.rate,
            "started": self.started,
            "ended": self.started + sent_for,
            "requests": self.requests,
            "failed": self.failed,
            "wrong": self.wrong,
            "acknowledged_writes": self.journal.writes,
            "lost_writes": len(self.lost),
            "longest_gap_ms": round(longest_gap_ms(done, 0.0, sent_for), 3),
            "p50_ms": percentile(self._ms, 50),
            "p99_ms": percentile(self._ms, 99),
            "versions": self.versions,
            "servers": self.servers,
            "errors": self.errors,
            "error_samples": self.error_samples,
            "lost_samples": self.lost[:ERROR_SAMPLES],
            "failed_at": self.failed_at,
            "samples": {"at": [round(x, 4) for x in self._at], "ms": [round(x, 3) for x in self._ms]},
        }


def never_retry(session: aiohttp.ClientSession) -> None:
    """Switch off aiohttp's silent second attempt of a GET on a connection that the server had closed."""
    if not hasattr(session, "_retry_connection"):
        raise RuntimeError("this aiohttp has no _retry_connection: its retries would hide failed requests")
    session._retry_connection = False


async def _run(options: argparse.Namespace) -> dict:
    load = Load(options.url, options.rate, options.timeout, options.customers)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, load.stop)
    if options.duration:
        loop.call_later(options.duration, load.stop)

    async def watch(stop_file: Path) -> None:
        while not stop_file.exists():
            await asyncio.sleep(0.1)
        load.stop()

    watcher = asyncio.create_task(watch(options.stop_file)) if options.stop_file else None
    try:
        return await load.run(options.progress or Path(f"{options.out}.progress"), options.verify_timeout)
    finally:
        if watcher:
            watcher.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description="Constant, verified load on the example shop.")
    parser.add_argument("--url", required=True, help="base URL, for example http://127.0.0.1:8000")
    parser.add_argument("--out", type=Path, required=True, help="the result, JSON, written at the end")
    parser.add_argument("--progress", type=Path, help="a JSON line a second (default: OUT.progress)")
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds until a request has failed")
    parser.add_argument("--customers", type=int, default=20, help="the customers' ids are 1 to this")
    parser.add_argument("--duration", type=float, help="seconds; default: until SIGTERM or the stop file")
    parser.add_argument("--stop-file", type=Path, help="stop when this file exists")
    parser.add_argument("--verify-timeout", type=float, default=120.0, help="bound of the final read of all writes")
    options = parser.parse_args()
    result = asyncio.run(_run(options))
    unfinished = options.out.with_name(options.out.name + ".unfinished")
    unfinished.write_text(json.dumps(result), encoding="utf-8")
    unfinished.replace(options.out)


if __name__ == "__main__":
    main()
