"""Every transition of a release, as one table."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._release import states

# From (state, or failed with its milestone) to every state that may follow.
ALLOWED = {
    ("open", "open"): {"expanding", "rolling_back", "aborted", "failed"},
    ("expanding", "open"): {"expanding", "expanded", "rolling_back", "aborted", "failed"},
    ("expanded", "expanded"): {"expanding", "rolling", "rolling_back", "aborted"},
    ("rolling", "expanded"): {"rolling", "rolled", "rolling_back", "failed"},
    ("rolled", "rolled"): {"rolling", "contracting", "rolling_back"},
    ("contracting", "rolled"): {"contracting", "contracted", "failed"},
    ("contracted", "contracted"): set(),
    ("rolling_back", "expanded"): {"rolling_back", "rolled_back", "failed"},
    ("rolled_back", "expanded"): set(),
    ("aborted", "open"): set(),
    ("failed", "open"): {"expanding", "rolling_back", "aborted"},
    ("failed", "expanded"): {"expanding", "rolling", "rolling_back", "aborted"},
    ("failed", "rolled"): {"rolling", "contracting", "rolling_back"},
}
TABLE = [(state, reached, to, to in allowed) for (state, reached), allowed in ALLOWED.items() for to in states.STATES]


def transition(state, reached, to, contract_started=False, touched=()):
    states.check_transition("2.4.0", state, reached, to, contract_started, list(touched))


def test_the_table_is_whole():
    assert {state for state, _reached in ALLOWED} == set(states.STATES) | {"open"}


@pytest.mark.parametrize(("state", "reached", "to", "allowed"), TABLE)
def test_transitions(state, reached, to, allowed):
    if allowed:
        transition(state, reached, to)
        return
    with pytest.raises(EverupError) as caught:
        transition(state, reached, to)
    assert str(caught.value).startswith(f"Release 2.4.0 is '{state}' and cannot become '{to}': ")
    assert states.next_step(state, reached) in str(caught.value)


@pytest.mark.parametrize(("state", "reached"), [("contracting", "rolled"), ("failed", "rolled"), ("contracted", "contracted")])
def test_no_way_back_once_contract_has_started(state, reached):
    with pytest.raises(EverupError, match="cannot go back: its contract has started"):
        transition(state, reached, "rolling_back", contract_started=True)


def test_contract_goes_on_after_it_has_started():
    transition("failed", "rolled", "contracting", contract_started=True)


def test_a_release_on_hosts_is_not_aborted():
    with pytest.raises(EverupError, match=r"cannot be aborted: web1, web2 may already run it\. Run everup\.deploy\.rollback"):
        transition("expanded", "expanded", "aborted", touched=["web1", "web2"])


@pytest.mark.parametrize(
    ("to", "reached", "expected"),
    [
        ("expanding", "open", "open"),
        ("expanded", "open", "expanded"),
        ("expanding", "expanded", "expanded"),
        ("rolled", "expanded", "rolled"),
        ("rolling", "rolled", "expanded"),
        ("rolling_back", "rolled", "expanded"),
        ("contracting", "rolled", "rolled"),
        ("contracted", "rolled", "contracted"),
        ("failed", "rolled", "rolled"),
        ("failed", "open", "open"),
        ("expanded", "rolled", "rolled"),
        ("rolled_back", "expanded", "expanded"),
    ],
)
def test_milestones(to, reached, expected):
    assert states.reached_after(to, reached) == expected


def test_every_state_says_what_comes_next():
    for state, reached in ALLOWED:
        assert states.next_step(state, reached)
    ways_on = "run everup.deploy.rollout again, everup.deploy.rollback, or everup.deploy.abort where no host was touched"
    assert states.next_step("failed", "expanded") == ways_on
    assert states.next_step("failed", "rolled") == "run everup.deploy.contract again"


def release(version, state, reached=None, contracting_at=None):
    reached = reached or (state if state in states.MILESTONES else "expanded")
    return {"version": version, "state": state, "reached": reached, "opened_at": "T0", "contracting_at": contracting_at}


def test_the_first_release_is_new():
    assert states.check_open("2", []) is None


@pytest.mark.parametrize("state", ["open", "expanding", "expanded", "rolling", "rolling_back", "failed"])
def test_one_unfinished_release_at_a_time(state):
    with pytest.raises(EverupError) as caught:
        states.check_open("2", [release("1", state)])
    assert f"release 1 is '{state}' since it was opened at T0" in str(caught.value)
    assert caught.value.details == {"unfinished": "1", "state": state}


@pytest.mark.parametrize(
    ("state", "reached"),
    [
        ("rolled", "rolled"),
        ("contracting", "rolled"),
        ("contracted", "contracted"),
        ("failed", "rolled"),
        ("rolled_back", "expanded"),
        ("aborted", "open"),
    ],
)
def test_a_finished_release_is_in_nobodys_way(state, reached):
    assert states.check_open("2", [release("1", state, reached)]) is None


@pytest.mark.parametrize("state", ["open", "expanding", "expanded", "rolling", "rolled", "contracting", "rolling_back", "failed"])
def test_the_same_version_goes_on(state):
    row = release("2", state)
    assert states.check_open("2", [release("1", "contracted"), row]) is row


@pytest.mark.parametrize("state", ["rolled_back", "aborted"])
def test_a_version_that_was_given_up_begins_anew(state):
    assert states.check_open("2", [release("2", state)]) is None


def test_a_release_whose_place_was_taken_is_not_opened_again():
    with pytest.raises(
        EverupError, match=r"release 2, .* has taken its place and is 'rolled'\. To go back, run everup\.deploy\.rollback"
    ):
        states.check_open("1", [release("1", "rolled"), release("2", "rolled")])
    with pytest.raises(EverupError, match="Its contract has started"):
        states.check_open("1", [release("1", "contracted"), release("2", "contracted", contracting_at="T")])
    with pytest.raises(EverupError, match="Its contract has started"):
        states.check_open("1", [release("1", "rolled_back"), release("2", "contracted", contracting_at="T")])


def test_a_release_goes_on_when_the_next_one_was_given_up():
    rows = [release("1", "rolled"), release("2", "rolled_back"), release("3", "aborted", "open")]
    assert states.check_open("1", rows) is rows[0]
    assert states.check_open("2", [release("2", "rolled_back"), release("3", "rolled")]) is None


CONTRACTED = [release("1.9", "rolled"), release("2.10.0", "contracted", contracting_at="T1"), release("2.11.0", "rolled")]


@pytest.mark.parametrize("rows", [CONTRACTED, [*CONTRACTED, release("2.9", "aborted", "open")]])
def test_a_version_older_than_a_contracted_one_is_refused_without_a_reason(rows):
    said = r"Release 2\.9 cannot be opened: it is older than 2\.10\.0, whose contract has started at T1, .*release_older_reason"
    with pytest.raises(EverupError, match=said) as caught:
        states.check_open("2.9", rows)
    assert caught.value.details == {"later": "2.10.0", "state": "contracted"}
    assert states.check_open("2.9", rows, older_reason="made for the schema as it is") is None


@pytest.mark.parametrize("version", ["2.10.1", "3", "2.10.0-hotfix", "3f9c2d1", "20261122"])
def test_a_version_that_is_newer_or_no_number_is_opened(version):
    assert states.check_open(version, CONTRACTED) is None


def member(state, version_after="2", reason=None):
    return {"state": state, "version_after": version_after, "reason": reason}


def test_hosts_not_ready():
    members = {
        "web1": member("ready"),
        "web2": member("ready", "1"),
        "web3": member("failed", reason="no disk"),
        "web5": member("draining"),
    }
    assert states.hosts_not_ready(members, ["web1", "web2", "web3", "web4"], "2") == {
        "web2": "is 'ready'",
        "web3": "is 'failed': no disk",
        "web4": "was not touched",
    }


def test_hosts_not_back():
    members = {"web1": member("rolled_back"), "web2": member("failed", reason="no disk"), "web3": member("ready")}
    assert states.hosts_not_back(members) == {"web2": "is 'failed': no disk", "web3": "is 'ready'"}


def test_a_mistyped_version_is_named_as_such_also_while_another_release_is_not_finished():
    with pytest.raises(EverupError, match=r"There is no release 2\.5\.0 in the ledger; there are: 2\.4\.0 \(rolling\)"):
        states.check_open("2.5.0", [release("2.4.0", "rolling", "expanded")], existing=True)
