"""The whole gateway from one seed: fakes at every edge, faults, kills and restarts, virtual time.

First anything may go wrong and nothing wrong may be promised (safety); then the faults stop and
everything outstanding must end (liveness). Replay a failure with `make sim SEED=...`.
"""

import os
from dataclasses import replace
from pathlib import Path
from random import Random

import msgspec
import pytest
import trio
import trio._core._run as trio_run
from fakes.committers import Archive, AskVisit, Promises, ReportVisit
from fakes.disk import FakeDisk, FakeEngine, FakeSpace, FakeStore, FakeWriter, Life, Rates
from fakes.group_operator import GroupOperator
from fakes.job_operator import FakeOperator, Orders
from fakes.peers import (
    FakeAssociation,
    FakeListener,
    FakePlatform,
    FakeRequestor,
    Oracle,
    believe,
    resolve,
)
from fakes.picky import wants
from trio.testing import MockClock

from adapter.domain.assignments import views_of
from adapter.domain.entities import ApplicationEntity, Destination, OneProcessor
from adapter.domain.records import Commitment, Export
from adapter.domain.tables import EXPORT_TERMINAL, JOB_TERMINAL, ExportState, JobState
from adapter.domain.views import Views
from adapter.edges import Edges
from adapter.gateway import gateway
from adapter.live_settings import LiveSettings
from adapter.settings import Settings
from adapter.store.ledger import RowLedger

EPOCH = 1_800_000_000.0
LIVENESS_S = 4000.0
AE_TITLES = ("AE1", "AE2")
PIPELINES = ("one", "two")

SETTINGS = msgspec.convert(
    {
        "dicom": {
            "scp": {"reject_unknown_sources": False, "max_associations": 6},
            "scu": {
                "export": {"retry_delay_s": 5.0, "max_retries": 1000},
                "commitment": {"deadline_s": 20.0, "max_retries": 1000, "max_instances": 7},
            },
        },
        "platform": {"max_retries": 1000, "retry_delay_s": 5.0},
        "storage": {"retention": {"completed_s": 30.0}},
        "destinations": [
            {"name": "pacs", "ae_title": "PACS", "host": "pacs", "port": 104},
            {"name": "spare", "ae_title": "SPARE", "host": "spare", "port": 104},
            {
                "name": "archive",
                "ae_title": "ARCHIVE",
                "host": "archive",
                "port": 104,
                "storage_commitment": True,
            },
            {"name": "ct1", "ae_title": "CT1", "host": "ct1", "port": 104},
        ],
        "application_entities": [
            {
                "name": title.lower(),
                "ae_title": title,
                "timeout_s": 5.0,
                "max_age_s": 60.0,
                "pipelines": {name: name for name in PIPELINES},
                "destinations": ["pacs", "archive"],
                "storage_commitment": "held",
            }
            for title in AE_TITLES
        ],
    },
    Settings,
)


def drawn_settings(rng: Random) -> Settings:
    """Give each AE Title policies of its own; half of what is drawn are the defaults."""
    return msgspec.structs.replace(
        SETTINGS,
        destinations=list(SETTINGS.destinations),
        application_entities=[
            drawn_policies(entity, rng) for entity in SETTINGS.application_entities
        ],
    )


def drawn_destination(seed: int) -> Destination:
    """Draw how many associations the PACS takes, and whether something else takes its place."""
    rng = Random(f"destination {seed}")
    return msgspec.structs.replace(
        SETTINGS.destinations[0],
        max_associations=rng.choice((1, 3)),
        fallback=rng.choice(("", "spare")),
        fallback_after_s=rng.choice((0.0, 20.0)),
        rate_mb_s=rng.choice((0.0, 0.00001)),
    )


def drawn_policies(entity: ApplicationEntity, rng: Random) -> ApplicationEntity:
    """Draw how an AE Title groups and what it does with late, aborted and many instances."""
    grouping = rng.choice(
        ("0020,000D", "0020,000D", "0020,000E", "0008,0050", "association",
         ["association", "0020,000D"])
    )  # fmt: skip
    return msgspec.structs.replace(
        entity,
        grouping=grouping,
        timeout_s=drawn_timeout(grouping, rng),
        processors=drawn_processors(grouping, rng),
        max_instances=rng.choice((0, 0, 3)),
        late_arrivals=rng.choice(("new-job", "new-job", "ignore", "supplement")),
        late_arrival_window_s=rng.choice((10.0, 1000.0)),
        on_abort=rng.choice(("keep", "keep", "drop", "hold")),
    )


def drawn_timeout(grouping: str | list[str], rng: Random) -> float:
    return rng.choice((0.0, 5.0)) if "association" in grouping else rng.choice((2.0, 5.0))


def drawn_processors(of_entity: str | list[str], rng: Random) -> list[OneProcessor]:
    """Draw an only processor, or some more: with the same groups, with others, with some of them.

    Args:
        of_entity: What the AE Title groups by.
    """
    grouping = rng.choice((of_entity, "0020,000E", "association"))
    drawn = [
        OneProcessor(name="same", processor="aetitle"),
        OneProcessor(
            name="other", processor="aetitle", grouping=grouping,
            timeout_s=drawn_timeout(grouping, rng), pipelines={"three": "three"},
        ),
        OneProcessor(name="picky"),
    ]  # fmt: skip
    return drawn[: rng.choice((0, 0, 2, 3))] if rng.random() < 0.7 else drawn[2:]


@pytest.fixture(autouse=True)
def picky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a plug-in that does not want everything."""
    info = tmp_path / "picky-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: picky\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[dicom_adapter.processors]\npicky = fakes.picky:Picky\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


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
        self.rates = Rates.drawn(self.rng)
        self.draws, self.orders = Random(seed), Orders()
        self.meddling = self.draws.random() < 0.5
        self.disk, self.oracle, self.promises = FakeDisk(), Oracle(), Promises()
        self.archive = Archive(self.rng, self.promises)
        self.settings = drawn_settings(self.rng)
        self.settings.destinations[0] = drawn_destination(seed)
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
            platform=FakePlatform(self.disk, life), results=self.store, results_service=None,
            hooks={},
            web=self._operator, configuration=None,
            new_id=self.new_id, now=self.now, draw=self.draws.random,
        )  # fmt: skip

    def _operator(self, views: Views, /) -> GroupOperator:
        jobs = FakeOperator(views, self.orders, self.draws, self.meddling)
        return GroupOperator(views, self.life, jobs)

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
        association = FakeAssociation(
            self.rng.choice(AE_TITLES), visit, self.store, self.oracle, EPOCH
        )
        await self.listener.connect(association)
        await association.over.wait()

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


async def simulate(seed: int) -> World:
    """Lives with faults, then one without, then the checks."""
    world = World(seed)
    for _ in range(world.rng.randint(1, 5)):
        world.new_work()
        await world.live(world.rates, world.rng.uniform(0.5, 60), kill=world.rng.random() < 0.7)
        check_safety(world)
    world.new_work()
    calm = replace(world.rates, full=0, fault=0, bug=0, platform=0, unreachable=0, refused=0,
                   lost=0, abort=0, silent=0, unkept=0, operator=0)  # fmt: skip
    world.rates, world.meddling = calm, False
    await world.live(calm, LIVENESS_S, kill=False)
    check_safety(world)
    await check_liveness(world)
    return world


def wanted_pipelines(world: World, group_id: str) -> list[str]:
    """Return the pipelines of the processor that an acknowledged group belongs to."""
    ae_title, processor = world.oracle.processor_of[group_id]
    (entity,) = (e for e in world.settings.application_entities if e.ae_title == ae_title)
    return sorted(dict(views_of(entity))[processor].pipelines)


def check_processors(world: World) -> None:
    """Every instance that was answered 0x0000 has joined one group of each that wants it."""
    assert not world.oracle.placed_twice
    for entity in world.settings.application_entities:
        names = {name for name, view in views_of(entity) if view.processor == "aetitle"}
        picky = {name for name, view in views_of(entity) if view.processor == "picky"}
        for ae_title, study, joined in world.oracle.joined:
            if ae_title == entity.ae_title:
                wanted = names | picky if wants(study) else names
                late = wanted - joined if entity.late_arrivals == "ignore" else set[str]()
                assert joined == wanted - late


def check_safety(world: World) -> None:
    """I1, I2, I3: nothing acknowledged is lost, doubled, or deleted while it is held."""
    disk = world.disk
    jobs_of: dict[tuple[str, str], list[str]] = {}
    for payload in disk.history.values():
        for name in payload.files:
            jobs_of.setdefault((payload.job.group_id, name), []).append(payload.job.pipeline)
    for group_id, name in world.oracle.acknowledged:
        group = disk.open_groups.get(group_id) or disk.closed_groups.get(group_id)
        pipelines = jobs_of.get((group_id, name), [])
        wanted = wanted_pipelines(world, group_id)
        assert len(pipelines) == len(set(pipelines)), f"{name} is in two jobs of one pipeline"
        if group is not None:
            staged = (name in files for files in group.staged.values())
            assert name in group.files or any(staged), f"{name} was acknowledged and is gone"
        else:
            assert sorted(pipelines) == wanted, f"{name} has no job: {pipelines}"
    for job_id in disk.removed:
        payload = disk.history[job_id]
        for result in (payload.outputs or {}).values():
            uid = result.sop_instance_uid
            either = {(name, uid) for name in ("pacs", "spare")}
            assert either & world.oracle.delivered, "deleted too early"
            assert uid in world.promises.committed, "deleted before it was committed"
    entities = {entity.ae_title: entity for entity in world.settings.application_entities}
    check_processors(world)
    for title, why in world.oracle.ignored:
        allowed = {"late"} if entities[title].late_arrivals == "ignore" else set[str]()
        if all(view.processor == "picky" for _, view in views_of(entities[title])):
            allowed.add("no processor wants it")
        assert why in allowed
    for payload in disk.history.values():
        entity = entities[payload.job.ae_title]
        assert len(payload.files) <= (entity.max_instances or len(payload.files))
        assert not payload.job.supplements or entity.late_arrivals == "supplement"
    assert not world.promises.wrongly_kept
    assert not world.promises.lies_believed
    rows = (row for key, row in disk.rows.items() if key.startswith("commitment/"))
    waiting = {msgspec.msgpack.decode(row, type=Commitment).transaction_uid for row in rows}
    assert world.promises.asked - world.promises.reported <= waiting, "a request was forgotten"
    assert not world.orders.broken
    assert world.oracle.slowest_answer_s <= world.settings.dicom.scp.answer_s + 0.1


async def check_liveness(world: World) -> None:
    """I7: after the faults everything has ended, been delivered, and been reclaimed."""
    assert world.ledger is not None
    assert not world.oracle.pending
    assert not world.disk.open_groups
    assert not world.disk.closed_groups
    assert all(job.state in JOB_TERMINAL for job in await world.ledger.jobs())
    exports: list[Export] = await world.ledger.exports()
    assert all(export.state in EXPORT_TERMINAL for export in exports)
    for payload in world.disk.history.values():
        assert payload.job.supplements in ("", *world.disk.history), "lineage leads nowhere"
    faulted = [job for job in await world.ledger.jobs() if job.state is JobState.FAULTED]
    assert not faulted
    assert not [export for export in exports if export.state is ExportState.FAILED]
    assert not world.disk.payloads, "space was not reclaimed"
    assert not world.asked_before_stop - world.promises.reported


def seeds() -> list[int]:
    one = os.environ.get("SIM_SEED")
    return [int(one)] if one else list(range(int(os.environ.get("SIM_SEEDS") or 50)))


@pytest.mark.parametrize("seed", seeds())
def test_nothing_acknowledged_is_lost_and_everything_ends(seed: int) -> None:
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True
    trio_run._r.seed(seed)
    try:
        trio.run(simulate, seed, clock=MockClock(autojump_threshold=0.0))
    except BaseException:
        print(f"replay: make sim SEED={seed}")
        raise
