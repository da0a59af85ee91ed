# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which address of a balancer may be told, and which is none."""

from __future__ import annotations

import re

from .._errors import EverupError
from .._redact import MASK

# What HTTP allows in a URL: anything else could end the request's first line.
URL_TEXT = re.compile(r"[!-~]+\Z")
_DIGITS = re.compile(r"[0-9]{1,5}\Z")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def told(address: str) -> str:
    """Return an address as it may be shown: without what stands before an ``@``, which may be a user and a password.

    All up to the last ``@`` is taken out, since a password may hold any character. A path keeps its own, which leads to Traefik's
    API in ``/etc/traefik/shop.yml@127.0.0.1:8080``.
    """
    head, rest = _parts(address)
    _user, at, tail = rest.rpartition("@")
    scheme = _SCHEME.match(rest)
    return f"{head}{scheme[0] if scheme else ''}{MASK}@{tail}" if at else address


def is_port(text: str) -> bool:
    """Return whether a text is the number of a port that something can listen on."""
    return bool(_DIGITS.match(text)) and 0 < int(text) < 65536


def check_address(address: str) -> None:
    """Raise EverupError when a balancer must not be named by an address, or no system has such a one."""
    if "\0" in address:
        raise EverupError("A balancer address holds a NUL character, which neither a path nor a URL may hold.")
    if told(address) != address:
        raise EverupError(
            f"The address of the balancer on {_parts(address)[1].rpartition('@')[2]} holds a user or a password: give them as "
            "url_username and url_password, where its provider takes them. An '@' of a URL's path is written as %40."
        )


def _parts(address: str) -> tuple[str, str]:
    """Return the path that an address begins with, its ``@`` included, and the rest; empty without a user and a password."""
    path, at, rest = address.partition("@") if address.startswith("/") else ("", "", address)
    # Without a scheme an '@' may be a name's own, as in a path, unless a user and a password stand before it.
    has_user = _SCHEME.match(rest) or ":" in rest.rpartition("@")[0]
    return (path + at, rest) if has_user else (address, "")
