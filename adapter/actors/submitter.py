"""Submitter: walks jobs through the job table against the platform.

Consumes: a hint that there are jobs; orders of operators to retry or cancel one. Produces: job
states, finished payloads, a hint to the results actor. Owns: a bounded set of jobs in hand.
Rebuilds from: the ledger (steps that were being done fell back when it was loaded). Restart policy:
essential.

Theory of a cancel: row and scope of the job change in one synchronous step, so whoever works on it
either has recorded its step before, or finds its scope cancelled before it records anything. What
runs on the platform is stopped afterwards, when nobody waits for it any more; a row that is
`stopping` says that this is still to be done, also to the next life of the process.
"""

from collections import Counter
from dataclasses import dataclass, field

import structlog
import trio

from adapter.actors.order_keys import known_before
from adapter.channels import answer, notify, wait_woken
from adapter.domain.events import Publish
from adapter.domain.exporting import RetryRules
from adapter.domain.job_events import (
    JobCancelled,
    JobChanged,
    JobCompleted,
    JobEvent,
    JobFaulted,
    JobStanding,
)
from adapter.domain.messages import JobOrder, OrderRefusal, OrderRefused, Wake
from adapter.domain.ports import Ledger, PayloadStore, Platform, WallClock
from adapter.domain.queueing import Draw, QueueFigures, lack_of, rank, retry_pause_s
from adapter.domain.records import Job, Order
from adapter.domain.tables import JOB_TERMINAL, JOB_WAITING, JOB_WORKING, JobState, StepEvent
from adapter.domain.wall_time import rfc3339
from adapter.errors import (
    GatewayError,
    PayloadLostError,
    PipelineError,
    PostponedError,
    RowNotFoundError,
    UnavailableError,
)

log = structlog.get_logger("adapter.submitter")

POLL_S = 5.0
STOPS_MAX = 4
"""Calls at once that stop a pipeline of a cancelled job."""
ERROR_LENGTH_MAX = 500
RESUBMITTABLE = frozenset({JobState.FAULTED, JobState.CANCELLED})
TAKEN_UP = JOB_WAITING | {JobState.CANCELLED}
_EVENTS: dict[JobState, type[JobEvent]] = {
    JobState.COMPLETED: JobCompleted,
    JobState.FAULTED: JobFaulted,
    JobState.CANCELLED: JobCancelled,
}


@dataclass(slots=True, kw_only=True)
class Submitter:
    """Runs every due job, each pipeline within its own limit: a slow one delays no other."""

    ledger: Ledger
    platform: Platform
    payloads: PayloadStore
    wake: trio.MemoryReceiveChannel[Wake]
    orders: trio.MemoryReceiveChannel[JobOrder]
    results_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    now: WallClock
    draw: Draw
    rules: RetryRules
    uploads: trio.CapacityLimiter
    figures: QueueFigures
    name: str = "submitter"
    _in_hand: dict[str, trio.CancelScope] = field(default_factory=dict)
    _running: Counter[str] = field(default_factory=Counter)
    _stops: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(STOPS_MAX))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        self._in_hand, self._running = {}, Counter()
        for job in await self.ledger.jobs(JOB_WORKING):  # a crash of ours left these
            await self.ledger.change_job(job.id, StepEvent.INTERRUPT)
        task_status.started()
        async with trio.open_nursery() as jobs:
            jobs.start_soon(self._serve_orders, jobs)
            while True:
                next_due = await self._take_up(jobs)
                try:
                    await wait_woken(self.wake, min(next_due, trio.current_time() + POLL_S))
                except trio.EndOfChannel:
                    jobs.cancel_scope.cancel()  # interrupted steps are taken up at the next start
                    return

    def close(self) -> None:
        """See `Actor.close`."""
        self.wake.close()
        self.orders.close()
        self.results_wake.close()

    # --- the queue

    async def _take_up(self, nursery: trio.Nursery) -> float:
        """Start due jobs, most urgent first; return the clock time at which the next is due."""
        now = self.now()
        next_due = float("inf")
        for job in sorted(await self.ledger.jobs(TAKEN_UP), key=rank):
            if job.id in self._in_hand or (job.state in JOB_TERMINAL and not job.stopping):
                continue
            if job.due_at > now:
                next_due = min(next_due, trio.current_time() + job.due_at - now)
            elif job.stopping:
                self._in_hand[job.id] = trio.CancelScope()
                nursery.start_soon(self._stop, job, nursery, name=job.id)
            elif self._running[job.pipeline_id] < self.platform.concurrency(job.pipeline_id):
                self._in_hand[job.id] = trio.CancelScope()
                self._running[job.pipeline_id] += 1
                if job.state is JobState.QUEUED:
                    self.figures.waits.observe(
                        now - max(job.queued_at or job.opened_at, job.due_at)
                    )
                nursery.start_soon(self._work, job, nursery, name=job.id)
        return next_due

    async def _work(self, job: Job, nursery: trio.Nursery) -> None:
        """Do one step after the other until the job ends or a step fails."""
        try:
            with self._in_hand[job.id] as scope:
                await self._walk(job, scope)
        finally:  # also on a crash: the next run begins with an empty hand
            del self._in_hand[job.id]
            self._running[job.pipeline_id] -= 1
        await self._take_up(nursery)  # its place is free

    async def _walk(self, job: Job, scope: trio.CancelScope) -> None:
        while job.state not in JOB_TERMINAL and not scope.cancel_called:
            job = await self._change(job, StepEvent.BEGIN)
            try:
                changes = await self._step(job)
            except (UnavailableError, PipelineError, PayloadLostError) as error:
                if not scope.cancel_called:
                    await self._failed(job, error)
                return
            if not scope.cancel_called:
                job = await self._change(job, StepEvent.SUCCEED, try_count=0, error="", **changes)
        if job.state is JobState.COMPLETED:
            notify(self.results_wake)

    async def _step(self, job: Job) -> dict[str, object]:
        """Do what the job's working state names; return the fields that change with it."""
        platform = self.platform
        if lack := lack_of(job, await self.payloads.count_inputs(job.id)):
            raise PayloadLostError(lack)
        match job.state:
            case JobState.CREATING:
                return {"platform_job_id": await platform.create(job)}
            case JobState.METADATA_UPLOADING:
                await platform.upload_metadata(job, await self.payloads.metadata(job.id))
            case JobState.PAYLOAD_UPLOADING:
                async with self.uploads:
                    await platform.upload(job)
            case JobState.STARTING:
                await platform.start(job)
                await platform.wait(job)
            case _:
                raise AssertionError(f"{job.state} is no working state")
        return {}

    async def _failed(self, job: Job, trouble: GatewayError) -> None:
        postponed_s = trouble.retry_after_s if isinstance(trouble, PostponedError) else None
        tries, error = job.try_count + (postponed_s is None), str(trouble)[:ERROR_LENGTH_MAX]
        if tries > self.rules.max_retries or isinstance(trouble, PayloadLostError):
            await self._change(job, StepEvent.GIVE_UP, try_count=tries, error=error)
            return
        self.figures.retries[job.state] += 1
        due_at = max(self._next_try_at(job, max(tries, 1)), self.now() + (postponed_s or 0.0))
        await self._change(job, StepEvent.FAIL, try_count=tries, error=error, due_at=due_at)

    def _next_try_at(self, job: Job, tries: int) -> float:
        delay_s = self.rules.retry_delay_s if job.retry_delay_s is None else job.retry_delay_s
        return self.now() + retry_pause_s(tries, delay_s, self.draw)

    async def _stop(self, job: Job, nursery: trio.Nursery) -> None:
        """Have the platform stop a cancelled job, or try again later."""
        try:
            changes = await self._try_to_stop(job)
            self._tell(await self.ledger.note_job(job.id, **changes))
        finally:
            del self._in_hand[job.id]
        await self._take_up(nursery)

    async def _try_to_stop(self, job: Job) -> dict[str, object]:
        try:
            async with self._stops:
                await self.platform.cancel(job)
        except UnavailableError as failure:
            tries = job.try_count + 1
            error = f"its pipeline may still run: {failure}"[:ERROR_LENGTH_MAX]
            changes: dict[str, object] = {"try_count": tries, "error": error}
            if tries > self.rules.max_retries:
                return changes | {"stopping": False}
            return changes | {"due_at": self._next_try_at(job, tries)}
        return {"stopping": False, "error": ""}

    # --- orders of operators

    async def _serve_orders(self, nursery: trio.Nursery) -> None:
        async for order in self.orders:
            with order.reply:
                answer(order.reply, await self._obey(order))
            await self._take_up(nursery)

    async def _obey(self, order: JobOrder) -> Job | OrderRefused:
        named = Order(key=order.key, job_id=order.job_id, action=order.action, at=self.now())
        known = await known_before(self.ledger, named)
        if isinstance(known, OrderRefused):
            return known
        kept = named if order.key else None
        try:
            job = await self.ledger.job(order.job_id)
        except RowNotFoundError as error:
            return OrderRefused(OrderRefusal.UNKNOWN, str(error))
        if known:
            return job  # it was done before
        if why := _objection(job, order.action):
            return OrderRefused(OrderRefusal.STATE, why)
        if order.action in ("hold", "release"):
            return await self.ledger.note_job(job.id, held=order.action == "hold")
        if order.action == "retry":
            return await self._resubmit(job, kept)
        return await self._cancel(job, kept)

    async def _resubmit(self, job: Job, order: Order | None) -> Job:
        return await self._change(
            job, StepEvent.RESUBMIT, order, try_count=0, error="", due_at=0.0,
            queued_at=self.now(), submissions=job.submissions + 1,
        )  # fmt: skip

    async def _cancel(self, job: Job, order: Order | None) -> Job:
        if scope := self._in_hand.get(job.id):
            scope.cancel()  # and, before any checkpoint, its row
        return await self._change(
            job, StepEvent.CANCEL, order, try_count=0, error="", due_at=0.0,
            stopping=job.state is not JobState.QUEUED,
        )  # fmt: skip

    # --- what is told

    async def _change(
        self, job: Job, event: StepEvent, order: Order | None = None, /, **changes: object
    ) -> Job:
        changed = await self.ledger.change_job(job.id, event, order, **changes)
        self._tell(changed)
        return changed

    def _tell(self, job: Job) -> None:
        facts = JobStanding(
            state=job.state,
            pipeline=job.pipeline,
            tries=job.try_count,
            due_at=rfc3339(job.due_at) if job.due_at > self.now() else "",
            error=job.error,
        )
        kind = _EVENTS.get(job.state, JobChanged)
        event = kind(ae_title=job.ae_title, group=job.group_id, job=job.id, data=facts)
        if job.error:
            log.warning(f"job.{event.verb}", job=job.id, state=job.state, error=job.error)
        self.publish(event)


def _objection(job: Job, action: str) -> str:
    """Return why the job's state does not allow this; empty: it does."""
    if action == "cancel":
        return f"the job is {job.state}" if job.state in JOB_TERMINAL else ""
    if action in ("hold", "release"):
        return "the job's files are being removed" if job.condemned else ""
    if job.state not in RESUBMITTABLE:
        return f"the job is {job.state}; only what is Faulted or Cancelled is retried"
    if job.stopping:
        return "the job is Cancelled, and its pipeline is being stopped"
    return "the job's files are being removed" if job.condemned else ""
