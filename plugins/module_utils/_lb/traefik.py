# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moves the members of Traefik by its dynamic configuration file, and asks Traefik's API what is in force.

Facts relied on: the file provider loads a file when it changes, at most once per ``providersThrottleDuration``, 2 s by default
("File provider", Traefik's documentation); ``/api/rawdata`` tells the configuration that Traefik works with and what its health
checks say ("API"). A server that is no longer configured gets no new request, and keeps those it has; Traefik keeps idle
connections to it until ``idleConnTimeout``, 90 s by default ("ServersTransport"). Traefik counts no requests of a server. Each
was seen on 3.7.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from .._errors import EverupError
from .addresses import told
from .admin_http import base_url, get_json
from .base import DRAIN, READY, Balancer, Member
from .checks import check_all
from .connections import sessions_of
from .files import check_replaceable, locked, read_text, replace_text
from .traefik_conf import Server, services, with_state

_API = "127.0.0.1:8080"
_LOOK_SECONDS = 0.02


class Traefik(Balancer):
    """One Traefik on this host.

    Parameters:
        address: path of the dynamic configuration file, and behind ``@`` its API as a URL or ``host:port``.
        timeout: seconds for one answer, for a file to be loaded, and for one health check.
        health_url: asked to learn a member's health, with ``{address}`` in it; without it Traefik's own check is asked.
        validate_certs: for https.
    """

    way_to_names = "give each a name of its own in the middleware everup-<pool>"

    def __init__(self, address: str, timeout: float, health_url: str | None, validate_certs: bool) -> None:
        self.address = address
        self.timeout = timeout
        self.health_url, self.validate_certs = health_url, validate_certs
        path, _at, api = address.partition("@")
        if not path.startswith("/"):
            raise EverupError(
                f"Balancer address {told(address)!r} is not the path of Traefik's dynamic configuration file, with the address "
                f"of its API behind it, as in /etc/traefik/dynamic/shop.yml@{_API}."
            )
        self._path = Path(os.path.realpath(path))
        self._url = base_url(api or _API)

    def list_members(self, pool: str | None = None) -> list[Member]:
        listed, running = self._settled(pool)
        seen = [(name, server) for name, servers in listed.items() for server in servers]
        checks = check_all([server.address for _name, server in seen], self.health_url, self.validate_certs, self.timeout)
        members = []
        for (name, server), checked in zip(seen, checks):
            serving = server.url in running.get(name, {})
            said = running.get(name, {}).get(server.url)
            text, healthy = ("DOWN (serverStatus of Traefik)", False) if said == "DOWN" else checked
            weight = server.fields.get("weight")
            members.append(
                Member(
                    pool=name,
                    name=server.name,
                    address=server.address,
                    state=_state(server, serving),
                    health=text,
                    healthy=healthy,
                    sessions=sessions_of(f"Balancer {self.address}, member {server.name} of pool {name}", server.address),
                    weight=1 if weight is None else int(weight),
                )
            )
        return members

    def check_writable(self, pool: str) -> None:
        self._pools(pool)
        check_replaceable(self.address, self._path)

    def set_state(self, pool: str, name: str, state: str) -> None:
        self.get_member(pool, name)
        self.check_writable(pool)
        with locked(self.address, self._path.parent, 2 * self.timeout):
            self._change(pool, name, state)

    def _change(self, pool: str, name: str, state: str) -> None:
        """Write the state, and return once Traefik works with it; else put back what was there."""
        before = self._read()
        url = self.pick(self._pools(pool)[pool], pool, name).url
        written = with_state(before, pool, name, state)
        replace_text(self._path, written)
        deadline = time.monotonic() + self.timeout
        try:
            while (url in self._running().get(pool, {})) != (state == READY):
                if time.monotonic() >= deadline:
                    raise EverupError(
                        f"Balancer {self.address} has not loaded {self._path} within {self.timeout:g} s: member {name} of pool "
                        f"{pool} is {'not ' if state == READY else ''}among its servers still. What was in the file stands there "
                        "again. Look at Traefik's log, whether its file provider watches this file, and give a connect_timeout "
                        "of more than its providersThrottleDuration."
                    )
                time.sleep(_LOOK_SECONDS)
        except BaseException:
            if self._read() == written:
                replace_text(self._path, before)
            raise

    def _settled(self, pool: str | None) -> tuple[dict[str, list[Server]], dict[str, dict]]:
        """Return the members as the file has them and the servers that Traefik works with, once it has loaded the file.

        A file that Traefik does not load is not waited for longer than the time-out.
        """
        deadline = time.monotonic() + self.timeout
        while True:
            listed = self._pools(pool)
            running = self._running()
            loaded = all(
                (server.url in running.get(name, {})) == (server.state == READY)
                for name, servers in listed.items()
                for server in servers
            )
            if loaded or time.monotonic() >= deadline:
                break
            time.sleep(_LOOK_SECONDS)
        for name in listed:
            if name not in running:
                raise EverupError(
                    f"Balancer {self.address}: Traefik has no service {name}@file, which {self._path} has. Is {self._url} the "
                    "API of the Traefik that loads this file? If so, its log says why it did not."
                )
        return listed, running

    def _pools(self, pool: str | None) -> dict[str, list[Server]]:
        """Return the members of one pool, or of all, as the file has them.

        Raises:
            EverupError: there is no such pool, or the file cannot be read.
        """
        text = self._read()
        try:
            found = services(text)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EverupError(
                f"Balancer {self.address}: {self._path} cannot be read as JSON with HTTP services ({type(error).__name__}: "
                f"{error}). This module edits JSON only. JSON is valid YAML: a .yml file can hold it. To convert it once: "
                "python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout, indent=2)'"
            ) from error
        if pool is None:
            return found
        if pool not in found:
            known = ", ".join(sorted(found)) or "none"
            raise EverupError(f"Balancer {self.address} has no pool {pool}: the load balancers of its file are: {known}.")
        return {pool: found[pool]}

    def _running(self) -> dict[str, dict]:
        """Return what Traefik says of each server it works with, by pool and URL; None where it says nothing."""
        answer = get_json(f"{self._url}/api/rawdata", self.timeout, self.address, self.validate_certs)
        try:
            return running(answer)
        except (AttributeError, KeyError, TypeError) as error:
            raise EverupError(
                f"Balancer {self.address} gave an answer that is not Traefik's ({type(error).__name__}: {error}). Is {self._url} "
                "the address of its API?"
            ) from error

    def _read(self) -> str:
        try:
            return read_text(self._path)
        except OSError as error:
            raise EverupError(
                f"Balancer {self.address} cannot be reached: {self._path} cannot be read: {error.strerror or error}. Run this "
                "module on Traefik's host, as a user who may read it."
            ) from error


def connect(params: dict) -> list[Balancer]:
    """Return one balancer an address of the module's parameters; nothing is asked yet."""
    return [
        Traefik(address, params["connect_timeout"], params["health_url"], params["validate_certs"])
        for address in params["address"]
    ]


def running(answer: dict) -> dict[str, dict]:
    """Return the servers of each service of the file provider by URL, with what Traefik's health check says of each."""
    found = {}
    for name, service in answer["services"].items():
        pool, _at, provider = name.rpartition("@")
        if provider == "file" and "loadBalancer" in service:
            status = service.get("serverStatus", {})
            found[pool] = {server["url"]: status.get(server["url"]) for server in service["loadBalancer"].get("servers") or []}
    return found


def _state(server: Server, serving: bool) -> str:
    """Return the state that is in force: who is among Traefik's servers is in, whatever the file says."""
    if serving:
        return READY
    return DRAIN if server.state == READY else server.state
