"""Rejection keeper: has the ledger know who was refused, and why, also after a restart.

Consumes: hints that an association was refused. Produces: rows in the ledger. Owns: nothing.
Rebuilds from: the rows of the occupancy. Restart policy: replica.

Who refuses never waits for the disk. What a flood changes is written together, once in `PERIOD_S`.
"""

from dataclasses import dataclass

import trio

from adapter.channels import wait_woken
from adapter.domain.messages import Wake
from adapter.domain.rejections import RejectionLedger, Rejections

PERIOD_S = 1.0
"""What a kill may forget."""


@dataclass(slots=True, kw_only=True)
class RejectionKeeper:
    """Writes what has changed."""

    rejected: Rejections
    ledger: RejectionLedger
    woken: trio.MemoryReceiveChannel[Wake]
    name: str = "rejection-keeper"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        task_status.started()
        try:
            while True:
                await self.ledger.keep(self.rejected.rows)
                await self.woken.receive()
                end = trio.current_time() + PERIOD_S
                while trio.current_time() < end:
                    await wait_woken(self.woken, end)
        except trio.EndOfChannel:  # all listeners have gone
            await self.ledger.keep(self.rejected.rows)

    def close(self) -> None:
        """See `Actor.close`."""
        self.woken.close()
