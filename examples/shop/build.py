# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds the shop's release archives: `python examples/shop/build.py DIRECTORY`.

An archive holds what a web server's release folder holds: `shop/`, `VERSION`, `gunicorn.conf.py`. The same
sources give the same bytes, so that an archive's checksum tells whether it changed.
"""

from __future__ import annotations

import argparse
import gzip
import io
import tarfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "app"
BROKEN_VERSION = "2.0.1-broken"


def release_files(tree: str, broken: bool = False) -> dict[str, bytes]:
    """What one release consists of, by path in the archive: the common files and those of `tree`."""
    files = {}
    for source in (SOURCES / "common", SOURCES / tree):
        for path in sorted(source.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files[path.relative_to(source).as_posix()] = path.read_bytes()
    if broken:
        files["VERSION"] = f"{BROKEN_VERSION}\n".encode()
        files["BROKEN"] = b"/health answers 500 while this file is here.\n"
    return files


def pack(files: dict[str, bytes]) -> bytes:
    """A .tar.gz of the files that depends on nothing else: no time, no owner, no order of the file system."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    return packed.getvalue()


def build(directory: Path) -> dict[str, Path]:
    """Write the archives of every version into `directory`; returns their paths by version."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    archives = {}
    for tree, broken in (("v1", False), ("v2", False), ("v2", True)):
        files = release_files(tree, broken)
        version = files["VERSION"].decode().strip()
        archives[version] = directory / f"shop-{version}.tar.gz"
        archives[version].write_bytes(pack(files))
    return archives


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the shop's release archives.")
    parser.add_argument("directory", type=Path, help="where the archives are written")
    for archive in build(parser.parse_args().directory).values():
        print(archive)


if __name__ == "__main__":
    main()
