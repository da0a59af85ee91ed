"""When the next batch may begin."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._release.balancers import pool_members
from ansible_collections.everup.deploy.plugins.module_utils._release.guard import capacity_reasons, reasons_to_stop

PLANNED = ["web1", "web2", "web3", "web4"]


def row(state, reason=None):
    return {"state": state, "reason": reason}


def reasons(batch, members=None, alive=PLANNED, planned=PLANNED, accepted=("ready",)):
    return reasons_to_stop(planned, alive, batch, members or {}, "2.4.0", accepted)


@pytest.mark.parametrize(
    ("batch", "members", "expected"),
    [
        (["web1", "web2"], {}, []),
        (["web3"], {"web1": row("ready"), "web2": row("ready")}, []),
        (["web3"], {"web1": row("ready")}, ["web2 of an earlier batch was not touched at 2.4.0"]),
        (
            ["web3"],
            {"web1": row("rolled_back", "no disk"), "web2": row("draining")},
            [
                "web1 of an earlier batch is 'rolled_back': no disk at 2.4.0",
                "web2 of an earlier batch is 'draining' at 2.4.0",
            ],
        ),
        (["web9"], {}, ["web9 is not in the plan"]),
        (["web3", "web2"], {"web1": row("ready")}, []),
        (["web9", "web2"], {"web1": row("failed")}, ["web9 is not in the plan", "web1 of an earlier batch is 'failed' at 2.4.0"]),
    ],
)
def test_hosts(batch, members, expected):
    assert reasons(batch, members) == expected


def test_a_host_that_ansible_has_lost_is_named_once_wherever_it_stands():
    assert reasons(["web2"], alive=["web2", "web3"]) == [
        "web1 failed, is unreachable, or was left out by --limit",
        "web4 failed, is unreachable, or was left out by --limit",
    ]


def test_the_way_back_accepts_other_states():
    members = {"web1": row("rolled_back")}
    assert reasons(["web2"], members, accepted=("rolled_back",)) == []
    assert reasons(["web2"], {"web1": row("ready")}, accepted=("rolled_back",)) != []


def member(name, serving=True, balancer="lb1", state="ready", health="UP"):
    return {"balancer": balancer, "member": name, "serving": serving, "state": state, "health": health}


THREE = [member("web1"), member("web2"), member("web3")]


@pytest.mark.parametrize(
    ("members", "leaving", "floor", "expected"),
    [
        (THREE, ["web1"], 2, []),
        (THREE, ["web1", "web2"], 2, ["pool shop on lb1 would be left with 1 healthy member(s), the floor is 2"]),
        (THREE, ["web1", "web2", "web3"], 0, []),
        (
            [member("web1"), member("web2", False, state="drain", health="UP"), member("web3", False, health="DOWN")],
            ["web1"],
            1,
            ["pool shop on lb1 would be left with 0 healthy member(s), the floor is 1 (web2 is drain, UP; web3 is ready, DOWN)"],
        ),
        ([member("web1", False), member("web2")], ["web1"], 1, []),
        # Capacity that is gone already is no reason to leave out of service what can be brought back.
        ([member("web1", False), member("web2", False)], ["web1"], 1, []),
        ([member("web1", False, state="drain"), member("web2", False), member("web3")], ["web1"], 2, []),
        (
            [member("web1"), member("web2", False, health="DOWN")],
            ["web1", "web2"],
            1,
            ["pool shop on lb1 would be left with 0 healthy member(s), the floor is 1 (web2 is ready, DOWN)"],
        ),
        (
            [*THREE, member("web1", balancer="lb2"), member("web2", False, balancer="lb2", health="DOWN")],
            ["web1"],
            1,
            ["pool shop on lb2 would be left with 0 healthy member(s), the floor is 1 (web2 is ready, DOWN)"],
        ),
        (THREE, ["web7"], 1, ["pool shop on lb1 has no member web7"]),
        ([], ["web1"], 1, ["no balancer has said which members pool shop has"]),
    ],
)
def test_capacity(members, leaving, floor, expected):
    assert capacity_reasons("shop", members, leaving, [], floor) == expected


def test_two_balancers_of_one_address_are_counted_each_for_itself():
    """web2 is down on both: a sum over both would have two healthy members left."""
    seen = [member("web1"), member("web2", False, health="DOWN"), member("web3")]
    address = [{**row, "balancer": "/run/haproxy/admin.sock"} for row in seen]
    registered = {"results": [{"balancer": name, "members": address} for name in ("lb1", "lb2")]}
    assert capacity_reasons("shop", pool_members(registered), ["web1"], [], 2) == [
        f"pool shop on {name} (/run/haproxy/admin.sock) would be left with 1 healthy member(s), the floor is 2 "
        "(web2 is ready, DOWN)"
        for name in ("lb1", "lb2")
    ]


def test_a_balancer_need_have_only_the_members_whose_hosts_name_it():
    members = [{**member("web1"), "asked": "lb1"}, {**member("web2", balancer="lb2"), "asked": "lb2"}]
    behind = {"lb1": ["web1", "web3"], "lb2": ["web2"]}
    assert capacity_reasons("shop", members, ["web1"], [], 0, behind) == []
    assert capacity_reasons("shop", members, ["web1", "web3"], [], 0, behind) == ["pool shop on lb1 has no member web3"]


def test_a_lost_balancer_stops_the_batch():
    assert capacity_reasons("shop", THREE, ["web1"], ["balancer lb2 is mute"], 1) == ["balancer lb2 is mute"]
    assert capacity_reasons("shop", [], ["web1"], ["balancer lb1 is mute"], 1) == ["balancer lb1 is mute"]


def test_without_a_pool_there_is_no_floor():
    assert capacity_reasons("", [], ["web1"], [], 1) == []


def test_a_backup_is_no_capacity():
    sorry = {**member("sorry"), "backup": True}
    assert capacity_reasons("shop", [member("web1", False, health="DOWN"), member("web2"), sorry], ["web2"], [], 1) == [
        "pool shop on lb1 would be left with 0 healthy member(s), the floor is 1 (web1 is ready, DOWN; sorry is a backup, UP)"
    ]
    assert capacity_reasons("shop", [member("web1"), member("web2"), sorry], ["web2"], [], 1) == []


def test_what_nothing_would_drain_is_refused():
    assert capacity_reasons("*", THREE, ["web1"], [], 1) == [
        "rolling_upgrade_pool is '*': the guard has to know which pool it guards, so name one"
    ]
    assert capacity_reasons("shop", THREE, ["web3"], [], 1, {"lb1": ["web1", "web2"]}) == [
        "no balancer is named for member web3 of pool shop"
    ]
