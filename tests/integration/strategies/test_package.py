# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real apt and dpkg install, upgrade and take back a package, below a folder of their own.

One host from version 1 to version 2 and back, in this order: each test goes on from the last.
"""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.tests.support.apt_host import AptHost, Repository

CHECK = ("version", "strategies/package/check")
UPGRADE = ("version", "strategies/package/stage", "strategies/package/upgrade")
GO_BACK = ("strategies/package/go_back", "version")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    repository = Repository(tmp_path_factory.mktemp("repository") / "packages")
    for version in ("1:1.0.0-1", "1:2.0.0-1", "1:2.0.0-2"):
        repository.add("shop", version, {"srv/shop/version": version, "srv/shop/etc/shop.conf": version})
    return repository


@pytest.fixture(scope="module")
def host(repository, tmp_path_factory):
    return AptHost(tmp_path_factory.mktemp("host") / "root", repository)


@pytest.fixture(scope="module")
def driver(host, driver_for):
    restart = ["sh", "-c", f"cat {host.root}/srv/shop/version >> {host.root}/restarts"]
    return driver_for(
        ansible_python_interpreter=str(host.python),
        rolling_upgrade_strategy="package",
        rolling_upgrade_package="shop",
        rolling_upgrade_restart_command=restart,
    )


def restarts(host) -> str:
    return (host.root / "restarts").read_text()


def test_missing_settings_are_refused_by_name(driver):
    run = driver.run(*CHECK, rolling_upgrade_package="", rolling_upgrade_restart_command=[])
    assert run.code != 0
    assert "web1: rolling_upgrade_package is ''" in run.flat
    assert "web1: neither rolling_upgrade_restart_command nor rolling_upgrade_service" in run.flat


@pytest.mark.parametrize("version", ["../2.0.0", "2.0.0/..", "-o2"])
def test_what_is_no_version_is_refused(driver, version):
    run = driver.run("strategies/package/check", version=version, rolling_upgrade_version_now="")
    assert run.code != 0
    assert f"rolling_upgrade_version is '{version}', which is no version" in run.flat


def test_a_package_version_that_does_not_depend_on_the_version_is_refused(driver):
    run = driver.run(*CHECK, rolling_upgrade_package_version="2.0.0-1")
    assert run.code != 0
    assert "web1: rolling_upgrade_package_version is '2.0.0-1' whatever the version is" in run.flat


def test_the_first_version_is_installed_where_there_was_none(driver, host):
    run = driver.run(*CHECK, *UPGRADE[1:], version="1.0.0")
    assert run.code == 0, run.output
    assert run.version_now == ""
    assert host.installed() == "installed 1:1.0.0-1"
    assert restarts(host) == "1:1.0.0-1"


def test_check_mode_tells_the_version_and_changes_nothing(driver, host):
    run = driver.run(*CHECK, *UPGRADE[1:], flags=("--check",))
    assert run.code == 0, run.output
    assert run.version_now == "1.0.0"
    assert host.installed() == "installed 1:1.0.0-1"
    assert host.downloaded() == ["shop_1%3a1.0.0-1_all.deb"]
    assert restarts(host) == "1:1.0.0-1"


def test_a_version_that_no_repository_has_is_refused_with_those_that_there_are(driver, host):
    run = driver.run(*CHECK, version="3.0.0")
    assert run.code != 0
    assert "web1: no repository has version 3.0.0 of shop, there are 1:2.0.0-2, 1:2.0.0-1, 1:1.0.0-1." in run.flat
    assert host.installed() == "installed 1:1.0.0-1"


def test_a_version_that_was_published_just_now_is_seen_but_not_by_check_mode(driver, repository):
    repository.add("shop", "1:2.0.1-1")
    run = driver.run(*CHECK, version="2.0.1", flags=("--check",))
    assert run.code != 0
    assert "Check mode has not renewed the lists of the repositories" in run.flat
    assert driver.run(*CHECK, version="2.0.1").code == 0
    repository.withdraw("shop", "1:2.0.1-1")


def test_a_held_package_is_refused_by_name(driver, host):
    host.run("apt-mark", "hold", "shop")
    run = driver.run(*CHECK)
    host.run("apt-mark", "unhold", "shop")
    assert run.code != 0
    assert "web1: shop is held: 'apt-mark unhold shop' lets go of it" in run.flat


def test_a_version_that_nobody_could_go_back_to_is_refused_unless_asked_for(driver, repository):
    repository.withdraw("shop", "1:1.0.0-1")
    run = driver.run(*CHECK)
    assert run.code != 0
    assert "no repository has version 1.0.0 of shop, to go back to" in run.flat
    assert driver.run(*CHECK, rolling_upgrade_package_one_way=True).code == 0
    repository.add("shop", "1:1.0.0-1", {"srv/shop/version": "1:1.0.0-1"})
    assert driver.run(*CHECK).code == 0


def test_a_form_that_the_installed_version_does_not_have_is_refused(driver):
    run = driver.run(
        *CHECK, rolling_upgrade_package_version="{{ rolling_upgrade_version }}-2", rolling_upgrade_package_update=False
    )
    assert run.code != 0
    assert "web1: shop 1:1.0.0-1 is installed, which is not of the form of rolling_upgrade_package_version" in run.flat


def test_stage_downloads_and_leaves_what_runs_alone(driver, host):
    run = driver.run(*UPGRADE[:2])
    assert run.code == 0, run.output
    assert "shop_1%3a2.0.0-2_all.deb" in host.downloaded()
    assert host.installed() == "installed 1:1.0.0-1"
    assert driver.run(*UPGRADE[:2]).changed == 0


def test_upgrade_installs_the_newest_revision_and_restarts(driver, host):
    run = driver.run(*UPGRADE, "version")
    assert run.code == 0, run.output
    assert host.installed() == "installed 1:2.0.0-2"
    assert restarts(host).endswith("1:2.0.0-2")


def test_a_form_with_a_revision_installs_that_one_and_tells_the_release(driver, host):
    form = "1:{{ rolling_upgrade_version }}-1"
    run = driver.run("strategies/package/upgrade", "version", rolling_upgrade_package_version=form)
    assert run.code == 0, run.output
    assert host.installed() == "installed 1:2.0.0-1"
    assert run.version_now == "2.0.0"


def test_go_back_downgrades_and_restarts(driver, host):
    run = driver.run(*GO_BACK, rolling_upgrade_direction="back", rolling_upgrade_version_before="1.0.0")
    assert run.code == 0, run.output
    assert host.installed() == "installed 1:1.0.0-1"
    assert restarts(host).endswith("1:1.0.0-1")
    assert run.version_now == "1.0.0"


def test_what_dpkg_was_killed_in_is_finished_by_the_same_command(driver, host):
    """As after a SIGKILL between unpack and configure: dpkg's own journal and a package that is whole by half."""
    host.run("dpkg", "--unpack", str(host.root / "var/cache/apt/archives/shop_1%3a2.0.0-2_all.deb"))
    (host.root / "var/lib/dpkg/updates/0000").write_text("")
    assert host.installed() == "unpacked 1:2.0.0-2"
    run = driver.run("version")
    assert run.version_now == ""
    run = driver.run(*UPGRADE)
    assert run.code == 0, run.output
    assert "Let dpkg of web1 finish what it was killed in" in run.output
    assert host.installed() == "installed 1:2.0.0-2"


def test_a_package_that_comes_with_another_goes_back_together_with_it(driver, host, repository):
    """apt alone would refuse: the assets of the new version are wanted by nobody but the new version."""
    for version in ("3.0.0-1", "3.1.0-1"):
        repository.add("till", version, Depends=f"till-assets (= {version})")
        repository.add("till-assets", version)
    both = {"rolling_upgrade_package": "till", "rolling_upgrade_package_also": ["till-assets"]}
    both["rolling_upgrade_restart_command"] = ["true"]
    assert driver.run(*CHECK, *UPGRADE[1:], version="3.1.0", **both).code == 0
    run = driver.run(*GO_BACK, version="3.1.0", rolling_upgrade_direction="back", rolling_upgrade_version_before="3.0.0", **both)
    assert run.code == 0, run.output
    assert host.installed("till") == host.installed("till-assets") == "installed 3.0.0-1"


def test_a_purged_package_has_no_version(driver, host):
    host.run("dpkg", "--purge", "shop")
    assert driver.run("version").version_now == ""
