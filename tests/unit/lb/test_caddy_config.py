# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Caddy's configuration becomes pools, and a member that is taken out comes back to its place."""

from __future__ import annotations

import copy
import itertools

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lb.caddy_config import Pool, find_pools

HANDLER = {
    "@id": "shop",
    "handler": "reverse_proxy",
    "upstreams": [
        {"@id": "shop.web1", "dial": "192.0.2.11:8080", "max_requests": 5},
        {"dial": "192.0.2.12:8080"},
        {"@id": "third", "dial": "192.0.2.13:8080"},
    ],
    "handle_response": [{"match": {"status_code": [5]}, "routes": []}],
}
NAMES = ["web1", "192.0.2.12:8080", "third"]


def seen(handler: dict) -> list:
    return [(one.name, one.state) for one in Pool("shop", (), handler).upstreams]


def moved(handler: dict, *moves: tuple) -> dict:
    for name, state in moves:
        handler = Pool("shop", (), handler).moved(name, state)
    return handler


def test_pools_are_found_wherever_they_stand():
    other = {"@id": "live", "handler": "reverse_proxy"}
    unnamed = {"handler": "reverse_proxy", "upstreams": []}
    routes = [{"handle": [{"handler": "subroute", "routes": [{"handle": [unnamed, HANDLER]}]}]}, {"handle": [other]}]
    config = {"apps": {"http": {"servers": {"srv0": {"@id": "server", "routes": routes}}}}}
    found = find_pools(config)
    assert [pool.name for pool in found] == ["shop", "live"]
    node = config
    for key in found[0].keys:
        node = node[int(key) if isinstance(node, list) else key]
    assert node is HANDLER
    assert found[1].upstreams == []


@pytest.mark.parametrize("config", [None, {}, {"apps": {}}])
def test_a_configuration_without_pools_has_none(config):
    assert find_pools(config) == []


def test_members_are_named_by_their_id_or_else_their_address():
    assert seen(HANDLER) == [(name, "ready") for name in NAMES]


@pytest.mark.parametrize("out", [order for count in (1, 2, 3) for order in itertools.permutations(NAMES, count)])
def test_members_that_are_out_keep_their_places_and_come_back_to_them(out):
    before = copy.deepcopy(HANDLER)
    handler = moved(HANDLER, *[(name, "drain") for name in out])
    assert seen(handler) == [(name, "drain" if name in out else "ready") for name in NAMES]
    assert [one.get("@id", one["dial"]) for one in handler["upstreams"]] == [
        one.get("@id", one["dial"]) for one, name in zip(HANDLER["upstreams"], NAMES) if name not in out
    ]
    for back in (out, out[::-1]):
        assert moved(handler, *[(name, "ready") for name in back]) == before
    assert before == HANDLER


def test_a_member_goes_from_drain_to_maint():
    handler = moved(HANDLER, ("third", "drain"), ("third", "maint"))
    assert seen(handler)[2] == ("third", "maint")
    assert len(handler["handle_response"]) == 2


def test_what_somebody_else_took_away_meanwhile_does_not_matter():
    handler = moved(HANDLER, ("third", "drain"))
    del handler["upstreams"][0]
    assert seen(handler) == [("192.0.2.12:8080", "ready"), ("third", "drain")]


def test_a_handler_without_responses_of_its_own_has_none_again():
    plain = {name: value for name, value in HANDLER.items() if name != "handle_response"}
    assert moved(plain, ("web1", "drain"), ("web1", "ready")) == plain


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"dynamic_upstreams": {"source": "a"}}, "dynamic_upstreams"),
        ({"load_balancing": {"selection_policy": {"policy": "weighted_round_robin", "weights": [3, 1, 1]}}}, "weights by place"),
        ({"load_balancing": {"selection_policy": {"policy": "first"}}}, ""),
    ],
)
def test_what_cannot_be_moved_says_why(more, said):
    obstacle = Pool("shop", (), {**HANDLER, **more}).obstacle
    assert said in obstacle
    assert bool(obstacle) is bool(said)
