# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Chooses what is restored, purged or retired; asks nobody, changes nothing."""

from __future__ import annotations

from .._errors import EverupError
from .store import DROPPED, PURGED, RESTORED, Kept


def matching(rows: list[Kept], wanted: str | None, release: str | None) -> list[Kept]:
    """Return the rows that a request means, in their order.

    Parameters:
        rows: what is kept.
        wanted: an object's name with or without its schema, what it is kept as, or the number of its row; None for all.
        release: the release that dropped it; None for any.
    """
    of_release = [row for row in rows if release is None or row.release_version == release]
    return [row for row in of_release if wanted is None or wanted.strip().lower() in _names(row)]


def _names(row: Kept) -> set[str]:
    place = row.manifest.place
    parts = [part for part in (place.schema, place.name, place.column) if part]
    names = {".".join(parts[start:]) for start in range(len(parts) - (1 if place.column else 0))}
    return {name.lower() for name in (*names, row.object, row.kept_as, str(row.id))}


def to_restore(rows: list[Kept], wanted: str | None, release: str | None) -> list[Kept]:
    """Return what to bring back, the last that was dropped first; nothing where it has been brought back.

    Parameters:
        rows: all that is, or was, kept.

    Raises:
        EverupError: nothing is meant, nothing is kept of that name, nothing ever was of that release or all of it was purged, or
            several are kept.
    """
    if wanted is None and release is None:
        raise EverupError(
            "object or release_version is missing: what is to be restored? Say -e trash_object=NAME or "
            "-e release_version=VERSION; the playbook everup.deploy.trash and the module trash_info list what is kept."
        )
    kept = [row for row in rows if row.state == DROPPED]
    found = matching(kept, wanted, release)
    places = [row.object.lower() for row in found]
    twice = sorted({place for place in places if places.count(place) > 1})
    if twice or (wanted is not None and len(found) > 1):
        several = "; ".join(
            f"{row.id} is {row.object} of release {row.release_version}, dropped {row.dropped_at}" for row in found
        )
        raise EverupError(f"Several are kept by that name: {several}. Give the number of the one you mean as object.")
    if not found and wanted is not None and not _was(rows, wanted, release, RESTORED):
        raise EverupError(f"Nothing is kept by the name {wanted}{_of(release)}. Kept: {_listed(kept)}.")
    if wanted is None and all(row.release_version != release for row in rows):
        releases = ", ".join(dict.fromkeys(row.release_version or "no release" for row in kept)) or "none"
        raise EverupError(f"Release '{release}' has dropped nothing that was kept. Something is kept of: {releases}.")
    theirs = [row for row in rows if row.release_version == release]
    if wanted is None and all(row.state == PURGED for row in theirs):
        gone = ", ".join(f"{row.object} at {row.changed_at} by {row.changed_by}" for row in theirs)
        raise EverupError(f"All that release '{release}' has dropped was purged, and only a backup has it: {gone}.")
    return list(reversed(found))


def to_purge(rows: list[Kept], wanted: str | None, release: str | None, early: bool) -> list[Kept]:
    """Return what to drop for good, the last that was dropped first; nothing where it has been.

    Parameters:
        rows: all that is, or was, kept.

    Raises:
        EverupError: what is asked for by name is not kept, or not due yet; or all of it is to go early.
    """
    if early and wanted is None and release is None:
        raise EverupError(
            "early is true, and neither object nor release_version says what is to go before its time: say "
            "-e trash_object=NAME or -e release_version=VERSION. Nothing was purged."
        )
    kept = [row for row in rows if row.state == DROPPED]
    found = matching(kept, wanted, release)
    if wanted is not None and not found and not _was(rows, wanted, release, PURGED):
        raise EverupError(f"Nothing is kept by the name {wanted}{_of(release)}. Kept: {_listed(kept)}.")
    waiting = [row for row in found if not row.due and not early]
    if wanted is not None and waiting:
        until = "; ".join(f"{row.object} until {row.purge_after}" for row in waiting)
        raise EverupError(
            f"Not due yet: {until}. Nothing was purged. Wait, or purge it all the same with early=true (-e trash_early=true)."
        )
    return [row for row in reversed(found) if row not in waiting]


def _was(rows: list[Kept], wanted: str, release: str | None, state: str) -> bool:
    """Return whether the last that had this name has come to a state."""
    found = matching(rows, wanted, release)
    return bool(found) and found[-1].state == state


def _of(release: str | None) -> str:
    return f" from release {release}" if release else ""


def _listed(rows: list[Kept]) -> str:
    return ", ".join(f"{row.object} ({row.id})" for row in rows) or "nothing"


def old_versions(families: list[dict], uses: dict) -> list[dict]:
    """Return every version of a view, procedure or function that has a newer one beside it, with its last use.

    Parameters:
        families: objects in several versions, each with its versions from old to new.
        uses: how often, and when last, each routine ran, by schema and name, as far as the server counts.
    """
    found = []
    for family in families:
        newest = family["versions"][-1]["name"]
        for version in family["versions"][:-1]:
            use = uses.get((family["schema"], version["name"]), {})
            found.append(
                {
                    "schema": family["schema"],
                    "name": version["name"],
                    "kind": family["kind"],
                    "version": version["version"],
                    "newest": newest,
                    "uses": use.get("uses"),
                    "last_used": use.get("last_used_at") or ("not known" if use.get("uses") is None else _counted(use["uses"])),
                }
            )
    return found


def _counted(uses: int) -> str:
    return f"not known, {uses} calls since the server counts" if uses else "never since the server counts"


def to_retire(versions: list[dict], wanted: str | None) -> dict:
    """Return the old version that a request means.

    Parameters:
        versions: see old_versions().
        wanted: its name, with or without its schema.

    Raises:
        EverupError: there is none of that name, or it is the newest of its kind.
    """
    if not wanted:
        raise EverupError(
            "object is missing: which old version is to be retired? The module trash_info lists them as old_versions."
        )
    name = wanted.strip().lower()
    found = [one for one in versions if name in (one["name"].lower(), f"{one['schema']}.{one['name']}".lower())]
    if len(found) != 1:
        known = ", ".join(f"{one['schema']}.{one['name']}".lstrip(".") for one in versions) or "none"
        why = "Several have that name, give its schema" if found else "It is not there, or nothing newer is beside it"
        raise EverupError(f"{wanted} cannot be retired. {why}. Old versions: {known}.")
    return found[0]
