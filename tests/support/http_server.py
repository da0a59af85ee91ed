# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real HTTP server that can be told to fail, to hang and to go away, and remembers what it was asked."""

from __future__ import annotations

import http.server
import threading
import time

from lab.ports import free_port


class Site:
    """A server on a port of its own; ``with Site() as site: site.status = 500``.

    Attributes:
        status: what it answers with.
        delay: seconds before it does.
        asked: method, path and headers of each request, with its body.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.status, self.delay = 200, 0.0
        self.asked: list[tuple] = []
        self._server: http.server.ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Listen."""
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                site.asked.append((self.command, self.path, dict(self.headers), body))
                time.sleep(site.delay)
                self.send_response(site.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_words) -> None:
                """Say nothing."""

        http.server.ThreadingHTTPServer.allow_reuse_address = True
        http.server.ThreadingHTTPServer.request_queue_size = 128
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Site:
        self.start()
        return self

    def __exit__(self, *_exception) -> None:
        self.stop()
