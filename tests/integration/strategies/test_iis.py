# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tasks for IIS against a stand-in for ansible.windows. No Windows and no PowerShell has a part in this."""

from __future__ import annotations

import zipfile

import pytest
from ansible_collections.everup.deploy.tests.support.windows_host import WindowsHost

CHECK = ("version", "strategies/iis/check")
UPGRADE = ("version", "strategies/iis/stage", "strategies/iis/upgrade")


@pytest.fixture
def host(tmp_path):
    return WindowsHost(tmp_path / "host", r"C:\inetpub\shop")


@pytest.fixture
def iis(tmp_path, host, driver_for):
    """Run steps on a host that has a site and no release yet."""
    archive = tmp_path / "shop-2.0.0.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("web.config", "<configuration/>")
    driver = driver_for(
        rolling_upgrade_strategy="iis",
        rolling_upgrade_iis_site="shop",
        rolling_upgrade_archive_src=str(archive),
        rolling_upgrade_archive_dest=r"D:\shop",
    )

    def run(*steps: str, env: dict | None = None, **variables):
        return driver.run(*steps, env=host.settings if env is None else env, **variables)

    return run


def test_a_control_node_without_ansible_windows_is_told_what_to_install(iis):
    run = iis("version", env={})
    assert run.code != 0
    assert "web1: rolling_upgrade_strategy is iis, which needs the collection ansible.windows" in run.flat
    assert "ansible-galaxy collection install ansible.windows" in run.flat


def test_missing_settings_are_refused_by_name(iis):
    missing = {
        "rolling_upgrade_iis_site": "",
        "rolling_upgrade_archive_dest": "/srv/shop",
        "rolling_upgrade_archive_src": "no.zip",
    }
    run = iis(*CHECK, rolling_upgrade_health_url="http://shop/health", rolling_upgrade_health_from="web1", **missing)
    assert run.code != 0
    for name in (*missing, "rolling_upgrade_health_from"):
        assert f"web1: {name} is " in run.flat


def test_a_site_that_is_not_there_is_refused_with_those_that_are(iis):
    run = iis(*CHECK, rolling_upgrade_iis_site="shopp")
    assert run.code != 0
    assert "web1: IIS has no site 'shopp' (rolling_upgrade_iis_site); there are shop" in run.flat


@pytest.mark.parametrize(("script", "bound", "step"), [("look", 2, "version"), ("switch", 4, UPGRADE[2])])
def test_a_script_that_hangs_is_waited_for_within_a_bound(iis, host, script, bound, step):
    host.update(hangs_in=script, releases=["2.0.0"])
    run = iis(step, rolling_upgrade_restart_timeout="2", rolling_upgrade_iis_timeout="1")
    assert (run.code, f"Timed out after {bound} second(s)" in run.flat) == (2, True), run.output
    assert host.path() == r"C:\inetpub\shop"


@pytest.mark.parametrize("version", [r"..\2.0.0", "2.0.0/../1.0.0"])
def test_a_version_that_would_lead_out_of_the_folder_is_refused(iis, host, version):
    run = iis("strategies/iis/check", version=version)
    assert run.code != 0
    assert "which cannot name a folder" in run.flat
    assert host.state["calls"] == []


def test_a_release_is_staged_beside_the_site_and_then_switched_to(iis, host):
    run = iis(*CHECK, UPGRADE[1])
    assert run.code == 0, run.output
    assert run.version_now == ""
    assert host.path() == r"C:\inetpub\shop"
    assert host.state["releases"] == ["2.0.0"]
    run = iis(UPGRADE[2], "version")
    assert run.code == 0, run.output
    assert host.path() == r"D:\shop\releases\2.0.0"
    assert run.version_now == "2.0.0"
    calls = [[name, given] for name, given in host.state["calls"] if name != "look"]
    assert [name for name, _given in calls] == ["win_file", "win_copy", "stage", "switch"]
    assert calls[1][1] == calls[2][1]["Zip"] == r"D:\shop\incoming\2.0.0.zip"
    switch = calls[3][1]
    assert (switch["Site"], switch["Pool"], switch["Version"]) == ("shop", "", "2.0.0")
    assert (int(switch["Timeout"]), int(switch["Keep"])) == (60, 3)
    assert "being upgraded" in switch["OfflinePage"]


def test_the_way_back_switches_and_brings_nothing(iis, host):
    host.update(releases=["1.0.0", "2.0.0"])
    run = iis(UPGRADE[1], "strategies/iis/go_back", back=True)
    assert run.code == 0, run.output
    assert host.path() == r"D:\shop\releases\1.0.0"
    assert [name for name, _given in host.state["calls"]] == ["switch"]


def test_the_same_command_repairs_what_was_killed_in_the_switch(iis, host):
    host.update(killed_in="switch")
    assert iis(*UPGRADE).code != 0
    host.update(killed_in=None)
    run = iis(*UPGRADE)
    assert run.code == 0, run.output
    assert host.path() == r"D:\shop\releases\2.0.0"


def test_check_mode_looks_and_changes_nothing(iis, host):
    before = host.state
    run = iis(*CHECK, *UPGRADE[1:], flags=("--check",))
    assert run.code == 0, run.output
    after = host.state
    assert {call[0] for call in after["calls"]} <= {"look", "win_file", "win_copy"}
    assert {**after, "calls": []} == before
