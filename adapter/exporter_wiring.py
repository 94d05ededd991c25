"""How the exporter of one destination is made and connected; the entities actor decides when.

Each exporter has a supervisor under the wiring's nursery, so it outlives a crash of the entities
actor. Its channels outlive it: whoever hints or orders something while it is exchanged for one with
other settings is heard by that.
"""

from dataclasses import dataclass, field

import trio

from adapter.actors.committer import Committer
from adapter.actors.export_places import ExportPlaces
from adapter.actors.exporter import Exporter
from adapter.actors.fallback_giver import FallbackGiver
from adapter.channels import ExportDesk, notify
from adapter.domain.entities import Destination
from adapter.domain.events import Publish
from adapter.domain.exporting import ExportRules
from adapter.domain.messages import Wake
from adapter.domain.system_events import ActorFacts, ActorStopped
from adapter.edges import Edges
from adapter.supervision import Post

HAND_OVER_S = 2.0
"""For an exporter to end the batch in hand before it is cut off; what was not answered is sent
again by the next one."""


@dataclass(slots=True, kw_only=True)
class ExporterWakes:
    """The channels by which exporters are woken: made once, for as long as a destination exists."""

    _sources: dict[str, trio.MemorySendChannel[Wake]] = field(default_factory=dict)
    _woken: dict[str, trio.MemoryReceiveChannel[Wake]] = field(default_factory=dict)
    _holders: list[dict[str, trio.MemorySendChannel[Wake]]] = field(default_factory=list)

    def held(self) -> dict[str, trio.MemorySendChannel[Wake]]:
        """Return an end for each destination there is and will be; whoever holds it closes all."""
        ends = {name: wake.clone() for name, wake in self._sources.items()}
        self._holders.append(ends)
        return ends

    def of(self, name: str) -> trio.MemorySendChannel[Wake]:
        """Return an end for one destination, also if it begins later."""
        if name not in self._sources:
            self._sources[name], self._woken[name] = trio.open_memory_channel[Wake](1)
            for ends in self._holders:
                ends[name] = self._sources[name].clone()
        return self._sources[name].clone()

    def woken(self, name: str) -> trio.MemoryReceiveChannel[Wake]:
        """Return the end of its exporter."""
        self.of(name).close()
        return self._woken[name].clone()

    def end(self, name: str) -> None:
        """Wake nobody of that name any more."""
        for ends in (self._sources, *self._holders):
            if wake := ends.pop(name, None):
                wake.close()
        if woken := self._woken.pop(name, None):
            woken.close()

    def close(self) -> None:
        """Make no more: exporters end when those who hold ends have closed them."""
        for wake in self._sources.values():
            wake.close()


@dataclass(slots=True, kw_only=True)
class ExporterStaff:
    """Makes exporters."""

    edges: Edges
    rules: ExportRules
    publish: Publish
    nursery: trio.Nursery
    committer: Committer
    places: ExportPlaces
    desk: ExportDesk
    wakes: ExporterWakes
    reclaimer_wake: trio.MemorySendChannel[Wake]

    async def start(self, destination: Destination) -> "RunningExporter":
        """Start the exporter of a destination."""
        self.places.add(destination.name)
        self.desk.open(destination.name)
        running = RunningExporter(self, destination)
        await running.start()
        return running

    def close(self) -> None:
        """Start no more."""
        self.wakes.close()
        self.reclaimer_wake.close()

    def exporter(self, destination: Destination, leave: trio.Event) -> Exporter:
        """Make an exporter."""
        edges, name = self.edges, destination.name
        return Exporter(
            destination=destination, ledger=edges.ledger, source=edges.results,
            requestor=edges.requestor, committer=self.committer, places=self.places,
            figures=self.desk.figures, wake=self.wakes.woken(name), leave=leave,
            orders=self.desk.taken[name].clone(), giver=self._giver(destination),
            reclaimer_wake=self.reclaimer_wake.clone(), publish=self.publish, now=edges.now,
            draw=edges.draw, rules=self.rules,
        )  # fmt: skip

    def _giver(self, destination: Destination) -> FallbackGiver | None:
        if not destination.fallback:
            return None
        return FallbackGiver(
            fallback=destination.fallback, after_s=destination.fallback_after_s,
            wake=self.wakes.of(destination.fallback), ledger=self.edges.ledger,
            publish=self.publish, now=self.edges.now,
        )  # fmt: skip


class RunningExporter:
    """The exporter of one destination."""

    def __init__(self, staff: ExporterStaff, destination: Destination) -> None:
        """Nothing runs yet."""
        self.destination = destination
        self._staff = staff
        self._leave, self._post = trio.Event(), Post()

    async def start(self) -> None:
        """Start the exporter, or start it again."""
        staff, self._leave = self._staff, trio.Event()
        actor = staff.exporter(self.destination, self._leave)
        self._post = Post()
        await staff.nursery.start(self._post.run, actor, staff.publish)

    @property
    def is_parked(self) -> bool:
        """Whether it has crashed too often."""
        return self._post.over.is_set()

    async def change(self, destination: Destination) -> None:
        """Go on with other settings: what waits is in the ledger.

        Cancel: there may be no exporter; do it again.
        """
        await self._end()
        self._staff.edges.destination_files.forget(destination.name)
        self.destination = destination
        await self.start()

    async def _end(self) -> None:
        self._leave.set()
        wake = self._staff.wakes.of(self.destination.name)
        notify(wake)
        wake.close()
        with trio.move_on_after(HAND_OVER_S):
            await self._post.over.wait()
        self._post.scope.cancel()
        await self._post.over.wait()

    async def end(self) -> None:
        """Return when nothing of it runs, and nothing is known of it."""
        staff, name = self._staff, self.destination.name
        await self._end()
        staff.wakes.end(name)
        staff.desk.close(name)
        staff.places.remove(name)
        staff.desk.figures.forget(name)
        staff.edges.destination_files.forget(name)
        staff.publish(ActorStopped(data=ActorFacts(actor=f"exporter:{name}")))
