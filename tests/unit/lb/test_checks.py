# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Members are asked for their health, and whatever they answer is a verdict."""

from __future__ import annotations

import base64
import socket
import threading
import time

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lb.checks import check_all


@pytest.fixture
def member():
    """Start a member that answers so; its ``asked`` is the last request."""
    servers = []

    def start(answer: bytes | None):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        asked = []

        def serve():
            try:
                while True:
                    connection, _address = server.accept()
                    asked.append((connection.recv(10000).decode(), connection))
                    if answer is not None:
                        connection.sendall(answer)
                        connection.close()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}", asked

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def check(address: str, url: str = "http://{address}/health", timeout: float = 5) -> tuple:
    (verdict,) = check_all([address], url, True, timeout)
    return verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ("UP", True)),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", ("UP", True)),
        (b"HTTP/1.1 503 No\r\n\r\n", ("DOWN (status 503)", False)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", ("DOWN (IncompleteRead(0 bytes read, 9 more expected))", False)),
        (b"", ("DOWN (Remote end closed connection without response)", False)),
    ],
)
def test_an_answer_is_a_verdict(member, answer, verdict):
    address, _asked = member(answer)
    assert check(address) == verdict


def test_nobody_there_is_down():
    assert check("127.0.0.1:1") == ("DOWN (Connection refused)", False)


@pytest.mark.parametrize("address", ["unix:/run/app.sock", "[2001:db8::1", "", "web1:99999", "a..b:80"])
@pytest.mark.parametrize("url", ["http://{address}/health", "https://{address}/health"])
def test_an_address_that_is_none_is_down(address, url):
    text, healthy = check(address, url)
    assert text.startswith("DOWN (")
    assert healthy is False


def test_a_silent_member_is_down_in_time(member):
    address, _asked = member(None)
    started = time.monotonic()
    assert check(address, timeout=0.2) == ("DOWN (no complete response within 0.2 s)", False)
    assert time.monotonic() - started < 15


def test_path_query_and_user_are_asked_with(member):
    address, asked = member(b"HTTP/1.1 200 OK\r\n\r\n")
    assert check(address, "http://me:p%40ss@{address}/health?deep=1") == ("UP", True)
    request = asked[0][0]
    assert request.startswith("GET /health?deep=1 HTTP/1.1\r\n")
    assert base64.b64encode(b"me:p@ss").decode() in request


def test_without_a_url_nobody_is_asked(member):
    address, asked = member(b"")
    assert check_all([address], None, True, 5) == [("no check", True)]
    assert asked == []
