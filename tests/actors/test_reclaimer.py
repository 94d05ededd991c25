"""Reclaimer: what holds a job, what goes, and the word about low space."""

import msgspec
import pytest
import trio
import trio.testing
from actor_ports import Disk, Space, a_job, an_export, new_ledger, running, wall

from adapter.actors.reclaimer import POLL_S, Reclaimer
from adapter.channels import notify
from adapter.domain.retention import Retention
from adapter.domain.space_trend import SpaceTrend
from adapter.domain.tables import JOB_WAITING, JOB_WORKING, ExportState, JobState


class Stage:
    """A reclaimer over a ledger, a disk and its space."""

    def __init__(self):
        self.ledger, self.disk, self.space, self.events = new_ledger(), Disk(), Space(), []
        self.wake, woken = trio.open_memory_channel(1)
        self.actor = Reclaimer(
            ledger=self.ledger, store=self.disk, payloads=self.disk, space=self.space, wake=woken,
            publish=self.events.append, now=wall,
            retention=Retention(completed_s=100.0, faulted_s=1000.0),
            trend=SpaceTrend(),
        )  # fmt: skip

    async def open(self, state=JobState.COMPLETED, *exports, collected=True):
        job = a_job(state=state, collected=collected)
        await self.ledger.open_jobs([job])
        await self.disk.create_payload(job)
        if exports:
            await self.ledger.open_exports(
                "job-1", [(an_export(state=each), {}) for each in exports]
            )

    async def left(self):
        rows = [job.id for job in await self.ledger.jobs()]
        assert (rows == []) == (self.disk.payloads == {}), "rows and folders go together"
        return rows

    def told(self):
        return [event.type for event in self.events]


async def test_completed_job_goes_after_its_retention(autojump_clock):
    stage = Stage()
    await stage.open(JobState.COMPLETED, ExportState.COMPLETED)
    async with running(stage.actor):
        await trio.sleep(99)
        assert await stage.left() == ["job-1"]
        await trio.sleep(1 + POLL_S)
        assert await stage.left() == []
        assert await stage.ledger.exports() == []
        assert stage.told() == ["storage.reclaimed"]
        assert stage.events[0].facts == {"bytes": 10}


async def test_faulted_job_goes_after_its_own_retention(autojump_clock):
    stage = Stage()
    await stage.open(JobState.FAULTED, collected=False)
    async with running(stage.actor):
        await trio.sleep(999)
        assert await stage.left() == ["job-1"]
        await trio.sleep(1 + POLL_S)
        assert await stage.left() == []


@pytest.mark.parametrize("state", [ExportState.QUEUED, ExportState.SENDING, ExportState.FAILED])
async def test_export_that_is_not_completed_holds_the_job(autojump_clock, state):
    stage = Stage()
    stage.space.low = stage.space.next_low = True
    await stage.open(JobState.COMPLETED, state)
    async with running(stage.actor):
        await trio.sleep(2000)
        assert await stage.left() == ["job-1"]


@pytest.mark.parametrize("state", sorted(JOB_WAITING | JOB_WORKING))
async def test_job_that_has_not_ended_is_held(autojump_clock, state):
    stage = Stage()
    stage.space.low = stage.space.next_low = True
    await stage.open(state)
    async with running(stage.actor):
        await trio.sleep(2000)
        assert await stage.left() == ["job-1"]


async def test_results_that_are_not_collected_hold_the_job(autojump_clock):
    stage = Stage()
    await stage.open(collected=False)
    async with running(stage.actor):
        await trio.sleep(2000)
        assert await stage.left() == ["job-1"]


async def test_completed_job_goes_at_once_when_space_is_low(autojump_clock):
    stage = Stage()
    await stage.open(JobState.COMPLETED, ExportState.COMPLETED)
    async with running(stage.actor):
        stage.space.next_low = True
        await trio.sleep(2 * POLL_S + 1)
        assert await stage.left() == []


async def test_job_goes_soon_after_a_hint(autojump_clock):
    stage = Stage()
    stage.space.low = stage.space.next_low = True
    async with running(stage.actor):
        await trio.sleep(1)
        await stage.open()
        notify(stage.wake)
        await trio.sleep(0.1)
        assert await stage.left() == []


async def test_files_go_before_the_row_and_the_group_before_all(autojump_clock):
    stage = Stage()
    stage.space.low = stage.space.next_low = True
    await stage.open()
    async with running(stage.actor):
        await trio.sleep(1)
    assert stage.disk.calls == [("remove_group", "group-job-1"), ("remove_payload", "job-1")]


@pytest.mark.parametrize("step", ["remove_group", "remove_payload"])
async def test_job_that_cannot_be_removed_is_kept_and_tried_again(autojump_clock, step):
    stage = Stage()
    stage.space.low = stage.space.next_low = True
    await stage.open()
    stage.disk.faults = [step]
    async with running(stage.actor):
        await trio.sleep(0.1)
        assert await stage.left() == ["job-1"]
        await trio.sleep(POLL_S)
        assert await stage.left() == []
        assert stage.told().count("storage.reclaimed") == 1


async def test_low_space_is_told_once_and_its_recovery_too(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        for low in (True, True, False, False, True):
            stage.space.next_low = low
            await trio.sleep(POLL_S + 0.1)
        assert stage.told() == ["storage.low", "storage.recovered", "storage.low"]
        assert stage.events[0].facts == {"totalBytes": 100, "freeBytes": 1, "reservedBytes": 10}


async def test_space_is_known_before_anybody_is_admitted(autojump_clock):
    stage = Stage()
    stage.space.next_low = True
    async with running(stage.actor):
        assert stage.space.low


async def test_space_that_cannot_be_measured_stops_nothing(autojump_clock):
    stage = Stage()
    stage.space.broken = True
    await stage.open()
    async with running(stage.actor):
        await trio.sleep(100 + POLL_S)
        assert await stage.left() == []


async def test_stop_reclaims_once_more_and_ends(autojump_clock):
    stage = Stage()
    stage.space.low = stage.space.next_low = True
    async with running(stage.actor) as nursery:
        await trio.sleep(1)
        await stage.open()
        stage.wake.close()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        assert trio.current_time() == 1
        assert await stage.left() == []


async def test_low_space_takes_what_ended_longest_ago_and_no_more_than_it_needs(autojump_clock):
    stage = Stage()
    for number in (3, 1, 2):
        job = a_job(f"job-{number}", state=JobState.COMPLETED, collected=True)
        job = msgspec.structs.replace(job, changed_at=wall() + number)
        await stage.ledger.open_jobs([job])
        await stage.disk.create_payload(job)
    stage.space.low = stage.space.next_low = True
    remove = stage.disk.remove_payload

    async def removing(job_id):
        freed = await remove(job_id)
        stage.space.next_low = len(stage.disk.payloads) > 1
        return freed

    stage.disk.remove_payload = removing
    async with running(stage.actor):
        await trio.sleep(1)
        assert list(stage.disk.payloads) == ["job-3"]
        await trio.sleep(50)
        assert await stage.left() == ["job-3"]


async def test_want_of_anything_but_space_hurries_nothing(autojump_clock):
    stage = Stage()
    stage.space.low = stage.space.next_low = True
    stage.space.fault = "storage failed: Read-only file system"
    await stage.open(JobState.COMPLETED, ExportState.COMPLETED)
    async with running(stage.actor):
        await trio.sleep(50)
        assert await stage.left() == ["job-1"]
    assert stage.events == []


async def test_job_that_cannot_be_removed_says_why(autojump_clock):
    stage = Stage()
    stage.space.low = stage.space.next_low = True
    await stage.open()
    stage.disk.faults = ["remove_payload"]
    async with running(stage.actor):
        await trio.sleep(0.1)
        assert (await stage.ledger.job("job-1")).error == "storage failed"
        await trio.sleep(POLL_S)
        assert await stage.left() == []
