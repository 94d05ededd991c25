"""Operators that retry and cancel jobs, in place of the web actor, and note what they were told."""

from dataclasses import dataclass, field
from random import Random
from typing import Literal

import trio

from adapter.channels import UNANSWERED, ask
from adapter.domain.messages import JobOrder, OrderRefusal, OrderRefused
from adapter.domain.records import Job
from adapter.domain.tables import JOB_TERMINAL, JobState
from adapter.domain.views import Views
from adapter.errors import RowNotFoundError

ANSWER_S = 10.0
ENDED_EARLY = frozenset({JobState.CANCELLED, JobState.FAULTED})
Action = Literal["retry", "cancel"]


@dataclass(slots=True)
class Orders:
    """What operators were told, noted from outside; outlives the lives of the program."""

    cancelled: set[str] = field(default_factory=set)
    """Jobs that were answered to be cancelled, and nobody has retried since."""
    broken: list[str] = field(default_factory=list)
    """Promises that were not kept."""
    keys: int = 0


@dataclass(slots=True)
class FakeOperator:
    """One operator in one life."""

    views: Views
    orders: Orders
    rng: Random
    meddles: bool
    """Cancels what runs; else it only has go on what was cancelled."""
    name: str = "operator"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        task_status.started()
        while not self.views.web_stop.is_set():
            await self._check()
            with trio.move_on_after(self.rng.expovariate(0.3)):
                await self.views.web_stop.wait()
            if jobs := await self.views.ledger.jobs(None if self.meddles else ENDED_EARLY):
                job = self.rng.choice(jobs)
                await self._want("retry" if job.state in JOB_TERMINAL else "cancel", job.id)

    def close(self) -> None:
        """See `Actor.close`."""

    async def _check(self) -> None:
        for job_id in sorted(self.orders.cancelled):
            try:
                job = await self.views.ledger.job(job_id)
            except RowNotFoundError:
                self.orders.cancelled.discard(job_id)
                continue
            if job.state is not JobState.CANCELLED:
                self.orders.broken.append(f"{job_id} was cancelled and is {job.state}")

    async def _want(self, action: Action, job_id: str) -> None:
        self.orders.keys += 1
        key = str(self.orders.keys)
        if action == "retry":
            self.orders.cancelled.discard(job_id)  # whatever the answer will be
        first = await self._order(action, job_id, key)
        if isinstance(first, Job) and action == "cancel":
            self.orders.cancelled.add(job_id)
        if isinstance(first, Job) and self.rng.random() < 0.3:
            again = await self._order(action, job_id, key)
            if isinstance(again, OrderRefused) and again.refusal is not OrderRefusal.UNKNOWN:
                self.orders.broken.append(f"{job_id}: {action} was not known again: {again.why}")

    async def _order(self, action: Action, job_id: str, key: str) -> Job | OrderRefused | None:
        """Return the answer; None: nobody gave one."""
        try:
            return await ask(
                self.views.orders,
                lambda reply: JobOrder(job_id=job_id, action=action, key=key, reply=reply),
                ANSWER_S,
            )
        except UNANSWERED:
            return None
