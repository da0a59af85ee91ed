# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The load notices what a bad server does to it; the server is a small one in the same process."""

import asyncio
import json
import time

from aiohttp import web

from lab.load import Load


class FakeShop:
    """A shop in memory, one of whose habits may be bad."""

    def __init__(self, **habits) -> None:
        self.habits = habits
        self.orders = {}
        self.connections = {}
        self.calls = self.created = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.calls += 1
        connection = id(request.transport)
        self.connections[connection] = self.connections.get(connection, 0) + 1
        if self.habits.get("hangs_up") and self.connections[connection] > 1:
            request.transport.close()
            return web.Response()
        if self.habits.get("status") and request.method == "POST":
            return web.json_response({}, status=self.habits["status"])
        parts = request.path.strip("/").split("/")
        if request.method == "POST":
            self.created = number = self.created + 1
            body = await request.json()
            self.orders[number] = {"id": number, "billed_to": body["customer"], **body}
            return web.json_response({"id": number}, status=201)
        if request.method == "PUT":
            customer = (await request.json())["customer"]
            self.orders[int(parts[1])] |= {"customer": customer, "billed_to": customer}
            return web.json_response({})
        if parts[0] == "customers":
            rows = [row for row in self.orders.values() if row["customer"] == int(parts[1])]
            return web.json_response({"orders": rows[::-1][:50]})
        if parts[0] == "orders":
            if int(parts[1]) not in self.orders:
                return web.json_response({}, status=404)
            return web.json_response(self.orders[int(parts[1])] | self.habits.get("answers", {}))
        return web.Response(text="Example shop")


def run(shop, path, seconds=0.6, rate=200.0, at_the_end=lambda: None):
    async def scenario():
        server = web.Application()
        server.router.add_route("*", "/{path:.*}", shop.handle)
        runner = web.AppRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        load = Load(f"http://127.0.0.1:{runner.addresses[0][1]}", rate, timeout=5)

        def end():
            load.stop()
            at_the_end()

        asyncio.get_running_loop().call_later(seconds, end)
        try:
            return await load.run(path / "progress", verify_timeout=5)
        finally:
            await runner.cleanup()

    return asyncio.run(scenario())


def test_a_good_shop_has_no_failures_and_gets_the_wanted_rate(tmp_path):
    began = time.monotonic()
    result = run(FakeShop(), tmp_path, seconds=1.2)
    assert (result["failed"], result["wrong"], result["lost_writes"]) == (0, 0, 0), result["error_samples"]
    assert 150 <= result["requests"] <= 200 * (time.monotonic() - began) + 20
    assert len(result["samples"]["at"]) == len(result["samples"]["ms"]) == result["requests"]
    assert result["acknowledged_writes"] > 40
    assert 0 < result["longest_gap_ms"] < 5000  # a busy machine has gaps of its own
    assert json.loads((tmp_path / "progress").read_text().splitlines()[0])["failed"] == 0


def test_a_connection_closed_under_a_get_is_a_failure_and_not_a_second_attempt(tmp_path):
    shop = FakeShop(hangs_up=True)
    result = run(shop, tmp_path)
    assert any("Disconnected" in kind for kind in result["errors"]), result["errors"]
    assert len(result["failed_at"]) == result["failed"] > 0
    # Each request and the final read of each order reached the shop once at most.
    assert shop.calls <= result["requests"] + shop.created


def test_errors_are_failures(tmp_path):
    result = run(FakeShop(status=503), tmp_path)
    assert result["failed"] > 20
    assert result["acknowledged_writes"] == 0
    assert "HTTP 503" in result["error_samples"][0]["error"]


def test_an_answer_that_is_not_what_was_written_is_wrong(tmp_path):
    result = run(FakeShop(answers={"quantity": 77}), tmp_path)
    assert result["wrong"] > 5
    assert "quantity 77" in next(iter(result["lost_samples"]))


def test_a_write_that_is_gone_at_the_end_is_lost(tmp_path):
    shop = FakeShop()
    result = run(shop, tmp_path, at_the_end=lambda: shop.orders.pop(1))
    assert result["lost_writes"] == 1
    assert "order 1" in result["lost_samples"][0]
