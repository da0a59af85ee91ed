"""The lease between real ansible-playbook processes: refused while the holder lives, taken over at once when it is dead."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support.adhoc import isolated

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - everup.deploy.release: "{{ database | combine({'action': 'open', 'version': '2.4.0'}) }}"
      register: opened
    - ansible.builtin.debug: {msg: "token is {{ opened.token }}"}
    - ansible.builtin.wait_for: {timeout: "{{ hold }}"}
      when: hold | int > 0
"""


@pytest.fixture
def controller(tmp_path):
    """Start an ansible-playbook process that opens the release and then goes on for some seconds."""
    playbook = tmp_path / "play.yml"
    playbook.write_text(PLAYBOOK)
    running = []

    def start(db, hold=0):
        process = subprocess.Popen(
            [
                Path(sys.executable).parent / "ansible-playbook",
                *("-i", "localhost,", "-c", "local"),
                *("-e", json.dumps({"database": db.options, "hold": hold, "ansible_python_interpreter": sys.executable})),
                playbook,
            ],
            env=isolated(tmp_path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.communicate()


def wait_for_holder(db):
    deadline = time.monotonic() + 60
    while True:
        try:
            lease = db.release_info()["lease"]
        except EverupError:  # the ledger is being created
            lease = None
        if lease and lease["holder"]:
            return lease
        assert time.monotonic() < deadline, "nobody took the lease"
        time.sleep(0.1)


def test_a_live_run_is_refused_and_a_killed_one_is_followed_at_once(controller, sqlite_database):
    db = sqlite_database
    first = controller(db, hold=100)
    lease = wait_for_holder(db)
    assert lease["holder_process"]["pid"] == first.pid, "the lease is the playbook's, not that of one of its workers"
    second = controller(db)
    out, _nothing = second.communicate(timeout=60)
    assert second.returncode != 0
    assert f"(process {first.pid}) for release 2.4.0 since {lease['taken_at']}" in " ".join(out.split())
    os.kill(first.pid, signal.SIGKILL)
    # Not waited for: a zombie is as dead as a process that is gone.
    third = controller(db)
    out, _nothing = third.communicate(timeout=60)
    assert third.returncode == 0, out
    assert f"token is {lease['token'] + 1}" in out
    taken = db.release_info()["events"][-1]
    assert (taken["what"], taken["detail"]["token"]) == ("lease_taken", lease["token"] + 1)
