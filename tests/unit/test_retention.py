"""When a job's files and rows may go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from adapter.domain.records import Export, Job
from adapter.domain.retention import Retention, is_reclaimable
from adapter.domain.tables import JOB_WAITING, JOB_WORKING, ExportState, JobState

RETENTION = Retention(completed_s=100.0, faulted_s=1000.0)


def job(state=JobState.COMPLETED, changed_at=0.0, collected=True):
    return Job(
        id="job-1", group_id="group-1", ae_title="BRAIN", processor="p", name="n", pipeline="a",
        pipeline_id="a1", priority="normal", state=state, opened_at=0.0, changed_at=changed_at,
        instances=1, payload_bytes=1, collected=collected,
    )  # fmt: skip


def export(state=ExportState.COMPLETED, changed_at=0.0):
    return Export(
        id="export-1", job_id="job-1", destination="pacs", state=state, opened_at=0.0,
        changed_at=changed_at, instances=1,
    )  # fmt: skip


def goes(row, exports=(), now=0.0, *, hurry=False):
    return is_reclaimable(row, exports, RETENTION, now, hurry=hurry)


def test_completed_job_goes_after_its_retention():
    assert not goes(job(), now=99.9)
    assert goes(job(), now=100.0)


def test_retention_counts_from_the_last_export():
    assert not goes(job(), [export(changed_at=50.0), export(changed_at=20.0)], now=149.0)
    assert goes(job(), [export(changed_at=50.0), export(changed_at=20.0)], now=150.0)


def test_completed_job_goes_at_once_in_a_hurry():
    assert goes(job(), [export()], now=0.0, hurry=True)


def test_job_whose_results_are_not_collected_is_held():
    assert not goes(job(collected=False), now=1e9, hurry=True)


@pytest.mark.parametrize("state", set(ExportState) - {ExportState.COMPLETED})
def test_export_that_is_not_completed_holds_its_job(state):
    assert not goes(job(), [export(), export(state)], now=1e9, hurry=True)


@pytest.mark.parametrize("state", sorted(JOB_WAITING | JOB_WORKING))
def test_job_that_has_not_ended_is_held(state):
    assert not goes(job(state), now=1e9, hurry=True)


@pytest.mark.parametrize("state", [JobState.FAULTED, JobState.CANCELLED])
def test_job_without_a_result_is_held_for_its_retention_even_in_a_hurry(state):
    assert not goes(job(state), now=999.0, hurry=True)
    assert goes(job(state), now=1000.0)


def test_cancelled_job_is_held_until_the_platform_has_stopped_it():
    assert not goes(replace(job(JobState.CANCELLED), stopping=True), now=1e9)


def test_job_whose_removal_has_begun_goes_at_once():
    assert goes(replace(job(), condemned=True), now=0.0)


@given(st.sampled_from(JobState), st.lists(st.sampled_from(ExportState), max_size=3), st.booleans())
def test_nothing_goes_before_everything_has_ended(state, states, collected):
    held = state not in (JobState.FAULTED, JobState.CANCELLED) and (
        state is not JobState.COMPLETED
        or not collected
        or any(each is not ExportState.COMPLETED for each in states)
    )
    exports = [export(each) for each in states]
    assert goes(job(state, collected=collected), exports, now=1e9, hurry=True) is not held
