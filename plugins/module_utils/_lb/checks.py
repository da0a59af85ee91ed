# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks members for their health, for balancers that do not check it themselves.

Not by Ansible's open_url, which takes 80 ms of CPU for one request, most of it to read certificates that http needs not: a wait
looks at all members several times a second.
"""

from __future__ import annotations

import base64
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote, urlsplit

from .admin_http import connection_to, exchange

_AT_ONCE = 16
UNCHECKED = ("no check", True)


def check_all(addresses: list[str], url: str | None, validate_certs: bool, timeout: float) -> list[tuple[str, bool]]:
    """Return for each member what its check says, and whether it passes; ``no check`` without a URL.

    Parameters:
        addresses: ``host:port`` of each member.
        url: with ``{address}`` in it, such as ``http://{address}/health``.
        validate_certs: for https.
        timeout: seconds for one answer.
    """
    if not url:
        return [UNCHECKED] * len(addresses)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda address: _check(url.replace("{address}", address), validate_certs, timeout), addresses))


def _check(url: str, validate_certs: bool, timeout: float) -> tuple[str, bool]:
    headers = {"User-Agent": "everup.deploy", "Connection": "close"}
    try:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
        answer = exchange(connection_to(parts, timeout, validate_certs), timeout, "GET", path, None, headers)
    except ValueError as error:
        return f"DOWN ({error})", False
    if isinstance(answer, socket.timeout):
        return f"DOWN (no complete response within {timeout:g} s)", False
    if isinstance(answer, Exception):
        return f"DOWN ({getattr(answer, 'strerror', None) or answer or type(answer).__name__})", False
    return ("UP", True) if 200 <= answer.status < 400 else (f"DOWN (status {answer.status})", False)
