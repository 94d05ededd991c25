"""Processor: jobs of a closed group, exactly once, whatever crashes between which two steps.

Clara's scenarios T-028 (a job add that fails), T-133 to T-136 (adding a job).
"""

import trio
from actor_ports import BugError, Crashing, Disk, Rows, new_ledger, running, wall
from fakes.placements import ONLY, only

from adapter.actors.processor import POLL_S, ProcessorActor
from adapter.channels import notify
from adapter.domain.entities import ApplicationEntity
from adapter.domain.processors import AETitleProcessor
from adapter.domain.records import GroupRecord
from adapter.store.ledger import RowLedger
from adapter.supervision import REPLICA, RestartPolicy, supervise

PIPELINES = {"seg": "p1", "lung": "p2"}
OFTEN = RestartPolicy(essential=False, restarts_max=10_000)
ENTITY = ApplicationEntity(name="brain", ae_title="BRAIN", pipelines=PIPELINES)


class Platter:
    """A ledger engine that outlives the ledgers on it."""

    def __init__(self):
        self.rows = {}

    def load(self):
        yield from self.rows.items()

    def write(self, changes):
        self.rows.update(changes)


class Poisoned(AETitleProcessor):
    """A plug-in that cannot live with some groups."""

    def __init__(self, entity, *poison):
        super().__init__(entity)
        self.poison = set(poison)
        self.seen = []

    def jobs(self, group):
        self.seen.append(group.record.id)
        if group.record.id in self.poison:
            raise BugError(group.record.id)
        return super().jobs(group)


class Stage:
    """A processor actor and what it works on."""

    def __init__(self, plugin=None):
        self.disk, self.events, self.rows = Disk(), [], Platter()
        self.ledger = self.load_ledger()
        self.make(plugin or AETitleProcessor(ENTITY))

    def load_ledger(self):
        ledger = RowLedger(self.rows, Rows(), wall)
        ledger.load()
        return ledger

    def make(self, plugin, disk=None, ledger=None):
        self.wake, woken = trio.open_memory_channel(1)
        submitter_wake, self.submitter = trio.open_memory_channel(1)
        self.actor = ProcessorActor(
            assignment=only(ENTITY, plugin), names=[ONLY], name="processor:brain",
            store=disk or self.disk, payloads=disk or self.disk,
            ledger=ledger or self.ledger, wake=woken, submitter_wake=submitter_wake,
            publish=self.events.append, now=wall,
        )  # fmt: skip

    def close_group(self, *numbers, supplements=""):
        for number in numbers:
            record = GroupRecord(
                id=f"group-{number}", ae_title="BRAIN", key="1", opened_at=float(number),
                supplements=supplements,
            )  # fmt: skip
            self.disk.add(record, instances=2)
            self.disk.closed[record.id] = self.disk.open.pop(record.id)
        notify(self.wake)

    def told(self, kind):
        return [event for event in self.events if event.type == kind]


async def test_group_becomes_one_job_for_each_pipeline(autojump_clock):
    """T-134."""
    stage = Stage()
    async with running(stage.actor):
        stage.close_group(1)
        await trio.sleep(1)
        jobs = await stage.ledger.jobs()
        assert {(job.pipeline, job.pipeline_id, job.instances) for job in jobs} == {
            ("seg", "p1", 2), ("lung", "p2", 2),
        }  # fmt: skip
        assert set(stage.disk.payloads) == {job.id for job in jobs}
        assert stage.disk.closed == {}
        assert [event.facts["state"] for event in stage.told("job.opened")] == ["Queued", "Queued"]
        stage.submitter.receive_nowait()


async def test_group_without_instances_becomes_nothing(autojump_clock):
    stage = Stage()
    stage.close_group(1)
    group = stage.disk.closed["group-1"]
    stage.disk.closed["group-1"] = type(group)(
        record=group.record, instances=0, payload_bytes=0, last_arrival_at=0.0
    )
    async with running(stage.actor):
        await trio.sleep(1)
        assert await stage.ledger.jobs() == []
        assert stage.disk.closed == {}


async def test_crash_between_any_two_steps_opens_each_job_once(autojump_clock):
    """T-028, W-07: Clara submitted the pipelines again that had been submitted already."""
    crashes = 0
    for after in (False, True):
        at, crashed = 0, True
        while crashed:
            at += 1
            stage, calls = Stage(), []
            disk = Crashing(stage.disk, calls, at, after=after)
            ledger = Crashing(stage.ledger, calls, at, after=after)
            stage.make(AETitleProcessor(ENTITY), disk, ledger)
            stage.close_group(1, 2)
            async with trio.open_nursery() as nursery:
                await nursery.start(supervise, stage.actor, OFTEN, stage.events.append)
                await trio.sleep(3)  # before it would poll again
                nursery.cancel_scope.cancel()
            crashed = bool(stage.told("actor.crashed"))
            crashes += crashed
            jobs = await stage.ledger.jobs()
            assert sorted((job.group_id, job.pipeline) for job in jobs) == [
                ("group-1", "lung"), ("group-1", "seg"), ("group-2", "lung"), ("group-2", "seg"),
            ], (at, calls)  # fmt: skip
            assert set(stage.disk.payloads) == {job.id for job in jobs}
            assert stage.disk.closed == {}
    assert crashes >= 2 * 11  # closed_groups, and for each group: known, 2 payloads, open, remove


async def test_kill_between_any_two_steps_opens_each_job_once(autojump_clock):
    """The next life has the disk and the rows, and nothing else."""
    at, killed = 0, True
    while killed:
        at += 1
        stage, calls = Stage(), []
        disk = Crashing(stage.disk, calls, at, after=True)
        stage.make(AETitleProcessor(ENTITY), disk, Crashing(stage.ledger, calls, at, after=True))
        stage.close_group(1)
        no_restart = RestartPolicy(essential=False, restarts_max=0)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervise, stage.actor, no_restart, stage.events.append)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        killed = bool(stage.told("actor.parked"))
        reborn = stage.load_ledger()
        stage.make(AETitleProcessor(ENTITY), ledger=reborn)
        async with running(stage.actor):
            await trio.sleep(1)
            jobs = await reborn.jobs()
            assert sorted(job.pipeline for job in jobs) == ["lung", "seg"], (at, calls)
            assert set(stage.disk.payloads) == {job.id for job in jobs}
            assert stage.disk.closed == {}
    assert at > 5


async def test_job_whose_payload_was_reclaimed_is_not_made_again(autojump_clock):
    """The group's removal failed; its jobs ended meanwhile, one was reclaimed with its row kept."""
    stage = Stage()
    stage.disk.faults = ["remove_group"]
    async with running(stage.actor):
        await trio.sleep(1)
        stage.close_group(1)
        await trio.sleep(1)
        gone = next(iter(stage.disk.payloads))
        await stage.disk.remove_payload(gone)
        await trio.sleep(POLL_S + 1)
        assert stage.disk.closed == {}
        assert gone not in stage.disk.payloads


async def test_group_that_fails_does_not_hold_up_the_others(autojump_clock):
    """T-135, T-136: a storage error delays its own group only, for as long as it lasts."""
    stage = Stage()
    stage.disk.faults = ["remove_group"]
    async with running(stage.actor):
        await trio.sleep(1)
        stage.close_group(1, 2)
        await trio.sleep(1)
        assert set(stage.disk.closed) == {"group-1"}
        assert len(await stage.ledger.jobs()) == 4
        await trio.sleep(POLL_S + 1)
        assert stage.disk.closed == {}
        assert len(await stage.ledger.jobs()) == 4


async def test_plug_in_that_crashes_parks_its_ae_title_and_loses_nothing(autojump_clock):
    plugin = Poisoned(ENTITY, "group-1")
    stage = Stage(plugin)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, stage.actor, REPLICA, stage.events.append)
        stage.close_group(1, 2, 3)
        await trio.sleep(120)
        (parked,) = stage.told("actor.parked")
        assert parked.facts["actor"] == "processor:brain"
        assert set(stage.disk.closed) == {"group-1"}, "the others come first after a crash"
        assert {job.group_id for job in await stage.ledger.jobs()} == {"group-2", "group-3"}
        assert not nursery.child_tasks
    stage.make(AETitleProcessor(ENTITY))
    async with running(stage.actor):
        await trio.sleep(1)
        assert stage.disk.closed == {}
        assert len(await stage.ledger.jobs()) == 6


async def test_group_that_crashes_the_plug_in_does_not_keep_the_process_from_starting(
    autojump_clock,
):
    stage = Stage(Poisoned(ENTITY, "group-1"))
    stage.close_group(1)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, stage.actor, REPLICA, stage.events.append)
        await trio.sleep(120)
        assert len(stage.told("actor.parked")) == 1


async def test_retry_delay_and_name_are_claras(autojump_clock):
    settings = {"jobRetryDelay": "2500", "pipeline-Seg_v2": "p9"}
    entity = ApplicationEntity(name="brain", ae_title="BRAIN", settings=settings)
    stage = Stage(AETitleProcessor(entity))
    async with running(stage.actor):
        stage.close_group(1)
        await trio.sleep(1)
        (job,) = await stage.ledger.jobs()
        assert job.retry_delay_s == 2.5
        assert job.name == "brain-seg-v2-20231114221320"


async def test_jobs_of_a_group_are_looked_up_by_id_alone(autojump_clock):
    """What the ledger holds of others costs nothing: no list of all jobs is asked for.

    But once, for groups that somebody has closed before it began.
    """
    stage, calls = Stage(), []
    stage.make(AETitleProcessor(ENTITY), ledger=Crashing(new_ledger(), calls, 0, after=True))
    async with running(stage.actor):
        await trio.sleep(1)
        stage.close_group(1)
        await trio.sleep(1)
        assert calls == ["known_jobs", "open_jobs"]


async def test_supplement_names_the_first_job_only_if_there_is_one(autojump_clock):
    """Seed 2687 of the simulation: the AE Title had another pipeline by then."""
    other = ApplicationEntity(name="brain", ae_title="BRAIN", pipelines={"seg": "p1", "new": "p3"})
    stage = Stage()
    async with running(stage.actor):
        stage.close_group(1)
        await trio.sleep(1)
        (first,) = [job for job in await stage.ledger.jobs() if job.pipeline == "seg"]
    stage.make(AETitleProcessor(other))
    async with running(stage.actor):
        stage.close_group(2, supplements="group-1")
        await trio.sleep(1)
        late = [job for job in await stage.ledger.jobs() if job.group_id == "group-2"]
        assert {job.pipeline: job.supplements for job in late} == {"seg": first.id, "new": ""}


async def test_supplement_names_a_first_job_that_is_to_be_opened_yet(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        stage.close_group(2, supplements="group-1")
        stage.close_group(1)
        await trio.sleep(1)
        jobs = await stage.ledger.jobs()
        first = {job.pipeline: job.id for job in jobs if job.group_id == "group-1"}
        late = {job.pipeline: job.supplements for job in jobs if job.group_id == "group-2"}
        assert late == first
