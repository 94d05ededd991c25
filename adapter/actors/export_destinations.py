"""Export destinations: the branch of the entities actor for where results go.

Consumes: calls of the entities actor. Produces: exporters, hints to the results actor. Owns: which
exporters run. Rebuilds from: what is listed; the queue of an exporter is the ledger, so one with
other settings goes on with what waits. Restart policy: that of the entities actor, whose crashes it
outlives.

One that is removed gets no new results from then on, sends what waits for it, and goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from adapter.channels import notify
from adapter.domain.entities import Destination
from adapter.domain.entity_rows import Configured, Kind, ListedEntity
from adapter.domain.messages import Wake
from adapter.domain.ports import Ledger
from adapter.domain.tables import EXPORT_TERMINAL, JOB_TERMINAL, ExportState, JobState, TaskState

OPEN_EXPORTS = frozenset(ExportState) - EXPORT_TERMINAL
UNFINISHED_JOBS = frozenset(JobState) - JOB_TERMINAL | {JobState.COMPLETED}


class RunningExporter(Protocol):
    """The exporter of a destination, supervised; see `adapter.exporter_wiring`."""

    destination: Destination

    @property
    def is_parked(self) -> bool: ...

    async def change(self, destination: Destination) -> None: ...

    async def end(self) -> None: ...


class ExporterStaff(Protocol):
    """Starts exporters."""

    async def start(self, destination: Destination) -> RunningExporter: ...

    def close(self) -> None: ...


@dataclass(slots=True, kw_only=True)
class ExportDestinations:
    """Has exporters run as destinations are listed."""

    staff: ExporterStaff
    ledger: Ledger
    results_wake: trio.MemorySendChannel[Wake]
    kind: Kind = "destination"
    drains_unasked: bool = False
    _running: dict[str, RunningExporter] = field(default_factory=dict)
    """By name."""

    def actor(self, name: str) -> str:
        """See `Branch.actor`."""
        return f"exporter:{name}"

    def taken(self, wanted: ListedEntity, others: Sequence[ListedEntity]) -> list[str]:  # noqa: ARG002
        """See `Branch.taken`: one peer may be several destinations."""
        return []

    def fixed(self, now: ListedEntity, wanted: Configured) -> str:  # noqa: ARG002
        """See `Branch.fixed`."""
        return ""

    async def run(self, listed: ListedEntity) -> None:
        """See `Branch.run`."""
        destination, running = listed.entity, self._running.get(listed.name)
        assert isinstance(destination, Destination)
        if running is None:
            self._running[listed.name] = await self.staff.start(destination)
        elif running.is_parked or running.destination != destination:
            await running.change(destination)

    def enter(self, listed: ListedEntity) -> None:  # noqa: ARG002 - held results are looked through
        """See `Branch.enter`."""
        notify(self.results_wake)

    def is_parked(self, name: str) -> bool:
        """See `Branch.is_parked`."""
        running = self._running.get(name)
        return running is None or running.is_parked

    async def left(self, listed: ListedEntity) -> str:
        """See `Branch.left`."""
        exports = await self.ledger.exports(OPEN_EXPORTS, listed.name)
        if exports:
            return f"{len(exports)} export{'s' * (len(exports) > 1)}"
        jobs = [
            job
            for job in await self.ledger.jobs(UNFINISHED_JOBS)
            if listed.name in job.destinations and not job.collected
        ]
        if jobs:
            return f"{len(jobs)} job{'s' * (len(jobs) > 1)} with results for it"
        tasks = self.ledger.tasks.select(frozenset({TaskState.PENDING}))
        return "registered results" if any(listed.name in t.destinations for t in tasks) else ""

    async def end(self, listed: ListedEntity) -> None:
        """See `Branch.end`."""
        if running := self._running.pop(listed.name, None):
            await running.end()
        await self.ledger.holds.remove(listed.name)
        await self.ledger.outages.remove(listed.name)

    def close(self) -> None:
        """See `Branch.close`."""
        self.staff.close()
        self.results_wake.close()

    def let_end(self) -> None:
        """See `Branch.let_end`: each ends when nobody can have anything for it any more."""
