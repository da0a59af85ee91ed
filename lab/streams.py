# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients that stay connected for long, and know when they were cut: downloads, long polls, WebSockets, kept-alive connections.

`python -m lab.streams --url http://lb1:8002 --out result.json --endless web1`; SIGTERM ends it: sessions that end by themselves
are waited for, and those that do not are left. Nothing is ever tried twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from pathlib import Path

import aiohttp

from lab.load import never_retry

ENDED, CUT, LEFT = "ended", "cut", "left"
CLIENTS = 2  # of each kind
PAUSE_S = 0.1
SILENCE_S = 15.0
NORMAL_CLOSURE = 1000  # RFC 6455, 7.4.1


class Streams:
    """All clients of one run.

    Parameters:
        url: base URL of the shop with lab/streams_app.py.
        seconds: how long a session lasts that ends by itself.
        endless: name of a server to hold a session on that never ends, None for none.
    """

    def __init__(self, url: str, seconds: float, endless: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.seconds = seconds
        self.endless = endless
        self.sessions: list[dict] = []
        self.kept_alive = {"requests": 0, "connections": 0, "failed": [], "versions": set()}
        self.held = False
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin no more sessions."""
        self._stopping.set()

    async def run(self, progress: Path) -> dict:
        """Stay connected until `stop`; returns what became of every session."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S),
        ) as self._session:
            never_retry(self._session)
            kinds = (self._download, self._poll, self._feed)
            clients = [asyncio.create_task(self._again_and_again(kind)) for kind in kinds for _number in range(CLIENTS)]
            clients += [asyncio.create_task(self._keep_alive()) for _number in range(CLIENTS)]
            if self.endless:
                clients.append(asyncio.create_task(self._hold()))
            reports = asyncio.create_task(self._report(progress))
            await asyncio.gather(*clients)
            reports.cancel()
            await asyncio.gather(reports, return_exceptions=True)
        return {"sessions": self.sessions, "kept_alive": self.kept_alive | {"versions": sorted(self.kept_alive["versions"])}}

    async def _again_and_again(self, kind) -> None:
        while not self._stopping.is_set():
            await self._one(kind, self.seconds)
            await asyncio.sleep(PAUSE_S)

    async def _one(self, kind, seconds: float) -> dict:
        session = {"kind": kind.__name__.strip("_"), "seconds": seconds, "began": time.time(), "server": None, "version": None}
        try:
            session["outcome"] = await kind(session, seconds)
        except Exception as error:  # whatever it was, this user did not get to the end
            session |= {"outcome": CUT, "why": f"{type(error).__name__}: {error}"}
        session["ended"] = time.time()
        self.sessions.append(session)
        return session

    async def _get(self, path: str, session: dict, seconds: float) -> bytes:
        async with self._session.get(f"{self.url}/streams/{path}", params={"seconds": str(seconds)}) as answer:
            session |= {"server": answer.headers.get("X-Shop-Name"), "version": answer.headers.get("X-Shop-Version")}
            content = await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"HTTP {answer.status}: {content[:120]!r}")
            return content

    async def _download(self, session: dict, seconds: float) -> str:
        lines = (await self._get("download", session, seconds)).splitlines()
        number, total = (int(word) for word in lines[-1].split()[1::2])
        return ENDED if len(lines) == total == number + 1 else CUT

    async def _poll(self, session: dict, seconds: float) -> str:
        json.loads(await self._get("poll", session, seconds))
        return ENDED

    async def _feed(self, session: dict, seconds: float, only: str | None = None) -> str:
        async with self._session.ws_connect(f"{self.url}/streams/feed?seconds={seconds}", autoping=True) as socket:
            async for message in socket:
                who = json.loads(message.data)
                session |= {"server": who["name"], "version": who["version"]}
                if only:
                    self.held = who["name"] == only
                    if not self.held or self._stopping.is_set():
                        await socket.close()
                        return LEFT
            self.held = False
            if socket.close_code == NORMAL_CLOSURE:
                return ENDED
            session["why"] = f"closed with {socket.close_code}"
            return CUT

    async def _endless(self, session: dict, seconds: float) -> str:
        try:
            return await self._feed(session, seconds, only=self.endless)
        finally:
            self.held = False

    async def _hold(self) -> None:
        """Hold one session that never ends on the wanted server; begin no other once it was cut."""
        while not self._stopping.is_set():
            session = await self._one(self._endless, 0)
            if session["outcome"] == CUT:
                return
            await asyncio.sleep(PAUSE_S)

    async def _keep_alive(self) -> None:
        """Ask again and again on one connection, and make another only where the server has said that it closes this one."""
        trace, kept = aiohttp.TraceConfig(), self.kept_alive

        async def connected(*_arguments) -> None:
            kept["connections"] += 1

        trace.on_connection_create_end.append(connected)
        connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector, trace_configs=[trace]) as session:
            never_retry(session)
            while not self._stopping.is_set():
                kept["requests"] += 1
                try:
                    async with session.get(f"{self.url}/health") as answer:
                        await answer.read()
                        if answer.status != 200:
                            raise RuntimeError(f"HTTP {answer.status} from {answer.headers.get('X-Shop-Name')}")
                        kept["versions"].add(answer.headers.get("X-Shop-Version"))
                except Exception as error:
                    kept["failed"].append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(PAUSE_S)

    async def _report(self, progress: Path) -> None:
        while True:
            unfinished = progress.with_name(progress.name + ".unfinished")
            cut = [session for session in self.sessions if session["outcome"] == CUT]
            seen = {"held": self.held, "sessions": len(self.sessions), "cut": cut}
            unfinished.write_text(json.dumps(seen) + "\n", encoding="utf-8")
            unfinished.replace(progress)
            await asyncio.sleep(0.2)


async def _run(options: argparse.Namespace) -> dict:
    streams = Streams(options.url, options.seconds, options.endless)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, streams.stop)
    return await streams.run(options.progress)


def main() -> None:
    parser = argparse.ArgumentParser(description="Clients of the example shop that stay connected.")
    parser.add_argument("--url", required=True, help="base URL, for example http://127.0.0.1:8000")
    parser.add_argument("--out", type=Path, required=True, help="the result, JSON, written at the end")
    parser.add_argument("--progress", type=Path, required=True, help="how things are, JSON, replaced all the time")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a session lasts")
    parser.add_argument("--endless", help="hold a session that never ends on this server")
    options = parser.parse_args()
    options.out.write_text(json.dumps(asyncio.run(_run(options))), encoding="utf-8")


if __name__ == "__main__":
    main()
