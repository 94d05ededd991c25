"""The ledger (port `Ledger`): jobs, exports and outcomes over an engine that keeps rows.

Rules: memory holds every row and answers every question; it is rebuilt from the engine at start.
A change is checked against the state tables, applied to memory in one synchronous step, and the
method returns when the row is durable. Changes that wait for the writer meanwhile share its next
transaction (group commit): one sync for all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import trio

from adapter.domain.ports import WallClock
from adapter.domain.records import Export, Job, Outcome, OutgoingInstance
from adapter.domain.tables import (
    EXPORT_TRANSITIONS,
    EXPORT_WORKING,
    JOB_TRANSITIONS,
    JOB_WORKING,
    ExportState,
    JobState,
    StepEvent,
    next_state,
)
from adapter.errors import LedgerError, RowNotFoundError

FORMAT_KEY, FORMAT = "format", b"1"


class LedgerEngine(Protocol):
    """Keeps rows by key; blocking."""

    def load(self) -> Iterator[tuple[str, bytes]]: ...

    def write(self, changes: Sequence[tuple[str, bytes | None]]) -> None: ...


class EngineThread(Protocol):
    """Runs the engine's writes one at a time, off the event loop where they block."""

    async def write(
        self, engine: LedgerEngine, changes: Sequence[tuple[str, bytes | None]]
    ) -> None: ...


class WriterThread:
    """The one writer thread."""

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        assert limiter.total_tokens == 1
        self._limiter = limiter

    async def write(
        self, engine: LedgerEngine, changes: Sequence[tuple[str, bytes | None]]
    ) -> None:
        """Write in the thread; a cancel waits for it."""
        await trio.to_thread.run_sync(engine.write, changes, limiter=self._limiter)


@dataclass(slots=True)
class _Batch:
    """Changes that will be written by one transaction."""

    changes: list[tuple[str, bytes | None]] = field(default_factory=list)
    written: bool = False


class RowLedger:
    """Every row in memory, every change in the engine."""

    def __init__(self, engine: LedgerEngine, thread: EngineThread, now: WallClock) -> None:
        self._engine = engine
        self._thread = thread
        self._now = now
        self._jobs: dict[str, Job] = {}
        self._exports: dict[str, Export] = {}
        self._outcomes: dict[str, dict[int, Outcome]] = {}
        self._batch = _Batch()
        self._writing = trio.Lock()
        self._broken: LedgerError | None = None

    def load(self) -> None:
        """Rebuild memory from the engine; steps that were being done fall back. Blocks; at boot.

        Raises:
            LedgerError: The ledger cannot be read, or another version wrote it.
        """
        rows = dict(self._engine.load())
        if rows and rows.get(FORMAT_KEY) != FORMAT:
            raise LedgerError("the ledger was written by another version of this program")
        try:
            for key, row in rows.items():
                self._adopt(key, row)
        except msgspec.MsgspecError as error:
            raise LedgerError(f"a row of the ledger cannot be read: {error}") from error
        changes: list[tuple[str, bytes | None]] = [] if rows else [(FORMAT_KEY, FORMAT)]
        interrupt = StepEvent.INTERRUPT
        jobs = [job for job in self._jobs.values() if job.state in JOB_WORKING]
        changes += [self._put_job(job, interrupt, {}) for job in jobs]
        exports = [e for e in self._exports.values() if e.state in EXPORT_WORKING]
        changes += [self._put_export(export, interrupt, {}) for export in exports]
        if changes:
            self._engine.write(changes)

    def _adopt(self, key: str, row: bytes) -> None:
        match key.partition("/")[0]:
            case "job":
                job = msgspec.msgpack.decode(row, type=Job)
                self._jobs[job.id] = job
            case "export":
                export = msgspec.msgpack.decode(row, type=Export)
                self._exports[export.id] = export
            case "outcome":
                outcome = msgspec.msgpack.decode(row, type=Outcome)
                self._outcomes.setdefault(outcome.export_id, {})[outcome.index] = outcome
            case _:
                assert key == FORMAT_KEY, key

    # --- writing

    async def _commit(self, changes: Sequence[tuple[str, bytes | None]]) -> None:
        if self._broken is not None:
            raise self._broken
        batch = self._batch
        batch.changes += changes
        async with self._writing:  # whoever comes first writes for all who wait
            if batch.written:
                return
            self._batch = _Batch()
            with trio.CancelScope(shield=True):  # bounded by one transaction
                try:
                    await self._thread.write(self._engine, batch.changes)
                except LedgerError as error:
                    self._broken = error  # memory is ahead of the disk now: no further promise
                    raise
            batch.written = True
        if self._broken is not None:
            raise self._broken

    def _put_job(self, job: Job, event: StepEvent, changes: dict[str, object]) -> tuple[str, bytes]:
        state = next_state(JOB_TRANSITIONS, job.state, event)
        changed = msgspec.structs.replace(job, state=state, changed_at=self._now(), **changes)
        self._jobs[job.id] = changed
        return _row(changed)

    def _put_export(
        self, export: Export, event: StepEvent, changes: dict[str, object]
    ) -> tuple[str, bytes]:
        state = next_state(EXPORT_TRANSITIONS, export.state, event)
        changed = msgspec.structs.replace(export, state=state, changed_at=self._now(), **changes)
        self._exports[export.id] = changed
        return _row(changed)

    def _put_outcomes(self, outcomes: Sequence[Outcome]) -> list[tuple[str, bytes]]:
        for outcome in outcomes:
            self._outcomes.setdefault(outcome.export_id, {})[outcome.index] = outcome
        return [_row(outcome) for outcome in outcomes]

    # --- jobs

    async def open_jobs(self, jobs: Sequence[Job]) -> list[Job]:
        """See `Ledger.open_jobs`."""
        added = [job for job in jobs if job.id not in self._jobs]
        for job in added:
            self._jobs[job.id] = job
        await self._commit([_row(job) for job in added])
        return added

    async def change_job(self, job_id: str, event: StepEvent, **changes: object) -> Job:
        """See `Ledger.change_job`."""
        row = self._put_job(self._find_job(job_id), event, changes)
        changed = self._jobs[job_id]
        await self._commit([row])
        return changed

    def _find_job(self, job_id: str) -> Job:
        try:
            return self._jobs[job_id]
        except KeyError:
            raise RowNotFoundError(f"no job {job_id}") from None

    async def job(self, job_id: str) -> Job:
        """See `Ledger.job`."""
        return self._find_job(job_id)

    async def jobs(self, states: frozenset[JobState] | None = None) -> list[Job]:
        """See `Ledger.jobs`."""
        return [job for job in self._jobs.values() if states is None or job.state in states]

    async def remove_job(self, job_id: str) -> None:
        """See `Ledger.remove_job`."""
        exports = [e.id for e in self._exports.values() if e.job_id == job_id]
        changes: list[tuple[str, bytes | None]] = [(f"job/{job_id}", None)]
        self._jobs.pop(job_id, None)
        for export_id in exports:
            del self._exports[export_id]
            indexes = self._outcomes.pop(export_id, {})
            changes.append((f"export/{export_id}", None))
            changes += [(f"outcome/{export_id}/{index}", None) for index in indexes]
        await self._commit(changes)

    # --- exports

    async def open_exports(
        self, job_id: str, exports: Sequence[tuple[Export, Mapping[str, OutgoingInstance]]]
    ) -> list[Export]:
        """See `Ledger.open_exports`."""
        added = [(export, files) for export, files in exports if export.id not in self._exports]
        job = msgspec.structs.replace(self._find_job(job_id), collected=True)
        self._jobs[job_id] = job
        rows = [_row(job)]
        for export, files in added:
            self._exports[export.id] = export
            rows.append(_row(export))
            rows += self._put_outcomes(
                [
                    Outcome(
                        export_id=export.id,
                        index=index,
                        file=file,
                        sop_instance_uid=instance.sop_instance_uid,
                    )
                    for index, (file, instance) in enumerate(files.items())
                ]
            )
        await self._commit(rows)
        return [export for export, _ in added]

    async def change_export(self, export_id: str, event: StepEvent, **changes: object) -> Export:
        """See `Ledger.change_export`."""
        try:
            export = self._exports[export_id]
        except KeyError:
            raise RowNotFoundError(f"no export {export_id}") from None
        row = self._put_export(export, event, changes)
        changed = self._exports[export_id]
        await self._commit([row])
        return changed

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """See `Ledger.record_outcomes`."""
        await self._commit(self._put_outcomes(outcomes))

    async def exports(self, states: frozenset[ExportState] | None = None) -> list[Export]:
        """See `Ledger.exports`."""
        return [e for e in self._exports.values() if states is None or e.state in states]

    async def outcomes(self, export_id: str) -> list[Outcome]:
        """See `Ledger.outcomes`."""
        if export_id not in self._exports:
            raise RowNotFoundError(f"no export {export_id}")
        rows = self._outcomes.get(export_id, {})
        return [rows[index] for index in sorted(rows)]


def _row(value: Job | Export | Outcome) -> tuple[str, bytes]:
    match value:
        case Job():
            key = f"job/{value.id}"
        case Export():
            key = f"export/{value.id}"
        case Outcome():
            key = f"outcome/{value.export_id}/{value.index}"
    return key, msgspec.msgpack.encode(value)
