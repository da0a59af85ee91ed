# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The release's state machine: which state may follow which, decided from the ledger's row alone."""

from __future__ import annotations

from .._errors import EverupError
from .versions import compare

# How far a release has come for good; 'reached' in the ledger is one of these.
MILESTONES = ("open", "expanded", "rolled", "contracted")
FINAL = ("contracted", "rolled_back", "aborted")
_GIVEN_UP = ("rolled_back", "aborted")
# Nothing else may be opened while a release is in one of these.
UNFINISHED = ("open", "expanding", "expanded", "rolling", "rolling_back", "failed")

# Target state: the states it may follow, and the milestones from which a failed release may go there.
_RULES = {
    "expanding": (("open", "expanding", "expanded"), ("open", "expanded")),
    "expanded": (("expanding",), ()),
    "rolling": (("expanded", "rolling", "rolled"), ("expanded", "rolled")),
    "rolled": (("rolling",), ()),
    "contracting": (("rolled", "contracting"), ("rolled",)),
    "contracted": (("contracting",), ()),
    "rolling_back": (("open", "expanding", "expanded", "rolling", "rolled", "rolling_back"), ("open", "expanded", "rolled")),
    "rolled_back": (("rolling_back",), ()),
    "aborted": (("open", "expanding", "expanded"), ("open", "expanded")),
    "failed": (("open", "expanding", "rolling", "contracting", "rolling_back"), ()),
}
STATES = tuple(_RULES)

_NEXT_STEP = {
    "open": "run everup.deploy.expand",
    "expanding": "run everup.deploy.expand again",
    "expanded": "run everup.deploy.rollout",
    "rolling": "run everup.deploy.rollout again, or everup.deploy.rollback",
    "rolled": "run everup.deploy.contract after the soak, or everup.deploy.rollback",
    "contracting": "run everup.deploy.contract again",
    "contracted": "nothing is left to do",
    "rolling_back": "run everup.deploy.rollback again",
    "rolled_back": "release another version, or this one again",
    "aborted": "release another version, or this one again",
}
_AFTER_FAILURE = {
    "open": "run everup.deploy.expand again, or abort it",
    "expanded": "run everup.deploy.rollout again, everup.deploy.rollback, or everup.deploy.abort where no host was touched",
    "rolled": "run everup.deploy.contract again",
}


def next_step(state: str, reached: str) -> str:
    """Return what a person does next with a release."""
    return _AFTER_FAILURE.get(reached, "look at the events") if state == "failed" else _NEXT_STEP[state]


def reached_after(state: str, reached: str) -> str:
    """Return the milestone once a release is in a state; only rolling again, in either direction, takes 'rolled' back."""
    if state in ("rolling", "rolling_back") and reached == "rolled":
        return "expanded"
    if state in MILESTONES and MILESTONES.index(state) > MILESTONES.index(reached):
        return state
    return reached


def check_transition(version: str, state: str, reached: str, to: str, contract_started: bool, touched: list[str]) -> None:
    """Refuse a transition that the rules do not allow.

    Parameters:
        version: the release's, for the sentence.
        state, reached: the release's now.
        to: the state asked for.
        contract_started: whether a contract script of this release may have run.
        touched: hosts that this release has already upgraded or begun to.

    Raises:
        EverupError: says the state, why not, and what is possible.
    """
    states, milestones = _RULES[to]
    if to in ("rolling_back", "aborted") and contract_started:
        raise EverupError(
            f"Release {version} cannot go back: its contract has started, and what only the old version used may be gone. "
            "Fix it by releasing a newer version.",
            state=state,
        )
    if to == "aborted" and touched:
        raise EverupError(
            f"Release {version} cannot be aborted: {', '.join(touched)} may already run it. Run everup.deploy.rollback instead.",
            state=state,
        )
    if state in states or (state == "failed" and reached in milestones):
        return
    raise EverupError(
        f"Release {version} is '{state}' and cannot become '{to}': {next_step(state, reached)}.", state=state, reached=reached
    )


def check_open(version: str, releases: list[dict], existing: bool = False, older_reason: str = "") -> dict | None:
    """Return the release to go on with, or None when a new one is to be opened.

    Parameters:
        version: the version to release.
        releases: every release in the ledger, oldest first, as dicts with version, state, reached, opened_at and
            contracting_at.
        existing: only go on with a release that is there; one that was given up is returned as it is.
        older_reason: why a version may be opened that is older than one whose contract has started.

    Raises:
        EverupError: another release is not finished, a later one has taken this one's place, or the version is too old.
    """
    same = [release for release in releases if release["version"] == version]
    if existing and not same:
        known = ", ".join(f"{release['version']} ({release['state']})" for release in releases) or "none"
        raise EverupError(f"There is no release {version} in the ledger; there are: {known}. Check release_version.")
    for release in releases:
        if release["version"] != version and release["state"] in UNFINISHED and release["reached"] != "rolled":
            raise EverupError(
                f"Release {version} cannot be opened: release {release['version']} is '{release['state']}' since it was opened "
                f"at {release['opened_at']}. End that one first: {next_step(release['state'], release['reached'])}. To give it "
                "up, run everup.deploy.rollback for it if a host runs it, everup.deploy.abort if none does.",
                unfinished=release["version"],
                state=release["state"],
            )
    if existing and same[-1]["state"] in _GIVEN_UP:
        return same[-1]
    if not same:
        _check_not_older(version, releases, older_reason)
        return None
    goes_on = same[-1]["state"] not in _GIVEN_UP
    later = [release for release in releases[releases.index(same[-1]) + 1 :] if release["state"] not in _GIVEN_UP]
    blocking = later if goes_on else [release for release in later if release["contracting_at"]]
    if blocking:
        newest = blocking[-1]
        raise EverupError(
            f"Release {version} cannot be opened again: release {newest['version']}, opened at {newest['opened_at']}, has taken "
            f"its place and is '{newest['state']}'. "
            + (
                "Its contract has started, and what only the old version used may be gone: release a newer version."
                if newest["contracting_at"]
                else f"To go back, run everup.deploy.rollback for {newest['version']}."
            ),
            later=newest["version"],
            state=newest["state"],
        )
    if goes_on:
        return same[-1]
    _check_not_older(version, releases, older_reason)
    return None


def _check_not_older(version: str, releases: list[dict], older_reason: str) -> None:
    """Refuse a new release whose version's numbers say that it was made before a contract that has started."""
    newer = [release for release in releases if release["contracting_at"] and compare(version, release["version"]) == -1]
    if newer and not older_reason:
        newest = newer[-1]
        raise EverupError(
            f"Release {version} cannot be opened: it is older than {newest['version']}, whose contract has started at "
            f"{newest['contracting_at']}, and what only older versions used may be gone. Release a newer version. If {version} "
            "is made for the database as it is now, say why: -e release_older_reason='...'.",
            later=newest["version"],
            state=newest["state"],
        )


def hosts_not_ready(members: dict, hosts: list[str], version: str) -> dict:
    """Return host: reason for each host that the ledger does not know as ready at a version.

    Parameters:
        members: ledger rows by host.
        hosts: the hosts that must be ready.
        version: the release's version.
    """
    reasons = {}
    for host in hosts:
        row = members.get(host)
        if row is None:
            reasons[host] = "was not touched"
        elif row["state"] != "ready" or row["version_after"] != version:
            reasons[host] = f"is '{row['state']}'" + (f": {row['reason']}" if row["reason"] else "")
    return reasons


def hosts_not_back(members: dict) -> dict:
    """Return host: reason for each host of a release that is neither untouched nor rolled back."""
    return {
        host: f"is '{row['state']}'" + (f": {row['reason']}" if row["reason"] else "")
        for host, row in members.items()
        if row["state"] != "rolled_back"
    }
