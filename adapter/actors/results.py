"""Results: turns what pipelines left behind into exports.

Consumes: a hint that a job has completed, or that results were registered. Produces: exports with
one outcome for each instance, states of the adapter's own tasks, a hint to the exporters. Owns:
nothing. Rebuilds from: completed jobs in the ledger that are not collected yet, and tasks that have
not ended. Restart policy: essential.

When a job has completed its folder is collected: what no task names goes to the destinations of
its AE Title. A task for the adapter itself becomes exports of its own after that, and ends when
they do.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
import trio

from adapter.actors.held_exports import HeldExports
from adapter.channels import notify, wait_woken
from adapter.domain.events import Publish
from adapter.domain.export_events import ExportOpened, standing
from adapter.domain.exporting import AS_NEW, resubmitted
from adapter.domain.identifiers import export_id
from adapter.domain.job_events import CollectedFacts, JobCollected
from adapter.domain.messages import Wake
from adapter.domain.own_results import made_by
from adapter.domain.ports import Ledger, ResultSource, WallClock
from adapter.domain.records import Export, Job, OutgoingInstance, Results
from adapter.domain.routing import routed
from adapter.domain.tables import ExportState, JobState, StepEvent, TaskState
from adapter.domain.tasks import Task, exports_of, follows, outcome_of, task_event
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.results")

POLL_S = 5.0
FOLLOW_S = 1.0
"""While a task is under way: nobody says when its exports end, and memory is all that is read."""
SKIPPED_FILES_MAX = 20
"""Names that a job keeps of what is no result; a row stays small."""
WAITING = frozenset({TaskState.PENDING})
UNDER_WAY = frozenset({TaskState.IN_PROGRESS})
FOLLOWED = frozenset({TaskState.IN_PROGRESS, TaskState.FAILED})


@dataclass(slots=True, kw_only=True)
class ResultsActor:
    """Opens one export for each destination of a completed job, or of a task of it."""

    ledger: Ledger
    source: ResultSource
    wake: trio.MemoryReceiveChannel[Wake]
    exporter_wakes: Mapping[str, trio.MemorySendChannel[Wake]]
    reclaimer_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    now: WallClock
    held: HeldExports
    own_agent: str
    """Tasks of this agent are ours."""
    name: str = "results"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        task_status.started()
        while True:
            await self._look()
            try:
                pause_s = FOLLOW_S if self._followed(UNDER_WAY) else POLL_S
                await wait_woken(self.wake, trio.current_time() + pause_s)
            except trio.EndOfChannel:
                await self._look()
                return

    def close(self) -> None:
        """See `Actor.close`."""
        self.wake.close()
        self.reclaimer_wake.close()
        for wake in self.exporter_wakes.values():
            wake.close()

    async def _look(self) -> None:
        for export in await self.held.readdressed():
            self._tell_opened(await self.ledger.job(export.job_id), export)
            self._wake(export)
        for job in await self.ledger.jobs(frozenset({JobState.COMPLETED})):
            if not job.collected:
                with _patience(job):
                    await self._collect(job)
        for task in self._followed(WAITING):
            if not self._is_still(task):
                continue
            job = await self.ledger.job(task.job_id)
            if job.state is JobState.COMPLETED and job.collected and not job.condemned:
                with _patience(job):
                    await self._open_task(job, task)
        await self._follow_tasks()

    # --- jobs

    async def _collect(self, job: Job) -> None:
        results = await self._results(job)
        named = {
            file
            for task in self.ledger.tasks.of_job(job.id)
            for file in self.ledger.tasks.files(task.id)
        }
        files = {file: found for file, found in results.files.items() if file not in named}
        opened = await self._open(
            job, job.id, dict.fromkeys(self._routed(job, job.destinations), files),
            results=len(results.files), skipped=len(results.skipped),
            skipped_files=tuple(results.skipped[:SKIPPED_FILES_MAX]),
        )  # fmt: skip
        self._tell_collected(job, results, named=len(results.files) - len(files), exports=opened)
        if not opened:
            notify(self.reclaimer_wake)

    async def _results(self, job: Job) -> Results:
        """Read the output folder; what is new in it is known again before it goes anywhere."""
        results = await self.source.results(job.id)
        inputs = await self.source.inputs(job.id)
        await self.ledger.own_results.remember(*made_by(job, results.files, inputs))
        return results

    def _routed(self, job: Job, destinations: Sequence[str]) -> list[str]:
        return routed(destinations, job.calling_ae_titles, self.held.destinations)

    async def _open(
        self,
        job: Job,
        source_id: str,
        wanted: Mapping[str, Mapping[str, OutgoingInstance]],
        **facts: object,
    ) -> tuple[str, ...]:
        """Open exports of the files wanted for each destination; again is harmless.

        Returns:
            Their ids.
        """
        now = self.now()
        pairs = [
            (
                Export(
                    id=export_id(source_id, destination),
                    job_id=job.id,
                    destination=destination,
                    priority=job.priority,
                    opened_at=now,
                    changed_at=now,
                    instances=len(files),
                    error=self.held.why(destination),
                ),
                files,
            )
            for destination, files in wanted.items()
            if files
        ]
        for export in await self.ledger.open_exports(job.id, pairs, **facts):
            self._tell_opened(job, export)
            self._wake(export)
        return tuple(export.id for export, _ in pairs)

    # --- tasks

    async def _open_task(self, job: Job, task: Task) -> None:
        results = await self._results(job)
        wanted = self.ledger.tasks.files(task.id)
        files = {file: results.files[file] for file in wanted if file in results.files}
        skipped = len(set(wanted) & set(results.skipped))
        facts: dict[str, object] = {
            "skipped": skipped, "missing": len(wanted) - len(files) - skipped, "error": "",
        }  # fmt: skip
        destinations = task.destinations or job.destinations
        if files and not destinations:
            facts["error"] = "neither it nor the AE Title names a destination"
            await self._change(task, StepEvent.GIVE_UP, **facts)
            return
        more = await self._not_carried(task, self._routed(job, destinations), files)
        source_id = f"{task.id}+{len(task.exports)}" if task.exports else task.id
        exports = task.exports + await self._open(job, source_id, more)
        await self._resubmit(exports)
        await self._change(task, StepEvent.BEGIN, exports=exports, **facts)

    async def _not_carried(
        self, task: Task, destinations: Sequence[str], files: Mapping[str, OutgoingInstance]
    ) -> dict[str, dict[str, OutgoingInstance]]:
        """Return what no export of a task carries yet, by destination.

        An export never grows, and a file may come when its task is done again.
        """
        carried: dict[str, set[str]] = {name: set() for name in destinations}
        for each in task.exports:
            export = await self.ledger.export(each)
            outcomes = await self.ledger.outcomes(each)
            carried.setdefault(export.destination, set()).update(one.file for one in outcomes)
        return {
            name: {file: found for file, found in files.items() if file not in carried[name]}
            for name in destinations
        }

    async def _resubmit(self, export_ids: Sequence[str]) -> None:
        """Have sent again what was given up before the task was to be done again."""
        for each in export_ids:
            export = await self.ledger.export(each)
            if export.state is not ExportState.FAILED:
                continue
            # Outcomes first: an export that has failed and waits for nothing more is never seen.
            await self.ledger.record_outcomes(resubmitted(await self.ledger.outcomes(each)))
            await self.ledger.change_export(each, StepEvent.RESUBMIT, None, **AS_NEW)
            self._wake(export)

    def _wake(self, export: Export) -> None:
        if wake := self.exporter_wakes.get(export.destination):
            notify(wake)

    def _followed(self, states: frozenset[TaskState]) -> list[Task]:
        return [task for task in self.ledger.tasks.select(states) if task.agent == self.own_agent]

    def _is_still(self, task: Task) -> bool:
        """Return whether nothing has happened to a task since it was looked up."""
        return task in self.ledger.tasks.of_job(task.job_id)

    async def _follow_tasks(self) -> None:
        """Let tasks end with their exports; one that has failed lives on if they do."""
        for task in self._followed(FOLLOWED):
            exports = exports_of(task, await self.ledger.exports_of(task.job_id))
            if self._is_still(task) and (step := follows(task, exports)):
                await self._change(task, step[0], error=step[1])

    async def _change(self, task: Task, event: StepEvent, **changes: object) -> None:
        changed = await self.ledger.tasks.change(task.id, event, **changes)
        if changed.error:
            log.warning("task.held", task=task.id, job=task.job_id, why=changed.error)
        self.publish(task_event(outcome_of(event), changed))
        notify(self.reclaimer_wake)

    # --- what is told

    def _tell_collected(
        self, job: Job, results: Results, *, named: int, exports: Sequence[str]
    ) -> None:
        facts = {
            "results": len(results.files),
            "skipped": len(results.skipped),
            "named": named,
            "exports": len(exports),
        }
        log.info("job.collected", job=job.id, **facts)
        data = CollectedFacts(state=job.state, **facts)
        self.publish(JobCollected(ae_title=job.ae_title, group=job.group_id, job=job.id, data=data))

    def _tell_opened(self, job: Job, export: Export) -> None:
        if export.error:
            log.warning("export.held", job=job.id, export=export.id, why=export.error)
        self.publish(
            ExportOpened(
                ae_title=job.ae_title,
                job=job.id,
                export=export.id,
                destination=export.destination,
                data=standing(export),
            )
        )


@contextmanager
def _patience(job: Job) -> Iterator[None]:
    """Leave a job for the next look if its folder cannot be read now; others may have more luck."""
    try:
        yield
    except UnavailableError as error:
        log.warning("results.waiting", job=job.id, why=str(error))
