# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Unpacks an application archive member by member.

Safety does not rest on the extraction filters of ``tarfile`` (PEP 706), which the first patch releases of
Python 3.9 lack: every member is vetted before it is written, and symbolic links are made last, so that
nothing is ever written through one. Where the ``data`` filter is there, it has to agree.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Callable, NamedTuple, Optional

from .._errors import EverupError
from .vetting import FILE, FOLDER, HARDLINK, SYMLINK, Vetting

try:
    import lzma
except ImportError:
    lzma = None

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, NotImplementedError)
if lzma is not None:
    _DAMAGE = (*_DAMAGE, lzma.LZMAError)
_LINK_LIMIT = 4096  # bytes: PATH_MAX on Linux
_CHUNK = 1 << 20  # bytes
_LATEST = 1 << 33  # seconds since 1970; a later time of a member is nonsense that os.utime may refuse


class Member(NamedTuple):
    """One entry of an archive; time in seconds since 1970, size in bytes."""

    name: str
    kind: str
    mode: int
    mtime: float
    size: int
    target: str
    open: Optional[Callable[[], BinaryIO]]


def unpack(source: BinaryIO, archive: str, folder: Optional[Path]) -> int:
    """Unpack a tar.gz, tar.xz or zip into an empty folder and return the number of its files.

    Parameters:
        source: the archive, open for reading and seekable.
        archive: what errors call it.
        folder: where its content goes; None vets it without writing anything.

    Permissions are kept without set-user-ID, set-group-ID, sticky and others' write bits; the owner may always
    read and write. Ownership is not kept: everything belongs to the user who unpacks.

    Raises:
        EverupError: this is no such archive, it is damaged or empty, or a member must not be unpacked.
    """
    vetting = Vetting(archive)
    folders: list[tuple[Path, Member]] = []
    try:
        for member in _members(source, vetting):
            path = vetting.accept(member.name, member.kind, member.target)
            if folder is None or not path:
                continue
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if member.kind == FOLDER:
                place.mkdir(exist_ok=True)
                folders.append((place, member))
            elif member.kind == FILE:
                _write(place, member, archive)
            elif member.kind == HARDLINK:
                os.link(folder / member.target, place, follow_symlinks=False)
    except _DAMAGE as error:
        problem = str(error) or type(error).__name__
        raise EverupError(f"Archive {archive} is damaged: {problem}. Copy it to the host again.") from error
    links = vetting.links()
    if not vetting.files:
        raise EverupError(f"Archive {archive} has no file in it.")
    if folder is not None:
        for path, target in links.items():
            (folder / path).symlink_to(target)
        # Deepest first: the time of a folder changes with what is put into it.
        for place, member in sorted(folders, key=lambda item: len(item[0].parts), reverse=True):
            place.chmod((member.mode & 0o755) | 0o700)
            os.utime(place, (member.mtime, member.mtime))
    return vetting.files


def _members(source: BinaryIO, vetting: Vetting) -> Iterator[Member]:
    """Yield the members of an archive whose kind is told by its first bytes, not by its name."""
    magic = source.read(6)
    source.seek(0)
    if magic[:2] == b"\x1f\x8b":
        yield from _tar_members(gzip.GzipFile(fileobj=source), vetting)
    elif magic == b"\xfd7zXZ\0":
        if lzma is None:
            raise EverupError(f"Archive {vetting.archive} is a tar.xz, and Python on this host lacks lzma.")
        yield from _tar_members(lzma.LZMAFile(source), vetting)
    elif magic[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        yield from _zip_members(source, vetting)
    else:
        raise EverupError(f"Archive {vetting.archive} is no tar.gz, tar.xz or zip: it begins with {magic!r}.")


def _tar_members(stream: BinaryIO, vetting: Vetting) -> Iterator[Member]:
    second_opinion = getattr(tarfile, "data_filter", None)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for info in tar:
            if info.isreg():
                kind = FILE
            elif info.isdir():
                kind = FOLDER
            elif info.issym():
                kind = SYMLINK
            elif info.islnk():
                kind = HARDLINK
            else:
                vetting.refuse(info.name, "is a device, a pipe or of unknown type")
            mtime = min(max(info.mtime, 0), _LATEST)
            target = info.linkname if kind in (SYMLINK, HARDLINK) else ""
            yield Member(info.name, kind, info.mode or 0, mtime, info.size, target, lambda i=info: tar.extractfile(i))
            if second_opinion is not None:
                try:
                    second_opinion(info, "/nonexistent")
                except tarfile.FilterError as error:
                    vetting.refuse(info.name, f"is refused by tarfile's data filter: {error}")
    # tarfile stops at the end mark; only the end of the compressed stream proves that nothing is cut off.
    while stream.read(_CHUNK):
        pass


def _zip_members(source: BinaryIO, vetting: Vetting) -> Iterator[Member]:
    with zipfile.ZipFile(source) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            form = stat.S_IFMT(mode)
            if info.is_dir() or form == stat.S_IFDIR:
                kind = FOLDER
            elif form == stat.S_IFLNK:
                kind = SYMLINK
            elif form in (0, stat.S_IFREG):
                kind = FILE
            else:
                vetting.refuse(info.filename, "is a device, a pipe or of unknown type")
            if "\\" in info.filename:
                vetting.refuse(info.filename, "has a backslash in its path: pack it with '/' between folders")
            if info.flag_bits & 1:
                vetting.refuse(info.filename, "is encrypted")
            target = ""
            if kind == SYMLINK:
                if info.file_size > _LINK_LIMIT:
                    vetting.refuse(info.filename, f"is a symbolic link of {info.file_size} bytes")
                target = os.fsdecode(archive.read(info))
            permissions = stat.S_IMODE(mode) or (0o755 if kind == FOLDER else 0o644)
            mtime = min(max(time.mktime((*info.date_time, 0, 0, -1)), 0), _LATEST)
            yield Member(
                info.filename,
                kind,
                permissions,
                mtime,
                info.file_size,
                target,
                lambda i=info: archive.open(i),
            )


def _write(place: Path, member: Member, archive: str) -> None:
    """Write one new file, with its permissions and time."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with member.open() as content, os.fdopen(os.open(place, flags, 0o600), "wb") as file:
        shutil.copyfileobj(content, file, _CHUNK)
        if file.tell() != member.size:
            raise EverupError(
                f"Archive {archive} is damaged: its member {member.name!r} has {file.tell()} of "
                f"{member.size} bytes. Copy it to the host again."
            )
        os.fchmod(file.fileno(), (member.mode & 0o755) | 0o600)
    os.utime(place, (member.mtime, member.mtime))
