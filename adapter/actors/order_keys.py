"""Idempotency keys of orders: the part of submitter and exporters that knows an order again.

Consumes: the digest of a key. Produces: what was done under it, or the row that will say so. Owns:
nothing. Rebuilds from: the ledger. Restart policy: that of who asks.
"""

from adapter.domain.messages import OrderRefusal, OrderRefused
from adapter.domain.ports import Ledger
from adapter.domain.records import Order


async def known_before(ledger: Ledger, order: Order) -> bool | OrderRefused:
    """Return whether this order was obeyed before; or that its key was another order's."""
    known = await ledger.order(order.key) if order.key else None
    if known and (known.job_id, known.action) != (order.job_id, order.action):
        return OrderRefused(OrderRefusal.KEY, "this Idempotency-Key was another request's")
    return known is not None
