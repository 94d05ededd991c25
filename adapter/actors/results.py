"""Results: turns what pipelines left behind into exports.

Consumes: a hint that a job has completed. Produces: exports with one outcome for each instance, a
hint to their exporters. Owns: nothing. Rebuilds from: completed jobs in the ledger that are not
collected yet. Restart policy: essential.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
import trio

from adapter.channels import notify, wait_woken
from adapter.domain.events import Event, Publish
from adapter.domain.identifiers import export_id
from adapter.domain.messages import Wake
from adapter.domain.ports import Ledger, ResultSource, WallClock
from adapter.domain.records import Export, Job, Results
from adapter.domain.tables import JobState
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.results")

POLL_S = 5.0


@dataclass(slots=True, kw_only=True)
class ResultsActor:
    """Opens one export for each destination of a completed job."""

    ledger: Ledger
    source: ResultSource
    wake: trio.MemoryReceiveChannel[Wake]
    exporter_wakes: Mapping[str, trio.MemorySendChannel[Wake]]
    reclaimer_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    now: WallClock
    name: str = "results"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        task_status.started()
        while True:
            await self._collect_all()
            try:
                await wait_woken(self.wake, trio.current_time() + POLL_S)
            except trio.EndOfChannel:
                await self._collect_all()
                return

    def close(self) -> None:
        """See `Actor.close`."""
        self.wake.close()
        self.reclaimer_wake.close()
        for wake in self.exporter_wakes.values():
            wake.close()

    async def _collect_all(self) -> None:
        for job in await self.ledger.jobs(frozenset({JobState.COMPLETED})):
            if not job.collected:
                try:
                    await self._collect(job)
                except UnavailableError as error:
                    log.warning("results.waiting", job=job.id, why=str(error))

    async def _collect(self, job: Job) -> None:
        results = await self.source.results(job.id)
        if results.skipped:
            log.info("results.skipped", job=job.id, files=len(results.skipped))
        destinations = job.destinations if results.files else ()
        now = self.now()
        exports = [
            Export(
                id=export_id(job.id, destination),
                job_id=job.id,
                destination=destination,
                priority=job.priority,
                opened_at=now,
                changed_at=now,
                instances=len(results.files),
            )
            for destination in destinations
        ]
        for export in await self.ledger.open_exports(
            job.id, [(export, results.files) for export in exports]
        ):
            self._tell(job, export, results)
            if wake := self.exporter_wakes.get(export.destination):
                notify(wake)
        if not exports:
            notify(self.reclaimer_wake)

    def _tell(self, job: Job, export: Export, results: Results) -> None:
        self.publish(
            Event(
                type="export.opened",
                ae_title=job.ae_title,
                job=job.id,
                export=export.id,
                destination=export.destination,
                data={
                    "state": export.state,
                    "instances": export.instances,
                    "skipped": len(results.skipped),
                },
            )
        )
