# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shop's HTTP interface, the same in every version."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from flask import Flask, Response, jsonify, render_template, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import BadRequest, HTTPException

from shop import database, store

RELEASE = Path(__file__).resolve().parent.parent


def create_app(database_url: str | None = None, name: str | None = None) -> Flask:
    """The WSGI application.

    Parameters:
        database_url: an SQLAlchemy URL; default: the environment variable DATABASE_URL.
        name: what this server calls itself; default: SHOP_NAME, or else the host's name.
    """
    app = Flask(__name__)
    name = name or os.environ.get("SHOP_NAME") or socket.gethostname()
    version = (RELEASE / "VERSION").read_text(encoding="utf-8").strip()
    engine = database.connect(database_url or os.environ["DATABASE_URL"], program=f"shop {version}")
    broken = (RELEASE / "BROKEN").exists()

    @app.after_request
    def say_who_answers(response: Response) -> Response:
        response.headers["X-Shop-Version"] = version
        response.headers["X-Shop-Name"] = name
        return response

    @app.errorhandler(store.NotFoundError)
    def not_found(error: store.NotFoundError):
        return jsonify(error=str(error)), 404

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException):
        return jsonify(error=error.description), error.code

    @app.errorhandler(SQLAlchemyError)
    def database_failed(error: SQLAlchemyError):
        app.logger.error("%s %s: %s", request.method, request.path, error)
        return jsonify(error="the database did not answer as expected"), 503

    @app.get("/health")
    def health():
        report = {"status": "ok", "version": version, "name": name, "database": "ok"}
        try:
            with database.reading(engine) as connection:
                store.probe(connection)
        except SQLAlchemyError as error:
            app.logger.error("health: %s", error)
            return jsonify(report | {"status": "failed", "database": type(error).__name__}), 503
        if broken:
            return jsonify(report | {"status": "broken"}), 500
        return jsonify(report)

    @app.get("/")
    def page():
        with database.reading(engine) as connection:
            orders = store.newest_orders(connection)
        return render_template("orders.html", orders=orders, version=version, name=name)

    @app.post("/orders")
    def create_order():
        body = _body(customer=int, item=str, quantity=int)
        with database.writing(engine) as connection:
            order = store.create_order(connection, **body)
        return jsonify(id=order), 201

    @app.get("/orders/<int:order>")
    def get_order(order: int):
        with database.reading(engine) as connection:
            return jsonify(store.get_order(connection, order))

    @app.put("/orders/<int:order>")
    def move_order(order: int):
        body = _body(customer=int)
        with database.writing(engine) as connection:
            store.move_order(connection, order, body["customer"])
        return jsonify(id=order)

    @app.get("/customers/<int:customer>/orders")
    def customer_orders(customer: int):
        with database.reading(engine) as connection:
            return jsonify(orders=store.customer_orders(connection, customer))

    @app.post("/customers/<int:customer>/addresses")
    def add_address(customer: int):
        body = _body(street=str, city=str)
        with database.writing(engine) as connection:
            address = store.add_address(connection, customer, **body)
        return jsonify(id=address), 201

    @app.get("/customers/<int:customer>/addresses")
    def customer_addresses(customer: int):
        with database.reading(engine) as connection:
            return jsonify(addresses=store.customer_addresses(connection, customer))

    return app


def _body(**wanted: type) -> dict:
    """The request's JSON object with exactly the wanted fields; raises BadRequest (400)."""
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    for field, kind in wanted.items():
        if not isinstance(body.get(field), kind) or isinstance(body[field], bool):
            raise BadRequest(f"{field} must be a JSON {'number' if kind is int else 'string'}")
    if body.get("quantity", 1) < 1:
        raise BadRequest("quantity must be at least 1")
    return {field: body[field] for field in wanted}
