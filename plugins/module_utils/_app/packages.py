# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says which version of a package a version of the application is, from what apt or dnf tells."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import NamedTuple, Optional

_DEBIAN = re.compile(r"(?:(?P<epoch>\d+):)?(?P<upstream>[^:\s]+?)(?:-(?P<revision>[^-\s]*))?")
_RPM = re.compile(r"(?:(?P<epoch>\d+):)?(?P<upstream>[^-:\s]+)-(?P<revision>[^-\s]+)")
_FORMS = {"apt": _DEBIAN, "dnf": _RPM}
_SEGMENT = re.compile(r"\d+|[A-Za-z]+|~|\^")
_TOLD = 5  # versions that a refusal names


class Package(NamedTuple):
    """What a host says of a package: installed (None when it is not, or by half), held, broken, and available, newest first."""

    name: str
    installed: Optional[str]
    held: bool
    broken: bool
    available: list[str]


def parse_dpkg(name: str, output: str) -> tuple[Optional[str], bool, bool]:
    """Return installed version, held and broken of ``dpkg-query -W -f '${db:Status-Want} ${db:Status-Status} ${Version}'``."""
    words = output.split()
    if len(words) < 2:
        return None, False, False
    want, status = words[:2]
    is_installed = status in ("installed", "triggers-awaited", "triggers-pending") and len(words) > 2
    return (
        words[2] if is_installed else None,
        want == "hold",
        not is_installed and status not in ("not-installed", "config-files"),
    )


def parse_madison(output: str) -> list[str]:
    """Return the versions of ``apt-cache madison``, newest first, each once; source packages do not count."""
    rows = [[cell.strip() for cell in line.split("|")] for line in output.splitlines()]
    versions = [row[1] for row in rows if len(row) == 3 and not row[2].endswith(" Sources")]
    return list(dict.fromkeys(versions))


def parse_evrs(output: str) -> list[str]:
    """Return lines of ``epoch:version-release`` as dnf is told them, without an epoch of 0, newest first, each once."""
    found = {line.strip().removeprefix("0:") for line in output.splitlines() if _RPM.fullmatch(line.strip())}
    return sorted(found, key=_rpm_key, reverse=True)


def _rpm_key(evr: str) -> tuple:
    match = _RPM.fullmatch(evr)
    return int(match["epoch"] or 0), _segments(match["upstream"]), _segments(match["revision"])


def _segments(text: str) -> tuple:
    """Return what sorts as rpm compares: a tilde before the end, a caret behind it, then letters, then numbers."""
    ranks = [
        (0, 0, "") if part == "~" else (2, 0, "") if part == "^" else (4, int(part), "") if part.isdigit() else (3, 0, part)
        for part in _SEGMENT.findall(text)
    ]
    return (*ranks, (1, 0, ""))


def _forms(manager: str, version: str) -> tuple[str, str, str]:
    match = _FORMS[manager].fullmatch(version)
    if not match:
        return version, version, version
    bare = version.split(":", 1)[1] if match["epoch"] else version
    return match["upstream"], bare, version


def names_of(manager: str, version: str) -> list[str]:
    """Return what people call a package's version: without epoch and revision, without epoch, and as it is, each once."""
    return list(dict.fromkeys(_forms(manager, version)))


def choose(manager: str, pattern: str, versions: list[str]) -> Optional[str]:
    """Return the first of the versions that a pattern means, None when there is none.

    It means the version of that very name before one that is so but for the epoch, and that one before one that is so but for
    epoch and revision; ``*`` stands for anything.
    """
    for form in (2, 1, 0):
        for version in versions:
            if fnmatchcase(_forms(manager, version)[form], pattern):
                return version
    return None


def specs(manager: str, packages: list[Package], pattern: str) -> list[str]:
    """Return what the package manager is told to install, without the packages that have no such version."""
    chosen = {package.name: choose(manager, pattern, package.available) for package in packages}
    joint = "=" if manager == "apt" else "-"
    return [f"{name}{joint}{version}" for name, version in chosen.items() if version]


def refusals(manager: str, packages: list[Package], pattern: str, before: Optional[str]) -> list[str]:
    """Return a sentence for each package that cannot be brought to a version, or not back to the one before.

    Parameters:
        pattern: the version to reach.
        before: the pattern of the version to go back to; None for not asking.
    """
    found = []
    for package in packages:
        if package.held:
            found.append(f"{package.name} is held: 'apt-mark unhold {package.name}' lets go of it")
        if not choose(manager, pattern, package.available):
            found.append(f"no repository has version {pattern} of {package.name}, {_offered(manager, package)}")
        if before and not choose(manager, before, package.available):
            found.append(
                f"no repository has version {before} of {package.name}, to go back to; keep it there, or go one way and set "
                "rolling_upgrade_package_one_way"
            )
    return found


def _offered(manager: str, package: Package) -> str:
    if package.available:
        return f"there are {', '.join(package.available[:_TOLD])}{' and older ones' if package.available[_TOLD:] else ''}"
    hidden = ", or a pin of versionlock hides it" if manager == "dnf" else ""
    return f"nor any other: is its repository configured on the host{hidden}?"


def version_in(names: list[str], template: str, mark: str) -> str:
    """Return what stands at the mark of a template in the first of the names that has its form, empty when none has.

    Parameters:
        names: what to look into, such as ``['2.4.0', '2.4.0-1', '1:2.4.0-1']``, or an image.
        template: the form, with a mark in place of the version; ``*`` stands for anything.
        mark: what stands for the version.
    """
    if mark not in template:
        return ""
    parts = [".*".join(re.escape(piece) for piece in part.split("*")) for part in template.split(mark)]
    form = re.compile("(?P<version>.+)".join(parts[:2]) + "".join("(?P=version)" + part for part in parts[2:]))
    matches = (form.fullmatch(name) for name in names)
    return next((match["version"] for match in matches if match), "")
