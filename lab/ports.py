# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which TCP ports can a server of the lab have?"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_LOWEST = 15000
_DEFAULT_EPHEMERAL = 32768
_given: set[int] = set()


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Return ports that nobody listens on now, all different and none given by this process before.

    They lie below the kernel's ephemeral range: a server that restarts under load would otherwise find its port taken by one
    of the load's own outgoing connections (ip(7), ip_local_port_range).
    """
    top = _ephemeral_start()
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(_LOWEST, top)  # noqa: S311 - not a secret
        if port not in _given and _is_free(address, port):
            _given.add(port)
            ports.append(port)
    return ports


def free_port(address: str = "127.0.0.1") -> int:
    """Return one port as :func:`free_ports` does."""
    return free_ports(1, address)[0]


def _ephemeral_start() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except OSError:
        return _DEFAULT_EPHEMERAL


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def listening(port: int, address: str = "127.0.0.1") -> bool:
    """Return whether somebody accepts connections on the port."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
