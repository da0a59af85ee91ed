# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks apt or dnf what a host has of a package, and what its repositories offer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .._errors import EverupError
from .packages import Package, parse_dpkg, parse_evrs, parse_madison

TOOLS = {"apt": ("apt-get", "apt-cache", "dpkg-query"), "dnf": ("dnf", "rpm")}
_TIMEOUT = 120  # seconds that one command may take; dnf may load the metadata of a repository


def detect(manager: str) -> str:
    """Return the package manager of this host, or the one that is asked for.

    Raises:
        EverupError: it is not there.
    """
    wanted = ["dnf", "apt"] if manager == "auto" else [manager]  # a host with both is one of dnf that has Debian's tools
    if manager == "auto" and Path("/etc/debian_version").exists():
        wanted.reverse()
    found = [name for name in wanted if all(shutil.which(tool) for tool in TOOLS[name])]
    if not found:
        tools = " nor ".join(", ".join(TOOLS[name]) for name in wanted)
        raise EverupError(f"This host has neither {tools}." if len(wanted) > 1 else f"This host does not have all of {tools}.")
    return found[0]


def ask(manager: str, name: str) -> Package:
    """Return what this host says of a package.

    Raises:
        EverupError: a command failed or did not end in time.
    """
    if manager == "apt":
        stated = _run(["dpkg-query", "-W", "-f", "${db:Status-Want} ${db:Status-Status} ${Version}\n", name], accept=(0, 1))
        installed, held, broken = parse_dpkg(name, stated)
        return Package(name, installed, held, broken, parse_madison(_run(["apt-cache", "madison", name])))
    evr = "%{EPOCHNUM}:%{VERSION}-%{RELEASE}\\n"
    installed = parse_evrs(_run(["rpm", "-q", "--qf", evr, name], accept=(0, 1)))
    # dnf 4 and 5 both take the line end that only dnf 5 needs, and both show every version.
    query = ["dnf", "-q", "repoquery", "--available", "--qf", "%{epoch}:%{version}-%{release}\\n", name]
    return Package(name, installed[0] if installed else None, False, False, parse_evrs(_run(query)))


def is_interrupted(manager: str) -> bool:
    """Return whether dpkg was killed while it worked, so that it refuses everything but to go on."""
    if manager != "apt":
        return False
    root = os.environ.get("DPKG_ADMINDIR") or f"{os.environ.get('DPKG_ROOT', '')}/var/lib/dpkg"
    journal = Path(root, "updates")  # what dpkg had begun
    return journal.is_dir() and any(entry.name.isdigit() for entry in journal.iterdir())


def _run(words: list[str], accept: tuple = (0,)) -> str:
    try:
        done = subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise EverupError(f"'{' '.join(words[:2])}' did not end within {_TIMEOUT} s.") from error
    if done.returncode not in accept:
        raise EverupError(f"'{' '.join(words)}' failed (exit code {done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout
