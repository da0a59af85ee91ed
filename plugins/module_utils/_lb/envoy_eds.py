# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the endpoints of an Envoy EDS file, and writes a member's state into one.

A member is an endpoint of the ClusterLoadAssignment of a pool's service. Its name is ``member`` below ``everup.deploy`` in the
endpoint's metadata, else the endpoint's hostname, else its address::

    {"endpoint": {"address": {"socket_address": {"address": "192.0.2.11", "port_value": 8080}}},
     "metadata": {"filter_metadata": {"everup.deploy": {"member": "web1"}}},
     "health_status": "DRAINING"}

Facts relied on: ``health_status`` and ``health_check_config.disable_active_health_check`` (config.endpoint.v3, Envoy's API);
protobuf's JSON takes a field by its own name and in lowerCamelCase, and an enumeration by name and by number.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Iterator

from .base import DRAIN, MAINT, READY

METADATA = "everup.deploy"
_NUMBERS = {0: "UNKNOWN", 1: "HEALTHY", 2: "UNHEALTHY", 3: "DRAINING", 4: "TIMEOUT", 5: "DEGRADED"}
_STATES = {"DRAINING": DRAIN, "UNHEALTHY": MAINT, "TIMEOUT": MAINT}
_WRITTEN = {DRAIN: "DRAINING", MAINT: "UNHEALTHY"}


@dataclass(frozen=True)
class Endpoint:
    """One member as the file has it.

    Attributes:
        name: see above.
        address: ``host:port``, or ``unix:path``.
        state: administrative state.
        checked: whether Envoy may check it, where it checks the pool.
        held: whether it is not checked only for as long as it is in ``maint``.
    """

    name: str
    address: str
    state: str
    checked: bool
    held: bool


def state_of(health_status) -> str:
    """Return the administrative state that a health status of EDS stands for."""
    return _STATES.get(_NUMBERS.get(health_status, health_status), READY)


def address_of(address: dict) -> str:
    """Return ``host:port`` or ``unix:path`` of an Envoy address, empty for one of another kind."""
    at = _get(address, "socket_address", None)
    if at:
        host = _get(at, "address", "")
        return f"{f'[{host}]' if ':' in host else host}:{_get(at, 'port_value', 0)}"
    pipe = _get(address, "pipe", None)
    return f"unix:{_get(pipe, 'path', '')}" if pipe else ""


def endpoints(text: str, service: str) -> list[Endpoint]:
    """Return the endpoints of a service in an EDS file; ValueError when the file is not JSON, or knows no such service."""
    return [_endpoint(entry) for entry in _entries(_parsed(text, service), service)]


def with_state(text: str, service: str, name: str, state: str, stop_checks: bool) -> str:
    """Return the file with a member's state.

    Parameters:
        stop_checks: whether a member in ``maint`` is not to be checked. What Envoy knew of its health is then forgotten, and it
            has to pass a check when it comes back.
    """
    document = _parsed(text, service)
    for entry in _entries(document, service):
        if _endpoint(entry).name == name:
            _set_state(entry, state, stop_checks)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _parsed(text: str, service: str) -> dict:
    document = json.loads(text)
    if not isinstance(document, dict) or not list(_assignments(document, service)):
        raise ValueError(f"it has no ClusterLoadAssignment of cluster_name {service}")
    return document


def _assignments(document: dict, service: str) -> Iterator[dict]:
    for resource in document.get("resources") or []:
        if isinstance(resource, dict) and _get(resource, "cluster_name", None) == service:
            yield resource


def _entries(document: dict, service: str) -> Iterator[dict]:
    """Return the ``LbEndpoint`` of each endpoint that has an address."""
    for assignment in _assignments(document, service):
        for locality in _get(assignment, "endpoints", []):
            for entry in _get(locality, "lb_endpoints", []):
                if address_of(_get(_get(entry, "endpoint", {}), "address", {})):
                    yield entry


def _endpoint(entry: dict) -> Endpoint:
    endpoint = _get(entry, "endpoint", {})
    address = address_of(_get(endpoint, "address", {}))
    ours = _ours(entry)
    check = _get(endpoint, "health_check_config", {})
    return Endpoint(
        name=_text(ours.get("member")) or _get(endpoint, "hostname", "") or address,
        address=address,
        state=state_of(_get(entry, "health_status", "UNKNOWN")),
        checked=not _get(check, "disable_active_health_check", False),
        held=bool(ours.get("check_held")),
    )


def _set_state(entry: dict, state: str, stop_checks: bool) -> None:
    was = _endpoint(entry)
    entry.pop(_key(entry, "health_status"), None)
    if state != READY:
        entry["health_status"] = _WRITTEN[state]
    hold = state == MAINT and stop_checks
    if hold and was.checked:
        _below(_below(entry, "endpoint"), "health_check_config")["disable_active_health_check"] = True
        _below(_below(_below(entry, "metadata"), "filter_metadata"), METADATA)["check_held"] = True
    elif was.held and not hold:
        _remove(entry, ["endpoint", "health_check_config", "disable_active_health_check"])
        _remove(entry, ["metadata", "filter_metadata", METADATA, "check_held"])


def _ours(entry: dict) -> dict:
    """Return what the endpoint's metadata say to this collection."""
    return _get(_get(entry, "metadata", {}), "filter_metadata", {}).get(METADATA, {})


def _text(value) -> str:
    """Return a name that may have been written as a number."""
    return "" if value is None else str(value)


def _below(fields: dict, name: str) -> dict:
    return fields.setdefault(_key(fields, name), {})


def _remove(fields: dict, path: list[str]) -> None:
    """Remove what stands at a path, and what is empty without it."""
    key = _key(fields, path[0])
    if len(path) > 1 and key in fields:
        _remove(fields[key], path[1:])
    if len(path) == 1 or not fields.get(key):
        fields.pop(key, None)


def _get(fields: dict, name: str, default):
    value = fields.get(_key(fields, name))
    return default if value is None else value


def _key(fields: dict, name: str) -> str:
    """Return by which of its two names a field is there, else its own."""
    camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
    return camel if camel in fields else name
