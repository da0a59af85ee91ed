# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Following and killing a playbook, with a shell script that prints what Ansible would."""

import os

import pytest

from lab.playbook import Playbook, Run, kill_at
from lab.process import LabError


def play(tmp_path, script: str, limit: float = 20) -> Playbook:
    return Playbook(["sh", "-c", script], dict(os.environ), tmp_path, limit)


def test_it_is_followed_from_task_to_task(tmp_path):
    playbook = play(tmp_path, "echo 'PLAY [All]'; echo 'TASK [One] ***'; echo One; echo 'TASK [Two] ***'; exit 2")
    playbook.until_task("One")
    playbook.until_task("Two")
    assert playbook.finish() == Run(2, "PLAY [All]\nTASK [One] ***\nOne\nTASK [Two] ***\n")


def test_a_task_that_does_not_come_is_an_error_with_the_output(tmp_path):
    with pytest.raises(LabError, match="before 'Three' was reached:\nTASK"):
        play(tmp_path, "echo 'TASK [One]'").until_task("Three")


def test_it_is_killed_at_a_task_with_everything_that_it_started(tmp_path):
    playbook = play(tmp_path, f"(sleep 1; touch {tmp_path}/outlived) & echo 'TASK [One]'; wait")
    assert kill_at(playbook, lambda line: "One" in line) is None
    playbook = play(tmp_path, "sleep 1.5")
    assert playbook.finish().code == 0
    assert not (tmp_path / "outlived").exists()


def test_what_ends_before_it_is_killed_says_how(tmp_path):
    assert kill_at(play(tmp_path, "echo 'TASK [One]'; exit 3"), lambda line: "Two" in line) == Run(3, "TASK [One]\n")


def test_it_may_run_on_for_a_while(tmp_path):
    playbook = play(tmp_path, "echo 'TASK [One]'; sleep 60")
    assert not playbook.is_over_after(0.2)
    playbook.kill()
    playbook = play(tmp_path, "echo 'TASK [One]'")
    assert playbook.is_over_after(10)
    assert playbook.finish() == Run(0, "TASK [One]\n")


def test_it_does_not_run_for_ever(tmp_path):
    with pytest.raises(LabError, match=r"had not ended after 0\.3 s"):
        play(tmp_path, "sleep 60", limit=0.3).finish()


def test_the_recap_is_read():
    recap = "web1                       : ok=3    changed=1    unreachable=0\nlocalhost                  : ok=2    changed=0    x"
    assert Run(0, recap).changed == {"web1": 1, "localhost": 0}
    assert Run(0, "broken\n   off").flat == "broken off"
