# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real apt and dpkg install, upgrade and take back a package, below a folder of their own.

One host from version 1 to version 2 and back, in this order: each test goes on from the last.
"""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._app.package_managers import ask
from ansible_collections.everup.deploy.tests.support.apt_host import AptHost, Repository

CHECK = ("version", "strategies/package/check")
STAGE = "strategies/package/stage"
UPGRADE = "strategies/package/upgrade"
GO_BACK = "strategies/package/go_back"


def add(repository, version: str) -> None:
    repository.add("shop", version, {"srv/shop/version": version})


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    repository = Repository(tmp_path_factory.mktemp("repository") / "packages")
    add(repository, "1:1.0.0-1")
    return repository


@pytest.fixture(scope="module")
def host(repository, tmp_path_factory):
    return AptHost(tmp_path_factory.mktemp("host") / "root", repository)


@pytest.fixture(scope="module")
def driver(host, package_driver_for):
    return package_driver_for(host, ["sh", "-c", f"cat {host.root}/srv/shop/version >> {host.root}/restarts"])


def restarts(host) -> str:
    return (host.root / "restarts").read_text()


def test_missing_settings_and_what_is_no_version_are_refused_by_name(driver):
    run = driver.run(*CHECK, version="../2.0.0", rolling_upgrade_package="", rolling_upgrade_restart_command=[])
    assert run.code != 0
    assert "web1: rolling_upgrade_package is ''" in run.flat
    assert "web1: rolling_upgrade_version is '../2.0.0', which is no version" in run.flat
    assert "web1: neither rolling_upgrade_restart_command nor rolling_upgrade_service" in run.flat


def test_a_package_version_that_does_not_depend_on_the_version_is_refused(driver):
    run = driver.run(CHECK[1], rolling_upgrade_package_version="2.0.0-1")
    assert run.code != 0
    assert "web1: rolling_upgrade_package_version is '2.0.0-1' whatever the version is" in run.flat


def test_the_first_version_is_installed_where_there_was_none(driver, host):
    run = driver.run(*CHECK, STAGE, UPGRADE, version="1.0.0")
    assert run.code == 0, run.output
    assert run.version_now == ""
    assert host.installed() == "installed 1:1.0.0-1"
    assert restarts(host) == "1:1.0.0-1"


def test_what_was_published_just_now_is_seen_by_the_preflight_and_not_by_check_mode(driver, repository):
    for version in ("1:2.0.0-1", "1:2.0.0-2"):
        add(repository, version)
    run = driver.run(*CHECK, flags=("--check",))
    assert run.code != 0
    assert "no repository has version 2.0.0 of shop, there are 1:1.0.0-1. Check mode has not renewed the lists" in run.flat
    run = driver.run(*CHECK, version="3.0.0")
    assert run.code != 0
    assert "web1: no repository has version 3.0.0 of shop, there are 1:2.0.0-2, 1:2.0.0-1, 1:1.0.0-1." in run.flat


def test_check_mode_comes_to_the_end_and_changes_nothing(driver, host):
    run = driver.run(*CHECK, STAGE, UPGRADE, flags=("--check",))
    assert run.code == 0, run.output
    assert run.version_now == "1.0.0"
    assert host.installed() == "installed 1:1.0.0-1"
    assert host.downloaded() == ["shop_1%3a1.0.0-1_all.deb"]
    assert restarts(host) == "1:1.0.0-1"


def test_a_held_package_and_one_that_nobody_could_go_back_to_are_refused_by_name(driver, host, repository):
    repository.withdraw("shop", "1:1.0.0-1")
    host.run("apt-mark", "hold", "shop")
    run = driver.run(*CHECK)
    host.run("apt-mark", "unhold", "shop")
    assert run.code != 0
    assert "web1: shop is held: 'apt-mark unhold shop' lets go of it" in run.flat
    assert "no repository has version 1.0.0 of shop, to go back to" in run.flat


def test_stage_downloads_and_leaves_what_runs_alone(driver, host, repository):
    run = driver.run(*CHECK, STAGE, rolling_upgrade_package_one_way=True)
    assert run.code == 0, run.output
    assert "shop_1%3a2.0.0-2_all.deb" in host.downloaded()
    assert host.installed() == "installed 1:1.0.0-1"
    add(repository, "1:1.0.0-1")
    host.run("apt-get", "update")


def test_a_form_that_the_installed_version_does_not_have_is_refused(driver):
    form = {"rolling_upgrade_package_version": "{{ rolling_upgrade_version }}-2", "rolling_upgrade_package_update": False}
    run = driver.run(*CHECK, **form)
    assert run.code != 0
    assert "web1: shop 1:1.0.0-1 is installed, which is not of the form of rolling_upgrade_package_version" in run.flat


def test_upgrade_installs_the_newest_revision_and_restarts(driver, host):
    run = driver.run(UPGRADE, "version")
    assert run.code == 0, run.output
    assert host.installed() == "installed 1:2.0.0-2"
    assert restarts(host).endswith("1:2.0.0-2")
    assert run.version_now == "2.0.0"


def test_go_back_downgrades_and_restarts(driver, host):
    run = driver.run(GO_BACK, "version", back=True)
    assert run.code == 0, run.output
    assert host.installed() == "installed 1:1.0.0-1"
    assert restarts(host).endswith("1:1.0.0-1")
    assert run.version_now == "1.0.0"


def test_what_dpkg_was_killed_in_is_finished_by_the_same_command(driver, host):
    """As after a SIGKILL between unpack and configure: dpkg's own journal and a package that is whole by half."""
    host.run("dpkg", "--unpack", str(host.root / "var/cache/apt/archives/shop_1%3a2.0.0-2_all.deb"))
    (host.root / "var/lib/dpkg/updates/0000").write_text("")
    assert host.installed() == "unpacked 1:2.0.0-2"
    run = driver.run("version", STAGE, UPGRADE, rolling_upgrade_package_version="1:{{ rolling_upgrade_version }}-1")
    assert run.code == 0, run.output
    assert run.version_now == ""
    assert "Let dpkg of web1 finish what it was killed in" in run.output
    assert host.installed() == "installed 1:2.0.0-1"


def test_a_package_goes_back_together_with_the_one_that_has_its_very_version(driver, host, repository):
    for version in ("1.0.0-1", "1.1.0-1"):
        repository.add("till", version, Depends=f"till-assets (= {version})")
        repository.add("till-assets", version)
    host.run("apt-get", "update")
    host.run("apt-get", "--yes", "install", "till=1.1.0-1")
    both = {"rolling_upgrade_package": "till", "rolling_upgrade_package_also": ["till-assets"]}
    run = driver.run(GO_BACK, back=True, **both)
    assert run.code == 0, run.output
    assert host.installed("till") == host.installed("till-assets") == "installed 1.0.0-1"


def test_a_purged_package_has_no_version(host, monkeypatch):
    host.run("dpkg", "--purge", "shop")
    for name, value in host.settings.items():
        monkeypatch.setenv(name, value)
    package = ask("apt", "shop")
    assert (package.installed, package.held, package.broken) == (None, False, False)
