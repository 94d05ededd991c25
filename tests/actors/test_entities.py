"""Entities: AE Titles come, change and go while groups are open, and when something crashes."""

from types import SimpleNamespace

import msgspec
import pytest
import trio
from actor_ports import CT, EXPLICIT, Crashing, Disk, Space, counting_ids, new_ledger, wall
from fakes.placements import first_group, settled

from adapter.actors.ae_titles import AeTitles
from adapter.actors.entities import Entities
from adapter.actors.entity_directory import EntityDirectory
from adapter.channels import UNANSWERED, ask
from adapter.domain.entities import ApplicationEntity, OneProcessor
from adapter.domain.entity_orders import EntityOrder, EntityRefused
from adapter.domain.entity_rows import row_of
from adapter.domain.messages import (
    InstancesSettled,
    Placement,
    ReceivedInstance,
    Refused,
    StoreRequest,
)
from adapter.domain.reconfiguration import EntitiesProposed
from adapter.domain.records import GroupRecord
from adapter.entity_rules import EntityRules
from adapter.entity_wiring import EntityStaff
from adapter.live_settings import LiveSettings, SettingsProposal
from adapter.settings import Settings
from adapter.supervision import ESSENTIAL, supervise

MAIN = ApplicationEntity(name="main", ae_title="MAIN", pipelines={"one": "p1"})
BRAIN = ApplicationEntity(name="brain", ae_title="BRAIN", pipelines={"seg": "p2"})
QUIET_S = 5.0
SHARED = 11112


def changed(**changes):
    return msgspec.structs.replace(BRAIN, **changes)


class Stage:
    """The actor with the staff of the real wiring, on a disk and a ledger in memory."""

    def __init__(self, disk=None, ledger=None):
        self.disk, self.ledger = disk or Disk(), ledger or new_ledger()
        self.events, self.stop = [], trio.Event()
        self.directory = EntityDirectory(SHARED, [SHARED, 104])
        self.orders_in, self.orders = trio.open_memory_channel(0)
        self.rows = self.ledger.entities
        self.crashed = set()

    async def start(self, nursery):
        edges = SimpleNamespace(
            store=self.disk, payloads=self.disk, ledger=self.ledger, space=Space(),
            new_id=counting_ids(), now=wall,
        )  # fmt: skip
        wake, self.submitter = trio.open_memory_channel(1)
        self.live = LiveSettings(Settings(application_entities=[MAIN]))
        self.staff = EntityStaff(
            edges=edges,
            publish=self.events.append,
            nursery=nursery,
            associations_max=5,
            submitter_wake=wake,
        )
        self.titles = AeTitles(staff=self.staff, directory=self.directory, store=self.disk)
        self.actor = Entities(
            configured=[MAIN], rows=self.rows, rules=EntityRules(self.live, None),
            branches={"aetitle": self.titles}, directory=self.directory, orders=self.orders,
            publish=self.events.append, stop=self.stop,
        )  # fmt: skip
        await nursery.start(supervise, self.actor, ESSENTIAL, self.events.append)

    async def order(self, action, name="brain", entity=None):
        return await ask(
            self.orders_in,
            lambda reply: EntityOrder(action=action, name=name, entity=entity, reply=reply),
            10.0,
        )

    async def reconfigure(self, *entities, dry_run=False):
        """Have the file list these; return what is said against it, and the proposal.

        What becomes of which entity is in `effects`.
        """
        proposal = SettingsProposal(self.live, Settings(application_entities=list(entities)), None)
        judged = await ask(
            self.orders_in,
            lambda reply: EntitiesProposed(proposal=proposal, dry_run=dry_run, reply=reply),
            10.0,
        )
        self.effects = [(one.kind, one.name, one.does) for one in judged.effects]
        return judged.problems, [(change.key, change.restart) for change in proposal.changes]

    async def insist(self, action, entity=None):
        """Order until there is an answer, as an operator does."""
        while True:
            try:
                return await self.order(action, entity=entity)
            except UNANSWERED:
                await trio.sleep(0.1)

    @property
    def doors(self):
        return self.directory.halls[SHARED].doors

    async def place(self, door, number, *, grouping=None):
        """Have an instance placed; it is stored at once."""
        instance = ReceivedInstance(
            association="a-1", calling_ae_title="CT1", sop_class_uid=CT,
            sop_instance_uid=f"1.2.{number}", transfer_syntax_uid=EXPLICIT, payload_bytes=1,
            attributes={"0020,000D": "1.9", "0020,000E": "1.9.1"},
        )  # fmt: skip
        answer = await ask(
            door.requests,
            lambda reply: StoreRequest(instance=instance, grouping=grouping, reply=reply),
            10.0,
        )
        if isinstance(answer, Placement):
            for group_id in answer.groups.values():
                group = self.disk.open[group_id]
                group = msgspec.structs.replace(group, instances=group.instances + 1)
                self.disk.open[group_id] = group
            await door.notes.send(InstancesSettled(settled=[settled(instance, answer)]))
        return answer

    async def jobs(self):
        return [(job.pipeline, job.instances) for job in await self.ledger.jobs()]

    def types(self):
        return [event.type for event in self.events if event.type.startswith("config.")]


@pytest.fixture
async def stage():
    stage = Stage()
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        yield stage
        nursery.cancel_scope.cancel()


async def test_new_ae_title_has_a_door_at_once(stage, autojump_clock):
    assert set(stage.doors) == {"MAIN"}
    listed = await stage.order("create", entity=changed(max_associations=3))
    assert (listed.name, listed.origin, listed.problems) == ("brain", "api", ())
    assert stage.directory.halls[SHARED].limits == {"MAIN": 0, "BRAIN": 3}
    assert isinstance(await stage.place(stage.doors["BRAIN"], 1), Placement)
    await trio.sleep(QUIET_S + 1)
    assert await stage.jobs() == [("seg", 1)]
    assert stage.types() == ["config.created"]


async def test_port_is_that_of_now(stage, autojump_clock):
    await stage.order("create", entity=changed(port=104))  # listened on, as far as the hall knows
    assert set(stage.doors) == {"MAIN"}
    assert set(stage.directory.halls[104].doors) == set()
    refused = await stage.order("create", entity=changed(port=104))
    assert isinstance(refused, EntityRefused)


async def test_open_group_takes_the_new_settings(stage, autojump_clock):
    await stage.order("create", entity=changed(timeout_s=600.0))
    door = stage.doors["BRAIN"].clone()
    await stage.place(door, 1)
    await stage.order("change", entity=changed(timeout_s=10.0, pipelines={"new": "p3"}))
    await stage.place(door, 2, grouping=door.grouping)
    await trio.sleep(9.0)
    assert await stage.jobs() == []
    await trio.sleep(2.0)
    assert await stage.jobs() == [("new", 2)]
    door.close()


async def test_group_of_other_grouping_takes_no_more(stage, autojump_clock):
    await stage.order("create", entity=BRAIN)
    first = await stage.place(stage.doors["BRAIN"], 1)
    await stage.order("change", entity=changed(grouping="0020,000E"))
    second = await stage.place(stage.doors["BRAIN"], 2)
    assert first_group(first) != first_group(second)
    await trio.sleep(QUIET_S + 1)
    assert await stage.jobs() == [("seg", 1), ("seg", 1)]


async def test_association_of_before_a_change_is_told_to_come_again(stage, autojump_clock):
    await stage.order("create", entity=BRAIN)
    door = stage.doors["BRAIN"].clone()
    await stage.order("change", entity=changed(grouping="0010,0020"))
    answer = await stage.place(door, 1, grouping=door.grouping)
    assert isinstance(answer, Refused)
    assert answer.status == 0xA700
    new = stage.doors["BRAIN"]
    assert isinstance(await stage.place(new, 1, grouping=new.grouping), Placement)
    door.close()


async def test_removed_ae_title_goes_with_its_last_association_and_group(stage, autojump_clock):
    await stage.order("create", entity=BRAIN)
    door = stage.doors["BRAIN"].clone()
    listed = await stage.order("remove")
    assert listed.retiring
    assert set(stage.doors) == {"MAIN"}
    await trio.sleep(60)
    assert isinstance(await stage.place(door, 1), Placement), "it is still there"
    door.close()
    await trio.sleep(QUIET_S - 1)
    assert "brain" in stage.directory.listed["aetitle"]
    await trio.sleep(3)
    assert set(stage.directory.listed["aetitle"]) == {"main"}
    assert await stage.jobs() == [("seg", 1)]
    assert await stage.rows.entities() == []
    assert stage.types() == ["config.created", "config.changed", "config.deleted"]
    assert set(stage.directory.questions) == {"MAIN"}


async def test_parked_processor_shuts_the_door_until_a_restart(stage, autojump_clock):
    """Its entity still runs: what is on its way is stored, and nobody new is let in."""
    await stage.order("create", entity=BRAIN)
    door = stage.doors["BRAIN"].clone()
    await stage.place(door, 1)
    stage.disk.remove_group, whole = _bug, stage.disk.remove_group
    await trio.sleep(60)
    assert not door.is_open
    assert not stage.doors["BRAIN"].is_open
    assert isinstance(await stage.place(door, 2), Placement)
    stage.disk.remove_group = whole
    assert (await stage.order("restart")).problems == ()
    assert stage.doors["BRAIN"].is_open
    await trio.sleep(10)
    assert await stage.jobs() == [("seg", 1), ("seg", 1)]
    assert isinstance(await stage.order("restart"), EntityRefused), "it is not parked"
    door.close()


async def _bug(*_):
    raise RuntimeError


# --- several processors

ALONE = OneProcessor(name="aetitle")
SECOND = OneProcessor(name="second", processor="aetitle", pipelines={"other": "p3"})
BOTH = [ALONE, SECOND]


def actors(stage):
    """Return the processors of the AE Title BRAIN and their states, as events tell them."""
    states = {}
    for event in stage.events:
        if event.type.startswith("actor.") and ":brain" in event.facts["actor"]:
            states[event.facts["actor"]] = event.type.removeprefix("actor.")
    return {name: state for name, state in states.items() if name.startswith("processor")}


async def test_second_processor_is_added_while_a_group_is_open(stage, autojump_clock):
    await stage.order("create", entity=BRAIN)
    door = stage.doors["BRAIN"].clone()
    await stage.place(door, 1)
    await stage.order("change", entity=changed(processors=BOTH))
    await stage.place(door, 2, grouping=door.grouping)
    await trio.sleep(QUIET_S + 1)
    assert sorted(await stage.jobs()) == [("other", 1), ("seg", 2)]
    assert {job.processor for job in await stage.ledger.jobs()} == {"aetitle", "second"}
    assert actors(stage) == {
        "processor:brain": "stopped",
        "processor:brain:aetitle": "started",
        "processor:brain:second": "started",
    }
    door.close()


async def test_processor_is_taken_away_while_its_group_is_open(stage, autojump_clock):
    """What it has is not lost: the first one makes jobs of it."""
    await stage.order("create", entity=changed(processors=BOTH))
    door = stage.doors["BRAIN"].clone()
    await stage.place(door, 1)
    await stage.order("change", entity=BRAIN)
    await stage.place(door, 2, grouping=door.grouping)
    await trio.sleep(QUIET_S + 1)
    assert sorted(await stage.jobs()) == [("seg", 1), ("seg", 2)]
    assert actors(stage)["processor:brain:second"] == "stopped"
    door.close()


async def test_ids_of_jobs_differ_between_processors_with_one_pipeline(stage, autojump_clock):
    same = msgspec.structs.replace(SECOND, pipelines=None)
    await stage.order("create", entity=changed(processors=[ALONE, same]))
    await stage.place(stage.doors["BRAIN"], 1)
    await trio.sleep(QUIET_S + 1)
    assert await stage.jobs() == [("seg", 1), ("seg", 1)]
    assert len({job.id for job in await stage.ledger.jobs()}) == 2


async def test_one_parked_processor_shuts_the_door_and_the_other_goes_on(stage, autojump_clock):
    await stage.order("create", entity=changed(processors=BOTH))
    door = stage.doors["BRAIN"].clone()
    second = (await stage.place(door, 1)).groups["second"]
    remove_group = stage.disk.remove_group

    async def remove_but_one(group_id):
        return await (_bug() if group_id == second else remove_group(group_id))

    stage.disk.remove_group = remove_but_one
    await trio.sleep(60)
    assert sorted(await stage.jobs()) == [("other", 1), ("seg", 1)]
    assert actors(stage) == {
        "processor:brain:aetitle": "started", "processor:brain:second": "parked",
    }  # fmt: skip
    assert not door.is_open
    await stage.place(door, 2)
    await trio.sleep(QUIET_S + 1)
    assert sorted(await stage.jobs()) == [("other", 1), ("seg", 1), ("seg", 1)]
    stage.disk.remove_group = remove_group
    assert (await stage.order("restart")).problems == ()
    assert stage.doors["BRAIN"].is_open
    await trio.sleep(1)
    assert sorted(await stage.jobs()) == [("other", 1), ("other", 1), ("seg", 1), ("seg", 1)]
    door.close()


async def test_parked_processor_that_is_taken_away_is_not_parked_any_more(stage, autojump_clock):
    await stage.order("create", entity=changed(processors=BOTH))
    await stage.place(stage.doors["BRAIN"], 1)
    stage.disk.remove_group, whole = _bug, stage.disk.remove_group
    await trio.sleep(60)
    assert set(actors(stage).values()) == {"parked"}
    stage.disk.remove_group = whole
    await stage.order("change", entity=BRAIN)
    assert stage.doors["BRAIN"].is_open
    assert actors(stage) == {
        "processor:brain:aetitle": "stopped",
        "processor:brain:second": "stopped",
        "processor:brain": "started",
    }
    await trio.sleep(1)
    assert not stage.disk.closed


async def test_removed_ae_title_with_several_processors_goes_when_all_are_done(
    stage, autojump_clock
):
    slow = msgspec.structs.replace(SECOND, timeout_s=30.0)
    await stage.order("create", entity=changed(processors=[ALONE, slow]))
    await stage.place(stage.doors["BRAIN"], 1)
    await stage.order("remove")
    await trio.sleep(QUIET_S + 2)
    assert "brain" in stage.directory.listed["aetitle"]
    await trio.sleep(30)
    assert set(stage.directory.listed["aetitle"]) == {"main"}
    assert sorted(await stage.jobs()) == [("other", 1), ("seg", 1)]
    assert set(actors(stage).values()) == {"stopped"}


@pytest.mark.parametrize("steps", range(12))
async def test_change_that_was_cut_off_is_made_again(stage, autojump_clock, steps):
    """The entities actor may be gone between any two steps of a change."""
    running = await stage.staff.start(BRAIN)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.change, changed(processors=BOTH))
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    await running.change(changed(processors=BOTH))
    assert running.door.is_open
    placement = await stage.place(running.door, 1)
    assert list(placement.groups) == ["aetitle", "second"]
    await trio.sleep(QUIET_S + 1)
    assert sorted(await stage.jobs()) == [("other", 1), ("seg", 1)]


async def test_parked_entity_starts_again_with_its_groups(stage, autojump_clock):
    await stage.order("create", entity=changed(timeout_s=600.0))
    await stage.place(stage.doors["BRAIN"], 1)
    stage.disk.open_group, whole = _bug, stage.disk.open_group
    await stage.order("change", entity=changed(timeout_s=600.0, grouping="0020,000E"))
    for _ in range(6):
        with pytest.raises(UNANSWERED):
            await stage.place(stage.doors["BRAIN"], 2)
    await trio.sleep(1)
    assert not stage.doors["BRAIN"].is_open
    stage.disk.open_group = whole
    await stage.order("change", entity=BRAIN)
    assert stage.doors["BRAIN"].is_open
    await trio.sleep(10)
    assert await stage.jobs() == [("seg", 1)]


async def test_removed_ae_title_that_is_parked_waits_for_a_restart(stage, autojump_clock):
    await stage.order("create", entity=BRAIN)
    await stage.place(stage.doors["BRAIN"], 1)
    stage.disk.remove_group, whole = _bug, stage.disk.remove_group
    await stage.order("remove")
    await trio.sleep(100)
    assert "brain" in stage.directory.listed["aetitle"]
    stage.disk.remove_group = whole
    await stage.order("restart")
    await trio.sleep(10)
    assert set(stage.directory.listed["aetitle"]) == {"main"}
    assert await stage.jobs() == [("seg", 1)]


async def test_title_of_a_removed_row_that_is_in_the_file_by_now_is_that_of_the_file(
    autojump_clock,
):
    stage = Stage()
    old = msgspec.structs.replace(MAIN, name="old")
    await stage.rows.put_entity(msgspec.structs.replace(row_of(old), retiring=True))
    stage.disk.add(GroupRecord(id="group-1", ae_title="MAIN", key="k", opened_at=wall()), 1)
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        assert set(stage.directory.listed["aetitle"]) == {"main"}
        await trio.sleep(10)
        assert await stage.jobs() == [("one", 1)]
        assert stage.doors["MAIN"].is_open
        nursery.cancel_scope.cancel()


async def test_stop_ends_everything_and_keeps_open_groups(autojump_clock):
    stage = Stage()
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        await stage.order("create", entity=BRAIN)
        await stage.place(stage.doors["BRAIN"], 1)
        await stage.order("create", entity=changed(name="gone", ae_title="GONE"))
        await stage.place(stage.doors["GONE"], 2)
        await stage.order("remove", "gone")
        stage.stop.set()
    assert len(stage.disk.open) == 2
    assert await stage.jobs() == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
async def test_crash_between_any_two_steps_loses_nothing(autojump_clock, at, after):
    """Whatever it was about to do is done when it is back; an answered order is never undone."""
    stage, calls = Stage(), []
    stage.rows = Crashing(stage.ledger.entities, calls, at, after=after)
    async with trio.open_nursery() as nursery:
        if at == 1:  # a failed boot: the ledger is read before anything starts
            nursery.cancel_scope.cancel()
            return
        await stage.start(nursery)
        await stage.insist("create", BRAIN)
        assert "BRAIN" in stage.doors
        await stage.place(stage.doors["BRAIN"], 1)
        done = await stage.insist("change", changed(pipelines={"new": "p3"}))
        assert done.entity.pipelines == {"new": "p3"}
        await stage.place(stage.doors["BRAIN"], 2)
        await stage.insist("remove")
        await trio.sleep(1)
        assert set(stage.doors) == {"MAIN"}
        await trio.sleep(20)
        assert set(stage.directory.listed["aetitle"]) == {"main"}
        assert await stage.ledger.entities.entities() == []
        assert await stage.jobs() == [("new", 2)]
        assert not stage.disk.open
        assert not stage.disk.closed
        nursery.cancel_scope.cancel()
    assert len(calls) >= at or at > 5


# --- the configuration file changes


async def test_file_adds_changes_and_removes_ae_titles(stage, autojump_clock):
    assert await stage.reconfigure(changed(), dry_run=True) == (
        [], [("application_entities[brain]", False), ("application_entities[main]", False)],
    )  # fmt: skip
    assert set(stage.doors) == {"MAIN"}
    await stage.reconfigure(MAIN, BRAIN)
    assert set(stage.doors) == {"MAIN", "BRAIN"}
    await stage.reconfigure(changed(timeout_s=9.0))
    assert set(stage.doors) == {"BRAIN"}
    assert stage.live.settings.application_entities == [changed(timeout_s=9.0)]
    assert set(stage.directory.listed["aetitle"]) == {"brain"}
    assert stage.types() == ["config.created", "config.changed", "config.deleted"]


async def test_group_of_an_ae_title_that_left_the_file_becomes_its_job(stage, autojump_clock):
    await stage.place(stage.doors["MAIN"], 1)
    await stage.reconfigure()
    assert set(stage.doors) == set()
    (row,) = await stage.rows.entities()
    assert (row.name, row.retiring) == ("main", True)  # also after a kill
    assert "main" in (await stage.reconfigure(MAIN))[0][0]  # not before it is gone
    await trio.sleep(2 * QUIET_S)
    assert await stage.jobs() == [("one", 1)]
    assert await stage.rows.entities() == []
    assert (await stage.reconfigure(MAIN))[0] == []
    assert set(stage.doors) == {"MAIN"}


async def test_file_does_not_take_over_what_was_made_over_rest(stage, autojump_clock):
    await stage.order("create", entity=BRAIN)
    same_name = changed(ae_title="OTHER")
    same_title = changed(name="other")
    for entity, why in ((same_name, "made over REST"), (same_title, "'BRAIN' is used")):
        (problem, *_), _ = await stage.reconfigure(MAIN, entity)
        assert why in problem
        assert stage.live.settings.application_entities == [MAIN]
    assert set(stage.doors) == {"MAIN", "BRAIN"}


async def test_title_and_port_that_nobody_listens_on_wait_for_a_restart(stage, autojump_clock):
    renamed = msgspec.structs.replace(MAIN, ae_title="RENAMED", timeout_s=7.0)
    problems, changes = await stage.reconfigure(renamed, changed(port=105))
    assert problems == []
    assert changes == [
        ("application_entities[main].ae_title", True),
        ("application_entities[main].timeout_s", False),
        ("application_entities[brain]", True),
    ]
    assert stage.live.settings.application_entities == [
        msgspec.structs.replace(MAIN, timeout_s=7.0)
    ]
    assert set(stage.doors) == {"MAIN"}
