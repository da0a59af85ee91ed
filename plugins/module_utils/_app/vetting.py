# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides whether every member of an archive stays inside the folder it is unpacked into."""

from __future__ import annotations

import posixpath

from .._errors import EverupError

FILE, FOLDER, SYMLINK, HARDLINK = "file", "folder", "symbolic link", "hard link"
_HOPS = 40  # Linux follows no more symbolic links than this in one path: path_resolution(7)


class Vetting:
    """Vets one archive, member by member in its order, then its symbolic links, which depend on each other.

    Parameters:
        archive: what errors call the archive.
    """

    def __init__(self, archive: str) -> None:
        self.archive = archive
        self.files = 0
        self._kinds: dict[str, str] = {}
        self._links: dict[str, str] = {}

    def accept(self, name: str, kind: str, target: str = "") -> str:
        """Return the path of a member relative to the folder, or '' for the folder itself.

        Raises:
            EverupError: the member would be outside the folder, below something that is no folder, or there twice.
        """
        path = self._inside(name, name)
        if not path:
            if kind != FOLDER:
                self.refuse(name, f"is a {kind} in place of the whole folder")
            return path
        parent = posixpath.dirname(path)
        while parent:
            if self._kinds.setdefault(parent, FOLDER) != FOLDER:
                self.refuse(name, f"lies below {parent!r}, which is a {self._kinds[parent]}")
            parent = posixpath.dirname(parent)
        known = self._kinds.get(path)
        if known and not known == kind == FOLDER:
            self.refuse(name, f"is in it twice, as a {known} and as a {kind}")
        if kind == HARDLINK and self._kinds.get(self._inside(target, name)) not in (FILE, HARDLINK):
            self.refuse(name, f"is a hard link to {target!r}, which is no earlier file of it")
        self._kinds[path] = kind
        if kind == SYMLINK:
            self._links[path] = target
        elif kind != FOLDER:
            self.files += 1
        return path

    def links(self) -> dict[str, str]:
        """Return path and target of every symbolic link, once all members are accepted.

        Raises:
            EverupError: a link leads outside the folder, be it by way of other links, or round in a circle.
        """
        for path in self._links:
            self._follow(path)
        return self._links

    def refuse(self, name: str, problem: str) -> None:
        """Raise the error that says what is wrong with a member."""
        raise EverupError(f"Archive {self.archive} is refused: its member {name!r} {problem}.")

    def _inside(self, path: str, name: str) -> str:
        """Return path normalised, '' for the folder itself."""
        if path.startswith("/"):
            self.refuse(name, f"has an absolute path: {path!r}" if path != name else "has an absolute path")
        if ".." in path.split("/"):
            self.refuse(name, "has '..' in its path" if path == name else f"leads outside by {path!r}")
        if not path or "\0" in path:
            self.refuse(name, f"has no usable path: {path!r}")
        normal = posixpath.normpath(path)
        return "" if normal == "." else normal

    def _follow(self, path: str) -> None:
        """Walk a symbolic link as the kernel would."""
        place: list[str] = []
        ahead = path.split("/")[::-1]
        hops = 0
        while ahead:
            part = ahead.pop()
            if part == "..":
                if not place:
                    self.refuse(path, f"is a symbolic link that leads outside: {self._links[path]!r}")
                place.pop()
            elif part not in ("", "."):
                place.append(part)
            target = self._links.get("/".join(place)) if part not in ("", ".", "..") else None
            if target is None:
                continue
            hops += 1
            if hops > _HOPS:
                self.refuse(path, f"is a symbolic link that leads round in a circle: {self._links[path]!r}")
            if not target or target.startswith("/"):
                self.refuse(path, f"is a symbolic link that leads outside: {self._links[path]!r}")
            place.pop()
            ahead.extend(target.split("/")[::-1])
