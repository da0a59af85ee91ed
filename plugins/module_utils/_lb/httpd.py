# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moves the members of Apache httpd's balancers (mod_proxy_balancer) through its balancer-manager.

Facts are from modules/proxy/mod_proxy_balancer.c, mod_proxy_hcheck.c and proxy_util.c of httpd's source, each seen on 2.4.71: a
change is a form that is posted with the balancer's nonce, which is another after a restart; httpd ignores every parameter, and
answers with the page as if nothing had been asked, unless a Referer names the server as the page does; a draining worker's error
is never retried, except by a health check of mod_proxy_hcheck.
"""

from __future__ import annotations

from urllib.parse import quote

from .._errors import EverupError
from .admin_http import AdminHttp, Answer
from .base import DRAIN, MAINT, READY, Balancer, Member
from .checks import UNCHECKED, check_all
from .httpd_page import Manager, Worker, parse_manager

# All three are sent each time: an administrator may have set any of them by hand. S stops a worker for good.
_FLAGS = {
    READY: {"w_status_N": "0", "w_status_D": "0", "w_status_S": "0"},
    DRAIN: {"w_status_N": "1", "w_status_D": "0", "w_status_S": "0"},
    MAINT: {"w_status_N": "0", "w_status_D": "1", "w_status_S": "0"},
}
_ATTEMPTS = 3
_WAY_ON = "Allow this user, or the host that asks, to POST to the balancer-manager."


class Httpd(Balancer):
    """One balancer-manager, which is that of one virtual host.

    Parameters:
        http: how it is asked; its address is the URL of the balancer-manager.
        health_url: asked to learn a member's health, with ``{address}`` in it, beside what httpd says of it.
    """

    way_to_names = "give each BalancerMember a route of its own"

    def __init__(self, http: AdminHttp, health_url: str | None) -> None:
        self.address = http.address
        self.http, self.health_url = http, health_url
        self._path = http.url.path or "/"

    def list_members(self, pool: str | None = None) -> list[Member]:
        workers = self._workers(self._read(), pool)
        addresses = [worker.address for worker in workers]
        checks = check_all(addresses, self.health_url, self.http.validate_certs, self.http.timeout)
        found = []
        for worker, check in zip(workers, checks):
            text, healthy = health(worker, check if self.health_url else None)
            found.append(
                Member(
                    pool=worker.pool,
                    name=worker.name,
                    address=worker.address,
                    state=worker.state,
                    health=text,
                    healthy=healthy,
                    sessions=worker.busy,
                    weight=worker.weight,
                    backup=worker.backup,
                )
            )
        return found

    def check_writable(self, pool: str) -> None:
        manager = self._read()
        for worker in self._workers(manager, pool)[:1]:
            if not worker.form["nonce"]:
                raise EverupError(
                    f"Balancer {self.address} would ignore a change: its balancer {pool} has nonce=None. Take that out of its "
                    "configuration."
                )
            if not self._post(manager, worker, {}).accepts:
                raise EverupError(
                    f"Balancer {self.address} would ignore a change and not say why: it names itself {manager.server_name}, and "
                    "takes only changes that come from a page of that name. Give its address by that name, and look at its error "
                    "log."
                )

    def set_state(self, pool: str, name: str, state: str) -> None:
        for _attempt in range(_ATTEMPTS):  # a nonce that a restart has made stale is read anew
            manager = self._read()
            after = self._post(manager, self._worker(manager, pool, name), _FLAGS[state])
            seen = self._worker(after, pool, name)
            if seen.state == state:
                return
        raise EverupError(
            f"Balancer {self.address} was told to set {pool}/{name} to {state} {_ATTEMPTS} times and still reports {seen.state} "
            f"({' '.join(seen.flags)}). Look at httpd's error log."
        )

    def _workers(self, manager: Manager, pool: str | None) -> list[Worker]:
        if pool is not None and pool not in manager.pools:
            known = ", ".join(sorted(manager.pools)) or "none"
            raise EverupError(
                f"Balancer {self.address} has no pool {pool}: its balancers are: {known}. A balancer-manager shows those of the "
                "virtual host it is in."
            )
        return [worker for worker in manager.workers if pool in (None, worker.pool)]

    def _worker(self, manager: Manager, pool: str, name: str) -> Worker:
        return self.pick(self._workers(manager, pool), pool, name)

    def _read(self) -> Manager:
        return self._manager("GET", self.http.ask("GET", self._path))

    def _post(self, manager: Manager, worker: Worker, flags: dict) -> Manager:
        """Post one worker's form; without a flag it changes nothing."""
        form = {**worker.form, **flags}
        # httpd takes no '+' for a space, and a worker's name as it is.
        body = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in form.items())
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Referer": f"{self.http.url.scheme}://{manager.server_name or self.http.url.hostname}{self._path}",
        }
        return self._manager("POST", self.http.ask("POST", self._path, body, headers))

    def _manager(self, method: str, answer: Answer) -> Manager:
        if answer.status != 200:
            raise self.http.refused(method, self._path, answer, _WAY_ON)
        try:
            return parse_manager(answer.text)
        except ValueError as error:
            raise EverupError(
                f"Balancer {self.address} gave an answer that is not a balancer-manager's ({error}). Is this the URL of a "
                f"location with 'SetHandler balancer-manager'? It began with: {answer.text[:200]!r}"
            ) from None


def connect(params: dict) -> list[Balancer]:
    """Return one balancer a balancer-manager of the module's parameters; nothing is asked yet."""
    options = (params["connect_timeout"], params["validate_certs"], params["url_username"], params["url_password"])
    return [Httpd(AdminHttp(address, *options), params["health_url"]) for address in params["address"]]


def health(worker: Worker, check: tuple[str, bool] | None) -> tuple[str, bool]:
    """Return what is known of a worker's health, and whether it is good.

    ``Err`` is what the last request met. httpd tries again with a request once ``retry`` seconds are over, but sends a worker
    that drains or is out none: there it says nothing of the application as it is now, unless mod_proxy_hcheck checks the worker.

    Parameters:
        check: what the member itself answered, where it was asked.
    """
    if "HcFl" in worker.flags:
        return "DOWN (HcFl)", False
    if "Err" in worker.flags and (worker.checked or worker.state == READY):
        return "DOWN (Err)", False
    if check is not None:
        return check
    return ("UP", True) if worker.checked else UNCHECKED
