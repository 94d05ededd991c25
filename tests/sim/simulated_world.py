"""One seed's world: a disk, everybody outside, and the lives of the program on it."""

from dataclasses import replace
from random import Random

import trio
from drawn_settings import AE_TITLES, drawn_destination, drawn_policies, drawn_settings
from fakes.administrators import TITLE, Administrator, EntityBook
from fakes.committers import Archive, AskVisit, Promises, ReportVisit
from fakes.disk import FakeDisk, FakeEngine, FakeSpace, FakeWriter, Life, Rates
from fakes.folders import FakeStore
from fakes.group_operator import GroupOperator
from fakes.job_operator import FakeOperator, Orders
from fakes.oracle import Oracle, Sending
from fakes.peers import FakeListener, FakePlatform, FakeRequestor, believe, resolve
from fakes.results_services import Desk, FakeFetched, FakeService
from fakes.senders import FakeAssociation
from fakes.task_agents import TaskBook, TaskPeople

from adapter.domain.entities import Destination
from adapter.domain.results_service import ServiceEdges
from adapter.domain.views import Views
from adapter.edges import Edges
from adapter.gateway import gateway
from adapter.live_settings import LiveSettings
from adapter.store.ledger import RowLedger

EPOCH = 1_800_000_000.0


class NoFiles:
    """Destinations that name no files (port `DestinationFiles`)."""

    def problems(self, destination: Destination) -> list[str]:
        return []

    def forget(self, name: str) -> None:
        pass


class World:
    """One seed's disk, its oracle, and the lives of the program on it."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.policies = Random(f"policies {seed}")
        self.rates = replace(Rates.drawn(self.rng), again=self.policies.choice((0.0, 0.2, 0.5)))
        self.draws, self.orders = Random(seed), Orders()
        self.meddling = self.draws.random() < 0.5
        self.disk, self.oracle, self.promises = FakeDisk(), Oracle(), Promises()
        self.archive = Archive(self.rng, self.promises)
        self.settings = drawn_settings(self.rng, self.policies)
        self.settings.destinations[0] = drawn_destination(seed)
        self.tasks, self.entities = TaskBook(), EntityBook()
        self.desk = Desk(Random(f"service {seed}"), bool(self.settings.results.files_url))
        self.has_service = bool(self.settings.results.service_url)
        self.ids = 0
        self.life = Life(self.rng, self.rates)
        self.store = FakeStore(self.disk, self.life)
        self.listener = FakeListener()
        self.ledger: RowLedger | None = None
        self.asked_before_stop: set[str] = set()
        """Transaction UIDs; who asks while the program stops is told in its next life."""

    def now(self) -> float:
        return EPOCH + trio.current_time()

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:06}"

    def edges(self, rates: Rates) -> Edges:
        """Begin a new life on the old disk."""
        self.life = life = Life(self.rng, rates)
        self.store = FakeStore(self.disk, life)
        self.listener = FakeListener()
        self.ledger = RowLedger(FakeEngine(self.disk), FakeWriter(life), self.now)
        self.ledger.load()
        self.disk.fetching.clear()
        return Edges(
            receivers=[],
            receiver_loads=dict,
            listeners={"dicom.scp.port": self.listener}, identify=believe,
            requestor=FakeRequestor(life, self.oracle, self.archive, self.promises),
            certificate_expiries=dict, destination_files=NoFiles(),
            certificate_troubles=dict,
            resolver=resolve, held=self.store, survey=None, new_uid=lambda: f"2.25.{self.new_id()}",
            store=self.store, payloads=self.store, space=FakeSpace(life), ledger=self.ledger,
            entities=self.ledger.entities, rejections=self.ledger.rejections,
            platform=FakePlatform(self.disk, life), results=self.store,
            results_service=self._service(),
            hooks={},
            web=self._operator, configuration=None,
            new_id=self.new_id, now=self.now, draw=self.draws.random,
        )  # fmt: skip

    def _service(self) -> ServiceEdges | None:
        if not self.has_service:
            return None
        service = FakeService(self.desk, self.life, self.now, self.oracle.has)
        return ServiceEdges(service, FakeFetched(self.disk, self.life, self.tasks.came_again))

    def _operator(self, views: Views, /) -> GroupOperator:
        jobs = FakeOperator(views, self.orders, self.draws, self.meddling)
        people = TaskPeople(
            views=views, book=self.tasks, life=self.life, rng=self.draws,
            report_s=self.settings.results.report_s,
        )  # fmt: skip
        administrator = Administrator(
            views=views, book=self.entities, life=self.life, rng=self.draws,
            draw_policies=lambda entity, rng: drawn_policies(entity, rng, self.policies),
        )  # fmt: skip
        return GroupOperator(views, self.life, jobs, (people.work, administrator.work))

    async def live(self, rates: Rates, seconds: float, *, kill: bool) -> None:
        """Run the program for a while, then kill or stop it."""
        stop = trio.Event()
        edges = self.edges(rates)
        with trio.CancelScope() as process:
            async with trio.open_nursery() as nursery:
                outcome: list[bool] = []
                nursery.start_soon(self._run, edges, stop, outcome, process)
                nursery.start_soon(self._send)
                nursery.start_soon(self._ask_and_tell)
                with trio.move_on_after(seconds):
                    await self._all_ended()
                if kill:
                    self.life.dead = True
                    process.cancel()
                stop.set()
                self.asked_before_stop = set(self.promises.asked)
                stopped_at = trio.current_time()
                while not outcome:
                    await trio.sleep(0.05)
                took = trio.current_time() - stopped_at
                assert took <= self.settings.shutdown.deadline_s + 6, "a stop took too long"
                nursery.cancel_scope.cancel()

    async def _all_ended(self) -> None:
        """Return when nothing is left to do; in a storm that is hardly ever."""
        disk = self.disk
        while (
            self.oracle.pending or disk.open_groups or disk.closed_groups or disk.payloads
            or self.promises.asked - self.promises.reported
            or (self.has_service and self.desk.open)
        ):  # fmt: skip
            await trio.sleep(5)

    async def _run(
        self, edges: Edges, stop: trio.Event, outcome: list[bool], process: trio.CancelScope
    ) -> None:
        try:
            outcome.append(await gateway(LiveSettings(self.settings), edges, stop))
        except Exception:
            if not (self.rates.bug or self.life.dead):
                raise  # an essential actor over its budget ends the process; else nothing may
            self.life.dead = True
            process.cancel()

    async def _send(self) -> None:
        """Senders come and go; what is not acknowledged is sent again."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self.rng.expovariate(0.5))
                nursery.start_soon(self._visit)

    async def _visit(self) -> None:
        wanted = sorted(self.oracle.pending)
        visit = self.rng.sample(wanted, min(len(wanted), self.rng.randint(0, 8)))
        called = self.rng.choice((*AE_TITLES, TITLE.ae_title))
        calling = self.rng.choice(("CT1", "CT1", "CT2"))
        association = FakeAssociation(
            (called, calling),
            self._sendings(visit),
            self.store,
            self.oracle,
            EPOCH,
            self.entities.shut,
        )
        await self.listener.connect(association)
        await association.over.wait()

    def _sendings(self, visit: list[tuple[str, str]]) -> list[Sending]:
        """Return what a sender sends: some of it twice, and some that was answered before."""
        if not self.life.rates.again:
            return [Sending(study, uid) for study, uid in visit]
        draws, sendings = self.policies, list[Sending]()
        for study, uid in visit:
            first = Sending(study, uid, draws.choice((0, 0, 1)))
            sendings.append(first)
            if draws.random() < self.life.rates.again:
                sendings.append(first._replace(content=draws.choice((0, 1, 2))))
        for known in sorted({*self.oracle.recent}):
            if draws.random() < self.life.rates.again:
                sendings.append(known._replace(content=draws.choice((0, 1, 2))))
        if draws.random() < 0.5:
            draws.shuffle(sendings)
        return sendings

    async def _ask_and_tell(self) -> None:
        """The archive reports what it owes; a modality asks about what it did and did not send."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self.rng.expovariate(0.5))
                visit: ReportVisit | AskVisit
                if self.archive.outbox:
                    report = self.archive.outbox.pop(0)
                    visit = ReportVisit(self.archive, report, self.life)
                elif self.rng.random() < 0.3:
                    names = sorted(name for _, name in self.oracle.acknowledged)
                    some = self.rng.sample(names, min(len(names), 5))
                    uids = [name.rpartition("/")[2] for name in some] + ["1.2.999"]
                    visit = AskVisit(
                        self.rng.choice(AE_TITLES), f"2.25.{self.new_id()}", uids, self.promises,
                        self.life,
                    )  # fmt: skip
                else:
                    continue
                nursery.start_soon(self._call, visit)

    async def _call(self, visit: "ReportVisit | AskVisit") -> None:
        await self.listener.connect(visit)
        await visit.over.wait()

    def new_work(self) -> None:
        """Some studies more to deliver; a few instances come up again and again."""
        for _ in range(self.rng.randint(1, 4)):
            study = f"1.2.{self.rng.randint(1, 6)}"
            for _ in range(self.rng.randint(1, 10)):
                self.oracle.pending.add((study, f"{study}.{self.rng.randint(1, 40)}"))
        if self.has_service:
            self.desk.new_work(self.disk)
