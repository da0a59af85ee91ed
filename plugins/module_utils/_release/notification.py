# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a webhook is told of a release, in the form that its receiver reads."""

from __future__ import annotations

from .._errors import EverupError
from .states import next_step

_UNDER_WAY = ("open", "expanding", "rolling", "contracting", "rolling_back")


def notification(release: dict, form: str = "json", error: str = "", is_recorded: bool = True) -> dict:
    """Return the body of a webhook that tells in which state a release is.

    A run can end with an error and leave the release as it was, such as a contract that is refused: then both are told.

    Parameters:
        release: its row in the ledger, as the module ``release`` returns it.
        form: ``json`` (version, state, since, reason, opened_by, next_step, text), ``slack`` (an incoming webhook's ``text``)
            or ``teams`` (an adaptive card, as a workflow of Teams takes it).
        error: why the run ended with an error, empty where it did not.
        is_recorded: whether the ledger has the error; else the row is that of before the run, and says nothing of its state now.

    Raises:
        EverupError: there is no such form.
    """
    if form not in _FORMS:
        raise EverupError(f"A webhook's format is '{form}': it must be one of {', '.join(_FORMS)}.")
    if error and not is_recorded:
        return _FORMS[form]({**release, "reason": error, "unrecorded": True})
    return _FORMS[form](release if release["state"] == "failed" or not error else {**release, "reason": error, "stays": True})


def _title(release: dict) -> str:
    state = release["state"].replace("_", " ")
    if release.get("unrecorded"):
        return f"A run for release {release['version']} ended with an error that the ledger does not have; it was {state} before"
    if release.get("stays"):
        return f"A run for release {release['version']} ended with an error, it is {state} as before"
    return f"Release {release['version']} is {state}"


def _next(release: dict) -> str:
    """Return what comes next: the run that has just begun to change something goes on by itself."""
    is_under_way = release["state"] in _UNDER_WAY and not (release.get("stays") or release.get("unrecorded"))
    return "this run goes on" if is_under_way else next_step(release["state"], release["reached"])


def _json(release: dict) -> dict:
    return {
        "version": release["version"],
        "state": release["state"],
        "since": release.get(f"{release['state']}_at") or release.get("opened_at"),
        "reason": release.get("reason"),
        "opened_by": release.get("opened_by"),
        "next_step": _next(release),
        "text": _title(release),
    }


def _slack(release: dict) -> dict:
    lines = [f"*{_title(release)}*", *([release["reason"]] if release.get("reason") else []), f"Next: {_next(release)}"]
    text = "\n".join(lines)
    # The three characters that Slack's text reads as control characters.
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def _teams(release: dict) -> dict:
    facts = {"Why": release.get("reason"), "Opened by": release.get("opened_by"), "Next": _next(release)}
    body = [
        {"type": "TextBlock", "text": _title(release), "weight": "Bolder", "size": "Medium", "wrap": True},
        {"type": "FactSet", "facts": [{"title": title, "value": value} for title, value in facts.items() if value]},
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    return {"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}]}


_FORMS = {"json": _json, "slack": _slack, "teams": _teams}
