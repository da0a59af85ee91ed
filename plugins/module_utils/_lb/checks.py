# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks members for their health, for balancers that do not check it themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from .._app.http import request

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
    answer = request(url, {}, validate_certs, timeout)
    if answer.status is None:
        return f"DOWN ({answer.error})", False
    return ("UP", True) if 200 <= answer.status < 400 else (f"DOWN (status {answer.status})", False)
