"""The wall clock jumps while the adapter is down, or runs (F76): no group closes early or never."""

import pytest
import trio
from actor_ports import running, wall
from test_entity import Stage, instance, left_behind

HOUR, TEN_YEARS = 3600.0, 315_360_000.0


@pytest.mark.parametrize("back", [HOUR, TEN_YEARS])
async def test_group_of_the_future_closes_in_time(autojump_clock, back):
    """The clock was set back while the adapter was down."""
    stage = Stage(timeout_s=5.0)
    left_behind(stage, opened_ago=100.0 - back, arrived_ago=3.0 - back)
    async with running(stage.actor):
        await trio.sleep(4.9)
        assert stage.disk.closed == {}
        await trio.sleep(0.2)
        assert list(stage.disk.closed) == ["group-old"]


@pytest.mark.parametrize("forward", [HOUR, TEN_YEARS])
async def test_group_of_long_ago_closes_at_once_and_whole(autojump_clock, forward):
    """The clock was set forward while the adapter was down."""
    stage = Stage(timeout_s=5.0)
    left_behind(stage, opened_ago=100.0 + forward, arrived_ago=3.0 + forward)
    async with running(stage.actor):
        await trio.sleep(0.1)
        assert list(stage.disk.closed) == ["group-old"]
        assert stage.events[-1].facts["instances"] == 4


@pytest.mark.parametrize("jump", [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS])
async def test_jump_while_a_group_is_open_changes_nothing(autojump_clock, jump):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        await stage.store(instance(1))
        stage.actor.now = lambda: wall() + jump
        await trio.sleep(3)
        await stage.store(instance(2))
        await trio.sleep(4.9)
        assert stage.disk.closed == {}
        await trio.sleep(0.2)
        assert len(stage.disk.closed) == 1
