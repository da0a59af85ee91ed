# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host of its own for the real dnf and rpm, by mounts that nobody else sees, and a repository of packages made on the spot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# What dnf and rpm read and write on a host, beside rpm's database; a package of a test may install below /srv.
_FOLDERS = ("etc/dnf", "var/lib/dnf", "var/cache/dnf", "var/log", "srv")
_SPEC = """\
Name: {name}
Version: {version}
Release: {release}
Summary: made for a test
License: none
BuildArch: noarch
%description
Made for a test.
%install
mkdir -p %{{buildroot}}/srv/{name}
echo {version}-{release} > %{{buildroot}}/srv/{name}/version
%files
/srv/{name}/version
"""


class RpmRepository:
    """A folder of packages that dnf reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.publish()

    def add(self, name: str, version: str, release: str) -> None:
        """Build a package with its version in /srv; seen after ``publish``."""
        spec = self.folder / f"{name}.spec"
        spec.write_text(_SPEC.format(name=name, version=version, release=release))
        top = self.folder / "build"
        command = ["rpmbuild", "-bb", "--define", f"_topdir {top}", "--define", f"_rpmdir {self.folder}", str(spec)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def publish(self) -> None:
        """Write the index."""
        subprocess.run(["createrepo_c", "-q", str(self.folder)], check=True, capture_output=True, timeout=60)


class RpmHost:
    """Folders of its own for dnf and rpm; ``python`` is an interpreter whose modules see them in place of the machine's."""

    def __init__(self, root: Path, repository: RpmRepository) -> None:
        self.root = root
        # Debian's rpm has its database in the user's home.
        database = subprocess.run(["rpm", "--eval", "%{_dbpath}"], check=True, capture_output=True, text=True, timeout=60)
        folders = (*_FOLDERS, database.stdout.strip().lstrip("/"))
        for folder in folders:
            (root / folder).mkdir(parents=True)
            Path("/", folder).mkdir(parents=True, exist_ok=True)
        repo = f"[test]\nname=test\nbaseurl=file://{repository.folder}\ngpgcheck=0\n"
        (root / "etc/dnf/dnf.conf").write_text(f"[main]\ngpgcheck=0\nkeepcache=0\ninstall_weak_deps=0\nplugins=0\n{repo}")
        mounts = "".join(f"mount --bind {root}/{folder} /{folder}\n" for folder in folders)
        inside = self.root / "inside"
        inside.write_text(f'#!/bin/sh\nset -e\n{mounts}exec "$@"\n')
        inside.chmod(0o755)
        self.python = root / "python"
        self.python.write_text(f'#!/bin/sh\nexec unshare --mount --propagation private {inside} {sys.executable} "$@"\n')
        self.python.chmod(0o755)

    def run(self, *words: str) -> str:
        """Run a command that sees these folders, and return what it prints."""
        command = ["unshare", "--mount", "--propagation", "private", str(self.root / "inside"), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def version_file(self, name: str = "shop") -> str:
        """Return what the installed package says of itself."""
        return (self.root / "srv" / name / "version").read_text().strip()
