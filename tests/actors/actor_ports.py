"""The ports of `adapter.domain.ports` in memory, without threads, for one actor at a time."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio

from adapter.domain.dimse_ports import EchoResult, SendResult
from adapter.domain.entities import Destination
from adapter.domain.ports import SpaceReading
from adapter.domain.records import Export, Job, OutgoingInstance, Results, StoredGroup
from adapter.domain.refusals import Cause
from adapter.errors import PeerRefusalError, StorageFaultError, UnavailableError
from adapter.store.ledger import RowLedger

BOOTED_AT = 1_700_000_000.0
CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"


def wall() -> float:
    """Wall clock that goes with the test's clock."""
    return BOOTED_AT + trio.current_time()


def counting_ids():
    numbers = itertools.count(1)
    return lambda: f"{next(numbers):06d}"


@asynccontextmanager
async def running(actor) -> AsyncIterator[trio.Nursery]:
    """Run the actor, started, as long as the block lasts."""
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: actor.run(task_status=task_status))
        yield nursery
        nursery.cancel_scope.cancel()


class Rows:
    """A ledger engine in memory, written without a thread."""

    def __init__(self):
        self.rows = {}

    def load(self):
        yield from self.rows.items()

    async def write(self, engine, changes):
        await trio.lowlevel.checkpoint()
        engine.rows.update(changes)


def new_ledger() -> RowLedger:
    """The real ledger over rows that are only in memory."""
    rows = Rows()
    return RowLedger(rows, rows, wall)


class Disk:
    """Instance store and payload store."""

    def __init__(self):
        self.open = {}
        self.closed = {}
        self.payloads, self.groups_of_payloads = {}, {}
        self.faults = []
        self.close_s = 0.0
        self.calls = []
        self.remembered = {}
        self.duplicates = []
        self.inputs = {}
        """Files in the input of jobs, where it is not enough."""

    def _may_fail(self, call, what):
        self.calls.append((call, what))
        if call in self.faults:
            self.faults.remove(call)
            raise StorageFaultError("storage failed")

    def add(self, record, instances=0, last_arrival_at=None, **what):
        self.open[record.id] = StoredGroup(
            record=record,
            instances=instances,
            payload_bytes=0,
            last_arrival_at=record.opened_at if last_arrival_at is None else last_arrival_at,
            **what,
        )

    async def recover(self):
        await trio.lowlevel.checkpoint()

    async def open_group(self, record):
        await trio.lowlevel.checkpoint()
        self._may_fail("open_group", record.id)
        self.add(record)

    async def open_groups(self, ae_title):
        await trio.lowlevel.checkpoint()
        return [group for group in self.open.values() if group.record.ae_title == ae_title]

    async def add_sender(self, group_id, calling_ae_title):
        await trio.lowlevel.checkpoint()
        self._may_fail("add_sender", (group_id, calling_ae_title))
        record = self.open[group_id].record
        senders = (*record.calling_ae_titles, calling_ae_title)
        record = msgspec.structs.replace(record, calling_ae_titles=senders)
        self.open[group_id] = msgspec.structs.replace(self.open[group_id], record=record)

    async def hold_group(self, group_id, hold):
        await trio.lowlevel.checkpoint()
        self._may_fail("hold_group", group_id)
        self.open[group_id] = msgspec.structs.replace(self.open[group_id], hold=hold)

    async def release_staged(self, group_id, association):
        await trio.lowlevel.checkpoint()
        self._may_fail("release_staged", (group_id, association))

    async def merge_released(self, group_id, association, same_instance, merged):
        await trio.lowlevel.checkpoint()
        for each in self.duplicates:
            merged.add(*each)
        self.duplicates.clear()
        self._may_fail("merge_released", (group_id, association))

    async def drop_staged(self, group_id, association):
        await trio.lowlevel.checkpoint()
        self._may_fail("drop_staged", (group_id, association))

    async def remember_closed(self, record, at, until_at):
        await trio.lowlevel.checkpoint()
        self._may_fail("remember_closed", record.id)
        first = record.supplements or record.id
        self.remembered[record.ae_title, record.processor, record.key] = (first, until_at)

    async def closed_before(self, ae_title, processor, key, now):
        await trio.lowlevel.checkpoint()
        group, until_at = self.remembered.get((ae_title, processor, key), ("", 0.0))
        return group if now < until_at else ""

    async def close_group(self, group_id):
        await trio.sleep(self.close_s)
        self._may_fail("close_group", group_id)
        self.closed[group_id] = self.open.pop(group_id)

    async def closed_groups(self, ae_title):
        await trio.lowlevel.checkpoint()
        return [group for group in self.closed.values() if group.record.ae_title == ae_title]

    async def remove_group(self, group_id):
        await trio.lowlevel.checkpoint()
        self._may_fail("remove_group", group_id)
        self.closed.pop(group_id, None)
        return 0

    async def create_payload(self, job):
        await trio.lowlevel.checkpoint()
        self.payloads[job.id] = job.payload_bytes
        self.groups_of_payloads[job.id] = job.group_id

    async def count_inputs(self, job_id):
        await trio.lowlevel.checkpoint()
        return self.inputs.get(job_id, 1000)

    async def folders(self):
        await trio.lowlevel.checkpoint()
        return set(self.payloads)

    async def group_of(self, job_id):
        await trio.lowlevel.checkpoint()
        return self.groups_of_payloads.get(job_id, "")

    async def metadata(self, job_id):
        await trio.lowlevel.checkpoint()
        self._may_fail("metadata", job_id)
        return {"Instances": "1"}

    async def remove_payload(self, job_id):
        await trio.lowlevel.checkpoint()
        self._may_fail("remove_payload", job_id)
        return self.payloads.pop(job_id, 0)


class Space:
    """Free space as the test says."""

    def __init__(self, *, low=False):
        self.low = low
        self.fault = ""
        self.next_low = low
        self.broken = False

    async def measure(self):
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise UnavailableError("no file system")
        self.low = self.next_low
        return SpaceReading(total_bytes=100, free_bytes=1 if self.low else 50, reserved_bytes=10)


class Outputs:
    """Results of every job: so many files."""

    def __init__(self, files=1, sop_classes=None):
        self.sop_classes = sop_classes or [CT] * files
        self.missing = set()
        self.faults = 0

    async def results(self, job_id):
        await trio.lowlevel.checkpoint()
        if self.faults:
            self.faults -= 1
            raise StorageFaultError("storage failed")
        files = {
            f"{index}.dcm": OutgoingInstance(
                path=f"/{job_id}/{index}.dcm",
                sop_class_uid=sop_class,
                sop_instance_uid=f"1.2.{index}",
                transfer_syntax_uid=EXPLICIT,
                data_set_offset=300,
                data_set_bytes=1000,
            )
            for index, sop_class in enumerate(self.sop_classes)
            if f"{index}.dcm" not in self.missing
        }
        return Results(files=files)


class Peer:
    """A destination: reachable or not, and what it answers, by path."""

    def __init__(self):
        self.up = True
        self.answers = {}
        self.tries = []
        self.probes = []
        self.breaks = False
        self.verifies = True
        self.limit = 1000
        self.closed = False
        self.open = self.most_open = 0
        self.proposals = []
        self.received = []
        self.store_s = 0.0
        self.stored = lambda: None
        self.refused = []
        self.asked = []
        self.refusals = []
        self.priorities = []
        self.reports = []
        self.gone = False
        self.statuses = []
        self.reported = []
        self.report_answers = []

    @asynccontextmanager
    async def associate(self, destination: Destination, contexts):
        await trio.lowlevel.checkpoint()
        self.tries.append(trio.current_time())
        if not self.up:
            raise UnavailableError("no connection: refused")
        if self.open >= self.limit:
            raise UnavailableError("rejected: local limit exceeded")
        self.proposals.append(list(contexts))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            yield self
        finally:
            self.open -= 1

    async def store(self, instances):
        results = []
        for instance in instances:
            await trio.sleep(self.store_s)
            if self.closed:
                raise UnavailableError("503 Service Unavailable")
            self.received.append(instance.path)
            self.priorities.append(instance.priority)
            answers = self.answers.get(instance.path, [])
            results.append(answers.pop(0) if answers else SendResult(status=0))
            self.stored()
            if self.breaks and results[-1].status is None:
                break  # nothing more gets through on this association
        results += [LOST] * (len(instances) - len(results))
        return results

    def accepted(self, context):
        return context in self.proposals[-1] and context not in self.refused

    async def request_commitment(self, request):
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time(), request))
        return self.refusals.pop(0) if self.refusals else SendResult(status=0)

    async def next_report(self, wait_s):
        if self.gone:
            raise UnavailableError("released by the peer")
        if self.reports and self.asked:
            return self.reports.pop(0)(self.asked[-1][1])
        await trio.sleep(wait_s)
        return None

    async def answer_report(self, status):
        await trio.lowlevel.checkpoint()
        self.statuses.append(status)

    async def report(self, destination, report, calling_ae_title):
        await trio.lowlevel.checkpoint()
        self.tries.append(trio.current_time())
        if not self.up:
            raise UnavailableError("no connection: refused")
        self.reported.append((destination.name, report))
        return self.report_answers.pop(0) if self.report_answers else 0

    def abort(self):
        self.aborted = True

    async def echo(self, destination):
        await trio.lowlevel.checkpoint()
        self.probes.append(trio.current_time())
        if not self.up:
            raise UnavailableError("no connection: refused")
        if not self.verifies:
            words = "Verification: result 3 abstract syntax not supported"
            raise PeerRefusalError(words, Cause.CONTEXT_REFUSED, (3,))
        return EchoResult(status=0, connect_s=0.0, associate_s=0.0, echo_s=0.0)


LATER = SendResult(status=0xA700, error="status 0xA700")
NEVER = SendResult(status=0xC000, error="status 0xC000", permanent=True)
LOST = SendResult(status=None, error="timeout")


def a_job(identifier="job-1", **changes) -> Job:
    fields = {
        "id": identifier,
        "group_id": f"group-{identifier}",
        "ae_title": "BRAIN",
        "processor": "AE Title Job Processor",
        "name": f"brain-{identifier}",
        "pipeline": "seg",
        "pipeline_id": "p1",
        "priority": "normal",
        "opened_at": wall(),
        "changed_at": wall(),
        "instances": 1,
        "payload_bytes": 10,
    }
    return Job(**fields | changes)


def an_export(number=1, **changes) -> Export:
    fields = {
        "id": f"export-{number}",
        "job_id": f"job-{number}",
        "destination": "pacs",
        "opened_at": wall(),
        "changed_at": wall(),
        "instances": 1,
    }
    return Export(**fields | changes)


class BugError(Exception):
    """Nobody expects it."""


class Crashing:
    """A port whose n-th call crashes, before it does its work or after it."""

    def __init__(self, port, calls, at, *, after):
        self._port, self._calls, self._at, self._after = port, calls, at, after

    def __getattr__(self, name):
        method = getattr(self._port, name)

        async def call(*args, **changes):
            self._calls.append(name)
            crash = len(self._calls) == self._at
            if crash and not self._after:
                raise BugError(name)
            result = await method(*args, **changes)
            if crash:
                raise BugError(name)
            return result

        return call
