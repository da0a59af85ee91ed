# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The web servers of all light hosts in one process: every path answers with the version that the host's link ``running`` names.

python light_web.py SETTINGS: a JSON file with ``port`` and with ``homes``, a folder by address.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path


async def serve(port: int, homes: dict[str, str]) -> None:
    """Answer on all addresses until the process ends."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            home = homes[writer.get_extra_info("sockname")[0]]
            status, body = _said(Path(home))
            headers = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close")
            writer.write("\r\n".join((f"HTTP/1.1 {status}", *headers, "", "")).encode() + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, list(homes), port)
    await server.serve_forever()


def _said(home: Path) -> tuple[str, bytes]:
    try:
        return "200 OK", json.dumps({"version": (home / "running").readlink().name}).encode()
    except OSError:
        return "503 Service Unavailable", b"{}"


if __name__ == "__main__":
    asyncio.run(serve(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
