# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Counts the connections of this host to a member, for balancers that do not tell how many sessions a member has.

Facts relied on: ``/proc/net/tcp`` and ``tcp6`` list the sockets of the reader's network namespace with addresses in hexadecimal,
each 32 bits of them in the machine's byte order, and 01 for an established connection (proc_net_tcp in the Linux kernel's
documentation; include/net/tcp_states.h).
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from pathlib import Path

from .._errors import EverupError
from .addresses import is_port

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ESTABLISHED = "01"


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port``.

    Raises:
        EverupError: it is neither that nor ``[host]:port``, such as the path of a Unix socket.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not host or not is_port(port) or host.startswith("unix"):
        raise EverupError(f"The connections to {address!r} cannot be counted: it is not host:port.")
    return host.strip("[]"), int(port)


def established(address: str, processes: set[int] | None = None) -> int:
    """Return how many established connections this host has to ``host:port``.

    Parameters:
        address: the far end.
        processes: whose connections count; None, and where this user may not see whose they are, whoever made them.

    Raises:
        EverupError: the address is none, its name cannot be resolved, or this host does not list its connections.
    """
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise EverupError(f"The member's address {address} cannot be resolved: {error.strerror or error}.") from None
    wanted = {(_plain(ipaddress.ip_address(entry[4][0])), port) for entry in found}
    ours = None if processes is None else _inodes(processes)
    return sum(remote in wanted and (ours is None or inode in ours) for _local, remote, inode in _connections())


def sessions_of(who: str, address: str, processes: set[int] | None = None) -> int:
    """Return how many connections this host has to a member, as established() does; an error says whose they are."""
    try:
        return established(address, processes)
    except EverupError as error:
        raise EverupError(f"{who}: {error}") from None


def listening(listen: str) -> tuple:
    """Return the address, None for any, and the port that something listens on.

    Parameters:
        listen: ``host:port``; without a host, or with ``*``, on any address of this host.

    Raises:
        EverupError: it is none of these.
    """
    try:
        host, port = split_address(listen if ":" in listen else f"*:{listen}")
        return None if host == "*" else _plain(ipaddress.ip_address(host)), port
    except (EverupError, ValueError):
        raise EverupError(
            f"listen {listen!r} is not where an application listens: write host:port with an IP address, or the port, which is a "
            "number from 1 to 65535."
        ) from None


def accepted(listen: str) -> int:
    """Return how many established connections others have to what listens on ``host:port`` here.

    Raises:
        EverupError: it is none, as listening() says, or this host does not list its connections.
    """
    at, port = listening(listen)
    return sum(local[1] == port and at in (None, local[0]) for local, _remote, _inode in _connections())


def _inodes(processes: set[int]) -> set[str] | None:
    """Return the numbers of the sockets that processes hold, None where they may not be seen."""
    found = set()
    for process in processes:
        try:
            for handle in Path(f"/proc/{process}/fd").iterdir():
                try:
                    found.add(str(handle.readlink()))
                except FileNotFoundError:  # closed just now
                    continue
        except PermissionError:
            return None
        except OSError:  # the process has ended
            continue
    return {name[len("socket:[") : -1] for name in found if name.startswith("socket:[")}


def _connections() -> list[tuple]:
    """Return both ends of every established connection, and the number of its socket."""
    found, tables = [], 0
    for table in _TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # a kernel without IPv6 has no tcp6
            continue
        tables += 1
        rows = (fields for fields in map(str.split, lines) if fields[3] == _ESTABLISHED)
        found += [(_address(fields[1]), _address(fields[2]), fields[9]) for fields in rows]
    if not tables:
        raise EverupError("The connections to a member cannot be counted: this host has no /proc/net/tcp, which is Linux's.")
    return found


def _address(text: str) -> tuple:
    """Return address and port of ``0100007F:1F90``."""
    digits, _colon, port = text.partition(":")
    words = [bytes.fromhex(digits[start : start + 8]) for start in range(0, len(digits), 8)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return _plain(ipaddress.ip_address(b"".join(words))), int(port, 16)


def _plain(address):
    """Return an IPv4 address that is written as an IPv6 one as what it is."""
    return getattr(address, "ipv4_mapped", None) or address
