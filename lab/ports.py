# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which TCP ports can a server of the lab have?"""

from __future__ import annotations

import socket


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Ports that nobody listens on, all different; another process may still take one first: be ready."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((address, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on."""
    return free_ports(1, address)[0]


def listening(port: int, address: str = "127.0.0.1") -> bool:
    """Whether somebody accepts connections on the port."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
