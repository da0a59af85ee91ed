"""Who may hold the lease, and which processes are dead."""

import os
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._release.lease import LeaseHeld, lease_for, may_take
from ansible_collections.everup.deploy.plugins.module_utils._release.process import identity, is_dead

ME = {"host": "c1", "boot": "b", "namespace": "n", "pid": 7, "start": 100}
OTHER = {**ME, "pid": 8}


def lease(holder="ann@c1", process=OTHER, token=5):
    return {
        "holder": holder,
        "holder_process": process,
        "token": token,
        "taken_at": "T1",
        "expires_at": "T2",
        "release_version": "2.4.0",
    }


@pytest.mark.parametrize(
    ("row", "process", "left", "dead_token", "takeover", "expected"),
    [
        (lease(holder=None, process={}), ME, 0.0, None, False, "take"),
        (lease(process=ME), ME, 60, None, False, "renew"),
        (lease(process=ME), ME, -1, None, False, "renew"),
        (lease(), ME, -0.1, None, False, "take"),
        (lease(), ME, 60, 5, False, "take"),
        (lease(), ME, 60, None, True, "take"),
        (lease(), ME, 60, 4, False, None),
        (lease(), ME, 60, None, False, None),
        (lease(), ME, 0.0, None, False, None),
        (lease(process={}), {}, 60, None, False, None),
        (lease(process={**ME, "start": 101}), ME, 60, None, False, None),
    ],
)
def test_may_take(row, process, left, dead_token, takeover, expected):
    if expected:
        assert may_take(row, process, left, dead_token, takeover) == expected
        return
    with pytest.raises(LeaseHeld):
        may_take(row, process, left, dead_token, takeover)


def test_a_refusal_names_the_holder():
    with pytest.raises(LeaseHeld) as caught:
        may_take(lease(), ME, 61.4, None, False)
    assert "held by ann@c1 (process 8) for release 2.4.0 since T1; it expires at T2, in 61 s" in str(caught.value)
    assert "release_takeover=true" in str(caught.value)
    assert caught.value.details["lease"] == lease()


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    process.stdin.close()


def test_a_running_process_is_not_dead(child):
    known = identity(child.pid)
    assert known["pid"] == child.pid
    assert isinstance(known["start"], int)
    assert not is_dead(known)
    assert not is_dead(identity(os.getpid()))


def test_a_zombie_and_a_reaped_process_are_dead(child):
    known = identity(child.pid)
    child.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not is_dead(known):  # a zombie until it is waited for
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert child.returncode is None
    child.wait()
    assert is_dead(known)


def test_a_process_number_that_was_given_again(child):
    assert is_dead({**identity(child.pid), "start": identity(child.pid)["start"] - 1})


@pytest.mark.parametrize("name", ["boot", "namespace"])
def test_from_elsewhere_nobody_can_tell(child, name):
    gone = {**identity(child.pid), "start": 1}
    assert is_dead(gone)
    assert not is_dead({**gone, name: "another"})
    assert not is_dead({key: value for key, value in gone.items() if key != name})


@pytest.mark.parametrize("known", [{}, {"pid": 1, "host": "x"}])
def test_too_little_is_known(known):
    assert not is_dead(known)
    assert not is_dead({**identity(os.getpid()), "start": None})


def test_a_machine_without_proc(tmp_path):
    assert set(identity(1, tmp_path)) == {"host", "pid"}
    assert not is_dead(identity(os.getpid()), tmp_path)


def fake_proc(folder, stat=None, pid=None):
    (folder / "sys/kernel/random").mkdir(parents=True)
    (folder / "sys/kernel/random/boot_id").write_text("b\n")
    (folder / "self/ns").mkdir(parents=True)
    (folder / "self/ns/pid").symlink_to("pid:[1]")
    if stat:
        (folder / str(pid)).mkdir()
        (folder / str(pid) / "stat").write_text(stat)
    return folder


def test_a_name_with_spaces_and_brackets(tmp_path):
    fields = " ".join(str(number) for number in range(4, 53))
    proc = fake_proc(tmp_path, f"12 (a) S (b) ) S {fields}", 12)
    assert identity(12, proc)["start"] == 22
    assert (identity(12, proc)["boot"], identity(12, proc)["namespace"]) == ("b", "pid:[1]")


def test_a_process_that_proc_hides_is_not_dead(tmp_path, child):
    """With hidepid another user's process is not in /proc, though it runs."""
    proc = fake_proc(tmp_path)
    known = {**identity(child.pid, proc), "start": 100}
    assert not is_dead(known, proc)
    child.kill()
    child.wait()
    assert is_dead(known, proc)


NOTHING = dict.fromkeys(("drain", "ready", "notice", "restart", "install", "health", "warm_up", "own_tasks", "balancers"), 0)


@pytest.mark.parametrize(
    ("ttl", "bounds", "seconds"),
    [
        ("5m", {}, 300),
        ("10m", {"drain": 60, "ready": "30.0"}, 600),
        ("2s", {"drain": 100, "balancers": 2}, 60 + 200),
        ("2s", {"ready": 100, "notice": 30, "balancers": 2}, 60 + 2 * (100 + 30) + 2 * 30),  # the way back, with a drain
        ("2s", {"drain": 100, "restart": 500}, 60 + 500 + 100),
        ("2s", {"ready": 100, "restart": 500}, 60 + 500 + 100),
        ("2s", {"restart": 500, "own_tasks": 3, "health": 20, "warm_up": 7, "drain": 50}, 60 + 4 * 500 + 20 + 7),
        ("2s", {"drain": 100, "ready": 90, "restart": 50, "install": 1800, "health": 20, "warm_up": 7}, 60 + 190 + 1850 + 27),
    ],
)
def test_no_step_outlives_its_lease(ttl, bounds, seconds):
    assert lease_for(ttl, {**NOTHING, **bounds}) == f"{seconds}s"


def test_a_lease_that_is_no_duration_is_named():
    with pytest.raises(EverupError, match="rolling_upgrade_lease_ttl: 'banana' is no duration"):
        lease_for("banana", NOTHING)
