"""An AE Title with several processors: an instance joins a group of each that wants it."""

import msgspec
import pytest
import trio
import trio.testing
from actor_ports import BugError, running, wall
from fakes.placements import settled
from test_entity import SERIES, STUDY, Stage, instance
from test_entity_policies import order, release

from adapter.channels import ask
from adapter.domain.assignments import load_processors
from adapter.domain.entities import OneProcessor
from adapter.domain.messages import (
    Arrival,
    EntityChanged,
    Ignored,
    InstanceSettled,
    InstancesSettled,
    OrderOutcome,
    Placement,
    Refused,
    StoreRequest,
)
from adapter.domain.placing import LEASE_S_MAX
from adapter.domain.records import Duplicate, GroupRecord
from adapter.supervision import REPLICA, supervise

MODALITY = "0008,0060"
BY_STUDY = OneProcessor(name="by-study", processor="aetitle")
BY_SERIES = OneProcessor(name="by-series", processor="aetitle", grouping=SERIES, timeout_s=20.0)
OTHER_STUDY = OneProcessor(name="other-study", processor="aetitle", pipelines={"other": "p2"})


class Choosy:
    """Wants what has a modality; crashes on some."""

    name, attributes, timeout_s = "Choosy", frozenset({MODALITY}), 5.0

    def group_key(self, one):
        modality = one.attributes.get(MODALITY)
        if modality == "XX":
            raise BugError(modality)
        return modality

    def jobs(self, group):
        return []


def several(*processors, **changes):
    return Stage(processors=list(processors or (BY_STUDY, BY_SERIES)), **changes)


def with_choosy(**changes):
    """Return a stage whose second processor is a plug-in."""
    stage = several(BY_STUDY, OTHER_STUDY, **changes)
    first, second = stage.actor.assignments
    stage.actor.assignments = (first, msgspec.structs.replace(second, processor=Choosy()))
    return stage


def of_modality(number, modality):
    one = instance(number)
    return msgspec.structs.replace(one, attributes=one.attributes | {MODALITY: modality})


def groups_of(stage, processor):
    """Return the ids of the open groups of a processor, as they are on disk."""
    found = stage.disk.open.values()
    return [group.record.id for group in found if group.record.processor == processor]


def last(stage, kind):
    return next(event for event in reversed(stage.events) if event.type == kind)


async def change(stage, *processors, **changes):
    """Give the entity other processors."""
    entity = msgspec.structs.replace(stage.entity, processors=list(processors), **changes)
    assignments = load_processors(entity)
    wakes = {}
    for one in assignments:
        wakes[one.name], stage.woken[one.name] = trio.open_memory_channel(1)
    assert await ask(
        stage.requests,
        lambda reply: EntityChanged(
            entity=entity, assignments=assignments, wakes=wakes, reply=reply
        ),
        5.0,
    )


# --- placement


async def test_instance_joins_a_group_of_each_processor(autojump_clock):
    stage = several()
    async with running(stage.actor):
        first = await stage.store(instance(1))
        second = await stage.store(instance(2, series="1.2.2"))
        assert list(first.groups) == ["by-study", "by-series"]
        assert first.groups["by-study"] == second.groups["by-study"]
        assert first.groups["by-series"] != second.groups["by-series"]
        assert len(groups_of(stage, "by-study")) == 1
        assert len(groups_of(stage, "by-series")) == 2


async def test_groups_of_different_processors_never_meet_even_with_one_key(autojump_clock):
    stage = several(BY_STUDY, OTHER_STUDY)
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert len(set(placement.groups.values())) == 2
        assert (await stage.store(instance(2))).groups == placement.groups


async def test_lease_is_the_shortest_of_all(autojump_clock):
    quick = msgspec.structs.replace(BY_STUDY, timeout_s=1.0)
    stage = several(quick, BY_SERIES)
    async with running(stage.actor):
        assert (await stage.place(instance(1))).lease_s == 0.25 < LEASE_S_MAX


async def test_association_that_reads_too_little_for_one_of_them_comes_again(autojump_clock):
    stage = several()
    async with running(stage.actor):
        answer = await ask(
            stage.requests,
            lambda reply: StoreRequest(
                instance=instance(1), grouping=frozenset({STUDY}), reply=reply
            ),
            5.0,
        )
        assert (type(answer), answer.status) == (Refused, 0xA700)


async def test_processor_that_is_not_interested_gets_nothing(autojump_clock):
    stage = with_choosy()
    async with running(stage.actor):
        assert list((await stage.store(instance(1))).groups) == ["by-study"]
        both = await stage.store(of_modality(2, "CT"))
        assert list(both.groups) == ["by-study", "other-study"]


async def test_instance_nobody_wants_is_ignored(autojump_clock):
    stage = with_choosy()
    stage.actor.assignments = stage.actor.assignments[1:]
    async with running(stage.actor):
        assert await stage.place(instance(1)) == Ignored(why="no processor wants it")
        assert stage.disk.open == {}


async def test_plug_in_that_crashes_leaves_nothing_half_placed(autojump_clock):
    stage = with_choosy()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, stage.actor, REPLICA, stage.events.append)
        with pytest.raises(trio.EndOfChannel):
            await stage.place(of_modality(1, "XX"))
        assert stage.disk.open == {}
        await trio.sleep(1.1)
        assert len((await stage.store(of_modality(2, "CT"))).groups) == 2
        nursery.cancel_scope.cancel()
    assert stage.told("actor") == ["actor.started", "actor.crashed", "actor.started"]


async def test_group_waits_for_nothing_if_the_next_cannot_be_opened(autojump_clock):
    """The instance was refused: the group that is open already must still be able to close."""
    stage = several(BY_STUDY, BY_SERIES)
    async with running(stage.actor):
        await stage.store(instance(1))
        stage.disk.faults = ["open_group"]
        refused = await stage.place(instance(2, series="1.2.9"))
        assert (type(refused), refused.status) == (Refused, 0xA700)
        await trio.sleep(5.1)
        assert len(stage.disk.closed) == 1
        assert last(stage, "group.closed").facts["instances"] == 1


async def test_group_does_not_close_while_the_next_one_is_being_opened(autojump_clock):
    stage = several(BY_STUDY, BY_SERIES, timeout_s=5.0)
    async with running(stage.actor):
        first = await stage.store(instance(1))
        open_group = stage.disk.open_group

        async def slowly(record):
            await trio.sleep(4.0)
            await open_group(record)

        stage.disk.open_group = slowly
        await trio.sleep(4.0)
        second = await stage.store(instance(2, series="1.2.9"))
        assert second.groups["by-study"] == first.groups["by-study"]
        assert stage.disk.closed == {}


# --- told


async def test_stored_is_told_once_with_all_groups(autojump_clock):
    stage = several()
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert stage.told("instance") == ["instance.stored"]
        stored = last(stage, "instance.stored")
        assert stored.group == placement.groups["by-study"]
        assert stored.facts["groups"] == list(placement.groups.values())


async def test_only_group_is_not_told_twice(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await stage.store(instance(1))
        assert "groups" not in last(stage, "instance.stored").facts


async def test_duplicate_is_told_for_the_group_that_has_it(autojump_clock):
    stage = several()
    async with running(stage.actor):
        placement = await stage.place(instance(1))
        one, other = placement.groups.values()
        same = Duplicate(differs=False, kept="first")
        arrivals = (Arrival(group_id=one, duplicate=same), Arrival(group_id=other))
        note = InstanceSettled(instance=instance(1), stored=True, arrivals=arrivals)
        await stage.notes.send(InstancesSettled(settled=[note]))
        await trio.testing.wait_all_tasks_blocked()
        assert stage.told("instance") == ["instance.stored", "instance.duplicate"]
        assert last(stage, "instance.duplicate").group == one
        stored = last(stage, "instance.stored")
        assert (stored.group, "groups" in stored.facts) == (other, False)
        await trio.sleep(20.1)
        closed = [event for event in stage.events if event.type == "group.closed"]
        assert {e.group: e.facts["instances"] for e in closed} == {one: 0, other: 1}


async def test_failed_commit_frees_every_group(autojump_clock):
    stage = several()
    async with running(stage.actor):
        placement = await stage.place(instance(1))
        one, other = placement.groups.values()
        arrivals = (Arrival(group_id=one), Arrival(group_id=other, stored=False))
        note = InstanceSettled(instance=instance(1), stored=False, arrivals=arrivals)
        await stage.notes.send(InstancesSettled(settled=[note]))
        await trio.sleep(20.1)
        assert stage.told("instance") == ["instance.refused"]
        assert set(stage.disk.closed) == {one, other}


async def test_group_says_whose_it_is(autojump_clock):
    stage = several()
    async with running(stage.actor):
        await stage.store(instance(1))
        opened = [event for event in stage.events if event.type == "group.opened"]
        assert [event.facts["processor"] for event in opened] == ["by-study", "by-series"]


# --- closing


async def test_each_processor_has_a_time_of_its_own(autojump_clock):
    stage = several()
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        await trio.sleep(5.1)
        assert list(stage.disk.closed) == [placement.groups["by-study"]]
        stage.woken["by-study"].receive_nowait()
        with pytest.raises(trio.WouldBlock):
            stage.woken["by-series"].receive_nowait()
        await trio.sleep(15.0)
        assert list(stage.disk.closed) == list(placement.groups.values())
        stage.woken["by-series"].receive_nowait()


async def test_instance_that_has_joined_a_group_is_not_placed_with_its_processor_again(
    autojump_clock,
):
    """Its other group had closed under a lease; the next of the kind is asked about."""
    stage = several()
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await trio.sleep(5.1)
        again = msgspec.structs.replace(instance(2), joined=("by-series",))
        placement = await stage.place(again)
        assert list(placement.groups) == ["by-study"]
        assert placement.groups["by-study"] != first.groups["by-study"]
        assert placement.lease_s == 0.0


async def test_operator_closes_the_group_of_one_processor(autojump_clock):
    stage = several()
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        closed = placement.groups["by-series"]
        assert await order(stage, closed, "close") is OrderOutcome.DONE
        assert list(stage.disk.closed) == [closed]
        after = await stage.store(instance(2))
        assert after.groups["by-study"] == placement.groups["by-study"]
        assert after.groups["by-series"] != closed


# --- policies


async def test_late_is_what_comes_after_the_group_of_that_processor(autojump_clock):
    stage = several(BY_STUDY, BY_SERIES, late_arrivals="ignore")
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await trio.sleep(5.1)
        late = await stage.store(instance(2))
        assert late.groups == {"by-series": first.groups["by-series"]}
        assert stage.told("instance") == ["instance.stored"] * 2
        await trio.sleep(20.1)
        assert await stage.place(instance(3)) == Ignored(why="late")


async def test_late_group_supplements_that_of_its_processor(autojump_clock):
    stage = several(BY_STUDY, OTHER_STUDY, late_arrivals="supplement")
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await trio.sleep(5.1)
        second = await stage.store(instance(2))
        for processor, group_id in second.groups.items():
            record = stage.disk.open[group_id].record
            assert record.supplements == first.groups[processor]


async def test_instances_are_staged_and_released_in_each_group(autojump_clock):
    stage = several(BY_STUDY, OTHER_STUDY, on_abort="drop")
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert placement.association == "a-1"
        await trio.sleep(100)
        assert stage.disk.closed == {}
        assert await release(stage)
        released = [what for call, what in stage.disk.calls if call == "release_staged"]
        assert released == [(group, "a-1") for group in placement.groups.values()]
        await stage.end("a-1")
        await trio.sleep(5.1)
        assert set(stage.disk.closed) == set(placement.groups.values())


async def test_aborted_association_is_dropped_from_each_group(autojump_clock):
    stage = several(BY_STUDY, OTHER_STUDY, on_abort="drop")
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        await stage.end("a-1")
        dropped = [event.group for event in stage.events if event.type == "group.dropped"]
        assert set(dropped) == set(placement.groups.values())


# --- recovery and change


def left(stage, identifier, processor, key="1.2"):
    record = GroupRecord(
        id=identifier, ae_title="BRAIN", processor=processor, key=key, opened_at=wall()
    )
    stage.disk.add(record, instances=1)


async def test_groups_are_found_again_by_their_processors(autojump_clock):
    stage = several(BY_STUDY, OTHER_STUDY)
    left(stage, "group-a", "by-study")
    left(stage, "group-b", "other-study")
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert placement.groups == {"by-study": "group-a", "other-study": "group-b"}


async def test_group_from_before_there_were_several_is_the_first_ones(autojump_clock):
    stage = several(BY_STUDY, OTHER_STUDY)
    left(stage, "group-a", "")
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert placement.groups["by-study"] == "group-a"
        assert placement.groups["other-study"] != "group-a"


async def test_group_of_a_processor_that_is_gone_closes_as_the_first_ones(autojump_clock):
    stage = several(BY_STUDY, OTHER_STUDY)
    left(stage, "group-a", "gone")
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert "group-a" not in placement.groups.values(), "its key meant something else"
        await trio.sleep(5.1)
        assert "group-a" in stage.disk.closed
        stage.woken["by-study"].receive_nowait()


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_nothing_is_late_for_a_group_of_a_processor_that_is_gone(
    autojump_clock, is_restarted
):
    stage = several(BY_SERIES, OTHER_STUDY, late_arrivals="ignore")
    async with running(stage.actor):
        first = await stage.place(instance(1))
        note = InstancesSettled(settled=[settled(instance(1), first)])
        await stage.notes.send(note)
        for group_id in first.groups.values():
            group = stage.disk.open[group_id]
            stage.disk.open[group_id] = msgspec.structs.replace(group, instances=1)
        await change(stage, BY_STUDY, late_arrivals="ignore")
        if not is_restarted:
            await trio.sleep(5.1)
            assert len(stage.disk.closed) == 2
            assert isinstance(await stage.place(instance(2)), Placement)
    async with running(stage.actor):
        await trio.sleep(5.1)
        assert isinstance(await stage.place(instance(3)), Placement)


async def test_processor_that_comes_back_does_not_go_on_with_what_it_had(autojump_clock):
    stage = several(BY_STUDY, OTHER_STUDY, timeout_s=600.0)
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await change(stage, BY_STUDY)
        await change(stage, BY_STUDY, OTHER_STUDY)
        second = await stage.store(instance(2))
        assert second.groups["by-study"] == first.groups["by-study"]
        assert second.groups["other-study"] != first.groups["other-study"]


async def test_second_processor_comes_while_groups_are_open(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await change(stage, OneProcessor(name="aetitle"), OTHER_STUDY)
        second = await stage.store(instance(2))
        assert second.groups["aetitle"] == first.groups["aetitle"], "nothing has changed for it"
        assert list(second.groups) == ["aetitle", "other-study"]
        await trio.sleep(5.1)
        assert set(stage.disk.closed) == set(second.groups.values())
        for name in second.groups:
            stage.woken[name].receive_nowait()


async def test_processor_goes_while_groups_are_open(autojump_clock):
    stage = several(BY_STUDY, OTHER_STUDY)
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await change(stage, BY_STUDY)
        second = await stage.store(instance(2))
        assert second.groups == {"by-study": first.groups["by-study"]}
        await trio.sleep(5.1)
        assert set(stage.disk.closed) == set(first.groups.values())


async def test_change_of_one_processor_leaves_the_groups_of_the_other_open(autojump_clock):
    stage = several(BY_STUDY, BY_SERIES)
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await change(stage, BY_STUDY, msgspec.structs.replace(BY_SERIES, grouping="association"))
        second = await stage.store(instance(2))
        assert second.groups["by-study"] == first.groups["by-study"]
        assert second.groups["by-series"] != first.groups["by-series"]


async def test_what_is_on_its_way_into_a_group_of_a_processor_that_goes_arrives(autojump_clock):
    stage = several(BY_STUDY, OTHER_STUDY)
    async with running(stage.actor):
        placement = await stage.place(instance(1))
        assert isinstance(placement, Placement)
        await change(stage, BY_STUDY)
        await trio.sleep(100)
        assert stage.disk.closed == {}
        note = InstancesSettled(settled=[settled(instance(1), placement)])
        await stage.notes.send(note)
        await trio.sleep(5.1)
        assert set(stage.disk.closed) == set(placement.groups.values())
        assert last(stage, "group.closed").facts["instances"] == 1
