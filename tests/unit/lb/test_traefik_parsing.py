# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Traefik dynamic configuration file becomes members, and a state is written into it."""

from __future__ import annotations

import json

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lb import traefik, traefik_conf

FILE = {
    "http": {
        "routers": {"shop": {"rule": "PathPrefix(`/`)", "service": "shop"}},
        "services": {
            "shop": {
                "loadBalancer": {
                    "servers": [
                        {"url": "http://192.0.2.11:8080"},
                        {"url": "https://192.0.2.12", "weight": 2},
                        {"url": "http://[2001:db8::13]"},
                    ]
                }
            },
            "both": {"weighted": {"services": [{"name": "shop"}]}},
        },
        "middlewares": {
            "everup-shop": {
                "headers": {
                    "customRequestHeaders": {
                        "web2": "https://192.0.2.12",
                        "web1": "http://192.0.2.11:8080",
                        "gone": "http://192.0.2.99",
                    }
                }
            }
        },
    }
}
TEXT = json.dumps(FILE)


def said(text: str) -> list[tuple]:
    return [(server.name, server.address, server.state) for server in traefik_conf.services(text)["shop"]]


def test_servers_have_names_and_addresses():
    assert list(traefik_conf.services(TEXT)) == ["shop"]
    assert said(TEXT) == [
        ("web2", "192.0.2.12:443", "ready"),
        ("web1", "192.0.2.11:8080", "ready"),
        ("[2001:db8::13]:80", "[2001:db8::13]:80", "ready"),
    ]


@pytest.mark.parametrize("text", ["http: {}", "[]", "{}", '{"http": {}}', '{"http": {"services": []}}'])
def test_a_file_without_services_in_json_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        traefik_conf.services(text)


@pytest.mark.parametrize("state", ["drain", "maint"])
@pytest.mark.parametrize("name", ["web1", "web2", "[2001:db8::13]:80"])
def test_a_member_that_is_out_is_remembered_whole(name, state):
    out = traefik_conf.with_state(TEXT, "shop", name, state)
    assert {(member[0], member[2]) for member in said(out)} == {
        (member[0], state if member[0] == name else "ready") for member in said(TEXT)
    }
    assert len(json.loads(out)["http"]["services"]["shop"]["loadBalancer"]["servers"]) == 2
    back = json.loads(traefik_conf.with_state(out, "shop", name, "ready"))
    servers = back["http"]["services"]["shop"]["loadBalancer"]["servers"]
    assert sorted(map(str, servers)) == sorted(map(str, FILE["http"]["services"]["shop"]["loadBalancer"]["servers"]))


def test_all_can_be_out_and_come_back():
    text = TEXT
    for name in ("web1", "web2", "[2001:db8::13]:80"):
        text = traefik_conf.with_state(text, "shop", name, "drain")
    assert json.loads(text)["http"]["services"]["shop"]["loadBalancer"]["servers"] == []
    assert {member[2] for member in said(text)} == {"drain"}
    text = traefik_conf.with_state(text, "shop", "web1", "maint")
    assert dict((member[0], member[2]) for member in said(text))["web1"] == "maint"


def test_a_server_that_somebody_has_put_back_by_hand_is_in():
    document = json.loads(traefik_conf.with_state(TEXT, "shop", "web2", "drain"))
    document["http"]["services"]["shop"]["loadBalancer"]["servers"].append({"url": "https://192.0.2.12", "weight": 5})
    (web2,) = [server for server in traefik_conf.services(json.dumps(document))["shop"] if server.name == "web2"]
    assert (web2.state, web2.fields["weight"]) == ("ready", 5)


def test_no_note_is_left_where_nobody_has_a_name():
    document = {"http": {"services": {"shop": {"loadBalancer": {"servers": [{"url": "http://192.0.2.11:80"}]}}}}}
    out = traefik_conf.with_state(json.dumps(document), "shop", "192.0.2.11:80", "drain")
    assert json.loads(out) != document
    assert json.loads(traefik_conf.with_state(out, "shop", "192.0.2.11:80", "ready")) == document


def test_only_what_the_file_provider_runs_is_running():
    answer = {
        "services": {
            "shop@file": {
                "loadBalancer": {"servers": [{"url": "http://a"}, {"url": "http://b"}]},
                "serverStatus": {"http://a": "DOWN"},
            },
            "solo@file": {"loadBalancer": {}},
            "shop@docker": {"loadBalancer": {"servers": [{"url": "http://c"}]}},
            "api@internal": {},
        }
    }
    assert traefik.running(answer) == {"shop": {"http://a": "DOWN", "http://b": None}, "solo": {}}
