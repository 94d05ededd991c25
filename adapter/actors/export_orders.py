"""Export orders: the part of an exporter that obeys operators.

Consumes: orders to send again what was given up, and to hold the destination; that it has
answered an operator. Produces: the export as it is then. Owns: nothing. Rebuilds from: nothing.
Restart policy: that of its exporter.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from adapter.actors.order_keys import known_before
from adapter.channels import answer
from adapter.domain.destination_rows import DestinationHold
from adapter.domain.exporter_orders import (
    DestinationAnswered,
    DestinationOrder,
    ExporterOrder,
)
from adapter.domain.exporting import AS_NEW, resubmitted
from adapter.domain.messages import (
    ExportOrder,
    OrderRefusal,
    OrderRefused,
)
from adapter.domain.ports import Ledger, WallClock
from adapter.domain.records import Export, Order
from adapter.domain.tables import ExportState, StepEvent
from adapter.errors import RowNotFoundError


class ChangeExport(Protocol):
    """Changes the row of an export, and tells so."""

    async def __call__(
        self, export: Export, event: StepEvent, order: Order | None = None, /, **changes: object
    ) -> Export: ...


@dataclass(slots=True, kw_only=True)
class ExportOrders:
    """Retries exports, and has their destination held."""

    ledger: Ledger
    change: ChangeExport
    hold: Callable[[DestinationHold | None], Awaitable[None]]
    probed: Callable[[], None]
    now: WallClock

    async def serve(
        self, orders: trio.MemoryReceiveChannel[ExporterOrder], done: Callable[[], None]
    ) -> None:
        """Obey one order after the other, and say so by calling done()."""
        async for order in orders:
            with order.reply:
                match order:
                    case ExportOrder():
                        answer(order.reply, await self.retry(order))
                    case DestinationOrder():
                        await self.hold(order.hold)
                        answer(order.reply, True)
                    case DestinationAnswered():
                        self.probed()
                        answer(order.reply, True)
            done()

    async def retry(self, order: ExportOrder) -> Export | OrderRefused:
        """Have sent again what is not delivered, refused or not; all of it, or what is named."""
        action = " ".join(["retry", *sorted(order.instances)])
        kept = Order(key=order.key, job_id=order.export_id, action=action, at=self.now())
        known = await known_before(self.ledger, kept)
        if isinstance(known, OrderRefused):
            return known
        try:
            export = await self.ledger.export(order.export_id)
        except RowNotFoundError as error:
            return OrderRefused(OrderRefusal.UNKNOWN, str(error))
        if known:
            return export
        if export.state is not ExportState.FAILED:
            why = f"the export is {export.state}; only what is Failed is retried"
            return OrderRefused(OrderRefusal.STATE, why)
        outcomes = await self.ledger.outcomes(export.id)
        undelivered = {o.sop_instance_uid for o in outcomes if o.permanent or o.waits}
        if stray := sorted(order.instances - undelivered):
            why = f"no undelivered instance of the export: {', '.join(stray)}"
            return OrderRefused(OrderRefusal.STATE, why)
        # Outcomes first: an export that has failed and waits for nothing more is never seen.
        await self.ledger.record_outcomes(resubmitted(outcomes, order.instances))
        return await self.change(export, StepEvent.RESUBMIT, kept if order.key else None, **AS_NEW)
