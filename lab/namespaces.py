# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real hosts without containers: namespaces with an address and an SSH server each.

python -m lab.namespaces create --directory DIR --hosts web1 web2 lb1
python -m lab.namespaces destroy --directory DIR

Every host has a network, a process table, a host name and a /run of its own, and nothing else: programs and libraries are
those of this machine. They see each other and this machine over a switch, and nothing beyond it. /run/host on a host is
DIR/<host>/files here. All processes of a host end with it. DIR/hosts.json tells addresses and keys; the name of everything in
the kernel is made from DIR, so that destroy finds it all in another process, and after a kill.
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.process import Child, LabError
from lab.sshd import SYSTEM_PATH, sshd_config, write_keys

PROGRAMS = ("ip", "mount", "ssh-keygen", "sshd", "unshare")
MAX_HOSTS = 200
START_TIMEOUT_S = 15

# What runs as process 1 of a host's process table. A program in a namespace would otherwise read the caller's shell start-up
# files, and the password file may lock root, which sshd without PAM takes for a refusal.
INIT = """
set -e
hostname "$1"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd /run/host /run/lock
mount --bind "$2/files" /run/host
mount --bind "$2/shadow" /etc/shadow
mount --bind "$2/etc-hosts" /etc/hosts
for file in /root/.bashrc /root/.profile /root/.bash_profile; do
    if [ -f "$file" ]; then mount --bind /dev/null "$file"; fi
done
exec "$3" -D -e -f "$2/sshd_config"
"""


class Namespaces:
    """The hosts of one folder.

    Parameters:
        directory: keys, configurations, logs and the hosts' own files go below it.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory).resolve()
        self.state_file = self.directory / "hosts.json"
        mark = hashlib.sha256(str(self.directory).encode()).hexdigest()[:8]
        self.prefix = f"everup-{mark}-"
        self.switch = f"{self.prefix}switch"
        self.uplink = f"ev{mark}"  # an interface name has at most 15 characters

    def create(self, names: Sequence[str]) -> dict:
        """Make the hosts and wait until their SSH servers answer; nothing happens when they are there already.

        Returns:
            What ``hosts.json`` says: ``network``, ``controller`` (this machine's address), ``known_hosts``, and ``hosts``
            with ``address`` and ``key`` by name; and ``changed``.

        Raises:
            LabError: this user or machine may not make namespaces, or a host does not start.
        """
        _check(names)
        state = self._state()
        if list(state.get("hosts", {})) == list(names) and all(_answers(h["address"]) for h in state["hosts"].values()):
            return state | {"changed": False}
        self.destroy()
        try:
            return self._create(names) | {"changed": True}
        except BaseException:
            self.destroy()
            raise

    def destroy(self) -> bool:
        """End every process of the hosts and remove them, whatever is left of them; returns whether anything was."""
        _check_root()
        ours = [name for name in _namespaces() if name.startswith(self.prefix)]
        # The switch goes last: with the network still there, whoever is connected to a host is told that it is gone.
        for name in sorted(ours, key=lambda name: name == self.switch):
            _end_processes(name)
            _ip("netns", "delete", name)
        if found := Path("/sys/class/net", self.uplink).exists():
            subprocess.run(["ip", "link", "delete", self.uplink], capture_output=True, timeout=30)
        known = self.state_file.exists()
        for host in self._state().get("hosts", {}):
            shutil.rmtree(self.directory / host, ignore_errors=True)
        self.state_file.unlink(missing_ok=True)
        return bool(ours) or found or known

    def command(self, host: str, *command: str) -> list[str]:
        """Return the command line that runs a command on the host's network, without its files and process table."""
        return ["ip", "netns", "exec", f"{self.prefix}{host}", *command]

    def read(self) -> dict:
        """Return what ``hosts.json`` says, see :meth:`create`. Raises LabError when the hosts are not there."""
        if not (state := self._state()):
            raise LabError(f"there are no hosts in {self.directory}")
        return state

    def cut(self, host: str) -> None:
        """Pull a host's cable: what is sent to it and by it is lost, and nobody is told."""
        _ip("-n", self.switch, "link", "set", self._port(host), "down")

    def hide(self, host: str) -> None:
        """Let a host answer this machine no longer; it and the other hosts see each other as before."""
        _ip("-n", f"{self.prefix}{host}", "route", "replace", "blackhole", self._state()["controller"])

    def mend(self, host: str) -> None:
        """Undo `cut` and `hide`; nothing happens where neither was done."""
        _ip("-n", self.switch, "link", "set", self._port(host), "up")
        if "blackhole" in _ip("-n", f"{self.prefix}{host}", "route", "show"):
            _ip("-n", f"{self.prefix}{host}", "route", "delete", "blackhole", self._state()["controller"])

    def _port(self, host: str) -> str:
        return f"port{list(self._state()['hosts']).index(host) + 1}"

    def _state(self) -> dict:
        try:
            return json.loads(self.state_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def _create(self, names: Sequence[str]) -> dict:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        network = _free_network(self.prefix)
        addresses = network.hosts()
        controller = str(next(addresses))
        known_hosts = self.directory / "known_hosts"
        hosts = {
            name: {"address": str(address), "key": str(self.directory / name / "client_key")}
            for name, address in zip(names, addresses, strict=False)
        }
        state = {
            "network": str(network),
            "controller": controller,
            "known_hosts": str(known_hosts),
            "hosts": hosts,
        }
        self.state_file.write_text(json.dumps(state, indent=2), encoding="utf-8")
        self._make_network(hosts, controller, network.prefixlen)
        known_hosts.write_text("".join(self._write_files(name, hosts, controller) for name in hosts), encoding="utf-8")
        self._start_ssh(hosts)
        return state

    def _make_network(self, hosts: dict, controller: str, bits: int) -> None:
        """Connect the hosts by a switch in a namespace of its own, where no firewall rule of this machine sees their packets."""
        for name in (self.switch, *(f"{self.prefix}{host}" for host in hosts)):
            _ip("netns", "add", name)
        _ip("link", "add", self.uplink, "type", "veth", "peer", "name", "uplink", "netns", self.switch)
        _ip("address", "add", f"{controller}/{bits}", "dev", self.uplink)
        _ip("link", "set", self.uplink, "up")
        _ip("-n", self.switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self.switch, "link", "set", "switch", "up")
        _ip("-n", self.switch, "link", "set", "uplink", "master", "switch", "up")
        for number, (host, facts) in enumerate(hosts.items(), start=1):
            namespace, port = f"{self.prefix}{host}", f"port{number}"
            _ip("-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _ip("-n", self.switch, "link", "set", port, "master", "switch", "up")
            _ip("-n", namespace, "address", "add", f"{facts['address']}/{bits}", "dev", "eth0")
            _ip("-n", namespace, "link", "set", "eth0", "up")
            _ip("-n", namespace, "link", "set", "lo", "up")

    def _write_files(self, name: str, hosts: dict, controller: str) -> str:
        """Write one host's keys and configuration; returns its line of known_hosts."""
        folder, address = self.directory / name, hosts[name]["address"]
        (folder / "files").mkdir(parents=True)
        public = write_keys(folder, name)
        (folder / "sshd_config").write_text(sshd_config(folder, address), encoding="utf-8")
        (folder / "shadow").write_text("root:*:19000:0:99999:7:::\n", encoding="utf-8")
        (folder / "shadow").chmod(0o600)
        lines = [f"127.0.0.1 localhost\n{controller} controller\n"] + [f"{hosts[host]['address']} {host}\n" for host in hosts]
        (folder / "etc-hosts").write_text("".join(lines), encoding="utf-8")
        return f"{address} {public}\n"

    def _start_ssh(self, hosts: dict) -> None:
        sshd = _which("sshd")
        unshare = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc", "--"]
        servers = {
            host: Child(
                f"host {host}",
                self.command(host, *unshare, "sh", "-c", INIT, "init", host, str(self.directory / host), sshd),
                self.directory / host / "sshd.log",
                env={"PATH": SYSTEM_PATH},
                cwd=Path("/"),
                dies_with_parent=False,
            )
            for host in hosts
        }
        for host, server in servers.items():
            server.wait_until(lambda host=host: _answers(hosts[host]["address"]), START_TIMEOUT_S)


def _check_root() -> None:
    if os.geteuid() != 0:
        raise LabError("only root can make hosts out of namespaces: run this as root, such as with sudo")


def _check(names: Sequence[str]) -> None:
    _check_root()
    if missing := [program for program in PROGRAMS if _which(program) is None]:
        raise LabError(f"hosts are made with {', '.join(missing)}, which is not installed: run make packages")
    if not names or len(set(names)) != len(names) or "switch" in names or len(names) > MAX_HOSTS:
        raise LabError(f"the hosts need 1 to {MAX_HOSTS} different names, none of them 'switch'; they are: {', '.join(names)}")


def _which(program: str) -> str | None:
    return shutil.which(program, path=SYSTEM_PATH)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise LabError(f"'{' '.join(command)}' ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _ip(*arguments: str) -> str:
    try:
        return _run("ip", *arguments)
    except LabError as error:
        if "not permitted" in str(error) or "denied" in str(error):
            raise LabError(
                f"this machine does not let root make network namespaces ({error}): run it on a machine or in a container "
                "with the capabilities SYS_ADMIN and NET_ADMIN"
            ) from error
        raise


def _namespaces() -> list[str]:
    return [entry["name"] for entry in json.loads(_ip("-json", "netns", "list") or "[]")]


def _end_processes(namespace: str, timeout: float = 10.0) -> None:
    """Kill everything in the namespace. Raises LabError when something is still there after the time-out, in seconds."""
    deadline = time.monotonic() + timeout
    while pids := [int(word) for word in _ip("netns", "pids", namespace).split()]:
        if time.monotonic() > deadline:
            raise LabError(f"processes {pids} in {namespace} are still there {timeout:g} s after SIGKILL")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def _free_network(seed: str) -> ipaddress.IPv4Network:
    """Return a 10.x.y.0/24 that no route of this machine touches, the same one for the same seed while it is free."""
    taken = _routed(json.loads(_ip("-json", "-4", "route", "show", "table", "all") or "[]"))
    start = int(hashlib.sha256(seed.encode()).hexdigest()[:8], 16)
    for step in range(65536):
        number = (start + step) % 65536
        network = ipaddress.IPv4Network(f"10.{number >> 8}.{number & 255}.0/24")
        if not any(network.overlaps(other) for other in taken):
            return network
    raise LabError("this machine has routes to all of 10.0.0.0/8: there is no address left for the hosts")


def _routed(routes: Iterable[dict]) -> list[ipaddress.IPv4Network]:
    targets = (route.get("dst", "default") for route in routes)
    return [ipaddress.IPv4Network(target, strict=False) for target in targets if target[:1].isdigit()]


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def main() -> int:
    """Carry out one command; prints a line of JSON, or a sentence on standard error."""
    parser = argparse.ArgumentParser(description="Make or remove hosts out of namespaces.")
    parser.add_argument("action", choices=["create", "destroy"])
    parser.add_argument("--directory", type=Path, required=True, help="everything about the hosts goes below it")
    parser.add_argument("--hosts", nargs="+", default=[], metavar="NAME", help="the hosts to create")
    options = parser.parse_args()
    hosts = Namespaces(options.directory)
    try:
        report = hosts.create(options.hosts) if options.action == "create" else {"changed": hosts.destroy()}
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
