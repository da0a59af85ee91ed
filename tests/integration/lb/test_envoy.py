# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is Envoy's own: files that it has or has not loaded, panic, checks, runs that were killed, strange answers."""

from __future__ import annotations

import json
import threading
import time

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._lb import envoy


@pytest.fixture(params=["envoy"])
def rig_class(request, rig_classes):
    """Only Envoy here."""
    return rig_classes[request.param]


def edit(rig, change, pool: str = "shop", in_place: bool = False) -> None:
    """Change the members of a pool as somebody else would."""
    path = rig.server.eds_file(pool)
    document = json.loads(path.read_text())
    change(document["resources"][0]["endpoints"][0]["lb_endpoints"])
    other = path if in_place else path.with_name("new.json")
    other.write_text(json.dumps(document))
    other.replace(path)


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize(("before", "state"), [("ready", "drain"), ("ready", "maint"), ("drain", "ready"), ("maint", "ready")])
def test_a_run_that_was_killed_is_told_as_what_is_in_force(lb, rig, apps, before, state, renamed):
    lb.move(rig, before)
    lb.killed_at_the_rename(envoy, rig, state, renamed)
    seen = lb.facts(rig)["state"]
    assert seen == (state if renamed else before)
    lb.eventually(lambda: seen == "maint" or lb.facts(rig)["healthy"])
    assert lb.served(rig, apps) == [seen == "ready", True]
    lb.move(rig, state)
    assert lb.facts(rig)["state"] == state
    assert lb.served(rig, apps) == [state == "ready", True]


@pytest.mark.parametrize("killed", [False, True])
def test_a_change_is_in_force_at_once_with_envoys_own_merge_window(lb, start_rig, apps, killed):
    rig = start_rig(merge=None)
    lb.eventually(lambda: all(member["serving"] for member in lb.info(rig)["members"]))
    for state in ("drain", "ready", "drain"):
        lb.move(rig, state, wait=False)
        assert lb.served(rig, apps) == [state == "ready", True]
    if killed:
        lb.killed_at_the_rename(envoy, rig, "ready", renamed=True)
        assert lb.facts(rig)["state"] == "ready"
        assert lb.served(rig, apps) == [True, True]
        lb.killed_at_the_rename(envoy, rig, "drain", renamed=True)
        assert lb.move(rig, "drain")["changed"] is False
        assert lb.served(rig, apps) == [False, True]


def test_the_state_outlives_a_restart(lb, rig, apps):
    lb.move(rig, "drain")
    rig.stop()
    rig.start()
    assert lb.facts(rig)["state"] == "drain"
    lb.eventually(lambda: lb.facts(rig, member="web2")["healthy"])
    assert lb.served(rig, apps) == [False, True]


def test_a_drain_that_somebody_takes_back_fails_the_wait(lb, rig, apps):
    def take_back():
        lb.eventually(lambda: "DRAINING" in rig.server.eds_file("solo").read_text())
        time.sleep(0.3)
        edit(rig, lambda members: members[0].pop("health_status"), pool="solo")

    lb.Request(rig.port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    somebody = threading.Thread(target=take_back)
    somebody.start()
    with pytest.raises(EverupError, match="went back to ready"):
        lb.move(rig, "drain", pool="solo")
    somebody.join()


def test_what_somebody_else_wrote_stays(lb, rig):
    edit(rig, lambda members: members[0].update(load_balancing_weight=3))
    lb.eventually(lambda: lb.facts(rig)["weight"] == 3)
    lb.move(rig, "drain")
    assert lb.move(rig, "ready")["members"][0]["after"]["weight"] == 3


def test_an_edit_in_place_is_not_in_force_until_the_file_is_renamed(lb, rig, apps):
    edit(rig, lambda members: members[0].update(health_status="DRAINING"), in_place=True)
    assert lb.facts(rig)["state"] == "ready"
    assert lb.served(rig, apps) == [True, True]
    assert lb.move(rig, "drain")["changed"] is True
    assert lb.facts(rig)["state"] == "drain"
    assert lb.served(rig, apps) == [False, True]


def test_a_file_that_envoy_refuses_is_put_back(lb, rig, apps):
    edit(rig, lambda members: members[1].update(load_balancing_weight=0), in_place=True)
    broken = rig.server.eds_file("shop").read_text()
    with pytest.raises(EverupError, match=r"has not loaded .*shop\.json within 0\.5 s") as error:
        lb.move(rig, "drain", connect_timeout=0.5)
    assert rig.address in str(error.value)
    assert rig.server.eds_file("shop").read_text() == broken
    assert lb.facts(rig)["state"] == "ready"


def test_yaml_is_refused_with_a_way_on(lb, rig):
    rig.server.eds_file("shop").write_text("resources: []\n")
    with pytest.raises(EverupError, match="edits JSON only") as error:
        lb.move(rig, "drain")
    assert rig.address in str(error.value)
    assert str(rig.server.eds_file("shop")) in str(error.value)


def test_a_file_that_is_gone_is_named(lb, rig):
    rig.server.eds_file("shop").unlink()
    with pytest.raises(EverupError, match=r"shop\.json, which cannot be read here: No such file"):
        lb.info(rig)


def test_two_members_of_one_name_are_refused(lb, rig):
    edit(rig, lambda members: members[1]["metadata"]["filter_metadata"]["everup.deploy"].update(member="web1"))
    with pytest.raises(EverupError, match="has 2 members web1: give each a name of its own in its metadata"):
        lb.move(rig, "drain")


def test_a_member_without_a_name_goes_by_its_hostname_or_address(lb, rig, apps):
    def rename(members):
        for member in members:
            del member["metadata"]
        members[1]["endpoint"]["hostname"] = "second"

    edit(rig, rename)
    address = "127.0.0.1:{}".format(apps["web1"].at[1])
    assert [member["member"] for member in lb.info(rig, pool="shop")["members"]] == [address, "second"]
    assert lb.move(rig, "drain", member=address)["changed"] is True


def test_a_pool_that_would_panic_is_not_drained(lb, start_rig, apps):
    rig = start_rig(panic=None)
    lb.eventually(lambda: all(member["serving"] for member in lb.info(rig)["members"]))
    lb.move(rig, "drain")
    assert lb.served(rig, apps) == [False, True]
    for state in ("drain", "maint"):
        for check_mode in (True, False):
            with pytest.raises(EverupError, match=r"50 % of them are available, which is Envoy's healthy_panic_threshold"):
                lb.move(rig, state, member="web2", check_mode=check_mode)
    assert lb.facts(rig, member="web2")["state"] == "ready"
    for state in ("maint", "drain", "ready"):  # one of two is half of them, which is enough
        lb.move(rig, state)
    assert lb.served(rig, apps) == [True, True]


def test_envoy_does_panic_where_the_module_says_so(lb, start_rig, apps):
    rig = start_rig(panic=None)
    lb.eventually(lambda: all(member["serving"] for member in lb.info(rig)["members"]))
    edit(rig, lambda members: [member.update(health_status="DRAINING") for member in members])
    lb.eventually(lambda: lb.facts(rig, member="web2")["state"] == "drain")
    assert lb.served(rig, apps) == [True, True]


def test_a_member_in_maintenance_is_not_checked_and_has_to_pass_a_check_when_it_comes_back(lb, rig, apps):
    lb.move(rig, "maint")
    assert (lb.facts(rig)["health"], lb.facts(rig)["healthy"]) == ("not checked", False)
    apps["web1"].health_seconds = 0.5
    lb.move(rig, "drain")
    assert lb.facts(rig)["healthy"] is False
    assert lb.move(rig, "ready")["waited_seconds"] > 0.2


def test_members_of_a_pool_that_envoy_does_not_check_are_checked_by_the_module(lb, start_rig, apps):
    rig = start_rig(health=None)
    assert lb.facts(rig)["health"] == "no check"
    apps["web1"].health_code = 503
    lb.move(rig, "drain", health_url="http://{address}/health")
    with pytest.raises(EverupError, match=r"last seen DOWN \(status 503\)"):
        lb.move(rig, "ready", timeout=0, health_url="http://{address}/health")
    assert lb.move(rig, "ready")["changed"] is True


def test_a_request_that_runs_into_maintenance_is_not_cut(lb, rig):
    request = lb.Request(rig.port("shop"), "/slow/0.7")
    other = lb.Request(rig.port("shop"), "/slow/0.7")
    lb.eventually(lambda: sum(member["sessions"] for member in lb.info(rig, pool="shop")["members"]) == 2)
    for state in ("maint", "drain", "maint"):
        lb.move(rig, state, wait=False)
    for one in (request, other):
        one.join(5)
        assert one.status == 200


@pytest.mark.parametrize("address", ["lb1", "lb1:", ":9901", "lb1:port", "ftp://lb1:9901", "http://", ""])
def test_an_address_of_no_form_is_refused(lb, address):
    with pytest.raises(EverupError, match="neither the URL"):
        lb.info(address)


def test_host_and_port_are_enough(lb, rig):
    assert lb.move(rig.address.partition("://")[2], "drain")["changed"] is True
    assert lb.facts(rig)["state"] == "drain"


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)


def test_an_answer_that_drips_is_bounded_as_a_whole(lb, answering):
    address = answering(b"HTTP/1.1 200 OK\r\n\r\n", *[b" "] * 300)
    started = time.monotonic()
    with pytest.raises(EverupError, match=r"within 0\.3 s"):
        lb.move(address, "drain", connect_timeout=0.3)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "answer",
    [
        http(b"{}"),
        http(b"[]"),
        http(b'{"configs": [{"static_clusters": [{}]}]}'),
        http(b"<html>"),
        http(b"no", b"403 Forbidden"),
        http(b"", b"302 Found\r\nLocation: http://127.0.0.1:1/"),
        b"220 mail ready\r\n",
        b"\xff\xfe\n",
        b"",
    ],
)
def test_an_address_that_is_no_envoy_fails_with_a_sentence(lb, answering, answer):
    with pytest.raises(EverupError) as error:
        lb.info(answering(answer))
    assert str(error.value).startswith("Balancer 127.0.0.1:")
