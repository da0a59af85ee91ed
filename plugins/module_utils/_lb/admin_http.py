# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks and tells a balancer over HTTP: one exchange at a time, ended in time, and every failure is a sentence."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from .._errors import EverupError
from .addresses import URL_TEXT, check_address, told

_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Answer:
    """One answer.

    Parameters:
        headers: by name in lower case.
    """

    status: int
    reason: str
    headers: dict
    text: str


class AdminHttp:
    """The HTTP interface of one balancer. Nothing is kept between two exchanges.

    Parameters:
        address: how the user wrote the balancer's address: its name in errors.
        timeout: seconds for one exchange, from resolving the name to the last byte of the answer.
        validate_certs: for https.
        username, password: sent with every request (Basic) when there is a username.
        path: of a Unix socket, in place of the address's host.

    Raises:
        EverupError: the address is none.
    """

    def __init__(
        self,
        address: str,
        timeout: float,
        validate_certs: bool = True,
        username: str | None = None,
        password: str | None = None,
        path: str | None = None,
    ) -> None:
        self.address, self.timeout, self.validate_certs = address, timeout, validate_certs
        self.url = urlsplit("http://localhost" if path else _checked(address))
        self._path = path
        self._headers = {"Accept": "*/*", "User-Agent": "everup.deploy", "Connection": "close"}
        if username:
            pair = f"{username}:{password or ''}".encode()
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")

    def ask(self, method: str, path: str, body: str | None = None, headers: dict | None = None, tries: int = 1) -> Answer:
        """Make one request and return its answer, whatever its status.

        Parameters:
            tries: how often a request is made whose connection is cut before the answer. It may have been carried out.

        Raises:
            EverupError: nobody is there, or no whole answer came in time.
        """
        answer = self._once(method, path, body, headers)
        while isinstance(answer, ConnectionResetError) and tries > 1:
            tries -= 1
            time.sleep(_PAUSE_SECONDS)
            answer = self._once(method, path, body, headers)
        if isinstance(answer, socket.timeout):
            raise self._late(method, path)
        if isinstance(answer, Exception):
            raise self._failed(method, path, answer)
        return answer

    def _once(self, method: str, path: str, body: str | None, headers: dict | None):
        """Return the answer, or the exception that came instead."""
        connection = (
            _UnixConnection(self._path, self.timeout)
            if self._path
            else connection_to(self.url, self.timeout, self.validate_certs)
        )
        data = None if body is None else body.encode("utf-8")
        return exchange(connection, self.timeout, method, path, data, {**self._headers, **(headers or {})})

    def refused(self, method: str, path: str, answer: Answer, way_on: str) -> EverupError:
        """Return the error for an answer that is not success.

        Parameters:
            way_on: what to do when the balancer knows who asks and does not allow it.
        """
        said = f"'{method} {path}' with {answer.status} {answer.reason}".rstrip()
        if answer.status == 401:
            return EverupError(
                f"Balancer {self.address} answers {said}: it wants a user and password, or others than these. Give url_username "
                "and url_password."
            )
        if answer.status in (403, 405):
            return EverupError(f"Balancer {self.address}: Permission denied, it answers {said}{_quoted(answer)}. {way_on}")
        if 300 <= answer.status < 400:
            to = told(answer.headers.get("location", "elsewhere"))
            return EverupError(f"Balancer {self.address} answers {said}, which leads to {to}: give the address that it leads to.")
        return EverupError(f"Balancer {self.address} answers {said}{_quoted(answer)}. Look at its error log.")

    def _late(self, method: str, path: str) -> EverupError:
        return EverupError(f"Balancer {self.address} did not answer '{method} {path}' within {self.timeout:g} s.")

    def _failed(self, method: str, path: str, error: Exception) -> EverupError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return EverupError(
                f"Balancer {self.address} cannot be reached: its certificate is not valid ({error.verify_message}). Have this "
                "host trust its issuer, or set validate_certs=false."
            )
        if isinstance(error, http.client.RemoteDisconnected):
            return EverupError(f"Balancer {self.address} closed the connection without answering '{method} {path}'.")
        if isinstance(error, OSError):
            return EverupError(f"Balancer {self.address} cannot be reached: {error.strerror or error}.")
        return EverupError(
            f"Balancer {self.address} gave an answer to '{method} {path}' that is not HTTP's ({type(error).__name__}: {error})."
        )


def base_url(address: str) -> str:
    """Return the URL of an admin interface that the user wrote as a URL or as ``host:port``.

    Raises:
        EverupError: it is neither.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "http", address
    host, colon, port = rest.partition("/")[0].rpartition(":")
    if scheme not in ("http", "https") or not rest or (not separator and not (colon and host and port.isdigit())):
        raise EverupError(f"Balancer address {told(address)!r} is neither the URL of an admin interface nor its host:port.")
    return f"{scheme}://{rest.rstrip('/')}"


def get_json(url: str, timeout: float, address: str, validate_certs: bool = True):
    """Return the JSON of the answer to a GET.

    Parameters:
        timeout: seconds for the whole exchange.
        address: what errors call the balancer.

    Raises:
        EverupError: the balancer cannot be reached, does not answer in time, or answers with anything else.
    """
    parts = urlsplit(url)
    http = AdminHttp(f"{parts.scheme}://{parts.netloc}", timeout, validate_certs)
    http.address = address
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    answer = http.ask("GET", path)
    if not 200 <= answer.status < 300:
        raise http.refused("GET", path, answer, "Have it let this host look.")
    try:
        return json.loads(answer.text)
    except ValueError:
        raise EverupError(
            f"Balancer {address} answers 'GET {path}' with something that is not JSON. Is this its admin interface? It began with"
            f"{_quoted(answer) or ' nothing'}."
        ) from None


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("127.0.0.1", timeout=timeout)
        self._socket_path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)


def connection_to(url: SplitResult, timeout: float, validate_certs: bool) -> http.client.HTTPConnection:
    """Return a connection that is not made yet; ValueError when the URL has no host, or its port is none."""
    if not url.hostname:
        raise ValueError("its URL has no host")
    if url.scheme == "http":
        return http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
    context = ssl.create_default_context()
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout, context=context)


def exchange(
    connection: http.client.HTTPConnection, timeout: float, method: str, path: str, body: bytes | None, headers: dict
) -> Answer | Exception:
    """Make one request and return its answer, or the exception that came instead: socket.timeout when the time was over.

    A socket time-out bounds one read only, and name resolution not at all: so the exchange runs in a thread of its own, which is
    given up when the time is over.
    """
    seen: list = []
    worker = threading.Thread(target=lambda: seen.append(_seen(connection, method, path, body, headers)), daemon=True)
    worker.start()
    worker.join(timeout)
    if seen:
        return seen[0]
    with suppress(OSError, AttributeError):  # wakes a thread that waits for a byte
        connection.sock.shutdown(socket.SHUT_RDWR)
    return socket.timeout()


def _seen(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: dict):
    try:
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            return Answer(answer.status, answer.reason, {name.lower(): value for name, value in answer.getheaders()}, text)
        finally:
            connection.close()
    except Exception as error:  # the other thread says what it means
        return error


def _checked(address: str) -> str:
    """Return an address that is the URL of an interface.

    Raises:
        EverupError: it is not, or it holds a password, which would be shown wherever the balancer is named.
    """
    check_address(address)
    try:
        url = urlsplit(address)
        host, _port = url.hostname, url.port  # a port that is none is a ValueError
    except ValueError:
        url = host = None
    if not host or url.scheme not in ("http", "https") or url.query or url.fragment or not URL_TEXT.match(address):
        raise EverupError(f"Balancer address {told(address)!r} is not an http or https URL, without a query.")
    return address


def _quoted(answer: Answer) -> str:
    """Return the beginning of what a refusal says, without the markup of a page."""
    text = " ".join(re.sub(r"(?s)<(style|title).*?</\1>|<[^>]*>", " ", answer.text).split())
    return f" ({text[:500]})" if text else ""
