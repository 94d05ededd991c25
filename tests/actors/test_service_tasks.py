"""Tasks of a Results Service elsewhere: pauses, space, deadlines, and each task by itself."""

import dataclasses
import itertools
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from actor_ports import Space, new_ledger, running, wall

from adapter.actors.service_tasks import (
    OUTAGE_PAUSE_S_MAX,
    PROCESSOR,
    ServiceRules,
    ServiceTasks,
)
from adapter.domain.identifiers import job_id
from adapter.domain.records import Export
from adapter.domain.results_service import OfferedTask, TaskReport, offered_task, task_report
from adapter.domain.tables import ExportState, StepEvent, TaskState
from adapter.domain.tasks import Task
from adapter.errors import PipelineError, UnavailableError

POLL_S, FETCH_S = 1.0, 30.0


class Service:
    """Port ResultsService."""

    outage = ""

    def __init__(self):
        self.offers, self.asked, self.reports = [], [], []
        self.away = self.deaf = False
        self.slow, self.gone = set(), set()

    async def pending(self, agent, size):
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time(), agent, size))
        if self.away:
            raise UnavailableError("no connection: Connection refused")
        return self.offers

    async def report(self, task_id, report):
        await trio.lowlevel.checkpoint()
        if self.deaf:
            raise UnavailableError("no answer in time")
        self.reports.append((task_id, report))

    @asynccontextmanager
    async def download(self, task, uri):
        await trio.lowlevel.checkpoint()
        if uri in self.slow:
            await trio.sleep_forever()
        if uri in self.gone:
            raise PipelineError("the service does not have a file of the task")
        yield uri


class Files:
    """Port FetchedFiles."""

    def __init__(self):
        self.files, self.finished = {}, set()

    async def missing(self, job_id, files):
        await trio.lowlevel.checkpoint()
        return [file for file in files if file not in self.files.get(job_id, ())]

    async def receive(self, job_id, file, chunks):
        await trio.lowlevel.checkpoint()
        self.files.setdefault(job_id, []).append(file)

    async def finish(self, job_id):
        await trio.lowlevel.checkpoint()
        self.finished.add(job_id)

    async def discard(self, job_id):
        await trio.lowlevel.checkpoint()
        self.files.pop(job_id, None)
        self.finished.discard(job_id)


class Stage:
    def __init__(self, *, fetches=True):
        self.service, self.files, self.ledger = Service(), Files(), new_ledger()
        self.space, self.events = Space(), []
        wake, self.woken = trio.open_memory_channel(1)
        self.actor = ServiceTasks(
            service=self.service, files=self.files, ledger=self.ledger, space=self.space,
            results_wake=wake, publish=self.events.append, now=wall, stop=trio.Event(),
            rules=ServiceRules(
                agent="ADAPTER", destinations=["pacs"], poll_s=POLL_S, fetch_s=FETCH_S,
                fetches=fetches, failure_threshold=0.5, max_retries=2,
            ),
        )  # fmt: skip

    def offer(self, task_id="t-1", *uris, **changes):
        fields = {"destinations": ("pacs",), "uris": uris or ("a.dcm",), "payload_id": "p"}
        self.service.offers.append(OfferedTask(id=task_id, **fields | changes))

    def task(self, task_id="t-1"):
        return self.ledger.tasks.find(f"service-{task_id}")

    async def end(self, event, task_id="t-1"):
        await self.ledger.tasks.change(self.task(task_id).id, StepEvent.BEGIN)
        await self.ledger.tasks.change(self.task(task_id).id, event)


async def test_service_is_not_asked_while_space_is_low(autojump_clock):
    stage = Stage()
    stage.space.low = True
    async with running(stage.actor):
        await trio.sleep(100)
        assert stage.service.asked == []
        stage.space.low = False
        await trio.sleep(2 * POLL_S)
        assert stage.service.asked


async def test_stop_ends_it_in_the_middle_of_a_download(autojump_clock):
    stage = Stage()
    stage.service.slow.add("a.dcm")
    stage.offer()
    stage.offer("t-2", "b.dcm")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run)
        await trio.sleep(1.5)
        stage.actor.stop.set()
    assert [task.service_id for task in stage.ledger.tasks.select()] == ["t-2"]


async def test_what_has_ended_is_reported_also_while_space_is_low(autojump_clock):
    stage = Stage()
    stage.offer()
    async with running(stage.actor):
        await trio.sleep(3)
        stage.space.low = True
        await stage.end(StepEvent.SUCCEED)
        await trio.sleep(2)
        assert stage.service.reports == [("t-1", TaskReport(True))]


async def test_pauses_grow_while_the_service_is_away_and_end_with_it(autojump_clock):
    stage = Stage()
    stage.service.away = True
    async with running(stage.actor):
        await trio.sleep(1000)
        times = [at for at, _, _ in stage.service.asked]
        pauses = [b - a for a, b in itertools.pairwise(times)]
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[-1]) == (2 * POLL_S, OUTAGE_PAUSE_S_MAX)
        stage.service.away = False
        await trio.sleep(OUTAGE_PAUSE_S_MAX)
        asked = len(stage.service.asked)
        await trio.sleep(10 * POLL_S)
        assert len(stage.service.asked) - asked >= 9


async def test_task_is_taken_once_and_offered_ones_leave_room_for_more(autojump_clock):
    stage = Stage()
    stage.offer("t-1", "a.dcm", "b.dcm")
    async with running(stage.actor):
        await trio.sleep(10)
        (job,) = await stage.ledger.jobs()
        assert stage.files.files == {job.id: ["a.dcm", "b.dcm"]}
        assert stage.files.finished == {job.id}
        assert stage.task().state is TaskState.PENDING
        assert [size for _, _, size in stage.service.asked][::9] == [10, 11]
        assert stage.service.reports == []


async def test_file_that_hangs_is_tried_again_and_holds_up_no_other(autojump_clock):
    stage = Stage()
    stage.service.slow.add("slow.dcm")
    stage.offer("t-1", "ok.dcm", "slow.dcm")
    stage.offer("t-2")
    async with running(stage.actor):
        await trio.sleep(FETCH_S / 2)
        assert stage.task("t-2")
        await trio.sleep(FETCH_S)
        stage.service.slow.clear()
        await trio.sleep(FETCH_S)
        assert stage.task("t-1").files == 2
        assert sorted(map(sorted, stage.files.files.values())) == [
            ["a.dcm"], ["ok.dcm", "slow.dcm"],
        ]  # fmt: skip


async def test_file_the_service_does_not_have_is_left_out(autojump_clock):
    stage = Stage()
    stage.service.gone.add("b.dcm")
    stage.offer("t-1", "a.dcm", "b.dcm")
    async with running(stage.actor):
        await trio.sleep(2)
        assert stage.task().files == 2
        assert list(stage.files.files.values()) == [["a.dcm"]]


async def test_report_is_repeated_until_it_gets_through(autojump_clock):
    stage = Stage()
    stage.offer()
    async with running(stage.actor):
        await trio.sleep(2)
        stage.service.deaf = True
        stage.service.offers.clear()
        await stage.end(StepEvent.SUCCEED)
        await trio.sleep(100)
        assert not stage.task().reported
        stage.service.deaf = False
        await trio.sleep(OUTAGE_PAUSE_S_MAX)
        assert stage.service.reports == [("t-1", TaskReport(True))]
        await trio.sleep(100)
        assert len(stage.service.reports) == 1


async def test_success_the_service_has_forgotten_is_reported_again(autojump_clock):
    stage = Stage()
    stage.offer()
    async with running(stage.actor):
        await trio.sleep(2)
        await stage.end(StepEvent.SUCCEED)
        await trio.sleep(10 * POLL_S)  # it goes on offering the task
        assert len(stage.service.reports) >= 2
        assert stage.task().state is TaskState.SUCCEEDED


async def test_failed_task_that_is_offered_again_is_done_again(autojump_clock):
    stage = Stage()
    stage.offer(retries=1)
    async with running(stage.actor):
        await trio.sleep(1.5)
        await stage.end(StepEvent.GIVE_UP)
        await trio.sleep(2 * POLL_S)
        assert stage.service.reports == [("t-1", TaskReport(False, retry_later=True))]
        assert stage.task().state is TaskState.PENDING


async def test_what_was_fetched_for_a_task_that_is_refused_by_now_is_deleted(autojump_clock):
    """A kill after the last file, before the row of the job; then its destination was removed."""
    stage = Stage()
    stage.offer(destinations=("gone",))
    identifier = job_id(PROCESSOR, "t-1")
    await stage.files.receive(identifier, "a.dcm", [])
    await stage.files.finish(identifier)
    async with running(stage.actor):
        await trio.sleep(2)
        assert stage.service.reports[0] == ("t-1", TaskReport(False))
    assert not stage.files.finished


async def test_destination_that_goes_while_files_are_fetched_refuses_the_task(autojump_clock):
    """Simulation, seed 216: an export to nobody waited for ever, and so did the service."""
    stage, names = Stage(), ["pacs"]
    stage.actor.rules = dataclasses.replace(stage.actor.rules, destinations=names)
    stage.offer()
    receive = stage.files.receive

    async def received(job_id, file, chunks):
        names.clear()
        await receive(job_id, file, chunks)

    stage.files.receive = received
    async with running(stage.actor):
        await trio.sleep(2)
        assert stage.service.reports[0] == ("t-1", TaskReport(False))
        assert stage.ledger.tasks.select() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"problem": "odd"},
        {"destinations": ("nobody",)},
        {"destinations": ("pacs", "x")},
        {"destinations": ()},
    ],
)
async def test_what_can_never_be_done_is_told_once_and_reported(autojump_clock, changes):
    stage = Stage()
    stage.offer(**changes)
    async with running(stage.actor):
        await trio.sleep(10)
        assert set(stage.service.reports) == {("t-1", TaskReport(False))}
        assert [event.type for event in stage.events] == ["task.failed"]
        assert stage.ledger.tasks.select() == []


# --- what is offered and reported


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ('"pacs"', ("pacs",)), ('["a", "b"]', ("a", "b")), ("pacs", ("pacs",)), ("", ()),
        (None, ()), ('"@sender"', ("@sender",)), ("@sender", ("@sender",)),
        ("7", ("7",)), ("{}", None), ("[7]", None), ('["a", ""]', None), ('[["a"]]', None),
        ("a b", None), ("[" * 5000, None),
    ],
)  # fmt: skip
def test_parameters_are_a_name_or_a_list_of_names(parameters, names):
    offered = offered_task({"taskId": "t", "parameters": parameters, "uris": ["/a/b.dcm"]})
    assert offered.problem == "" if names is not None else offered.problem
    assert names is None or (offered.destinations, offered.uris) == (names, ("a/b.dcm",))


@pytest.mark.parametrize(
    ("failed", "missing", "retries", "report"),
    [
        ((0, 0), 0, 0, TaskReport(True)),
        ((5, 5), 0, 0, TaskReport(True)),  # half is not more than the threshold
        ((6, 5), 0, 0, TaskReport(False, retry_later=True)),
        ((6, 5), 0, 1, TaskReport(False, retry_later=True)),
        ((6, 5), 0, 2, TaskReport(False)),
        ((5, 5), 1, 0, TaskReport(False, retry_later=True)),
        ((0, 0), 10, 0, TaskReport(True)),
        ((0, 0), 11, 0, TaskReport(False, retry_later=True)),
    ],
)
def test_report_is_by_the_share_that_is_missing(failed, missing, retries, report):
    task = Task(
        id="t", job_id="j", pipeline_id="", agent="A", files=10, opened_at=0, changed_at=0,
        retries=retries, missing=missing, state=TaskState.FAILED,
    )  # fmt: skip
    exports = [
        Export(
            id=str(number), job_id="j", destination="d", opened_at=0, changed_at=0, instances=10,
            failed=count, state=ExportState.FAILED,
        )
        for number, count in enumerate(failed)
    ]  # fmt: skip
    assert task_report(task, exports, 0.5, 2) == report
    assert not task_report(task, [], 0.5, 2).success
