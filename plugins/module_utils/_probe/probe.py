# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module ``availability_probe`` does, from parameters to result."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from .._errors import EverupError
from .._moments import unix
from .journal import report
from .prober import Request, Target, ask
from .running import alone, journal, running, start_prober, stop_prober

MOST_REQUESTS = 2_000_000
_FIRST_TIMEOUT = 10.0
_SPARE_IN_FLIGHT = 8
_MOST_IN_FLIGHT = 512
_LONGEST_TIMEOUT = 3600.0
_HEADER = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,127}")


def shown(url: str) -> str:
    """Return a URL as anybody may see it: without user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def check_url(url: str) -> None:
    """Refuse what the probe cannot ask.

    Raises:
        EverupError: says what a URL must be.
    """
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0 and not parts.username
    except ValueError:
        is_good = False
    if not is_good or not url.isascii() or not url.isprintable() or " " in url:
        raise EverupError(
            f"'{shown(url) if '@' in url or '?' in url else url}' cannot be asked: write it as http://host:port/path or "
            "https://host/path, in ASCII, without user and password; those belong into a header."
        )


def plan(params: dict) -> dict:
    """Return the prober's settings.

    Raises:
        EverupError: a URL, a header, a rate or a time cannot be, or the whole would be too much.
    """
    write = params["write"]
    for url in [*params["urls"], *([write["url"]] if write else [])]:
        check_url(url)
    for name in ("rate", "timeout", "max_duration"):
        if not 0 < params[name] < math.inf:
            raise EverupError(f"{name} is {params[name]}: it must be more than 0.")
    if params["timeout"] > _LONGEST_TIMEOUT:
        raise EverupError(f"timeout is {params['timeout']:g} s: no user waits for longer than {_LONGEST_TIMEOUT:g} s.")
    if params["max_in_flight"] is not None and params["max_in_flight"] < 1:
        raise EverupError(f"max_in_flight is {params['max_in_flight']}: with less than 1 no request could ever be under way.")
    if write and not 0 < write["rate"] < math.inf:
        raise EverupError(f"write.rate is {write['rate']}: it must be more than 0.")
    rate = params["rate"] * len(params["urls"]) + (write["rate"] if write else 0)
    if rate * params["max_duration"] > MOST_REQUESTS:
        raise EverupError(
            f"{rate:g} requests a second for {params['max_duration']:g} s are more than the {MOST_REQUESTS:,} that one run may "
            "make: lower rate or max_duration, or ask fewer URLs."
        )
    headers = {**params["headers"], **params["secret_headers"]}
    targets = [_target(url, "GET", headers, "", params["rate"]) for url in params["urls"]]
    if write:
        targets.append(_target(write["url"], write["method"], {**headers, **write["headers"]}, write["body"], write["rate"]))
    for name, value in [pair for one in targets for pair in one["headers"].items()]:
        _check_header(name, value)
    told = {
        "targets": [one["shown"] for one in targets],
        "writes": 1 if write else 0,
        "rate": params["rate"],
        "write_rate": write["rate"] if write else None,
    }
    in_flight = math.ceil(rate * params["timeout"]) + _SPARE_IN_FLIGHT
    return {
        "targets": targets,
        "timeout": params["timeout"],
        "status": params["status"],
        "validate_certs": params["validate_certs"],
        "max_duration": params["max_duration"],
        "max_in_flight": min(params["max_in_flight"] or in_flight, _MOST_IN_FLIGHT),
        "settings": told,
    }


def _check_header(name: str, value: str) -> None:
    """Refuse what cannot be sent, which would count as downtime of the application; a value may be secret, and is not told."""
    try:
        is_good = bool(_HEADER.fullmatch(name)) and not re.search(r"[\r\n\0]", value)
        value.encode("latin-1")
    except UnicodeEncodeError:
        is_good = False
    if not is_good:
        raise EverupError(
            f"The header {name!r} cannot be sent: its name must be letters, digits and !#$%&'*+.^_`|~-, its value one line of "
            "Latin-1."
        )


def _target(url: str, method: str, headers: dict, body, rate: float) -> dict:
    plain = shown(url)
    return {
        "url": url,
        "shown": plain if method == "GET" else f"{method} {plain}",
        "method": method,
        "headers": {name: str(value) for name, value in headers.items()},
        "body": body or "",
        "rate": rate,
    }


def run_probe(params: dict, check_mode: bool) -> dict:
    """Carry out one state of the module.

    Returns:
        changed, running, run, silent_s (for how long one that runs has written nothing, None of any other), report (None where
        nothing was ever measured), unanswered (when started), warnings, diff.

    Raises:
        EverupError: an option cannot be meant, or the folder cannot be used.
    """
    if not _NAME.fullmatch(params["name"]):
        raise EverupError(f"name is '{params['name']}': it must be letters, digits and ._+-, as a name of a folder.")
    for window in params["during"]:
        for moment in (window.get("from"), window.get("to")):
            if moment:
                _check_moment(moment)
    folder = Path(params["folder"]).expanduser() / params["name"]
    try:
        return {"started": _started, "stopped": _stopped, "reported": _reported}[params["state"]](folder, params, check_mode)
    except OSError as error:
        raise EverupError(
            f"The folder {folder} cannot be used: {error.strerror or error}. Name another one as folder, or make room there."
        ) from None


def _check_moment(text: str) -> None:
    try:
        unix(text)
    except ValueError:
        raise EverupError(f"during has '{text}': write a time as the ledger does, 2026-11-20T10:00:00.000Z.") from None


def _started(folder: Path, params: dict, check_mode: bool) -> dict:
    if not params["urls"]:
        raise EverupError("urls is empty: say what to ask, through the balancer as users do.")
    settings = plan(params)
    if check_mode:
        found = running(folder)
        unanswered = [] if found else _first_answers(settings)
        return {**_described(folder, params, found, True, found), "unanswered": unanswered, "warnings": _told(unanswered)}
    with alone(folder):
        found = running(folder)
        if found is None:
            unanswered = _first_answers(settings)
            described = _described(folder, params, None, True, {"run": start_prober(folder, settings)})
            return {**described, "unanswered": unanswered, "warnings": _told(unanswered)}
    warnings = []
    if found["settings"] != settings["settings"]:
        asked = ", ".join(found["settings"]["targets"])
        warnings = [f"The probe that runs asks {asked}, and has been started with other settings: they hold until it is stopped."]
    return {**_described(folder, params, found, True, found), "unanswered": [], "warnings": warnings}


def _told(unanswered: list[dict]) -> list[str]:
    return [
        f"{one['url']} does not answer well before anything has begun ({one['reason']}): that counts as downtime."
        for one in unanswered
    ]


def _first_answers(settings: dict) -> list[dict]:
    """Ask each URL that is read once; return those that do not answer well."""
    unanswered = []
    for one in settings["targets"]:
        if one["method"] != "GET":
            continue
        timeout = min(settings["timeout"], _FIRST_TIMEOUT)
        why = ask(Target(one, settings["validate_certs"]), Request(0, 0.0, 0.0), timeout, settings["status"])
        if why:
            unanswered.append({"url": one["shown"], "reason": why})
    return unanswered


def _stopped(folder: Path, params: dict, check_mode: bool) -> dict:
    found = running(folder)
    if found is None or check_mode:
        return _described(folder, params, found, False, found)
    with alone(folder):
        stop_prober(folder, params["timeout"])
    return _described(folder, params, found, False, None)


def _reported(folder: Path, params: dict, check_mode: bool) -> dict:
    found = running(folder)
    return _described(folder, params, found, bool(found), found)


def _described(folder: Path, params: dict, before: dict | None, wanted: bool, now: dict | None) -> dict:
    """Return the result.

    Parameters:
        before, now: what running() said, and would say now.
        wanted: whether something runs in the end; in check mode it would.
    """
    kept = journal(folder) if params["state"] != "started" else None
    named = now or before or {}
    windows = [(window["from"], window.get("to")) for window in params["during"] if window.get("from")]
    return {
        "changed": bool(before) != wanted,
        "running": bool(now),
        "run": named.get("run") or (kept.run if kept else None),
        "silent_s": round(time.monotonic() - now["clock"] - kept.at, 1) if kept and now and "clock" in now else None,
        "report": report(kept, bool(now), windows, params["detail"]) if kept else None,
        "diff": {"before": {"running": bool(before)}, "after": {"running": wanted}},
    }
