# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A new version of the shop that its health check calls healthy, and that fails for every user."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from lab.shop import SERVICE

NEW = "2.0.0"
# Answers health checks, and fails for users: what stands in for version 2 of the shop on one host.
FAILING = """
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        healthy = self.path == "/health"
        body = json.dumps({"status": "ok", "version": "2.0.0"}).encode()
        self.send_response(200 if healthy else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET

    def log_message(self, *words):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def failing_for_users(deploy, host: str, folder: Path) -> dict:
    """Return a host's variables with a restart that starts the failing server in place of version 2."""
    server, program = deploy.servers[host], folder / "failing.py"
    program.write_text(FAILING)
    service = shlex.join([sys.executable, str(SERVICE)])
    script = f"""
if [ -f {folder}/pid ]; then kill $(cat {folder}/pid); while kill -0 $(cat {folder}/pid) 2>/dev/null; do sleep 0.1; done; fi
rm -f {folder}/pid
case $(readlink {server.home}/current) in
  *{NEW}) {service} stop --home {server.home}
    setsid {sys.executable} {program} {server.port} > /dev/null 2>&1 & echo $! > {folder}/pid ;;
  *) {service} start --home {server.home} ;;
esac
"""
    return {"rolling_upgrade_restart_command": ["sh", "-c", script]}
