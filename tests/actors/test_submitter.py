"""Submitter: steps, retries, limits, priorities, stops."""

import itertools

import pytest
import trio
import trio.testing
from actor_ports import Crashing, a_job, running, wall
from submitting import Stage

from adapter.actors.submitter import ERROR_LENGTH_MAX, POLL_S
from adapter.domain.queueing import AGEING_S
from adapter.domain.tables import JOB_TERMINAL, JobState
from adapter.errors import PipelineError, PostponedError, UnavailableError
from adapter.supervision import ESSENTIAL, supervise


async def test_job_walks_through_every_step(autojump_clock):
    """T-126, T-129, T-130, T-144, T-147: each call of the platform once, its id kept."""
    stage = Stage()
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1)
        job = await stage.ledger.job("job-1")
        assert (job.state, job.platform_job_id) == (JobState.COMPLETED, "platform-job-1")
        assert [step for step, _, _ in stage.engine.calls] == [
            "create", "upload_metadata", "upload", "start", "wait",
        ]  # fmt: skip
        assert [event.facts["state"] for event in stage.events] == [
            "Creating", "Created", "MetadataUploading", "MetadataUploaded", "PayloadUploading",
            "PayloadUploaded", "Starting", "Completed",
        ]  # fmt: skip
        assert stage.events[-1].type == "job.completed"
        stage.results.receive_nowait()


async def test_job_that_was_there_before_is_taken_up(autojump_clock):
    stage = Stage()
    await stage.ledger.open_jobs([a_job(state=JobState.PAYLOAD_UPLOADED)])
    async with running(stage.actor):
        await trio.sleep(1)
        assert await stage.state() is JobState.COMPLETED
        assert stage.engine.order("create") == []
        assert stage.engine.order("start") == ["job-1"]


async def test_failing_step_is_tried_again_and_then_the_job_is_faulted(autojump_clock):
    """T-125, T-140, T-141."""
    stage = Stage(max_retries=3)
    stage.engine.errors["create", "job-1"] = [UnavailableError(f"try {n}") for n in range(9)]
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1000)
        job = await stage.ledger.job("job-1")
        assert (job.state, job.try_count, job.error) == (JobState.FAULTED, 4, "try 3")
        tries = stage.engine.times("create")
        pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
        assert len(tries) == 4
        for pause, least in zip(pauses, (60, 120, 240), strict=True):  # ever longer
            assert least <= pause <= least + POLL_S
        assert stage.events[-1].type == "job.faulted"


async def test_job_that_has_lost_an_instance_is_faulted_before_a_platform_hears_of_it(
    autojump_clock,
):
    """F69."""
    stage = Stage(max_retries=3)
    stage.disk.inputs["job-1"] = 1
    async with running(stage.actor):
        await stage.open(a_job(instances=3))
        await trio.sleep(1)
        job = await stage.ledger.job("job-1")
        assert job.state is JobState.FAULTED
        assert job.error == "2 of 3 instances are missing in its folder"
        assert stage.engine.calls == []
        assert stage.events[-1].type == "job.faulted"


async def test_platform_may_take_away_what_it_was_given(autojump_clock):
    stage = Stage()
    stage.disk.inputs["job-1"] = 0
    await stage.ledger.open_jobs([a_job(state=JobState.PAYLOAD_UPLOADED)])
    async with running(stage.actor):
        await trio.sleep(1)
        assert await stage.state() is JobState.COMPLETED


async def test_job_whose_folder_has_gone_is_faulted(autojump_clock):
    """F69."""
    stage = Stage()
    stage.disk.inputs["job-1"] = None
    await stage.ledger.open_jobs([a_job(state=JobState.PAYLOAD_UPLOADED)])
    async with running(stage.actor):
        await trio.sleep(1)
        job = await stage.ledger.job("job-1")
        assert (job.state, job.error) == (JobState.FAULTED, "its folder has gone")


async def test_no_retries_means_one_try(autojump_clock):
    stage = Stage(max_retries=0)
    stage.engine.errors["create", "job-1"] = [UnavailableError("no")]
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1)
        assert await stage.state() is JobState.FAULTED


async def test_retry_begins_with_the_step_that_failed(autojump_clock):
    """T-128."""
    stage = Stage()
    stage.engine.errors["upload", "job-1"] = [UnavailableError("full")]
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(100)
        assert await stage.state() is JobState.COMPLETED
        assert len(stage.engine.times("create")) == 1
        assert len(stage.engine.times("upload")) == 2


async def test_every_step_has_its_own_retries(autojump_clock):
    """T-143, T-146, T-152."""
    stage = Stage(max_retries=1)
    for step in ("create", "upload_metadata", "upload", "start"):
        stage.engine.errors[step, "job-1"] = [UnavailableError("once")]
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1000)
        job = await stage.ledger.job("job-1")
        assert (job.state, job.try_count, job.error) == (JobState.COMPLETED, 0, "")


async def test_pipeline_that_ends_without_a_result_is_run_again(autojump_clock):
    """T-149, T-150."""
    stage = Stage(max_retries=1)
    stage.engine.errors["wait", "job-1"] = [PipelineError("x" * 2000), PipelineError("y" * 2000)]
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1000)
        job = await stage.ledger.job("job-1")
        assert (job.state, job.error) == (JobState.FAULTED, "y" * ERROR_LENGTH_MAX)
        assert len(stage.engine.times("start")) == 2


async def test_outage_of_hours_counts_as_no_try(autojump_clock):
    stage = Stage(max_retries=0)
    for step in ("create", "upload", "wait"):
        stage.engine.errors[step, "job-1"] = [PostponedError("away")] * 400
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(3600)
        job = await stage.ledger.job("job-1")
        assert (job.state, job.try_count, job.error) == (JobState.QUEUED, 0, "away")
        assert stage.events[-1].facts["error"] == "away"
        await trio.sleep(80_000)
        assert await stage.state() is JobState.COMPLETED
        assert len(stage.engine.times("create")) == 401


async def test_platform_that_says_when_is_not_asked_before(autojump_clock):
    stage = Stage(max_retries=0)
    stage.engine.errors["create", "job-1"] = [PostponedError("later", 600.0)]
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1000)
        first, second = stage.engine.times("create")
        assert 600 <= second - first <= 600 + POLL_S


async def test_job_is_not_taken_up_before_it_is_due(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await stage.open(a_job(due_at=wall() + 42))
        await trio.sleep(100)
        (at,) = stage.engine.times("create")
        assert 42 <= at <= 42 + POLL_S


async def test_slow_pipeline_delays_no_other(autojump_clock):
    stage = Stage()
    stage.engine.run_s["slow"] = 10_000.0
    stage.engine.limits["slow"] = 1
    async with running(stage.actor):
        slow = [a_job(f"slow-{n}", pipeline_id="slow", priority="immediate") for n in range(5)]
        await stage.open(*slow, a_job("quick", pipeline_id="quick", priority="lower"))
        await trio.sleep(1)
        assert await stage.state("quick") is JobState.COMPLETED
        assert await stage.state("slow-0") is JobState.STARTING
        assert await stage.state("slow-1") is JobState.QUEUED


async def test_pipeline_runs_only_so_many_jobs_at_once(autojump_clock):
    stage = Stage()
    stage.engine.run_s["p1"] = 10.0
    stage.engine.limits["p1"] = 2
    async with running(stage.actor):
        await stage.open(*[a_job(f"job-{n}") for n in range(6)])
        await trio.sleep(29.9)
        assert stage.engine.most == {"p1": 2}
        await trio.sleep(0.2)
        assert {await stage.state(f"job-{n}") for n in range(6)} == {JobState.COMPLETED}


async def test_urgent_jobs_come_first_and_older_ones_before_younger(autojump_clock):
    stage = Stage()
    stage.engine.limits["p1"] = 1
    async with running(stage.actor):
        await stage.open(
            a_job("low", priority="lower", opened_at=1.0),
            a_job("normal-2", opened_at=3.0),
            a_job("normal-1", opened_at=2.0),
            a_job("high", priority="higher", opened_at=4.0),
            a_job("now", priority="immediate", opened_at=5.0),
        )
        await trio.sleep(1)
        assert stage.engine.order("create") == ["now", "high", "normal-1", "normal-2", "low"]


async def test_waiting_job_leaves_its_place_to_others(autojump_clock):
    """A job that pauses before its retry does not count as running."""
    stage = Stage()
    stage.engine.limits["p1"] = 1
    stage.engine.errors["create", "job-1"] = [UnavailableError("no")]
    async with running(stage.actor):
        await stage.open(a_job("job-1", priority="immediate"), a_job("job-2"))
        await trio.sleep(1)
        assert await stage.state("job-2") is JobState.COMPLETED


async def test_uploads_are_limited_over_all_pipelines(autojump_clock):
    stage = Stage(uploads=2)
    stage.engine.upload_s = 1.0
    async with running(stage.actor):
        await stage.open(*[a_job(f"job-{n}", pipeline_id=f"p{n}") for n in range(6)])
        await trio.sleep(3.5)
        assert stage.engine.uploading_most == 2
        assert len(stage.engine.order("upload")) == 6


async def test_stop_interrupts_and_the_next_start_goes_on(autojump_clock):
    """T-122."""
    stage = Stage()
    stage.engine.run_s["p1"] = 100.0
    async with running(stage.actor) as nursery:
        await stage.open(a_job())
        await trio.sleep(50)
        stage.wake.close()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
    assert stage.engine.times("wait") == []
    again = Stage()
    again.actor.ledger, again.actor.platform = stage.ledger, stage.engine
    async with running(again.actor):
        await trio.sleep(101)
        assert await stage.state() is JobState.COMPLETED
    assert len(stage.engine.times("create")) == 1


async def test_jobs_in_hand_survive_a_crash(autojump_clock):
    stage = Stage()
    stage.engine.run_s["p2"] = 10.0
    stage.engine.errors["upload", "job-1"] = [RuntimeError("a bug")]
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, stage.actor, ESSENTIAL, lambda event: None)
        await stage.open(a_job("job-1"), a_job("job-2", pipeline_id="p2"))
        await trio.sleep(60)
        assert await stage.state("job-1") is JobState.COMPLETED
        assert await stage.state("job-2") is JobState.COMPLETED
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("state", sorted(JOB_TERMINAL))
async def test_job_that_has_ended_is_left_alone(autojump_clock, state):
    stage = Stage()
    async with running(stage.actor):
        await stage.open(a_job(state=state))
        await trio.sleep(100)
        assert stage.engine.calls == []


async def test_pauses_grow_and_differ_by_what_is_drawn(autojump_clock):
    """What failed together does not come back together."""
    stage = Stage(max_retries=2)
    stage.drawn = 0.5
    stage.engine.errors["create", "job-1"] = [UnavailableError("away")] * 9
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1)
        job = await stage.ledger.job("job-1")
        assert job.due_at - wall() == pytest.approx(60 * 1.05 - 1)
        assert stage.events[-1].facts["dueAt"] == "2023-11-14T22:14:23.000Z"
        assert stage.figures.retries == {JobState.CREATING: 1}


async def test_retry_delay_of_the_job_goes_before_the_platforms(autojump_clock):
    stage = Stage()
    stage.engine.errors["create", "job-1"] = [UnavailableError("away")]
    async with running(stage.actor):
        await stage.open(a_job(retry_delay_s=7.0))
        await trio.sleep(60)
        first, second = stage.engine.times("create")
        assert 7 <= second - first <= 7 + POLL_S


async def test_job_that_waited_long_goes_before_a_more_urgent_one(autojump_clock):
    stage = Stage()
    stage.engine.limits["p1"] = 1
    async with running(stage.actor):
        await stage.open(
            a_job("old", priority="normal", opened_at=wall() - AGEING_S - 1),
            a_job("young", priority="higher", opened_at=wall()),
        )
        await trio.sleep(1)
        assert stage.engine.order("create") == ["old", "young"]


async def test_metadata_of_the_payload_is_handed_over(autojump_clock):
    """T-127, T-153: once, as job.meta has it."""
    stage = Stage()
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1)
        assert stage.engine.metadata == [{"Instances": "1"}]


async def test_metadata_that_cannot_be_read_is_a_failure_of_its_step(autojump_clock):
    stage = Stage(max_retries=0)
    stage.disk.faults = ["metadata"]
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1)
        job = await stage.ledger.job("job-1")
        assert (job.state, job.left) == (JobState.FAULTED, JobState.CREATED)


async def test_wait_for_a_turn_is_counted(autojump_clock):
    stage = Stage()
    stage.engine.limits["p1"] = 1
    stage.engine.run_s["p1"] = 30.0
    async with running(stage.actor):
        await stage.open(a_job("job-1", opened_at=wall()), a_job("job-2", opened_at=wall()))
        await trio.sleep(40)
        waits = dict(stage.figures.waits.cumulative())
        assert (waits[1.0], waits[10.0], waits[60.0], waits[86_400.0]) == (1, 1, 2, 2)
        assert stage.figures.waits.total == pytest.approx(30.0, abs=0.1)


@pytest.mark.parametrize("after", [False, True])
async def test_crash_at_any_call_of_the_platform_loses_and_doubles_nothing(autojump_clock, after):
    """Every step is done again from where the ledger says; T-125, T-128, T-140."""
    for step in ("create", "upload_metadata", "upload", "start", "wait"):
        stage = Stage()
        stage.engine.crash = (step, after)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervise, stage.actor, ESSENTIAL, lambda event: None)
            await stage.open(a_job())
            await trio.sleep(60)
            assert await stage.state() is JobState.COMPLETED
            steps = [name for name, _, _ in stage.engine.calls]
            before = ["create", "upload_metadata", "upload", "start", "wait"]
            assert {name: steps.count(name) for name in before} == {
                name: 2 if name == step or (name, step) == ("start", "wait") else 1
                for name in before
            }
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("after", [False, True])
async def test_crash_at_any_call_of_the_ledger_loses_nothing(autojump_clock, after):
    """A step is done at most twice: before it was recorded, and again."""
    at, crashed = 0, True
    while crashed:
        at += 1
        stage, calls, events = Stage(), [], []
        stage.actor.ledger = Crashing(stage.ledger, calls, at, after=after)
        await stage.ledger.open_jobs([a_job()])
        async with trio.open_nursery() as nursery:
            if at > 1:  # the first is a failed boot
                await nursery.start(supervise, stage.actor, ESSENTIAL, events.append)
                await trio.sleep(32.5)  # not when it looks by itself
                assert await stage.state() is JobState.COMPLETED, (at, calls)
                steps = [name for name, _, _ in stage.engine.calls]
                assert all(1 <= steps.count(name) <= 2 for name in set(steps))
                assert len(set(steps)) == 5
                crashed = any(event.type == "actor.crashed" for event in events)
            nursery.cancel_scope.cancel()
    assert at > 12
