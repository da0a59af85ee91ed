# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shop with answers that take their time: a download, a long poll and a WebSocket. A part of what runs on the web servers.

Each takes ``?seconds=``; the WebSocket never ends of its own with 0.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

from flask import Flask, Response, jsonify, request
from flask_sock import Sock
from shop.web import RELEASE, create_app

TICK_S = 0.1


def create_streams_app() -> Flask:
    """The WSGI application: the shop's, with ``/streams/download``, ``/streams/poll`` and ``/streams/feed``."""
    app = create_app()
    sock = Sock(app)
    who = {"version": (RELEASE / "VERSION").read_text(encoding="utf-8").strip(), "name": os.environ["SHOP_NAME"]}

    @app.get("/streams/download")
    def download():
        lines = int(float(request.args["seconds"]) / TICK_S)

        def content() -> Iterator[str]:
            for number in range(lines):
                time.sleep(TICK_S)
                yield f"line {number} of {lines}\n"

        return Response(content(), mimetype="text/plain")

    @app.get("/streams/poll")
    def poll():
        time.sleep(float(request.args["seconds"]))
        return jsonify(who)

    @sock.route("/streams/feed")
    def feed(socket) -> None:
        seconds, began = float(request.args["seconds"]), time.monotonic()
        while not seconds or time.monotonic() - began < seconds:
            socket.send(json.dumps(who))
            time.sleep(TICK_S)

    return app
