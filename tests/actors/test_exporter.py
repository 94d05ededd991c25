"""Exporter: what is sent, what is sent again, and what never is."""

import itertools

import pytest
import trio
import trio.testing
from actor_ports import (
    CT,
    EXPLICIT,
    LATER,
    LOST,
    NEVER,
    an_export,
    running,
)
from exporting import Stage
from msgspec import structs

from adapter.actors.exporter import POLL_S
from adapter.channels import notify
from adapter.domain.commitment import COMMITMENT_CONTEXT, CommitmentReport
from adapter.domain.dimse_ports import CONTEXTS_MAX
from adapter.domain.pacing import BATCH
from adapter.domain.tables import ExportState, StepEvent


async def test_everything_is_sent_and_the_export_completed(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1)
        row = await stage.row()
        assert (row.state, row.sent, row.failed, row.error) == (ExportState.COMPLETED, 3, 0, "")
        assert stage.peer.received == [f"/job-1/{n}.dcm" for n in range(3)]
        assert stage.peer.proposals == [[(CT, EXPLICIT)]]
        outcomes = await stage.ledger.outcomes("export-1")
        assert all(outcome.delivered and outcome.attempts == 1 for outcome in outcomes)
        assert stage.told("destination") == ["destination.up"]
        assert stage.told("export")[-1] == "export.completed"
        stage.reclaimer.receive_nowait()


async def test_only_what_was_not_delivered_is_sent_again(autojump_clock):
    stage = Stage()
    stage.peer.answers["/job-1/1.dcm"] = [LATER]
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1)
        row = await stage.row()
        assert (row.state, row.try_count, row.sent) == (ExportState.QUEUED, 1, 2)
        assert row.error == "status 0xA700"
        await trio.sleep(60 + POLL_S)
        assert (await stage.row()).state is ExportState.COMPLETED
        assert stage.peer.received[3:] == ["/job-1/1.dcm"]
        assert 60 <= stage.peer.tries[1] <= 60 + POLL_S


async def test_export_is_held_when_retries_are_used_up(autojump_clock):
    stage = Stage(max_retries=2)
    stage.peer.answers["/job-1/1.dcm"] = [LATER] * 9
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(10_000)
        row = await stage.row()
        assert (row.state, row.sent, row.failed) == (ExportState.FAILED, 2, 1)
        assert stage.peer.received.count("/job-1/1.dcm") == 3
        assert stage.told("export")[-1] == "export.failed"


async def test_permanent_refusal_is_held_and_never_sent_again(autojump_clock):
    stage = Stage()
    stage.peer.answers["/job-1/1.dcm"] = [NEVER]
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(10_000)
        row = await stage.row()
        assert (row.state, row.sent, row.failed) == (ExportState.FAILED, 2, 1)
        assert stage.peer.received.count("/job-1/1.dcm") == 1


async def test_refused_instance_does_not_stop_the_retry_of_others(autojump_clock):
    stage = Stage()
    stage.peer.answers = {"/job-1/0.dcm": [NEVER], "/job-1/1.dcm": [LATER]}
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1000)
        row = await stage.row()
        assert (row.state, row.sent, row.failed) == (ExportState.FAILED, 2, 1)
        assert stage.peer.received[3:] == ["/job-1/1.dcm"]


async def test_missing_file_is_held_and_the_rest_sent(autojump_clock):
    stage = Stage()
    stage.outputs.missing.add("1.dcm")
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1000)
        row = await stage.row()
        assert (row.state, row.sent, row.failed) == (ExportState.FAILED, 2, 1)
        assert row.error == "the result file is missing"


async def test_association_that_breaks_after_an_answer_costs_no_try(autojump_clock):
    stage = Stage()
    stage.peer.answers = {"/job-1/1.dcm": [LOST], "/job-1/2.dcm": [LOST]}
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1)
        row = await stage.row()
        assert (row.state, row.try_count) == (ExportState.COMPLETED, 0)
        assert stage.peer.received[3:] == ["/job-1/1.dcm", "/job-1/2.dcm"]
        assert len(stage.peer.tries) == 2
        attempts = [outcome.attempts for outcome in await stage.ledger.outcomes("export-1")]
        assert attempts == [1, 2, 1], "what came behind the loss was not even tried"


async def test_association_that_breaks_without_an_answer_is_a_retry(autojump_clock):
    stage = Stage()
    stage.peer.answers = {f"/job-1/{n}.dcm": [LOST] for n in range(3)}
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1)
        row = await stage.row()
        assert (row.state, row.try_count, row.error) == (ExportState.QUEUED, 1, "timeout")
        await trio.sleep(60 + POLL_S)
        assert (await stage.row()).state is ExportState.COMPLETED


async def test_instance_that_breaks_every_association_holds_up_no_other(autojump_clock):
    stage = Stage(max_retries=2)
    stage.peer.answers = {"/job-1/0.dcm": [LOST] * 99}
    stage.peer.breaks = True
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1000)
        row = await stage.row()
        assert (row.state, row.sent, row.failed) == (ExportState.FAILED, 2, 1)
        assert row.error == "no answer again, at attempt 4: timeout"
        assert stage.peer.received.count("/job-1/1.dcm") == 1


# --- a destination that is down


async def test_unreachable_destination_costs_no_retry(autojump_clock):
    stage = Stage(max_retries=0)
    stage.peer.up = False
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(5000)
        row = await stage.row()
        assert (row.state, row.try_count, row.sent) == (ExportState.QUEUED, 0, 0)
        assert row.error == "no connection: refused"
        stage.peer.up = True
        await trio.sleep(1000)
        assert (await stage.row()).state is ExportState.COMPLETED
        told = stage.told("destination")
        assert (told[0], told[-1]) == ("destination.down", "destination.up")
        assert set(told[1:-1]) == {"destination.tried"}


async def test_unreachable_destination_is_tried_once_for_the_whole_queue(autojump_clock):
    stage = Stage()
    stage.peer.up = False
    async with running(stage.actor):
        await stage.open(*[an_export(n) for n in range(1, 6)])
        await trio.sleep(50)
        notify(stage.wake)
        await trio.sleep(5)
        assert len(stage.peer.tries) == 1
        assert stage.peer.probes == []
        states = {row.state for row in await stage.ledger.exports()}
        assert states == {ExportState.QUEUED}


async def test_pauses_of_an_outage_grow(autojump_clock):
    stage = Stage()
    stage.peer.up = False
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(5000)
        tries = stage.peer.tries + stage.peer.probes
        pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
        for pause, expected in zip(pauses, [60, 120, 240, 480, 900, 900], strict=False):
            assert expected <= pause <= expected + POLL_S
        assert len(pauses) >= 6
        assert len(stage.peer.tries) == 1, "the rest are probes"


async def test_outage_is_over_when_the_destination_was_reached(autojump_clock):
    stage = Stage()
    stage.peer.up = False
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1000)
        stage.peer.up = True
        await trio.sleep(1000)
        assert (await stage.row()).state is ExportState.COMPLETED
        stage.peer.up = False
        await stage.open(an_export(2))
        await trio.sleep(POLL_S)
        probed = len(stage.peer.probes)
        await trio.sleep(60 + POLL_S)
        assert len(stage.peer.probes) == probed + 1


async def test_export_that_waits_for_its_retry_holds_up_no_other(autojump_clock):
    stage = Stage(files=1)
    stage.peer.answers["/job-1/0.dcm"] = [LATER]
    async with running(stage.actor):
        await stage.open(an_export(1, priority="immediate"), an_export(2))
        await trio.sleep(1)
        assert (await stage.row("export-1")).state is ExportState.QUEUED
        assert (await stage.row("export-2")).state is ExportState.COMPLETED


# --- order and shape


async def test_urgent_exports_come_first_and_older_ones_before_younger(autojump_clock):
    stage = Stage(files=1)
    async with running(stage.actor):
        await stage.open(
            an_export(1, priority="lower", opened_at=1.0),
            an_export(2, opened_at=3.0),
            an_export(3, opened_at=2.0),
            an_export(4, priority="immediate", opened_at=4.0),
        )
        await trio.sleep(1)
        assert stage.peer.priorities == [1, 0, 0, 2]  # PS3.7 9.1.1.1: high, medium, low
        assert stage.peer.received == [f"/job-{n}/0.dcm" for n in (4, 3, 2, 1)]


async def test_exports_of_other_destinations_are_left_alone(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await stage.open(an_export(destination="archive"))
        await trio.sleep(100)
        assert stage.peer.tries == []


async def test_more_contexts_than_an_association_has_take_several(autojump_clock):
    classes = [f"1.2.3.{n}" for n in range(CONTEXTS_MAX + 10)]
    stage = Stage(sop_classes=classes)
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1)
        assert [len(proposal) for proposal in stage.peer.proposals] == [CONTEXTS_MAX, 10]
        assert (await stage.row()).state is ExportState.COMPLETED
        assert len(stage.peer.received) == CONTEXTS_MAX + 10


async def test_outcomes_are_recorded_while_the_export_is_being_sent(autojump_clock):
    stage = Stage(files=3 * BATCH)
    stage.peer.store_s = 1.0
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1.5 * BATCH)
        outcomes = await stage.ledger.outcomes("export-1")
        assert sum(outcome.delivered for outcome in outcomes) == BATCH


# --- starts and stops


async def test_export_that_a_crash_left_half_sent_goes_on(autojump_clock):
    stage = Stage()
    await stage.open()
    await stage.ledger.change_export("export-1", StepEvent.BEGIN)
    async with running(stage.actor):
        await trio.sleep(1)
        assert (await stage.row()).state is ExportState.COMPLETED


async def test_stop_ends_soon_and_costs_no_retry(autojump_clock):
    stage = Stage(files=10 * BATCH)
    stage.peer.store_s = 1.0
    async with running(stage.actor) as nursery:
        await stage.open()
        await trio.sleep(1.5 * BATCH)
        stage.wake.close()
        await trio.sleep(BATCH)
        assert not nursery.child_tasks
    row = await stage.row()
    assert (row.state, row.try_count, row.sent) == (ExportState.QUEUED, 0, 2 * BATCH)


async def test_stop_does_not_wait_for_a_pause_to_end(autojump_clock):
    stage = Stage()
    stage.peer.up = False
    async with running(stage.actor) as nursery:
        await stage.open()
        await trio.sleep(1)
        stage.wake.close()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        assert trio.current_time() == 1


@pytest.mark.parametrize("state", [ExportState.COMPLETED, ExportState.FAILED])
async def test_export_that_has_ended_is_left_alone(autojump_clock, state):
    stage = Stage()
    async with running(stage.actor):
        await stage.open(an_export(state=state))
        await trio.sleep(1000)
        assert stage.peer.tries == []


async def test_resubmitted_export_sends_what_is_left(autojump_clock):
    stage = Stage(max_retries=0)
    stage.peer.answers["/job-1/2.dcm"] = [LATER]
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(1)
        assert (await stage.row()).state is ExportState.FAILED
        await stage.ledger.change_export("export-1", StepEvent.RESUBMIT, try_count=0)
        notify(stage.wake)
        await trio.sleep(1)
        assert (await stage.row()).state is ExportState.COMPLETED
        assert stage.peer.received[3:] == ["/job-1/2.dcm"]


# --- storage commitment


def committing(**changes):
    stage = Stage(**changes)
    stage.actor.destination = structs.replace(stage.actor.destination, storage_commitment=True)
    return stage


def kept(failed=()):
    """Return what makes a report of a request: all committed but those that failed."""
    return lambda request: CommitmentReport(
        transaction_uid=request.transaction_uid,
        committed=tuple(r for r in request.references if r.sop_instance_uid not in dict(failed)),
        failed=tuple(
            (r, dict(failed)[r.sop_instance_uid])
            for r in request.references
            if r.sop_instance_uid in dict(failed)
        ),
    )


async def test_export_is_completed_only_when_all_is_committed(autojump_clock):
    stage = committing()
    stage.peer.reports = [kept()]
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(5)
        row = await stage.row()
        assert (row.state, row.sent, row.committed) == (ExportState.COMPLETED, 3, 3)
        assert stage.peer.statuses == [0]
        assert stage.peer.proposals == [[(CT, EXPLICIT), COMMITMENT_CONTEXT]]
        assert stage.told("commitment") == ["commitment.requested", "commitment.reported"]
        walked = ("export.state", "export.completed")
        states = [event.facts["state"] for event in stage.events if event.type in walked]
        assert list(dict.fromkeys(states)) == ["Sending", "Sent", "Committing", "Completed"]


async def test_report_by_another_association_completes_it_after_a_hint(autojump_clock):
    stage = committing()
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(5)
        assert (await stage.row()).state is ExportState.COMMITTING
        report = kept()(stage.peer.asked[0][1])
        await stage.actor.committer.recorder.take(report, {"pacs"})
        notify(stage.wake)
        await trio.sleep(0.1)
        assert (await stage.row()).state is ExportState.COMPLETED


async def test_context_that_was_not_accepted_is_tried_on_an_association_of_its_own(autojump_clock):
    stage = committing()
    stage.peer.refused = [COMMITMENT_CONTEXT]
    stage.peer.reports = [kept()]
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(5)
        assert stage.peer.proposals[1:] == [[COMMITMENT_CONTEXT]]
        assert (await stage.row()).state is ExportState.COMPLETED


async def test_destination_that_has_ended_the_association_is_waited_for(autojump_clock):
    stage = committing()
    stage.peer.gone = True
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(100)
        assert (await stage.row()).state is ExportState.COMMITTING
        assert len(stage.peer.asked) == 1


async def test_silence_is_asked_anew_after_its_deadline_then_held(autojump_clock):
    stage = committing()
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(5000)
        row = await stage.row()
        assert (row.state, row.failed) == (ExportState.FAILED, 3)
        assert row.error == "no report within 600 s"
        times = [at for at, _ in stage.peer.asked]
        assert len(times) == 2
        assert 600 <= times[1] - times[0] <= 600 + 60 + 2 * POLL_S
        assert stage.told("commitment").count("commitment.expired") == 2


async def test_instance_that_was_not_kept_is_sent_again(autojump_clock):
    stage = committing()
    stage.peer.reports = [kept([("1.2.1", 0x0112)]), kept()]
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(200)
        row = await stage.row()
        assert (row.state, row.committed, row.try_count) == (ExportState.COMPLETED, 3, 1)
        assert stage.peer.received[3:] == ["/job-1/1.dcm"]
        assert [len(request.references) for _, request in stage.peer.asked] == [3, 1]


async def test_unreachable_destination_costs_no_question(autojump_clock):
    stage = committing()
    stage.peer.refused = [COMMITMENT_CONTEXT]
    stage.peer.reports = [kept()]
    stage.peer.stored = lambda: setattr(stage.peer, "up", False)
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(3000)
        row = await stage.row()
        assert (row.state, row.commitment_tries) == (ExportState.SENT, 0)
        stage.peer.up = True
        await trio.sleep(1000)
        assert (await stage.row()).state is ExportState.COMPLETED


async def test_question_of_an_earlier_life_is_not_asked_again(autojump_clock):
    stage = committing()
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(5)
        assert (await stage.row()).state is ExportState.COMMITTING
    await stage.ledger.change_export("export-1", StepEvent.INTERRUPT)
    async with running(stage.actor):
        await trio.sleep(100)
        assert (await stage.row()).state is ExportState.COMMITTING
        assert len(stage.peer.asked) == 1


async def test_stop_does_not_wait_for_a_report(autojump_clock):
    stage = committing()
    stage.actor.committer.rules = structs.replace(stage.actor.committer.rules, wait_s=3000.0)
    async with running(stage.actor) as nursery:
        await stage.open()
        await trio.sleep(10)
        stage.wake.close()
        await trio.sleep(2)
        assert not nursery.child_tasks
    assert (await stage.row()).state is ExportState.SENT


async def test_commitment_that_is_not_wanted_any_more_completes(autojump_clock):
    stage = committing()
    async with running(stage.actor):
        await stage.open()
        await trio.sleep(5)
    stage.actor.destination = structs.replace(stage.actor.destination, storage_commitment=False)
    async with running(stage.actor):
        await trio.sleep(1)
        assert (await stage.row()).state is ExportState.COMPLETED
