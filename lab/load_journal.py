# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the load wrote and what it may therefore expect to read: the journal of acknowledged writes."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field


@dataclass
class Order:
    """An acknowledged order.

    Parameters:
        customers: whom it may belong to: one, or two after a move whose answer was lost.
        pins: how many requests that expect it to stay as it is are under way or due.
    """

    id: int
    customers: set[int]
    item: str
    quantity: int
    pins: int = 0
    moving: bool = False

    def mismatch(self, row: object) -> str | None:
        """Why a row that was read is not this order; None when it is."""
        if not isinstance(row, dict):
            return f"order {self.id} was answered with {row!r}"
        wanted = {"id": self.id, "item": self.item, "quantity": self.quantity}
        for name, value in wanted.items():
            if row.get(name) != value:
                return f"order {self.id} has {name} {row.get(name)!r} instead of {value!r}"
        if row.get("customer") not in self.customers:
            return f"order {self.id} belongs to {row.get('customer')!r} instead of {sorted(self.customers)}"
        if row.get("billed_to") != row["customer"]:
            return f"order {self.id} of customer {row['customer']} is billed to {row.get('billed_to')!r}"
        return None


@dataclass
class Journal:
    """All acknowledged orders, those still to be read back, and the newest ones."""

    customers: int
    orders: dict[int, Order] = field(default_factory=dict)
    due: deque[Order] = field(default_factory=deque)
    writes: int = 0

    def __post_init__(self) -> None:
        # A customer's list shows 50 orders: one that is among the newest 10 per customer is surely in it.
        self.newest: deque[int] = deque(maxlen=10 * self.customers)
        self._ids: list[int] = []

    def created(self, order: Order) -> bool:
        """Note an acknowledged order, to be read back soon; False when its id was given out before."""
        if order.id in self.orders:
            return False
        self.orders[order.id] = order
        self._ids.append(order.id)
        self.newest.append(order.id)
        self._read_back(order)
        return True

    def moved(self, order: Order, customer: int) -> None:
        """Note an acknowledged move."""
        order.moving = False
        order.customers = {customer}
        self._read_back(order)

    def perhaps_moved(self, order: Order, customer: int) -> None:
        """Note a move that nobody acknowledged: it may still have happened."""
        order.moving = False
        order.customers.add(customer)

    def _read_back(self, order: Order) -> None:
        self.writes += 1
        order.pins += 1
        self.due.append(order)

    def take_for_reading(self) -> Order | None:
        """An order to read and compare, pinned: one that is due, or else any; None when there is none."""
        if self.due:
            return self.due.popleft()
        if not self._ids:
            return None
        order = self.orders[random.choice(self._ids)]  # noqa: S311 - not a secret
        if order.moving:
            return None
        order.pins += 1
        return order

    def take_for_moving(self) -> Order | None:
        """One of the newest orders that nobody reads just now, marked as moving; None when there is none."""
        for _ in range(5):
            if not self.newest:
                return None
            order = self.orders[random.choice(self.newest)]  # noqa: S311
            if not order.pins and not order.moving and len(order.customers) == 1:
                order.moving = True
                return order
        return None
