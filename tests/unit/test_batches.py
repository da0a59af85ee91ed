"""The batch plan: every host once, no batch over two groups, canary first, sizes as asked."""

from __future__ import annotations

import json
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
