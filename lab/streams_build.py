# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build the shop's archives with the answers of lab/streams_app.py in them: `python -m lab.streams_build DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

from examples.shop.build import pack, release_files

APP = Path(__file__).with_name("streams_app.py")
# A download or a WebSocket holds a thread for as long as it lasts, and those that outlast the drain are cut soon.
SETTINGS = b"""
wsgi_app = "streams_app:create_streams_app()"
threads = 40
graceful_timeout = 2
"""


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for tree, broken in (("v1", False), ("v2", False), ("v2", True)):
        files = release_files(tree, broken)
        files["streams_app.py"] = APP.read_bytes()
        files["gunicorn.conf.py"] += SETTINGS
        archive = directory / f"shop-{files['VERSION'].decode().strip()}.tar.gz"
        archive.write_bytes(pack(files))
        print(archive)


if __name__ == "__main__":
    main()
