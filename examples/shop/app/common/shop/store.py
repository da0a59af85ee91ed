# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the shop reads and writes, in terms of the tables that this version's `schema` describes."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from shop.schema import addresses, customers, invoices, order_overview, orders

UNIT_CENTS = 1250

_OVERVIEW = select(
    order_overview.c.id,
    order_overview.c.owner.label("customer"),
    order_overview.c.owner_name.label("name"),
    order_overview.c.item,
    order_overview.c.quantity,
    order_overview.c.amount_cents,
    order_overview.c.invoice_id.label("invoice"),
    order_overview.c.billed_to,
).order_by(order_overview.c.id.desc())


class NotFoundError(LookupError):
    """The order or customer that a request names is not in the database."""


def probe(connection: Connection) -> None:
    """Touch every table, view and column this version needs; raises SQLAlchemyError when one is missing."""
    for table in (customers, orders, addresses, invoices, order_overview):
        connection.execute(select(*table.c).limit(1)).first()


def _require_customer(connection: Connection, customer: int) -> None:
    if connection.execute(select(customers.c.id).where(customers.c.id == customer)).first() is None:
        raise NotFoundError(f"there is no customer {customer}")


def create_order(connection: Connection, customer: int, item: str, quantity: int) -> int:
    """Write an order and its invoice; returns the order's id."""
    _require_customer(connection, customer)
    amount = quantity * UNIT_CENTS
    order = connection.execute(
        insert(orders).values(owner=customer, item=item, quantity=quantity, amount_cents=amount)
    ).inserted_primary_key[0]
    connection.execute(insert(invoices).values(order_id=order, owner=customer, amount_cents=amount))
    return order


def move_order(connection: Connection, order: int, customer: int) -> None:
    """Give an order and its invoice to another customer."""
    _require_customer(connection, customer)
    if connection.execute(update(orders).where(orders.c.id == order).values(owner=customer)).rowcount == 0:
        raise NotFoundError(f"there is no order {order}")
    connection.execute(update(invoices).where(invoices.c.order_id == order).values(owner=customer))


def get_order(connection: Connection, order: int) -> dict:
    """One order with its invoice, from the tables themselves."""
    row = connection.execute(
        select(
            orders.c.id,
            orders.c.owner.label("customer"),
            orders.c.item,
            orders.c.quantity,
            orders.c.amount_cents,
            invoices.c.id.label("invoice"),
            invoices.c.owner.label("billed_to"),
        )
        .join_from(orders, invoices, invoices.c.order_id == orders.c.id)
        .where(orders.c.id == order)
    ).first()
    if row is None:
        raise NotFoundError(f"there is no order {order}")
    return dict(row._mapping)


def customer_orders(connection: Connection, customer: int, newest: int = 50) -> list[dict]:
    """A customer's newest orders, through the view."""
    rows = connection.execute(_OVERVIEW.where(order_overview.c.owner == customer).limit(newest))
    return [dict(row._mapping) for row in rows]


def newest_orders(connection: Connection, newest: int = 20) -> list[dict]:
    """Everybody's newest orders, through the view."""
    return [dict(row._mapping) for row in connection.execute(_OVERVIEW.limit(newest))]


def add_address(connection: Connection, customer: int, street: str, city: str) -> int:
    """Write an address of a customer; returns its id."""
    _require_customer(connection, customer)
    return connection.execute(insert(addresses).values(owner=customer, street=street, city=city)).inserted_primary_key[0]


def customer_addresses(connection: Connection, customer: int) -> list[dict]:
    """A customer's addresses, oldest first."""
    rows = connection.execute(
        select(addresses.c.id, addresses.c.street, addresses.c.city).where(addresses.c.owner == customer).order_by(addresses.c.id)
    )
    return [dict(row._mapping) for row in rows]
