"""Application entity: who has sent to a group, and results of ours that come back in."""

import msgspec
import pytest
import trio
import trio.testing
from actor_ports import CT, running
from test_entity import Stage, instance

from adapter.channels import ask
from adapter.domain.messages import Ignored, Placement, Refused, StoreRequest
from adapter.domain.own_results import Origin, OwnResult
from adapter.domain.routing import SENDERS_MAX

ORIGIN = Origin("job-1", "BRAIN", "p1")


def from_sender(title, number=1, **changes):
    return msgspec.structs.replace(instance(number, **changes), calling_ae_title=title)


def senders_added(stage):
    return [what[1] for call, what in stage.disk.calls if call == "add_sender"]


async def test_every_sender_of_a_group_is_recorded_once(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        for number, title in enumerate(["CT1", "CT2", "CT1", "CT3", "CT2"]):
            await stage.store(from_sender(title, number))
    assert senders_added(stage) == ["CT2", "CT3"]  # the first one opened it


async def test_sender_that_cannot_be_recorded_is_refused_for_now(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await stage.store(from_sender("CT1"))
        stage.disk.faults = ["add_sender"]
        assert isinstance(await stage.place(from_sender("CT2", 2)), Refused)
        assert isinstance(await stage.store(from_sender("CT2", 2)), Placement)
    assert senders_added(stage) == ["CT2", "CT2"]


async def test_one_sender_too_many_begins_a_group_of_its_own(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        for number in range(SENDERS_MAX + 2):
            await stage.store(from_sender(f"CT{number}", number))
        await trio.sleep(60)
    sizes = sorted(len(group.record.calling_ae_titles) for group in stage.disk.closed.values())
    assert sizes == [2, SENDERS_MAX]


async def test_group_does_not_close_while_a_sender_is_recorded(autojump_clock):
    stage = Stage(timeout_s=5.0)
    slow = stage.disk.add_sender

    async def add_sender(group_id, title):
        await trio.sleep(60)
        assert not stage.disk.closed
        await slow(group_id, title)

    stage.disk.add_sender = add_sender
    async with running(stage.actor):
        await stage.store(from_sender("CT1"))
        answer = await ask(
            stage.requests, lambda r: StoreRequest(instance=from_sender("CT2", 2), reply=r), 100.0
        )
        assert isinstance(answer, Placement)


@pytest.mark.parametrize(("guard", "is_ignored"), [(True, True), (False, False)])
async def test_result_of_its_own_pipeline_is_ignored_and_says_why(
    autojump_clock, guard, is_ignored
):
    stage = Stage(loop_guard=guard)
    await stage.own_results.remember(ORIGIN, [OwnResult(CT, "1.2.1.1")])
    async with running(stage.actor):
        answer = await stage.place(instance(1))
        assert isinstance(answer, Ignored) == is_ignored
        assert isinstance(await stage.place(instance(2)), Placement)
        told = [event.facts["why"] for event in stage.events if event.type == "instance.ignored"]
        assert told == (["result of job-1"] if is_ignored else [])


async def test_instances_of_a_class_that_may_come_back_are_asked_about_one_by_one(autojump_clock):
    stage = Stage()
    await stage.own_results.remember(ORIGIN, [OwnResult("1.2.3", "1.2.9")])
    async with running(stage.actor):
        assert (await stage.place(instance(1))).lease_s > 0
        assert (await stage.place(instance(2, sop_class="1.2.3"))).lease_s == 0
