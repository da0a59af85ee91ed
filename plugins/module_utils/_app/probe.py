# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks once at a port or runs a command once, and ends in time, whatever the other side does."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
from typing import Callable, Optional, TypeVar

from .._errors import EverupError
from .health import BODY_LIMIT, Response

_ADDRESS = re.compile(r"(?:\[([^\]\s]+)\]|([^:\s]+)):([0-9]{1,5})", re.ASCII)
Result = TypeVar("Result")


def within(timeout: float, ask: Callable[[], Result]) -> Optional[Result]:
    """Return what ask returns, or None when that takes longer than timeout seconds.

    It runs in a thread of its own, which is left behind when the time is up and cannot keep the process from ending.
    """
    seen: list[Result] = []
    worker = threading.Thread(target=lambda: seen.append(ask()), daemon=True)
    worker.start()
    worker.join(timeout)
    return seen[0] if seen else None


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[address]:port``.

    Raises:
        EverupError: it is neither.
    """
    match = _ADDRESS.fullmatch(text)
    if not match or not 1 <= int(match.group(3)) <= 65535:
        raise EverupError(f"tcp is {text!r}; it must be host:port, or [address]:port for IPv6, with a port from 1 to 65535.")
    return match.group(1) or match.group(2), int(match.group(3))


def connect(address: tuple[str, int], timeout: float) -> Response:
    """Connect to a port, and return what was seen within timeout seconds, which an error is as well."""
    return within(timeout, lambda: _connect(address, timeout)) or Response(None, "", f"no connection within {timeout:.3g} s")


def _connect(address: tuple[str, int], timeout: float) -> Response:
    try:
        with socket.create_connection(address, timeout):
            return Response(None, "")
    except OSError as error:
        return Response(None, "", str(error))


def execute(words: list[str], timeout: float) -> Response:
    """Run a command, and return its exit code and output, or that it did not end within timeout seconds and was killed.

    Its output goes to a file: a process that it leaves behind would keep the end of a pipe open.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            return Response(None, "", str(error))
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return Response(None, "", f"no end within {timeout:.3g} s, so it was killed")
        output.seek(0)
        return Response(code, output.read(BODY_LIMIT).decode("utf-8", "replace"))
