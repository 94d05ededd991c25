"""Registered results (port `TaskLedger`): rows and their memory.

A task may name thousands of files and a row stays below 32 KiB, so the files are rows of their own.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence, Set

import msgspec

from adapter.domain.ports import WallClock
from adapter.domain.tables import TASK_TERMINAL, TASK_TRANSITIONS, StepEvent, TaskState, next_state
from adapter.domain.tasks import Task
from adapter.errors import RowNotFoundError
from adapter.store.group_commit import Change
from adapter.store.job_rows import JobRows

NAMES_BYTES = 16 << 10
"""Of names in a row; one of them has at most 1 KiB."""


class TaskRows:
    """Every task in memory, every change written by `commit`."""

    def __init__(
        self,
        commit: Callable[[Sequence[Change]], Awaitable[None]],
        jobs: JobRows,
        now: WallClock,
    ) -> None:
        self._commit = commit
        self._jobs = jobs
        self._now = now
        self._tasks: dict[str, Task] = {}
        self._files: dict[str, dict[int, list[str]]] = {}
        self._of_job: dict[str, dict[str, None]] = {}
        self._unreported: dict[str, None] = {}
        self._in_state: dict[TaskState, dict[str, None]] = {state: {} for state in TaskState}

    def adopt(self, key: str, row: bytes) -> None:
        """Take up a row at boot."""
        prefix, task_id, *index = key.split("/")
        if prefix == "task":
            self._put(msgspec.msgpack.decode(row, type=Task))
        else:
            names = msgspec.msgpack.decode(row, type=list[str])
            self._files.setdefault(task_id, {})[int(index[0])] = names

    def _put(self, task: Task) -> Change:
        if old := self._tasks.get(task.id):
            del self._in_state[old.state][task.id]
        self._tasks[task.id] = task
        self._in_state[task.state][task.id] = None
        self._of_job.setdefault(task.job_id, {})[task.id] = None
        self._unreported.pop(task.id, None)
        if task.service_id and not task.reported and task.state in TASK_TERMINAL:
            self._unreported[task.id] = None
        return f"task/{task.id}", msgspec.msgpack.encode(task)

    async def register(self, task: Task, files: Sequence[str]) -> Task:
        """See `TaskLedger.register`."""
        job = self._jobs.find(task.job_id)
        if job.condemned:
            raise RowNotFoundError(f"job {job.id} is being removed")
        if known := self._tasks.get(task.id):
            await self._commit([])  # durable as well: it may have been registered just now
            return known
        rows = dict(enumerate(_parted(files)))
        self._files[task.id] = rows
        counted = msgspec.structs.replace(job, tasks=job.tasks + 1)  # who removes it looks again
        encode = msgspec.msgpack.encode
        await self._commit(
            [
                self._jobs.put(counted),
                self._put(task),
                *((f"taskfiles/{task.id}/{index}", encode(row)) for index, row in rows.items()),
            ]
        )
        return task

    async def change(self, task_id: str, event: StepEvent, **changes: object) -> Task:
        """See `TaskLedger.change`."""
        task = self.find(task_id)
        state = next_state(TASK_TRANSITIONS, task.state, event)
        now = self._now()
        changed = msgspec.structs.replace(task, state=state, changed_at=now, **changes)
        await self._commit([self._put(changed)])
        return changed

    async def note(self, task_id: str, **changes: object) -> Task:
        """See `TaskLedger.note`."""
        noted = msgspec.structs.replace(self.find(task_id), **changes)
        await self._commit([self._put(noted)])
        return noted

    def unreported(self) -> list[Task]:
        """See `TaskLedger.unreported`."""
        return [self._tasks[task_id] for task_id in self._unreported]

    def find(self, task_id: str) -> Task:
        """See `TaskLedger.find`."""
        try:
            return self._tasks[task_id]
        except KeyError:
            raise RowNotFoundError(f"no task {task_id}") from None

    def files(self, task_id: str) -> tuple[str, ...]:
        """See `TaskLedger.files`."""
        rows = self._files.get(task_id, {})
        return tuple(name for index in sorted(rows) for name in rows[index])

    def of_job(self, job_id: str) -> list[Task]:
        """See `TaskLedger.of_job`."""
        return _in_order(self._tasks[task_id] for task_id in self._of_job.get(job_id, ()))

    def select(self, states: Set[TaskState] | None = None) -> list[Task]:
        """See `TaskLedger.select`."""
        wanted = TaskState if states is None else states
        return _in_order(self._tasks[key] for state in wanted for key in self._in_state[state])

    def forget(self, job_id: str) -> list[Change]:
        """Forget the tasks of a job; return what is to be written."""
        changes: list[Change] = []
        for task_id in self._of_job.pop(job_id, {}):
            task = self._tasks.pop(task_id)
            del self._in_state[task.state][task_id]
            self._unreported.pop(task_id, None)
            rows = self._files.pop(task_id, {})
            changes.append((f"task/{task_id}", None))
            changes += [(f"taskfiles/{task_id}/{index}", None) for index in rows]
        return changes


def _in_order(tasks: Iterator[Task]) -> list[Task]:
    return sorted(tasks, key=lambda task: (task.opened_at, task.id))


def _parted(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the names in parts that fit into a row each."""
    part: list[str] = []
    size = 0
    for name in names:
        length = len(name.encode()) + 5
        if part and size + length > NAMES_BYTES:
            yield part
            part, size = [], 0
        part.append(name)
        size += length
    if part:
        yield part
