# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real dnf and rpm install, upgrade and take back a package, in folders of their own.

One host from version 1 to version 2 and back, in this order: each test goes on from the last.
"""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.tests.support.rpm_host import RpmHost, RpmRepository

CHECK = ("version", "strategies/package/check")
UPGRADE = ("version", "strategies/package/stage", "strategies/package/upgrade")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    repository = RpmRepository(tmp_path_factory.mktemp("repository") / "packages")
    for version, release in (("1.0.0", "1"), ("2.0.0", "9"), ("2.0.0", "10")):
        repository.add("shop", version, release)
    repository.publish()
    return repository


@pytest.fixture(scope="module")
def host(repository, tmp_path_factory):
    return RpmHost(tmp_path_factory.mktemp("host") / "root", repository)


@pytest.fixture(scope="module")
def driver(host, package_driver_for):
    driver = package_driver_for(host, ["true"], rolling_upgrade_package_manager="dnf")
    # On a host of dnf Ansible finds the backend by its facts, which call this machine one of apt.
    driver.module_defaults = {"ansible.builtin.dnf": {"use_backend": "dnf4"}}
    return driver


def test_the_first_version_is_installed_where_there_was_none(driver, host):
    run = driver.run(*CHECK, *UPGRADE[1:], version="1.0.0")
    assert run.code == 0, run.output
    assert run.version_now == ""
    assert host.version_file() == "1.0.0-1"


def test_a_version_that_no_repository_has_is_refused_with_those_that_there_are(driver):
    run = driver.run(*CHECK, version="3.0.0")
    assert run.code != 0
    assert run.version_now is None
    assert "web1: no repository has version 3.0.0 of shop, there are 2.0.0-10, 2.0.0-9, 1.0.0-1." in run.flat


def test_stage_downloads_and_upgrade_installs_the_newest_release(driver, host):
    run = driver.run(*CHECK, UPGRADE[1])
    assert run.code == 0, run.output
    assert run.version_now == "1.0.0"
    assert host.version_file() == "1.0.0-1"
    run = driver.run(UPGRADE[2], "version")
    assert run.code == 0, run.output
    assert host.version_file() == "2.0.0-10"
    assert run.version_now == "2.0.0"


def test_go_back_downgrades(driver, host):
    run = driver.run("strategies/package/go_back", "version", back=True)
    assert run.code == 0, run.output
    assert host.version_file() == "1.0.0-1"
    assert run.version_now == "1.0.0"
