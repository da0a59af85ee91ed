"""The gates in front of a contract: each alone, and two thousand releases of which most have something hidden in them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._evidence.run import EVIDENCE_SPEC, evidence_info, policy_of
from ansible_collections.everup.deploy.plugins.module_utils._release.evidence import (
    Facts,
    HostAnswer,
    Policy,
    PoolAnswer,
    Session,
)
from ansible_collections.everup.deploy.plugins.module_utils._release.gates import GATES, refusal
from ansible_collections.everup.deploy.plugins.module_utils._release.judge import (
    check_policy,
    judge,
    required_gates,
    session_version,
)
from ansible_collections.everup.deploy.plugins.module_utils._release.usage import Reading

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
RUN = "42"
COLUMN = "column orders.client_id"


def text(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def reading(moment: datetime, uses: int | None = 3, **options) -> Reading:
    values = {"counted_since": "2026-01-01T00:00:00.000Z", **options}
    return Reading("stats", COLUMN, uses, taken_at=text(moment), **values)


def event(number: int, what: str, moment: datetime, subject: str = "", **detail) -> dict:
    return {"id": number, "what": what, "at": text(moment), "subject": subject, "detail": detail}


def good(hosts: int = 3) -> Facts:
    """A release that may contract: rolled out nine days ago."""
    names = tuple(f"web{number}" for number in range(1, hosts + 1))
    rolled = NOW - 9 * DAY
    return Facts(
        release={"version": "2.4.0", "state": "rolled", "reached": "rolled", "rolled_at": text(rolled)},
        members={name: {"state": "ready", "changed_at": text(rolled - timedelta(minutes=9)), "reason": None} for name in names},
        events=(
            event(1, "release_rolled", rolled, "2.4.0", controller_at=rolled.timestamp()),
            event(2, "release_approved", rolled + DAY, "ann", reason="fine", plan_hash="h"),
        ),
        now=text(NOW),
        controller_now=NOW.timestamp(),
        wanted=names,
        hosts=tuple(HostAnswer(name, "2.4.0", "", RUN) for name in names),
        pools=(PoolAnswer("shop", names, {"lb1": names, "lb2": names}, (), True, RUN),),
        sessions=(Session("7", "shop 2.4.0", "shop", "10.0.0.1", text(rolled)), Session("8", "everup.deploy", "deploy")),
        drops=(COLUMN,),
        readings=(reading(NOW),),
        snapshots=(reading(rolled + timedelta(hours=1)), reading(NOW - DAY)),
        backfills=(1, ()),
        assertions=(4, ()),
        plan_hash="h",
    )


ALL = Policy(gates=GATES, run=RUN, soak=(86400.0, "24h"), windows=("fri 10:00-14:00",), approvals=1)


def closed(facts: Facts, policy: Policy = ALL) -> dict:
    """Return the answer and proof of each gate that stands in the way."""
    return {gate.name: (gate.is_open, gate.proof) for gate in judge(facts, policy) if not gate.passes}


def test_a_release_that_may_contract_passes_every_gate():
    gates = judge(good(), ALL)
    assert [gate.name for gate in gates] == list(GATES)
    assert closed(good()) == {}
    assert refusal([gate.as_dict() for gate in gates]) == ""
    assert all(gate.proof for gate in gates)


def asked(facts: Facts, host: str, **changes) -> Facts:
    return replace(facts, hosts=tuple(replace(one, **changes) if one.host == host else one for one in facts.hosts))


def member(facts: Facts, name: str, **changes) -> Facts:
    row = {"state": "ready", "changed_at": facts.release["rolled_at"], "reason": None}
    return replace(facts, members={**facts.members, name: {**row, **changes}})


def pool(facts: Facts, **changes) -> Facts:
    return replace(facts, pools=tuple(replace(one, **changes) for one in facts.pools))


def connected(facts: Facts, *sessions: Session) -> Facts:
    return replace(facts, sessions=(*(facts.sessions or ()), *sessions))


def events(facts: Facts, *more: dict) -> Facts:
    return replace(facts, events=(*facts.events, *more))


def jumped(facts: Facts, by: timedelta) -> Facts:
    """Let the database's clock have jumped since the roll-out, and the controller's not."""
    return replace(facts, now=text(NOW + by))


# What must keep a contract from running: the gate that sees it, whether it is known, and how it comes about.
TROUBLES = {
    "a forgotten host": ("hosts", False, lambda f: replace(f, wanted=(*f.wanted, "web9"))),
    "a host down": ("hosts", False, lambda f: asked(f, "web2", why="web2 did not answer")),
    "a host of the old version": ("hosts", False, lambda f: asked(f, "web1", version="2.3.9")),
    "a host of a version nobody can compare": ("hosts", False, lambda f: asked(f, "web1", version="2.4.0-rc1")),
    "a stale fact": ("hosts", False, lambda f: asked(f, "web3", run="41")),
    "a fact of no run": ("hosts", False, lambda f: asked(f, "web3", run="")),
    "a limited run": ("hosts", False, lambda f: replace(f, hosts=f.hosts[:1])),
    "a host taken out of the inventory": ("hosts", False, lambda f: member(f, "web8")),
    "nobody asked": ("hosts", None, lambda f: replace(f, wanted=(), hosts=(), members={})),
    "a member outside the inventory": ("members", False, lambda f: pool(f, seen={"lb1": f.wanted, "lb2": (*f.wanted, "old7")})),
    "a balancer that is silent": ("members", None, lambda f: pool(f, mute=("balancer lb2 is unreachable",))),
    "a pool not looked at": ("members", None, lambda f: pool(f, seen={})),
    "a pool looked at before": ("members", None, lambda f: pool(f, run="41")),
    "a pool of the old version": ("sessions", False, lambda f: connected(f, Session("9", "shop 2.3.9", "shop", "10.0.0.9"))),
    "a program without a version": ("sessions", None, lambda f: connected(f, Session("9", "shop", "shop"))),
    "a session without a name": ("sessions", None, lambda f: connected(f, Session("9"))),
    "a driver that names itself": ("sessions", None, lambda f: connected(f, Session("9", "node-postgres 8.11.0"))),
    "sessions nobody may see": ("sessions", None, lambda f: replace(f, problems={"sessions": "this user sees its own only"})),
    "a view that reads the column": ("references", False, lambda f: replace(f, references=("view v refers to it",))),
    "a procedure nobody may read": ("references", None, lambda f: replace(f, hidden=("secret_report",))),
    "a script nobody can read": ("references", None, lambda f: replace(f, unread=("contract/1.sql:3: EXEC (@sql)",))),
    "a use since the roll-out": ("usage", False, lambda f: replace(f, readings=(reading(NOW, 4),))),
    "a cached plan of an old procedure": (
        "usage",
        False,
        lambda f: replace(f, readings=(*f.readings, reading(NOW, 0, last_used_at=text(NOW - DAY), suffices=False))),
    ),
    "a reset counter": ("usage", None, lambda f: replace(f, readings=(reading(NOW, 0),))),
    "a use behind a restart": ("usage", False, lambda f: replace(f, readings=(reading(NOW, 3, counted_since="later"),))),
    "snapshots of an hour": ("usage", None, lambda f: replace(f, snapshots=(reading(NOW - timedelta(hours=1)),))),
    "no counter": ("usage", None, lambda f: replace(f, readings=(reading(NOW, None, why="no extension"),))),
    "a plan cache alone": ("usage", None, lambda f: replace(f, readings=(reading(NOW, suffices=False),))),
    "a soak that is not over": ("soak", False, lambda f: replace(f, release={**f.release, "rolled_at": text(NOW - DAY / 2)})),
    "a host that became ready late": ("soak", False, lambda f: member(f, "web2", changed_at=text(NOW - DAY / 2))),
    "a release that is not rolled": ("soak", False, lambda f: replace(f, release={**f.release, "reached": "expanded"})),
    "a clock that has gone back": ("soak", None, lambda f: jumped(f, -12 * DAY)),
    "a clock that has gone forward": ("soak", None, lambda f: jumped(f, 12 * DAY)),
    "a clock that went back and came again": (
        "soak",
        None,
        lambda f: events(f, event(3, "run_refused", NOW + 30 * DAY), event(4, "run_refused", NOW - timedelta(hours=1))),
    ),
    "an hour outside of the window": ("window", False, lambda f: replace(jumped(f, DAY / 3), controller_now=None)),
    "an approval of another plan": ("approval", False, lambda f: replace(f, plan_hash="other")),
    "an approval of no plan": (
        "approval",
        False,
        lambda f: replace(f, events=(f.events[0], event(2, "release_approved", NOW, "ann", reason="fine", plan_hash=None))),
    ),
    "an approval, and no word of the roll-out's end": ("approval", False, lambda f: replace(f, events=f.events[1:])),
    "an approval from before the roll-out": (
        "approval",
        False,
        lambda f: replace(f, events=(f.events[1], {**f.events[0], "id": 3, "at": f.release["rolled_at"]})),
    ),
    "a backfill with rows left": ("backfills", False, lambda f: replace(f, backfills=(1, ("3 rows are left",)))),
    "a verify query that fails": ("backfills", None, lambda f: replace(f, problems={"backfills": "no such column"})),
    "an assertion that fails": ("assertions", False, lambda f: replace(f, assertions=(3, ("tests/1.sql:1: 2 row(s)",)))),
}
# What looks odd and is none of the contract's business.
HARMLESS = {
    "a newer host": lambda f: asked(f, "web1", version="2.4.1"),
    "a host whose check named the version": lambda f: asked(f, "web1", version=""),
    "a host that went back and left": lambda f: member(f, "web7", state="rolled_back"),
    "a member that is known": lambda f: pool(f, seen={"lb1": (*f.wanted, "sorry-page")}),
    "a pool that is two": lambda f: replace(f, pools=(*f.pools, replace(f.pools[0], pool="api"))),
    "no pool": lambda f: replace(f, pools=()),
    "a newer session": lambda f: connected(f, Session("9", "shop/v2.4.0")),
    "an operator": lambda f: connected(f, Session("9", "psql", "ann")),
    "a backup": lambda f: connected(f, Session("9", "", "backup", "10.9.9.9")),
    "no engine's sessions": lambda f: replace(f, sessions=None),
    "no engine's counters": lambda f: replace(f, readings=None),
    "an old use": lambda f: replace(f, snapshots=(reading(NOW - 20 * DAY, 1), *f.snapshots)),
    "a clock that was always wrong": lambda f: replace(
        f,
        controller_now=f.controller_now + 3600,
        events=({**f.events[0], "detail": {"controller_at": f.events[0]["detail"]["controller_at"] + 3600}}, *f.events[1:]),
    ),
    "a second approval": lambda f: events(f, event(5, "release_approved", NOW, "bob", reason="me too", plan_hash="h")),
    "nothing dropped": lambda f: replace(f, drops=(), readings=()),
}
WIDE = replace(ALL, known_members=("sorry-page",), session_ignore=("psql", "backup@.*"))


@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_is_seen_by_its_gate(name):
    gate, answer, befall = TROUBLES[name]
    found = closed(befall(good()))
    assert gate in found, found
    assert found[gate][0] is answer, found
    sentence = refusal([one.as_dict() for one in judge(befall(good()), ALL)])
    assert sentence.startswith("The contract does not run: ")
    assert found[gate][1] in sentence


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_stands_in_nobodys_way(name):
    assert closed(HARMLESS[name](good()), WIDE) == {}


def test_of_two_thousand_releases_none_contracts_that_must_not():
    wrong, refused_well = [], 0
    for seed in range(2000):
        chance = random.Random(seed)
        facts = good(chance.randint(3, 6))
        odd = chance.sample(sorted(HARMLESS), chance.randint(0, 2))
        bad = chance.sample(sorted(TROUBLES), chance.choice((0, 1, 1, 1, 2, 3)))
        # What takes the evidence of another trouble away would hide it, not mend it.
        odd = [name for name in odd if not (bad and name.startswith(("no ", "nothing ", "a newer host", "a host whose")))]
        for name in odd:
            facts = HARMLESS[name](facts)
        for name in bad:
            facts = TROUBLES[name][2](facts)
        found = closed(facts, WIDE)
        if bool(found) != bool(bad):
            wrong.append((seed, bad, odd, found))
        refused_well += bool(found)
    assert wrong == []
    assert 1000 < refused_well < 1950


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"answers": [{}]}, "answers has an entry without host"),
        ({"pools": [{}]}, "pools has an entry without pool"),
        ({"pools": [{"pool": "shop", "seen": ["web1"]}]}, "whose seen is not members by balancer"),
    ],
)
def test_answers_of_another_form_are_named(given, said):
    options = {name: option.get("default") for name, option in EVIDENCE_SPEC.items()}
    with pytest.raises(EverupError, match=said):
        evidence_info({**options, **given})


def test_an_override_needs_a_reason_and_passes_its_gate_alone():
    facts = asked(connected(good(), Session("9", "shop")), "web1", why="web1 did not answer")
    policy = replace(ALL, override={"sessions": "the reporting job of Bob, seen with netstat"})
    assert set(closed(facts, policy)) == {"hosts"}
    gate = next(gate for gate in judge(facts, policy) if gate.name == "sessions")
    assert (gate.state, gate.as_dict()["override"]) == ("not known, overridden", "the reporting job of Bob, seen with netstat")
    assert "| overridden: the reporting job" in str(gate)
    with pytest.raises(EverupError, match="override of sessions has no reason"):
        judge(facts, replace(ALL, override={"sessions": " "}))
    with pytest.raises(EverupError, match="no gate hostss"):
        judge(facts, replace(ALL, override={"hostss": "x"}))


def test_a_bare_yes_is_no_reason():
    options = {name: option.get("default") for name, option in EVIDENCE_SPEC.items()}
    for bare in (True, False, None, "", ["x"]):
        with pytest.raises(EverupError, match="override of sessions has no reason"):
            check_policy(policy_of({**options, "override": {"sessions": bare}}))
    assert policy_of({**options, "override": {"sessions": 4711}}).override == {"sessions": "4711"}


@pytest.mark.parametrize(
    ("own", "program", "is_left_out"),
    [
        ("shop", "shop 2.3.0", False),
        ("shop", "shop", True),
        ("everup.deploy", "everup.deploy 2.4.1", True),
    ],
)
def test_an_application_whose_name_begins_as_the_deploys_own_is_seen(own, program, is_left_out):
    facts = replace(good(), sessions=(Session("9", program),), own_program=own)
    assert ("sessions" not in closed(facts)) == is_left_out


def test_an_override_of_an_open_gate_is_no_override():
    gates = judge(good(), replace(ALL, override={"hosts": "web9 is gone"}))
    assert {gate.as_dict()["override"] for gate in gates} == {""}


def test_a_gate_that_was_not_asked_for_is_judged_where_somebody_wants_it_heeded():
    facts = replace(good(), snapshots=())
    basic = Policy(run=RUN)
    assert required_gates(facts, basic) == ["hosts", "members", "sessions", "references", "soak", "backfills", "assertions"]
    assert "usage" in required_gates(good(), basic)
    assert {"window", "approval"} < set(required_gates(facts, replace(basic, windows=("02:00-03:00",), approvals=1)))
    untold = replace(facts, snapshots=(reading(NOW, None),))
    assert "usage" not in required_gates(untold, basic)
    of_others = replace(good(), drops=("column orders.note",))
    assert "usage" not in required_gates(of_others, basic)
    assert "usage" in required_gates(replace(of_others, unread=("contract/9.sql:1: EXECUTE x",)), basic)


@pytest.mark.parametrize("same", ["Ann", " ann "])
def test_a_name_written_in_two_ways_is_one_person(same):
    facts = events(good(), event(3, "release_approved", NOW, same, reason="again", plan_hash="h"))
    assert "1 of 2 approval(s)" in closed(facts, replace(ALL, approvals=2))["approval"][1]


def test_a_window_by_a_clock_that_has_jumped_is_not_known():
    found = closed(jumped(good(), 7 * DAY))
    assert found["window"] == (None, found["soak"][1])
    assert "one of the clocks has jumped" in found["window"][1]


def test_a_clock_that_stands_before_the_roll_out_says_so():
    assert "it has gone back" in closed(jumped(replace(good(), controller_now=None), -12 * DAY))["soak"][1]


def test_usage_of_what_nobody_can_read_is_not_known():
    found = closed(replace(good(), unread=("contract/1.sql:3: EXEC (@sql)",)))
    assert found["usage"][0] is None and "contract/1.sql:3" in found["usage"][1]


def test_what_stands_beside_an_approval_is_told():
    facts = events(good(), event(3, "release_approved", NOW, "bob", reason="x", plan_hash="other"))
    before = replace(
        facts, events=(event(0, "release_approved", NOW - 20 * DAY, "eve", reason="x", plan_hash="h"), *facts.events)
    )
    proof = closed(before, replace(ALL, approvals=3))["approval"][1]
    assert proof.startswith("1 of 3 approval(s) (ann); 1 from before the roll-out ended do not count; 1 were given to other")
    assert closed(facts, replace(ALL, approvals=3))["approval"][1].count(";") == 1


def test_a_ledger_of_before_that_tells_less_is_enough():
    told = good()
    silent = replace(told, events=({**told.events[0], "detail": {}}, *told.events[1:]))
    assert closed(silent) == {}
    assert set(closed(replace(silent, controller_now=NOW.timestamp() - 3600))) == {"usage", "soak", "window"}
    assert set(closed(replace(told, events=()))) == {"approval"}


def test_a_soak_ends_to_the_second():
    for rest, is_open in ((0, True), (1, False)):
        rolled = NOW - DAY + timedelta(seconds=rest)
        found = closed(replace(good(), release={**good().release, "rolled_at": text(rolled)}, events=good().events[1:]))
        assert ("soak" not in found) == is_open, found


def test_a_pool_that_nobody_can_list_has_no_strangers():
    flagged = PoolAnswer("api", ("web1",), {"flag": ("web1", "old7")}, (), False, RUN)
    assert closed(replace(good(), pools=(*good().pools, flagged))) == {}


def test_a_proof_is_as_long_as_people_read():
    many = connected(good(), *(Session(str(number), "shop 2.3.9") for number in range(13)))
    assert closed(many)["sessions"][1].endswith("'shop 2.3.9' and 3 more")
    few = connected(good(), *(Session(str(number), "shop 2.3.9") for number in range(10)))
    assert closed(few)["sessions"][1].endswith("'shop 2.3.9'")
    long = closed(replace(good(), references=("x" * 3000,)))["references"][1]
    assert (len(long), long[-5:]) == (2004, "x ...")
    assert closed(replace(good(), references=("x" * 2000,)))["references"][1] == "x" * 2000


def test_who_was_left_out_is_counted():
    def proof(*sessions):
        facts = replace(good(), sessions=sessions)
        return next(gate.proof for gate in judge(facts, ALL) if gate.name == "sessions")

    ours, theirs = Session("8", "everup.deploy"), Session("7", "shop 2.4.0")
    assert proof(ours) == "nobody else is connected; 1 of everup's own or in contract_session_ignore"
    assert proof(theirs) == "1 session(s), each of 2.4.0 or newer"
    assert proof(ours, theirs, ours).endswith("newer; 2 of everup's own or in contract_session_ignore")


def test_what_does_not_apply_is_told_and_stands_open():
    def gate(name, facts, policy=ALL):
        return next(one for one in judge(facts, policy) if one.name == name)

    assert gate("members", replace(good(), pools=())).state == "not applicable"
    assert "health_flag" in gate("members", pool(good(), lists=False, seen={})).proof
    assert gate("window", good(), replace(ALL, windows=())).state == "not applicable"
    assert "drop nothing" in gate("references", replace(good(), drops=())).proof
    assert "whose use is counted" in gate("usage", replace(good(), drops=("trigger t",))).proof
    assert "no contract script that would run" in gate("backfills", replace(good(), backfills=(0, ()))).proof


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"windows": ("fry 10:00-11:00",)}, "is no window"),
        ({"session_pattern": r"shop (\S+)"}, "has no group"),
        ({"session_pattern": "("}, "no regular expression"),
        ({"session_ignore": ("*",)}, "no regular expression"),
    ],
)
def test_a_policy_that_nobody_can_have_meant_is_refused(policy, said):
    with pytest.raises(EverupError, match=said):
        judge(good(), replace(ALL, gates=("hosts",), **policy))


def test_two_approvals_are_of_two_people():
    facts = events(good(), event(3, "release_approved", NOW, "ann", reason="again", plan_hash="h"))
    assert "1 of 2 approval(s) (ann)" in closed(facts, replace(ALL, approvals=2))["approval"][1]
    assert closed(HARMLESS["a second approval"](facts), replace(ALL, approvals=2)) == {}


def test_what_is_left_of_a_soak_is_told_in_words():
    late = TROUBLES["a soak that is not over"][2](good())
    assert "its soak of 24h has 12 h left" in closed(late)["soak"][1]


def test_no_soak_asks_no_clock():
    assert closed(TROUBLES["a clock that has gone back"][2](good()), Policy(gates=("soak",), soak=(0.0, "0s"))).keys() == {
        "usage"
    }


@pytest.mark.parametrize(
    ("program", "pattern", "found"),
    [
        ("shop 2.4.0", "", "2.4.0"),
        ("shop/v2.4.0", "", "2.4.0"),
        ("shop-2.4.0", "", "2.4.0"),
        ("2.4.0", "", "2.4.0"),
        ("shop 12.4.0", "", ""),
        ("shop 2.4.0.1", "", ""),
        ("shop 2.4.0 worker", "", ""),
        ("shop 2.5.0", "", ""),
        ("shop (v2.5.0) worker", r"\(v(?P<version>[^)]+)\)", "2.5.0"),
        ("other", r"\(v(?P<version>[^)]+)\)", ""),
    ],
)
def test_where_a_session_names_its_version(program, pattern, found):
    assert session_version(program, pattern, "2.4.0") == found


@pytest.mark.parametrize("options", [{"session_pattern": "shop (.*)"}, {"session_pattern": "("}, {"session_ignore": ("[",)}])
def test_a_pattern_that_cannot_be_meant_is_refused(options):
    with pytest.raises(EverupError, match=r"session_(pattern|ignore)"):
        judge(good(), replace(ALL, **options))


def test_a_pattern_of_the_users_lets_newer_versions_in_and_no_older():
    policy = replace(ALL, session_pattern=r"shop (?P<version>\S+)")
    assert closed(connected(good(), Session("9", "shop 2.5.0")), policy) == {}
    assert closed(connected(good(), Session("9", "shop 2.3.0")), policy)["sessions"][0] is False
    assert closed(connected(good(), Session("9", "shop dev")), policy)["sessions"][0] is None


def test_each_object_is_judged_by_its_own_counter():
    other = "column orders.note"

    def of_other(moment, uses):
        return replace(reading(moment, uses), object=other)

    facts = replace(good(), drops=(COLUMN, other))
    unused = replace(
        facts,
        readings=(*facts.readings, of_other(NOW, 900)),
        snapshots=(*facts.snapshots, of_other(NOW - 8 * DAY, 900), of_other(NOW - DAY, 900)),
    )
    assert closed(unused) == {}
    used = replace(unused, readings=(*facts.readings, of_other(NOW, 901)))
    assert closed(used)["usage"][1].startswith(f"{other} was used 1 time(s)")
    unread = closed(replace(unused, readings=facts.readings))["usage"]
    assert unread == (None, f"use of {other} is not known: no counter of it was read")


def test_a_clock_that_went_back_before_the_roll_out_ended_is_nobodys_doubt():
    first = good()
    early = event(0, "release_opened", NOW + 30 * DAY)
    assert closed(replace(first, events=(early, *first.events))) == {}


def test_only_hosts_that_serve_say_since_when_all_do():
    gone = member(good(), "web7", state="rolled_back", changed_at=text(NOW - timedelta(hours=1)))
    assert closed(gone) == {}


def test_how_much_of_a_soak_is_left():
    facts = replace(good(), release={**good().release, "rolled_at": text(NOW - DAY / 2)})
    assert "has 12 h left" in closed(facts)["soak"][1]
