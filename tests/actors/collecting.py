"""The results and tasks actors over a real ledger and folders in memory."""

from contextlib import asynccontextmanager

import msgspec
import trio
import trio.testing
from actor_ports import CT, EXPLICIT, Rows, a_job, wall

from adapter.actors.held_exports import HeldExports
from adapter.actors.results import ResultsActor
from adapter.actors.tasks import TasksActor
from adapter.channels import UNANSWERED, ask, notify
from adapter.domain.entities import Destination
from adapter.domain.records import OutgoingInstance, Results
from adapter.domain.tables import JobState
from adapter.domain.tasks import TaskRegistered, TaskReported, TasksTaken
from adapter.errors import UnavailableError
from adapter.store.ledger import RowLedger

OWN = "ADAPTER"
REPORT_S, RETRY_S = 100.0, 10.0
DESTINATIONS = [
    Destination(name="pacs", ae_title="PACS", host="pacs", port=104),
    Destination(name="Archive", ae_title="ARCHIVE", host="archive", port=104),
    Destination(name="ct1", ae_title="CT1", host="ct1", port=104),
]


class Folders:
    """Port ResultSource: instances and other files, by job."""

    def __init__(self):
        self.instances, self.others, self.broken, self.passed_on = {}, {}, set(), set()

    async def results(self, job_id):
        await trio.lowlevel.checkpoint()
        if job_id in self.broken:
            raise UnavailableError("output folder: Input/output error")
        files = {
            name: OutgoingInstance(
                path=f"/{job_id}/{name}", sop_class_uid=CT, sop_instance_uid=f"1.2.{index}",
                transfer_syntax_uid=EXPLICIT, data_set_offset=300, data_set_bytes=1000,
            )
            for index, name in enumerate(self.instances.get(job_id, ["a.dcm", "b.dcm"]))
        }  # fmt: skip
        return Results(files=files, skipped=self.others.get(job_id, []))

    async def inputs(self, job_id):
        await trio.lowlevel.checkpoint()
        return self.passed_on


class Collection:
    """One storage root, and what runs on it."""

    def __init__(self):
        self.rows, self.folders, self.events = Rows(), Folders(), []
        self.rows.rows["format"] = b"1"
        self.ledger = RowLedger(self.rows, self.rows, wall)
        self.woken, self.destinations = {}, DESTINATIONS
        self.names = [each.name for each in DESTINATIONS]

    def restart(self):
        """Go on with what is durable."""
        self.ledger = RowLedger(self.rows, self.rows, wall)
        self.rows.rows = {key: row for key, row in self.rows.rows.items() if row is not None}
        self.ledger.load()

    @asynccontextmanager
    async def running(self):
        self.wake, woken = trio.open_memory_channel(1)
        reclaimer, self.reclaimer_woken = trio.open_memory_channel(1)
        wakes = {}
        for destination in DESTINATIONS:
            wakes[destination.name], self.woken[destination.name] = trio.open_memory_channel(1)
        self.orders, orders = trio.open_memory_channel(0)
        results = ResultsActor(
            ledger=self.ledger, source=self.folders, wake=woken, exporter_wakes=wakes,
            reclaimer_wake=reclaimer, publish=self.events.append, now=wall, own_agent=OWN,
            held=HeldExports(
                ledger=self.ledger, destinations=self.destinations, served=self.destinations,
            ),
        )  # fmt: skip
        tasks = TasksActor(
            ledger=self.ledger, orders=orders, results_wake=self.wake.clone(),
            publish=self.events.append, now=wall, own_agent=OWN,
            destinations=self.names, report_s=REPORT_S,
            retry_delay_s=RETRY_S, stop=trio.Event(),
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: results.run(task_status=task_status))
            await nursery.start(lambda task_status: tasks.run(task_status=task_status))
            yield self
            nursery.cancel_scope.cancel()

    async def job(self, identifier="job-1", state=JobState.COMPLETED, **changes):
        await self.ledger.open_jobs([a_job(identifier, state=state, **changes)])
        notify(self.wake)
        await trio.testing.wait_all_tasks_blocked()

    async def _ask(self, order):
        try:
            return await ask(self.orders, order, 5.0)
        except UNANSWERED as error:
            raise AssertionError("nobody answers") from error
        finally:
            await trio.testing.wait_all_tasks_blocked()

    async def register(self, *files, job="job-1", agent="", to=()):
        return await self._ask(
            lambda reply: TaskRegistered(
                job_id=job, agent=agent, destinations=tuple(to), files=files, reply=reply
            )
        )

    async def take(self, agent, size=10):
        taken = await self._ask(lambda reply: TasksTaken(agent=agent, size=size, reply=reply))
        return [task.id for task in taken] if isinstance(taken, list) else taken

    async def report(self, task_id, event):
        return await self._ask(
            lambda reply: TaskReported(task_id=task_id, event=event, reply=reply)
        )

    async def exports(self):
        """Return what goes where: (destination, file) of every outcome."""
        found = []
        for export in await self.ledger.exports():
            outcomes = await self.ledger.outcomes(export.id)
            found += [(export.destination, outcome.file) for outcome in outcomes]
        return sorted(found)

    def told(self, kind):
        return [event.facts for event in self.events if event.type == kind]

    def exported(self, state, *, error=""):
        """Have every export in this state, as its exporter would leave it."""
        for export in self.ledger._exports.select(None, None):
            self.ledger._exports.put(msgspec.structs.replace(export, state=state, error=error))
        notify(self.wake)
