# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moves the members of Envoy by their health status in the EDS file, and asks Envoy's admin interface what is in force.

Facts relied on: ``/config_dump`` tells which file a cluster's endpoints come from, ``/clusters?format=json`` the health flags and
counters of each host ("Administration interface", Envoy's documentation). Envoy loads the file when something is renamed to its
path ("xDS configuration API overview"). A host of health status DRAINING or UNHEALTHY gets no new request, and keeps those it
has. The workers learn of that at once (the counter ``cluster_manager.cluster_updated_via_merge`` stays 0); of a check's result up
to ``update_merge_window`` later. A host whose check is switched off and on again has to pass
one before it counts as healthy (updateDynamicHostList() in source/common/upstream/upstream_impl.cc). Where too few hosts are
available Envoy sends requests to all of them, these included ("Panic threshold"). Each was seen on 1.40.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from .._errors import EverupError
from .admin_http import base_url, get_json
from .base import DRAIN, MAINT, READY, Balancer, Counters, Member
from .checks import UNCHECKED, check_all
from .envoy_eds import Endpoint, address_of, endpoints, state_of, with_state
from .files import check_replaceable, locked, read_text, replace_text

_LOOK_SECONDS = 0.01
# A file that has been renamed into place is loaded before the second answer after it: Envoy's main thread does both.
_SETTLE_SECONDS = 1.0
# What the admin interface tells is the main thread's; the workers follow within one turn of their event loops.
_WORKER_SECONDS = 0.05
_PANIC_PERCENT = 50.0
_OVERPROVISIONING = 1.4
_PANIC_KEY = "upstream.healthy_panic_threshold"
_FLAGS = (
    "failed_active_health_check",
    "failed_outlier_check",
    "failed_active_degraded_check",
    "pending_active_hc",
    "excluded_via_immediate_hc_fail",
    "active_hc_timeout",
)
_UNAVAILABLE = {"failed_active_health_check", "failed_outlier_check"}
_EXCLUDED = {"pending_active_hc", "excluded_via_immediate_hc_fail"}


@dataclass(frozen=True)
class Pool:
    """A cluster whose endpoints come from a file.

    Attributes:
        name: of the cluster.
        service: what the file calls it.
        path: of the file, as Envoy sees it.
        checked: whether Envoy checks the health of its hosts.
        panic_percent: with fewer hosts available Envoy sends requests to all of them.
    """

    name: str
    service: str
    path: str
    checked: bool
    panic_percent: float


@dataclass(frozen=True)
class Host:
    """A host of a cluster as Envoy has it now."""

    state: str
    flags: tuple
    sessions: int
    weight: int
    priority: int
    counters: Counters


class Envoy(Balancer):
    """One Envoy on this host.

    Parameters:
        address: of its admin interface, as a URL or ``host:port``.
        timeout: seconds for one answer, for a file to be loaded, and for one health check.
        health_url: asked to learn the health of a member of a pool that Envoy does not check, with ``{address}`` in it.
        validate_certs: for https.
    """

    way_to_names = "give each a name of its own in its metadata"

    def __init__(self, address: str, timeout: float, health_url: str | None, validate_certs: bool) -> None:
        self.address = address
        self.timeout = timeout
        self.health_url, self.validate_certs = health_url, validate_certs
        self._url = base_url(address)

    def list_members(self, pool: str | None = None) -> list[Member]:
        seen = [
            (found, endpoint, hosts[endpoint.address])
            for found, listed, hosts in self._settled(pool)
            for endpoint in listed
            if endpoint.address in hosts
        ]
        unchecked = [endpoint.address for found, endpoint, _host in seen if not found.checked]
        checks = dict(zip(unchecked, check_all(unchecked, self.health_url, self.validate_certs, self.timeout)))
        members = []
        for found, endpoint, host in seen:
            text, healthy = health(endpoint, host) if found.checked else checks[endpoint.address]
            members.append(
                Member(
                    pool=found.name,
                    name=endpoint.name,
                    address=endpoint.address,
                    state=host.state,
                    health=text,
                    healthy=healthy,
                    sessions=host.sessions,
                    weight=host.weight,
                    backup=host.priority > 0,
                )
            )
        return members

    def list_counters(self, pool: str) -> dict[str, Counters]:
        return {
            endpoint.name: hosts[endpoint.address].counters
            for _found, listed, hosts in self._settled(pool)
            for endpoint in listed
            if endpoint.address in hosts
        }

    def check_writable(self, pool: str) -> None:
        (found,) = self._pools(pool)
        check_replaceable(self.address, _real(found))

    def check_change(self, pool: str, name: str, state: str) -> None:
        super().check_change(pool, name, state)
        (found,) = self._pools(pool)
        if state != READY:
            self._check_panic(found, name, self._found(found, name).address, state)

    def set_state(self, pool: str, name: str, state: str) -> None:
        self.get_member(pool, name)
        self.check_writable(pool)
        (found,) = self._pools(pool)
        with locked(self.address, _real(found).parent, 2 * self.timeout):
            self._change(found, name, state)
        _await_workers(found)

    def _change(self, pool: Pool, name: str, state: str) -> None:
        """Write the state, and return once Envoy has it; else put back what was there."""
        path = _real(pool)
        before = self._read(pool)
        member = self._found(pool, name)
        if state != READY:
            self._check_panic(pool, name, member.address, state)
        written = with_state(before, pool.service, name, state, pool.checked)
        replace_text(path, written)
        deadline = time.monotonic() + self.timeout
        try:
            while True:
                host = self._hosts(pool).get(member.address)
                if host and host.state == state:
                    break
                if time.monotonic() >= deadline:
                    raise EverupError(
                        f"Balancer {self.address} has not loaded {path} within {self.timeout:g} s: member {name} of pool "
                        f"{pool.name} is {host.state if host else 'unknown'} there and not {state}. What was in the file stands "
                        f"there again. Look at Envoy's log, and whether it watches the folder of {path} ({pool.path} in its "
                        "configuration)."
                    )
                time.sleep(_LOOK_SECONDS)
        except BaseException:
            if read_text(path) == written:
                replace_text(path, before)
            raise

    def _found(self, pool: Pool, name: str) -> Endpoint:
        return self.pick(self._listed(pool), pool.name, name)

    def _check_panic(self, pool: Pool, name: str, address: str, state: str) -> None:
        """Raise when Envoy would go on sending requests to a member that is taken out."""
        hosts = self._hosts(pool)
        was = hosts.get(address)
        if was is None:
            return
        entries = self._ask("/runtime").get("entries", {})
        percent = pool.panic_percent
        if _PANIC_KEY in entries:
            percent = float(entries[_PANIC_KEY].get("final_value") or percent)
        others = [host for at, host in hosts.items() if at != address]
        if was.state != READY and panics([*others, was], was.priority, percent):
            return  # it cannot become worse, and from maint the way back to ready leads through drain
        if panics([*others, replace(was, state=state)], was.priority, percent):
            raise EverupError(
                f"Balancer {self.address} would send requests to all members of pool {pool.name}, {name} included: without it "
                f"less than {percent:g} % of them are available, which is Envoy's healthy_panic_threshold. Bring another member "
                "back first, or set healthy_panic_threshold to 0 in the cluster's common_lb_config."
            )

    def _settled(self, pool: str | None) -> list[tuple[Pool, list[Endpoint], dict[str, Host]]]:
        """Return each pool with its file's endpoints and Envoy's hosts by address, once Envoy works with the file.

        A file that Envoy does not load, such as one that was edited in place, is not waited for longer than a moment.
        """
        deadline = time.monotonic() + min(_SETTLE_SECONDS, self.timeout)
        while True:
            seen = [(found, self._listed(found)) for found in self._pools(pool)]
            for found, _listed in seen:
                _await_workers(found)
            clusters = self._clusters()
            seen = [(found, listed, clusters.get(found.name, {})) for found, listed in seen]
            loaded = all(
                endpoint.address in hosts and hosts[endpoint.address].state == endpoint.state
                for _found, listed, hosts in seen
                for endpoint in listed
            )
            if loaded or time.monotonic() >= deadline:
                return seen
            time.sleep(_LOOK_SECONDS)

    def _pools(self, name: str | None) -> list[Pool]:
        """Return one pool, or all that come from a file.

        Raises:
            EverupError: there is no such pool, or its members do not come from a file.
        """
        dump = self._ask("/config_dump")
        try:
            found = pools(dump)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._odd("/config_dump", error) from error
        if name is None:
            return [found[name] for name in sorted(found)]
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            raise EverupError(
                f"Balancer {self.address} has no pool {name} whose members come from a file (cluster of type EDS with a path): "
                f"such pools are: {known}."
            )
        return [found[name]]

    def _hosts(self, pool: Pool) -> dict[str, Host]:
        return self._clusters().get(pool.name, {})

    def _clusters(self) -> dict[str, dict[str, Host]]:
        answer = self._ask("/clusters?format=json")
        try:
            return clusters(answer)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._odd("/clusters", error) from error

    def _listed(self, pool: Pool) -> list[Endpoint]:
        text = self._read(pool)
        try:
            return endpoints(text, pool.service)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EverupError(
                f"Balancer {self.address}: {pool.path} with the members of pool {pool.name} cannot be read as JSON ({error}). "
                "This module edits JSON only. JSON is valid YAML: a YAML file can hold it under its name. To convert it once: "
                "python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout, indent=2)'"
            ) from error

    def _read(self, pool: Pool) -> str:
        try:
            return read_text(Path(pool.path))
        except OSError as error:
            raise EverupError(
                f"Balancer {self.address} takes the members of pool {pool.name} from {pool.path}, which cannot be read here: "
                f"{error.strerror or error}. Run this module on Envoy's host, as a user who may read it."
            ) from error

    def _ask(self, path: str) -> dict:
        answer = get_json(self._url + path, self.timeout, self.address, self.validate_certs)
        if not isinstance(answer, dict):
            raise self._odd(path, TypeError("not an object"))
        return answer

    def _odd(self, path: str, error: Exception) -> EverupError:
        return EverupError(
            f"Balancer {self.address} gave an answer to {path} that is not Envoy's ({type(error).__name__}: {error}). Is this "
            "the address of its admin interface?"
        )


def connect(params: dict) -> list[Balancer]:
    """Return one balancer an admin interface of the module's parameters; nothing is asked yet."""
    return [
        Envoy(address, params["connect_timeout"], params["health_url"], params["validate_certs"]) for address in params["address"]
    ]


def pools(dump: dict) -> dict[str, Pool]:
    """Return the clusters of a configuration dump whose endpoints come from a file, by name."""
    found = {}
    for config in dump["configs"]:
        for entry in [*config.get("static_clusters", []), *config.get("dynamic_active_clusters", [])]:
            cluster = entry["cluster"]
            eds = cluster.get("eds_cluster_config", {})
            source = eds.get("eds_config", {})
            path = source.get("path_config_source", {}).get("path") or source.get("path")
            if cluster.get("type") != "EDS" or not path:
                continue
            percent = cluster.get("common_lb_config", {}).get("healthy_panic_threshold")
            found[cluster["name"]] = Pool(
                name=cluster["name"],
                service=eds.get("service_name") or cluster["name"],
                path=path,
                checked=bool(cluster.get("health_checks")),
                panic_percent=_PANIC_PERCENT if percent is None else float(percent.get("value", 0)),
            )
    return found


def clusters(answer: dict) -> dict[str, dict[str, Host]]:
    """Return the hosts of each cluster by address. A host that is removed, and kept until its requests have ended, is none."""
    return {
        cluster["name"]: {
            address_of(status["address"]): _host(status)
            for status in cluster.get("host_statuses", [])
            if not status.get("health_status", {}).get("pending_dynamic_removal")
        }
        for cluster in answer["cluster_statuses"]
    }


def health(endpoint: Endpoint, host: Host) -> tuple[str, bool]:
    """Return what Envoy's health check says of a member, and whether it passes without reserve."""
    if not endpoint.checked:
        return ("not checked", False) if endpoint.held else UNCHECKED
    return (f"DOWN ({', '.join(host.flags)})", False) if host.flags else ("UP", True)


def panics(hosts: list[Host], priority: int, percent: float) -> bool:
    """Return whether Envoy would send requests of a priority to all its hosts, whatever their health.

    It does below that share of available hosts, unless the priorities together can take all requests. Hosts that drain, or were
    not checked yet, do not count.
    """
    available = {level: _available_percent([host for host in hosts if host.priority == level]) for level in _levels(hosts)}
    if sum(min(100.0, _OVERPROVISIONING * share) for share in available.values()) >= 100:
        return False
    return available[priority] < percent


def _levels(hosts: list[Host]) -> set[int]:
    return {host.priority for host in hosts}


def _available_percent(hosts: list[Host]) -> float:
    counted = [host for host in hosts if host.state != DRAIN and not _EXCLUDED.intersection(host.flags)]
    available = [host for host in counted if host.state != MAINT and not _UNAVAILABLE.intersection(host.flags)]
    return 100 * len(available) / len(counted) if counted else 0.0


def _host(status: dict) -> Host:
    said = status.get("health_status", {})
    stats = {stat["name"]: int(stat.get("value", 0)) for stat in status.get("stats", [])}
    return Host(
        state=state_of(said.get("eds_health_status", "UNKNOWN")),
        flags=tuple(flag for flag in _FLAGS if said.get(flag)),
        sessions=stats["rq_active"],
        weight=int(status.get("weight", 0)),
        priority=int(status.get("priority", 0)),
        counters=Counters(requests=stats.get("rq_success", 0) + stats.get("rq_error", 0), errors=stats.get("rq_error", 0)),
    )


def _real(pool: Pool) -> Path:
    return Path(os.path.realpath(pool.path))


def _await_workers(pool: Pool) -> None:
    """Wait until a file that was renamed just now can have come to the workers; they have no way to say that it has."""
    try:
        age = max(time.time() - _real(pool).stat().st_mtime, 0)
    except OSError:  # whoever reads it next says so
        return
    left = _WORKER_SECONDS - age
    if left > 0:
        time.sleep(left)
