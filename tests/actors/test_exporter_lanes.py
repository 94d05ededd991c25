"""Several associations, associations that are kept, limits, and orders of operators."""

import itertools
import time
from datetime import UTC, datetime

import pytest
import trio
from actor_ports import CT, EXPLICIT, LATER, LOST, NEVER, an_export, running, wall
from exporting import Stage

from adapter.actors.export_places import ExportPlaces
from adapter.actors.exporter import POLL_S
from adapter.channels import notify
from adapter.domain.dimse_ports import SendResult
from adapter.domain.messages import OrderRefusal
from adapter.domain.pacing import BATCH, MB
from adapter.domain.tables import ExportState

WARNING = SendResult(status=0xB000)


async def states(stage):
    return {row.id: row.state for row in await stage.ledger.exports()}


# --- an association that is kept


async def test_one_association_carries_what_waits_and_is_released_then(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await stage.open(*[an_export(n) for n in range(50)])
        await trio.sleep(1)
        assert set((await states(stage)).values()) == {ExportState.COMPLETED}
        assert len(stage.peer.tries) == 1
        assert stage.peer.open == 0
        await stage.open(an_export(99))
        await trio.sleep(1)
        assert len(stage.peer.tries) == 2


async def test_other_contexts_take_another_association(autojump_clock):
    stage = Stage(sop_classes=[CT])
    async with running(stage.actor):
        await stage.open(*[an_export(n, opened_at=n) for n in range(2)])
        await trio.sleep(1)
        stage.outputs.sop_classes = ["1.2.3.4"]
        await stage.open(an_export(2))
        await trio.sleep(1)
        assert stage.peer.proposals == [[(CT, EXPLICIT)], [("1.2.3.4", EXPLICIT)]]


async def test_association_with_more_contexts_than_needed_is_good_enough(autojump_clock):
    stage = Stage(sop_classes=[CT, "1.2.3.4"], max_retries=0)
    stage.peer.answers["/job-2/1.dcm"] = [NEVER]
    stage.peer.store_s = 1.0
    async with running(stage.actor):
        await stage.open(an_export(1))
        await trio.sleep(1)
        await stage.open(an_export(2))
        await trio.sleep(10)
        assert len(stage.peer.proposals) == 1


async def test_kept_association_that_has_ended_meanwhile_costs_no_try(autojump_clock):
    stage = Stage(files=2)
    stage.peer.answers = {"/job-2/0.dcm": [LOST], "/job-2/1.dcm": [LOST]}
    async with running(stage.actor):
        await stage.open(an_export(1, opened_at=1.0), an_export(2, opened_at=2.0))
        await trio.sleep(1)
        assert [row.try_count for row in await stage.ledger.exports()] == [0, 0]
        assert set((await states(stage)).values()) == {ExportState.COMPLETED}
        assert len(stage.peer.tries) == 2


async def test_more_urgent_export_goes_next_and_interrupts_nothing(autojump_clock):
    stage = Stage(files=1)
    stage.outputs.sop_classes = [CT] * 40
    stage.peer.store_s = 1.0
    async with running(stage.actor):
        await stage.open(an_export(1, opened_at=1.0), an_export(2, opened_at=2.0))
        await trio.sleep(5)
        await stage.open(an_export(3, opened_at=3.0, priority="immediate"))
        await trio.sleep(200)
        jobs = [path.split("/")[1] for path in stage.peer.received]
        assert jobs == ["job-1"] * 40 + ["job-3"] * 40 + ["job-2"] * 40


# --- several associations


async def test_as_many_associations_as_are_configured(autojump_clock):
    stage = Stage(files=1, max_associations=3)
    stage.peer.store_s = 10.0
    async with running(stage.actor):
        await stage.open(*[an_export(n) for n in range(30)])
        await trio.sleep(101)
        assert stage.peer.most_open == 3
        assert set((await states(stage)).values()) == {ExportState.COMPLETED}
        assert len(stage.peer.received) == 30
        assert stage.figures.associations["pacs"] == 0


async def test_one_export_takes_one_association(autojump_clock):
    stage = Stage(files=40, max_associations=3)
    stage.peer.store_s = 1.0
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(100)
        assert len(stage.peer.tries) == 1


async def test_destination_that_takes_fewer_associations_than_we_may_make_is_not_down(
    autojump_clock,
):
    stage = Stage(files=1, max_associations=5)
    stage.peer.store_s, stage.peer.limit = 1.0, 2
    async with running(stage.actor):
        await stage.open(*[an_export(n) for n in range(200)])
        await trio.sleep(101)
        assert set((await states(stage)).values()) == {ExportState.COMPLETED}
        assert stage.told("destination") == ["destination.up"]
        assert {row.try_count for row in await stage.ledger.exports()} == {0}
        assert len(stage.peer.tries) <= 5 + 2 * 3, "it is asked for more once a minute"


async def test_destination_that_dies_with_open_associations_is_down(autojump_clock):
    stage = Stage(files=1, max_associations=3)
    stage.peer.store_s = 1.0
    async with running(stage.actor):
        await stage.open(*[an_export(n) for n in range(60)])
        await trio.sleep(5)
        stage.peer.up, stage.peer.breaks = False, True
        stage.peer.answers = {f"/job-{n}/0.dcm": [LOST] * 2 for n in range(60)}
        await trio.sleep(5)
        assert stage.told("destination")[-1] == "destination.down"
        stage.peer.up, stage.peer.answers = True, {}
        await trio.sleep(200)
        assert set((await states(stage)).values()) == {ExportState.COMPLETED}


async def test_outage_of_several_associations_is_one(autojump_clock):
    stage = Stage(files=1, max_associations=5)
    stage.peer.up = False
    async with running(stage.actor):
        await stage.open(*[an_export(n) for n in range(30)])
        await trio.sleep(1)
        assert len(stage.peer.tries) <= 5
        down = next(event for event in stage.events if event.type == "destination.down")
        assert down.facts["tries"] == 1


@pytest.mark.parametrize("trouble", ["hangs", "refuses", "loses", "dead"])
async def test_troublesome_destination_does_not_delay_another(autojump_clock, trouble):
    """The other one gets everything at the time it would get it alone."""
    places = ExportPlaces(4, ["bad", "good"])
    bad = Stage(files=1, name="bad", places=places, max_associations=4, max_retries=1000)
    good = Stage(files=1, name="good", places=places, beside=bad)
    good.peer.store_s = 1.0
    lies = {"loses": LOST, "refuses": LATER}
    if trouble in lies:
        bad.peer.answers = {f"/job-{n}/0.dcm": [lies[trouble]] * 10_000 for n in range(100)}
    bad.peer.store_s = 10_000.0 if trouble == "hangs" else 0.5
    bad.peer.up = trouble != "dead"
    async with running(bad.actor), running(good.actor):
        await bad.open(*[an_export(n, destination="bad") for n in range(100)])
        await trio.sleep(1)
        await good.open(*[an_export(n, id=f"good-{n}", destination="good") for n in range(50)])
        begin = trio.current_time()
        while len(good.peer.received) < 50:
            await trio.sleep(0.5)
        assert trio.current_time() - begin <= 50.5


# --- limits


async def test_bytes_are_spread_over_time_and_long_pauses_release(autojump_clock):
    stage = Stage(files=4, rate_mb_s=0.0001)  # a file is 1000 bytes: 10 s
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(25)
        assert len(stage.peer.received) == 3
        assert stage.peer.open == 0
        await trio.sleep(10)
        assert (await stage.row()).state is ExportState.COMPLETED
        assert stage.peer.tries == [0, 10, 20, 30]


async def test_rate_counts_over_all_associations(autojump_clock):
    stage = Stage(files=1, rate_mb_s=1000 / MB, max_associations=5)
    async with running(stage.actor):
        await stage.open(*[an_export(n) for n in range(30)])
        await trio.sleep(20.5)
        assert len(stage.peer.received) == 21


async def test_stop_does_not_wait_for_the_rate(autojump_clock):
    stage = Stage(files=3, rate_mb_s=0.000001)
    async with running(stage.actor) as nursery:
        await stage.open()
        await trio.sleep(1)
        stage.wake.close()
        await trio.sleep(0.1)
        assert not nursery.child_tasks
    assert (await stage.row()).sent == 1


@pytest.fixture
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def clock(seconds):
    return f"{datetime.fromtimestamp(wall() + seconds, UTC):%H:%M}"


async def test_nothing_is_sent_outside_the_window(autojump_clock, utc):
    stage = Stage(window=f"{clock(7200)}-{clock(10_800)}")
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(7000)
        assert stage.peer.tries == []
        await trio.sleep(200 + POLL_S)
        assert (await stage.row()).state is ExportState.COMPLETED


async def test_what_is_under_way_at_the_end_of_the_window_goes_on_in_the_next(autojump_clock, utc):
    stage = Stage(files=100, window=f"{clock(0)}-{clock(3600)}")
    stage.peer.store_s = 50.0
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(4 * 3600)
        row = await stage.row()
        assert (row.state, row.try_count) == (ExportState.QUEUED, 0)
        assert 3500 / 50 <= row.sent <= 3600 / 50 + BATCH
        await trio.sleep(24 * 3600)
        assert (await stage.row()).state is ExportState.COMPLETED
        assert len(stage.peer.received) == 100


# --- warnings


@pytest.mark.parametrize(("policy", "state"), [
    ("delivered", ExportState.COMPLETED), ("failed", ExportState.FAILED),
])  # fmt: skip
async def test_warning_counts_as_the_policy_says(autojump_clock, policy, state):
    stage = Stage(warnings=policy)
    stage.peer.answers["/job-1/1.dcm"] = [WARNING] * 9
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1000)
        assert (await stage.row()).state is state
        assert stage.peer.received.count("/job-1/1.dcm") == 1
        outcome = (await stage.ledger.outcomes("export-1"))[1]
        assert (outcome.status, outcome.delivered) == (0xB000, policy == "delivered")
        assert ("0xB000" in outcome.error) == (policy == "failed")


@pytest.mark.parametrize(("held", "report"), [(1, "success"), (2, "success"), (3, "failure")])
async def test_failure_is_reported_over_the_threshold_and_files_are_kept_below_it(
    autojump_clock, held, report
):
    stage = Stage(files=1)
    stage.outputs.sop_classes = [CT] * 4
    stage.peer.answers = {f"/job-1/{n}.dcm": [NEVER] for n in range(held)}
    async with running(stage.actor):
        await stage.open(an_export(instances=4))
        await trio.sleep(1)
        assert (await stage.row()).state is ExportState.FAILED
        assert stage.events[-1].facts["report"] == report


# --- orders of operators


async def failed(stage):
    stage.peer.answers = {"/job-1/1.dcm": [NEVER], "/job-1/2.dcm": [LATER] * 3}
    await stage.open()
    await trio.sleep(1000)
    assert (await stage.row()).state is ExportState.FAILED


async def test_retry_sends_what_was_refused_and_what_was_given_up(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await failed(stage)
        before = len(stage.peer.received)
        row = await stage.retry()
        assert (row.state, row.try_count, row.failed, row.error) == (ExportState.QUEUED, 0, 0, "")
        await trio.sleep(1)
        assert (await stage.row()).state is ExportState.COMPLETED
        assert sorted(stage.peer.received[before:]) == ["/job-1/1.dcm", "/job-1/2.dcm"]


async def test_retry_of_some_leaves_the_others_held(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await failed(stage)
        _, first, second = await stage.ledger.outcomes("export-1")
        before = len(stage.peer.received)
        wanted = [second.sop_instance_uid]
        assert (await stage.retry(key="k", instances=wanted)).state is ExportState.QUEUED
        await trio.sleep(1)
        assert stage.peer.received[before:] == ["/job-1/2.dcm"]
        row = await stage.row()
        assert (row.state, row.sent, row.failed) == (ExportState.FAILED, 2, 1)
        assert (await stage.retry(key="k", instances=wanted)).state is ExportState.FAILED
        assert (await stage.retry(key="k")).refusal is OrderRefusal.KEY
        assert (await stage.retry(instances=wanted)).refusal is OrderRefusal.STATE  # delivered
        assert (await stage.retry(instances=[first.sop_instance_uid])).state is ExportState.QUEUED
        await trio.sleep(1)
        assert (await stage.row()).state is ExportState.COMPLETED


async def test_clock_that_moves_between_two_looks_delays_nothing(autojump_clock):
    ticks = itertools.count()
    stage = Stage(now=lambda: wall() + 1e-6 * next(ticks))
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1)
        assert (await stage.row()).state is ExportState.COMPLETED


async def test_retry_of_anything_else_is_refused(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1)
        refused = await stage.retry()
        assert (refused.refusal, "Completed" in refused.why) == (OrderRefusal.STATE, True)
        assert (await stage.retry("export-9")).refusal is OrderRefusal.UNKNOWN


async def test_repeated_retry_is_answered_and_changes_nothing(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await failed(stage)
        await stage.retry(key="k")
        await trio.sleep(1)
        assert (await stage.retry(key="k")).state is ExportState.COMPLETED
        await stage.open(an_export(2))
        assert (await stage.retry("export-2", key="k")).refusal is OrderRefusal.KEY


async def test_retry_is_obeyed_while_something_is_being_sent(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await failed(stage)
        stage.peer.store_s = 1000.0
        await stage.open(an_export(2))
        await trio.sleep(1)
        with trio.fail_after(1):
            assert (await stage.retry()).state is ExportState.QUEUED
        notify(stage.wake)
