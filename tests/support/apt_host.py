# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host of its own for the real apt and dpkg, below a folder, and a repository of packages made on the spot."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

_CONTROL = """\
Package: {name}
Version: {version}
Architecture: all
Maintainer: Nobody <nobody@example.com>
{more}Description: made for a test
"""


class Repository:
    """A folder of packages that apt reads; what was added is seen after ``publish``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._entries: dict[str, str] = {}
        self.publish()

    def add(self, name: str, version: str, files: dict[str, str] | None = None, tree: Path | None = None, **more: str) -> None:
        """Build a package.

        Parameters:
            files: text by path.
            tree: a folder whose content goes into it as well.
            more: further fields of its control file.
        """
        build = self.folder / "build"
        if tree:
            shutil.copytree(tree, build, symlinks=True)
        (build / "DEBIAN").mkdir(parents=True)
        fields = "".join(f"{field}: {value}\n" for field, value in more.items())
        control = _CONTROL.format(name=name, version=version, more=fields)
        (build / "DEBIAN" / "control").write_text(control)
        for path, text in (files or {}).items():
            file = build / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        package = self.folder / f"{name}_{version.rpartition(':')[2]}_all.deb"
        command = ["dpkg-deb", "-Znone", "--root-owner-group", "--build", str(build), str(package)]
        subprocess.run(command, check=True, capture_output=True)
        shutil.rmtree(build)
        content = package.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        place = f"Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {digest}\n"
        self._entries[f"{name} {version}"] = control + place
        self.publish()

    def withdraw(self, name: str, version: str) -> None:
        """Take a package out."""
        del self._entries[f"{name} {version}"]
        self.publish()

    def publish(self) -> None:
        """Write the index."""
        (self.folder / "Packages").write_text("\n".join(self._entries.values()))


class AptHost:
    """A root folder of its own for apt and dpkg; ``python`` is an interpreter whose modules see nothing but it."""

    def __init__(self, root: Path, repository: Repository) -> None:
        self.root = root
        for folder in ("dpkg/info", "dpkg/updates", "dpkg/triggers", "apt/lists/partial"):
            (root / "var/lib" / folder).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        (root / "var/log/apt").mkdir(parents=True)
        (root / "etc/apt/apt.conf.d").mkdir(parents=True)
        (root / "etc/apt/preferences.d").mkdir()
        (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] copy:{repository.folder} ./\n")
        config = root / "etc/apt/apt.conf"
        config.write_text(
            f'Dir "{root}/";\nDir::State::status "{root}/var/lib/dpkg/status";\nAPT::Sandbox::User "root";\n'
            'Acquire::Languages "none";\nAPT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\n'
        )
        self.settings = {"APT_CONFIG": str(config), "DPKG_ROOT": str(root)}
        exports = "".join(f"export {name}='{value}'\n" for name, value in self.settings.items())
        self.python = root / "python"
        self.python.write_text(f'#!/bin/sh\n{exports}exec {sys.executable} "$@"\n')
        self.python.chmod(0o755)

    def run(self, *words: str) -> str:
        """Run a command that sees this root, and return what it prints."""
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **self.settings}, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def installed(self, name: str = "shop") -> str:
        """Return state and version that dpkg has of a package."""
        words = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name]
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **self.settings})
        return done.stdout

    def downloaded(self) -> list[str]:
        """Return the packages that were downloaded and not removed since."""
        return sorted(file.name for file in (self.root / "var/cache/apt/archives").glob("*.deb"))
