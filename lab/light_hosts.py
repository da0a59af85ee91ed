# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many light hosts on this machine: an address of the loopback network, an SSH server and a folder each.

with LightHosts(directory, ["web1", "web2"]) as hosts:
    hosts.inventory("web1")

All their web servers are one process, lab/light_web.py: it answers for each host with the version that its folder has been
restarted with. So the hosts cost memory and next to no time, and what remains is the work of whoever deploys to them.
"""

from __future__ import annotations

import getpass
import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lab.ports import free_ports, listening
from lab.process import Child
from lab.sshd import SYSTEM_PATH, sshd_config, write_keys

ROOT = Path(__file__).resolve().parent
NETWORK = "127.88"  # every address of 127.0.0.0/8 is this machine (RFC 1122, 3.2.1.3)
START_TIMEOUT_S = 60


class LightHosts:
    """The running hosts; a context manager.

    Parameters:
        directory: keys, configurations, logs and the hosts' folders go below it.
        names: the hosts.
    """

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self.directory = Path(directory).resolve()
        self.address = {name: f"{NETWORK}.{number // 250}.{number % 250 + 1}" for number, name in enumerate(names)}
        self.ssh_port, self.web_port = free_ports(2)
        self._stack = ExitStack()

    def __enter__(self) -> LightHosts:
        try:
            self._write_keys()
            servers = {name: self._start_ssh(name) for name in self.address}
            for name, server in servers.items():
                server.wait_until(lambda name=name: listening(self.ssh_port, self.address[name]), START_TIMEOUT_S)
            self._start_web()
            return self
        except BaseException:
            self._stack.close()
            raise

    def __exit__(self, *_exception) -> None:
        self._stack.close()

    def home(self, name: str) -> Path:
        """Return a host's folder."""
        return self.directory / "hosts" / name

    def restart_command(self, name: str) -> list[str]:
        """Return the command that makes a host serve the release that ``current`` points to."""
        return ["cp", "-PTf", str(self.home(name) / "current"), str(self.home(name) / "running")]

    def install(self, name: str, version: str) -> None:
        """Make a host serve a version, with nothing else in its folder."""
        home = self.home(name)
        shutil.rmtree(home, ignore_errors=True)
        (home / "releases" / version).mkdir(parents=True)
        for link in ("current", "running"):
            (home / link).symlink_to(Path("releases") / version)

    def inventory(self, name: str) -> dict:
        """Return the inventory variables by which Ansible reaches a host."""
        known_hosts = f'UserKnownHostsFile="{self.directory}/known_hosts"'
        return {
            "ansible_host": self.address[name],
            "ansible_port": self.ssh_port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.directory / "client_key"),
            "ansible_ssh_common_args": f"-o IdentitiesOnly=yes -o {shlex.quote(known_hosts)}",
        }

    def _write_keys(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        public = write_keys(self.directory, "the lab")
        (self.directory / "known_hosts").write_text(f"[{NETWORK}.*]:{self.ssh_port} {public}\n", encoding="ascii")

    def _start_ssh(self, name: str) -> Child:
        self.home(name).mkdir(parents=True)
        logs = self.directory / "logs"
        logs.mkdir(exist_ok=True)
        config = logs / f"{name}.sshd_config"
        # A host's folder is the home of whoever logs in, so that no .bashrc of this machine is read for every command.
        text = sshd_config(self.directory, self.address[name], self.ssh_port, HOME=self.home(name))
        config.write_text(text, encoding="utf-8")
        # Privilege separation wants its folder, which the package's own start script makes.
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        sshd = shutil.which("sshd", path=SYSTEM_PATH) or "sshd"
        child = Child(f"SSH server of {name}", [sshd, "-D", "-e", "-f", str(config)], logs / f"{name}.log")
        return self._stack.enter_context(child)

    def _start_web(self) -> None:
        settings = {"port": self.web_port, "homes": {self.address[name]: str(self.home(name)) for name in self.address}}
        file = self.directory / "web.json"
        file.write_text(json.dumps(settings), encoding="utf-8")
        log = self.directory / "logs" / "web.log"
        web = self._stack.enter_context(Child("web servers", [sys.executable, str(ROOT / "light_web.py"), str(file)], log))
        last = list(self.address.values())[-1]
        web.wait_until(lambda: listening(self.web_port, last), START_TIMEOUT_S)
