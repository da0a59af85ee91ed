# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Both versions of the shop serve users from the first expand script to the last contract script."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.load_process import LoadProcess

FIRST_OF_RELEASE = 3


@pytest.fixture
def servers(database, migrate, prepare):
    """A version 1 and a version 2 on the schema of version 1."""
    migrate(database, "expand", last=FIRST_OF_RELEASE - 1)
    pair = prepare("old", "1.0.0", database.url), prepare("new", "2.0.0", database.url)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda server: server.service("start"), pair))
    return pair


def test_what_one_version_writes_the_other_one_reads(database, migrate, servers, ask):
    old, new = (server.url for server in servers)
    status, before = ask("POST", f"{old}/orders", {"customer": 1, "item": "kettle", "quantity": 2})
    assert status == 201
    migrate(database, "expand", first=FIRST_OF_RELEASE)
    assert ask("GET", f"{new}/orders/{before['id']}")[1]["billed_to"] == 1

    for number, (writer, mover) in enumerate(itertools.product((old, new), repeat=2)):
        first, second = 2 * number + 2, 2 * number + 3
        status, created = ask("POST", f"{writer}/orders", {"customer": first, "item": "pan", "quantity": 3})
        assert status == 201
        order = f"/orders/{created['id']}"
        for reader in (old, new):
            content = ask("GET", reader + order)[1]
            assert (content["customer"], content["billed_to"], content["amount_cents"]) == (
                first,
                first,
                3750,
            )
        assert ask("PUT", mover + order, {"customer": second})[0] == 200
        for reader in (old, new):
            assert [row["id"] for row in ask("GET", f"{reader}/customers/{second}/orders")[1]["orders"]] == [created["id"]]
            assert ask("GET", f"{reader}/customers/{first}/orders")[1]["orders"] == []
        address = {"street": f"Road {number}", "city": "Bath"}
        assert ask("POST", f"{writer}/customers/{first}/addresses", address)[0] == 201
        seen = [ask("GET", f"{reader}/customers/{first}/addresses")[1]["addresses"] for reader in (old, new)]
        assert seen[0] == seen[1]
        assert [row["street"] for row in seen[0]] == [address["street"]]

    migrate(database, "contract")
    assert ask("GET", f"{new}/orders/{before['id']}")[1]["customer"] == 1
    assert ask("POST", f"{new}/orders", {"customer": 1, "item": "cup", "quantity": 1})[0] == 201
    listed = ask("GET", f"{new}/customers/1/orders")[1]["orders"]
    assert [(row["name"], row["item"]) for row in listed] == [("Ada Lind", "cup"), ("Ada Lind", "kettle")]


def test_users_do_not_notice_expand_nor_contract(database, migrate, servers, ask, tmp_path):
    def health():
        return [ask("GET", f"{server.url}/health") for server in servers]

    old, new = servers
    (status, report), (status_of_new, report_of_new) = health()
    assert (status, report) == (200, {"status": "ok", "version": "1.0.0", "name": "old", "database": "ok"})
    assert (status_of_new, report_of_new["status"]) == (503, "failed")
    with LoadProcess(old.url, tmp_path, rate=60, name="old") as load:
        migrate(database, "expand", first=FIRST_OF_RELEASE)
        results = [load.finish()]
    assert [status for status, _body in health()] == [200, 200]
    with LoadProcess(new.url, tmp_path, rate=60, name="new") as load:
        migrate(database, "contract")
        results.append(load.finish())
    assert [status for status, _body in health()] == [503, 200]
    for result in results:
        assert (result["failed"], result["wrong"], result["lost_writes"]) == (0, 0, 0), result["error_samples"]
        assert result["acknowledged_writes"] > 10


def test_requests_that_make_no_sense_are_refused(database, migrate, prepare, ask):
    migrate(database, "expand", last=FIRST_OF_RELEASE - 1)
    server = prepare("old", "1.0.0", database.url)
    server.service("start")
    url = server.url
    assert ask("POST", f"{url}/orders", {"customer": 1, "item": "pan"})[0] == 400
    assert ask("POST", f"{url}/orders", {"customer": 1, "item": "pan", "quantity": 0})[0] == 400
    assert ask("POST", f"{url}/orders", {"customer": 999, "item": "pan", "quantity": 1})[0] == 404
    assert ask("PUT", f"{url}/orders/999", {"customer": 1})[0] == 404
    assert ask("GET", f"{url}/orders/999") == (404, {"error": "there is no order 999"})
    assert ask("GET", f"{url}/nowhere")[0] == 404
