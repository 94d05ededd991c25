"""Results and registered results: what becomes an export, what waits, what is held."""

import msgspec
import pytest
import trio
import trio.testing
from collecting import DESTINATIONS, OWN, REPORT_S, RETRY_S, Collection

from adapter.channels import notify
from adapter.domain.tables import ExportState, JobState, StepEvent, TaskState
from adapter.domain.tasks import TaskRefusal

AGENT = "Fhir-1"


@pytest.fixture
def collection():
    return Collection()


# --- jobs


async def test_results_go_to_the_destinations_of_the_ae_title(autojump_clock, collection):
    async with collection.running():
        await collection.job(destinations=("pacs", "Archive"))
        assert await collection.exports() == [
            ("Archive", "a.dcm"), ("Archive", "b.dcm"), ("pacs", "a.dcm"), ("pacs", "b.dcm"),
        ]  # fmt: skip
        assert collection.woken["pacs"].receive_nowait()


async def test_files_that_are_no_instances_are_told_and_kept_in_the_row(autojump_clock, collection):
    collection.folders.others["job-1"] = [f"{number}.txt" for number in range(50)]
    async with collection.running():
        await collection.job(destinations=("pacs",))
        (told,) = collection.told("job.collected")
        assert told == {
            "state": "Completed", "results": 2, "skipped": 50, "named": 0, "exports": 1,
        }  # fmt: skip
        job = await collection.ledger.job("job-1")
        assert (job.results, job.skipped, len(job.skipped_files)) == (2, 50, 20)


async def test_folder_that_cannot_be_read_waits_and_holds_up_no_other(autojump_clock, collection):
    collection.folders.broken.add("job-1")
    async with collection.running():
        await collection.job("job-1", destinations=("pacs",))
        await collection.job("job-2", destinations=("pacs",))
        assert [e.job_id for e in await collection.ledger.exports()] == ["job-2"]
        collection.folders.broken.clear()
        await trio.sleep(6)
        assert {e.job_id for e in await collection.ledger.exports()} == {"job-1", "job-2"}


async def test_what_a_task_names_is_not_sent_by_configuration_as_well(autojump_clock, collection):
    async with collection.running():
        await collection.job(state=JobState.STARTING, destinations=("pacs",))
        await collection.register("a.dcm", to=["Archive"])
        assert await collection.exports() == []
        await collection.ledger.change_job("job-1", StepEvent.SUCCEED)
        await trio.sleep(6)
        assert await collection.exports() == [("Archive", "a.dcm"), ("pacs", "b.dcm")]


# --- registering


async def test_task_without_destinations_goes_where_the_ae_title_says(autojump_clock, collection):
    async with collection.running():
        await collection.job(destinations=("pacs",))
        before = len(await collection.ledger.exports())
        task, new = await collection.register("a.dcm")
        assert (new, task.agent, before) == (True, OWN, 1)
        assert len(await collection.ledger.exports()) == 2
        assert collection.ledger.tasks.find(task.id).state is TaskState.IN_PROGRESS


async def test_registering_the_same_again_changes_nothing(autojump_clock, collection):
    async with collection.running():
        await collection.job()
        first, _ = await collection.register("a.dcm", to=["pacs"])
        again, new = await collection.register("a.dcm", to=["PACS"])
        assert (again.id, new) == (first.id, False)
        other, new = await collection.register("b.dcm", to=["pacs"])
        assert new
        assert other.id != first.id
        assert len(await collection.ledger.exports()) == 2
        assert len(collection.told("task.registered")) == 2


async def test_unknown_job_and_unknown_destination_are_refused(autojump_clock, collection):
    async with collection.running():
        await collection.job()
        refused = await collection.register("a.dcm", job="job-9")
        assert refused.refusal is TaskRefusal.UNKNOWN
        refused = await collection.register("a.dcm", to=["pacs", "nobody", "other"])
        assert refused.refusal is TaskRefusal.INVALID
        assert len(refused.problems) == 2
        assert collection.ledger.tasks.select() == []


async def test_registered_task_survives_and_holds_its_job(autojump_clock, collection):
    async with collection.running():
        await collection.job()
        task, _ = await collection.register(*(f"{n}/{'x' * 200}.dcm" for n in range(500)),
                                            agent=AGENT)  # fmt: skip
    collection.restart()
    assert collection.ledger.tasks.find(task.id) == task
    assert len(collection.ledger.tasks.files(task.id)) == task.files == 500
    assert (await collection.ledger.job("job-1")).tasks == 1
    await collection.ledger.remove_job("job-1")
    collection.restart()
    assert collection.ledger.tasks.select() == []


async def test_job_that_is_being_removed_takes_no_task(autojump_clock, collection):
    async with collection.running():
        await collection.job()
        seen = await collection.ledger.job("job-1")
        await collection.register("a.dcm", agent=AGENT)
        assert not await collection.ledger.condemn_job(seen)  # as the reclaimer saw it before
        assert await collection.ledger.condemn_job(await collection.ledger.job("job-1"))
        refused = await collection.register("b.dcm", agent=AGENT)
        assert refused.refusal is TaskRefusal.UNKNOWN


# --- tasks of the adapter itself


async def test_task_ends_with_its_exports(autojump_clock, collection):
    async with collection.running():
        await collection.job()
        task, _ = await collection.register("a.dcm", to=["pacs", "Archive"])
        await trio.sleep(20)
        assert collection.ledger.tasks.find(task.id).state is TaskState.IN_PROGRESS
        collection.exported(ExportState.COMPLETED)
        await trio.sleep(1)
        assert collection.ledger.tasks.find(task.id).state is TaskState.SUCCEEDED


async def test_task_fails_with_an_export_and_succeeds_when_that_is_delivered_in_the_end(
    autojump_clock, collection
):
    async with collection.running():
        await collection.job()
        task, _ = await collection.register("a.dcm", to=["pacs"])
        collection.exported(ExportState.FAILED, error="status 0xC000")
        await trio.sleep(1)
        failed = collection.ledger.tasks.find(task.id)
        assert (failed.state, failed.error) == (TaskState.FAILED, "1 of 1 exports: status 0xC000")
        collection.exported(ExportState.COMPLETED)
        await trio.sleep(11)
        assert collection.ledger.tasks.find(task.id).state is TaskState.SUCCEEDED


async def test_file_that_is_missing_fails_the_task_and_the_others_are_sent(
    autojump_clock, collection
):
    collection.folders.others["job-1"] = ["report.txt"]
    async with collection.running():
        await collection.job()
        task, _ = await collection.register("a.dcm", "none.dcm", "report.txt", to=["pacs"])
        assert await collection.exports() == [("pacs", "a.dcm")]
        collection.exported(ExportState.COMPLETED)
        await trio.sleep(1)
        failed = collection.ledger.tasks.find(task.id)
        assert (failed.state, failed.missing, failed.skipped) == (TaskState.FAILED, 1, 1)
        collection.folders.instances["job-1"] = ["a.dcm", "none.dcm"]
        await collection.report(task.id, StepEvent.RESUBMIT)
        assert collection.ledger.tasks.find(task.id).missing == 0


async def test_file_that_comes_late_is_sent_before_its_task_succeeds(autojump_clock, collection):
    """Simulation, seed 36: the service heard of a success, and nobody had been sent the file."""
    async with collection.running():
        await collection.job()
        task, _ = await collection.register("a.dcm", "late.dcm", to=["pacs", "Archive"])
        collection.exported(ExportState.COMPLETED)
        await trio.sleep(1)
        assert collection.ledger.tasks.find(task.id).missing == 1
        collection.folders.instances["job-1"] = ["a.dcm", "late.dcm"]
        await collection.report(task.id, StepEvent.RESUBMIT)
        assert await collection.exports() == [
            ("Archive", "a.dcm"), ("Archive", "late.dcm"),
            ("pacs", "a.dcm"), ("pacs", "late.dcm"),
        ]  # fmt: skip
        await trio.sleep(1)
        assert collection.ledger.tasks.find(task.id).state is TaskState.IN_PROGRESS
        collection.exported(ExportState.COMPLETED)
        await trio.sleep(1)
        assert collection.ledger.tasks.find(task.id).state is TaskState.SUCCEEDED


async def test_task_is_not_done_again_for_a_destination_that_has_gone(autojump_clock, collection):
    async with collection.running():
        await collection.job()
        task, _ = await collection.register("a.dcm", to=["pacs"])
        collection.exported(ExportState.FAILED, error="status 0xC000")
        await trio.sleep(1)
        collection.names.remove("pacs")
        refused = await collection.report(task.id, StepEvent.RESUBMIT)
        assert refused.problems == ("destinations: 'pacs' is not configured",)
        assert collection.ledger.tasks.find(task.id).state is TaskState.FAILED
        assert (await collection.report(task.id, StepEvent.SUCCEED)).state is TaskState.SUCCEEDED


async def test_task_nobody_says_where_to_is_held(autojump_clock, collection):
    async with collection.running():
        await collection.job()
        task, _ = await collection.register("a.dcm")
        assert collection.ledger.tasks.find(task.id).state is TaskState.FAILED
        assert collection.told("task.failed")[0]["error"].startswith("neither")
        done = await collection.report(task.id, StepEvent.SUCCEED)  # nobody wants it any more
        assert done.state is TaskState.SUCCEEDED


async def test_nobody_else_reports_on_the_adapters_own_tasks(autojump_clock, collection):
    async with collection.running():
        await collection.job()
        task, _ = await collection.register("a.dcm", to=["pacs"])
        assert (await collection.take(OWN)).refusal is TaskRefusal.STATE
        for event in (StepEvent.SUCCEED, StepEvent.FAIL, StepEvent.GIVE_UP, StepEvent.RESUBMIT):
            assert (await collection.report(task.id, event)).refusal is TaskRefusal.STATE


# --- other agents


async def test_agent_gets_its_tasks_once_and_no_others(autojump_clock, collection):
    async with collection.running():
        await collection.job()
        first, _ = await collection.register("a.dcm", agent=AGENT)
        await trio.sleep(1)
        second, _ = await collection.register("b.dcm", agent=AGENT)
        await collection.register("b.dcm", agent="other")
        assert await collection.take(AGENT, size=1) == [first.id]
        assert await collection.take(AGENT) == [second.id]
        assert await collection.take(AGENT) == []


async def test_task_is_not_offered_before_its_job_has_completed(autojump_clock, collection):
    async with collection.running():
        await collection.job(state=JobState.STARTING)
        task, _ = await collection.register("a.dcm", agent=AGENT)
        assert await collection.take(AGENT) == []
        await collection.ledger.change_job("job-1", StepEvent.SUCCEED)
        assert await collection.take(AGENT) == [task.id]


async def test_taken_task_is_durable_and_offered_again_if_nobody_reports(
    autojump_clock, collection
):
    async with collection.running():
        await collection.job()
        task, _ = await collection.register("a.dcm", agent=AGENT)
        assert await collection.take(AGENT) == [task.id]
    collection.restart()
    assert collection.ledger.tasks.find(task.id).state is TaskState.IN_PROGRESS
    async with collection.running():
        assert await collection.take(AGENT) == []
        await trio.sleep(REPORT_S + 1)
        assert await collection.take(AGENT) == [task.id]


async def test_task_that_is_to_be_retried_later_comes_again_after_a_pause(
    autojump_clock, collection
):
    async with collection.running():
        await collection.job()
        task, _ = await collection.register("a.dcm", agent=AGENT)
        await collection.take(AGENT)
        for _ in range(2):  # an answer gets lost, and the report comes again
            reported = await collection.report(task.id, StepEvent.FAIL)
            assert (reported.state, reported.retries) == (TaskState.PENDING, 1)
        assert await collection.take(AGENT) == []
        await trio.sleep(RETRY_S)
        assert await collection.take(AGENT) == [task.id]
        assert collection.ledger.tasks.find(task.id).retries == 1


async def test_failed_task_is_held_until_somebody_retries_it(autojump_clock, collection):
    async with collection.running():
        await collection.job()
        task, _ = await collection.register("a.dcm", agent=AGENT)
        await collection.take(AGENT)
        assert (await collection.report(task.id, StepEvent.GIVE_UP)).state is TaskState.FAILED
        await trio.sleep(10 * REPORT_S)
        assert await collection.take(AGENT) == []
        await collection.report(task.id, StepEvent.RESUBMIT)
        assert await collection.take(AGENT) == [task.id]


async def test_late_success_counts_and_is_never_taken_back(autojump_clock, collection):
    async with collection.running():
        await collection.job()
        task, _ = await collection.register("a.dcm", agent=AGENT)
        await collection.take(AGENT)
        await collection.report(task.id, StepEvent.FAIL)
        for _ in range(2):
            reported = await collection.report(task.id, StepEvent.SUCCEED)
            assert reported.state is TaskState.SUCCEEDED
        for event in (StepEvent.FAIL, StepEvent.GIVE_UP, StepEvent.RESUBMIT):
            assert (await collection.report(task.id, event)).refusal is TaskRefusal.STATE
        assert (await collection.report("no-task", event)).refusal is TaskRefusal.UNKNOWN


async def test_task_that_goes_with_its_job_meanwhile_does_no_harm(autojump_clock, collection):
    async with collection.running():
        for number in (1, 2, 3):
            await collection.job(f"job-{number}")
        collection.folders.broken = {"job-1", "job-2", "job-3"}
        for number in (1, 2, 3):
            await collection.register("a.dcm", job=f"job-{number}", to=["pacs"])
        read = collection.folders.results

        async def results(job_id):  # while one folder is read, the other jobs go
            for other in {"job-1", "job-2", "job-3"} - {job_id}:
                await collection.ledger.remove_job(other)
            return await read(job_id)

        collection.folders.results = results
        collection.folders.broken = set()
        await trio.sleep(20)
        (job,) = await collection.ledger.jobs()
        (task,) = collection.ledger.tasks.select()
        assert (task.job_id, task.state) == (job.id, TaskState.IN_PROGRESS)


# --- return to sender


async def test_results_go_back_to_every_sender_of_the_group(autojump_clock, collection):
    async with collection.running():
        await collection.job(destinations=("@sender", "pacs"), calling_ae_titles=("CT1", "PACS "))
        assert await collection.exports() == [
            ("ct1", "a.dcm"), ("ct1", "b.dcm"), ("pacs", "a.dcm"), ("pacs", "b.dcm"),
        ]  # fmt: skip


@pytest.mark.parametrize("senders", [("CT9",), ()])
async def test_unknown_sender_is_held_until_it_is_configured(autojump_clock, collection, senders):
    async with collection.running():
        await collection.job(destinations=("@sender",), calling_ae_titles=senders)
        (export,) = await collection.ledger.exports()
        assert (export.state, export.instances) == (ExportState.QUEUED, 2)
        assert export.destination == ("@CT9" if senders else "@sender")
        assert export.error
        assert collection.told("export.opened")[0]["error"] == export.error
    collection.restart()
    new = msgspec.structs.replace(DESTINATIONS[0], name="new", ae_title="CT9")
    collection.destinations = [*DESTINATIONS, new]
    async with collection.running():
        (export,) = await collection.ledger.exports()
        assert (export.destination, export.error == "") == (
            ("new", True) if senders else ("@sender", False)
        )
    collection.restart()
    assert (await collection.ledger.exports())[0] == export
    assert len(await collection.ledger.outcomes(export.id)) == 2


async def test_destination_that_has_gone_is_missed_until_there_is_one_again(
    autojump_clock, collection
):
    """A job that is retried late names it still; or it went from the file while we were down."""
    gone, collection.destinations = DESTINATIONS[0], DESTINATIONS[1:]
    async with collection.running():
        await collection.job(destinations=(gone.name,))
        (export,) = await collection.ledger.exports()
        assert export.error == f"no destination has the name {gone.name!r}"
        collection.destinations[:0] = [gone]
        notify(collection.wake)
        await trio.testing.wait_all_tasks_blocked()
        (export,) = await collection.ledger.exports()
        assert export.error == ""
        assert collection.woken[gone.name].receive_nowait()
    collection.restart()
    collection.destinations = []
    async with collection.running():
        (export,) = await collection.ledger.exports()
        assert (export.state, export.destination) == (ExportState.QUEUED, gone.name)
        assert collection.told("export.opened")[-1]["error"] == export.error != ""


async def test_registered_results_go_back_as_well(autojump_clock, collection):
    async with collection.running():
        await collection.job(calling_ae_titles=("CT1",))
        await collection.register("a.dcm", to=["@Sender"])
        assert await collection.exports() == [("ct1", "a.dcm")]


# --- what may come back in


async def test_what_a_job_has_made_is_known_before_it_goes_anywhere(autojump_clock, collection):
    collection.folders.passed_on = {"1.2.1"}
    async with collection.running():
        await collection.job(destinations=("pacs",))
    collection.restart()
    own = collection.ledger.own_results
    assert own.origin("1.2.0").job_id == "job-1"
    assert own.origin("1.2.1") is None  # the pipeline has only passed it on
    rows = len(collection.rows.rows)
    async with collection.running():
        await collection.register("a.dcm", agent=OWN)
    assert len([key for key in collection.rows.rows if key.startswith("ownresults")]) == 1
    assert len(collection.rows.rows) > rows  # the task
