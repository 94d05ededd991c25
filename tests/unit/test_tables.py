"""The state tables of jobs and exports, whole."""

import itertools

import pytest

from adapter.domain.tables import (
    EXPORT_STEPS,
    EXPORT_TERMINAL,
    EXPORT_TRANSITIONS,
    EXPORT_WORKING,
    JOB_STEPS,
    JOB_TERMINAL,
    JOB_TRANSITIONS,
    JOB_WAITING,
    JOB_WORKING,
    ExportState,
    IllegalTransitionError,
    JobState,
    StepEvent,
    next_job_state,
    next_state,
)

JOB_ROWS = """
Queued            begin     Creating
Creating          succeed   Created
Creating          fail      Queued
Creating          interrupt Queued
Creating          give-up   Faulted
Created           begin     MetadataUploading
MetadataUploading succeed   MetadataUploaded
MetadataUploading fail      Created
MetadataUploading interrupt Created
MetadataUploading give-up   Faulted
MetadataUploaded  begin     PayloadUploading
PayloadUploading  succeed   PayloadUploaded
PayloadUploading  fail      MetadataUploaded
PayloadUploading  interrupt MetadataUploaded
PayloadUploading  give-up   Faulted
PayloadUploaded   begin     Starting
Starting          succeed   Completed
Starting          fail      PayloadUploaded
Starting          interrupt PayloadUploaded
Starting          give-up   Faulted
Faulted           resubmit  Queued
Cancelled         resubmit  Queued
Queued            cancel    Cancelled
Creating          cancel    Cancelled
Created           cancel    Cancelled
MetadataUploading cancel    Cancelled
MetadataUploaded  cancel    Cancelled
PayloadUploading  cancel    Cancelled
PayloadUploaded   cancel    Cancelled
Starting          cancel    Cancelled
"""
EXPORT_ROWS = """
Queued     begin     Sending
Sending    succeed   Sent
Sending    complete  Completed
Sending    fail      Queued
Sending    interrupt Queued
Sending    give-up   Failed
Sent       begin     Committing
Committing succeed   Completed
Committing repeat    Queued
Committing fail      Sent
Committing interrupt Sent
Committing give-up   Failed
Failed     resubmit  Queued
"""
TABLES = [
    pytest.param(JobState, JOB_TRANSITIONS, id="jobs"),
    pytest.param(ExportState, EXPORT_TRANSITIONS, id="exports"),
]


def rows(text, states):
    lines = (line.split() for line in text.strip().splitlines())
    return {
        (states(state), StepEvent(event.replace("-", " "))): states(following)
        for state, event, following in lines
    }


def test_job_table_is_the_documented_one():
    """T-137, T-139 to T-141."""
    assert rows(JOB_ROWS, JobState) == JOB_TRANSITIONS


def test_export_table_is_the_documented_one():
    assert rows(EXPORT_ROWS, ExportState) == EXPORT_TRANSITIONS


@pytest.mark.parametrize(("states", "table"), TABLES)
def test_pair_that_is_not_listed_is_illegal(states, table):
    """T-131."""
    illegal = set(itertools.product(states, StepEvent)) - set(table)
    assert len(illegal) == len(states) * len(StepEvent) - len(table)
    for state, event in illegal:
        with pytest.raises(IllegalTransitionError):
            next_state(table, state, event)


@pytest.mark.parametrize(("states", "table"), TABLES)
def test_pair_that_is_listed_leads_on(states, table):
    for (state, event), following in table.items():
        assert next_state(table, state, event) is following


@pytest.mark.parametrize(
    ("steps", "table", "working"),
    [(JOB_STEPS, JOB_TRANSITIONS, JOB_WORKING), (EXPORT_STEPS, EXPORT_TRANSITIONS, EXPORT_WORKING)],
)
def test_every_working_state_falls_back_to_its_waiting_state(steps, table, working):
    assert {state for state, event in table if event is StepEvent.INTERRUPT} == working
    for waiting, state, _ in steps:
        assert next_state(table, state, StepEvent.INTERRUPT) is waiting
        assert waiting not in working


@pytest.mark.parametrize(
    ("states", "table", "terminal"),
    [
        (JobState, JOB_TRANSITIONS, JOB_TERMINAL),
        (ExportState, EXPORT_TRANSITIONS, EXPORT_TERMINAL),
    ],
)
def test_only_an_operator_leaves_a_terminal_state(states, table, terminal):
    leaving = {state for state, event in table if event is not StepEvent.RESUBMIT}
    assert set(states) - leaving == terminal


@pytest.mark.parametrize("left", sorted(JOB_WAITING))
def test_resubmitted_job_goes_on_where_it_was_given_up_and_a_cancelled_one_begins_anew(left):
    assert next_job_state(JobState.FAULTED, StepEvent.RESUBMIT, left) is left
    assert next_job_state(JobState.CANCELLED, StepEvent.RESUBMIT, left) is JobState.QUEUED


@pytest.mark.parametrize("state", sorted(JOB_TERMINAL))
def test_job_that_has_ended_cannot_be_cancelled(state):
    with pytest.raises(IllegalTransitionError):
        next_job_state(state, StepEvent.CANCEL, JobState.QUEUED)


@pytest.mark.parametrize(("states", "table"), TABLES)
def test_every_state_is_reached_from_the_first(states, table):
    reached, last = {next(iter(states))}, set()
    while reached != last:
        last = reached
        reached = reached | {to for (state, _), to in table.items() if state in reached}
    assert reached == set(states)
