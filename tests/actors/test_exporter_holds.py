"""Exporters whose destination an operator holds: nothing is sent, nothing is lost."""

import pytest
import trio
from actor_ports import an_export
from exporting import Stage

from adapter.channels import ask
from adapter.domain.destination_rows import DestinationHold
from adapter.domain.exporter_orders import DestinationOrder
from adapter.domain.exporting import OUTAGE_PAUSE_S_MAX
from adapter.domain.tables import ExportState
from adapter.supervision import REPLICA, supervise

HOLD = DestinationHold(destination="pacs", why="migration", at=1.0)


async def order(stage, hold):
    return await ask(stage.orders, lambda reply: DestinationOrder(hold=hold, reply=reply), 10.0)


async def start(nursery, stage):
    await nursery.start(supervise, stage.actor, REPLICA, stage.events.append)


async def test_held_destination_gets_nothing_until_it_is_released(autojump_clock):
    stage = Stage()
    async with trio.open_nursery() as nursery:
        await start(nursery, stage)
        assert await order(stage, HOLD)
        await stage.open(an_export(instances=3))
        await trio.sleep(86_400)
        assert stage.peer.received == []
        assert (await stage.row()).state is ExportState.QUEUED
        for _ in range(2):
            assert await order(stage, None)
        await trio.sleep(1)
        assert (await stage.row()).state is ExportState.COMPLETED
        assert stage.told("destination") == [
            "destination.held", "destination.released", "destination.up",
        ]  # fmt: skip
        nursery.cancel_scope.cancel()


async def test_export_in_hand_stops_after_its_batch_and_goes_on_with_the_rest(autojump_clock):
    stage = Stage(files=40)
    async with trio.open_nursery() as nursery:
        await start(nursery, stage)

        def held():
            stage.peer.stored = lambda: None
            nursery.start_soon(order, stage, HOLD)

        stage.peer.stored = held
        await stage.open(an_export(instances=40))
        await trio.sleep(100)
        sent = list(stage.peer.received)
        assert 0 < len(sent) < 40
        row = await stage.row()
        assert (row.state, row.sent, row.try_count) == (ExportState.QUEUED, len(sent), 0)
        await order(stage, None)
        await trio.sleep(100)
        assert (await stage.row()).state is ExportState.COMPLETED
        assert len(stage.peer.received) == len(set(stage.peer.received)) == 40
        nursery.cancel_scope.cancel()


async def test_held_destination_that_is_down_is_not_probed(autojump_clock):
    stage = Stage()
    stage.peer.up = False
    async with trio.open_nursery() as nursery:
        await start(nursery, stage)
        await stage.open(an_export(instances=3))
        await trio.sleep(10)
        await order(stage, HOLD)
        tries = len(stage.told("destination"))
        stage.peer.up = True
        await trio.sleep(10 * OUTAGE_PAUSE_S_MAX)
        assert len(stage.told("destination")) == tries
        await order(stage, None)
        await trio.sleep(2 * OUTAGE_PAUSE_S_MAX)
        assert (await stage.row()).state is ExportState.COMPLETED
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("hold", [HOLD, None])
async def test_start_knows_the_hold(autojump_clock, hold):
    stage = Stage()
    if hold:
        await stage.ledger.holds.put(hold)
    async with trio.open_nursery() as nursery:
        await start(nursery, stage)
        await stage.open(an_export(instances=3))
        await trio.sleep(100)
        assert bool(stage.peer.received) is (hold is None)
        assert ("destination.held" in stage.told("destination")) is bool(hold)
        nursery.cancel_scope.cancel()
