# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moves the members of Caddy's reverse proxies through its admin API.

Facts are from admin.go and modules/caddyhttp/reverseproxy/admin.go of Caddy's source, each seen on 2.11: an ETag names a path
and what stands there, and a change with it in If-Match is refused with 412 once that has changed; a change returns when the new
configuration runs, and one that does not load leaves the old; /reverse_proxy/upstreams counts requests for each address, over
all handlers.
"""

from __future__ import annotations

import json
import random
import time
from urllib.parse import quote

from .._errors import EverupError
from .admin_http import AdminHttp, Answer
from .base import Balancer, Member
from .caddy_config import Pool, Upstream, find_pools
from .checks import check_all

_CONFIG = "/config/"
_UPSTREAMS = "/reverse_proxy/upstreams"
_NO_ETAG = f'"{_CONFIG} 0"'
_WAY_ON = "Allow who asks to PATCH /config/ of the admin API."
_PAUSE_SECONDS = 0.02
# With every change Caddy starts its admin endpoint anew, and cuts who has just connected to the one before. To ask again does no
# harm: a change that was made after all has made its own ETag stale.
_TRIES = 5


class Caddy(Balancer):
    """One Caddy.

    Parameters:
        address: as the user wrote it.
        http: how its admin API is asked.
        health_url: asked to learn a member's health, with ``{address}`` in it; without it a member counts as healthy.
    """

    way_to_names = "give each upstream an @id of its own, such as <pool>.web1"

    def __init__(self, address: str, http: AdminHttp, health_url: str | None) -> None:
        self.address = address
        self.http, self.health_url = http, health_url
        self._prefix = http.url.path.rstrip("/")

    def list_members(self, pool: str | None = None) -> list[Member]:
        pools, _etag = self._pools(pool)
        # Asked after the configuration: a member that has just been put in may be missing in it, but none that is in it.
        sessions = self._sessions()
        found = [(one.name, upstream) for one in pools for upstream in one.upstreams]
        addresses = [upstream.dial for _name, upstream in found]
        health = check_all(addresses, self.health_url, self.http.validate_certs, self.http.timeout)
        return [
            Member(
                pool=name,
                name=upstream.name,
                address=upstream.dial,
                state=upstream.state,
                health=text,
                healthy=healthy,
                sessions=sessions.get(upstream.dial, 0),
                weight=1,
            )
            for (name, upstream), (text, healthy) in zip(found, health)
        ]

    def check_writable(self, pool: str) -> None:
        (found, *_others), _etag = self._pools(pool)
        self._check_movable(found)
        # A condition that nothing fulfils: Caddy looks at it before it changes anything.
        answer = self._patch(found, found.handler, _NO_ETAG)
        if answer.status not in (200, 412):
            raise self._refused("PATCH", self._path(found), answer)

    def set_state(self, pool: str, name: str, state: str) -> None:
        deadline = time.monotonic() + 2 * self.http.timeout
        while True:
            found, upstream, etag = self._upstream(pool, name)
            if upstream.state == state:
                return
            self._check_movable(found)
            answer = self._patch(found, found.moved(name, state), etag)
            if answer.status not in (200, 412):
                raise self._refused("PATCH", self._path(found), answer)
            if time.monotonic() >= deadline:
                raise EverupError(
                    f"Balancer {self.address} did not set {pool}/{name} to {state}: somebody else changes its configuration all "
                    "the time. Find out who."
                )
            if answer.status == 412:  # somebody else was first: the change is made anew on what stands there now
                time.sleep(random.uniform(0, _PAUSE_SECONDS))  # noqa: S311 - only that two do not go on in step

    def _check_movable(self, pool: Pool) -> None:
        if pool.obstacle:
            raise EverupError(f"Balancer {self.address} cannot move the members of pool {pool.name}: {pool.obstacle}.")

    def _upstream(self, pool: str, name: str) -> tuple[Pool, Upstream, str]:
        (found, *_others), etag = self._pools(pool)
        return found, self.pick(found.upstreams, pool, name), etag

    def _pools(self, pool: str | None) -> tuple[list[Pool], str]:
        """Return one pool or all, and the ETag of the configuration they stand in."""
        answer = self._ask("GET", _CONFIG)
        etag = answer.headers.get("etag", "")
        if not etag:
            raise EverupError(
                f"Balancer {self.address} gave an answer without an ETag: this is not Caddy's admin API, or Caddy is older than "
                "2.6, or something in between takes it out."
            )
        pools = find_pools(self._json(answer, (dict, type(None))))
        if pool is None:
            return pools, etag
        found = [one for one in pools if one.name == pool]
        if not found:
            known = ", ".join(sorted({one.name for one in pools})) or "none"
            raise EverupError(
                f"Balancer {self.address} has no pool {pool}: its reverse_proxy handlers with an @id are: {known}. Give the "
                'handler one, such as "@id": "shop".'
            )
        if len(found) > 1:
            raise EverupError(f"Balancer {self.address} has {len(found)} reverse_proxy handlers {pool}: an @id must be unique.")
        return found, etag

    def _sessions(self) -> dict[str, int]:
        """Return the requests that run, by address."""
        answer = self._ask("GET", _UPSTREAMS)
        try:
            return {row["address"]: int(row["num_requests"]) for row in self._json(answer, list)}
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange(answer, f"{type(error).__name__}: {error}") from None

    def _ask(self, method: str, path: str) -> Answer:
        path = self._prefix + path
        answer = self.http.ask(method, path, tries=_TRIES)
        if answer.status != 200:
            raise self._refused(method, path, answer)
        return answer

    def _patch(self, pool: Pool, handler: dict, etag: str) -> Answer:
        headers = {"Content-Type": "application/json", "If-Match": etag}
        return self.http.ask("PATCH", self._path(pool), json.dumps(handler), headers, _TRIES)

    def _path(self, pool: Pool) -> str:
        if any("/" in key for key in pool.keys):
            raise EverupError(
                f"Balancer {self.address}: the way to pool {pool.name} in the configuration has a name with a slash, which Caddy "
                f"cannot be told: {' > '.join(pool.keys)}."
            )
        return f"{self._prefix}{_CONFIG}{'/'.join(quote(key, safe='') for key in pool.keys)}"

    def _refused(self, method: str, path: str, answer: Answer) -> EverupError:
        return self.http.refused(method, path, answer, _WAY_ON)

    def _json(self, answer: Answer, kind) -> object:
        try:
            found = json.loads(answer.text)
        except ValueError as error:
            raise self._strange(answer, str(error)) from None
        if not isinstance(found, kind):
            raise self._strange(answer, f"it is a {type(found).__name__}")
        return found

    def _strange(self, answer: Answer, why: str) -> EverupError:
        return EverupError(
            f"Balancer {self.address} gave an answer that is not Caddy's ({why}). Is this the address of its admin API? It began "
            f"with: {answer.text[:200]!r}"
        )


def connect(params: dict) -> list[Balancer]:
    """Return one balancer an address of the module's parameters; nothing is asked yet."""
    options = (params["connect_timeout"], params["validate_certs"], params["url_username"], params["url_password"])
    return [
        Caddy(address, AdminHttp(address, *options, path=_socket(address)), params["health_url"]) for address in params["address"]
    ]


def _socket(address: str) -> str | None:
    """Return the path of a Unix socket, also as Caddy writes it."""
    if address.startswith("unix/"):
        address = address[len("unix/") :]
    return address if address.startswith("/") else None
