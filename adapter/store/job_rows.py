"""The jobs of the ledger: what memory keeps of them, by id and by state."""

from collections.abc import Iterable, Mapping, Set

import msgspec

from adapter.domain.records import Job, JobChange
from adapter.domain.tables import JobState, StepEvent, next_job_state
from adapter.errors import RowNotFoundError
from adapter.store.group_commit import Change

HISTORY_MAX = 40
"""Changes of state that are kept of a job, in its row."""


class JobRows:
    """Every job in memory; who changes one gets the row to write."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._in_state: dict[JobState, dict[str, None]] = {state: {} for state in JobState}

    def adopt(self, row: bytes) -> None:
        """Take up a row at boot."""
        self._keep(msgspec.msgpack.decode(row, type=Job))

    def _keep(self, job: Job) -> None:
        if old := self._jobs.get(job.id):
            self._in_state[old.state].pop(job.id)
        self._jobs[job.id] = job
        self._in_state[job.state][job.id] = None

    def find(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            RowNotFoundError: There is none.
        """
        try:
            return self._jobs[job_id]
        except KeyError:
            raise RowNotFoundError(f"no job {job_id}") from None

    def known(self, job_ids: Set[str]) -> set[str]:
        """Return which of these jobs there are."""
        return {job_id for job_id in job_ids if job_id in self._jobs}

    def select(self, states: Iterable[JobState] | None) -> list[Job]:
        """Return the jobs in these states, or all, in the order in which they opened."""
        if states is None:
            return list(self._jobs.values())
        found = [self._jobs[job_id] for state in states for job_id in self._in_state[state]]
        return sorted(found, key=lambda job: (job.opened_at, job.id))

    def counts(self) -> Mapping[JobState, int]:
        """Return how many jobs there are in each state."""
        return {state: len(jobs) for state, jobs in self._in_state.items()}

    def put(self, job: Job) -> Change:
        """Keep a job, as new or as it is now; return its row."""
        self._keep(job)
        return f"job/{job.id}", msgspec.msgpack.encode(job)

    def process(self, job: Job, event: StepEvent, now: float, **changes: object) -> Change:
        """Apply an event of the job table, and set fields; return the row.

        Raises:
            IllegalTransitionError: The table has no such row.
        """
        state = next_job_state(job.state, event, job.left)
        if event is StepEvent.GIVE_UP:
            changes["left"] = next_job_state(job.state, StepEvent.INTERRUPT, job.left)
        history = (*job.history, JobChange(state, now))[-HISTORY_MAX:]
        return self.put(
            msgspec.structs.replace(job, state=state, changed_at=now, history=history, **changes)
        )

    def remove(self, job_id: str) -> Change:
        """Forget a job; again is harmless."""
        if job := self._jobs.pop(job_id, None):
            self._in_state[job.state].pop(job_id)
        return f"job/{job_id}", None
