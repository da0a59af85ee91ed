# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which balancers there are: the one place that maps a provider's name to its code.

The imports are written out because Ansible ships to a target only the files it sees imported.
"""

from __future__ import annotations

from . import caddy, envoy, haproxy, health_flag, httpd, nginx, traefik
from .base import Balancer

# A provider is a module with OPTIONS (of its own, beside COMMON), REQUIRED (names among both) and connect(params).
PROVIDERS = {
    "caddy": caddy,
    "envoy": envoy,
    "haproxy": haproxy,
    "health_flag": health_flag,
    "httpd": httpd,
    "nginx": nginx,
    "traefik": traefik,
}
COMMON = {
    "address": {"type": "list", "elements": "str"},
    "connect_timeout": {"type": "float", "default": 5.0},
    "health_url": {"type": "str"},
    "validate_certs": {"type": "bool", "default": True},
}


def argument_spec(**own) -> dict:
    """Return the argument spec of a balancer module: ``provider``, the options of all and of each, and the module's own."""
    spec = {"provider": {"type": "str", "choices": list(PROVIDERS), "default": "haproxy"}, **COMMON}
    for provider in PROVIDERS.values():
        spec.update(provider.OPTIONS)
    spec.update(own)
    return spec


def required_if() -> list:
    """Return what each provider requires, as AnsibleModule's ``required_if``."""
    return [("provider", name, list(provider.REQUIRED)) for name, provider in PROVIDERS.items()]


def connect(params: dict) -> list[Balancer]:
    """Return the balancers that the module's parameters name; EverupError when an address makes no sense."""
    return PROVIDERS[params["provider"]].connect(params)
