# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which balancers there are: the one place that maps a provider's name to its options and its code."""

from __future__ import annotations

from typing import NamedTuple

from .._errors import EverupError
from .addresses import check_address
from .base import Balancer
from .options import check_health_url, check_seconds


class Provider(NamedTuple):
    """What a provider takes.

    Parameters:
        options: of its own, beside COMMON.
        required: names among both.
    """

    options: dict
    required: tuple = ("address",)


_HTTP = {"url_username": {"type": "str"}, "url_password": {"type": "str", "no_log": True}}
_FLAG = {"listen": {"type": "str"}, "notice_seconds": {"type": "float", "default": 30.0}}
PROVIDERS = {
    "caddy": Provider(_HTTP),
    "envoy": Provider({}),
    "haproxy": Provider({}),
    "health_flag": Provider(_FLAG, ("address", "listen")),
    "httpd": Provider(_HTTP),
    "nginx": Provider({"nginx_program": {"type": "path", "default": "nginx"}}),
    "traefik": Provider({}),
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
        spec.update(provider.options)
    spec.update(own)
    return spec


def required_if() -> list:
    """Return what each provider requires, as AnsibleModule's ``required_if``."""
    return [("provider", name, list(provider.required)) for name, provider in PROVIDERS.items()]


def connect(params: dict) -> list[Balancer]:
    """Return the balancers that the module's parameters name; EverupError when an option makes no sense."""
    addresses = list(dict.fromkeys(params["address"]))
    if not addresses:
        raise EverupError("The list of balancer addresses is empty.")
    for address in addresses:
        check_address(address)
    check_seconds("connect_timeout", params["connect_timeout"])
    check_health_url(params["health_url"])
    return _code(params["provider"]).connect({**params, "address": addresses})


def _code(name: str):
    """Return the module with the connect() of one of PROVIDERS.

    No other balancer's code is imported: Ansible packs a module anew for each start, and all that it imports is compiled again.
    """
    if name == "caddy":
        from . import caddy as found
    elif name == "envoy":
        from . import envoy as found
    elif name == "health_flag":
        from . import health_flag as found
    elif name == "httpd":
        from . import httpd as found
    elif name == "nginx":
        from . import nginx as found
    elif name == "traefik":
        from . import traefik as found
    else:
        from . import haproxy as found
    return found
