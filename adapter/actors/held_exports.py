"""Held exports: those that nobody gets, for want of a destination, until there is one.

Consumes: calls of the results actor. Produces: what has changed, for it to tell. Owns: nothing.
Rebuilds from: exports in the ledger that wait, and the destinations there are. Restart policy: that
of the results actor.

A sender that gets results back may not be configured; a destination may have gone by the time
somebody retries an old job, or while the adapter was down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from adapter.domain.entities import Destination
from adapter.domain.ports import Ledger
from adapter.domain.records import Export
from adapter.domain.routing import now_for, why_held
from adapter.domain.tables import ExportState

QUEUED = frozenset({ExportState.QUEUED})
NOWHERE: tuple[Destination, ...] = ()


@dataclass(slots=True, kw_only=True)
class HeldExports:
    """Says why an export is held, and finds those for which that has changed."""

    ledger: Ledger
    destinations: Sequence[Destination]
    """To which new results go."""
    served: Sequence[Destination]
    """Also those that are to go, which get what was named for them before."""
    _seen: list[Destination] | None = None
    """Those that what waits has been looked through for."""

    def why(self, destination: str) -> str:
        """Return why nobody gets what is for a destination; empty: somebody does."""
        return why_held(destination, self.served)

    async def readdressed(self) -> list[Export]:
        """Return what is held from now on, and what is not held any more."""
        if self._seen == self.destinations:
            return []
        self._seen = list(self.destinations)
        changed = []
        for export in await self.ledger.exports(QUEUED):
            destination = now_for(export.destination, self.destinations)
            why = self.why(destination)
            was_held = export.error == why_held(export.destination, NOWHERE)
            if (why and why != export.error) or (was_held and not why):
                changed.append(await self.ledger.readdress_export(export.id, destination, why))
        return changed
