# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The members of a pool, and one user's request to them."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class App(ThreadingHTTPServer):
    """A small web application: ``/`` answers, ``/hold`` does once released, ``/health`` after ``health_seconds``.

    ``/status/500`` answers that, ``/slow/2`` after two seconds, ``/cut`` closes the connection.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.health_code = 200
        self.flag: Path | None = None  # while this file is there, its health check answers 503
        self.health_seconds = 0.0
        self.released = threading.Event()
        self.served = 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def at(self) -> tuple:
        return self.server_address

    def handle_error(self, request, client_address) -> None:
        """Say nothing: a user who went away, or a balancer that was stopped, is part of the tests."""

    def stop(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        flagged = self.server.flag is not None and self.server.flag.exists()
        code = (503 if flagged else self.server.health_code) if self.path == "/health" else 200
        if self.path == "/hold":
            self.server.released.wait(30)
        elif self.path == "/health":
            time.sleep(self.server.health_seconds)
        elif self.path.startswith("/slow/"):
            time.sleep(float(self.path.rpartition("/")[2]))
        elif self.path.startswith("/status/"):
            code = int(self.path.rpartition("/")[2])
        elif self.path == "/cut":
            self.close_connection = True
            return
        if self.path != "/health":
            self.server.served += 1
        self.send_response(code)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args) -> None:
        pass


class Request(threading.Thread):
    """One user's request on its way; ``status`` is the HTTP code once it is done, or the exception."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__(daemon=True)
        self.port, self.path, self.status = port, path, None
        self.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", self.path)
            self.status = connection.getresponse().status
        except OSError as error:
            self.status = error
        finally:
            connection.close()
