# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the pools in Caddy's configuration, and takes members out of one and back.

A pool is a ``reverse_proxy`` handler with an ``@id``; its members are its ``upstreams``. Caddy has no upstream that is out, so a
member that is taken out moves into the same handler's ``handle_response``, to a route for a status that no response has::

    {"@id": "shop", "handler": "reverse_proxy",
     "upstreams": [{"@id": "shop.web2", "dial": "192.0.2.12:8080"}],
     "handle_response": [{"@id": "shop.everup.drain.0", "match": {"status_code": [10]}, "routes": [{"handle": [
        {"handler": "reverse_proxy", "upstreams": [{"@id": "shop.web1", "dial": "192.0.2.11:8080"}]}]}]}]}

So one change of one handler moves it, and the member's state and place are part of what Caddy runs. Being in a handler, even one
that nothing reaches, also makes Caddy go on counting the requests that still run on the member.

Facts relied on: ``@id`` may stand in any object and is removed before the configuration is loaded (admin.go of Caddy's source); a
``status_code`` below 100 stands for a hundred codes, so 10 for 1000 to 1099 (StatusCodeMatches() in modules/caddyhttp); requests
are counted for each address as long as any handler names it (fillHost() and Cleanup() in modules/caddyhttp/reverseproxy).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .base import DRAIN, MAINT, READY

_NO_STATUS = 10


@dataclass(frozen=True)
class Upstream:
    """One member: its name, the address that Caddy dials, its state, and the object of the configuration."""

    name: str
    dial: str
    state: str
    written: dict


@dataclass(frozen=True)
class Pool:
    """One handler, and the keys that lead to it in the configuration."""

    name: str
    keys: tuple
    handler: dict

    @property
    def upstreams(self) -> list[Upstream]:
        """Its members in the order of the configuration, those that are out at the places they had."""
        serving = [self._upstream(written, READY) for written in self.handler.get("upstreams") or []]
        out = sorted(self._out(), key=lambda found: found[0])
        members: list[Upstream] = []
        while serving or out:
            if out and (not serving or out[0][0] <= len(members)):
                members.append(out.pop(0)[1])
            else:
                members.append(serving.pop(0))
        return members

    @property
    def obstacle(self) -> str:
        """Why its members cannot be moved; empty when they can."""
        if self.handler.get("dynamic_upstreams"):
            return "its members come from dynamic_upstreams: change them there"
        policy = (self.handler.get("load_balancing") or {}).get("selection_policy") or {}
        if policy.get("weights"):
            return "its policy has weights by place, which would fall to other members: use a policy without"
        return ""

    def moved(self, name: str, state: str) -> dict:
        """Return the handler with one member in a state."""
        members = [replace(one, state=state) if one.name == name else one for one in self.upstreams]
        kept = [entry for entry in self.handler.get("handle_response") or [] if not self._mark(entry)]
        for place, member in enumerate(members):
            if member.state != READY:
                kept.append(self._entry(place, member))
        handler = {**self.handler, "upstreams": [one.written for one in members if one.state == READY]}
        handler.pop("handle_response", None)
        return {**handler, "handle_response": kept} if kept else handler

    def _upstream(self, written: dict, state: str) -> Upstream:
        dial = str(written.get("dial", ""))
        given = str(written.get("@id") or dial)
        prefix = f"{self.name}."
        name = given[len(prefix) :] if given.startswith(prefix) else given
        return Upstream(name or given, dial, state, written)

    def _entry(self, place: int, member: Upstream) -> dict:
        return {
            "@id": f"{self.name}.everup.{member.state}.{place}",
            "match": {"status_code": [_NO_STATUS]},
            "routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [member.written]}]}],
        }

    def _mark(self, entry: dict) -> re.Match | None:
        """Return state and place of an entry of ours."""
        pattern = rf"{re.escape(self.name)}\.everup\.(?P<state>{DRAIN}|{MAINT})\.(?P<place>[0-9]+)"
        return re.fullmatch(pattern, str(entry.get("@id", "")))

    def _out(self) -> list[tuple[int, Upstream]]:
        """Return the members that are out, with their places."""
        found = []
        for entry in self.handler.get("handle_response") or []:
            mark = self._mark(entry)
            if mark:
                for written in entry["routes"][0]["handle"][0]["upstreams"]:
                    found.append((int(mark["place"]), self._upstream(written, mark["state"])))
        return found


def find_pools(config: object) -> list[Pool]:
    """Return every pool of a whole configuration, in its order."""
    return _pools(config, ())


def _pools(node: object, keys: tuple) -> list[Pool]:
    if isinstance(node, list):
        return [pool for place, item in enumerate(node) for pool in _pools(item, (*keys, str(place)))]
    if not isinstance(node, dict):
        return []
    found = []
    if node.get("handler") == "reverse_proxy" and node.get("@id"):
        found.append(Pool(str(node["@id"]), keys, node))
    return found + [pool for key, item in node.items() for pool in _pools(item, (*keys, key))]
