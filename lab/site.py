# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The example shop as a whole site on this machine: database, HAProxy, web servers at version 1, and an inventory for it.

with Site(directory) as site:
    site.play("release.yml", "-e", "release_version=2.0.0")
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from ansible_collections.everup.deploy.plugins.module_utils._release.commands import release_info
from ansible_collections.everup.deploy.plugins.modules.release_info import ARGUMENT_SPEC

from lab.haproxy import HAProxy
from lab.playbook import Playbook
from lab.postgres import Postgres
from lab.process import LabError
from lab.shop import SHOP, ShopFarm

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
GROUP_VARS = SHOP / "inventories" / "dev" / "group_vars"
FIRST_SCHEMA = "0002"  # the newest expand script that version 1.0.0 of the shop knows


class Site:
    """The shop behind HAProxy, with ``count`` web servers at version 1.0.0.

    Parameters:
        directory: everything goes below it.
        database: ``sqlite`` or ``postgresql``.
        count: web servers.
        variables: further inventory variables of every web server.
        balancers: how many HAProxy stand in front of all web servers; the load goes through the first.
    """

    def __init__(
        self, directory: Path, database: str = "sqlite", count: int = 4, variables: dict | None = None, balancers: int = 1
    ) -> None:
        if database not in ("sqlite", "postgresql"):
            raise LabError(f"DB is '{database}': it must be sqlite or postgresql")
        self.directory = Path(directory).resolve()
        self.database = database
        self.count = count
        self.variables = variables or {}
        self.balancers = balancers
        self.inventory = self.directory / "inventory"
        self._stack = ExitStack()

    def __enter__(self) -> Site:
        try:
            return self._start()
        except BaseException:
            self._stack.close()
            raise

    def __exit__(self, *exception) -> None:
        self._stack.close()

    def _start(self) -> Site:
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.database == "postgresql":
            self.postgres = self._stack.enter_context(Postgres())
            url, self.login = self.postgres.url, self._postgres_login()
        else:
            file = self.directory / "shop.sqlite"
            url, self.login = f"sqlite:///{file}", {"engine": "sqlite", "login_db": str(file)}
        self.migrate(FIRST_SCHEMA)
        self.farm = self._stack.enter_context(ShopFarm(self.directory, url, self.count))
        members = {server.name: (server.bind, server.port) for server in self.farm.servers}
        self.haproxies = {f"lb{number}": self._balancer(f"lb{number}", members) for number in range(1, self.balancers + 1)}
        self.haproxy = self.haproxies["lb1"]
        self.url = self.haproxy.url("shop", "")
        self.write_inventory(self.hosts())
        return self

    def _balancer(self, name: str, members: dict) -> HAProxy:
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        return self._stack.enter_context(HAProxy({"shop": members}, folder))

    def _postgres_login(self) -> dict:
        server = self.postgres
        return {
            "engine": "postgresql",
            "login_host": server.host,
            "login_port": server.port,
            "login_user": server.user,
            "login_password": server.password,
            "login_db": server.database,
        }

    def hosts(self) -> dict:
        """Return the inventory's hosts with their addresses and folders, which the shop's own group variables leave open."""
        web = {s.name: {"shop_home": str(s.home), "shop_port": s.port, **self.variables} for s in self.farm.servers}
        shared = {"shop_database": self.login, "shop_archives": str(self.directory / "archives")}
        lb = {name: {"haproxy_admin": haproxy.socket()} for name, haproxy in self.haproxies.items()}
        children = {"web": {"hosts": web}, "lb": {"hosts": lb}}
        return {"all": {"vars": shared, "children": children}}

    def write_inventory(self, hosts: dict) -> None:
        """Write the inventory (JSON is YAML): these hosts, beside the group variables of the shop's own ``dev``."""
        self.inventory.mkdir(exist_ok=True)
        (self.inventory / "hosts.yml").write_text(json.dumps(hosts, indent=2), encoding="utf-8")
        link = self.inventory / "group_vars"
        link.unlink(missing_ok=True)
        link.symlink_to(GROUP_VARS)

    def migrate(self, target: str) -> None:
        """Bring the database to a version of the schema with the collection's own module."""
        variables = {"login": self.login, "target": target, "migrations": str(SHOP / "migrations" / self.database)}
        file = self.directory / "schema.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(variables), encoding="utf-8")
        command = [str(BIN / "ansible-playbook"), str(ROOT / "lab" / "schema.yml"), "-e", f"@{file}"]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise LabError(f"the first schema was not created: {done.stdout}{done.stderr}")

    def environment(self) -> dict:
        """Return the environment that Ansible runs in."""
        return os.environ | {
            "ANSIBLE_CONFIG": str(SHOP / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "ansible"),
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }

    def command(self, playbook: str, *arguments: str) -> list[str]:
        """Return the command line of one of the shop's playbooks, or of the collection's (``everup.deploy.status``)."""
        path = str(SHOP / playbook) if playbook.endswith(".yml") else playbook
        return [str(BIN / "ansible-playbook"), "-i", str(self.inventory), path, *arguments]

    def play(self, playbook: str, *arguments: str, timeout: float = 300.0, **options) -> subprocess.CompletedProcess:
        """Run a playbook and return what it printed; see :meth:`command`."""
        command = self.command(playbook, *arguments)
        options = {"capture_output": True, "text": True, "env": self.environment()} | options
        return subprocess.run(command, timeout=timeout, cwd=SHOP, **options)

    def ledger(self, version: str, events: int = 0) -> dict:
        """Return what the ledger says about a release: its row, its members and its newest events."""
        return read_ledger(self.login, version, events)

    def start(self, playbook: str, *arguments: str) -> Playbook:
        """Start a playbook and return at once."""
        return Playbook(self.command(playbook, *arguments), self.environment(), SHOP)


def read_ledger(login: dict, version: str, events: int = 0) -> dict:
    """Return what the ledger of a database says about a release: its row, its members and its newest events."""
    defaults = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
    return release_info({**defaults, **login, "version": version, "events": events})
