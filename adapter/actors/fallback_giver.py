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
from adapter.domain.export_events import ExportGiven, ExportOpened
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
        if export.state is not ExportState.QUEUED:
            return False
        outcomes = await self.ledger.outcomes(export.id)
        waiting = {outcome.file for outcome in outcomes if outcome.waits}
        for other in await self.ledger.exports_of(export.job_id):
            if other.destination == self.fallback and any(
                outcome.file in waiting for outcome in await self.ledger.outcomes(other.id)
            ):
                return False
        if waiting:
            given, taken = handed_over(export, outcomes, self.fallback, self.now())
            await self.ledger.hand_over(given, taken)
            tell_export(self.publish, ExportGiven, given[0])
            tell_export(self.publish, ExportOpened, taken[0])
            notify(self.wake)
        return True
