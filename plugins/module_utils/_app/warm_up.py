# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks an application for some pages before it gets traffic, so that its caches and pools are filled."""

from __future__ import annotations

import time
from typing import Callable, Optional
from urllib.parse import urljoin, urlsplit

from .._errors import EverupError
from .health import Response, without_password


def targets(pages: list[str], url: Optional[str]) -> list[tuple[str, bool]]:
    """Return the address of each page, and whether it is of the same scheme, host and port as url.

    Parameters:
        pages: paths that are seen from url, or whole addresses.

    Raises:
        EverupError: a path without a url, or what is no ``http://`` or ``https://`` address.
    """
    found = []
    for page in pages:
        address = urljoin(url, page) if url else page
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            hint = "" if url else ", since without url a path is seen from nowhere"
            raise EverupError(f"warm_up has {without_password(page)!r}; it must be an http:// or https:// address{hint}.")
        found.append((address, bool(url) and urlsplit(url)[:2] == parts[:2]))
    return found


def warm_up(
    pages: list[tuple[str, bool]],
    params: dict,
    ask: Callable[[str, bool, float], Response],
    clock: Callable[[], float] = time.monotonic,
) -> dict:
    """Ask for every page ``warm_up_count`` times, round by round, until that is done or ``warm_up_timeout`` is up.

    Parameters:
        pages: as targets() returns them.
        ask: makes one request of at most the given number of seconds; the flag is that of targets().
        clock: in seconds.

    Returns:
        ``requests`` made, ``errors`` among them (no response, or a status from 400), ``last_error`` as a sentence, ``skipped``
        for want of time, and ``elapsed`` seconds. Nothing is judged.
    """
    start = clock()
    errors, last_error, made = 0, "", 0
    rounds = [page for _round in range(params["warm_up_count"]) for page in pages]
    for address, same_origin in rounds:
        left = start + params["warm_up_timeout"] - clock()
        if left <= 0:
            break
        response = ask(address, same_origin, min(params["request_timeout"], left))
        made += 1
        if response.error is not None or response.status >= 400:
            errors += 1
            last_error = f"{without_password(address)}: {response.error or f'status {response.status}'}"
    return {
        "requests": made,
        "errors": errors,
        "last_error": last_error,
        "skipped": len(rounds) - made,
        "elapsed": round(clock() - start, 3),
    }


def untouched(pages: list[tuple[str, bool]], params: dict) -> dict:
    """Return what warm_up() does, in check mode, where it asks for no page."""
    return {"requests": 0, "errors": 0, "last_error": "", "skipped": len(pages) * params["warm_up_count"], "elapsed": 0.0}


def warnings(outcome: dict) -> list[str]:
    """Return what a person should know of a warm-up, nothing when all went well."""
    said = []
    if outcome["errors"]:
        said.append(f"{outcome['errors']} of {outcome['requests']} warm-up requests failed, the last {outcome['last_error']}.")
    if outcome["skipped"]:
        said.append(f"{outcome['skipped']} warm-up requests were not made, because the time for warming up was over.")
    return said
