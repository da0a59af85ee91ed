# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The health gate asks from where it is told to, with the connection and the rights of that host."""

from __future__ import annotations

import pytest

from lab.ports import free_port


@pytest.fixture
def gate(driver_for, tmp_path):
    """A host that nobody can reach, and whose become would fail, with a command that says who ran it where."""
    log = tmp_path / "asked"
    return driver_for(
        ansible_connection="ssh",
        ansible_host="127.0.0.1",
        ansible_port=free_port(),
        ansible_ssh_common_args="-F none -o ConnectTimeout=2",
        ansible_become=True,
        ansible_become_exe="/nowhere/sudo",
        rolling_upgrade_strategy="custom",
        rolling_upgrade_health_command=["sh", "-c", f"echo asked >> {log}"],
        rolling_upgrade_health_consecutive=1,
        rolling_upgrade_health_timeout=5,
        rolling_upgrade_leads_group=True,
    ), log


@pytest.mark.parametrize("step", ["health", "evidence"])
def test_a_host_that_cannot_ask_itself_is_asked_from_another_with_its_rights(gate, step):
    driver, log = gate
    run = driver.run(step, flags=("--become",), rolling_upgrade_health_from="localhost")
    assert run.code == 0, run.output
    assert "[web1 -> localhost]" in run.output
    assert log.read_text() == "asked\n"


def test_without_it_the_host_itself_is_asked(gate):
    driver, log = gate
    run = driver.run("health")
    assert run.code != 0
    assert "UNREACHABLE" in run.output or "/nowhere/sudo" in run.output
    assert not log.exists()


def test_a_host_that_cannot_be_reached_to_ask_fails_who_is_asked_about(driver_for):
    """Ansible would give that one up as unreachable, with nobody to take it back."""
    driver = driver_for(rolling_upgrade_strategy="custom", rolling_upgrade_health_command=["true"])
    run = driver.run("health", rolling_upgrade_health_from="asker.invalid")
    assert run.code == 2, run.output
    assert "asker.invalid (rolling_upgrade_health_from) is unreachable, so the health of web1 is not known" in run.flat


def test_a_host_of_iis_is_asked_from_the_control_node(driver_for):
    driver = driver_for(rolling_upgrade_strategy="iis", rolling_upgrade_health_tcp="127.0.0.1:1")
    run = driver.run("health", rolling_upgrade_health_timeout=1)
    assert run.code != 0
    assert "[web1 -> localhost]" in run.output
