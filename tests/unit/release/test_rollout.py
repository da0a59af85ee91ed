"""Which hosts a roll-out takes, and which of them do not run the version yet."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._release import balancers, rollout
from ansible_collections.everup.deploy.plugins.module_utils._release.hosts import (
    behind,
    failed,
    failure_reason,
    silent_hosts,
    why_back,
)

GROUPS = {"web": ["web1", "web2", "web3", "web4"], "api": ["api1"], "none": []}
HEALTHY = {"failed": False, "changed": False, "status": 200, "body": "{}", "polls": 1, "elapsed": 0.1}
# What a failed health check looks like under failed_when: false.
SICK = {"failed": True, "msg": "was not healthy within 15 s"}
SOCKET = "/run/haproxy/admin.sock"
SKIPPED = {"skipped": True, "changed": False, "skip_reason": "Conditional result was False"}


def variables(**hosts):
    return {host: hosts.get(host, {}) for group in GROUPS.values() for host in group}


def row(state, before="1", after="2"):
    return {"state": state, "version_before": before, "version_after": after, "reason": None}


def test_candidates():
    assert rollout.candidates(["api", "web"], GROUPS) == [
        {"name": "api", "hosts": ["api1"]},
        {"name": "web", "hosts": GROUPS["web"]},
    ]


@pytest.mark.parametrize(
    ("names", "groups", "expected"),
    [
        ("web", GROUPS, "must be a list"),
        ([], GROUPS, "must be a list"),
        (["web", "db"], GROUPS, "the group 'db', which the inventory does not have"),
        (["none"], GROUPS, "group 'none' of rollout_groups has no hosts"),
        (["web", "more"], {**GROUPS, "more": ["web1"]}, "'web1'"),
        (["web", "web"], GROUPS, "listed twice"),
    ],
)
def test_candidates_that_are_none(names, groups, expected):
    with pytest.raises(EverupError, match=expected):
        rollout.candidates(names, groups)


def forward(members=None, **hosts):
    return rollout.plan_forward(rollout.candidates(["api", "web"], GROUPS), variables(**hosts), members or {}, "2")


def batches(plan):
    return [batch["hosts"] for batch in plan["batches"]]


def test_forward():
    plan = forward(web1={"rolling_upgrade_batch": "50%", "rolling_upgrade_version_now": "1"})
    assert batches(plan) == [["api1"], ["web1"], ["web2", "web3"], ["web4"]]
    assert (plan["hosts"], plan["sizes"], plan["finished"]) == (["api1", *GROUPS["web"]], [1, 1, 2, 1], [])
    assert plan["group_of"]["web3"] == "web"
    assert (plan["version_before"]["web1"], plan["version_before"]["web2"]) == ("1", "")


@pytest.mark.parametrize(
    ("member", "now", "finished"),
    [
        (row("ready"), "2", True),
        (row("ready"), "", True),
        (row("ready"), "1", False),
        (row("ready", after="1"), "2", False),
        (row("upgrading"), "2", False),
        (row("rolled_back", after="1"), "1", False),
        (None, "2", False),
    ],
)
def test_a_host_is_finished_when_ledger_and_host_agree(member, now, finished):
    plan = forward({"api1": member} if member else {}, api1={"rolling_upgrade_version_now": now})
    assert ("api1" in plan["finished"], "api1" in plan["hosts"]) == (finished, not finished)


def test_the_version_before_is_the_ledgers_first():
    plan = forward({"web1": row("upgrading"), "web2": row("draining", before=None)}, web1={"rolling_upgrade_version_now": "2"})
    assert (plan["version_before"]["web1"], plan["version_before"]["web2"]) == ("1", "")
    assert forward(web1={"rolling_upgrade_version_now": "2"})["version_before"]["web1"] == ""


def test_a_percentage_is_of_the_whole_group_however_many_are_left():
    members = {host: row("ready") for host in ("api1", "web1", "web2")}
    plan = forward(members, web1={"rolling_upgrade_batch": "50%", "rolling_upgrade_canary": 0})
    assert batches(plan) == [["web3", "web4"]]


def web(count, members=None, **variables):
    """Plan the release of one group whose hosts share variables; a list has one value for each."""
    hosts = [f"web{number}" for number in range(1, count + 1)]
    own = [{f"rolling_upgrade_{name}": v[i] if isinstance(v, list) else v for name, v in variables.items()} for i in range(count)]
    return rollout.plan_forward([{"name": "web", "hosts": hosts}], dict(zip(hosts, own)), members or {}, "2")


def test_rules_come_from_the_hosts_variables():
    assert web(4, canary=0, batch=4)["sizes"] == [4]
    assert web(4, canary=0, batch=4, pool="shop")["sizes"] == [3, 1]
    assert web(4, canary=0, batch=4, pool="shop", min_healthy=2)["sizes"] == [2, 2]
    assert web(4, canary=0, batch=4, max_unavailable="50%")["sizes"] == [2, 2]
    assert batches(web(4, canary=0, batch=2, zone=["a", "a", "b", "b"])) == [["web1", "web3"], ["web2", "web4"]]
    with pytest.raises(EverupError, match="give web2 a zone"):
        web(2, zone=["a", ""])


def test_a_floor_that_the_releases_own_hosts_cannot_keep_is_left_to_the_balancers():
    """The pool may have members that are in no group of the release; preflight and guard ask it."""
    assert web(2, pool="shop", min_healthy=2, batch=2)["sizes"] == [1, 1]


def test_what_an_earlier_run_has_left_out_comes_first():
    members = {"web1": row("ready"), "web4": row("failed"), "web3": row("draining")}
    assert batches(web(5, members, canary=1, batch=2)) == [["web3"], ["web4"], ["web2", "web5"]]


def test_nothing_to_do():
    plan = forward({host: row("ready") for host in variables()})
    assert (plan["batches"], len(plan["finished"])) == ([], 5)
    assert rollout.describe(plan, "2") == ["Nothing to do: 5 host(s) are done."]


def test_description():
    plan = forward({"web4": row("ready")}, web1={"rolling_upgrade_batch": 2})
    assert rollout.describe(plan, "2") == [
        "4 host(s) to 2",
        "batch 1 (api, canary): api1",
        "batch 2 (web, canary): web1",
        "batch 3 (web): web2, web3",
        "done already: web4",
    ]


def test_the_canaries_are_the_first_batch_of_each_group():
    assert forward({}, web1={"rolling_upgrade_batch": 2})["canaries"] == ["api1", "web1"]
    assert web(4, canary=0, batch=2)["canaries"] == ["web1", "web2"]


def test_the_version_before_is_proved_by_the_first_that_still_serve_it():
    assert forward({}, web1={"rolling_upgrade_batch": 2})["proving"] == ["api1", "web1"]
    members = {"web1": row("upgrading"), "web2": row("ready"), "api1": row("failed")}
    plan = forward(members, web1={"rolling_upgrade_canary": 2})
    assert (plan["canaries"], plan["proving"]) == (["api1", "web1"], ["web3"])


def back(members, *states):
    return rollout.plan_back(rollout.candidates(["api", "web"], GROUPS), variables(), members, list(states))


def test_back_goes_the_other_way_round():
    plan = back({"api1": row("ready"), "web1": row("ready"), "web2": row("failed"), "web3": row("rolled_back")})
    assert plan["hosts"] == ["web2", "web1", "api1"]
    assert plan["finished"] == ["web3"]
    assert plan["version_before"] == {"api1": "1", "web1": "1", "web2": "1"}


def test_who_does_not_serve_comes_first_on_either_way():
    """Else the guard would find no capacity to take another one's place, and nobody would ever come back."""
    seen = [
        {"balancer": SOCKET, "member": name, "serving": name not in down}
        for down in (["web2", "w3"], ["web4"])
        for name in ("web1", "web2", "w3", "web4")
    ]
    hosts = variables(web1={"rolling_upgrade_pool_seen": {"results": [{"balancer": "lb1", "members": seen}]}})
    hosts["web3"] = {"rolling_upgrade_member": "w3"}
    found = rollout.candidates(["web"], GROUPS)
    members = {host: row("ready") for host in GROUPS["web"]}
    assert batches(rollout.plan_back(found, hosts, members)) == [["web4"], ["web3"], ["web2"], ["web1"]]
    del members["web4"]
    assert batches(rollout.plan_back(found, hosts, members)) == [["web3"], ["web2"], ["web1"]]
    assert rollout.plan_forward(found, hosts, {}, "2")["hosts"] == ["web2", "web3", "web4", "web1"]
    hosts["web1"] = {"rolling_upgrade_pool_seen": {"skipped": True}}
    assert rollout.plan_forward(found, hosts, {}, "2")["hosts"] == GROUPS["web"]


def test_back_can_leave_what_is_not_in_a_state():
    members = {"api1": row("ready"), "web1": row("upgrading", before=None), "web2": row("rolled_back"), "web9": row("failed")}
    assert back(members, "ready")["hosts"] == ["api1"]


def test_who_does_not_answer_goes_back_last_and_who_is_gone_stays():
    members = {name: row("ready") for name in ("web1", "web2", "web9")}
    found = rollout.candidates(["web"], GROUPS)
    with pytest.raises(EverupError, match=r"web9 took part .* any more\. .* -e rollback_gone=web9"):
        rollout.plan_back(found, variables(), members)
    for gone in (["web9"], "web9", " web9, web8"):
        plan = rollout.plan_back(found, variables(), members, [], gone)
        assert (plan["hosts"], plan["gone"], plan["finished"]) == (["web2", "web1"], ["web9"], [])
        assert "left as they are, gone for good: web9" in rollout.describe(plan, "1")
    with pytest.raises(EverupError, match="rollback_gone has web1, which the inventory has"):
        rollout.plan_back(found, variables(), members, [], "web1,web9")
    silent = variables(web2={"rolling_upgrade_answer": {"unreachable": True}})
    plan = rollout.plan_back(found, silent, members | {"web3": row("failed")}, [], "web9")
    assert plan["hosts"][-1] == "web2" and plan["sizes"][-1] == 1 and set(plan["hosts"]) == {"web1", "web2", "web3"}
    assert plan["group_of"]["web2"] == "web" and plan["version_before"]["web2"] == "1"


def test_one_member_of_two_hosts_is_refused():
    both = looked(lb1=["web1", "web2"])
    (said,) = balancers.pool_refusals("shop", both, {"lb1": ["web1", "web1"]}, 1)
    assert said.startswith("Several hosts are member web1 of pool shop")


def test_failed_are_those_whose_upgrade_failed_or_that_went_unreachable_in_it():
    left = {"rolling_upgrade_leaving": {"changed": True}}
    hosts = variables(
        api1=left,
        web1={**left, "rolling_upgrade_host_failed": True},
        web2=left,
        web3={"rolling_upgrade_failure": "the guard says no"},
        web4={"rolling_upgrade_host_failed": True},
    )
    members = {"api1": row("ready"), "web1": row("rolled_back"), "web2": row("upgrading"), "web3": row("draining")}
    assert failed(["api1", "web1", "web2", "web3", "web4"], hosts, members) == ["web1", "web2", "web4"]


def test_back_refuses_what_it_cannot_know():
    with pytest.raises(EverupError, match="web9 took part in the release and is in no group"):
        back({"web9": row("ready")})
    with pytest.raises(EverupError, match="does not know which version web1 ran"):
        back({"web1": row("ready", before=None)})
    assert back({"web9": row("rolled_back")})["hosts"] == []


@pytest.mark.parametrize(
    ("evidence", "now", "expected"),
    [
        (HEALTHY, "2", ""),
        (HEALTHY, "", "it cannot be known which version web1 serves: give it rolling_upgrade_health_url"),
        (HEALTHY, None, "it cannot be known which version web1 serves: give it rolling_upgrade_health_url"),
        (HEALTHY, "1", "web1 has 1 installed"),
        (SICK, "2", "web1 does not serve 2: was not healthy within 15 s"),
        (SICK, "1", "web1 does not serve 2: was not healthy within 15 s"),
        ({"failed": True}, "2", "web1 does not serve 2: no reason given"),
        ({}, "2", "web1 does not serve 2: no reason given"),
        ({"unreachable": True, "msg": "x"}, "2", "web1 did not answer"),
        (None, "2", "web1 did not answer"),
        (SKIPPED, "2", ""),
        (SKIPPED, "1", "web1 has 1 installed"),
        (SKIPPED, "", "it cannot be known which version web1 serves: give it rolling_upgrade_health_url"),
        (SKIPPED, None, "it cannot be known which version web1 serves: give it rolling_upgrade_health_url"),
    ],
)
def test_not_known_is_no(evidence, now, expected):
    given = {"rolling_upgrade_evidence": evidence, "rolling_upgrade_version_now": now, "rolling_upgrade_said_version": True}
    hosts = variables(web1={name: value for name, value in given.items() if value is not None})
    found = behind(["web1"], hosts, "2")
    assert len(found) == bool(expected)
    assert not expected or found[0].startswith(expected)


def test_a_version_that_an_earlier_play_has_kept_is_no_evidence():
    hosts = variables(web1={"rolling_upgrade_evidence": HEALTHY, "rolling_upgrade_version_now": "2"})
    assert behind(["web1"], hosts, "2") == ["web1 could not say which version it has installed"]


def test_a_health_condition_on_the_version_is_as_good_as_the_version():
    asked = {"rolling_upgrade_evidence": HEALTHY, "rolling_upgrade_said_version": True}
    assert behind(["web1"], variables(web1={**asked, "rolling_upgrade_names_version": True}), "2") == []


def test_every_host_is_asked():
    asked = {"rolling_upgrade_evidence": HEALTHY, "rolling_upgrade_said_version": True, "rolling_upgrade_version_now": "2"}
    hosts = variables(web2=asked)
    assert behind(["web1", "web2", "web3"], hosts, "2") == ["web1 did not answer", "web3 did not answer"]


def looked(**balancers):
    """A registered loop of lb_member_info over hosts that all have the socket at the same path, with these members."""
    members = {name: [{"balancer": SOCKET, "member": member} for member in found] for name, found in balancers.items()}
    return {"results": [{"balancer": name, "members": found} for name, found in members.items()]}


def test_two_balancers_of_one_address_are_two():
    found = balancers.pool_members(looked(lb1=["web1"], lb2=["web1"]))
    assert [member["balancer"] for member in found] == [f"lb1 ({SOCKET})", f"lb2 ({SOCKET})"]


def test_each_balancer_must_have_every_member_and_more_than_the_floor():
    both = ["web1", "web2"]
    behind = {"lb1": both, "lb2": both}
    assert balancers.pool_refusals("shop", looked(lb1=both, lb2=both), behind, 1) == []
    assert balancers.pool_refusals("shop", looked(lb1=both, lb2=["web1", "web3"]), behind, 1) == [
        f"Pool shop on lb2 ({SOCKET}) has no member web2."
    ]
    assert balancers.pool_refusals("shop", looked(lb1=[*both, "web3"], lb2=both), behind, 2) == [
        f"Pool shop on lb2 ({SOCKET}) has 2 member(s) and rolling_upgrade_min_healthy is 2: that leaves no host to take out. "
        "Lower it, or add members."
    ]


def test_backups_and_twins_are_told():
    both = looked(lb1=["web1", "web2", "sorry"])
    for member in both["results"][0]["members"]:
        member["backup"] = member["member"] == "sorry"
    behind = {"lb1": ["web1", "web2"]}
    assert balancers.pool_refusals("shop", both, behind, 1) == []
    (said,) = balancers.pool_refusals("shop", both, behind, 2)
    assert "has 2 member(s) that are no backup and rolling_upgrade_min_healthy is 2" in said
    (said,) = balancers.pool_refusals("shop", looked(lb1=["web1", "web1", "web2"]), behind, 1)
    assert said == f"Pool shop on lb1 ({SOCKET}) has several members web1: give each a name of its own."


def test_a_balancer_of_some_hosts_must_have_those():
    hosts = variables(
        web1={"rolling_upgrade_balancers": ["north"]},
        web2={"rolling_upgrade_balancers": ["south"], "rolling_upgrade_member": "w2"},
        web3={"rolling_upgrade_balancers": ["north", "south"]},
    )
    behind = balancers.balancers_of(GROUPS["web"], hosts, ["lb"])
    assert behind == {"north": ["web1", "web3"], "south": ["w2", "web3"], "lb": ["web4"]}
    members = looked(north=["web1", "web3"], south=["web3", "web9"], lb=["web4", "web1"])
    assert balancers.pool_refusals("shop", members, behind, 1) == [f"Pool shop on south ({SOCKET}) has no member w2."]


def test_health_flags_are_one_balancer_with_a_member_each():
    flags = looked(web1=["web1"], web2=["web2"], web3=["web3"])
    for result in flags["results"]:
        result["provider"] = "health_flag"
    found = balancers.pool_members(flags)
    assert {member["balancer"] for member in found} == {"the health flags of its members"}
    assert [(member["asked"], member["member"]) for member in found] == [(name, name) for name in GROUPS["web"][:3]]
    behind = {name: [name] for name in GROUPS["web"][:3]}
    assert balancers.pool_refusals("shop", flags, behind, 2) == []
    assert "has 3 member(s) and rolling_upgrade_min_healthy is 3" in balancers.pool_refusals("shop", flags, behind, 3)[0]


def test_loops_over_balancers():
    member = {"balancer": SOCKET, "member": "web1"}
    answered = {"results": [{"balancer": "lb1", "members": [member]}, {"balancer": "lb2", "unreachable": True}]}
    assert [found["member"] for found in balancers.pool_members(answered)] == ["web1"]
    assert balancers.lost_balancers(answered, {"results": [{"balancer": "lb0", "unreachable": True}]}) == ["lb0", "lb2"]
    assert (balancers.pool_members({"skipped": True}), balancers.lost_balancers({"skipped": True})) == ([], [])


@pytest.mark.parametrize(
    ("states", "is_stranded", "expected"),
    [
        ({"lb1": "ready", "lb2": "ready"}, False, {}),
        ({"lb1": "maint", "lb2": "ready"}, False, {"lb1": "maint"}),
        ({"lb1": "maint", "lb2": "drain"}, False, {"lb1": "maint", "lb2": "drain"}),
        ({"lb1": "maint", "lb2": "drain"}, True, {"lb1": "maint"}),
        ({"lb1": "drain"}, True, {}),
        ({}, False, {}),
    ],
)
def test_what_somebody_else_has_taken_out(states, is_stranded, expected):
    def members(state):
        return [{"member": "web1", "state": state}, {"member": "web2", "state": "maint"}]

    results = [{"balancer": lb, "ansible_loop_var": "balancer", "members": members(state)} for lb, state in states.items()]
    assert balancers.taken_out({"results": results}, "web1", is_stranded) == expected
    assert balancers.taken_out({"skipped": True}, "web1", is_stranded) == {}


def test_a_drain_that_an_earlier_run_had_found_is_somebody_elses_still():
    results = [{"balancer": name, "members": [{"member": "web1", "state": "drain"}]} for name in ("lb1", "lb2")]
    assert balancers.taken_out({"results": results}, "web1", True, {"lb1": "drain"}) == {"lb1": "drain"}
    plan = forward({"web1": {**row("upgrading"), "stays_out": {"lb1": "drain"}}})
    assert (plan["stays_out"]["web1"], plan["stays_out"]["web2"]) == ({"lb1": "drain"}, {})


def test_a_member_that_stays_out_is_told():
    assert balancers.stays_out({"lb1": "maint", "lb2": "drain"}) == (
        "stays in maint on lb1, in drain on lb2, as it was before the release"
    )
    assert balancers.stays_out({}) == ""


def test_names_and_silent_hosts():
    hosts = variables(
        web1={"rolling_upgrade_member": "w1", "rolling_upgrade_passed": True}, web2={"rolling_upgrade_passed": False}
    )
    assert balancers.member_names(["web1", "web2"], hosts) == ["w1", "web2"]
    assert silent_hosts(["web1", "web2", "web3"], hosts) == ["web2", "web3"]


def test_why_hosts_that_serve_go_back():
    hosts = variables(web1={"rolling_upgrade_failure": "Check its health: 503"})
    assert why_back(["web1", "web2"], hosts) == (
        "taken back, since web1 failed: Check its health: 503; web2 failed: it went unreachable"
    )


def test_observed_are_those_whom_users_reach_and_that_have_not_gone_back():
    seen = {"rolling_upgrade_observed": True}
    hosts = variables(
        web1={**seen, "rolling_upgrade_member": "w1"}, web2={**seen, "rolling_upgrade_host_failed": True}, web4=seen
    )
    assert balancers.observed_members(GROUPS["web"], hosts) == ["w1", "web4"]


def test_why_a_task_failed():
    assert failure_reason({"msg": "non-zero return code", "rc": 3, "stderr": "no\n disk"}) == (
        "non-zero return code (exit code 3): no disk"
    )
    items = [{"msg": "fine"}, {"failed": True, "msg": "no space"}, {"unreachable": True, "msg": "no route"}]
    assert failure_reason({"msg": "One or more items failed", "results": items}) == "no space; no route"
    assert failure_reason({"reason": "Could not find or access '/h/drain.yml'"}) == "Could not find or access '/h/drain.yml'"


@pytest.mark.parametrize("command", ["/opt/none restart", ["/opt/none", "restart"]])
def test_a_program_that_is_not_there_is_named(command):
    failed = {"msg": "Error executing command.", "cmd": command, "rc": 2}
    assert failure_reason(failed) == "Error executing command '/opt/none restart': is it there, and may this user run it?"


def test_what_is_hidden_is_not_told():
    hidden = {"_ansible_no_log": True, "failed": True, "msg": "s3cret", "rc": 3, "stderr": "s3cret"}
    said = "failed; its output is hidden (no_log)"
    assert failure_reason(hidden) == said
    assert failure_reason({**hidden, "results": [{**hidden, "item": 1}]}) == said
    assert failure_reason({"results": [hidden, {"failed": True, "msg": "no disk"}]}) == f"{said}; no disk"
    assert failure_reason({**hidden, "results": [{"failed": True, "msg": "s3cret"}]}) == said


@pytest.mark.parametrize(
    ("plan", "sizes"), [({"sizes": [1, 12, 7]}, [1, 12, 7]), ({"sizes": []}, [1]), ({}, [1]), (None, [1])], ids=str
)
def test_a_play_gets_a_size_also_of_a_plan_without_hosts(plan, sizes):
    assert rollout.serial(plan) == sizes
