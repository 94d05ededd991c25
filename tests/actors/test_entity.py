"""Application entity: where instances go, and when groups close."""

import msgspec
import trio
import trio.testing
from actor_ports import (
    BOOTED_AT,
    CT,
    EXPLICIT,
    Disk,
    Space,
    counting_ids,
    new_ledger,
    running,
    wall,
)
from fakes.placements import ONLY, first_group, settled

from adapter.actors.entity import ApplicationEntityActor
from adapter.actors.group_keeper import RETRY_S
from adapter.channels import ask
from adapter.domain.assignments import load_processors
from adapter.domain.entities import ApplicationEntity
from adapter.domain.messages import (
    AssociationEnded,
    Ignored,
    InstancesSettled,
    Placement,
    ReceivedInstance,
    Refused,
    StoreRequest,
)
from adapter.domain.placing import LEASE_S_MAX
from adapter.domain.records import Duplicate, GroupRecord

STUDY, SERIES = "0020,000D", "0020,000E"
SAME = Duplicate(differs=False, kept="first")


class Stage:
    """An application entity and whoever talks to it."""

    def __init__(self, **changes):
        self.entity = ApplicationEntity(
            **{"name": "brain", "ae_title": "BRAIN", "pipelines": {"seg": "p1"}} | changes
        )
        self.disk, self.space, self.events = Disk(), Space(), []
        self.own_results = new_ledger().own_results
        self.requests, requests = trio.open_memory_channel(0)
        self.notes, notes = trio.open_memory_channel(100)
        assignments = load_processors(self.entity)
        wakes = {one.name: trio.open_memory_channel(1) for one in assignments}
        self.woken = {name: woken for name, (_, woken) in wakes.items()}
        self.actor = ApplicationEntityActor(
            entity=self.entity, assignments=assignments, store=self.disk,
            space=self.space, requests=requests, notes=notes,
            wakes={name: wake for name, (wake, _) in wakes.items()},
            publish=self.events.append,
            new_id=counting_ids(), now=wall, own_results=self.own_results,
        )  # fmt: skip

    def told(self, topic="group"):
        return [event.type for event in self.events if event.topic == topic]

    async def place(self, instance):
        return await ask(
            self.requests, lambda reply: StoreRequest(instance=instance, reply=reply), 5.0
        )

    async def settle(self, instance, placement, *, stored=True, duplicate=None):
        one = settled(instance, placement, stored=stored, duplicate=duplicate)
        await self.notes.send(InstancesSettled(settled=[one]))
        await trio.testing.wait_all_tasks_blocked()

    async def store(self, instance, **how):
        placement = await self.place(instance)
        await self.settle(instance, placement, **how)
        return placement

    async def end(self, association):
        await self.notes.send(AssociationEnded(association=association))
        await trio.testing.wait_all_tasks_blocked()


def instance(number=1, study="1.2", series="1.2.1", association="a-1", sop_class=CT):
    return ReceivedInstance(
        association=association, calling_ae_title="CT1", sop_class_uid=sop_class,
        sop_instance_uid=f"1.2.1.{number}", transfer_syntax_uid=EXPLICIT,
        attributes={STUDY: study, SERIES: series}, payload_bytes=100,
    )  # fmt: skip


# --- placement


async def test_instance_is_placed_by_its_uids(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        assert await stage.place(instance()) == Placement(
            groups={ONLY: "group-000001"},
            study="1.2",
            series="1.2.1",
            instance="1.2.1.1",
            same_instance="keep-first",
            lease_s=LEASE_S_MAX,
        )


async def test_what_is_no_uid_becomes_a_safe_name(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        placement = await stage.place(instance(study="../../etc", series=""))
        assert placement.study.startswith("x")
        assert placement.series.startswith("x")
        assert "/" not in placement.study + placement.series


async def test_instance_without_attributes_is_placed(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        bare = msgspec.structs.replace(instance(), attributes={})
        placement = await stage.place(bare)
        assert stage.disk.open[first_group(placement)].record.fallback


async def test_overwriting_is_passed_on(autojump_clock):
    stage = Stage(overwrite_same_instance=True)
    async with running(stage.actor):
        assert (await stage.place(instance())).same_instance == "replace"


async def test_group_opens_once_for_a_key(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        placements = [await stage.store(instance(n, association=f"a-{n % 2}")) for n in range(5)]
        assert {first_group(placement) for placement in placements} == {"group-000001"}
        other = await stage.store(instance(9, study="1.3"))
        assert first_group(other) == "group-000002"
        assert stage.told() == ["group.opened", "group.opened"]
        assert [call for call, _ in stage.disk.calls] == ["open_group", "open_group"]


async def test_group_records_who_opened_it(autojump_clock):
    stage = Stage()
    await trio.sleep(7)
    async with running(stage.actor):
        placement = await stage.place(instance())
    assert stage.disk.open[first_group(placement)].record == GroupRecord(
        id="group-000001", ae_title="BRAIN", processor=ONLY, key="1.2",
        opened_at=BOOTED_AT + 7, calling_ae_titles=("CT1",),
    )  # fmt: skip


async def test_group_that_cannot_be_opened_refuses_for_now(autojump_clock):
    stage = Stage()
    stage.disk.faults = ["open_group"]
    async with running(stage.actor):
        refused = await stage.place(instance())
        assert (type(refused), refused.status) == (Refused, 0xA700)
        assert type(await stage.place(instance())) is Placement
    assert stage.told("instance") == ["instance.refused"]


async def test_nothing_is_placed_when_space_is_low(autojump_clock):
    stage = Stage()
    stage.space.low = True
    async with running(stage.actor):
        refused = await stage.place(instance())
        assert (refused.status, refused.comment) == (0xA700, "storage space is low")
        assert stage.disk.open == {}
        stage.space.low = False
        assert type(await stage.place(instance())) is Placement


async def test_ignored_sop_class_is_not_stored(autojump_clock):
    stage = Stage(ignored_sop_classes=["1.2.9"])
    async with running(stage.actor):
        assert await stage.place(instance(sop_class="1.2.9")) == Ignored(why="ignored_sop_classes")
        assert type(await stage.place(instance())) is Placement
    assert stage.told("instance") == ["instance.ignored"]


async def test_only_allowed_sop_classes_are_taken(autojump_clock):
    stage = Stage(allowed_sop_classes=[CT])
    async with running(stage.actor):
        refused = await stage.place(instance(sop_class="1.2.9"))
        assert (type(refused), refused.status) == (Refused, 0x0122)
        assert type(await stage.place(instance())) is Placement


# --- closing


async def test_group_closes_when_it_has_been_quiet(autojump_clock):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        await stage.store(instance(1))
        await trio.sleep(3)
        placement = await stage.store(instance(2))
        await trio.sleep(4.9)
        assert stage.told() == ["group.opened"]
        await trio.sleep(0.2)
        assert stage.told() == ["group.opened", "group.closed"]
        assert list(stage.disk.closed) == [first_group(placement)]
        stage.woken[ONLY].receive_nowait()
        closed = stage.events[-1]
        assert (closed.group, closed.facts["instances"], closed.facts["bytes"]) == (
            first_group(placement), 2, 200,
        )  # fmt: skip


async def test_next_instance_of_a_closed_group_opens_a_new_one(autojump_clock):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await trio.sleep(6)
        second = await stage.store(instance(2))
        assert first_group(first) != first_group(second)


async def test_group_does_not_close_while_an_instance_is_on_its_way(autojump_clock):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        placement = await stage.place(instance())
        await trio.sleep(1000)
        assert stage.disk.closed == {}
        await stage.settle(instance(), placement)
        await trio.sleep(4.9)
        assert stage.disk.closed == {}
        await trio.sleep(0.2)
        assert list(stage.disk.closed) == [first_group(placement)]


async def test_end_of_the_association_lets_its_group_close(autojump_clock):
    """An instance that never settled must not hold its group for ever."""
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        await stage.place(instance(1, association="a-1"))
        await stage.place(instance(2, association="a-2"))
        await trio.sleep(100)
        await stage.end("a-1")
        await trio.sleep(100)
        assert stage.disk.closed == {}
        await stage.end("a-2")
        await trio.sleep(5.1)
        assert len(stage.disk.closed) == 1


async def test_group_closes_at_its_maximum_age_although_instances_keep_coming(autojump_clock):
    stage = Stage(timeout_s=5.0, max_age_s=20.0)
    async with running(stage.actor):
        placements = []
        for number in range(8):
            placements.append(await stage.store(instance(number)))
            await trio.sleep(3)
        assert [first_group(p) for p in placements] == ["group-000001"] * 7 + ["group-000002"]


async def test_group_that_cannot_be_closed_is_tried_again(autojump_clock):
    stage = Stage(timeout_s=5.0)
    stage.disk.faults = ["close_group", "close_group"]
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await trio.sleep(6)
        assert stage.disk.closed == {}
        second = await stage.store(instance(2))
        assert first_group(second) != first_group(first)
        await trio.sleep(2 * RETRY_S)
        assert first_group(first) in stage.disk.closed
        assert stage.told().count("group.closed") == 2


async def test_instance_that_comes_while_its_group_is_closing_opens_a_new_one(autojump_clock):
    stage = Stage(timeout_s=5.0)
    stage.disk.close_s = 10.0
    async with running(stage.actor):
        first = await stage.store(instance(1))
        await trio.sleep(6)
        second = await stage.store(instance(2))
        assert first_group(second) != first_group(first)


async def test_duplicate_is_told_and_not_counted(autojump_clock):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        await stage.store(instance(1))
        await stage.store(instance(1), duplicate=SAME)
        await trio.sleep(6)
    assert stage.told("instance") == ["instance.stored", "instance.duplicate"]
    assert stage.events[-1].facts["instances"] == 1


async def test_failed_commit_is_told_as_a_refusal(autojump_clock):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        await stage.store(instance(1), stored=False)
        await trio.sleep(6)
    assert stage.told("instance") == ["instance.refused"]
    assert stage.events[-1].facts["instances"] == 0


# --- recovery


def left_behind(stage, opened_ago=100.0, arrived_ago=3.0, identifier="group-old", key="1.2"):
    record = GroupRecord(
        id=identifier, ae_title="BRAIN", key=key, opened_at=wall() - opened_ago
    )  # fmt: skip
    stage.disk.add(record, instances=4, last_arrival_at=wall() - arrived_ago)


async def test_recovered_group_has_the_time_it_had_left(autojump_clock):
    stage = Stage(timeout_s=5.0)
    left_behind(stage, arrived_ago=3.0)
    async with running(stage.actor):
        await trio.sleep(1.9)
        assert stage.disk.closed == {}
        await trio.sleep(0.2)
        assert list(stage.disk.closed) == ["group-old"]
        assert stage.events[-1].facts["instances"] == 4


async def test_recovered_group_keeps_its_age(autojump_clock):
    stage = Stage(timeout_s=50.0, max_age_s=120.0)
    left_behind(stage, opened_ago=100.0, arrived_ago=1.0)
    async with running(stage.actor):
        await trio.sleep(19.9)
        assert stage.disk.closed == {}
        await trio.sleep(0.2)
        assert list(stage.disk.closed) == ["group-old"]


async def test_recovered_group_takes_further_instances(autojump_clock):
    stage = Stage(timeout_s=5.0)
    left_behind(stage)
    async with running(stage.actor):
        assert first_group(await stage.store(instance())) == "group-old"
        assert [call for call, _ in stage.disk.calls] == ["add_sender"]


async def test_group_that_was_due_while_we_were_away_closes_at_once(autojump_clock):
    stage = Stage(timeout_s=5.0)
    left_behind(stage, arrived_ago=1000.0)
    async with running(stage.actor):
        await trio.testing.wait_all_tasks_blocked()
        assert list(stage.disk.closed) == ["group-old"]
        assert trio.current_time() == 0


async def test_wall_clock_that_was_set_back_makes_no_group_wait_longer(autojump_clock):
    stage = Stage(timeout_s=5.0)
    left_behind(stage, opened_ago=-86_400.0, arrived_ago=-86_400.0)
    async with running(stage.actor):
        await trio.sleep(4.9)
        assert stage.disk.closed == {}
        await trio.sleep(0.2)
        assert list(stage.disk.closed) == ["group-old"]


async def test_two_recovered_groups_of_a_key_both_close(autojump_clock):
    stage = Stage(timeout_s=5.0)
    left_behind(stage, identifier="group-a", arrived_ago=3.0)
    left_behind(stage, identifier="group-b", arrived_ago=1.0)
    async with running(stage.actor):
        await trio.sleep(5)
        assert list(stage.disk.closed) == ["group-a", "group-b"]


async def test_groups_of_others_are_left_alone(autojump_clock):
    stage = Stage(timeout_s=5.0)
    stage.disk.add(GroupRecord(id="group-x", ae_title="LUNG", key="1", opened_at=0.0))
    async with running(stage.actor):
        await trio.sleep(100)
        assert stage.disk.closed == {}


async def test_actor_that_is_run_again_finds_its_groups_on_disk(autojump_clock):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor):
        first = await stage.store(instance(1))
    async with running(stage.actor):
        assert first_group(await stage.store(instance(2))) == first_group(first)


async def test_open_groups_stay_on_disk_at_a_stop(autojump_clock):
    stage = Stage(timeout_s=5.0)
    async with running(stage.actor) as nursery:
        await stage.store(instance())
        stage.requests.close()
        stage.notes.close()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        await trio.sleep(10)
    assert len(stage.disk.open) == 1
    assert stage.disk.closed == {}


async def test_asker_that_left_does_no_harm(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        reply, replies = trio.open_memory_channel(1)
        replies.close()
        await stage.requests.send(StoreRequest(instance=instance(), reply=reply))
        await trio.testing.wait_all_tasks_blocked()
        assert type(await stage.place(instance(2))) is Placement
