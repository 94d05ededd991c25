"""Tasks: what other programs say and ask of registered results.

Consumes: TaskOrder. Produces: tasks in the ledger, answers, a hint to the results actor. Owns:
nothing. Rebuilds from: the ledger. Restart policy: essential.

Theory of taking: a task that an agent has taken is its own until `due_at`; that is durable before
the agent hears of it. One that has not reported by then is offered again, so an agent that dies, or
an answer that gets lost, costs time and no result.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog
import trio

from adapter.channels import answer, notify
from adapter.domain import job_events
from adapter.domain.events import Publish
from adapter.domain.job_events import TaskEvent, TaskTaken
from adapter.domain.messages import Wake
from adapter.domain.ports import Ledger, WallClock
from adapter.domain.routing import canonical
from adapter.domain.tables import TASK_TRANSITIONS, JobState, StepEvent, TaskState
from adapter.domain.tasks import (
    Task,
    TaskOrder,
    TaskRefusal,
    TaskRefused,
    TaskRegistered,
    TaskReported,
    TasksTaken,
    outcome_of,
    task_event,
)
from adapter.errors import RowNotFoundError

log = structlog.get_logger("adapter.tasks")

OFFERED = frozenset({TaskState.PENDING, TaskState.IN_PROGRESS})
REPORTED_ALREADY = {
    StepEvent.SUCCEED: TaskState.SUCCEEDED,
    StepEvent.FAIL: TaskState.PENDING,
    StepEvent.GIVE_UP: TaskState.FAILED,
    StepEvent.RESUBMIT: TaskState.PENDING,
}


@dataclass(slots=True, kw_only=True)
class TasksActor:
    """Registers results, hands tasks to their agents, and takes their reports."""

    ledger: Ledger
    orders: trio.MemoryReceiveChannel[TaskOrder]
    results_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    now: WallClock
    own_agent: str
    """The adapter itself exports for this one."""
    destinations: Sequence[str]
    """Names that are configured."""
    report_s: float
    """So long an agent has to report."""
    retry_delay_s: float
    stop: trio.Event
    name: str = "tasks"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        task_status.started()
        async with trio.open_nursery() as serving:
            serving.start_soon(self._serve)
            await self.stop.wait()
            serving.cancel_scope.cancel()  # whoever asks now is told to ask again

    async def _serve(self) -> None:
        async for order in self.orders:
            with order.reply:
                match order:
                    case TaskRegistered():
                        answer(order.reply, await self._register(order))
                    case TasksTaken():
                        answer(order.reply, await self._take(order))
                    case TaskReported():
                        answer(order.reply, await self._report(order))

    def close(self) -> None:
        """See `Actor.close`."""
        self.orders.close()
        self.results_wake.close()

    # --- registering

    async def _register(self, order: TaskRegistered) -> tuple[Task, bool] | TaskRefused:
        agent = order.agent or self.own_agent
        destinations, unknown = order.destinations, tuple[str, ...]()
        if agent == self.own_agent:
            destinations, unknown = canonical(destinations, self.destinations)
        if unknown:
            return TaskRefused(TaskRefusal.INVALID, _not_configured(unknown))
        try:
            job = await self.ledger.job(order.job_id)
            now = self.now()
            task = Task(
                id=_task_id(job.id, agent, destinations, order.files),
                job_id=job.id, pipeline_id=job.pipeline_id, agent=agent,
                destinations=destinations, files=len(order.files), opened_at=now, changed_at=now,
            )  # fmt: skip
            known = any(each.id == task.id for each in self.ledger.tasks.of_job(job.id))
            task = await self.ledger.tasks.register(task, order.files)
        except RowNotFoundError as error:
            return TaskRefused(TaskRefusal.UNKNOWN, (str(error),))
        if not known:
            self._tell(job_events.TaskRegistered, task)
            notify(self.results_wake)
        return task, not known

    # --- agents

    async def _take(self, order: TasksTaken) -> list[Task] | TaskRefused:
        if order.agent == self.own_agent:
            return TaskRefused(TaskRefusal.STATE, ("the adapter exports these itself",))
        taken: list[Task] = []
        for task in self.ledger.tasks.select(OFFERED):
            if len(taken) == order.size:
                break
            if task.agent != order.agent:
                continue
            try:
                if await self._is_offered(task):
                    due_at = self.now() + self.report_s
                    task = await self._change(task, StepEvent.BEGIN, TaskTaken, due_at=due_at)
                    taken.append(task)
            except RowNotFoundError:
                continue  # it went with its job just now
        return taken

    async def _is_offered(self, task: Task) -> bool:
        """Return whether its files are complete and nobody has it."""
        if task.due_at > self.now():
            return False
        return (await self.ledger.job(task.job_id)).state is JobState.COMPLETED

    async def _report(self, order: TaskReported) -> Task | TaskRefused:
        try:
            task = self.ledger.tasks.find(order.task_id)
        except RowNotFoundError as error:
            return TaskRefused(TaskRefusal.UNKNOWN, (str(error),))
        event = order.event
        mine = task.agent == self.own_agent
        if mine and event in (StepEvent.FAIL, StepEvent.GIVE_UP):
            return TaskRefused(TaskRefusal.STATE, ("the adapter exports it itself",))
        if task.state is REPORTED_ALREADY[event]:
            return task  # the answer to an earlier report got lost
        if (task.state, event) not in TASK_TRANSITIONS or (mine and not _is_dismissed(task, event)):
            return TaskRefused(TaskRefusal.STATE, (f"it is {task.state}",))
        _, unknown = canonical(task.destinations if mine else (), self.destinations)
        if unknown and event is StepEvent.RESUBMIT:
            return TaskRefused(TaskRefusal.STATE, _not_configured(unknown))
        changes: dict[str, object] = {"error": "", "due_at": 0.0}
        if event is StepEvent.FAIL:
            changes = {"retries": task.retries + 1, "due_at": self.now() + self.retry_delay_s}
        elif event is StepEvent.RESUBMIT:
            changes["reported"] = False
        elif event is StepEvent.GIVE_UP:
            changes = {"error": "its agent says that it failed"}
        changed = await self._change(task, event, outcome_of(event), **changes)
        notify(self.results_wake)
        return changed

    async def _change(
        self, task: Task, event: StepEvent, kind: type[TaskEvent], **changes: object
    ) -> Task:
        changed = await self.ledger.tasks.change(task.id, event, **changes)
        self._tell(kind, changed)
        return changed

    def _tell(self, kind: type[TaskEvent], task: Task) -> None:
        event = task_event(kind, task)
        log.info(
            f"task.{event.verb}", task=task.id, job=task.job_id, agent=task.agent, state=task.state
        )
        self.publish(event)


def _not_configured(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"destinations: {name!r} is not configured" for name in names)


def _is_dismissed(task: Task, event: StepEvent) -> bool:
    """Return whether an operator may say this of a task of ours: it has failed."""
    return task.state is TaskState.FAILED and event in (StepEvent.SUCCEED, StepEvent.RESUBMIT)


def _task_id(job_id: str, agent: str, destinations: Sequence[str], files: Sequence[str]) -> str:
    """Return the one id of what is registered."""
    content = msgspec.json.encode((job_id, agent, destinations, files))
    return str(uuid.uuid5(uuid.NAMESPACE_OID, content.decode()))
