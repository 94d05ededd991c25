"""The order of the queue and the pauses between tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.entities import PRIORITY_ORDER
from adapter.domain.exporting import OUTAGE_PAUSE_S_MAX
from adapter.domain.queueing import AGEING_S, JITTER, QueueFigures, rank, retry_pause_s
from adapter.domain.records import Job

priorities = st.sampled_from(sorted(PRIORITY_ORDER))
times = st.floats(0, 4e9)


def job(priority, queued_at, opened_at=0.0):
    return Job(
        id="job-1", group_id="group-1", ae_title="BRAIN", processor="p", name="n", pipeline="a",
        pipeline_id="a1", priority=priority, opened_at=opened_at, queued_at=queued_at,
        changed_at=0.0, instances=1, payload_bytes=1,
    )  # fmt: skip


@given(priorities, times, st.floats(0.001, 1e6))
def test_older_goes_before_younger_of_its_class(priority, at, later):
    assert rank(job(priority, at + 1)) < rank(job(priority, at + 1 + later))


@pytest.mark.parametrize(("urgent", "less"), [
    ("immediate", "higher"), ("higher", "normal"), ("normal", "lower"),
])  # fmt: skip
def test_more_urgent_goes_first_until_the_other_has_aged(urgent, less):
    assert rank(job(urgent, 5000.0 + AGEING_S - 1)) < rank(job(less, 5000.0))
    assert rank(job(urgent, 5000.0 + AGEING_S + 1)) > rank(job(less, 5000.0))


@given(st.lists(st.tuples(priorities, times), min_size=1, max_size=20), priorities, times)
def test_nobody_is_overtaken_by_what_comes_three_classes_of_ageing_later(others, priority, at):
    """No starvation: only what opens within a fixed time can go first."""
    mine = rank(job(priority, at + 1))
    for other, opened_at in others:
        if opened_at > at + 1 + 3 * AGEING_S:
            assert rank(job(other, opened_at)) >= mine


def test_job_that_never_queued_counts_from_its_opening():
    assert rank(job("immediate", 0.0, opened_at=7.0)) == 7.0


@given(st.integers(1, 10_000), st.floats(0, 86_400), st.floats(0, 1, exclude_max=True))
def test_pause_is_bounded_and_never_below_what_is_configured(tries, delay_s, drawn):
    pause = retry_pause_s(tries, delay_s, lambda: drawn)
    assert delay_s <= pause <= max(OUTAGE_PAUSE_S_MAX, delay_s) * (1 + JITTER)


def test_pause_doubles():
    assert [retry_pause_s(tries, 60.0, lambda: 0.0) for tries in (1, 2, 3, 4, 5, 6)] == [
        60, 120, 240, 480, 900, 900,
    ]  # fmt: skip


def test_waits_fall_into_buckets():
    figures = QueueFigures()
    for waited_s in (-5.0, 1.0, 1.1, 1e9):
        figures.waits.observe(waited_s)
    counts = dict(figures.waits.cumulative())
    assert (counts[1.0], counts[10.0], counts[86_400.0], counts[float("inf")]) == (2, 3, 3, 4)
    assert figures.waits.total == pytest.approx(1e9 + 2.1)
