"""Destinations that are down, for a moment or a day, and what goes elsewhere meanwhile."""

import itertools

import pytest
import trio
from actor_ports import LATER, LOST, NEVER, Crashing, a_job, an_export, wall
from exporting import Stage

from adapter.actors.exporter import POLL_S
from adapter.actors.fallback_giver import FallbackGiver
from adapter.channels import ask, notify
from adapter.domain.breaker import FRUITLESS_MAX
from adapter.domain.exporter_orders import DestinationAnswered
from adapter.domain.exporting import OUTAGE_PAUSE_S_MAX
from adapter.domain.tables import ExportState
from adapter.supervision import REPLICA, supervise

DAY_S = 86_400.0


async def run(nursery, *stages):
    for stage in stages:
        await nursery.start(supervise, stage.actor, REPLICA, stage.events.append)


async def test_day_of_outage_delays_everything_and_loses_nothing(autojump_clock):
    stage = Stage(files=1, max_retries=0)
    stage.peer.up = False
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        for hour in range(24):
            await stage.open(*[an_export(n) for n in range(10 * hour, 10 * hour + 10)])
            await trio.sleep(DAY_S / 24)
        tries = [*stage.peer.tries, *stage.peer.probes]
        assert len(tries) <= DAY_S / OUTAGE_PAUSE_S_MAX + 10
        pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
        assert max(pauses) <= OUTAGE_PAUSE_S_MAX + POLL_S
        stage.peer.up = True
        await trio.sleep(OUTAGE_PAUSE_S_MAX + POLL_S)
        exports = await stage.ledger.exports()
        assert {row.state for row in exports} == {ExportState.COMPLETED}
        assert {row.try_count for row in exports} == {0}
        assert sorted(stage.peer.received) == sorted(f"/job-{n}/0.dcm" for n in range(240))
        nursery.cancel_scope.cancel()


async def test_outage_is_told_with_its_reason_and_when_it_is_probed(autojump_clock):
    stage = Stage()
    stage.peer.up = False
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        await stage.open()
        await trio.sleep(1)
        assert stage.figures.down == {"pacs": "no connection: refused"}
        await trio.sleep(100)
        down, tried = [event for event in stage.events if event.topic == "destination"]
        assert (down.type, tried.type) == ("destination.down", "destination.tried")
        assert down.facts["why"] == tried.facts["why"] == "no connection: refused"
        assert down.facts["sinceAt"] == tried.facts["sinceAt"]
        assert down.facts["sinceAt"] < down.facts["againAt"] < tried.facts["againAt"]
        stage.peer.up = True
        await trio.sleep(200)
        assert stage.figures.down == {}
        assert stage.told("destination")[-1] == "destination.up"
        assert stage.figures.outages == {"pacs": 2}
        nursery.cancel_scope.cancel()


async def test_destination_that_answers_probes_and_takes_nothing_stays_down(autojump_clock):
    """It accepts associations and hangs: a probe alone does not say that it works."""
    stage = Stage(files=1, max_retries=1000)
    stage.peer.answers = {f"/job-{n}/0.dcm": [LOST] * 1000 for n in range(50)}
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        await stage.open(*[an_export(n) for n in range(50)])
        await trio.sleep(30)
        assert len(stage.peer.tries) == FRUITLESS_MAX, "the others are spared"
        await trio.sleep(4000)
        assert stage.told("destination").count("destination.down") == 1
        assert "destination.up" not in stage.told("destination")
        assert len(stage.peer.tries) <= FRUITLESS_MAX + 10
        stage.peer.answers = {}
        await trio.sleep(3 * OUTAGE_PAUSE_S_MAX)
        assert {row.state for row in await stage.ledger.exports()} == {ExportState.COMPLETED}
        nursery.cancel_scope.cancel()


async def test_instance_that_breaks_every_association_fails_alone(autojump_clock):
    """A receiver that aborts on one broken file has no outage, and gets everything else at once."""
    stage = Stage(files=1, max_retries=FRUITLESS_MAX + 2)
    stage.peer.answers = {"/job-1/0.dcm": [LOST] * 100}
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        await stage.open(an_export(1))
        await trio.sleep(60 * FRUITLESS_MAX + POLL_S)
        assert len(stage.peer.tries) > FRUITLESS_MAX
        await stage.open(an_export(2))
        await trio.sleep(1)
        assert (await stage.row("export-2")).state is ExportState.COMPLETED
        await trio.sleep(60 * 3)
        row = await stage.row("export-1")
        assert (row.state, row.try_count) == (ExportState.FAILED, FRUITLESS_MAX + 3)
        assert row.error == f"no answer again, at attempt {FRUITLESS_MAX + 3}: timeout"
        assert stage.told("destination") == ["destination.up"]
        nursery.cancel_scope.cancel()


async def test_after_an_outage_what_broke_associations_is_tried_last(autojump_clock):
    stage = Stage(files=1, max_retries=1000)
    bad = range(FRUITLESS_MAX)
    stage.peer.answers = {f"/job-{n}/0.dcm": [LOST] * 100 for n in bad}
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        await stage.open(*[an_export(n) for n in bad])
        await trio.sleep(30)
        assert stage.told("destination") == ["destination.down"]
        await stage.open(an_export(9))
        await trio.sleep(30 + 2 * POLL_S)
        assert stage.told("destination")[:2] == ["destination.down", "destination.up"]
        assert stage.peer.received[FRUITLESS_MAX] == "/job-9/0.dcm"
        nursery.cancel_scope.cancel()


async def test_what_is_known_to_break_associations_delays_nothing_else(autojump_clock):
    """What comes later is sent after one short pause at most: none doubles meanwhile."""
    stage = Stage(files=1, max_retries=1000)
    bad = range(FRUITLESS_MAX)
    stage.peer.answers = {f"/job-{n}/0.dcm": [LOST] * 1000 for n in bad}
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        await stage.open(*[an_export(n) for n in bad])
        for n in range(10, 20):
            await trio.sleep(400)
            await stage.open(an_export(n))
            await trio.sleep(60 + 2 * POLL_S)
            assert f"/job-{n}/0.dcm" in stage.peer.received
        nursery.cancel_scope.cancel()


async def test_answer_to_an_operator_ends_the_pause_of_an_outage(autojump_clock):
    stage = Stage()
    stage.peer.up = False
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        await stage.open()
        await trio.sleep(1200)
        stage.peer.up = True
        assert (await stage.row()).state is ExportState.QUEUED
        assert await ask(stage.orders, lambda reply: DestinationAnswered(reply=reply), 10.0)
        await trio.sleep(1)
        assert (await stage.row()).state is ExportState.COMPLETED
        assert stage.told("destination")[-1] == "destination.up"
        nursery.cancel_scope.cancel()


async def test_answer_to_an_operator_alone_shortens_no_later_pause(autojump_clock):
    stage = Stage()
    stage.peer.up = False
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        await stage.open()
        await trio.sleep(1200)
        before = len(stage.peer.tries)
        assert await ask(stage.orders, lambda reply: DestinationAnswered(reply=reply), 10.0)
        await trio.sleep(OUTAGE_PAUSE_S_MAX - POLL_S)
        assert len(stage.peer.tries) == before + 1
        assert "destination.up" not in stage.told("destination")
        nursery.cancel_scope.cancel()


async def test_destination_with_nothing_to_take_is_up_again_after_a_probe(autojump_clock):
    stage = Stage(files=1)
    stage.peer.answers = {"/job-1/0.dcm": [LOST] * FRUITLESS_MAX + [NEVER]}
    stage.actor.rules = stage.actor.rules.__class__(max_retries=0, retry_delay_s=60.0)
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        stage.peer.answers |= {f"/job-{n}/0.dcm": [LOST] for n in (2, 3)}
        await stage.open(an_export(1), an_export(2), an_export(3))
        await trio.sleep(30)
        assert stage.told("destination") == ["destination.down"]
        assert {row.state for row in await stage.ledger.exports()} == {ExportState.FAILED}
        await trio.sleep(60 + POLL_S)
        assert stage.told("destination")[-1] == "destination.up"
        nursery.cancel_scope.cancel()


async def test_destination_that_takes_nothing_now_is_down_and_costs_no_try(autojump_clock):
    """A web service that answers 503: it is there, and says to come back."""
    stage = Stage(max_associations=3)
    stage.peer.closed = True
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        await stage.open(*[an_export(n) for n in range(20)])
        await trio.sleep(1)
        assert len(stage.peer.tries) <= 3
        await trio.sleep(3600)
        assert len(stage.peer.tries) <= 3 + 10
        assert {row.try_count for row in await stage.ledger.exports()} == {0}
        assert stage.figures.down == {"pacs": "503 Service Unavailable"}
        stage.peer.closed = False
        await trio.sleep(2 * OUTAGE_PAUSE_S_MAX)
        assert {row.state for row in await stage.ledger.exports()} == {ExportState.COMPLETED}
        nursery.cancel_scope.cancel()


async def test_destination_that_refuses_verification_is_there_all_the_same(autojump_clock):
    stage = Stage()
    stage.peer.up = stage.peer.verifies = False
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        await stage.open()
        await trio.sleep(30)
        stage.peer.up = True
        await trio.sleep(60 + POLL_S)
        assert (await stage.row()).state is ExportState.COMPLETED
        nursery.cancel_scope.cancel()


async def test_disk_of_ours_that_fails_says_nothing_about_the_destination(autojump_clock):
    stage = Stage()
    stage.outputs.faults = 2
    async with trio.open_nursery() as nursery:
        await run(nursery, stage)
        await stage.open()
        await trio.sleep(1)
        row = await stage.row()
        assert (row.state, row.try_count, row.error) == (ExportState.QUEUED, 0, "storage failed")
        assert stage.told("destination") == []
        await trio.sleep(200)
        assert (await stage.row()).state is ExportState.COMPLETED
        nursery.cancel_scope.cancel()


# --- to the fallback


def with_fallback(after_s=3600.0, archive=None, **changes):
    """Return the stages of a destination and of its fallback, over one ledger."""
    wakes = {}
    archive = archive or Stage(name="archive")

    def giver(stage):
        wakes["archive"] = archive.wake.clone()
        return FallbackGiver(
            fallback="archive", after_s=after_s, wake=wakes["archive"], ledger=stage.ledger,
            publish=stage.events.append, now=wall,
        )  # fmt: skip

    return Stage(beside=archive, giver=giver, fallback="archive", **changes), archive


async def test_what_waits_goes_to_the_fallback_when_the_outage_lasts(autojump_clock):
    pacs, archive = with_fallback()
    pacs.peer.up = False
    async with trio.open_nursery() as nursery:
        await run(nursery, pacs, archive)
        await pacs.open(an_export(1, instances=3), an_export(2, instances=3))
        await trio.sleep(3590)
        assert archive.peer.received == []
        await trio.sleep(30)
        assert len(archive.peer.received) == 6
        rows = {row.destination: row for row in await pacs.ledger.exports_of("job-1")}
        assert (rows["pacs"].state, rows["pacs"].sent) == (ExportState.COMPLETED, 0)
        assert (rows["pacs"].given, rows["pacs"].given_to) == (3, "archive")
        assert (rows["archive"].state, rows["archive"].sent) == (ExportState.COMPLETED, 3)
        assert rows["archive"].instead_of == "pacs"
        assert pacs.told("export").count("export.given") == 2
        await pacs.open(an_export(3))
        await trio.sleep(POLL_S)
        assert len(archive.peer.received) == 9, "what comes later goes there at once"
        pacs.peer.up = True
        await trio.sleep(2 * OUTAGE_PAUSE_S_MAX)
        assert pacs.told("destination")[-1] == "destination.up"
        await pacs.open(an_export(4))
        await trio.sleep(POLL_S)
        assert pacs.peer.received == [f"/job-4/{n}.dcm" for n in range(3)]
        assert len(archive.peer.received) == 9
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_back", [False, True])
async def test_restart_makes_no_outage_shorter(autojump_clock, is_back):
    pacs, archive = with_fallback()
    async with trio.open_nursery() as nursery:
        await run(nursery, archive)
        for _ in range(3):
            pacs.peer.up = False
            async with trio.open_nursery() as process:
                await run(process, pacs)
                await pacs.open(an_export(instances=3))
                await trio.sleep(1190)
                process.cancel_scope.cancel()
            assert (await pacs.row("export-1")).destination == "pacs"
            pacs, _ = with_fallback(archive=archive)
        pacs.peer.up = is_back
        await run(nursery, pacs)
        await trio.sleep(40)
        assert (len(pacs.peer.received), len(archive.peer.received)) == (
            (3, 0) if is_back else (0, 3)
        )
        assert (pacs.ledger.outages.of("pacs") is None) is is_back
        nursery.cancel_scope.cancel()


async def test_what_was_delivered_is_not_given(autojump_clock):
    pacs, archive = with_fallback(after_s=100.0, max_retries=50)
    pacs.peer.answers = {"/job-1/1.dcm": [LATER], "/job-1/2.dcm": [NEVER]}
    pacs.peer.stored = lambda: setattr(pacs.peer, "up", len(pacs.peer.received) < 3)
    async with trio.open_nursery() as nursery:
        await run(nursery, pacs, archive)
        await pacs.open(an_export(instances=3))
        await trio.sleep(1000)
        assert archive.peer.received == ["/job-1/1.dcm"]
        row = await pacs.row("export-1")
        assert (row.state, row.sent, row.failed, row.given) == (ExportState.FAILED, 1, 1, 1)
        nursery.cancel_scope.cancel()


async def test_export_whose_job_goes_to_the_fallback_anyway_waits(autojump_clock):
    pacs, archive = with_fallback(after_s=100.0)
    pacs.peer.up = False
    async with trio.open_nursery() as nursery:
        await run(nursery, pacs, archive)
        await pacs.open(an_export(1), an_export(1, id="export-2", destination="archive"))
        notify(archive.wake)
        await trio.sleep(1000)
        assert len(archive.peer.received) == 3
        assert (await pacs.row("export-1")).state is ExportState.QUEUED
        pacs.peer.up = True
        await trio.sleep(2 * OUTAGE_PAUSE_S_MAX)
        assert (await pacs.row("export-1")).state is ExportState.COMPLETED
        nursery.cancel_scope.cancel()


async def test_each_export_of_a_job_goes_to_the_fallback(autojump_clock):
    """Tasks may name some files of a job each, for the same destination."""
    pacs, archive = with_fallback(after_s=100.0)
    pacs.peer.up = False
    files = (await pacs.outputs.results("job-1")).files
    async with trio.open_nursery() as nursery:
        await run(nursery, pacs, archive)
        await pacs.ledger.open_jobs([a_job("job-1")])
        for number, file in enumerate(files):
            export = an_export(1, id=f"export-{number}", instances=1)
            await pacs.ledger.open_exports("job-1", [(export, {file: files[file]})])
        notify(pacs.wake)
        await trio.sleep(1000)
        assert sorted(archive.peer.received) == [f"/job-1/{n}.dcm" for n in range(3)]
        assert {row.state for row in await pacs.ledger.exports()} == {ExportState.COMPLETED}
        nursery.cancel_scope.cancel()


async def test_fallback_ends_after_who_may_still_give_to_it(autojump_clock):
    pacs, archive = with_fallback()
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            await run(nursery, pacs, archive)
            archive.wake.close()
            await trio.sleep(1)
            assert nursery.child_tasks
            pacs.wake.close()


@pytest.mark.parametrize("at", range(1, 7))
@pytest.mark.parametrize("after", [False, True])
async def test_crash_while_giving_loses_and_doubles_nothing(autojump_clock, at, after):
    pacs, archive = with_fallback(after_s=100.0)
    pacs.peer.up = False
    async with trio.open_nursery() as nursery:
        await run(nursery, pacs, archive)
        await pacs.open(an_export(instances=3))
        await trio.sleep(90)
        calls, ledger = [], pacs.ledger
        crashing = CrashingLedger(ledger, Crashing(ledger, calls, at, after=after))
        pacs.actor.ledger = pacs.actor.giver.ledger = crashing
        await trio.sleep(200)
        assert len(pacs.told("actor")) == 3, "started, crashed, started"
        pacs.peer.up = True
        await trio.sleep(3 * OUTAGE_PAUSE_S_MAX)
        assert sorted(pacs.peer.received + archive.peer.received) == sorted(
            f"/job-1/{n}.dcm" for n in range(3)
        )
        assert {row.state for row in await ledger.exports()} == {ExportState.COMPLETED}
        nursery.cancel_scope.cancel()


class CrashingLedger:
    """A ledger that crashes at one of the calls that giving makes."""

    GIVING = ("exports_of", "outcomes", "hand_over", "change_export")

    def __init__(self, ledger, crashing):
        self._ledger, self._crashing = ledger, crashing

    def __getattr__(self, name):
        return getattr(self._crashing if name in self.GIVING else self._ledger, name)
