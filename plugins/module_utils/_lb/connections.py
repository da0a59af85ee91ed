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

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ESTABLISHED = "01"


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port``.

    Raises:
        EverupError: it is neither that nor ``[host]:port``, such as the path of a Unix socket.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit() or host.startswith("unix"):
        raise EverupError(f"The connections to {address!r} cannot be counted: it is not host:port.")
    return host.strip("[]"), int(port)


def established(address: str) -> int:
    """Return how many established connections this host has to ``host:port``, whoever made them.

    Raises:
        EverupError: the address is none, its name cannot be resolved, or this host does not list its connections.
    """
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise EverupError(f"The member's address {address} cannot be resolved: {error.strerror or error}.") from None
    wanted = {(_plain(ipaddress.ip_address(entry[4][0])), port) for entry in found}
    return sum(remote in wanted for remote in _remotes())


def _remotes() -> list[tuple]:
    """Return the far end of every established connection."""
    remotes, tables = [], 0
    for table in _TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # a kernel without IPv6 has no tcp6
            continue
        tables += 1
        remotes += [_address(fields[2]) for fields in map(str.split, lines) if fields[3] == _ESTABLISHED]
    if not tables:
        raise EverupError("The connections to a member cannot be counted: this host has no /proc/net/tcp, which is Linux's.")
    return remotes


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
