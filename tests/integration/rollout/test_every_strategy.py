# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One release of three hosts, each with a strategy of its own, and its way back: a package, a container, and IIS's stand-in."""

from __future__ import annotations

import json
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.everup.deploy.tests.support.apt_host import AptHost, Repository
from ansible_collections.everup.deploy.tests.support.podman_host import BUSYBOX, PodmanHost, Registry
from ansible_collections.everup.deploy.tests.support.windows_host import WindowsHost

OLD, NEW = "1.0.0", "2.0.0"
UP = {"web1": "UP", "web2": "UP", "web3": "UP"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("strategies")


@pytest.fixture(scope="module")
def deploy(deploy_to, folder):
    deploy = deploy_to(folder / "site", "sqlite", 3)
    for name in ("web2", "web3"):
        deploy.servers[name].service("stop")
    return deploy


@pytest.fixture(scope="module")
def package(deploy, folder):
    """Let web1 have the shop as a package, whose root is the server's home."""
    repository = Repository(folder / "packages")
    for version in (OLD, NEW):
        tree = folder / f"tree-{version}"
        with tarfile.open(deploy.site.farm.archives[version]) as archive:
            archive.extractall(tree / "releases" / version, filter="data")
        (tree / "current").symlink_to(f"releases/{version}")
        repository.add("shop", f"{version}-1", tree=tree)
    host = AptHost(deploy.servers["web1"].home, repository)
    host.run("apt-get", "update")
    host.run("apt-get", "--yes", "install", f"shop={OLD}-1")
    variables = {"rolling_upgrade_strategy": "package", "rolling_upgrade_package": "shop"}
    return host, {**variables, "ansible_python_interpreter": str(host.python)}


@pytest.fixture(scope="module")
def container(deploy, folder):
    """Let web2 be a container."""
    registry = Registry()
    for version in (OLD, NEW):
        registry.add(version, folder / f"image-{version}")
    host = PodmanHost(folder / "podman", registry)
    port = str(deploy.servers["web2"].port)
    command = [BUSYBOX, "httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", "/www"]
    host.podman("run", "--detach", "--name", "shop", f"{registry.address}/shop:{OLD}", *command)
    variables = {
        "rolling_upgrade_strategy": "container",
        "rolling_upgrade_container_name": "shop",
        "rolling_upgrade_container_image": f"{registry.address}/shop:{{{{ rolling_upgrade_version }}}}",
        "rolling_upgrade_container_command": command,
        "ansible_python_interpreter": str(host.python),
    }
    yield host, variables
    host.close()
    registry.close()


@pytest.fixture(scope="module")
def windows(deploy, folder):
    """Let web3 be a site of IIS that serves what the stand-in's path leads to."""
    host = WindowsHost(folder / "windows", rf"D:\shop\releases\{OLD}")
    host.update(releases=[OLD])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"status": "ok", "version": host.path().rpartition("\\")[2]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments) -> None:
            pass

    site = ThreadingHTTPServer(("127.0.0.1", deploy.servers["web3"].port), Handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    archive = folder / "shop.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("web.config", "<configuration/>")
    variables = {
        "rolling_upgrade_strategy": "iis",
        "rolling_upgrade_iis_site": "shop",
        "rolling_upgrade_archive_src": str(archive),
        "rolling_upgrade_archive_dest": r"D:\shop",
    }
    yield host, variables
    site.shutdown()
    site.server_close()


@pytest.fixture(autouse=True)
def hosts(deploy, package, container, windows, monkeypatch):
    deploy.vary(web1=package[1], web2=container[1], web3=windows[1])
    for name, value in windows[0].settings.items():
        monkeypatch.setenv(name, value)


def has(package, container, windows) -> list[str]:
    """Return which version each host has, as its own tools say."""
    (shop,) = json.loads(container[0].podman("container", "inspect", "shop"))
    return [package[0].installed(), shop["Config"]["Image"].rpartition(":")[2], windows[0].path().rpartition("\\")[2]]


def test_a_release_upgrades_hosts_of_every_strategy(deploy, package, container, windows):
    run = deploy.run("release.yml")
    assert run.code == 0, run.output[-6000:]
    assert deploy.state() == "rolled"
    assert has(package, container, windows) == [f"installed {NEW}-1", NEW, NEW]
    assert deploy.versions()["web1"] == NEW
    assert deploy.pool() == UP
    before = {host: (row["version_before"], row["version_after"]) for host, row in deploy.ledger()["members"].items()}
    assert before == dict.fromkeys(UP, (OLD, NEW))


def test_every_host_goes_back_to_the_version_that_it_had_first_the_one_that_does_not_serve(deploy, package, container, windows):
    deploy.servers["web1"].service("stop")
    deploy.await_pool(UP | {"web1": "DOWN"}, "lb1")
    run = deploy.run("everup.deploy.rollback")
    assert run.code == 0, run.output[-6000:]
    ledger = deploy.ledger()
    assert ledger["release"]["state"] == "rolled_back"
    back = [event["subject"] for event in ledger["events"] if event["what"] == "member_rolled_back"]
    assert back == ["web1", "web3", "web2"]
    assert has(package, container, windows) == [f"installed {OLD}-1", OLD, OLD]
    assert deploy.versions()["web1"] == OLD
    assert deploy.pool() == UP
