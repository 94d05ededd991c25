"""What holds a job, in words and with its end."""

import pytest
from msgspec.structs import replace
from test_retention import RETENTION, export, job

from adapter.domain.retention import goes_when_space_is_low, hold_of
from adapter.domain.tables import ExportState, JobState, TaskState
from adapter.domain.tasks import Task


def task(**changes):
    fields = {
        "id": "task-1", "job_id": "job-1", "agent": "a", "state": TaskState.SUCCEEDED,
        "opened_at": 0.0, "changed_at": 0.0,
    }  # fmt: skip
    return Task(**fields | changes)


@pytest.mark.parametrize(
    ("row", "held_by", "why"),
    [
        (job(JobState.QUEUED), [], "the job is Queued"),
        (job(collected=False), [], "its results are not collected yet"),
        (job(), [export(), export(ExportState.FAILED)], "export export-1 is Failed"),
        (
            replace(job(JobState.CANCELLED), stopping=True),
            [],
            "the platform has not stopped it yet",
        ),
    ],
)
def test_what_waits_for_something_says_for_what(row, held_by, why):
    hold = hold_of(row, held_by, RETENTION, 10_000.0)
    assert (hold.why, hold.until_at) == (why, None)
    assert not goes_when_space_is_low(hold)


def test_retention_says_when_it_is_over():
    hold = hold_of(job(), [export(changed_at=50.0)], RETENTION, 60.0)
    assert (hold.why, hold.until_at) == ("storage.retention.completed_s", 150.0)
    assert goes_when_space_is_low(hold)
    assert hold_of(job(), [export(changed_at=50.0)], RETENTION, 150.0) is None


def test_retention_of_what_faulted_is_kept_also_when_space_is_low():
    hold = hold_of(job(JobState.FAULTED), [], RETENTION, 60.0)
    assert (hold.why, hold.until_at) == ("storage.retention.faulted_s", 1000.0)
    assert not goes_when_space_is_low(hold)


def test_removal_that_has_begun_is_held_by_nothing():
    assert hold_of(replace(job(JobState.QUEUED), condemned=True), [], RETENTION, 0.0) is None
