# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the servers of a Traefik dynamic configuration file, and writes a member's state into one.

A member is a server of the ``loadBalancer`` of an HTTP service. One that is drained or in maintenance is not among the servers:
it stands, with its state, in a middleware that no router uses, where members also have their names. Comments would be lost when
the file is rewritten; a header middleware may hold any text::

    {"http": {
      "services": {"shop": {"loadBalancer": {"servers": [{"url": "http://192.0.2.11:8080"}]}}},
      "middlewares": {"everup-shop": {"headers": {"customRequestHeaders": {
        "web1": "http://192.0.2.11:8080",
        "web2": "drain {\\"url\\": \\"http://192.0.2.12:8080\\", \\"weight\\": 2}"}}}}}}

Facts relied on: Traefik's YAML decoder takes JSON in a ``.yml`` file and refuses a field that it does not know; ``weight: 0`` is
no way to take a server out (the health check goes on to count it as one that can be chosen: SetStatus() and nextServer() in
pkg/server/service/loadbalancer/wrr/wrr.go).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from .addresses import told
from .base import DRAIN, MAINT, READY

PREFIX = "everup-"
_PORTS = {"https": 443}


@dataclass(frozen=True)
class Server:
    """One member as the file has it.

    Attributes:
        name: as the middleware says, else its address.
        address: ``host:port``.
        state: administrative state.
        fields: of the server in Traefik's configuration, ``url`` among them.
    """

    name: str
    address: str
    state: str
    fields: dict

    @property
    def url(self) -> str:
        return self.fields["url"]


def services(text: str) -> dict[str, list[Server]]:
    """Return the members of each HTTP service with a load balancer; ValueError when the file is not JSON, or holds none."""
    document = _parsed(text)
    found = {}
    for pool, service in document["http"]["services"].items():
        if "loadBalancer" in service:
            found[pool] = _servers(document, pool)
    return found


def with_state(text: str, pool: str, name: str, state: str) -> str:
    """Return the file with a member's state."""
    document = _parsed(text)
    servers = _servers(document, pool)
    balancer = document["http"]["services"][pool]["loadBalancer"]
    notes = _notes(document, pool)
    written = {}
    for server in servers:
        now = state if server.name == name else server.state
        if now != READY:
            written[server.name] = f"{now} {json.dumps(server.fields)}"
        elif server.name != server.address:
            written[server.name] = server.url
    balancer["servers"] = [server.fields for server in servers if (state if server.name == name else server.state) == READY]
    middlewares = document["http"].setdefault("middlewares", {})
    written = {**{key: value for key, value in notes.items() if key in written}, **written}
    if written:
        middlewares[PREFIX + pool] = {"headers": {"customRequestHeaders": written}}
    else:
        middlewares.pop(PREFIX + pool, None)
    if not middlewares:
        del document["http"]["middlewares"]
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def address_of(url: str) -> str:
    """Return ``host:port`` of a server's URL; ValueError when it has none."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"{told(url)!r} is not the URL of a server")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or _PORTS.get(parts.scheme, 80)}"


def _parsed(text: str) -> dict:
    document = json.loads(text)
    if not isinstance(document, dict) or not isinstance(document.get("http", {}).get("services"), dict):
        raise ValueError("it has no http services")
    return document


def _notes(document: dict, pool: str) -> dict:
    return document["http"].get("middlewares", {}).get(PREFIX + pool, {}).get("headers", {}).get("customRequestHeaders", {})


def _servers(document: dict, pool: str) -> list[Server]:
    """Return the members in the order in which they are named, and then those without a name."""
    listed = {fields["url"]: fields for fields in document["http"]["services"][pool]["loadBalancer"].get("servers") or []}
    found = []
    for name, note in _notes(document, pool).items():
        word, _space, rest = note.partition(" ")
        fields = json.loads(rest) if word in (DRAIN, MAINT) else {"url": note}
        if fields["url"] in listed:  # who is among the servers is in, whatever stands beside
            found.append(Server(name, address_of(fields["url"]), READY, listed.pop(fields["url"])))
        elif word in (DRAIN, MAINT):
            found.append(Server(name, address_of(fields["url"]), word, fields))
    return found + [Server(address_of(url), address_of(url), READY, fields) for url, fields in listed.items()]
