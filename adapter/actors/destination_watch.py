"""Destination watch: the part of an exporter that knows whether its destination is there.

Consumes: how associations went, holds of operators. Produces: probes, `destination.up`, `.down`,
`.tried`, `.held`, `.released`. Owns: the breaker, the hold of its destination. Rebuilds from: the
ledger; a destination counts as being there until it is tried. Restart policy: that of its exporter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from adapter.domain.breaker import Breaker, BreakerState
from adapter.domain.delivery_window import opens_at
from adapter.domain.destination_rows import DestinationHold, DestinationOutage, DestinationRows
from adapter.domain.dimse_ports import Requestor
from adapter.domain.entities import Destination
from adapter.domain.events import Publish
from adapter.domain.export_events import (
    DestinationDown,
    DestinationHeld,
    DestinationReleased,
    DestinationTried,
    DestinationUp,
    HoldFacts,
    Outage,
)
from adapter.domain.export_figures import ExportFigures
from adapter.domain.exporting import OUTAGE_PAUSE_S_MIN
from adapter.domain.ports import WallClock
from adapter.domain.refusals import Cause
from adapter.domain.wall_time import rfc3339
from adapter.errors import PeerRefusalError, UnavailableError

log = structlog.get_logger("adapter.exporter")


@dataclass(slots=True, kw_only=True)
class DestinationWatch:
    """Notes what one destination does, and tells operators and exporter when that changes."""

    destination: Destination
    requestor: Requestor
    breaker: Breaker
    figures: ExportFigures
    publish: Publish
    now: WallClock
    holds: DestinationRows[DestinationHold]
    outages: DestinationRows[DestinationOutage]
    changed: Callable[[], None]
    """Called when the exporter may do more, or less, than before."""
    probing: bool = False
    _up: bool | None = None
    _room: int = 1
    _room_until: float = 0.0
    """Wall time."""

    def answered(self) -> None:
        """Note that it answered for an instance, or that there is nothing to send to it."""
        if self.breaker.state is not BreakerState.CLOSED:
            self.changed()
        self.breaker.answered()
        self.figures.down.pop(self.destination.name, None)
        if self._up is not True:
            self._up = True
            log.info("destination.up", destination=self.destination.name)
            self.publish(DestinationUp(destination=self.destination.name))

    def opens_at(self, now: float) -> float:
        """Return the wall time from which it may be sent to: endless, while it is held."""
        if self.holds.of(self.destination.name):
            return math.inf
        return opens_at(self.destination.window, now)

    async def hold(self, hold: DestinationHold | None) -> None:
        """Have nothing sent there, or (None) go on; that is durable then."""
        name = self.destination.name
        if hold is not None:
            await self.holds.put(hold)
            self._tell_hold()
        elif self.holds.of(name):
            await self.holds.remove(name)
            self.publish(DestinationReleased(destination=name))

    def recall(self) -> None:
        """Take up a hold, and an outage, that began before this process did."""
        self._tell_hold()
        if outage := self.outages.of(self.destination.name):
            self.breaker.recall(outage.why, outage.at)

    async def remember(self) -> None:
        """Have the ledger know whether it is down, and since when."""
        name, since = self.destination.name, self.breaker.down_since
        kept = self.outages.of(name)
        if since is None:
            await self.outages.remove(name)
        elif kept is None or kept.at != since:
            why = self.breaker.why
            await self.outages.put(DestinationOutage(destination=name, why=why, at=since))

    def _tell_hold(self) -> None:
        """Tell that it is held, if it is."""
        if hold := self.holds.of(self.destination.name):
            facts = HoldFacts(why=hold.why, held_at=rfc3339(hold.at))
            self.publish(DestinationHeld(destination=hold.destination, data=facts))

    def room(self) -> int:
        """Return how many associations it may have now."""
        if self.breaker.state is BreakerState.HALF_OPEN:
            return 1
        return self._room if self.now() < self._room_until else self.destination.max_associations

    def unreached(self, why: str) -> None:
        """Note that no association could be made.

        While others are open it is not down: it may have a limit of its own, below ours. Nobody
        tries for more of them for a while; if it is down all the same, the others will tell.
        """
        others = self.figures.associations[self.destination.name]
        if others:
            pause_s = max(self.breaker.retry_delay_s, OUTAGE_PAUSE_S_MIN)
            self._room, self._room_until = others, self.now() + pause_s
            log.info("destination.crowded", destination=self.destination.name,
                     associations=others, why=why)  # fmt: skip
        else:
            self._outage(why)

    def _outage(self, why: str) -> None:
        if self.breaker.unreached(why, self.now()):
            self._tell_outage()

    def lost(self, why: str, instance: str) -> None:
        """Note that an association broke on an instance before anything was answered."""
        if self.breaker.lost(why, instance, self.now()):
            self._tell_outage()

    def probed(self) -> None:
        """Note that it answered a probe of somebody else; what waits need not wait for ours."""
        if self.breaker.state is BreakerState.OPEN:
            self.breaker.probed()

    async def probe(self) -> None:
        """Ask whether it is there again; who answers and does not offer Verification is there."""
        try:
            await self.requestor.echo(self.destination)
            self.breaker.probed()
        except UnavailableError as error:
            if isinstance(error, PeerRefusalError) and error.cause == Cause.CONTEXT_REFUSED:
                self.breaker.probed()
            else:
                self._outage(str(error))
        finally:
            self.probing = False
            self.changed()

    def _tell_outage(self) -> None:
        breaker, name = self.breaker, self.destination.name
        self.figures.outages[name] += 1
        self.figures.down[name] = breaker.why
        facts = Outage(
            why=breaker.why,
            tries=breaker.tries,
            since_at=rfc3339(breaker.down_since or 0.0),
            again_at=rfc3339(breaker.again_at),
        )
        kind = DestinationTried if self._up is False else DestinationDown
        event = kind(destination=name, data=facts)
        log.warning(
            f"destination.{event.verb}", destination=name, why=breaker.why, tries=breaker.tries
        )
        self._up = False
        self.publish(event)
