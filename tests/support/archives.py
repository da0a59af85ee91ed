"""Makes application archives, good and malicious ones."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

DEVICE = tarfile.CHRTYPE
PIPE = tarfile.FIFOTYPE


def member(name, content=b"", *, kind=tarfile.REGTYPE, target="", mode=0o644):
    """Return one member for tar()."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = kind, target, mode, 1_700_000_000
    info.size = len(content)
    return info, content


def folder(name, mode=0o755):
    return member(name, kind=tarfile.DIRTYPE, mode=mode)


def symlink(name, target):
    return member(name, kind=tarfile.SYMTYPE, target=target)


def hardlink(name, target):
    return member(name, kind=tarfile.LNKTYPE, target=target)


def tar(path: Path, members, compression="gz") -> Path:
    """Write an archive of members and return its path."""
    with tarfile.open(path, f"w:{compression}") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, members) -> Path:
    """Write a zip of (name, content, mode) and return its path; mode has the type bits."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name, (2024, 1, 2, 3, 4, 6))
            info.create_system = 3
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


def app(path: Path, version: str, *, files=3, size=100, compression="gz") -> Path:
    """Write a small application of one version."""
    content = [member("VERSION", version.encode()), folder("lib"), member("bin/run", b"#!/bin/sh\n", mode=0o755)]
    content += [member(f"lib/m{number}.py", os.urandom(size // 2).hex().encode()) for number in range(files)]
    return tar(path, content, compression)


REGULAR = stat.S_IFREG | 0o644
LINK = stat.S_IFLNK | 0o777
