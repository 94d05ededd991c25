"""Service tasks: what a Results Service elsewhere offers to the adapter, and hears of it.

Consumes: tasks it is offered, looking every `poll_s`; tasks in the ledger that have ended.
Produces: files of jobs, tasks for the results actor, reports to the service. Owns: the pause after
an outage. Rebuilds from: the ledger. Restart policy: replica.

A task that was taken is in the ledger and is not taken again; the service offers it until it has
been told how it ended. Nothing is told that is not durable here, so an answer that gets lost, or a
kill, costs a repetition. Each task by itself: one that cannot be had yet holds up no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
import trio

from adapter.channels import notify
from adapter.domain.events import Publish
from adapter.domain.identifiers import job_id, job_name
from adapter.domain.job_events import TaskChanged, TaskFailed, TaskRegistered
from adapter.domain.messages import Wake
from adapter.domain.ports import Ledger, SpaceGauge, WallClock
from adapter.domain.records import Job, JobChange
from adapter.domain.results_service import (
    FetchedFiles,
    OfferedTask,
    ResultsService,
    TaskReport,
    task_report,
)
from adapter.domain.routing import canonical
from adapter.domain.tables import JobState, StepEvent, TaskState
from adapter.domain.tasks import Task, exports_of, task_event
from adapter.errors import PipelineError, RowNotFoundError, UnavailableError

log = structlog.get_logger("adapter.results")

SIZE = 10
"""Tasks asked for at once, beside those that are in hand."""
SIZE_MAX = 500
AT_ONCE = 4
"""Tasks whose files are fetched."""
OUTAGE_PAUSE_S_MAX = 60.0
PROCESSOR = "results service"


@dataclass(slots=True, kw_only=True)
class ServiceRules:
    """`results.*` and `dicom.scu.export.*`."""

    agent: str
    destinations: Sequence[str]
    poll_s: float
    fetch_s: float
    fetches: bool
    """Files are fetched; else they lie in the folders of our jobs."""
    failure_threshold: float
    max_retries: int


@dataclass(slots=True, kw_only=True)
class ServiceTasks:
    """Takes tasks of a Results Service, and reports how they ended."""

    service: ResultsService
    files: FetchedFiles
    ledger: Ledger
    space: SpaceGauge
    results_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    now: WallClock
    rules: ServiceRules
    stop: trio.Event
    name: str = "results-service"
    _outages: int = 0
    _refused: dict[str, None] = field(default_factory=dict)
    """Ids of tasks whose refusal was told, so that it is told once."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        task_status.started()
        async with trio.open_nursery() as working:
            working.start_soon(self._work)
            await self.stop.wait()
            working.cancel_scope.cancel()  # what is being fetched is fetched again

    def close(self) -> None:
        """See `Actor.close`."""
        self.results_wake.close()

    async def _work(self) -> None:
        while True:
            try:
                await self._report_ended()
                if not self.space.low:
                    await self._take_offered()
                self._outages = 0
            except UnavailableError as error:
                self._outages += 1
                if self._outages == 1:
                    log.warning("results.service_away", why=str(error))
            pause_s = self.rules.poll_s * 2.0 ** min(self._outages, 16)
            longest_s = max(OUTAGE_PAUSE_S_MAX, self.rules.poll_s)
            await trio.sleep(min(pause_s, longest_s) if self._outages else self.rules.poll_s)

    # --- what is offered

    async def _take_offered(self) -> None:
        in_hand = len(self.ledger.tasks.select({TaskState.PENDING, TaskState.IN_PROGRESS}))
        size = min(SIZE + in_hand, SIZE_MAX)
        answer = await self.service.pending(self.rules.agent, size)
        offered = {each.id: each for each in answer}.values()
        places = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as taking:
            for each in offered:
                taking.start_soon(self._try_to_take, each, places)

    async def _try_to_take(self, offered: OfferedTask, places: trio.CapacityLimiter) -> None:
        try:
            async with places:
                await self._take(offered)
        except UnavailableError as error:
            log.warning("task.waiting", task=offered.id, why=str(error))

    async def _take(self, offered: OfferedTask) -> None:
        try:
            task = self.ledger.tasks.find(_local_id(offered))
        except RowNotFoundError:
            await self._accept(offered)
            return
        if not task.reported:
            return  # it is in hand, or about to be reported
        if task.state is TaskState.SUCCEEDED:
            await self.ledger.tasks.note(task.id, reported=False)  # the service has forgotten it
        elif task.state is TaskState.FAILED:
            await self._again(task, offered)

    async def _again(self, task: Task, offered: OfferedTask) -> None:
        """Retry what the service was told to offer later: only what has failed is sent again."""
        if self.rules.fetches:
            await self._fetch(offered, task.job_id)
        if problem := self._problem(offered):
            await self._refuse(offered, problem)
            return
        if self.ledger.tasks.find(task.id) != task:
            return  # an operator has retried it meanwhile
        changed = await self.ledger.tasks.change(
            task.id, StepEvent.RESUBMIT, reported=False, retries=offered.retries, error=""
        )
        self.publish(task_event(TaskChanged, changed))
        notify(self.results_wake)

    async def _accept(self, offered: OfferedTask) -> None:
        if problem := self._problem(offered):
            await self._refuse(offered, problem)
            return
        job = await (self._fetched_job(offered) if self.rules.fetches else self._our_job(offered))
        if job is None:
            return
        if problem := self._problem(offered):  # a destination has been removed meanwhile
            await self._refuse(offered, problem)
            return
        names, _ = canonical(offered.destinations, self.rules.destinations)
        now = self.now()
        task = Task(
            id=_local_id(offered), job_id=job.id, pipeline_id=offered.pipeline_id,
            agent=self.rules.agent, destinations=names, files=len(offered.uris),
            retries=offered.retries, opened_at=now, changed_at=now, service_id=offered.id,
        )  # fmt: skip
        try:
            await self.ledger.tasks.register(task, offered.uris)
        except RowNotFoundError:
            return  # the job has just gone: the next offer begins anew
        self.publish(task_event(TaskRegistered, task))
        notify(self.results_wake)

    def _problem(self, offered: OfferedTask) -> str:
        """Return why nothing can be done with a task now; empty: something can."""
        names, unknown = canonical(offered.destinations, self.rules.destinations)
        if offered.problem or unknown:
            return offered.problem or f"{unknown[0]!r} is not a destination"
        return "" if names or not self.rules.fetches else "parameters name no destination"

    async def _refuse(self, offered: OfferedTask, problem: str) -> None:
        """Report what can never be done."""
        if offered.id not in self._refused:
            log.warning("task.refused", task=offered.id, why=problem)
            self._refused[offered.id] = None
            if len(self._refused) > SIZE_MAX:
                del self._refused[next(iter(self._refused))]
            refused = Task(
                id=_local_id(offered), job_id="", pipeline_id="", agent=self.rules.agent,
                files=len(offered.uris), state=TaskState.FAILED, opened_at=0.0, changed_at=0.0,
                error=problem,
            )  # fmt: skip
            self.publish(task_event(TaskFailed, refused))
        await self._discard(offered)
        await self.service.report(offered.id, TaskReport(False))

    # --- its files

    async def _discard(self, offered: OfferedTask) -> None:
        """Delete what was fetched for a task that could be done then; no job has it."""
        identifier = job_id(PROCESSOR, offered.id)
        if self.rules.fetches and not await self.ledger.known_jobs({identifier}):
            await self.files.discard(identifier)

    async def _our_job(self, offered: OfferedTask) -> Job | None:
        """Return the job whose folder has the files; None: not yet, or there is none."""
        known = await self.ledger.known_jobs({offered.job_id})
        jobs = [await self.ledger.job(offered.job_id)] if known else [
            job for job in await self.ledger.jobs()
            if job.platform_job_id == offered.job_id and offered.job_id
        ]  # fmt: skip
        if not jobs:
            await self._refuse(offered, f"there is no job {offered.job_id!r}")
            return None
        return jobs[0] if jobs[0].state is JobState.COMPLETED else None

    async def _fetched_job(self, offered: OfferedTask) -> Job | None:
        """Fetch the files into the folder of a job of their own."""
        identifier = job_id(PROCESSOR, offered.id)
        await self._fetch(offered, identifier)
        await self.files.finish(identifier)
        at = self.now()
        job = Job(
            id=identifier, group_id=identifier, ae_title="", processor=PROCESSOR,
            name=job_name(self.rules.agent, "results", offered.id),
            pipeline=offered.pipeline_id, pipeline_id=offered.pipeline_id, priority="normal",
            state=JobState.COMPLETED, opened_at=at, queued_at=at, changed_at=at,
            history=(JobChange(JobState.COMPLETED, at),), instances=0, payload_bytes=0,
            platform_job_id=offered.job_id, collected=True,
        )  # fmt: skip
        await self.ledger.open_jobs([job])
        return job

    async def _fetch(self, offered: OfferedTask, identifier: str) -> None:
        """Fetch what was not fetched yet; what the service does not have is left out."""
        for uri in await self.files.missing(identifier, offered.uris):
            try:
                with trio.fail_after(self.rules.fetch_s):
                    async with self.service.download(offered, uri) as chunks:
                        await self.files.receive(identifier, uri, chunks)
            except PipelineError:
                continue  # the task tells how many are missing
            except trio.TooSlowError as error:
                why = f"a file did not come in {self.rules.fetch_s:g} s"
                raise UnavailableError(why) from error

    # --- what has ended

    async def _report_ended(self) -> None:
        rules = self.rules
        for task in self.ledger.tasks.unreported():
            exports = exports_of(task, await self.ledger.exports_of(task.job_id))
            report = task_report(task, exports, rules.failure_threshold, rules.max_retries)
            await self.service.report(task.service_id, report)
            if self.ledger.tasks.find(task.id) == task:  # else it is retried, and ends anew
                await self.ledger.tasks.note(task.id, reported=True)
            log.info("task.reported", task=task.id, success=report.success,
                     retry_later=report.retry_later)  # fmt: skip


def _local_id(offered: OfferedTask) -> str:
    return f"service-{offered.id}"
