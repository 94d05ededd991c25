"""The processor actor: a plug-in that crashes parks its AE Title, and loses nothing."""

import itertools

import pytest
import trio
from actor_ports import Disk, a_job, new_ledger, wall
from fakes.placements import ONLY, only

from adapter.actors.processor import POLL_S, ProcessorActor
from adapter.domain.entities import ApplicationEntity
from adapter.domain.processors import JobSpec
from adapter.domain.records import GroupRecord
from adapter.supervision import REPLICA, supervise

ENTITY = ApplicationEntity(name="brain", ae_title="BRAIN", pipelines={"seg": "p1"})


class PlugIn:
    """A processor that raises so many times, for ever if None."""

    name = "PlugIn"
    attributes = frozenset()
    timeout_s = 5.0

    def __init__(self, crashes):
        self.crashes = crashes
        self.calls = []

    def jobs(self, group):
        self.calls.append((group.record.id, trio.current_time()))
        if self.crashes is None or self.crashes > 0:
            self.crashes = self.crashes and self.crashes - 1
            raise RuntimeError("a bug of the plug-in")
        return [JobSpec(pipeline="seg", pipeline_id="p1", priority="normal")]


class Stage:
    def __init__(self, crashes):
        self.disk, self.ledger, self.events = Disk(), new_ledger(), []
        self.processor = PlugIn(crashes)
        self.wake, woken = trio.open_memory_channel(1)
        submitter_wake, self.submitter = trio.open_memory_channel(1)
        self.actor = ProcessorActor(
            assignment=only(ENTITY, self.processor), names=[ONLY], name="processor:brain",
            store=self.disk, payloads=self.disk,
            ledger=self.ledger, wake=woken, submitter_wake=submitter_wake,
            publish=self.events.append, now=wall,
        )  # fmt: skip

    def closed(self, *names):
        for name in names:
            record = GroupRecord(id=name, ae_title="BRAIN", key=name, opened_at=wall())
            self.disk.add(record, instances=1)
            self.disk.closed[name] = self.disk.open.pop(name)

    def types(self):
        return [event.type for event in self.events if event.type.startswith("actor.")]


async def test_plug_in_that_crashes_at_the_start_fails_no_boot(autojump_clock):
    """Groups of the last run may be what it crashes on: the other AE Titles start all the same."""
    stage = Stage(crashes=None)
    stage.closed("group-1")
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, stage.actor, REPLICA, stage.events.append)
        await trio.sleep(60)
        assert stage.types() == ["actor.started", "actor.crashed"] * 5 + [
            "actor.started", "actor.parked",
        ]  # fmt: skip
    assert list(stage.disk.closed) == ["group-1"]
    assert await stage.ledger.jobs() == []


async def test_restarts_are_a_second_apart(autojump_clock):
    stage = Stage(crashes=None)
    stage.closed("group-1")
    await supervise(stage.actor, REPLICA, stage.events.append)
    times = [at for _, at in stage.processor.calls]
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [1.0] * 5


@pytest.mark.parametrize("crashes", [1, 5])
async def test_groups_become_jobs_once_the_plug_in_works(autojump_clock, crashes):
    stage = Stage(crashes=crashes)
    stage.closed("group-1", "group-2")
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, stage.actor, REPLICA, stage.events.append)
        await trio.sleep(crashes + POLL_S)
        jobs = sorted(job.group_id for job in await stage.ledger.jobs())
        assert jobs == ["group-1", "group-2"]
        assert stage.disk.closed == {}
        nursery.cancel_scope.cancel()


async def test_processor_ends_when_entity_and_doors_have_closed(autojump_clock):
    stage = Stage(crashes=0)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, stage.actor, REPLICA, stage.events.append)
        stage.closed("group-1")
        stage.wake.close()
    assert stage.types()[-1] == "actor.stopped"
    assert len(await stage.ledger.jobs()) == 1


async def test_folders_of_jobs_that_are_not_made_any_more_go_with_their_group(autojump_clock):
    """Simulation, seed 1017: an AE Title was changed while its processor made a job's folder."""
    stage = Stage(crashes=0)
    stage.closed("group-1")
    for job, group in (("job-old", "group-1"), ("job-other", "group-2")):
        stage.disk.payloads[job], stage.disk.groups_of_payloads[job] = 1, group
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, stage.actor, REPLICA, stage.events.append)
        await trio.sleep(POLL_S)
        (job,) = await stage.ledger.jobs()
        assert set(stage.disk.payloads) == {job.id, "job-other"}
        nursery.cancel_scope.cancel()


async def test_group_whose_jobs_are_open_becomes_no_others(autojump_clock):
    """Simulation, seed 5043: its AE Title was changed before the group was removed."""
    stage = Stage(crashes=0)
    stage.closed("group-1")
    await stage.ledger.open_jobs([a_job("job-old", group_id="group-1", pipeline="old")])
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, stage.actor, REPLICA, stage.events.append)
        await trio.sleep(POLL_S)
        assert [job.id for job in await stage.ledger.jobs()] == ["job-old"]
        assert stage.disk.closed == {}
        nursery.cancel_scope.cancel()
