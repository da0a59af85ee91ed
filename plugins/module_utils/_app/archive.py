# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps the releases of an application in versioned folders and switches between them atomically.

Layout below ``dest``::

    current -> releases/2.4.0     what the service runs; replaced by rename(2), so it is never missing
    previous -> releases/2.3.0    what it ran before
    releases/2.4.0/               complete, because it got its name by rename(2) after everything was in it
    releases/.staging-2.5.0/      half unpacked, or what a kill left of it
    releases/.removing-2.1.0/     half removed, or what a kill left of it
    .everup.lock                  flock(2): one run at a time
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import BinaryIO, NamedTuple, Optional

from .._errors import EverupError
from .locking import locked

MARKER = ".everup_release.json"
LOCK = ".everup.lock"
_STAGING, _REMOVING = ".staging-", ".removing-"
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~-]{0,127}", re.ASCII)
_CHECKSUM = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})", re.ASCII)
_CHUNK = 1 << 20  # bytes


class Release(NamedTuple):
    """A complete release: its version, when it was unpacked (seconds since 1970) and its archive's checksum, if known."""

    version: str
    unpacked: float
    checksum: str


def look(dest: str) -> dict:
    """Return ``version`` and ``previous`` (or None) and ``releases``, the complete ones, newest first.

    Raises:
        EverupError: dest is no absolute path.
    """
    root = _root(dest)
    return {
        "version": _pointed_at(root, "current"),
        "previous": _pointed_at(root, "previous"),
        "releases": [release.version for release in _releases(root)],
    }


def stage(dest: str, version: str, src: Optional[str], checksum: Optional[str], check_mode: bool = False) -> bool:
    """Unpack a release unless it is there already, and return whether it had to be.

    Raises:
        EverupError: no or another archive for this version, or one that is refused.
    """
    root, wanted = _root(dest), _sha256(checksum)
    _check_version(version)
    known = {release.version: release for release in _releases(root)}.get(version)
    if known:
        _check_same(known, src, wanted)
        return False
    folder = root / "releases" / version
    if os.path.lexists(folder):
        raise EverupError(
            f"{folder} is there but was not unpacked by app_archive, so nobody knows if it is complete. "
            "Move it away or choose another version."
        )
    if not src:
        raise EverupError(f"Release {version} is not unpacked below {root}: src is needed, the path of its archive.")
    if check_mode and not Path(src).exists():
        return True  # the task that copies it did not run either
    try:
        with Path(src).open("rb") as source:
            digest = _digest(source)
            if wanted and digest != wanted:
                raise EverupError(f"Archive {src} has the SHA-256 checksum {digest}, and {wanted} is wanted.")
            if check_mode:
                _unpack(source, src, None)
            else:
                _unpack_release(source, src, folder, digest)
    except OSError as error:
        raise EverupError(f"Cannot unpack {src} to {folder}: {_reason(error)}.") from error
    return True


def switch(dest: str, version: str) -> None:
    """Point ``previous`` at the release that is current, then ``current`` at version, each by one rename.

    A kill in between leaves the old release current and named by both; the next run goes on from there.
    """
    root = _root(dest)
    before = _link_of(root, "current")
    if before:
        _point(root, "previous", before)
    _point(root, "current", f"releases/{version}")


def surplus(releases: list[Release], keep: int, protected: set[str]) -> list[str]:
    """Return the versions to remove so that keep are left, newest and protected ones first.

    Parameters:
        releases: newest first.
        keep: how many to leave; more are left when more are protected.
        protected: versions never to remove.
    """
    ours = [release for release in releases if release.checksum]  # what another tool has put there stays
    room = keep - len([release for release in ours if release.version in protected])
    rest = [release.version for release in ours if release.version not in protected]
    return rest[max(room, 0) :]


def ensure(params: dict, check_mode: bool) -> dict:
    """Bring ``dest`` to what the parameters of app_archive ask for and return the module's result.

    Raises:
        EverupError: see stage(); or the lock was not to be had in time.
    """
    root = _root(params["dest"])
    if params["keep"] < 1:
        raise EverupError(f"keep is {params['keep']}; at least one release has to be kept.")
    _check_version(params["version"])
    if check_mode:
        return _ensure(root, params, True)
    # The service reads the release as another user, so the umask of whoever deploys must not matter.
    umask = os.umask(0o022)
    try:
        (root / "releases").mkdir(parents=True, exist_ok=True)
        with locked(root / LOCK, params["lock_timeout"]):
            return _ensure(root, params, False)
    except OSError as error:
        raise EverupError(f"Cannot change {root}: {_reason(error)}.") from error
    finally:
        os.umask(umask)


def _ensure(root: Path, params: dict, check_mode: bool) -> dict:
    dest, version = str(root), params["version"]
    before = look(dest)
    leftovers = _leftovers(root)
    if not check_mode:
        for leftover in leftovers:
            _delete(leftover)
    staged = stage(dest, version, params["src"], params["checksum"], check_mode)
    target = root / "releases" / version
    switched = params["state"] == "current" and not _leads_to(root, target)
    releases = _releases(root)
    if check_mode and staged:
        releases.insert(0, Release(version, time.time(), "known once it is unpacked"))
    removed: list[str] = []
    if params["state"] == "current":
        if switched and not check_mode:
            switch(dest, version)
        spared = {version, before["version"] if switched else before["previous"]}
        removed = surplus(releases, params["keep"], {name for name in spared if name})
    if not check_mode:
        for name in removed:
            _remove_release(root, name)
    after = {
        "version": version if params["state"] == "current" else before["version"],
        "releases": [release.version for release in releases if release.version not in removed],
    }
    return {
        "changed": bool(staged or switched or removed or leftovers),
        "version_before": before["version"],
        "version": after["version"],
        "release_path": str(target),
        "releases": after["releases"],
        "staged": staged,
        "removed": removed,
        "cleaned": [leftover.name for leftover in leftovers],
        "diff": {
            "before_header": dest,
            "after_header": dest,
            "before": _described(before["version"], before["releases"]),
            "after": _described(after["version"], after["releases"]),
        },
    }


def _described(version: Optional[str], releases: list[str]) -> str:
    lines = [f"current: {version or 'none'}", "releases:", *(f"  - {name}" for name in sorted(releases))]
    return "\n".join(lines) + "\n"


def _root(dest: str) -> Path:
    root = Path(dest)
    if not root.is_absolute():
        raise EverupError(f"dest must be an absolute path, not {dest!r}.")
    return root


def _check_version(version: str) -> None:
    """A version is one plain folder name."""
    if not _VERSION.fullmatch(version) or ".." in version:
        raise EverupError(
            f"Version {version!r} cannot name a release: it must begin with a letter, a digit or '_', go on with "
            "these and '.', '+', '~' and '-', contain no '..' and have at most 128 characters."
        )


def _sha256(checksum: Optional[str]) -> Optional[str]:
    if not checksum:
        return None
    match = _CHECKSUM.fullmatch(checksum)
    if not match:
        raise EverupError(f"checksum {checksum!r} is no SHA-256 checksum: 64 hexadecimal digits are wanted.")
    return match.group(1).lower()


def _digest(source: BinaryIO) -> str:
    """Return the SHA-256 checksum of a file from its beginning, and go back there."""
    digest = hashlib.sha256()
    for chunk in iter(lambda: source.read(_CHUNK), b""):
        digest.update(chunk)
    source.seek(0)
    return digest.hexdigest()


def _check_same(known: Release, src: Optional[str], wanted: Optional[str]) -> None:
    """A version never changes its content: refuse another archive for a release that is there."""
    offered = wanted
    if not offered and src and Path(src).is_file():
        with Path(src).open("rb") as source:
            offered = _digest(source)
    if offered and known.checksum and offered != known.checksum:
        raise EverupError(
            f"Release {known.version} is already unpacked, from an archive with the SHA-256 checksum "
            f"{known.checksum}, and now {offered} is wanted. Give the new build a version of its own."
        )


def _releases(root: Path) -> list[Release]:
    """Return the complete releases, newest first.

    One that ``current`` or ``previous`` points at is complete whoever has put it there, since it serves or has served: so a host
    that another tool has deployed can be taken back to the version it had.
    """
    found = []
    folder = root / "releases"
    linked = {_pointed_at(root, "current"), _pointed_at(root, "previous")}
    for place in folder.iterdir() if folder.is_dir() else []:
        try:
            marker = json.loads((place / MARKER).read_text(encoding="utf-8"))
            release = Release(marker["version"], float(marker["unpacked"]), str(marker["checksum"]))
        except (OSError, ValueError, TypeError, KeyError):
            if place.name not in linked:
                continue  # not one of ours
            release = Release(place.name, place.stat().st_mtime, "")
        if release.version == place.name and not place.name.startswith("."):
            found.append(release)
    return sorted(found, key=lambda release: (release.unpacked, release.version), reverse=True)


def _link_of(root: Path, name: str) -> Optional[str]:
    link = root / name
    if link.is_symlink():
        return str(link.readlink())
    if link.exists():
        raise EverupError(f"{link} is there and is no symbolic link. Move it away, then run again.")
    return None


def _pointed_at(root: Path, name: str) -> Optional[str]:
    """Return the version a link points at, None when nothing is there."""
    target = _link_of(root, name)
    return Path(target).name if target and (root / target).is_dir() else None


def _leads_to(root: Path, target: Path) -> bool:
    link = _link_of(root, "current")
    return link is not None and os.path.normpath(root / link) == os.path.normpath(target)


def _point(root: Path, name: str, target: str) -> None:
    new = root / f".{name}.new"
    if os.path.lexists(new):
        new.unlink()
    new.symlink_to(target)
    new.replace(root / name)
    _sync(root)


def _unpack(source: BinaryIO, src: str, target: Optional[Path]) -> None:
    """Import what reads archives, which takes a while and is not needed to switch, and unpack; without a target only look."""
    from .unpack import unpack

    unpack(source, src, target)


def _unpack_release(source: BinaryIO, src: str, folder: Path, digest: str) -> None:
    staging = folder.with_name(_STAGING + folder.name)
    try:
        staging.mkdir(mode=0o755)
        _unpack(source, src, staging)
        marker = {"version": folder.name, "unpacked": time.time(), "checksum": digest}
        mark = staging / MARKER
        if os.path.lexists(mark):
            _delete(mark)
        mark.write_text(json.dumps(marker) + "\n", encoding="utf-8")
        mark.chmod(0o644)
        # Everything has to be on disk before the name says that it is, or a power cut leaves empty files.
        for path, _folders, files in os.walk(staging):
            for name in files:
                if not (Path(path) / name).is_symlink():
                    _sync(Path(path) / name)
            _sync(Path(path))
        staging.rename(folder)
        _sync(folder.parent)
    except BaseException:
        _delete(staging)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _leftovers(root: Path) -> list[Path]:
    """Return what killed runs left behind."""
    releases = root / "releases"
    there = sorted(releases.iterdir()) if releases.is_dir() else []
    found = [path for path in there if path.name.startswith((_STAGING, _REMOVING))]
    links = [root / ".current.new", root / ".previous.new"]
    return found + [link for link in links if os.path.lexists(link)]


def _remove_release(root: Path, version: str) -> None:
    """Remove a release; its first step takes its name, so that a kill leaves nothing that looks complete."""
    doomed = root / "releases" / (_REMOVING + version)
    (root / "releases" / version).rename(doomed)
    _delete(doomed)


def _delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _reason(error: OSError) -> str:
    return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
