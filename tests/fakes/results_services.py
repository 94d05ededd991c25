"""A Results Service elsewhere, with moods, and the folders its files are fetched into.

`Desk` is the service: it outlives the lives of the program, and notes what it was told. Each life
has a `FakeService` to talk to it and `FakeFetched` on the same disk.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import trio
import trio.lowlevel
from fakes.disk import FakeDisk, FakePayload, Life
from fakes.instances import CT, SYNTAX

from adapter.actors.service_tasks import PROCESSOR
from adapter.domain.identifiers import job_id
from adapter.domain.records import OutgoingInstance
from adapter.domain.results_service import OfferedTask, TaskReport
from adapter.errors import PipelineError, UnavailableError

DESTINATIONS = (("pacs",), ("archive",), ("pacs", "Archive"), ("made",), ("nowhere",))


@dataclass(slots=True)
class Offer:
    """A task of the service."""

    task: OfferedTask
    due_at: float = 0.0
    ended: bool | None = None
    """What it was told; None: nothing yet."""
    told: bool = False
    """It was told something, at least once."""

    @property
    def its_job(self) -> str:
        """The job its files are fetched into."""
        return job_id(PROCESSOR, self.task.id)

    @property
    def uids(self) -> list[str]:
        """The SOP Instance UIDs of its files."""
        folder = self.task.job_id or self.task.id
        return [f"{folder}/{uri.removesuffix('.dcm')}" for uri in self.task.uris]


@dataclass(slots=True)
class Desk:
    """What the service has."""

    rng: Random
    fetches: bool
    """Its files are fetched; else they are those of our jobs."""
    offers: dict[str, Offer] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def new_work(self, disk: FakeDisk) -> None:
        """Offer some more."""
        for _ in range(self.rng.randint(0, 2)):
            name = f"task-{len(self.offers):03}"
            jobs = sorted(disk.payloads.keys() & disk.history.keys())
            if not self.fetches and not jobs:
                return
            job = "" if self.fetches else self.rng.choice(jobs)
            most = self.rng.randint(1, 4) if self.fetches else len(disk.payloads[job].files)
            task = OfferedTask(
                id=name, job_id=job, payload_id="payload",
                destinations=self.rng.choice(DESTINATIONS),
                uris=tuple(f"{number}.dcm" for number in range(most)),
                problem="a uri does not name a file" if self.rng.random() < 0.1 else "",
            )  # fmt: skip
            self.offers[name] = Offer(task)

    @property
    def open(self) -> list[str]:
        """Tasks it has been told nothing final of."""
        return [name for name, offer in self.offers.items() if offer.ended is None]


class FakeService:
    """Port ResultsService."""

    outage = ""

    def __init__(
        self, desk: Desk, life: Life, now: Callable[[], float], delivered: Callable[..., bool]
    ) -> None:
        """`delivered(name, uid)`: whether a destination, or its fallback, has this instance."""
        self._desk = desk
        self._life = life
        self._now = now
        self._delivered = delivered

    async def _io(self) -> None:
        await self._life.io(0.3)
        if self._life.rng.random() < self._life.rates.platform / 2:
            raise UnavailableError("the service is away")

    async def pending(self, agent: str, size: int) -> list[OfferedTask]:
        await self._io()
        forgetful = self._life.rates.lost / 10
        offers = [
            offer
            for offer in self._desk.offers.values()
            if offer.due_at <= self._now()
            and (offer.ended is None or self._life.rng.random() < forgetful)
        ]
        return [offer.task for offer in offers[:size]]

    async def report(self, task_id: str, report: TaskReport) -> None:
        await self._io()
        offer = self._desk.offers[task_id]
        self._judge(offer, report)
        offer.told = True
        if report.retry_later:
            retries = offer.task.retries + 1
            offer.task = OfferedTask(
                **{name: getattr(offer.task, name) for name in OfferedTask.__struct_fields__}
                | {"retries": retries}
            )
            offer.due_at, offer.ended = self._now() + 3.0, None
        elif offer.ended is None:
            offer.ended = report.success
        if self._life.rng.random() < self._life.rates.platform / 2:
            raise UnavailableError("no answer in time")  # but it has heard

    def _judge(self, offer: Offer, report: TaskReport) -> None:
        task = offer.task
        if not report.success:
            return
        missing = [
            (name, uid)
            for name in map(str.lower, task.destinations)
            for uid in offer.uids
            if not self._delivered(name, uid)
        ]
        if missing or task.problem or "nowhere" in task.destinations:
            self._desk.broken.append(f"{task.id} was said to succeed: {missing} {task.problem}")

    @asynccontextmanager
    async def download(
        self, task: OfferedTask, uri: str
    ) -> AsyncIterator[AsyncIterator[OutgoingInstance]]:
        await self._io()
        if self._life.rng.random() < self._life.rates.platform / 4:
            raise PipelineError("the service does not have a file of the task")
        if self._life.rng.random() < self._life.rates.platform / 8:
            await trio.sleep(1000)

        async def chunks() -> AsyncGenerator[OutgoingInstance, None]:
            await trio.lowlevel.checkpoint()
            yield OutgoingInstance(
                path=f"{task.id}/{uri}", sop_class_uid=CT,
                sop_instance_uid=f"{task.id}/{uri.removesuffix('.dcm')}",
                transfer_syntax_uid=SYNTAX, data_set_offset=1, data_set_bytes=1,
            )  # fmt: skip

        async with aclosing(chunks()) as given:  # a kill leaves it half read
            yield given


class FakeFetched:
    """Port FetchedFiles on a FakeDisk."""

    def __init__(self, disk: FakeDisk, life: Life, came_again: Callable[[str], None]) -> None:
        """`came_again`: is told the id of a job that had gone and is there again."""
        self._disk = disk
        self._life = life
        self._came_again = came_again

    def _output(self, job_id: str) -> dict[str, OutgoingInstance]:
        if payload := self._disk.payloads.get(job_id):
            assert payload.outputs is not None
            return payload.outputs
        return self._disk.fetching.setdefault(job_id, {})

    async def missing(self, job_id: str, files: Sequence[str]) -> list[str]:
        await self._life.io()
        self._life.maybe_full()
        return [file for file in files if file not in self._output(job_id)]

    async def receive(
        self, job_id: str, file: str, chunks: AsyncIterator[OutgoingInstance]
    ) -> None:
        await self._life.io()
        async for chunk in chunks:
            self._life.maybe_full()
            self._output(job_id)[file] = chunk

    async def finish(self, job_id: str) -> None:
        await self._life.io()
        self._life.maybe_full()
        if job_id not in self._disk.payloads:
            output = self._disk.fetching.pop(job_id, {})
            payload = FakePayload(None, {}, dict(output))
            self._disk.payloads[job_id] = self._disk.fetched[job_id] = payload
            if job_id in self._disk.removed:  # its service has forgotten, and offers it again
                self._disk.removed.remove(job_id)
                self._came_again(job_id)

    async def discard(self, job_id: str) -> None:
        await self._life.io()
        self._life.maybe_full()
        self._disk.fetching.pop(job_id, None)
        self._disk.payloads.pop(job_id, None)
