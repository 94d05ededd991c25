"""Whoever registers results, takes them and reports on them; and what they were told.

An operator registers files of jobs for the adapter and for another agent, and has done again or
dismisses what has failed. The agent takes, works, forgets, reports, and repeats what nobody
answered. Both go on in the next life of the program with what they know.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import trio
from fakes.disk import Life

from adapter.channels import UNANSWERED, ask
from adapter.domain.records import Job
from adapter.domain.tables import StepEvent, TaskState
from adapter.domain.tasks import (
    Task,
    TaskRefusal,
    TaskRefused,
    TaskRegistered,
    TaskReported,
    TasksTaken,
)
from adapter.domain.views import Views

T = TypeVar("T")

ANSWER_S = 10.0
AGENT = "OTHER"
DESTINATIONS = ((), ("pacs",), ("ARCHIVE",), ("pacs", "archive"), ("made",), ("nowhere",))


@dataclass(slots=True, kw_only=True)
class Registered:
    """A task as it was answered to be registered: durable from then on."""

    job_id: str
    agent: str
    destinations: tuple[str, ...]
    files: tuple[str, ...]
    succeeded: bool = False
    """Somebody has said so; whether it was heard or not."""
    over: bool = False
    """And was answered that it counts."""
    taken_until: float = 0.0


@dataclass(slots=True)
class TaskBook:
    """What is known outside; outlives the lives of the program."""

    tasks: dict[str, Registered] = field(default_factory=dict)
    named: dict[str, set[str]] = field(default_factory=dict)
    """Files by job that were to be registered; whether that was answered or not."""
    hands: dict[str, StepEvent] = field(default_factory=dict)
    """Tasks the agent has, and what it is going to report."""
    broken: list[str] = field(default_factory=list)
    """Promises that were not kept."""
    taken: int = 0
    taken_again: int = 0
    """Tasks that were offered again, as nobody had reported in time."""

    def came_again(self, job_id: str) -> None:
        """A job that had gone is there again, and what was registered for the first is not."""
        for task_id in [known for known, task in self.tasks.items() if task.job_id == job_id]:
            self.tasks[f"{task_id} before"] = self.tasks.pop(task_id)
            self.hands.pop(task_id, None)


@dataclass(slots=True, kw_only=True)
class TaskPeople:
    """Both, in one life."""

    views: Views
    book: TaskBook
    life: Life
    rng: Random
    report_s: float

    async def work(self) -> None:
        """Do what comes to mind; once nothing goes wrong any more, only end what there is."""
        while True:
            await trio.sleep(self.rng.expovariate(0.4))
            if self.rng.random() < self.life.rates.tasks:
                await self._register()
            await self._take()
            for task_id, event in list(self.book.hands.items()):
                if task_id in self.book.hands:
                    await self._report(task_id, event)
            await self._dismiss()

    # --- the operator

    async def _register(self) -> None:
        jobs = await self.views.ledger.jobs()
        if not jobs:
            return
        job = self.rng.choice(jobs)
        count = self.rng.randint(1, job.instances + 1)  # one more than there will be
        files = tuple(f"{n}.dcm" for n in self.rng.sample(range(job.instances + 1), count))
        agent, destinations = self.rng.choice(("", AGENT)), self.rng.choice(DESTINATIONS)
        self.book.named.setdefault(job.id, set()).update(files)
        answer: tuple[Task, bool] | TaskRefused | None = await self._ask(
            lambda reply: TaskRegistered(
                job_id=job.id, agent=agent, destinations=destinations, files=files, reply=reply
            )
        )
        if isinstance(answer, TaskRefused):
            self._judge_refusal(job, destinations, answer)
        elif answer is not None:
            task, is_new = answer
            if is_new and task.id in self.book.tasks:
                self.book.broken.append(f"{task.id} was registered, and is not known")
            self.book.tasks.setdefault(
                task.id,
                Registered(
                    job_id=task.job_id, agent=task.agent, destinations=task.destinations,
                    files=files,
                ),
            )  # fmt: skip

    def _judge_refusal(self, job: Job, wanted: tuple[str, ...], answer: TaskRefused) -> None:
        if answer.refusal is TaskRefusal.UNKNOWN:
            return  # the job has gone
        if answer.refusal is not TaskRefusal.INVALID or not {"nowhere", "made"} & {*wanted}:
            self.book.broken.append(f"{job.id}: {wanted} was refused: {answer.problems}")

    async def _dismiss(self) -> None:
        """Have done again what has failed, or say that it is as good as done."""
        failed = self.views.ledger.tasks.select(frozenset({TaskState.FAILED}))
        mine = [task for task in failed if task.id in self.book.tasks]
        if not mine:
            return
        task = self.rng.choice(mine)
        known = self.book.tasks[task.id]
        incomplete = task.missing or task.error.startswith("neither")
        if incomplete or self.rng.random() < 0.3:
            known.succeeded = True
            event = StepEvent.SUCCEED
        else:
            event = StepEvent.RESUBMIT
            known.taken_until = 0.0
        answer = await self._say(task.id, event)
        known.over |= isinstance(answer, Task) and event is StepEvent.SUCCEED

    # --- the agent

    async def _take(self) -> None:
        asked_at, size = self.views.now(), self.rng.randint(1, 3)
        answer: list[Task] | TaskRefused | None = await self._ask(
            lambda reply: TasksTaken(agent=AGENT, size=size, reply=reply)
        )
        if answer is None:
            return
        if isinstance(answer, TaskRefused) or len(answer) > size:
            self.book.broken.append(f"asked for {size} tasks: {answer}")
            return
        for task in answer:
            await self._got(task, asked_at)

    async def _got(self, task: Task, asked_at: float) -> None:
        known = self.book.tasks.setdefault(
            task.id,
            Registered(job_id=task.job_id, agent=AGENT, destinations=task.destinations, files=()),
        )  # its registration was not answered
        self.book.taken += 1
        self.book.taken_again += bool(known.taken_until)
        if known.taken_until > self.views.now():
            self.book.broken.append(f"{task.id} is somebody's, and was given to another")
        if known.over:
            self.book.broken.append(f"{task.id} had succeeded, and was offered")
        if task.agent != AGENT:
            self.book.broken.append(f"{task.id} is for {task.agent!r}")
        known.taken_until = asked_at + self.report_s
        draw = self.rng.random()
        if draw < self.life.rates.tasks / 2:
            return  # it dies, and knows nothing of it any more
        troubled = draw < self.life.rates.tasks
        wanted = (StepEvent.FAIL, StepEvent.GIVE_UP) if troubled else (StepEvent.SUCCEED,)
        self.book.hands[task.id] = self.rng.choice(wanted)

    async def _report(self, task_id: str, event: StepEvent) -> None:
        """Report; again until it is answered."""
        known = self.book.tasks[task_id]
        known.succeeded |= event is StepEvent.SUCCEED
        known.taken_until = 0.0
        answer = await self._say(task_id, event)
        if answer is not None:
            self.book.hands.pop(task_id, None)
            known.over |= isinstance(answer, Task) and event is StepEvent.SUCCEED

    async def _say(self, task_id: str, event: StepEvent) -> Task | TaskRefused | None:
        return await self._ask(
            lambda reply: TaskReported(task_id=task_id, event=event, reply=reply)
        )

    async def _ask(self, order: Callable[[trio.MemorySendChannel[T]], object]) -> T | None:
        try:
            return await ask(self.views.task_orders, order, ANSWER_S)
        except UNANSWERED:
            return None
