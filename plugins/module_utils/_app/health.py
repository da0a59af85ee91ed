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
    """What one look saw: a status (of a command its exit code) and a body, or the error that kept it from both."""

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
        ask: makes one look that takes at most the given number of seconds.
        clock, sleep: of the host, in seconds.

    Returns:
        ``status`` (of a command ``rc``) and ``body`` of the last response, how long it took as ``latency`` (seconds), and
        ``polls`` and ``elapsed`` (seconds) of the whole wait. With a condition or a version also ``_streak``, the good
        responses in a row from earlier calls that still count, ``_window``, the digests of those of this call, and
        ``_bodies``, by digest, without a verdict yet: they count as good so far, and whoever can evaluate the condition has
        the last word.

    Raises:
        EverupError: the time was up; it says what was waited for and what was seen last.
    """
    check_options(params)
    progress = params.get("_progress") or {"spent": 0.0, "polls": 0, "streak": 0, "verdicts": {}}
    verdicts, streak, polls = progress["verdicts"], progress["streak"], progress["polls"]
    start = clock() - progress["spent"]
    deadline = start + params["timeout"]
    seen, latency = _last(progress), 0.0
    window: list[str] = []
    bodies: dict[str, str] = {}
    while True:
        began = clock()
        if began >= deadline:
            raise timed_out(params, seen, polls, began - start, latency=latency)
        limit = min(params["request_timeout"], deadline - began)
        response = ask(limit)
        now = clock()
        polls += 1
        # A request that only the end of the wait cut short says less than the one before it.
        if seen is None or response.error is None or limit == params["request_timeout"]:
            seen, latency = response, now - began
        digest = hashlib.sha256(response.body.encode("utf-8", "surrogatepass")).hexdigest()
        good = _is_good(params, response) and not is_late(params, now - began)
        if good and (not is_judged(params) or verdicts.get(digest, True)):
            window.append(digest)
            if is_judged(params) and digest not in verdicts:
                bodies[digest] = response.body
        else:
            streak, window = 0, []
        if streak + len(window) >= params["consecutive"]:
            found = {**_facts(params, response), "latency": round(now - began, 3)}
            found.update(polls=polls, elapsed=round(now - start, 3))
            if is_judged(params):
                kept = {digest: bodies[digest] for digest in window if digest in bodies}
                found.update(_streak=streak, _window=window, _bodies=kept)
            return found
        if began + params["interval"] >= deadline:
            # No further request would begin in time: say so now rather than sleep for nothing.
            rejected = seen is response and verdicts.get(digest) is False
            raise timed_out(params, seen, polls, now - start, rejected, latency)
        sleep(max(began + params["interval"] - now, 0))


def is_judged(params: dict) -> bool:
    """Return whether the control node has the last word on a body."""
    return bool(params["condition"] or params["version"])


def is_late(params: dict, seconds: float) -> bool:
    """Return whether a response took longer than is good."""
    return params["max_latency"] is not None and seconds > params["max_latency"]


def _is_good(params: dict, response: Response) -> bool:
    """Return whether a response is good as far as the host can tell, however long it took."""
    if response.error is not None:
        return False
    if params["url"]:
        return response.status in params["status"]
    return not params["command"] or response.status == 0


def _facts(params: dict, response: Optional[Response]) -> dict:
    """Return what a result says of a response."""
    status, body = (response.status, response.body) if response else (None, "")
    return {"rc" if params["command"] else "status": status, "body": shown(body)}


def timed_out(
    params: dict, response: Optional[Response], polls: int, elapsed: float, rejected: bool = False, latency: float = 0.0
) -> EverupError:
    """Return the error for a wait that has run out of time.

    Parameters:
        response: the last one, None if there was none.
        elapsed: seconds since the wait began.
        rejected: whether the condition or the version is known to be false of its body.
        latency: seconds that the last response took.
    """
    return EverupError(
        f"{subject(params)} was not healthy within {params['timeout']:g} s ({polls} {_noun(params)}s, "
        f"{elapsed:.1f} s): {wanted(params)} was waited for. {_last_words(params, response, rejected, latency)}",
        **({"url": without_password(params["url"])} if params["url"] else {}),
        **_facts(params, response),
        polls=polls,
        elapsed=round(elapsed, 3),
    )


def _noun(params: dict) -> str:
    return "request" if params["url"] else "run" if params["command"] else "connection"


def _last_words(params: dict, response: Optional[Response], rejected: bool, latency: float) -> str:
    """Return a sentence on the last response."""
    if response is None:
        return "There was no response at all."
    if response.error:
        trouble = "request got no response" if params["url"] else f"{_noun(params)} failed"
        return f"The last {trouble}: {response.error}."
    late = f"; it took {latency:.2f} s, and max_latency is {params['max_latency']:g} s" if is_late(params, latency) else ""
    if params["url"]:
        what = " and ".join(name for name in ("condition", "version") if params[name])
        last = f"The last response was status {response.status}{f', of which the {what} is not true' if rejected else ''}{late}"
        return last + (f", with the body: {shown(response.body)}" if response.body else ", without a body.")
    if params["command"]:
        said = f", and its output was: {shown(response.body)}" if response.body.strip() else ", without any output."
        return f"The last run ended with exit code {response.status}{late}{said}"
    return f"The last connection was made{late}."


def subject(params: dict) -> str:
    """Return what is looked at."""
    if params["command"]:
        return f"The command '{' '.join(params['command'])}'"
    return without_password(params["url"]) if params["url"] else params["tcp"]


def wanted(params: dict) -> str:
    """Return in words what is waited for."""
    if params["url"]:
        what = f"status {' or '.join(str(status) for status in params['status'])}"
        what += f" and {params['condition']}" if params["condition"] else ""
        what += f" and {params['version']} at {params['version_path']}" if params["version"] else ""
    else:
        what = "exit code 0" if params["command"] else "a connection"
    what += f" within {params['max_latency']:g} s" if params["max_latency"] is not None else ""
    return what + (f", {params['consecutive']} times in a row" if params["consecutive"] > 1 else "")


def shown(body: str) -> str:
    """Return as much of a body as an error shows."""
    return body if len(body) <= _SHOWN else f"{body[:_SHOWN]}... ({len(body)} characters)"


def without_password(url: str) -> str:
    """Return url without the user and password in it."""
    return _USERINFO.sub("", url)


def _last(progress: dict) -> Optional[Response]:
    last = progress.get("last")
    return Response(last["status"], last["body"]) if last else None


def check_options(params: dict) -> None:
    """Refuse options under which no wait can succeed.

    Raises:
        EverupError: names the option.
    """
    for name in ("interval", "timeout", "request_timeout", "consecutive", "max_latency"):
        if params[name] is not None and not params[name] > 0:
            raise EverupError(f"{name} is {params[name]:g}; it must be more than 0.")
    if not params["status"]:
        raise EverupError("status is an empty list, so no response would ever be good.")
    least = (params["consecutive"] - 1) * params["interval"]
    if least >= params["timeout"]:
        raise EverupError(
            f"{params['consecutive']} responses, one every {params['interval']:g} s, take at least {least:g} s, and "
            f"timeout is {params['timeout']:g} s."
        )
    if not params["url"]:
        given = [name for name in ("condition", "version") if params[name]]
        if given:
            raise EverupError(f"{' and '.join(given)} can only be asked of a url: neither a port nor a command has a JSON body.")
    elif not re.match(r"https?://[^/]", params["url"], re.IGNORECASE):
        raise EverupError(f"url {without_password(params['url'])!r} is no http:// or https:// address.")
