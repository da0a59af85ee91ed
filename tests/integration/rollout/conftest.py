# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A site to release to, and what can be asked of it from outside."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from lab.playbook import Run
from lab.site import Site

QUICK = {
    "rolling_upgrade_health_interval": 0.1,
    "rolling_upgrade_health_consecutive": 1,
    "rolling_upgrade_min_healthy": 1,
}


class Deploy:
    """Runs the shop's playbooks at a site and asks ledger, balancer and servers what came of it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.servers = {server.name: server for server in site.farm.servers}

    def run(self, playbook: str, *arguments: str, version: str | None = "2.0.0") -> Run:
        """Run a playbook of the shop's or of the collection's for a version."""
        extra = ("-e", f"release_version={version}") if version else ()
        return self._run(self.site.command(playbook, *extra, *arguments))

    def run_without_settings(self, playbook: str, *arguments: str) -> Run:
        """Run a playbook with an inventory that says nothing."""
        return self._run([self.site.command("")[0], "-i", "localhost,", playbook, *arguments])

    def _run(self, command: list[str]) -> Run:
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=self.site.environment())
        return Run(done.returncode, done.stdout + done.stderr)

    def ledger(self, version: str = "2.0.0") -> dict:
        """Return what the ledger says about a version: release, members, events."""
        return self.site.ledger(version, events=500)

    def state(self, version: str = "2.0.0") -> str | None:
        """Return the state of the release, None when there is none."""
        release = self.ledger(version)["release"]
        return release and release["state"]

    def member_states(self, version: str = "2.0.0") -> dict:
        """Return the state of each host in the release."""
        return {host: row["state"] for host, row in self.ledger(version)["members"].items()}

    def pool(self, balancer: str = "lb1") -> dict:
        """Return what a HAProxy says about each member."""
        rows = [line.split(",") for line in self.site.haproxies[balancer].command("show stat").splitlines()]
        return {row[1]: row[17] for row in rows if len(row) > 17 and row[1] in self.servers}

    def await_pool(self, wanted: dict, *balancers: str) -> None:
        """Wait until HAProxies have found out how their members are."""
        deadline = time.monotonic() + 30
        while any(self.pool(balancer) != wanted for balancer in balancers):
            assert time.monotonic() < deadline, [self.pool(balancer) for balancer in balancers]
            time.sleep(0.1)

    def versions(self) -> dict:
        """Return the version that each server runs, None where it is stopped."""
        running = {name: server.service("status").get("release") for name, server in self.servers.items()}
        return {name: release and Path(release).name for name, release in running.items()}

    def installed(self) -> dict:
        """Return the release that each server's link points to."""
        return {name: (server.home / "current").resolve().name for name, server in self.servers.items()}

    def snapshot(self) -> tuple:
        """Return all that a run could change: the database's content, the links and the members' states."""
        with closing(sqlite3.connect(self.site.login["login_db"])) as database:
            return tuple(database.iterdump()), self.installed(), self.versions(), self.pool()

    def vary(self, **hosts: dict) -> None:
        """Give hosts variables of their own, in place of those given before."""
        inventory = self.site.hosts()
        children = inventory["all"]["children"]
        for host, variables in hosts.items():
            group = "lb" if host.startswith("lb") else "web"
            children[group]["hosts"][host] |= variables
        self.site.write_inventory(inventory)


@pytest.fixture(scope="module")
def deploy_to():
    """Start sites; they are stopped at the end of the module."""
    sites = []

    def start(directory: Path, database: str, count: int, balancers: int = 1) -> Deploy:
        site = Site(directory, database, count, QUICK, balancers)
        sites.append(site)
        return Deploy(site.__enter__())

    yield start
    for site in sites:
        site.__exit__(None, None, None)
