# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real podman runs, upgrades and takes back a container, with a store of its own and a registry to pull from.

One host from version 1 to version 3, in this order: each test goes on from the last.
"""

from __future__ import annotations

import json
import urllib.request

import pytest
from ansible_collections.everup.deploy.tests.support.podman_host import BUSYBOX, PodmanHost, Registry

from lab.ports import free_port

CHECK = ("version", "strategies/container/check")
UPGRADE = ("version", "strategies/container/stage", "strategies/container/upgrade")
GO_BACK = ("strategies/container/go_back", "version")
GATE = ("health",)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = Registry()
    for tag in ("1.0.0", "2.0.0", "3.0.0"):
        registry.add(tag, tmp_path_factory.mktemp("image") / "made")
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def host(registry, tmp_path_factory):
    host = PodmanHost(tmp_path_factory.mktemp("host") / "root", registry)
    yield host
    host.close()


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def driver(host, registry, port, driver_for):
    return driver_for(
        ansible_python_interpreter=str(host.python),
        rolling_upgrade_strategy="container",
        rolling_upgrade_container_name="shop",
        rolling_upgrade_container_image=f"{registry.address}/shop:{{{{ rolling_upgrade_version }}}}",
        rolling_upgrade_container_args=["--env", "SHOP_NAME=web1"],
        rolling_upgrade_container_command=[BUSYBOX, "httpd", "-f", "-p", str(port), "-h", "/www"],
        rolling_upgrade_health_url=f"http://127.0.0.1:{port}/health",
        rolling_upgrade_health_version_path="version",
        rolling_upgrade_health_interval=0.1,
        rolling_upgrade_health_consecutive=1,
        rolling_upgrade_health_timeout=10,
    )


def served(port: int) -> str:
    """Return the version that the container answers with."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        return json.load(answer)["version"]


def test_missing_and_impossible_settings_are_refused_by_name(driver):
    wrong = {"rolling_upgrade_container_name": "", "rolling_upgrade_container_engine": "nerdctl"}
    run = driver.run("strategies/container/check", version="../2", rolling_upgrade_container_args=["--rm", "-e", "A=1"], **wrong)
    assert run.code != 0
    assert "web1: rolling_upgrade_container_engine is 'nerdctl'" in run.flat
    assert "web1: rolling_upgrade_container_name is ''" in run.flat
    assert "rolling_upgrade_version is '../2', which no image can be tagged with" in run.flat
    assert "rolling_upgrade_container_args has --rm" in run.flat


def test_an_image_that_does_not_depend_on_the_version_is_refused(driver):
    run = driver.run(*CHECK, rolling_upgrade_container_image="registry.example.com/shop:latest")
    assert run.code != 0
    assert "web1: rolling_upgrade_container_image is 'registry.example.com/shop:latest' whatever the version is" in run.flat


def test_an_engine_that_does_not_answer_is_no_host_without_a_version(driver, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    docker.chmod(0o755)
    run = driver.run("version", rolling_upgrade_container_engine=str(docker))
    assert run.code != 0
    assert run.version_now is None


@pytest.mark.parametrize("step", ["version", "strategies/container/image", "strategies/container/prune"])
def test_an_engine_that_hangs_is_waited_for_within_a_bound(driver, tmp_path, step):
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexec sleep 20\n")
    docker.chmod(0o755)
    run = driver.run(step, rolling_upgrade_container_engine=str(docker), rolling_upgrade_restart_timeout="2")
    assert (run.code, "Timed out after 2 second(s)" in run.flat) == (2, True), run.output
    assert run.version_now is None


def test_the_first_version_is_pulled_and_run_where_there_was_none(driver, host, port):
    run = driver.run(*CHECK, *UPGRADE[1:], *GATE, version="1.0.0")
    assert run.code == 0, run.output
    assert run.version_now == ""
    assert served(port) == "1.0.0"


def test_check_mode_tells_the_version_and_changes_nothing(driver, host, port):
    before = host.podman("ps", "--all", "--no-trunc", "--quiet"), host.images()
    run = driver.run(*CHECK, *UPGRADE[1:], flags=("--check",))
    assert run.code == 0, run.output
    assert run.version_now == "1.0.0"
    assert (host.podman("ps", "--all", "--no-trunc", "--quiet"), host.images()) == before


def test_an_image_that_no_registry_has_leaves_the_container_alone(driver, port):
    for steps in (UPGRADE[1:2], UPGRADE[2:]):
        run = driver.run(*steps, version="9.9.9")
        assert run.code != 0
        assert "9.9.9" in run.flat
        assert served(port) == "1.0.0"


def test_stage_pulls_while_the_old_version_serves(driver, host, port):
    run = driver.run(*UPGRADE[:2])
    assert run.code == 0, run.output
    assert host.images() == ["1.0.0", "2.0.0"]
    assert served(port) == "1.0.0"


def test_upgrade_runs_the_new_version_as_it_is_told_to(driver, host, port):
    run = driver.run(*UPGRADE, *GATE)
    assert run.code == 0, run.output
    assert served(port) == "2.0.0"
    (container,) = json.loads(host.podman("container", "inspect", "shop"))
    assert container["Config"]["Labels"]["everup.version"] == "2.0.0"
    assert "SHOP_NAME=web1" in container["Config"]["Env"]
    assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert host.images() == ["1.0.0", "2.0.0"]


def test_a_container_that_is_stopped_still_says_what_it_is(driver, host):
    host.podman("stop", "-t", "0", "shop")
    assert driver.run("version").version_now == "2.0.0"


def test_what_was_killed_between_remove_and_run_is_repaired_by_the_same_command(driver, host, port):
    host.podman("rm", "--force", "shop")
    run = driver.run(*UPGRADE, *GATE)
    assert run.code == 0, run.output
    assert run.version_now == ""
    assert served(port) == "2.0.0"


def test_go_back_runs_the_old_image_and_pulls_it_where_somebody_has_removed_it(driver, host, registry, port):
    host.podman("rmi", f"{registry.address}/shop:1.0.0")
    run = driver.run(*GO_BACK, back=True)
    assert run.code == 0, run.output
    assert run.version_now == "1.0.0"
    assert served(port) == "1.0.0"


def test_a_container_that_was_run_by_hand_says_its_version_by_its_image(driver, host, registry, port):
    host.podman("rm", "--force", "shop")
    host.podman("run", "--detach", "--name", "shop", f"{registry.address}/shop:2.0.0", BUSYBOX, "httpd", "-f", "-p", str(port))
    assert driver.run("version", version="3.0.0").version_now == "2.0.0"


def test_old_images_go_but_for_the_one_that_a_failure_goes_back_to(driver, host, port):
    keep = {"rolling_upgrade_container_keep": 1, "rolling_upgrade_version_before": "1.0.0"}
    run = driver.run(*UPGRADE, *GATE, version="3.0.0", **keep)
    assert run.code == 0, run.output
    assert host.images() == ["1.0.0", "3.0.0"]
    assert served(port) == "3.0.0"
