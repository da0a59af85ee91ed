# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is Traefik's own: servers that are taken out of its file and come back whole, idle connections, runs that were killed."""

from __future__ import annotations

import json
import threading
import time

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._lb import traefik


@pytest.fixture(params=["traefik"])
def rig_class(request, rig_classes):
    """Only Traefik here."""
    return rig_classes[request.param]


def edit(rig, change) -> None:
    """Change the dynamic configuration as somebody else would."""
    document = json.loads(rig.server.dynamic_file.read_text())
    change(document["http"])
    other = rig.server.dynamic_file.with_name("new")
    other.write_text(json.dumps(document))
    other.replace(rig.server.dynamic_file)


def servers(http: dict, pool: str = "shop") -> list:
    return http["services"][pool]["loadBalancer"]["servers"]


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize(("before", "state"), [("ready", "drain"), ("ready", "maint"), ("drain", "ready"), ("drain", "maint")])
def test_a_run_that_was_killed_is_told_as_what_is_in_force(lb, rig, apps, before, state, renamed):
    lb.move(rig, before)
    lb.killed_at_the_rename(traefik, rig, state, renamed)
    seen = lb.facts(rig)["state"]
    assert seen == (state if renamed else before)
    assert lb.served(rig, apps) == [seen == "ready", True]
    lb.move(rig, state)
    assert lb.facts(rig)["state"] == state
    assert lb.served(rig, apps) == [state == "ready", True]


def test_a_change_that_traefik_has_not_loaded_yet_is_waited_for(lb, start_rig):
    rig = start_rig(throttle="1s")
    lb.move(rig, "drain")
    lb.killed_at_the_rename(traefik, rig, "ready", renamed=True)
    assert lb.move(rig, "drain")["changed"] is True
    assert lb.facts(rig)["state"] == "drain"


@pytest.mark.parametrize("state", ["drain", "maint"])
def test_the_state_outlives_a_restart(lb, rig, apps, state):
    lb.move(rig, state)
    rig.stop()
    rig.start()
    assert lb.facts(rig)["state"] == state
    assert lb.served(rig, apps) == [False, True]


def test_a_server_comes_back_as_it_was(lb, rig):
    edit(rig, lambda http: servers(http)[0].update(weight=3, preservePath=True))
    before = json.loads(rig.server.dynamic_file.read_text())
    for state in ("drain", "maint", "ready"):
        lb.move(rig, state)
        assert lb.facts(rig)["weight"] == 3
    assert json.loads(rig.server.dynamic_file.read_text()) == before


def test_a_drain_that_somebody_takes_back_fails_the_wait(lb, rig, apps):
    url = "http://127.0.0.1:{}".format(apps["web1"].at[1])
    lb.Request(rig.port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)

    def take_back():
        lb.eventually(lambda: "drain " in rig.server.dynamic_file.read_text())
        time.sleep(1)
        edit(rig, lambda http: servers(http, "solo").append({"url": url}))

    somebody = threading.Thread(target=take_back)
    somebody.start()
    with pytest.raises(EverupError, match="went back to ready"):
        lb.move(rig, "drain", pool="solo")
    somebody.join()


def test_a_file_that_traefik_refuses_is_put_back(lb, rig):
    edit(rig, lambda http: http.update(nonsense={}))
    broken = rig.server.dynamic_file.read_text()
    with pytest.raises(EverupError, match=r"has not loaded .*members\.yml within 0\.6 s") as error:
        lb.move(rig, "drain", connect_timeout=0.6)
    assert rig.address in str(error.value)
    assert rig.server.dynamic_file.read_text() == broken
    assert lb.facts(rig)["state"] == "ready"


def test_yaml_is_refused_with_a_way_on(lb, rig):
    rig.server.dynamic_file.write_text("http:\n  services: {}\n")
    with pytest.raises(EverupError, match="edits JSON only") as error:
        lb.move(rig, "drain")
    assert rig.address in str(error.value)


def test_a_member_without_a_name_goes_by_its_address(lb, rig, apps):
    edit(rig, lambda http: http.pop("middlewares"))
    address = "127.0.0.1:{}".format(apps["web1"].at[1])
    assert lb.info(rig, pool="shop")["members"][0]["member"] == address
    lb.move(rig, "drain", member=address)
    assert lb.served(rig, apps) == [False, True]
    lb.move(rig, "ready", member=address)
    assert lb.served(rig, apps) == [True, True]


def test_idle_connections_count_until_traefik_closes_them(lb, start_rig, apps):
    rig = start_rig(idle="1s")
    assert lb.served(rig, apps) == [True, True]
    assert lb.facts(rig)["sessions"] >= 1
    assert lb.move(rig, "drain")["waited_seconds"] > 0.2
    assert lb.facts(rig)["sessions"] == 0


def test_traefiks_own_check_is_told(lb, start_rig, apps):
    rig = start_rig(health="/health")
    apps["web1"].health_code = 503
    lb.eventually(lambda: lb.facts(rig, member="web1")["health"].startswith("DOWN (serverStatus"))
    assert lb.facts(rig)["healthy"] is False
    assert lb.facts(rig, member="web2")["healthy"] is True


@pytest.mark.parametrize(
    "address", ["", "lb1:8080", "dynamic.yml@lb1:8080", "/etc/dynamic.yml@lb1", "/etc/dynamic.yml@ftp://lb1:1"]
)
def test_an_address_of_no_form_is_refused(lb, address):
    with pytest.raises(EverupError, match=r"is not the path|neither the URL"):
        lb.info(address)


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize("answer", [http(b"[]"), http(b"{}"), http(b"<html>"), http(b"no", b"404 Not Found"), b"\xff\xfe\n", b""])
def test_an_address_that_is_no_traefik_fails_with_a_sentence(lb, rig, answering, answer):
    address = f"{rig.server.dynamic_file}@{answering(answer).rpartition('@')[2]}"
    with pytest.raises(EverupError) as error:
        lb.info(address)
    assert str(error.value).startswith(f"Balancer {address}")
