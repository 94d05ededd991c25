"""Association timer: when a group is due, to the second."""

import pytest
import trio

from adapter.actors.association_timer import AssociationTimer
from adapter.domain.grouping import OpenGroup
from adapter.domain.records import GroupRecord


def group(quiet_s=5.0, age_s=60.0):
    record = GroupRecord(id="group-1", ae_title="BRAIN", key="1", opened_at=0.0)
    now = trio.current_time()
    return OpenGroup(record=record, quiet_s=quiet_s, age_s=age_s, opened=now, last_arrival=now)


def arrive(one, timer):
    one.placed("a")
    timer.restart()
    one.settled("a", trio.current_time())
    timer.restart()


async def test_group_is_due_after_its_quiet_time(autojump_clock):
    await AssociationTimer(group()).wait_due()
    assert trio.current_time() == 5


async def test_every_arrival_restarts_the_quiet_time(autojump_clock):
    one = group()
    timer = AssociationTimer(one)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.wait_due)
        for _ in range(4):
            await trio.sleep(3)
            arrive(one, timer)
    assert trio.current_time() == 17


async def test_maximum_age_is_not_moved_by_arrivals(autojump_clock):
    one = group(age_s=10.0)
    timer = AssociationTimer(one)

    async def arriving():
        while True:
            await trio.sleep(3)
            arrive(one, timer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(arriving)
        await timer.wait_due()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 10


@pytest.mark.parametrize(("age_s", "due_at"), [(1000.0, 105.0), (20.0, 100.0)])
async def test_group_with_an_instance_on_its_way_is_never_due(autojump_clock, age_s, due_at):
    one = group(age_s=age_s)
    timer = AssociationTimer(one)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.wait_due)
        one.placed("a")
        timer.restart()
        await trio.sleep(100)
        assert nursery.child_tasks
        one.settled("a", trio.current_time())
        timer.restart()
    assert trio.current_time() == due_at


async def test_group_that_was_said_to_be_due_had_nothing_on_its_way(autojump_clock):
    """In the moment of the deadline, placing and closing may run in either order."""
    in_time = 0
    for _ in range(30):  # Trio shuffles the tasks of one moment
        one = group()
        timer = AssociationTimer(one)
        async with trio.open_nursery() as nursery:

            async def closing(one=one, timer=timer, scope=nursery.cancel_scope):
                await timer.wait_due()
                assert not one.in_flight
                scope.cancel()

            async def placing(one=one, timer=timer):
                await trio.sleep_until(one.opened + 5)
                one.placed("a")
                timer.restart()
                await trio.sleep(20)

            nursery.start_soon(closing)
            nursery.start_soon(placing)
            await trio.sleep(10)
            in_time += 1
            nursery.cancel_scope.cancel()
    assert in_time > 0


async def test_group_that_is_overdue_is_due_at_once(autojump_clock):
    one = group(quiet_s=-1.0)
    await AssociationTimer(one).wait_due()
    assert trio.current_time() == 0
