"""Fallback giver: the part of an exporter that gives to another what its destination cannot take.

Consumes: exports that wait while the destination is down. Produces: exports to the fallback, hints
to its exporter. Owns: the end of that exporter's channel. Rebuilds from: nothing. Restart policy:
that of its exporter.
"""

from dataclasses import dataclass

import trio

from adapter.actors.sender import tell_export
from adapter.channels import notify
from adapter.domain.events import Publish
from adapter.domain.fallback import handed_over
from adapter.domain.messages import Wake
from adapter.domain.ports import Ledger, WallClock
from adapter.domain.records import Export
from adapter.domain.tables import ExportState


@dataclass(slots=True, kw_only=True)
class FallbackGiver:
    """Gives exports to one fallback, after the destination has been down for long enough."""

    fallback: str
    after_s: float
    wake: trio.MemorySendChannel[Wake]
    ledger: Ledger
    publish: Publish
    now: WallClock

    async def give(self, export: Export) -> bool:
        """Give what waits; return False if the export stays: the fallback gets it anyway."""
        others = await self.ledger.exports_of(export.job_id)
        if export.state is not ExportState.QUEUED or any(
            other.destination == self.fallback for other in others
        ):
            return False
        outcomes = await self.ledger.outcomes(export.id)
        if any(outcome.waits for outcome in outcomes):
            given, taken = handed_over(export, outcomes, self.fallback, self.now())
            await self.ledger.hand_over(given, taken)
            tell_export(self.publish, "given", given[0])
            tell_export(self.publish, "opened", taken[0])
            notify(self.wake)
        return True
