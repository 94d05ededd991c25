"""Submitter: what an operator may want of a job, and what comes of it."""

import pytest
import trio
import trio.testing
from actor_ports import a_job, running, wall
from submitting import Stage

from adapter.channels import notify
from adapter.domain.messages import OrderRefusal
from adapter.domain.records import Job
from adapter.domain.tables import JOB_TERMINAL, JobState
from adapter.errors import UnavailableError
from adapter.supervision import ESSENTIAL, supervise

STEPS = ("create", "upload_metadata", "upload", "start", "wait")


async def faulted(stage, step):
    """Open a job and let it fail for good at a step."""
    stage.engine.errors[step, "job-1"] = [UnavailableError("away")]
    await stage.open(a_job())
    await trio.sleep(1)
    assert await stage.state() is JobState.FAULTED


@pytest.mark.parametrize("step", STEPS)
async def test_retried_job_goes_on_at_the_step_that_failed(autojump_clock, step):
    """W-54: Clara's faulted jobs were gone."""
    stage = Stage(max_retries=0)
    async with running(stage.actor):
        await faulted(stage, step)
        done_before = STEPS[: STEPS.index("start" if step == "wait" else step)]
        stage.engine.calls.clear()
        job = await stage.order("retry")
        assert (job.try_count, job.error, job.submissions) == (0, "", 2)
        assert job.state in {JobState.QUEUED, JobState.CREATED, JobState.METADATA_UPLOADED,
                             JobState.PAYLOAD_UPLOADED}  # fmt: skip
        await trio.sleep(1)
        assert await stage.state() is JobState.COMPLETED
        assert [name for name, _, _ in stage.engine.calls] == list(STEPS[len(done_before) :])


async def test_retried_job_has_all_its_tries_again(autojump_clock):
    stage = Stage(max_retries=1)
    stage.engine.errors["create", "job-1"] = [UnavailableError("away")] * 3
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(100)
        assert await stage.state() is JobState.FAULTED
        await stage.order("retry")
        await trio.sleep(100)
        assert await stage.state() is JobState.COMPLETED
        assert len(stage.engine.times("create")) == 4


async def test_retried_job_queues_as_a_new_one(autojump_clock):
    stage = Stage()
    stage.engine.limits["p1"] = 0
    await stage.ledger.open_jobs([a_job(state=JobState.FAULTED, opened_at=wall() - 1e6)])
    async with running(stage.actor):
        job = await stage.order("retry")
        assert job.queued_at == wall()
        stage.engine.limits["p1"] = 1
        await stage.open(a_job("job-2", priority="higher"))
        await trio.sleep(1)
        assert stage.engine.order("create") == ["job-2", "job-1"]


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.FAULTED, JobState.CANCELLED}))
async def test_only_what_faulted_or_was_cancelled_is_retried(autojump_clock, state):
    stage = Stage()
    stage.engine.limits["p1"] = 0
    await stage.ledger.open_jobs([a_job(state=state)])
    async with running(stage.actor):
        refused = await stage.order("retry")
        assert refused.refusal is OrderRefusal.STATE
        assert refused.why.startswith("the job is ")


async def test_job_whose_files_are_being_removed_is_not_retried(autojump_clock):
    stage = Stage()
    await stage.ledger.open_jobs([a_job(state=JobState.FAULTED)])
    assert await stage.ledger.condemn_job(await stage.ledger.job("job-1"))
    async with running(stage.actor):
        assert (await stage.order("retry")).refusal is OrderRefusal.STATE


async def test_job_that_waits_is_cancelled_without_a_word_to_the_platform(autojump_clock):
    stage = Stage()
    stage.engine.limits["p1"] = 0
    async with running(stage.actor):
        await stage.open(a_job())
        job = await stage.order("cancel")
        assert job.state is JobState.CANCELLED
        stage.engine.limits["p1"] = 1
        await trio.sleep(20)
        assert stage.engine.calls == []
        assert stage.events[-1].type == "job.cancelled"


@pytest.mark.parametrize("step", STEPS)
async def test_cancel_interrupts_any_step_and_stops_what_runs(autojump_clock, step):
    stage = Stage()
    stage.engine.hold(step)
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(10)
        assert stage.engine.held == 1
        job = await stage.order("cancel")
        assert (job.state, job.stopping) == (JobState.CANCELLED, True)
        await trio.sleep(1)
        assert stage.engine.held == 0
        assert stage.engine.cancelled == ["job-1"]
        job = await stage.ledger.job("job-1")
        assert (job.state, job.stopping, job.error) == (JobState.CANCELLED, False, "")
        await trio.sleep(100)
        assert stage.states()[-1] == "Cancelled"
        assert "Completed" not in stage.states()


@pytest.mark.parametrize("step", STEPS)
async def test_cancel_in_the_very_moment_in_which_a_step_ends(autojump_clock, step):
    """Its result is there, and nobody has recorded it yet: the cancel is first."""
    stage = Stage()
    release = stage.engine.hold(step)
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(10)
        release.set()
        job = await stage.order("cancel")
        await trio.sleep(10)
        after = await stage.ledger.job("job-1")
        if isinstance(job, Job):
            assert after.state is JobState.CANCELLED
        else:
            assert after.state is JobState.COMPLETED


async def test_cancelled_job_gives_its_place_to_the_next(autojump_clock):
    stage = Stage()
    stage.engine.limits["p1"] = 1
    stage.engine.run_s["p1"] = 1e6
    async with running(stage.actor):
        await stage.open(a_job("job-1", priority="higher"), a_job("job-2"))
        await trio.sleep(1)
        assert await stage.state("job-2") is JobState.QUEUED
        await stage.order("cancel")
        await trio.sleep(1)
        assert await stage.state("job-2") is JobState.STARTING


@pytest.mark.parametrize("state", sorted(JOB_TERMINAL))
async def test_job_that_has_ended_is_not_cancelled(autojump_clock, state):
    stage = Stage()
    await stage.ledger.open_jobs([a_job(state=state)])
    async with running(stage.actor):
        refused = await stage.order("cancel")
        assert (refused.refusal, refused.why) == (OrderRefusal.STATE, f"the job is {state}")


async def test_cancelled_job_that_is_retried_begins_anew(autojump_clock):
    stage = Stage()
    stage.engine.run_s["p1"] = 100.0
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1)
        await stage.order("cancel")
        await trio.sleep(1)
        job = await stage.order("retry")
        assert (job.state, job.submissions) == (JobState.QUEUED, 2)
        await trio.sleep(101)
        assert await stage.state() is JobState.COMPLETED
        assert len(stage.engine.times("create")) == 2


async def test_platform_that_is_away_is_told_to_stop_until_it_obeys(autojump_clock):
    stage = Stage()
    stage.engine.run_s["p1"] = 1e6
    stage.engine.errors["cancel", "job-1"] = [UnavailableError("away")] * 2
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1)
        await stage.order("cancel")
        await trio.sleep(1)
        job = await stage.ledger.job("job-1")
        assert job.stopping
        assert job.error == "its pipeline may still run: away"
        assert (await stage.order("retry")).refusal is OrderRefusal.STATE
        await trio.sleep(300)
        assert stage.engine.cancelled == ["job-1"] * 3
        job = await stage.ledger.job("job-1")
        assert (job.stopping, job.error) == (False, "")


async def test_platform_that_never_obeys_is_given_up(autojump_clock):
    stage = Stage(max_retries=1)
    stage.engine.run_s["p1"] = 1e6
    stage.engine.errors["cancel", "job-1"] = [UnavailableError("away")] * 9
    async with running(stage.actor):
        await stage.open(a_job())
        await trio.sleep(1)
        await stage.order("cancel")
        await trio.sleep(1000)
        assert len(stage.engine.cancelled) == 2
        job = await stage.ledger.job("job-1")
        assert (job.stopping, job.error) == (False, "its pipeline may still run: away")


async def test_next_life_stops_what_a_cancelled_job_left_running(autojump_clock):
    stage = Stage()
    await stage.ledger.open_jobs([a_job(state=JobState.CANCELLED, stopping=True)])
    async with running(stage.actor):
        await trio.sleep(1)
        assert stage.engine.cancelled == ["job-1"]


async def test_crash_while_a_pipeline_is_stopped_is_made_good(autojump_clock):
    stage = Stage()
    stage.engine.crash = ("cancel", False)
    stage.engine.run_s["p1"] = 1e6
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, stage.actor, ESSENTIAL, lambda event: None)
        await stage.open(a_job())
        await trio.sleep(1)
        await stage.order("cancel")
        await trio.sleep(10)
        assert stage.engine.cancelled == ["job-1", "job-1"]
        assert not (await stage.ledger.job("job-1")).stopping
        nursery.cancel_scope.cancel()


async def test_unknown_job_is_neither_retried_nor_cancelled(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        for action in ("retry", "cancel"):
            assert (await stage.order(action, "job-x")).refusal is OrderRefusal.UNKNOWN


async def test_repeated_order_changes_nothing(autojump_clock):
    stage = Stage()
    stage.engine.limits["p1"] = 0
    async with running(stage.actor):
        await stage.open(a_job())
        first = await stage.order("cancel", key="k1")
        assert await stage.order("cancel", key="k1") == first
        assert (await stage.order("cancel", key="k2")).refusal is OrderRefusal.STATE
        resubmitted = await stage.order("retry", key="k3")
        await stage.order("cancel", key="k4")
        again = await stage.order("retry", key="k3")
        assert (again.state, again.submissions) == (JobState.CANCELLED, resubmitted.submissions)


async def test_key_of_another_order_is_refused(autojump_clock):
    stage = Stage()
    stage.engine.limits["p1"] = 0
    async with running(stage.actor):
        await stage.open(a_job(), a_job("job-2"))
        await stage.order("cancel", key="k1")
        assert (await stage.order("retry", key="k1")).refusal is OrderRefusal.KEY
        assert (await stage.order("cancel", "job-2", key="k1")).refusal is OrderRefusal.KEY
        assert await stage.state("job-2") is JobState.QUEUED


async def test_refused_order_does_not_use_its_key_up(autojump_clock):
    stage = Stage()
    stage.engine.limits["p1"] = 0
    async with running(stage.actor):
        await stage.open(a_job())
        assert (await stage.order("retry", key="k1")).refusal is OrderRefusal.STATE
        await stage.order("cancel")
        assert (await stage.order("retry", key="k1")).state is JobState.QUEUED


async def test_asker_is_told_when_the_submitter_has_stopped(autojump_clock):
    stage = Stage()
    async with running(stage.actor) as nursery:
        stage.wake.close()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        stage.actor.close()
        with pytest.raises(trio.BrokenResourceError):
            await stage.order("cancel")


async def test_many_orders_at_once_are_all_answered(autojump_clock):
    stage = Stage()
    stage.engine.run_s["p1"] = 1e6
    async with running(stage.actor):
        await stage.open(*[a_job(f"job-{n}") for n in range(20)])
        await trio.sleep(1)
        answers = []
        async with trio.open_nursery() as operators:

            async def order(action, job_id):
                answers.append(await stage.order(action, job_id))

            for n in range(20):
                operators.start_soon(order, "cancel", f"job-{n}")
                operators.start_soon(order, "cancel", f"job-{n}")
        assert sum(isinstance(answer, Job) for answer in answers) == 20
        await trio.sleep(10)
        assert sorted(stage.engine.cancelled) == sorted(f"job-{n}" for n in range(20))
        notify(stage.wake)
        assert {await stage.state(f"job-{n}") for n in range(20)} == {JobState.CANCELLED}


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.COMPLETED, JobState.FAULTED])
async def test_job_is_held_and_released_in_any_state(autojump_clock, state):
    stage = Stage()
    stage.engine.limits["p1"] = 0
    await stage.ledger.open_jobs([a_job(state=state)])
    async with running(stage.actor):
        assert (await stage.order("hold")).held
        assert (await stage.order("hold")).held
        job = await stage.order("release")
        assert (job.held, job.state) == (False, state)


async def test_job_whose_files_are_being_removed_is_not_held(autojump_clock):
    stage = Stage()
    await stage.ledger.open_jobs([a_job(state=JobState.FAULTED)])
    assert await stage.ledger.condemn_job(await stage.ledger.job("job-1"))
    async with running(stage.actor):
        assert (await stage.order("hold")).refusal is OrderRefusal.STATE
