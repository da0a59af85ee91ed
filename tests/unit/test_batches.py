"""The batch plan: every host once, no batch over two groups, canary first, sizes as asked."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._release.batches import plan_batches
from hypothesis import given
from hypothesis import strategies as st

SIZES = st.one_of(
    st.integers(1, 30),
    st.integers(1, 30).map(str),
    st.integers(1, 100).map(lambda percent: f"{percent}%"),
)


def as_count(size, total):
    """The specification of a size, written a second time."""
    if str(size).endswith("%"):
        return max(1, total * int(size[:-1]) // 100)
    return int(size)


@st.composite
def group_lists(draw):
    counts = draw(st.lists(st.integers(0, 25), max_size=6))
    groups = []
    for index, count in enumerate(counts):
        group = {"name": f"g{index}", "hosts": [f"g{index}h{number}" for number in range(count)]}
        if draw(st.booleans()):
            group["canary"] = draw(st.one_of(st.just(0), SIZES))
        if draw(st.booleans()):
            group["batch"] = draw(SIZES)
        groups.append(group)
    return groups


@given(group_lists())
def test_every_host_is_upgraded_exactly_once_and_in_order(groups):
    plan = plan_batches(groups)
    assert plan["hosts"] == [host for group in groups for host in group["hosts"]]
    assert [host for batch in plan["batches"] for host in batch["hosts"]] == plan["hosts"]


@given(group_lists())
def test_sizes_are_those_of_the_batches_and_none_is_empty(groups):
    plan = plan_batches(groups)
    assert plan["sizes"] == [len(batch["hosts"]) for batch in plan["batches"]]
    assert all(size >= 1 for size in plan["sizes"])
    assert [batch["number"] for batch in plan["batches"]] == list(range(1, len(plan["batches"]) + 1))


@given(group_lists())
def test_a_batch_is_of_one_group_canary_first_and_as_large_as_asked(groups):
    plan = plan_batches(groups)
    for group in groups:
        batches = [batch for batch in plan["batches"] if batch["group"] == group["name"]]
        assert all(set(batch["hosts"]) <= set(group["hosts"]) for batch in batches)
        total = len(group["hosts"])
        canary = as_count(group.get("canary", 1), total)
        if total and canary:
            first = batches.pop(0)
            assert first["canary"]
            assert len(first["hosts"]) == min(canary, total)
        assert not any(batch["canary"] for batch in batches)
        size = as_count(group.get("batch", "25%"), total)
        assert all(len(batch["hosts"]) == size for batch in batches[:-1])
        assert all(len(batch["hosts"]) <= size for batch in batches)


@st.composite
def ruled_groups(draw):
    """Groups with every rule there is; a floor always leaves a host."""
    groups = draw(group_lists())
    for group in groups:
        group["whole"] = group["hosts"]
        group["hosts"] = draw(st.lists(st.sampled_from(group["whole"]), unique=True)) if group["whole"] else []
        group["out"] = draw(st.lists(st.sampled_from(group["hosts"]), unique=True)) if group["hosts"] else []
        group["pool"] = draw(st.sampled_from(["", "one", "two"]))
        if draw(st.booleans()):
            group["max_unavailable"] = draw(SIZES)
        if draw(st.booleans()):
            group["zones"] = {host: draw(st.sampled_from("abc")) for host in group["whole"]}
    for group in groups:
        total = len(served_with(group, groups))
        if total > 1 and draw(st.booleans()):
            group["min_healthy"] = draw(st.integers(0, total - 1))
    return groups


def served_with(group, groups):
    """Every host of a group's pool, or of the group where it has none."""
    same = [other for other in groups if group["pool"] and other["pool"] == group["pool"]] or [group]
    return [host for other in same for host in other["whole"]]


def batches_of(group, plan):
    return [batch for batch in plan["batches"] if batch["group"] == group["name"]]


@given(ruled_groups())
def test_whatever_the_rules_every_host_is_upgraded_exactly_once(groups):
    plan = plan_batches(groups)
    assert sorted(plan["hosts"]) == sorted(host for group in groups for host in group["hosts"])
    assert plan["sizes"] == [len(batch["hosts"]) for batch in plan["batches"]]
    assert all(plan["sizes"])
    for group in groups:
        assert {host for batch in batches_of(group, plan) for host in batch["hosts"]} == set(group["hosts"])


@given(ruled_groups())
def test_no_batch_takes_more_than_may_be_out_at_once(groups):
    plan = plan_batches(groups)
    for group in groups:
        pool = served_with(group, groups)
        for batch in batches_of(group, plan):
            size = len(batch["hosts"])
            assert size <= as_count(group.get("canary", 1) if batch["canary"] else group.get("batch", "25%"), len(group["whole"]))
            assert size <= as_count(group.get("max_unavailable", len(group["whole"])), len(group["whole"]))
            assert len(pool) - size >= group.get("min_healthy", 0)
            assert size < len(pool) or len(pool) == 1 or not group["pool"]


@given(ruled_groups())
def test_no_batch_takes_more_than_its_share_of_a_zone_nor_all_of_one(groups):
    plan = plan_batches(groups)
    for group in groups:
        zones = group.get("zones", {})
        hosts_of = {zone: [host for host in group["whole"] if zones[host] == zone] for zone in zones.values()}
        for batch in batches_of(group, plan):
            asked = as_count(group.get("canary", 1) if batch["canary"] else group.get("batch", "25%"), len(group["whole"]))
            for hosts in hosts_of.values():
                taken = len(set(hosts) & set(batch["hosts"]))
                assert taken <= math.ceil(asked * len(hosts) / len(group["whole"]))
                assert taken < len(hosts) or len(hosts) == 1 or len(hosts_of) == 1


@given(ruled_groups())
def test_without_zones_a_batch_is_as_large_as_the_rules_let_it_be(groups):
    plan = plan_batches(groups)
    for group in groups:
        if group.get("zones"):
            continue
        total, pool = len(group["whole"]), len(served_with(group, groups))
        limit = min(as_count(group.get("max_unavailable", pool), total), pool - group.get("min_healthy", 0))
        limit = min(limit, pool - 1) if group["pool"] and pool > 1 else limit
        left = list(group["hosts"])
        for batch in batches_of(group, plan):
            asked = as_count(group.get("canary", 1) if batch["canary"] else group.get("batch", "25%"), total)
            choice = [host for host in left if host in group["out"]] or left
            assert len(batch["hosts"]) == min(asked, limit, len(choice))
            assert set(batch["hosts"]) <= set(choice)
            left = [host for host in left if host not in batch["hosts"]]


@given(ruled_groups())
def test_hosts_that_are_out_come_first(groups):
    plan = plan_batches(groups)
    for group in groups:
        order = [host for batch in batches_of(group, plan) for host in batch["hosts"]]
        behind = [host for host in order if host not in group["out"]]
        if not group.get("zones"):
            assert order == [host for host in group["hosts"] if host in group["out"]] + behind


def test_zones_are_spread_and_the_first_host_stays_the_first():
    zones = {"w0": "north", "w1": "south", "w2": "south", "w3": "south", "w4": "south", "w5": "north"}
    plan = plan_batches([{"name": "web", "hosts": list(zones), "batch": 3, "zones": zones}])
    assert [batch["hosts"] for batch in plan["batches"]] == [["w0"], ["w1", "w2", "w5"], ["w3", "w4"]]


def test_two_members_of_a_pool_are_never_out_together():
    group = {"name": "web", "hosts": ["w1", "w2"], "canary": 2, "batch": 2}
    assert plan_batches([group])["sizes"] == [2]
    assert plan_batches([{**group, "pool": "shop"}])["sizes"] == [1, 1]


def test_groups_of_one_pool_are_counted_together():
    canary = {"name": "canary", "hosts": ["w0"], "pool": "shop", "min_healthy": 2}
    assert plan_batches([canary, {"name": "web", "hosts": ["w1", "w2"], "pool": "shop", "batch": 2}])["sizes"] == [1, 1, 1]


def test_what_is_left_of_a_group_is_measured_by_the_whole():
    group = {"name": "web", "hosts": ["w3", "w4"], "whole": ["w1", "w2", "w3", "w4"], "pool": "shop", "canary": 0, "batch": "50%"}
    assert plan_batches([group])["sizes"] == [2]


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({"min_healthy": 2}, "min_healthy is 2 and group 'web' has 2 host(s): that leaves no host to take out"),
        ({"min_healthy": 2, "pool": "shop"}, "min_healthy is 2 and pool 'shop' of group 'web' has 2 host(s)"),
        ({"min_healthy": -1}, "min_healthy -1"),
        ({"min_healthy": True}, "min_healthy True"),
        ({"max_unavailable": 0}, "max_unavailable 0"),
        ({"max_unavailable": "0%"}, "max_unavailable '0%'"),
        ({"max_unavailable": "many"}, "max_unavailable 'many'"),
        ({"zones": {"w1": "a"}}, "give w2 a zone, or none to any host"),
        ({"zones": {"w1": "a", "w2": ""}}, "give w2 a zone, or none to any host"),
        ({"zones": ["a"]}, "zones ['a']"),
        ({"whole": ["w1"]}, "w2 in hosts and not in whole"),
        ({"whole": "w1"}, "'w1'"),
        ({"out": "w1"}, "'w1'"),
        ({"pool": 7}, "pool 7"),
    ],
)
def test_a_rule_that_cannot_be_kept_is_named(rule, named):
    with pytest.raises(EverupError) as caught:
        plan_batches([{"name": "web", "hosts": ["w1", "w2"], **rule}])
    assert named in str(caught.value)


def test_the_defaults_are_one_canary_and_quarters():
    plan = plan_batches([{"name": "web", "hosts": [f"w{n}" for n in range(8)]}])
    assert plan["sizes"] == [1, 2, 2, 2, 1]
    assert plan["batches"][0] == {"group": "web", "number": 1, "canary": True, "hosts": ["w0"]}


@pytest.mark.parametrize(
    ("groups", "named"),
    [
        ("web", ["'web'"]),
        (None, ["None"]),
        ([["w1"]], ["number 1", "['w1']"]),
        ([{"hosts": ["w1"]}], ["number 1", "name"]),
        ([{"name": "", "hosts": []}], ["number 1", "''"]),
        ([{"name": "web"}], ["'web'", "None"]),
        ([{"name": "web", "hosts": "w1"}], ["'web'", "'w1'"]),
        ([{"name": "web", "hosts": ["w1", 2]}], ["'web'", "2"]),
        ([{"name": "web", "hosts": ["w1", ""]}], ["'web'", "''"]),
        ([{"name": "web", "hosts": ["w1"], "size": 1}], ["'web'", "size"]),
        ([{"name": "web", "hosts": ["w1", "w1"]}], ["'web'", "'w1'"]),
        ([{"name": "web", "hosts": []}, {"name": "web", "hosts": []}], ["'web'", "twice"]),
        ([{"name": "web", "hosts": ["w1"]}, {"name": "api", "hosts": ["w1"]}], ["'web'", "'api'", "'w1'"]),
    ],
)
def test_a_wrong_group_is_named(groups, named):
    with pytest.raises(EverupError) as caught:
        plan_batches(groups)
    for text in named:
        assert text in str(caught.value)


@pytest.mark.parametrize("key", ["canary", "batch"])
@pytest.mark.parametrize("value", [-1, "-1", True, None, 1.5, "1.5", "", "%", "0%", "101%", "-5%", "5 %", "many", [1], "٣"])
def test_a_wrong_size_is_named(key, value):
    with pytest.raises(EverupError) as caught:
        plan_batches([{"name": "web", "hosts": ["w1", "w2"], key: value}])
    assert "'web'" in str(caught.value)
    assert key in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [0, "0"])
def test_only_a_canary_may_be_zero(value):
    assert plan_batches([{"name": "web", "hosts": ["w1"], "canary": value}])["sizes"] == [1]
    with pytest.raises(EverupError, match="batch"):
        plan_batches([{"name": "web", "hosts": ["w1"], "batch": value}])


def test_ansible_runs_the_batches_as_planned(tmp_path):
    """Sizes given to serial come out as the planned batches, and a mistake is an error that names it."""
    playbook = tmp_path / "play.yml"
    playbook.write_text("""
- hosts: localhost
  gather_facts: false
  tasks:
    - set_fact:
        rollout: "{{ plan | everup.deploy.rolling_batches }}"
      vars:
        plan:
          - {name: api, hosts: [a1, a2, a3], canary: 0, batch: 2}
          - {name: web, hosts: "{{ web }}", canary: "{{ 1 }}", batch: 50%}
    - add_host: {name: "{{ item }}", groups: rollout, ansible_connection: local}
      loop: "{{ rollout.hosts }}"
- hosts: rollout
  order: inventory
  gather_facts: false
  serial: "{{ hostvars['localhost'].rollout.sizes }}"
  tasks:
    - debug: {msg: "batch={{ ansible_play_batch | join(',') }};"}
      run_once: true
""")
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        "localhost,",
        "-c",
        "local",
        str(playbook),
    ]

    def play(web):
        extra = json.dumps({"web": web})
        return subprocess.run([*command, "-e", extra], check=False, capture_output=True, text=True, timeout=120)

    done = play(["w1", "w2", "w3", "w4"])
    assert done.returncode == 0, done.stdout + done.stderr
    batches = [line.split("batch=")[1].split(";")[0] for line in done.stdout.splitlines() if "batch=" in line]
    assert batches == ["a1,a2", "a3", "w1", "w2,w3", "w4"]
    refused = play(["w1", "a1"])
    assert refused.returncode != 0
    assert "'a1'" in refused.stdout + refused.stderr
