"""Application entity: limits, orders and policies of its groups.

Clara scenarios T-012, T-013, T-015, T-016, T-019, T-029, T-030.
"""

import msgspec
import pytest
import trio
import trio.testing
from actor_ports import running, wall
from fakes.placements import first_group, settled
from test_entity import STUDY, Stage, instance, left_behind

from adapter.actors.group_keeper import RETRY_S
from adapter.channels import ask
from adapter.domain.messages import (
    AssociationReleased,
    GroupOrdered,
    Ignored,
    InstancesSettled,
    OrderOutcome,
    Placement,
    Refused,
)
from adapter.domain.records import Duplicate, GroupHold

DONE, UNKNOWN, UNAVAILABLE = OrderOutcome.DONE, OrderOutcome.UNKNOWN, OrderOutcome.UNAVAILABLE

TAKE_IN = ("release_staged", "merge_released")


async def order(stage, group_id, what, seconds=0.0):
    outcome = await ask(
        stage.requests,
        lambda reply: GroupOrdered(group_id=group_id, order=what, seconds=seconds, reply=reply),
        5.0,
    )
    await trio.testing.wait_all_tasks_blocked()
    return outcome


async def release(stage, association="a-1"):
    return await ask(
        stage.requests,
        lambda reply: AssociationReleased(association=association, reply=reply),
        5.0,
    )


def last(stage, kind):
    return next(event for event in reversed(stage.events) if event.type == kind)


# --- max_instances


async def test_group_closes_when_it_has_enough(autojump_clock):
    stage = Stage(max_instances=3)
    async with running(stage.actor):
        groups = [first_group(await stage.store(instance(n))) for n in range(7)]
        await trio.testing.wait_all_tasks_blocked()
        assert groups == ["group-000001"] * 3 + ["group-000002"] * 3 + ["group-000003"]
        assert trio.current_time() == 0
        assert list(stage.disk.closed) == ["group-000001", "group-000002"]
        assert last(stage, "group.closed").facts["instances"] == 3


async def test_instances_on_their_way_count_as_there(autojump_clock):
    """Several associations at once must not overfill a group."""
    stage = Stage(max_instances=2)
    async with running(stage.actor):
        placed = [await stage.place(instance(n, association=f"a-{n}")) for n in range(4)]
        assert [first_group(p)[-1] for p in placed] == ["1", "1", "2", "2"]
        assert {p.lease_s for p in placed} == {0.0}
        for n in range(4):
            await stage.settle(instance(n, association=f"a-{n}"), placed[n])
        assert len(stage.disk.closed) == 2


async def test_group_of_which_an_instance_never_came_closes_when_quiet(autojump_clock):
    stage = Stage(max_instances=2, timeout_s=5.0)
    async with running(stage.actor):
        await stage.store(instance(1))
        await stage.store(instance(2), stored=False)
        assert stage.disk.closed == {}
        await trio.sleep(5.1)
        assert last(stage, "group.closed").facts["instances"] == 1


async def test_recovered_group_with_enough_closes_at_once(autojump_clock):
    stage = Stage(max_instances=4)
    left_behind(stage, arrived_ago=0.0)
    async with running(stage.actor):
        assert first_group(await stage.place(instance())) != "group-old"
        await trio.testing.wait_all_tasks_blocked()
        assert list(stage.disk.closed) == ["group-old"]


# --- by association


async def test_group_of_an_association_with_timeout_0_closes_at_its_end(autojump_clock):
    stage = Stage(grouping="association", timeout_s=0)
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await trio.sleep(1000)
        assert first_group(await stage.store(instance(2, study="1.3"))) == first_group(first)
        other = await stage.store(instance(3, association="a-2"))
        assert first_group(other) != first_group(first)
        await stage.end("a-1")
        assert list(stage.disk.closed) == [first_group(first)]
        await stage.end("a-2")
        assert list(stage.disk.closed) == [first_group(first), first_group(other)]


async def test_group_of_an_association_closes_so_long_after_its_end(autojump_clock):
    stage = Stage(grouping="association", timeout_s=5)
    async with running(stage.actor):
        await stage.store(instance(1))
        await trio.sleep(1000)
        await stage.end("a-1")
        await trio.sleep(4.9)
        assert stage.disk.closed == {}
        await trio.sleep(0.2)
        assert len(stage.disk.closed) == 1


async def test_association_that_never_ends_closes_its_group_at_its_maximum_age(autojump_clock):
    stage = Stage(grouping="association", timeout_s=0, max_age_s=100)
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await trio.sleep(101)
        assert list(stage.disk.closed) == [first_group(first)]
        assert first_group(await stage.store(instance(2))) != first_group(first)


async def test_one_association_has_a_group_for_each_study_where_both_count(autojump_clock):
    stage = Stage(grouping=["association", STUDY], timeout_s=0)
    async with running(stage.actor):
        for n in range(6):
            await stage.store(instance(n, study=f"1.{n % 3}"))
        await stage.end("a-1")
        assert len(stage.disk.closed) == 3


async def test_group_of_an_association_of_an_earlier_process_is_over(autojump_clock):
    stage = Stage(grouping="association", timeout_s=5)
    stage.disk.add(msgspec.structs.replace(old_record(), association="a-9"), 2, wall() - 3.0)
    async with running(stage.actor):
        await trio.sleep(2.1)
        assert list(stage.disk.closed) == ["group-old"]


def old_record():
    stage = Stage()
    left_behind(stage)
    return stage.disk.open["group-old"].record


# --- fallback


async def test_instances_without_the_attribute_are_visible_and_become_a_group(autojump_clock):
    """T-029, W-06: Clara ignored them and leaked their files."""
    stage = Stage(grouping="0010,0020", timeout_s=5.0)
    async with running(stage.actor):
        first = await stage.store(instance(1))
        assert first_group(await stage.store(instance(2, association="a-2"))) == first_group(first)
        assert first_group(await stage.store(instance(3, study="1.3"))) != first_group(first)
        opened = last(stage, "group.opened")
        assert opened.facts["fallback"] is True
        await trio.sleep(5.1)
        assert len(stage.disk.closed) == 2


# --- late arrivals


async def closed_once(stage):
    first = await stage.store(instance(1))
    await stage.end("a-1")
    await trio.sleep(stage.entity.timeout_s + 0.1)
    assert first_group(first) in stage.disk.closed
    return first_group(first)


async def test_late_instances_make_a_new_job_by_default(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await closed_once(stage)
        placement = await stage.store(instance(2))
        assert stage.disk.open[first_group(placement)].record.supplements == ""
        assert stage.disk.remembered == {}


async def test_late_instances_are_ignored_if_that_is_wanted(autojump_clock):
    stage = Stage(late_arrivals="ignore", late_arrival_window_s=100)
    async with running(stage.actor):
        await closed_once(stage)
        assert await stage.place(instance(2)) == Ignored(why="late")
        assert last(stage, "instance.ignored").facts["why"] == "late"
        assert stage.disk.open == {}
        assert type(await stage.place(instance(3, study="1.3"))) is Placement
        await trio.sleep(100)
        assert type(await stage.place(instance(2))) is Placement


async def test_late_instances_supplement_the_first_group(autojump_clock):
    stage = Stage(late_arrivals="supplement")
    async with running(stage.actor):
        first = await closed_once(stage)
        second = await stage.store(instance(2))
        assert stage.disk.open[first_group(second)].record.supplements == first
        assert last(stage, "group.opened").facts["supplements"] == first
        await trio.sleep(6)
        third = await stage.store(instance(3))
        assert stage.disk.open[first_group(third)].record.supplements == first


async def test_closed_groups_are_remembered_over_a_restart(autojump_clock):
    stage = Stage(late_arrivals="ignore")
    async with running(stage.actor):
        await closed_once(stage)
    async with running(stage.actor):
        assert await stage.place(instance(2)) == Ignored(why="late")


async def test_instance_is_late_while_its_group_is_just_being_closed(autojump_clock):
    stage = Stage(late_arrivals="ignore", timeout_s=5.0)
    stage.disk.faults = ["remember_closed"]
    async with running(stage.actor):
        await stage.store(instance(1))
        await trio.sleep(5.1)
        assert stage.disk.closed == {}
        assert await stage.place(instance(2)) == Ignored(why="late")
        await trio.sleep(RETRY_S)
        assert len(stage.disk.closed) == 1


@pytest.mark.parametrize("limit", [{"max_instances": 1}, {"max_age_s": 3}])
async def test_what_follows_a_group_that_was_cut_off_is_not_late(autojump_clock, limit):
    stage = Stage(late_arrivals="ignore", timeout_s=5.0, **limit)
    async with running(stage.actor):
        for n in range(4):
            await stage.store(instance(n))
            await trio.sleep(2)
    assert stage.told("instance") == ["instance.stored"] * 4


async def test_group_an_operator_closed_is_complete(autojump_clock):
    stage = Stage(late_arrivals="ignore")
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert await order(stage, first_group(placement), "close") is DONE
        assert await stage.place(instance(2)) == Ignored(why="late")


async def test_store_that_cannot_say_refuses_for_now(autojump_clock):
    stage = Stage(late_arrivals="ignore")

    async def closed_before(ae_title, processor, key, now):
        stage.disk._may_fail("closed_before", key)
        return ""

    stage.disk.closed_before = closed_before
    stage.disk.faults = ["closed_before"]
    async with running(stage.actor):
        refused = await stage.place(instance())
        assert (type(refused), refused.status) == (Refused, 0xA700)
        assert type(await stage.place(instance())) is Placement


# --- orders


async def test_operator_closes_a_group_now(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        placement = await stage.store(instance())
        assert await order(stage, first_group(placement), "close") is DONE
        assert list(stage.disk.closed) == [first_group(placement)]
        assert trio.current_time() == 0
        assert await order(stage, first_group(placement), "close") is UNKNOWN


async def test_group_that_is_to_be_closed_waits_for_what_is_on_its_way(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        placement = await stage.place(instance(1))
        assert await order(stage, first_group(placement), "close") is DONE
        assert stage.disk.closed == {}
        assert first_group(await stage.place(instance(2))) != first_group(placement)
        await stage.settle(instance(1), placement)
        assert list(stage.disk.closed) == [first_group(placement)]


async def test_held_group_stays_open_and_takes_instances(autojump_clock):
    stage = Stage(timeout_s=5.0, max_age_s=60.0)
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert await order(stage, first_group(placement), "hold") is DONE
        held = last(stage, "group.held").facts
        assert (held["held"], held["why"], held["leftS"]) == (True, "operator", None)
        await trio.sleep(1000)
        assert first_group(await stage.store(instance(2))) == first_group(placement)
        assert stage.disk.closed == {}
        assert await order(stage, first_group(placement), "close") is DONE
        assert list(stage.disk.closed) == [first_group(placement)]


async def test_hold_survives_a_restart(autojump_clock):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        await order(stage, first_group(placement), "hold")
    await trio.sleep(1000)
    async with running(stage.actor):
        await trio.sleep(1000)
        assert stage.disk.closed == {}
        assert last(stage, "group.opened").facts["held"] is True
        await order(stage, first_group(placement), "extend", 0)
        await trio.testing.wait_all_tasks_blocked()
        assert list(stage.disk.closed) == [first_group(placement)]


async def test_extension_counts_from_the_order(autojump_clock):
    stage = Stage(timeout_s=5.0, max_age_s=20.0)
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        await trio.sleep(4)
        assert await order(stage, first_group(placement), "extend", 100.0) is DONE
        extended = last(stage, "group.extended").facts
        assert (extended["leftS"], extended["notBeforeS"]) == (100.0, 100.0)
        await trio.sleep(99.9)
        assert stage.disk.closed == {}
        await trio.sleep(0.2)
        assert list(stage.disk.closed) == [first_group(placement)]


async def test_extension_survives_a_restart_with_the_time_left(autojump_clock):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        await order(stage, first_group(placement), "extend", 100.0)
        await trio.sleep(30)
    await trio.sleep(30)
    async with running(stage.actor):
        await trio.sleep(39.9)
        assert stage.disk.closed == {}
        await trio.sleep(0.2)
        assert list(stage.disk.closed) == [first_group(placement)]


async def test_extension_ends_a_hold(autojump_clock):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        await order(stage, first_group(placement), "hold")
        await trio.sleep(100)
        await order(stage, first_group(placement), "extend", 10)
        await trio.sleep(10.1)
        assert list(stage.disk.closed) == [first_group(placement)]


async def test_order_that_cannot_be_recorded_has_no_effect(autojump_clock):
    stage = Stage(timeout_s=5.0)
    stage.disk.faults = ["hold_group"]
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert await order(stage, first_group(placement), "hold") is UNAVAILABLE
        await trio.sleep(5.1)
        assert list(stage.disk.closed) == [first_group(placement)]
        assert await order(stage, first_group(placement), "hold") is UNKNOWN


# --- clock


@pytest.mark.parametrize("jump", [-315_360_000.0, -3600.0, 3600.0, 315_360_000.0])
async def test_jump_of_the_wall_clock_moves_no_timer_of_a_running_entity(autojump_clock, jump):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        stage.actor.now = lambda: wall() + jump
        await stage.store(instance(2))
        await trio.sleep(4.9)
        assert stage.disk.closed == {}
        await trio.sleep(0.2)
        assert list(stage.disk.closed) == [first_group(placement)]


@pytest.mark.parametrize("jump", [-315_360_000.0, -3600.0, 0.0, 3600.0, 315_360_000.0])
async def test_jump_of_the_wall_clock_while_down_makes_no_group_wait_longer(autojump_clock, jump):
    stage = Stage(timeout_s=50.0, max_age_s=100.0)
    left_behind(stage, opened_ago=10.0 + jump, arrived_ago=10.0 + jump)
    stage.disk.open["group-old"] = msgspec.structs.replace(
        stage.disk.open["group-old"],
        hold=GroupHold(extended_at=wall() - 10.0 - jump, extended_s=30.0),
    )
    async with running(stage.actor):
        await trio.sleep(50.1)
        assert list(stage.disk.closed) == ["group-old"]
        assert first_group(await stage.place(instance())) != "group-old"


# --- aborted associations


async def test_by_default_nothing_waits_for_a_release(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert placement.association == ""
        await stage.end("a-1")
        await trio.sleep(6)
        assert last(stage, "group.closed").facts["instances"] == 1
        assert [call for call, _ in stage.disk.calls] == ["open_group", "close_group"]


@pytest.mark.parametrize("policy", ["drop", "hold"])
async def test_released_instances_join_their_group(autojump_clock, policy):
    stage = Stage(on_abort=policy, timeout_s=5.0)
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert placement.association == "a-1"
        await trio.sleep(1000)
        assert stage.disk.closed == {}
        assert await release(stage)
        taken_in = [(call, (first_group(placement), "a-1")) for call in TAKE_IN]
        assert stage.disk.calls[-2:] == taken_in
        await stage.end("a-1")
        await trio.testing.wait_all_tasks_blocked()
        assert last(stage, "group.closed").facts["instances"] == 1
        assert "drop_staged" not in [call for call, _ in stage.disk.calls]


async def test_instances_of_an_aborted_association_are_dropped(autojump_clock):
    stage = Stage(on_abort="drop", timeout_s=5.0)
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        assert first_group(await stage.store(instance(2, association="a-2"))) == first_group(
            placement
        )
        await stage.end("a-1")
        dropped = last(stage, "group.dropped")
        assert (dropped.association, dropped.facts) == ("a-1", {"instances": 1, "bytes": 100})
        assert await release(stage, "a-2")
        await stage.end("a-2")
        await trio.sleep(5.1)
        assert last(stage, "group.closed").facts["instances"] == 1


async def test_instances_of_an_aborted_association_hold_their_group(autojump_clock):
    stage = Stage(on_abort="hold", timeout_s=5.0)
    async with running(stage.actor):
        placement = await stage.store(instance(1))
        await stage.end("a-1")
        assert last(stage, "group.held").facts["why"] == "an association was aborted"
        assert tuple(call for call, _ in stage.disk.calls[-2:]) == TAKE_IN
        await trio.sleep(1000)
        assert stage.disk.closed == {}
        assert await order(stage, first_group(placement), "close") is DONE
        assert last(stage, "group.closed").facts["instances"] == 1


async def test_group_of_an_aborted_association_with_timeout_0_is_empty_and_closes(autojump_clock):
    stage = Stage(grouping="association", timeout_s=0, on_abort="drop")
    async with running(stage.actor):
        await stage.store(instance(1))
        await stage.end("a-1")
        assert last(stage, "group.closed").facts["instances"] == 0


async def test_association_is_to_be_aborted_if_what_it_staged_cannot_be_taken_in(autojump_clock):
    stage = Stage(on_abort="drop", timeout_s=5.0)
    stage.disk.faults = ["release_staged", "drop_staged"]
    async with running(stage.actor):
        await stage.store(instance(1))
        assert not await release(stage)
        await stage.end("a-1")
        assert stage.told().count("group.dropped") == 0
        await trio.sleep(RETRY_S + 0.1)
        assert stage.told().count("group.dropped") == 1


async def test_released_instances_are_merged_until_that_works_and_told_once(autojump_clock):
    stage = Stage(on_abort="drop", timeout_s=5.0)
    stage.disk.faults = ["merge_released", "merge_released"]
    stage.disk.duplicates = [("1.2.1.1", Duplicate(differs=True, kept="first"), 100)]
    async with running(stage.actor):
        await stage.store(instance(1))
        await stage.store(instance(2))
        assert not await release(stage)
        await stage.end("a-1")
        await trio.sleep(RETRY_S + 5.1)
        assert [call for call, _ in stage.disk.calls] == [
            "open_group", "release_staged", *3 * ["merge_released"], "close_group"
        ]  # fmt: skip
        assert last(stage, "group.closed").facts["instances"] == 1
        told = [event.type for event in stage.events]
        assert told.count("instance.duplicate") == 1
        assert "group.dropped" not in told


async def test_what_was_in_the_group_already_is_told_at_the_release(autojump_clock):
    stage = Stage(on_abort="drop", timeout_s=5.0)
    again = Duplicate(differs=True, kept="first")
    async with running(stage.actor):
        await stage.store(instance(1))
        await stage.store(instance(2))
        stage.disk.duplicates = [("1.2.1.1", again, 100)]
        assert await release(stage)
        told = last(stage, "instance.duplicate")
        assert told.facts == {"sopInstanceUid": "1.2.1.1", "differs": True, "kept": "first"}
        await stage.end("a-1")
        await trio.sleep(5.1)
        closed = last(stage, "group.closed").facts
        assert (closed["instances"], closed["bytes"]) == (1, 100)


def staged_left_behind(stage, **what):
    left_behind(stage, arrived_ago=1.0)
    stage.disk.open["group-old"] = msgspec.structs.replace(stage.disk.open["group-old"], **what)


@pytest.mark.parametrize(
    ("policy", "calls", "instances"),
    [
        ("drop", ["drop_staged", "close_group"], 4),
        ("keep", [*TAKE_IN, "close_group"], 6),
        ("hold", ["hold_group", *TAKE_IN], None),
    ],
)
async def test_association_that_a_kill_ended_counts_as_aborted(
    autojump_clock, policy, calls, instances
):
    stage = Stage(on_abort=policy, timeout_s=5.0)
    staged_left_behind(stage, staged={"a-9": (2, 20)})
    async with running(stage.actor):
        await trio.sleep(6)
        assert [call for call, _ in stage.disk.calls] == calls
        if instances is not None:
            assert last(stage, "group.closed").facts["instances"] == instances


@pytest.mark.parametrize("policy", ["drop", "keep", "hold"])
async def test_association_that_was_released_before_a_kill_is_kept(autojump_clock, policy):
    stage = Stage(on_abort=policy, timeout_s=5.0)
    staged_left_behind(stage, unmerged={"a-9": (2, 20)})
    async with running(stage.actor):
        await trio.sleep(6)
        assert [call for call, _ in stage.disk.calls] == ["merge_released", "close_group"]
        assert last(stage, "group.closed").facts["instances"] == 6


async def test_association_that_outlives_a_crash_of_its_entity_can_be_released(autojump_clock):
    stage = Stage(on_abort="drop", timeout_s=5.0)
    async with running(stage.actor):
        placement = await stage.store(instance(1))
    staged = stage.disk.open[first_group(placement)]
    stage.disk.open[first_group(placement)] = msgspec.structs.replace(
        staged, staged={"a-1": (1, 100)}
    )
    async with running(stage.actor):
        await trio.sleep(1000)
        assert "drop_staged" not in [call for call, _ in stage.disk.calls]
        assert await release(stage)
        await stage.end("a-1")
        await trio.sleep(6)
        assert last(stage, "group.closed").facts["instances"] == 1


async def test_release_of_nothing_is_granted(autojump_clock):
    stage = Stage(on_abort="drop")
    async with running(stage.actor):
        assert await release(stage)


# --- what is stored, and what is not


async def test_ignored_instance_opens_no_group(autojump_clock):
    """T-013, W-46."""
    stage = Stage(ignored_sop_classes=["1.2.9"], required_attributes=["0010,0020"])
    async with running(stage.actor):
        assert type(await stage.place(instance(sop_class="1.2.9"))) is Ignored
        assert stage.disk.calls == []


async def test_required_attributes_are_named_if_they_miss(autojump_clock):
    stage = Stage(required_attributes=["0010,0020", "0020,000d", "0008,0050"])
    async with running(stage.actor):
        refused = await stage.place(instance())
        assert refused == Refused(status=0xA900, comment="absent or empty: 0010,0020, 0008,0050")
        assert stage.disk.calls == []
        full = msgspec.structs.replace(
            instance(), attributes={STUDY: "1", "0010,0020": "4711", "0008,0050": "A1"}
        )
        assert type(await stage.place(full)) is Placement
    assert stage.told("instance") == ["instance.refused"]


@pytest.mark.parametrize(
    ("key", "policy"), [(False, "keep-first"), (True, "replace"), ("keep-both", "keep-both")]
)
async def test_policy_on_a_second_instance_is_passed_on(autojump_clock, key, policy):
    """T-015, T-016, W-49."""
    stage = Stage(overwrite_same_instance=key)
    async with running(stage.actor):
        assert (await stage.place(instance())).same_instance == policy


@pytest.mark.parametrize(("kept", "instances"), [("first", 1), ("last", 1), ("both", 2)])
async def test_second_instance_is_told_and_counted_if_it_is_kept(autojump_clock, kept, instances):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        await stage.store(instance(1))
        await stage.store(instance(1), duplicate=Duplicate(differs=True, kept=kept))
        told = last(stage, "instance.duplicate").facts
        assert (told["differs"], told["kept"]) == (True, kept)
        await trio.sleep(5.1)
        assert last(stage, "group.closed").facts["instances"] == instances


# --- many


async def test_ten_thousand_open_groups_have_a_timer_each_and_close_in_time(autojump_clock):
    """No thread, no polling: the clock jumps from arrival to close."""
    stage = Stage(timeout_s=5.0)
    count = 10_000
    async with running(stage.actor):
        for number in range(count):
            one = instance(number, study=f"1.{number}", association=f"a-{number % 7}")
            await stage.notes.send(InstancesSettled(settled=[settled(one, await stage.place(one))]))
        statistics = trio.lowlevel.current_statistics()
        assert count <= statistics.tasks_living < count + 20
        assert len(stage.disk.open) == count
        await trio.sleep(5.1)
        assert stage.disk.open == {}
        assert len(stage.disk.closed) == count
    assert stage.told().count("group.closed") == count
