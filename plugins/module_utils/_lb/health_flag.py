# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets a member itself say that it wants no more traffic, for every balancer that checks its members' health.

The application answers its health check with 503 while a flag file is there, so that AWS target groups, Azure, F5, IIS ARR or
any other balancer takes the member out. This host cannot know when they have: it waits for as long as their checks take to
notice, and then watches the connections to the application's port end.

Facts relied on: a balancer takes a member out after its check interval times its unhealthy threshold (such as AWS, "Health checks
for your target groups": 2 to 10 checks, 5 to 300 s apart).
"""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path

from .._errors import EverupError
from .addresses import told
from .base import DRAIN, MAINT, READY, Balancer, Member
from .checks import check_all
from .connections import accepted, listening
from .options import check_seconds


class HealthFlag(Balancer):
    """The application of this host behind balancers that only its health check reaches.

    A state is in force once ``notice_seconds`` have gone since the flag was set or taken away: until then the one before is
    reported, so that a run which is killed while it waits does not let the next one go on too early.

    Parameters:
        address: path of the flag file. While it is there the application answers its health check with 503.
        listen: ``host:port`` that the application listens on, as its connections are counted; ``*`` or no host for any.
        notice_seconds: how long the balancers take to notice.
        health_url: of the application, without regard to the flag; ``{address}`` in it is ``listen``.
        validate_certs: for a health check by https.
        timeout: seconds for one health check.
    """

    def __init__(
        self, address: str, listen: str, notice_seconds: float, health_url: str | None, validate_certs: bool, timeout: float
    ) -> None:
        self.address = address
        self.listen, self.notice_seconds = listen, notice_seconds
        self.health_url, self.validate_certs, self.timeout = health_url, validate_certs, timeout
        self._flag, self._opened = Path(address), Path(f"{address}.ready")

    def list_members(self, pool: str | None = None) -> list[Member]:
        return [self.get_member(pool or "", socket.gethostname())]

    def get_member(self, pool: str, name: str) -> Member:
        """Return this host's application; pool and name are the user's own, since nothing here knows them."""
        state = self._tried(self._state)
        ((text, healthy),) = check_all([self.listen], self.health_url, self.validate_certs, self.timeout)
        return Member(
            pool=pool,
            name=name,
            address=self.listen,
            state=state,
            health=text,
            healthy=healthy,
            sessions=accepted(self.listen),
            weight=1,
        )

    def check_writable(self, pool: str) -> None:
        folder = self._flag.parent
        if not folder.is_dir():
            raise EverupError(f"Balancer {self.address} cannot be reached: the folder {folder} does not exist on this host.")
        if not os.access(folder, os.W_OK):
            raise EverupError(
                f"Balancer {self.address} would answer 'Permission denied': {folder} cannot be written by this user."
            )

    def set_state(self, pool: str, name: str, state: str) -> None:
        self.check_writable(pool)
        if state != READY:
            self._tried(self._take_out, state)
        else:
            self._tried(self._put_back)

    def _tried(self, act, *arguments):
        """Return what act() returns; what the system refuses becomes a sentence."""
        try:
            return act(*arguments)
        except OSError as error:
            raise EverupError(
                f"Balancer {self.address}: {error.filename}: {error.strerror}. The address must be the path of a file, in a "
                "folder that this user may write."
            ) from None

    def _take_out(self, state: str) -> None:
        """Set the flag; one that is there already keeps its age, since nothing changes for the balancers."""
        since = _age(self._flag)
        self._flag.write_text(f"{state}\n", encoding="ascii")
        if since is not None:
            os.utime(self._flag, (time.time() - since,) * 2)
        self._opened.unlink(missing_ok=True)
        time.sleep(max(0.0, self.notice_seconds - (since or 0.0)))

    def _put_back(self) -> None:
        """Take the flag away, with the time of it beside."""
        if self._flag.exists():
            self._opened.write_text("", encoding="ascii")
            self._flag.unlink()
        time.sleep(max(0.0, self.notice_seconds - (_age(self._opened) or 0.0)))
        self._opened.unlink(missing_ok=True)

    def _state(self) -> str:
        if self._flag.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._flag))
        flagged, opened = _age(self._flag), _age(self._opened)
        if flagged is None:
            return READY if opened is None or opened >= self.notice_seconds else DRAIN
        if flagged < self.notice_seconds:
            return READY
        said = self._flag.read_text(encoding="ascii", errors="replace").strip()
        return said if said in (DRAIN, MAINT) else MAINT


def connect(params: dict) -> list[Balancer]:
    """Return the application behind the flag file of the module's parameters."""
    addresses = [told(address) for address in params["address"]]
    if len(addresses) != 1 or not addresses[0].startswith("/"):
        raise EverupError(f"The address of a health flag is the path of one file on the member itself, not {addresses!r}.")
    check_seconds("notice_seconds", params["notice_seconds"], none_is_good=True)
    listening(params["listen"])
    names = ("listen", "notice_seconds", "health_url", "validate_certs", "connect_timeout")
    return [HealthFlag(params["address"][0], *(params[name] for name in names))]


def _age(path: Path) -> float | None:
    """Return for how many seconds a file has been as it is, None where there is none; a clock that was set back counts as new."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return None
