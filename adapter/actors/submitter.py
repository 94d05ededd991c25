"""Submitter: walks jobs through the job table against the platform.

Consumes: a hint that there are jobs. Produces: job states, finished payloads, a hint to the results
actor. Owns: a bounded set of jobs in hand. Rebuilds from: the ledger (steps that were being done
fell back when it was loaded). Restart policy: essential.
"""

from collections import Counter
from dataclasses import dataclass, field

import structlog
import trio

from adapter.channels import notify, wait_woken
from adapter.domain.entities import PRIORITY_ORDER
from adapter.domain.events import Event, Publish
from adapter.domain.messages import Wake
from adapter.domain.ports import Ledger, Platform, WallClock
from adapter.domain.records import Job
from adapter.domain.tables import JOB_TERMINAL, JOB_WORKING, JobState, StepEvent
from adapter.errors import PipelineError, UnavailableError

log = structlog.get_logger("adapter.submitter")

POLL_S = 5.0
WAITING = frozenset(JobState) - JOB_TERMINAL - JOB_WORKING
ERROR_LENGTH_MAX = 500


@dataclass(slots=True, kw_only=True)
class Submitter:
    """Runs every due job, each pipeline within its own limit: a slow one delays no other."""

    ledger: Ledger
    platform: Platform
    wake: trio.MemoryReceiveChannel[Wake]
    results_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    now: WallClock
    max_retries: int
    retry_delay_s: float
    uploads: trio.CapacityLimiter
    name: str = "submitter"
    _in_hand: set[str] = field(default_factory=set)
    _running: Counter[str] = field(default_factory=Counter)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        self._in_hand, self._running = set(), Counter()
        for job in await self.ledger.jobs(JOB_WORKING):  # a crash of ours left these
            await self.ledger.change_job(job.id, StepEvent.INTERRUPT)
        task_status.started()
        async with trio.open_nursery() as jobs:
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
        self.results_wake.close()

    async def _take_up(self, nursery: trio.Nursery) -> float:
        """Start due jobs, most urgent first; return the clock time at which the next is due."""
        now = self.now()
        next_due = float("inf")
        waiting = await self.ledger.jobs(WAITING)
        waiting.sort(key=lambda job: (PRIORITY_ORDER[job.priority], job.opened_at))
        for job in waiting:
            if job.id in self._in_hand:
                continue
            if job.due_at > now:
                next_due = min(next_due, trio.current_time() + job.due_at - now)
            elif self._running[job.pipeline_id] < self.platform.concurrency(job.pipeline_id):
                self._in_hand.add(job.id)
                self._running[job.pipeline_id] += 1
                nursery.start_soon(self._work, job, nursery, name=job.id)
        return next_due

    async def _work(self, job: Job, nursery: trio.Nursery) -> None:
        """Do one step after the other until the job ends or a step fails."""
        try:
            while job.state not in JOB_TERMINAL:
                job = await self._change(job, StepEvent.BEGIN)
                try:
                    changes = await self._step(job)
                except (UnavailableError, PipelineError) as error:
                    await self._failed(job, str(error))
                    break
                job = await self._change(job, StepEvent.SUCCEED, try_count=0, error="", **changes)
            notify(self.results_wake)
        finally:  # also on a crash: the next run begins with an empty hand
            self._in_hand.discard(job.id)
            self._running[job.pipeline_id] -= 1
        await self._take_up(nursery)  # its place is free

    async def _step(self, job: Job) -> dict[str, object]:
        """Do what the job's working state names; return the fields that change with it."""
        platform = self.platform
        match job.state:
            case JobState.CREATING:
                return {"platform_job_id": await platform.create(job)}
            case JobState.METADATA_UPLOADING:
                await platform.upload_metadata(job, {})
            case JobState.PAYLOAD_UPLOADING:
                async with self.uploads:
                    await platform.upload(job)
            case JobState.STARTING:
                await platform.start(job)
                await platform.wait(job)
            case _:
                raise AssertionError(f"{job.state} is no working state")
        return {}

    async def _failed(self, job: Job, error: str) -> None:
        tries = job.try_count + 1
        error = error[:ERROR_LENGTH_MAX]
        if tries > self.max_retries:
            await self._change(job, StepEvent.GIVE_UP, try_count=tries, error=error)
            return
        await self._change(
            job,
            StepEvent.FAIL,
            try_count=tries,
            error=error,
            due_at=self.now() + self.retry_delay_s,
        )

    async def _change(self, job: Job, event: StepEvent, **changes: object) -> Job:
        changed = await self.ledger.change_job(job.id, event, **changes)
        verb = {JobState.COMPLETED: "completed", JobState.FAULTED: "faulted"}.get(
            changed.state, "state"
        )
        if changed.error:
            log.warning(f"job.{verb}", job=job.id, state=changed.state, error=changed.error)
        self.publish(
            Event(
                type=f"job.{verb}",
                ae_title=job.ae_title,
                group=job.group_id,
                job=job.id,
                data={
                    "state": changed.state,
                    "pipeline": job.pipeline,
                    "tries": changed.try_count,
                    "error": changed.error,
                },
            )
        )
        return changed
