"""Orders of operators that came with an idempotency key: known again, also after a restart."""

import msgspec

from adapter.domain.records import Order
from adapter.store.group_commit import Change

ORDERS_MAX = 1000
"""Older ones are forgotten: whoever repeats a request does so within minutes."""


class OrderRows:
    """The latest orders in memory; who adds one gets the rows to write."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}

    def adopt(self, row: bytes) -> None:
        """Take up a row at boot."""
        order = msgspec.msgpack.decode(row, type=Order)
        self._orders[order.key] = order

    def find(self, key: str) -> Order | None:
        """Return the order that came with this key."""
        return self._orders.get(key)

    def put(self, order: Order) -> list[Change]:
        """Keep an order, and forget the oldest if there are too many; return the rows."""
        changes: list[Change] = [(f"order/{order.key}", msgspec.msgpack.encode(order))]
        self._orders[order.key] = order
        if len(self._orders) > ORDERS_MAX:
            oldest = min(self._orders.values(), key=lambda each: each.at)
            del self._orders[oldest.key]
            changes.append((f"order/{oldest.key}", None))
        return changes
