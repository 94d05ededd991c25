"""The ledger: contract over two engines, group commit, recovery, and what it refuses."""

import pickle
import sqlite3

import diskcache
import msgspec
import pytest
import trio
import trio.testing

from adapter.domain.commitment import Reference
from adapter.domain.fallback import handed_over
from adapter.domain.records import (
    Commitment,
    Export,
    Job,
    JobChange,
    Order,
    OutgoingInstance,
    Transaction,
)
from adapter.domain.tables import (
    EXPORT_TRANSITIONS,
    JOB_TRANSITIONS,
    ExportState,
    IllegalTransitionError,
    JobState,
    StepEvent,
)
from adapter.errors import FullLedgerError, LedgerError, RowNotFoundError
from adapter.store.diskcache_engine import ROW_BYTES_MAX, DiskcacheEngine
from adapter.store.group_commit import WriterThread
from adapter.store.job_rows import HISTORY_MAX
from adapter.store.ledger import RowLedger
from adapter.store.orders import ORDERS_MAX


class MemoryEngine:
    """Rows in a dict that outlives the ledgers on it."""

    def __init__(self):
        self.rows = {}
        self.writes = []
        self.broken = False
        self.full = False

    def load(self):
        yield from list(self.rows.items())

    def write(self, changes):
        if self.broken:
            raise LedgerError("the disk is gone")
        if self.full:
            raise FullLedgerError("no space left")
        self.writes.append(list(changes))
        for key, value in changes:
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value

    def close(self):
        pass


class Inline:
    """Writes without a thread, in no time or slowly enough for others to queue up."""

    def __init__(self, write_s=0.0):
        self.write_s = write_s

    async def write(self, engine, changes):
        await trio.sleep(self.write_s)
        engine.write(changes)


class Ledgers:
    """Opens ledgers on the same rows, one after the other, as restarts do."""

    def __init__(self, engine):
        self.make = engine
        self.engines = []
        self.time = 1000.0

    def open(self):
        self.close()
        self.engines.append(self.make())
        ledger = RowLedger(self.engine, Inline(), lambda: self.time)
        ledger.load()
        return ledger

    @property
    def engine(self):
        return self.engines[-1]

    def close(self):
        """Close all: one that is used after it was closed has opened itself again."""
        for engine in self.engines:
            engine.close()


@pytest.fixture(params=["memory", "diskcache"])
def ledgers(request, tmp_path):
    memory = MemoryEngine()
    engines = {"memory": lambda: memory, "diskcache": lambda: DiskcacheEngine(tmp_path / "ledger")}
    made = Ledgers(engines[request.param])
    yield made
    made.close()


def job(identifier="job-1", **changes):
    fields = {
        "id": identifier, "group_id": "group-1", "ae_title": "BRAIN", "processor": "p",
        "name": "n", "pipeline": "seg", "pipeline_id": "p1", "priority": "normal",
        "opened_at": 1.0, "changed_at": 1.0, "instances": 1, "payload_bytes": 10,
        "destinations": ("pacs",),
    }  # fmt: skip
    return Job(**fields | changes)


def export(identifier="export-1", job_id="job-1", destination="pacs"):
    return Export(
        id=identifier, job_id=job_id, destination=destination, opened_at=1.0, changed_at=1.0,
        instances=2,
    )  # fmt: skip


FILES = {
    f"{n}.dcm": OutgoingInstance(
        path="", sop_class_uid="1.2", sop_instance_uid=f"1.3.{n}", transfer_syntax_uid="1.4",
        data_set_offset=300, data_set_bytes=1000,
    )
    for n in range(2)
}  # fmt: skip


async def with_export(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    await ledger.open_exports("job-1", [(export(), FILES)])
    return ledger


# --- contract


async def test_empty_ledger_has_no_rows(ledgers):
    ledger = ledgers.open()
    assert (await ledger.jobs(), await ledger.exports()) == ([], [])
    assert await ledgers.open().jobs() == []


async def test_opened_jobs_are_there_after_a_restart_in_order(ledgers):
    ledger = ledgers.open()
    jobs = [job("job-2"), job("job-1"), job("job-3")]
    assert await ledger.open_jobs(jobs) == jobs
    await ledger.change_job("job-2", StepEvent.BEGIN)
    await ledger.change_job("job-2", StepEvent.SUCCEED)
    again = ledgers.open()
    assert [row.id for row in await again.jobs()] == ["job-2", "job-1", "job-3"]
    assert await again.job("job-1") == job("job-1")


async def test_job_is_opened_once(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    await ledger.change_job("job-1", StepEvent.BEGIN)
    assert await ledger.open_jobs([job(), job("job-2")]) == [job("job-2")]
    assert (await ledger.job("job-1")).state is JobState.CREATING


async def test_change_walks_the_table_and_sets_fields(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    await ledger.change_job("job-1", StepEvent.BEGIN)
    ledgers.time = 2000.0
    changed = await ledger.change_job("job-1", StepEvent.FAIL, try_count=1, error="no", due_at=9.0)
    history = (JobChange(JobState.CREATING, 1000.0), JobChange(JobState.QUEUED, 2000.0))
    assert changed == job(try_count=1, error="no", due_at=9.0, changed_at=2000.0, history=history)
    assert await ledgers.open().job("job-1") == changed


async def test_illegal_change_changes_nothing(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    with pytest.raises(IllegalTransitionError):
        await ledger.change_job("job-1", StepEvent.SUCCEED, error="x")
    assert await ledger.job("job-1") == job()
    assert await ledgers.open().job("job-1") == job()


async def test_unknown_rows_are_not_found(ledgers):
    ledger = ledgers.open()
    with pytest.raises(RowNotFoundError):
        await ledger.job("job-9")
    with pytest.raises(RowNotFoundError):
        await ledger.change_job("job-9", StepEvent.BEGIN)
    with pytest.raises(RowNotFoundError):
        await ledger.change_export("export-9", StepEvent.BEGIN)
    with pytest.raises(RowNotFoundError):
        await ledger.outcomes("export-9")
    with pytest.raises(RowNotFoundError):
        await ledger.open_exports("job-9", [])


async def test_jobs_and_exports_are_filtered_by_state(ledgers):
    ledger = await with_export(ledgers)
    await ledger.open_jobs([job("job-2")])
    await ledger.change_job("job-2", StepEvent.BEGIN)
    assert [row.id for row in await ledger.jobs(frozenset({JobState.CREATING}))] == ["job-2"]
    assert [row.id for row in await ledger.exports(frozenset({ExportState.QUEUED}))] == ["export-1"]
    assert await ledger.exports(frozenset({ExportState.SENDING})) == []


async def test_exports_open_once_with_an_outcome_for_each_file(ledgers):
    ledger = await with_export(ledgers)
    assert (await ledger.job("job-1")).collected
    assert await ledger.open_exports("job-1", [(export(), FILES)]) == []
    again = ledgers.open()
    assert (await again.job("job-1")).collected
    assert await again.exports() == [export()]
    assert [(o.index, o.file, o.sop_instance_uid) for o in await again.outcomes("export-1")] == [
        (0, "0.dcm", "1.3.0"),
        (1, "1.dcm", "1.3.1"),
    ]


async def test_outcomes_are_kept(ledgers):
    ledger = await with_export(ledgers)
    first, second = await ledger.outcomes("export-1")
    delivered = msgspec.structs.replace(second, delivered=True, status=0, attempts=1)
    await ledger.record_outcomes([delivered])
    assert await ledgers.open().outcomes("export-1") == [first, delivered]


async def test_more_than_ten_outcomes_come_in_order(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    twelve = {f"{n}.dcm": FILES["0.dcm"] for n in range(12)}
    await ledger.open_exports("job-1", [(export(), twelve)])
    indexes = [outcome.index for outcome in await ledgers.open().outcomes("export-1")]
    assert indexes == list(range(12))


async def test_removed_job_takes_everything_along(ledgers):
    ledger = await with_export(ledgers)
    await ledger.open_jobs([job("job-2")])
    await ledger.open_exports("job-2", [(export("export-2", "job-2"), FILES)])
    await ledger.remove_job("job-1")
    for each in (ledger, ledgers.open()):
        assert [row.id for row in await each.jobs()] == ["job-2"]
        assert [row.id for row in await each.exports()] == ["export-2"]
        assert len(await each.outcomes("export-2")) == 2
    assert not [key for key, _ in ledgers.engine.load() if "-1" in key]


async def test_removing_again_is_harmless(ledgers):
    ledger = await with_export(ledgers)
    await ledger.remove_job("job-1")
    await ledger.remove_job("job-1")
    assert await ledgers.open().jobs() == []


@pytest.mark.parametrize(
    ("state", "back"),
    [(s, to) for (s, event), to in JOB_TRANSITIONS.items() if event is StepEvent.INTERRUPT],
)
async def test_step_that_was_being_done_falls_back_at_load(ledgers, state, back):
    ledger = ledgers.open()
    await ledger.open_jobs([job(state=state, try_count=2)])
    ledgers.time = 5000.0
    interrupted = await ledgers.open().job("job-1")
    assert (interrupted.state, interrupted.try_count) == (back, 2)
    ledgers.time = 9000.0
    assert await ledgers.open().job("job-1") == interrupted


async def test_export_that_was_being_sent_falls_back_at_load(ledgers):
    ledger = await with_export(ledgers)
    await ledger.change_export("export-1", StepEvent.BEGIN)
    (row,) = await ledgers.open().exports()
    assert row.state is EXPORT_TRANSITIONS[ExportState.SENDING, StepEvent.INTERRUPT]


# --- group commit


async def test_callers_at_the_same_time_share_a_transaction(autojump_clock):
    engine = MemoryEngine()
    ledger = RowLedger(engine, Inline(write_s=1.0), lambda: 0.0)
    ledger.load()
    engine.writes.clear()
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(ledger.open_jobs, [job(f"job-{number}")])
    assert [len(write) for write in engine.writes] in ([50], [1, 49])
    assert trio.current_time() <= 2
    assert len(engine.rows) == 51


async def test_caller_returns_only_when_its_row_is_durable(autojump_clock):
    engine = MemoryEngine()
    ledger = RowLedger(engine, Inline(write_s=1.0), lambda: 0.0)
    ledger.load()

    async def opening(number):
        await ledger.open_jobs([job(f"job-{number}")])
        assert f"job/job-{number}" in engine.rows

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(opening, number)
            await trio.sleep(0.3)
    assert len(engine.rows) == 11


async def test_last_of_several_changes_of_a_row_is_what_stays(autojump_clock):
    engine = MemoryEngine()
    ledger = RowLedger(engine, Inline(write_s=1.0), lambda: 0.0)
    ledger.load()
    await ledger.open_jobs([job()])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.change_job, "job-1", StepEvent.BEGIN)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ledger.change_job, "job-1", StepEvent.SUCCEED)
    row = msgspec.msgpack.decode(engine.rows["job/job-1"], type=Job)
    assert row.state is JobState.CREATED
    assert await ledger.job("job-1") == row


async def test_cancelled_caller_leaves_no_half_written_row(autojump_clock):
    engine = MemoryEngine()
    ledger = RowLedger(engine, Inline(write_s=1.0), lambda: 0.0)
    ledger.load()
    with trio.move_on_after(0.5):
        await ledger.open_jobs([job()])
    await ledger.open_jobs([job("job-2")])
    again = RowLedger(engine, Inline(), lambda: 0.0)
    again.load()
    assert [row.id for row in await again.jobs()] == ["job-1", "job-2"]


async def test_cancelled_waiter_does_not_lose_the_row_it_shares(autojump_clock):
    engine = MemoryEngine()
    ledger = RowLedger(engine, Inline(write_s=1.0), lambda: 0.0)
    ledger.load()

    async def impatient():
        with trio.move_on_after(0.5):
            await ledger.open_jobs([job("job-2")])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.open_jobs, [job("job-1")])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(impatient)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ledger.open_jobs, [job("job-3")])
    assert {"job/job-1", "job/job-2", "job/job-3"} <= set(engine.rows)


# --- failures


async def test_failure_of_the_engine_breaks_all_later_promises(autojump_clock):
    engine = MemoryEngine()
    ledger = RowLedger(engine, Inline(write_s=1.0), lambda: 0.0)
    ledger.load()
    await ledger.open_jobs([job()])
    engine.broken = True
    with pytest.raises(LedgerError, match="the disk is gone"):
        await ledger.change_job("job-1", StepEvent.BEGIN)
    engine.broken = False
    with pytest.raises(LedgerError, match="the disk is gone"):
        await ledger.open_jobs([job("job-2")])
    with pytest.raises(LedgerError, match="the disk is gone"):
        await ledger.remove_job("job-1")


async def test_failure_is_told_to_everybody_who_waits(autojump_clock):
    engine = MemoryEngine()
    ledger = RowLedger(engine, Inline(write_s=1.0), lambda: 0.0)
    ledger.load()
    engine.broken = True
    told = []

    async def opening(number):
        try:
            await ledger.open_jobs([job(f"job-{number}")])
        except LedgerError:
            told.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(opening, number)
    assert sorted(told) == [0, 1, 2, 3, 4]


async def test_write_that_finds_no_room_waits_for_it(autojump_clock):
    """F61: what waits is written in its order; nobody is told that it is done before it is."""
    engine = MemoryEngine()
    ledger = RowLedger(engine, Inline(write_s=0.1), lambda: 0.0)
    ledger.load()
    engine.full = True
    told = []

    async def opening(number):
        await ledger.open_jobs([job(f"job-{number}")])
        told.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(opening, number)
        await trio.sleep(60)
        assert (told, ledger.outage) == ([], "no space left")
        assert "job/job-1" not in engine.rows
        engine.full = False
    assert sorted(told) == [0, 1, 2]
    assert ledger.outage == ""
    assert {"job/job-0", "job/job-1", "job/job-2"} <= set(engine.rows)


async def test_change_that_was_cancelled_while_it_waited_for_room_is_not_overtaken(autojump_clock):
    engine = MemoryEngine()
    ledger = RowLedger(engine, Inline(), lambda: 0.0)
    ledger.load()
    engine.full = True
    with trio.move_on_after(5):
        await ledger.open_jobs([job()])
    engine.full = False
    await ledger.change_job("job-1", StepEvent.BEGIN)
    rows = [(key, msgspec.msgpack.decode(row, type=Job).state) for key, row in engine.writes[-1]]
    assert rows == [("job/job-1", JobState.QUEUED), ("job/job-1", JobState.CREATING)]


@pytest.mark.parametrize("rows", [{"job/job-1": b"\x80"}, {"format": b"2"}])
def test_ledger_of_another_version_is_refused(rows):
    engine = MemoryEngine()
    engine.rows.update(rows)
    with pytest.raises(LedgerError, match="another version"):
        RowLedger(engine, Inline(), lambda: 0.0).load()


def test_damaged_row_is_refused():
    engine = MemoryEngine()
    engine.rows.update({"format": b"1", "job/job-1": b"\xc1"})
    with pytest.raises(LedgerError, match="cannot be read"):
        RowLedger(engine, Inline(), lambda: 0.0).load()


# --- diskcache


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "ledger"


def test_foreign_pickle_is_refused(folder):
    """CVE-2025-69872: a pickle planted in the folder must never be loaded."""
    DiskcacheEngine(folder).close()
    with diskcache.Cache(str(folder), disk=diskcache.Disk) as foreign:
        foreign[("a", "tuple")] = {"a": "pickle"}
    engine = DiskcacheEngine(folder)
    with pytest.raises(LedgerError, match="did not write"):
        list(engine.load())
    engine.close()


class Planted:
    """A pickle that would leave a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("mode", [1, 4])
def test_planted_pickle_value_is_refused_and_not_run(folder, tmp_path, mode):
    engine = DiskcacheEngine(folder)
    engine.write([("job/job-1", b"row")])
    engine.close()
    trace = tmp_path / "trace"
    with sqlite3.connect(folder / "cache.db") as database:
        database.execute(
            "UPDATE Cache SET mode = ?, value = ?",
            (4, pickle.dumps(Planted(trace))) if mode == 4 else (1, "text"),
        )
    database.close()
    engine = DiskcacheEngine(folder)
    with pytest.raises(LedgerError, match="did not write"):
        list(engine.load())
    engine.close()
    assert not trace.exists()


def test_transaction_is_all_or_nothing(folder):
    engine = DiskcacheEngine(folder)
    with pytest.raises(TypeError):
        engine.write([("a", b"1"), ("b", "text")])
    assert list(engine.load()) == []
    engine.close()


def test_rows_are_written_replaced_and_deleted(folder):
    engine = DiskcacheEngine(folder)
    engine.write([("a", b"1"), ("b", b"2"), ("c", b"3")])
    engine.write([("a", b"4"), ("b", None), ("nothing", None)])
    engine.close()
    engine = DiskcacheEngine(folder)
    assert list(engine.load()) == [("a", b"4"), ("c", b"3")]
    engine.close()


def test_no_row_is_ever_evicted_or_put_aside(folder):
    engine = DiskcacheEngine(folder)
    row = b"x" * (ROW_BYTES_MAX - 1)
    engine.write([(str(number), row) for number in range(100)])
    assert dict(engine.load()) == {str(number): row for number in range(100)}
    engine.close()
    assert not [path for path in folder.rglob("*") if path.suffix == ".val"]


def test_commits_survive_power_loss(folder):
    engine = DiskcacheEngine(folder)
    assert engine._cache.sqlite_synchronous == 2
    engine.close()


def test_file_that_is_no_database_is_refused(folder):
    folder.mkdir()
    (folder / "cache.db").write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerError):
        list(DiskcacheEngine(folder).load())


def test_row_that_outgrows_its_limit_is_a_bug(folder):
    engine = DiskcacheEngine(folder)
    with pytest.raises(AssertionError):
        engine.write([("a", bytes(ROW_BYTES_MAX))])
    engine.close()


async def test_writer_thread_makes_rows_durable(folder):
    engine = DiskcacheEngine(folder)
    ledger = RowLedger(engine, WriterThread(), lambda: 0.0)
    ledger.load()
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ledger.open_jobs, [job(f"job-{number}")])
    ledger.close()
    again = DiskcacheEngine(folder)
    assert len(list(again.load())) == 11
    again.close()


# --- storage commitment


def transaction(uid="2.25.1", **changes):
    fields = {
        "export_id": "export-1", "destination": "pacs", "instances": 2, "requested_at": 5.0,
        "deadline_at": 10.0,
    }  # fmt: skip
    return Transaction(uid=uid, **fields | changes)


async def test_transaction_and_its_outcomes_are_one_write_and_survive(ledgers):
    ledger = await with_export(ledgers)
    asked = [
        msgspec.structs.replace(outcome, delivered=True, transaction_uid="2.25.1")
        for outcome in await ledger.outcomes("export-1")
    ]
    await ledger.record_transactions([transaction()], asked)
    again = ledgers.open()
    assert await again.transaction("2.25.1") == transaction()
    assert await again.transactions("export-1") == [transaction()]
    assert await again.outcomes("export-1") == asked
    assert [outcome.sop_class_uid for outcome in asked] == ["1.2", "1.2"]
    assert await again.transaction("2.25.2") is None


async def test_what_destinations_committed_is_known_until_the_job_goes(ledgers):
    ledger = await with_export(ledgers)
    first, _ = await ledger.outcomes("export-1")
    kept = msgspec.structs.replace(first, delivered=True, committed=True)
    await ledger.record_transactions([transaction(over=True)], [kept])
    assert await ledger.committed({"1.3.0", "1.3.1"}) == {"1.3.0": {"1.2"}}
    again = ledgers.open()
    assert await again.committed({"1.3.0", "1.3.1"}) == {"1.3.0": {"1.2"}}
    await again.remove_job("job-1")
    assert await again.committed({"1.3.0"}) == {}
    assert await again.transaction("2.25.1") is None
    assert await ledgers.open().transaction("2.25.1") is None


async def test_requests_of_others_survive_with_all_their_instances(ledgers):
    ledger = ledgers.open()
    references = tuple(Reference("1.2." + "9" * 58, f"1.{n}" + "8" * 55) for n in range(1001))
    commitment = Commitment(
        id="commitment-1", transaction_uid="2.25.1", ae_title="BRAIN", calling_ae_title="CT1",
        instances=1001, requested_at=5.0, due_at=6.0,
    )  # fmt: skip
    await ledger.commitments.open(commitment, references)
    later = msgspec.structs.replace(commitment, tries=2)
    await ledger.commitments.change(later)
    again = ledgers.open()
    assert await again.commitments.pending() == [later]
    assert await again.commitments.references("commitment-1") == references
    assert max(len(row) for _, row in ledgers.engine.load()) < 32 << 10
    await again.commitments.remove("commitment-1")
    await again.commitments.remove("commitment-1")
    await again.commitments.change(later)
    assert await again.commitments.pending() == []
    assert await ledgers.open().commitments.references("commitment-1") == ()


# --- orders, notes, removal


def an_order(number=1, **changes):
    fields = {"key": f"key-{number}", "job_id": "job-1", "action": "retry", "at": float(number)}
    return Order(**fields | changes)


async def test_order_is_kept_with_the_change_it_made(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    await ledger.change_job("job-1", StepEvent.CANCEL, an_order(action="cancel"))
    again = ledgers.open()
    assert await again.order("key-1") == an_order(action="cancel")
    assert (await again.job("job-1")).state is JobState.CANCELLED
    assert await again.order("key-2") is None


async def test_only_the_latest_orders_are_kept(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    for number in range(ORDERS_MAX + 1):
        await ledger.change_job("job-1", StepEvent.CANCEL, an_order(number))
        await ledger.change_job("job-1", StepEvent.RESUBMIT)
    again = ledgers.open()
    for rows in (ledger, again):
        assert await rows.order("key-0") is None
        assert await rows.order("key-1") == an_order(1)
        assert await rows.order(f"key-{ORDERS_MAX}") == an_order(ORDERS_MAX)


async def test_illegal_change_keeps_no_order(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    with pytest.raises(IllegalTransitionError):
        await ledger.change_job("job-1", StepEvent.RESUBMIT, an_order())
    assert await ledger.order("key-1") is None


async def test_history_keeps_the_latest_states(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    for _ in range(HISTORY_MAX):
        await ledger.change_job("job-1", StepEvent.BEGIN)
        await ledger.change_job("job-1", StepEvent.FAIL)
    history = (await ledgers.open().job("job-1")).history
    assert len(history) == HISTORY_MAX
    assert [change.state for change in history[-2:]] == [JobState.CREATING, JobState.QUEUED]


async def test_faulted_job_goes_on_at_the_step_that_was_given_up(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    for event in (StepEvent.BEGIN, StepEvent.SUCCEED, StepEvent.BEGIN, StepEvent.GIVE_UP):
        await ledger.change_job("job-1", event)
    resumed = await ledgers.open().change_job("job-1", StepEvent.RESUBMIT)
    assert resumed.state is JobState.CREATED


async def test_notes_survive_and_leave_the_state_alone(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    noted = await ledger.note_job("job-1", error="no", try_count=2)
    assert noted == job(error="no", try_count=2)
    assert await ledgers.open().job("job-1") == noted


async def test_job_that_has_changed_since_is_not_condemned(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    seen = await ledger.job("job-1")
    await ledger.change_job("job-1", StepEvent.BEGIN)
    assert not await ledger.condemn_job(seen)
    assert not (await ledger.job("job-1")).condemned
    assert await ledger.condemn_job(await ledger.job("job-1"))
    assert (await ledgers.open().job("job-1")).condemned
    await ledger.remove_job("job-1")
    assert not await ledger.condemn_job(seen)


async def test_jobs_are_found_by_state_in_the_order_in_which_they_opened(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job(f"job-{n}", opened_at=float(n)) for n in (1, 2, 3, 4)])
    for name in ("job-3", "job-1"):
        await ledger.change_job(name, StepEvent.CANCEL)
    await ledger.remove_job("job-4")
    for rows in (ledger, ledgers.open()):
        cancelled = await rows.jobs(frozenset({JobState.CANCELLED}))
        assert [row.id for row in cancelled] == ["job-1", "job-3"]
        either = await rows.jobs(frozenset({JobState.CANCELLED, JobState.QUEUED}))
        assert [row.id for row in either] == ["job-1", "job-2", "job-3"]
        assert {state: n for state, n in rows.job_counts().items() if n} == {
            JobState.QUEUED: 1, JobState.CANCELLED: 2,
        }  # fmt: skip
        assert await rows.known_jobs({"job-1", "job-4", "job-9"}) == {"job-1"}


# --- exports by destination


async def test_exports_are_found_and_counted_by_destination_and_state(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    there = msgspec.structs.replace(export("export-2"), destination="archive", opened_at=0.5)
    await ledger.open_exports("job-1", [(export(), FILES), (there, FILES)])
    await ledger.change_export("export-1", StepEvent.BEGIN)
    queued = frozenset({ExportState.QUEUED})
    for each in (ledger, ledgers.open()):
        found = await each.exports(queued, "archive")
        assert [row.id for row in found] == ["export-2"]
        assert {row.id for row in await each.exports_of("job-1")} == {"export-1", "export-2"}
        assert each.oldest_export_at("archive", ExportState.QUEUED) == 0.5
        assert each.oldest_export_at("archive", ExportState.SENDING) is None
    counts = {key: count for key, count in ledger.export_counts().items() if count}
    assert counts == {("pacs", ExportState.SENDING): 1, ("archive", ExportState.QUEUED): 1}
    assert (await ledger.export("export-2")).destination == "archive"
    with pytest.raises(RowNotFoundError):
        await ledger.export("export-9")


async def test_export_that_is_handed_over_survives_in_both_hands(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    await ledger.open_exports("job-1", [(export(), FILES)])
    given, taken = handed_over(
        await ledger.export("export-1"), await ledger.outcomes("export-1"), "spare", 9.0
    )
    await ledger.hand_over(given, taken)
    for each in (ledger, ledgers.open()):
        assert await each.export("export-1") == given[0]
        assert await each.export(taken[0].id) == taken[0]
        assert await each.outcomes(taken[0].id) == taken[1]
        assert not any(outcome.waits for outcome in await each.outcomes("export-1"))


async def test_order_about_an_export_is_kept_with_its_change(ledgers):
    ledger = ledgers.open()
    await ledger.open_jobs([job()])
    await ledger.open_exports("job-1", [(export(), FILES)])
    for event in (StepEvent.BEGIN, StepEvent.GIVE_UP):
        await ledger.change_export("export-1", event)
    order = Order(key="k", job_id="export-1", action="retry", at=9.0)
    await ledger.change_export("export-1", StepEvent.RESUBMIT, order)
    assert await ledgers.open().order("k") == order
