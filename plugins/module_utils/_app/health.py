# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides when an application has been healthy often enough in a row, and says what was seen when it never was."""

from __future__ import annotations

import hashlib
import re
import time
from typing import Callable, NamedTuple, Optional

from .._errors import EverupError

BODY_LIMIT = 256 * 1024  # bytes of a body that are read and given to a condition
_SHOWN = 500  # characters of a body that an error shows
_USERINFO = re.compile(r"(?<=//)[^/?#\s]*@")


class Response(NamedTuple):
    """What one request saw: a status and a body, or the error that kept it from both."""

    status: Optional[int]
    body: str
    error: Optional[str] = None


def watch(
    params: dict,
    ask: Callable[[float], Response],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict:
    """Ask until enough good responses came in a row, and return how it went.

    Parameters:
        params: the options of health_check. ``_progress`` carries what earlier calls of the same wait found:
            ``spent`` (seconds), ``polls``, ``streak`` (good responses in a row so far) and ``verdicts``, whether
            the condition is true, by digest of a body.
        ask: makes one request that takes at most the given number of seconds.
        clock, sleep: of the host, in seconds.

    Returns:
        ``status`` and ``body`` of the last response, ``polls`` and ``elapsed`` (seconds) of the whole wait. With a
        condition also ``_streak``, the good responses in a row from earlier calls that still count, ``_window``, the
        digests of those of this call, and ``_bodies``, by digest, without a verdict yet: they count as good so far,
        and whoever can evaluate the condition has the last word.

    Raises:
        EverupError: the time was up; it says what was waited for and what was seen last.
    """
    _check(params)
    progress = params.get("_progress") or {"spent": 0.0, "polls": 0, "streak": 0, "verdicts": {}}
    verdicts, streak, polls = progress["verdicts"], progress["streak"], progress["polls"]
    start = clock() - progress["spent"]
    deadline = start + params["timeout"]
    seen = _last(progress)
    window: list[str] = []
    bodies: dict[str, str] = {}
    while True:
        began = clock()
        if began >= deadline:
            raise timed_out(params, seen, polls, began - start)
        limit = min(params["request_timeout"], deadline - began)
        response = ask(limit)
        polls += 1
        # A request that only the end of the wait cut short says less than the one before it.
        if seen is None or response.error is None or limit == params["request_timeout"]:
            seen = response
        digest = hashlib.sha256(response.body.encode("utf-8", "surrogatepass")).hexdigest()
        good = response.error is None and response.status in params["status"]
        if good and (not params["condition"] or verdicts.get(digest, True)):
            window.append(digest)
            if params["condition"] and digest not in verdicts:
                bodies[digest] = response.body
        else:
            streak, window = 0, []
        now = clock()
        if streak + len(window) >= params["consecutive"]:
            found = {"status": response.status, "body": shown(response.body), "polls": polls, "elapsed": round(now - start, 3)}
            if params["condition"]:
                kept = {digest: bodies[digest] for digest in window if digest in bodies}
                found.update(_streak=streak, _window=window, _bodies=kept)
            return found
        if began + params["interval"] >= deadline:
            # No further request would begin in time: say so now rather than sleep for nothing.
            raise timed_out(params, seen, polls, now - start, seen is response and verdicts.get(digest) is False)
        sleep(max(began + params["interval"] - now, 0))


def timed_out(params: dict, response: Optional[Response], polls: int, elapsed: float, rejected: bool = False) -> EverupError:
    """Return the error for a wait that has run out of time.

    Parameters:
        response: the last one, None if there was none.
        elapsed: seconds since the wait began.
        rejected: whether the condition is known to be false of its body.
    """
    if response is None:
        last = "There was no response at all."
    elif response.error:
        last = f"The last request got no response: {response.error}."
    else:
        last = f"The last response was status {response.status}{', of which the condition is not true' if rejected else ''}"
        last += f", with the body: {shown(response.body)}" if response.body else ", without a body."
    return EverupError(
        f"{without_password(params['url'])} was not healthy within {params['timeout']:g} s ({polls} requests, "
        f"{elapsed:.1f} s): {wanted(params)} was waited for. {last}",
        url=without_password(params["url"]),
        status=response.status if response else None,
        body=shown(response.body) if response else "",
        polls=polls,
        elapsed=round(elapsed, 3),
    )


def wanted(params: dict) -> str:
    """Return in words what is waited for."""
    statuses = " or ".join(str(status) for status in params["status"])
    condition = f" and {params['condition']}" if params["condition"] else ""
    times = f", {params['consecutive']} times in a row" if params["consecutive"] > 1 else ""
    return f"status {statuses}{condition}{times}"


def shown(body: str) -> str:
    """Return as much of a body as an error shows."""
    return body if len(body) <= _SHOWN else f"{body[:_SHOWN]}... ({len(body)} characters)"


def without_password(url: str) -> str:
    """Return url without the user and password in it."""
    return _USERINFO.sub("", url)


def _last(progress: dict) -> Optional[Response]:
    last = progress.get("last")
    return Response(last["status"], last["body"]) if last else None


def _check(params: dict) -> None:
    """Refuse options under which no wait can succeed."""
    for name in ("interval", "timeout", "request_timeout", "consecutive"):
        if not params[name] > 0:
            raise EverupError(f"{name} is {params[name]:g}; it must be more than 0.")
    if not params["status"]:
        raise EverupError("status is an empty list, so no response would ever be good.")
    least = (params["consecutive"] - 1) * params["interval"]
    if least >= params["timeout"]:
        raise EverupError(
            f"{params['consecutive']} responses, one every {params['interval']:g} s, take at least {least:g} s, and "
            f"timeout is {params['timeout']:g} s."
        )
    if not re.match(r"https?://[^/]", params["url"], re.IGNORECASE):
        raise EverupError(f"url {without_password(params['url'])!r} is no http:// or https:// address.")
