# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes one HTTP request that ends in time, whatever the server does."""

from __future__ import annotations

import time
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import open_url

from .health import BODY_LIMIT, Response
from .probe import within

_CHUNK = 64 * 1024  # bytes


def request(url: str, headers: dict, validate_certs: bool, timeout: float) -> Response:
    """GET url and return what was seen within timeout seconds, which an error is as well.

    A socket time-out bounds each read only, and name resolution not at all, so the request runs in a thread of its own.
    """
    seen = within(timeout, lambda: _get(url, headers, validate_certs, timeout))
    return seen or Response(None, "", f"no complete response within {timeout:.3g} s")


def _get(url: str, headers: dict, validate_certs: bool, timeout: float) -> Response:
    deadline = time.monotonic() + timeout
    try:
        try:
            # A redirect is a status of its own: the page behind it says nothing of this application's health.
            answer = open_url(
                url,
                headers=headers,
                validate_certs=validate_certs,
                timeout=timeout,
                follow_redirects="none",
                use_proxy=False,
                force=True,
                http_agent="everup.deploy health_check",
            )
        except HTTPError as error:
            answer = error
        with answer:
            status = answer.code
            body = b""
            while len(body) < BODY_LIMIT:
                if time.monotonic() >= deadline:
                    return Response(None, "", f"status {status}, but no end of the body within {timeout:.3g} s")
                chunk = answer.read1(_CHUNK)  # no more than one read of the socket, which is bounded
                if not chunk:
                    if getattr(answer, "length", None):
                        return Response(None, "", f"status {status}, but the connection was closed within the body")
                    break
                body += chunk
        return Response(status, body[:BODY_LIMIT].decode("utf-8", "replace"))
    except URLError as error:
        return Response(None, "", _text(error.reason))
    except Exception as error:  # a server that is starting fails in every way a socket, TLS or HTTP can
        return Response(None, "", _text(error))


def _text(error) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)
