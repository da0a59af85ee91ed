# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which options of all balancers make no sense, said before any balancer is asked."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from .._errors import EverupError
from .addresses import URL_TEXT, told

MOST_SECONDS = 86400.0  # a day: nobody waits longer, and a socket takes no endless time
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


def check_seconds(name: str, seconds: float, none_is_good: bool = False) -> None:
    """Raise EverupError, naming the option, when it is negative, more than a day, or no number, and mostly when it is 0."""
    if not 0 <= seconds <= MOST_SECONDS or (not seconds and not none_is_good):
        least = "at least" if none_is_good else "more than"
        raise EverupError(f"{name} must be {least} 0 and at most {MOST_SECONDS:g} seconds, not {seconds:g}.")


def check_health_url(url: str | None) -> None:
    """Raise EverupError when a health_url is not the http or https URL of a member, with nothing but its address put in."""
    if not url:
        return
    shown = told(url)
    others = sorted(set(_PLACEHOLDER.findall(shown)) - {"{address}"})
    if others:
        raise EverupError(
            f"health_url {shown!r} holds {', '.join(others)}, but only {{address}} is put in, a member's host:port."
        )
    if not _is_url(url.replace("{address}", "192.0.2.1:80")):
        raise EverupError(
            f"health_url {shown!r} is not an http or https URL once a member's host:port is put in for {{address}}: write it as "
            "in http://{address}/health."
        )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port  # a port that is none is a ValueError
        if "[" in parts.netloc:  # Python before 3.11 takes anything between brackets
            ipaddress.IPv6Address((host or "").partition("%")[0])
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and bool(URL_TEXT.match(text))
