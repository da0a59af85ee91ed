# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is Caddy's own: the configuration that is edited, two writers, restarts and reloads, the Unix socket."""

from __future__ import annotations

import json
import threading

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError


@pytest.fixture(params=["caddy"])
def rig_class(request, rig_classes):
    """Only Caddy here."""
    return rig_classes[request.param]


def config(lb, rig) -> dict:
    """What Caddy runs."""
    return json.loads(lb.balancer(rig).http.ask("GET", "/config/").text)


def post(lb, rig, path: str, what) -> int:
    """Change something as somebody else would."""
    headers = {"Content-Type": "application/json"}
    return lb.balancer(rig).http.ask("POST", path, json.dumps(what), headers).status


# --- the configuration -----------------------------------------------------------------------------------------------


def test_the_configuration_comes_back_as_it_was(lb, start_rig):
    rig = start_rig(handler={"handle_response": [{"match": {"status_code": [404]}, "routes": []}]})
    before = config(lb, rig)
    for member in ("web1", "web2"):
        lb.move(rig, "drain", member=member)
    assert [(one["member"], one["state"]) for one in lb.info(rig, pool="shop")["members"]] == [
        ("web1", "drain"),
        ("web2", "drain"),
    ]
    lb.move(rig, "ready", member="web2")
    lb.move(rig, "ready", member="web1")
    assert config(lb, rig) == before


def test_nothing_but_the_pools_handler_changes(lb, rig):
    before, _moved = config(lb, rig), lb.move(rig, "drain")
    after = config(lb, rig)
    for each in (before, after):
        del each["apps"]["http"]["servers"]["shop"]["routes"][0]["handle"][0]
    assert after == before


def test_the_right_to_change_is_looked_at_without_a_change(lb, rig):
    before = config(lb, rig)
    lb.balancer(rig).check_writable("shop")
    assert config(lb, rig) == before


def test_a_member_without_an_id_has_its_address_as_its_name(lb, start_rig, apps):
    rig = start_rig(names=False)
    name = "127.0.0.1:{}".format(apps["web1"].at[1])
    lb.move(rig, "drain", member=name)
    assert lb.facts(rig, member=name)["state"] == "drain"
    assert lb.move(rig, "ready", member=name)["changed"] is True


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ({"load_balancing": {"selection_policy": {"policy": "weighted_round_robin", "weights": [1, 1]}}}, "weights by place"),
        ({"dynamic_upstreams": {"source": "a", "name": "localhost", "port": "1"}}, "dynamic_upstreams"),
    ],
)
def test_what_cannot_be_moved_fails_before_a_change(lb, start_rig, handler, said):
    rig = start_rig(handler=handler)
    with pytest.raises(EverupError, match=f"cannot move the members of pool shop.*{said}"):
        lb.move(rig, "drain", check_mode=True)


def test_two_members_of_one_name_are_not_told_apart(lb, rig):
    upstreams = "/config/apps/http/servers/shop/routes/0/handle/0/upstreams"
    assert post(lb, rig, upstreams, {"@id": "web1", "dial": "127.0.0.1:1"}) == 200
    with pytest.raises(EverupError, match="has 2 members web1: give each upstream an @id of its own"):
        lb.move(rig, "drain")


def test_two_handlers_of_one_name_are_not_told_apart(lb, answering):
    """Caddy itself refuses them; older ones do not."""
    pool = {"@id": "shop", "handler": "reverse_proxy"}
    whole = json.dumps({"apps": [pool, {"routes": pool}]})
    address = answering(f'HTTP/1.1 200 OK\r\nEtag: "/config/ 1"\r\n\r\n{whole}'.encode())
    with pytest.raises(EverupError, match="has 2 reverse_proxy handlers shop"):
        lb.info(address, pool="shop")


def test_a_change_that_caddy_does_not_load_is_told_and_undone(lb, rig, monkeypatch):
    balancer = lb.balancer(rig)
    before = config(lb, rig)
    (pool,), _etag = balancer._pools("shop")
    monkeypatch.setattr(type(pool), "moved", lambda self, name, state: {**self.handler, "upstreams": "none"})
    with pytest.raises(EverupError, match=r"with 500 .*upstreams.*Look at its error log"):
        balancer.set_state("shop", "web1", "drain")
    assert config(lb, rig) == before


# --- sessions --------------------------------------------------------------------------------------------------------


def test_requests_still_count_on_a_member_that_no_handler_sends_to(lb, rig_class, apps, tmp_path):
    rig = rig_class({"one": {"web1": apps["web1"].at}}, tmp_path)
    rig.start()
    try:
        request = lb.Request(rig.port("one"), "/slow/1.5")
        lb.eventually(lambda: lb.facts(rig, pool="one")["sessions"] == 1)
        lb.move(rig, "drain", pool="one", wait=False)
        lb.move(rig, "maint", pool="one")
        assert lb.facts(rig, pool="one")["sessions"] == 1
        lb.eventually(lambda: lb.facts(rig, pool="one")["sessions"] == 0)
        request.join(5)
        assert request.status == 200
        fresh = lb.Request(rig.port("one"), "/")
        fresh.join(5)
        assert fresh.status == 503
        lb.move(rig, "ready", pool="one")
        assert apps["web1"].served == 1
    finally:
        rig.stop()


def test_no_answer_leads_to_a_member_that_is_out(lb, rig, apps):
    lb.move(rig, "drain")
    apps["web2"].health_code = 503
    requests = [lb.Request(rig.port("shop"), "/health") for _number in range(3)]
    for request in requests:
        request.join(5)
    assert [request.status for request in requests] == [503] * 3


# --- writers ---------------------------------------------------------------------------------------------------------


def test_a_change_between_reading_and_writing_is_not_overwritten(lb, rig, monkeypatch):
    balancer = lb.balancer(rig)
    patch, tried = balancer._patch, []

    def patch_after_somebody_else(pool, handler, etag):
        if not tried:
            lb.balancer(rig).set_state("shop", "web2", "maint")
        tried.append(patch(pool, handler, etag).status)
        return patch_answer(tried[-1])

    def patch_answer(status: int):
        return type("Answer", (), {"status": status})()

    monkeypatch.setattr(balancer, "_patch", patch_after_somebody_else)
    balancer.set_state("shop", "web1", "drain")
    assert tried == [412, 200]
    assert [member["state"] for member in lb.info(rig, pool="shop")["members"]] == ["drain", "maint"]


def test_a_connection_that_a_reload_cuts_is_made_again(lb, rig, monkeypatch):
    balancer = lb.balancer(rig)
    once, asked = balancer.http._once, []

    def cut_every_other(method, *what):
        asked.append(method)
        answer = once(method, *what)
        return ConnectionResetError(104, "Connection reset by peer") if len(asked) % 2 else answer

    monkeypatch.setattr(balancer.http, "_once", cut_every_other)
    balancer.set_state("shop", "web1", "drain")
    assert asked.count("PATCH") == 2
    assert lb.facts(rig)["state"] == "drain"


def test_somebody_who_always_comes_first_ends_the_attempts(lb, rig, monkeypatch):
    balancer = lb.balancer(rig, connect_timeout=0.2)
    monkeypatch.setattr(balancer, "_patch", lambda pool, handler, etag: type("Answer", (), {"status": 412})())
    with pytest.raises(EverupError, match="somebody else changes its configuration all the time"):
        balancer.set_state("shop", "web1", "drain")


def test_killed_right_after_the_change_the_state_is_whole(lb, rig, monkeypatch):
    class Killed(BaseException):
        pass

    balancer = lb.balancer(rig)
    patch = balancer._patch

    def patch_and_die(*what):
        patch(*what)
        raise Killed

    monkeypatch.setattr(balancer, "_patch", patch_and_die)
    with pytest.raises(Killed):
        balancer.set_state("shop", "web1", "drain")
    assert lb.facts(rig)["state"] == "drain"
    assert lb.move(rig, "drain")["changed"] is False
    assert lb.move(rig, "ready")["changed"] is True


# --- restarts --------------------------------------------------------------------------------------------------------


def test_a_configuration_that_is_loaded_anew_while_draining_fails_the_drain(lb, rig):
    whole = config(lb, rig)
    lb.Request(rig.port("solo"), "/hold")
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    timer = threading.Timer(0.3, post, (lb, rig, "/load", whole))
    timer.start()
    with pytest.raises(EverupError, match=r"went back to ready on balancer .* while it drained"):
        lb.move(rig, "drain", pool="solo", timeout=10)
    timer.join()


@pytest.mark.parametrize("resume", [False, True])
def test_a_state_outlives_a_restart_only_where_caddy_resumes(lb, start_rig, resume):
    rig = start_rig(resume=resume)
    lb.move(rig, "drain")
    rig.stop()
    rig.start()
    assert lb.facts(rig)["state"] == ("drain" if resume else "ready")


# --- the way in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["{}", "unix/{}"])
def test_a_unix_socket_works_as_well(lb, start_rig, written):
    rig = start_rig(unix=True)
    address = written.format(rig.server.admin)
    assert lb.move(address, "drain")["changed"] is True
    assert lb.info(address, pool="shop")["members"][0]["balancer"] == address
    assert lb.facts(rig)["state"] == "drain"


def test_a_socket_that_is_not_there_is_named(lb, tmp_path):
    address = str(tmp_path / "no.sock")
    with pytest.raises(EverupError, match=f"Balancer {address} cannot be reached: No such file"):
        lb.info(address)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "without an ETag"),
        (b'HTTP/1.1 200 OK\r\nEtag: "/config/ 1"\r\n\r\nhello', "not Caddy's .* It began with: 'hello'"),
        (b'HTTP/1.1 200 OK\r\nEtag: "/config/ 1"\r\n\r\n[]', "it is a list"),
        (b'HTTP/1.1 403 No\r\n\r\n{"error": "host not allowed"}', "Permission denied.*host not allowed"),
        (b"", "closed the connection"),
    ],
)
def test_an_answer_that_is_not_caddys_is_a_sentence(lb, answering, answer, said):
    address = answering(answer)
    with pytest.raises(EverupError, match=said) as error:
        lb.info(address)
    assert str(error.value).startswith(f"Balancer {address}")
