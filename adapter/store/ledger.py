"""The ledger (port `Ledger`): jobs, exports and outcomes over an engine that keeps rows.

Rules: memory holds every row and answers every question; it is rebuilt from the engine at start.
A change is checked against the state tables, applied to memory in one synchronous step, and the
method returns when the row is durable (`group_commit`).
"""

from collections.abc import Callable, Mapping, Sequence, Set

import msgspec

from adapter.domain.destination_rows import DestinationHold, DestinationOutage
from adapter.domain.ports import WallClock
from adapter.domain.records import Export, Job, Order, Outcome, OutgoingInstance, Transaction
from adapter.domain.tables import EXPORT_WORKING, JOB_WORKING, ExportState, JobState, StepEvent
from adapter.errors import DamagedLedgerError, LedgerError
from adapter.store import audit_rows
from adapter.store.audit_rows import AuditRows
from adapter.store.commitments import PREFIXES, CommitmentRows
from adapter.store.destination_rows import StoredDestinationRows
from adapter.store.entity_rows import EntityRows
from adapter.store.export_rows import ExportRows
from adapter.store.group_commit import Change, EngineThread, GroupCommit, LedgerEngine
from adapter.store.job_rows import JobRows
from adapter.store.kept_answers import KeptAnswerRows
from adapter.store.key_rows import KeyRows
from adapter.store.orders import OrderRows
from adapter.store.own_results import OwnResultRows
from adapter.store.rejection_rows import RejectionRows
from adapter.store.task_rows import TaskRows

FORMAT_KEY, FORMAT = "format", b"1"


class RowLedger:
    """Every row in memory, every change in the engine."""

    def __init__(self, engine: LedgerEngine, thread: EngineThread, now: WallClock) -> None:
        self._engine = engine
        self._now = now
        self._group_commit = GroupCommit(engine, thread)
        self._commit, self.close = self._group_commit.commit, self._group_commit.close
        self.commitments = CommitmentRows(self._commit)
        self.entities = EntityRows(self._commit)
        self.holds = StoredDestinationRows("hold", DestinationHold, self._commit)
        self.outages = StoredDestinationRows("outage", DestinationOutage, self._commit)
        self.keys = KeyRows(self._commit)
        self.audit = AuditRows(self._commit)
        self.own_results = OwnResultRows(self._commit)
        self.rejections = RejectionRows(self._commit)
        self.answers = KeptAnswerRows(self._commit)
        self._jobs = JobRows()
        self.tasks = TaskRows(self._commit, self._jobs, now)
        self._orders = OrderRows()
        self._exports = ExportRows()
        self._transactions: dict[str, dict[str, Transaction]] = {}
        """By export, and by Transaction UID."""
        self._export_asking: dict[str, str] = {}  # which export, by Transaction UID
        adopters: list[tuple[str, Callable[[bytes], None]]] = [
            *((kind, self.entities.adopt) for kind in ("entity", "source", "destination")),
            ("job", self._jobs.adopt), ("order", self._orders.adopt), ("key", self.keys.adopt),
            ("export", self._exports.adopt), ("outcome", self._exports.adopt_outcome),
            ("hold", self.holds.adopt), ("outage", self.outages.adopt),
            ("ownresults", self.own_results.adopt), ("answer", self.answers.adopt),
            ("rejection", self.rejections.adopt),
        ]  # fmt: skip
        self._adopters = dict(adopters)  # by the first word of a key

    def load(self) -> None:
        """Rebuild memory from the engine; steps that were being done fall back. Blocks; at boot.

        Raises:
            DamagedLedgerError: A row is none.
            LedgerError: The ledger cannot be read, or another version wrote it.
        """
        rows = dict(self._engine.load())
        if rows and rows.get(FORMAT_KEY) != FORMAT:
            raise LedgerError("the ledger was written by another version of this program")
        try:
            for key, row in rows.items():
                self._adopt(key, row)
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
            raise DamagedLedgerError(f"a row of the ledger cannot be read: {error}") from error
        self.audit.settle()
        changes: list[Change] = [] if rows else [(FORMAT_KEY, FORMAT)]
        interrupt = StepEvent.INTERRUPT
        jobs = self._jobs.select(JOB_WORKING)
        changes += [self._jobs.process(job, interrupt, self._now()) for job in jobs]
        exports = self._exports.select(EXPORT_WORKING, None)
        changes += [self._exports.process(export, interrupt, self._now()) for export in exports]
        if changes:
            self._engine.write(changes)

    def adopt_jobs(self, jobs: Sequence[Job]) -> None:
        """Add rows for jobs that were found without one. Blocks; at boot, after `load`."""
        self._engine.write([self._jobs.put(job) for job in jobs])

    def job_ids(self) -> Set[str]:
        """Return the ids of all jobs."""
        return {job.id for job in self._jobs.select(None)}

    @property
    def outage(self) -> str:
        """See `Ledger.outage`."""
        return self._group_commit.outage

    def _adopt(self, key: str, row: bytes) -> None:
        match key.partition("/")[0]:
            case kind if kind in self._adopters:
                self._adopters[kind](row)
            case "transaction":
                self._put_transactions([msgspec.msgpack.decode(row, type=Transaction)])
            case "task" | "taskfiles":
                self.tasks.adopt(key, row)
            case prefix if prefix in audit_rows.PREFIXES:
                self.audit.adopt(key, row)
            case prefix if prefix in PREFIXES:
                self.commitments.adopt(key, row)
            case _:
                assert key == FORMAT_KEY, key

    # --- jobs

    async def open_jobs(self, jobs: Sequence[Job]) -> list[Job]:
        """See `Ledger.open_jobs`."""
        known = self._jobs.known({job.id for job in jobs})
        added = [job for job in jobs if job.id not in known]
        await self._commit([self._jobs.put(job) for job in added])
        return added

    async def change_job(
        self, job_id: str, event: StepEvent, order: Order | None = None, /, **changes: object
    ) -> Job:
        """See `Ledger.change_job`."""
        rows = [self._jobs.process(self._jobs.find(job_id), event, self._now(), **changes)]
        changed = self._jobs.find(job_id)
        if order is not None:
            rows += self._orders.put(order)
        await self._commit(rows)
        return changed

    async def note_job(self, job_id: str, **changes: object) -> Job:
        """See `Ledger.note_job`."""
        noted = msgspec.structs.replace(self._jobs.find(job_id), **changes)
        await self._commit([self._jobs.put(noted)])
        return noted

    async def condemn_job(self, job: Job) -> bool:
        """See `Ledger.condemn_job`."""
        if not self._jobs.known({job.id}) or self._jobs.find(job.id) != job:
            return False
        await self.note_job(job.id, condemned=True)
        return True

    async def job(self, job_id: str) -> Job:
        """See `Ledger.job`."""
        return self._jobs.find(job_id)

    async def jobs(self, states: frozenset[JobState] | None = None) -> list[Job]:
        """See `Ledger.jobs`."""
        return self._jobs.select(states)

    async def known_jobs(self, job_ids: Set[str]) -> set[str]:
        """See `Ledger.known_jobs`."""
        return self._jobs.known(job_ids)

    def job_counts(self) -> Mapping[JobState, int]:
        """See `Ledger.job_counts`."""
        return self._jobs.counts()

    async def order(self, key: str) -> Order | None:
        """See `Ledger.order`."""
        return self._orders.find(key)

    async def remove_job(self, job_id: str) -> None:
        """See `Ledger.remove_job`."""
        export_ids, rows = self._exports.remove_job(job_id)
        changes: list[Change] = [self._jobs.remove(job_id), *rows, *self.tasks.forget(job_id)]
        for export_id in export_ids:
            for uid in self._transactions.pop(export_id, {}):
                del self._export_asking[uid]
                changes.append((f"transaction/{uid}", None))
        await self._commit(changes)

    # --- exports

    async def open_exports(
        self,
        job_id: str,
        exports: Sequence[tuple[Export, Mapping[str, OutgoingInstance]]],
        /,
        **changes: object,
    ) -> list[Export]:
        """See `Ledger.open_exports`."""
        known = self._exports.known(export.id for export, _ in exports)
        added = [(export, files) for export, files in exports if export.id not in known]
        job = msgspec.structs.replace(self._jobs.find(job_id), collected=True, **changes)
        rows: list[Change] = [self._jobs.put(job)]
        for export, files in added:
            rows.append(self._exports.put(export))
            rows += self._exports.put_outcomes(
                [
                    Outcome(
                        export_id=export.id,
                        index=index,
                        file=file,
                        sop_class_uid=instance.sop_class_uid,
                        sop_instance_uid=instance.sop_instance_uid,
                    )
                    for index, (file, instance) in enumerate(files.items())
                ]
            )
        await self._commit(rows)
        return [export for export, _ in added]

    async def export(self, export_id: str) -> Export:
        """See `Ledger.export`."""
        return self._exports.find(export_id)

    async def exports(
        self, states: Set[ExportState] | None = None, destination: str | None = None
    ) -> list[Export]:
        """See `Ledger.exports`."""
        return self._exports.select(states, destination)

    async def exports_of(self, job_id: str) -> list[Export]:
        """See `Ledger.exports_of`."""
        return self._exports.of_job(job_id)

    def export_counts(self) -> Mapping[tuple[str, ExportState], int]:
        """See `Ledger.export_counts`."""
        return self._exports.counts()

    def oldest_export_at(self, destination: str, state: ExportState) -> float | None:
        """See `Ledger.oldest_export_at`."""
        return self._exports.oldest_at(destination, state)

    async def change_export(
        self, export_id: str, event: StepEvent, order: Order | None = None, /, **changes: object
    ) -> Export:
        """See `Ledger.change_export`."""
        rows = [self._exports.process(self._exports.find(export_id), event, self._now(), **changes)]
        changed = self._exports.find(export_id)
        if order is not None:
            rows += self._orders.put(order)
        await self._commit(rows)
        return changed

    async def hand_over(
        self, given: tuple[Export, Sequence[Outcome]], taken: tuple[Export, Sequence[Outcome]]
    ) -> None:
        """See `Ledger.hand_over`."""
        rows: list[Change] = []
        for export, outcomes in (given, taken):
            rows += [self._exports.put(export), *self._exports.put_outcomes(outcomes)]
        await self._commit(rows)

    async def readdress_export(self, export_id: str, destination: str, error: str) -> Export:
        """See `Ledger.readdress_export`."""
        held = self._exports.find(export_id)
        export = msgspec.structs.replace(held, destination=destination, error=error)
        await self._commit([self._exports.put(export)])
        return export

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """See `Ledger.record_outcomes`."""
        await self._commit(self._exports.put_outcomes(outcomes))

    async def outcomes(self, export_id: str) -> list[Outcome]:
        """See `Ledger.outcomes`."""
        return self._exports.outcomes(export_id)

    # --- storage commitment by destinations

    async def record_transactions(
        self, transactions: Sequence[Transaction], outcomes: Sequence[Outcome] = ()
    ) -> None:
        """See `Ledger.record_transactions`."""
        rows = self._put_transactions(transactions) + self._exports.put_outcomes(outcomes)
        await self._commit(rows)

    def _put_transactions(self, transactions: Sequence[Transaction]) -> list[Change]:
        for transaction in transactions:
            self._export_asking[transaction.uid] = transaction.export_id
            self._transactions.setdefault(transaction.export_id, {})[transaction.uid] = transaction
        return [(f"transaction/{t.uid}", msgspec.msgpack.encode(t)) for t in transactions]

    async def transactions(self, export_id: str) -> list[Transaction]:
        """See `Ledger.transactions`."""
        return list(self._transactions.get(export_id, {}).values())

    async def transaction(self, uid: str) -> Transaction | None:
        """See `Ledger.transaction`."""
        export_id = self._export_asking.get(uid)
        return None if export_id is None else self._transactions[export_id][uid]

    async def committed(self, sop_instance_uids: Set[str]) -> Mapping[str, Set[str]]:
        """See `Ledger.committed`."""
        return self._exports.committed(sop_instance_uids)
