"""Destinations come, change and go while exports wait, and when something crashes."""

from types import SimpleNamespace

import msgspec
import pytest
import trio
from actor_ports import Crashing, Outputs, Peer, a_job, an_export, counting_ids, new_ledger, wall

from adapter.actors.committer import Committer, ReportRecorder
from adapter.actors.entities import Entities
from adapter.actors.entity_directory import EntityDirectory
from adapter.actors.export_destinations import ExportDestinations
from adapter.actors.export_places import ExportPlaces
from adapter.actors.known_sources import KnownSources
from adapter.channels import UNANSWERED, ExportDesk, ask
from adapter.domain.committing import CommitmentRules
from adapter.domain.entities import Source
from adapter.domain.entity_orders import EntityOrder, EntityRefused
from adapter.domain.entity_rows import kind_of, row_of
from adapter.domain.made_destination import MadeDestination
from adapter.entity_rules import EntityRules
from adapter.exporter_wiring import ExporterStaff, ExporterWakes
from adapter.live_settings import LiveSettings, export_rules_of
from adapter.settings import Settings
from adapter.supervision import ESSENTIAL, supervise

PACS = MadeDestination(name="pacs", ae_title="PACS", host="10.0.0.9", port=104)
SETTINGS = Settings()


class NoFiles:
    """Destinations that name none."""

    def problems(self, _):
        return []

    def forget(self, name):
        pass


def changed(**changes):
    return msgspec.structs.replace(PACS, **changes)


class Stage:
    """The actor with the staff of the real wiring; destinations by the port they have."""

    def __init__(self, ledger=None):
        self.ledger = ledger or new_ledger()
        self.peer, self.events, self.stop = Peer(), [], trio.Event()
        self.directory = EntityDirectory(11112, [11112])
        self.desk, self.wakes = ExportDesk(), ExporterWakes()
        self.orders_in, self.orders = trio.open_memory_channel(0)
        self.rows = self.ledger.entities
        self.held = self.wakes.held()

    async def start(self, nursery):
        publish = self.events.append
        edges = SimpleNamespace(
            ledger=self.ledger, results=Outputs(3), requestor=self.peer, now=wall,
            draw=lambda: 0.0, destination_files=NoFiles(),
        )  # fmt: skip
        committer = Committer(
            ledger=self.ledger, publish=publish, now=wall, new_uid=counting_ids(),
            recorder=ReportRecorder(ledger=self.ledger, publish=publish, now=wall),
            rules=CommitmentRules(wait_s=1.0, deadline_s=600.0, max_retries=1, max_instances=10),
        )  # fmt: skip
        reclaimer_wake, self.reclaimer = trio.open_memory_channel(1)
        results_wake, self.results = trio.open_memory_channel(1)
        resolver_wake, self.resolver = trio.open_memory_channel(1)
        self.staff = ExporterStaff(
            edges=edges, rules=export_rules_of(SETTINGS), publish=publish, nursery=nursery,
            committer=committer, places=ExportPlaces(4), desk=self.desk, wakes=self.wakes,
            reclaimer_wake=reclaimer_wake,
        )  # fmt: skip
        self.branch = ExportDestinations(
            staff=self.staff, ledger=self.ledger, results_wake=results_wake
        )
        sources = KnownSources(resolver_wake=resolver_wake)
        self.actor = Entities(
            configured=[], rows=self.rows, rules=EntityRules(LiveSettings(SETTINGS), NoFiles()),
            branches={"destination": self.branch, "source": sources}, directory=self.directory,
            orders=self.orders, publish=publish, stop=self.stop,
        )  # fmt: skip
        await nursery.start(supervise, self.actor, ESSENTIAL, publish)

    async def order(self, action, entity=PACS, **more):
        def order(reply):
            return EntityOrder(
                action=action, kind=kind_of(entity), name=entity.name, entity=entity, reply=reply,
                **more,
            )  # fmt: skip

        return await ask(self.orders_in, order, 10.0)

    async def insist(self, action, entity=PACS, **more):
        """Order until there is an answer, as an operator does."""
        while True:
            try:
                return await self.order(action, entity, **more)
            except UNANSWERED:
                await trio.sleep(0.1)

    async def export(self, number=1):
        export = an_export(number)
        await self.ledger.open_jobs([a_job(export.job_id)])
        files = (await Outputs(3).results(export.job_id)).files
        await self.ledger.open_exports(export.job_id, [(export, files)])
        self.held["pacs"].send_nowait(None)

    async def states(self):
        return [str(export.state) for export in await self.ledger.exports()]


@pytest.fixture
async def stage():
    stage = Stage()
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        yield stage
        nursery.cancel_scope.cancel()


async def test_waiting_exports_do_not_wait_out_the_pause_of_what_was_corrected(
    stage, autojump_clock
):
    stage.peer.up = False
    await stage.order("create")
    await stage.export()
    await trio.sleep(3)
    assert await stage.states() == ["Queued"]
    stage.peer.up = True
    begin = trio.current_time()
    assert (await stage.order("change", changed(port=105))).problems == ()
    await trio.sleep(1)
    assert await stage.states() == ["Completed"]
    assert trio.current_time() - begin < 5


async def test_destination_that_drains_takes_nothing_new_and_goes(stage, autojump_clock):
    stage.peer.up = False
    await stage.order("create")
    await stage.export()
    await trio.sleep(1)
    refused = await stage.order("remove")
    assert isinstance(refused, EntityRefused)
    assert (await stage.order("remove", drain=True)).retiring
    assert stage.directory.addressable_names == []
    assert [one.name for one in stage.directory.destinations] == ["pacs"]
    await trio.sleep(60)
    assert "pacs" in stage.directory.listed["destination"]
    stage.peer.up = True
    await trio.sleep(1000)
    assert await stage.states() == ["Completed"]
    assert stage.directory.listed["destination"] == {}
    assert (stage.desk.given, stage.held) == ({}, {})
    assert await stage.rows.entities() == []


async def test_change_takes_a_removal_back(stage, autojump_clock):
    stage.peer.up = False
    await stage.order("create")
    await stage.export()
    await stage.order("remove", drain=True)
    assert not (await stage.order("change")).retiring
    stage.peer.up = True
    await trio.sleep(1000)
    assert await stage.states() == ["Completed"]
    assert stage.directory.addressable_names == ["pacs"]


async def test_parked_exporter_goes_on_after_a_restart(stage, autojump_clock):
    await stage.order("create")
    associate, stage.peer.associate = stage.peer.associate, None  # which no exporter survives
    await stage.export()
    await trio.sleep(30)
    assert stage.branch.is_parked("pacs")
    stage.peer.associate = associate
    assert (await stage.order("restart")).problems == ()
    await trio.sleep(1)
    assert await stage.states() == ["Completed"]
    assert isinstance(await stage.order("restart"), EntityRefused), "it is not parked"


@pytest.mark.parametrize("steps", range(12))
async def test_exchange_of_an_exporter_that_was_cut_off_is_made_again(stage, autojump_clock, steps):
    running = await stage.staff.start(PACS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.change, changed(port=105))
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    await running.change(changed(port=106))
    assert not running.is_parked
    await stage.export()
    await trio.sleep(1)
    assert await stage.states() == ["Completed"]
    await running.end()


async def test_rows_start_in_whatever_order_they_name_one_another(autojump_clock):
    ledger = new_ledger()
    for entity in (
        changed(name="first", fallback="second"),
        changed(name="second", fallback="third"),
        changed(name="third"),
        changed(name="lost", fallback="gone"),
        changed(name="behind", fallback="lost"),
        Source(name="CT1", ae_title="CT1", host="10.0.0.1"),
    ):
        await ledger.entities.put_entity(row_of(entity))
    stage = Stage(ledger)
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        listed = stage.directory.listed["destination"]
        assert {name for name, one in listed.items() if one.problems} == {"lost", "behind"}
        assert set(stage.desk.given) == {"first", "second", "third"}
        assert [source.name for source in stage.directory.sources] == ["CT1"]
        await stage.order("create", changed(name="gone"))
        assert not [one for one in listed.values() if one.problems]
        assert len(stage.desk.given) == 6
        nursery.cancel_scope.cancel()


async def test_row_of_a_later_version_is_kept_and_told(autojump_clock):
    ledger = new_ledger()
    row = row_of(PACS)
    row = msgspec.structs.replace(row, settings=row.settings | {"shape": "round"})
    await ledger.entities.put_entity(row)
    stage = Stage(ledger)
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        (listed,) = stage.directory.listed["destination"].values()
        assert "shape: unknown key" in listed.problems[0]
        assert await ledger.entities.entities() == [row]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(2, 8))
async def test_crash_between_any_two_steps_loses_no_export(autojump_clock, at, after):
    """Whatever it was about to do is done when it is back; an answered order is never undone."""
    stage, calls = Stage(), []
    stage.rows = Crashing(stage.ledger.entities, calls, at, after=after)
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        await stage.insist("create")
        await stage.export(1)
        done = await stage.insist("change", changed(port=105))
        assert done.entity.port == 105
        await stage.export(2)
        await stage.insist("remove", drain=True)
        await trio.sleep(20)
        assert stage.directory.listed["destination"] == {}
        assert await stage.ledger.entities.entities() == []
        assert await stage.states() == ["Completed", "Completed"]
        assert stage.desk.given == {}
        nursery.cancel_scope.cancel()
