"""What is measured of live events, and how long the space lasts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_events import sample

from adapter.domain import service_times
from adapter.domain.histogram import Histogram
from adapter.domain.service_times import ServiceTimes, measured
from adapter.domain.space_trend import SPAN_MIN_S, WINDOW_S, SpaceTrend

HOUR = 3600.0


def observed(times, what, label):
    histogram = times.histograms[what].get(label)
    return None if histogram is None else (list(histogram.cumulative())[-1][1], histogram.total)


def fold(*rows):
    times = ServiceTimes()
    for now, kind, fields in rows:
        times.apply(sample(kind, **fields), now)
    return times


def test_association_is_measured_from_accept_to_end():
    times = fold(
        (1.0, "association.requested", {"association": "a", "ae_title": "MAIN"}),
        (2.0, "association.accepted", {"association": "a", "ae_title": "MAIN "}),
        (2.5, "association.accepted", {"association": "b", "ae_title": "MAIN"}),
        (5.0, "association.released", {"association": "a", "ae_title": "MAIN"}),
        (6.0, "association.aborted", {"association": "b"}),  # after a bug nothing else is known
    )
    assert observed(times, "association", "MAIN") == (2, 6.5)


def test_rejected_association_leaves_no_label():
    times = fold((1.0, "association.rejected", {"association": "a", "ae_title": "MADEUP"}))
    assert times.histograms["association"] == {}


def test_instances_are_counted_with_their_bytes():
    times = fold(
        (1.0, "instance.stored", {"ae_title": "MAIN", "data": {"bytes": 10, "receiveS": 0.25}}),
        (1.0, "instance.stored", {"ae_title": "MAIN", "data": {"bytes": 5, "receiveS": 0.5}}),
        (1.0, "instance.duplicate", {"ae_title": "MAIN", "data": {"bytes": 5}}),
    )
    assert observed(times, "receive", "MAIN") == (2, 0.75)
    assert times.received_bytes == {"MAIN": 15}


def job(state):
    return {"job": "j", "ae_title": "MAIN", "data": {"state": state}}


def test_job_is_measured_until_the_platform_has_it_and_then_until_it_is_done():
    times = fold(
        (0.0, "job.opened", job("Queued")),
        (1.0, "job.state", job("Creating")),
        (4.0, "job.state", job("Starting")),
        (10.0, "job.completed", job("Completed")),
    )
    assert observed(times, "submit", "MAIN") == (1, 4.0)
    assert observed(times, "run", "MAIN") == (1, 6.0)


def test_what_ends_otherwise_or_began_before_the_process_is_not_measured():
    times = fold(
        (0.0, "job.opened", job("Queued")),
        (1.0, "job.faulted", job("Faulted")),
        (2.0, "job.completed", job("Completed")),
        (2.0, "export.opened", {"export": "e", "destination": "pacs"}),
        (3.0, "export.failed", {"export": "e", "destination": "pacs"}),
        (4.0, "export.completed", {"export": "f", "destination": "pacs"}),
        (4.0, "group.closed", {"group": "g", "ae_title": "MAIN"}),
    )
    assert not any(times.histograms.values())


def test_groups_and_exports_are_measured():
    times = fold(
        (0.0, "group.opened", {"group": "g", "ae_title": "MAIN"}),
        (7.0, "group.closed", {"group": "g", "ae_title": "MAIN"}),
        (7.0, "export.opened", {"export": "e", "destination": "pacs"}),
        (9.0, "export.completed", {"export": "e", "destination": "pacs"}),
    )
    assert observed(times, "group", "MAIN") == (1, 7.0)
    assert observed(times, "export", "pacs") == (1, 2.0)


def test_what_never_ends_is_forgotten_in_time(monkeypatch):
    monkeypatch.setattr(service_times, "OPEN_MAX", 2)
    opened = [(0.0, "group.opened", {"group": str(n), "ae_title": "MAIN"}) for n in range(3)]
    closed = [(1.0, "group.closed", {"group": str(n), "ae_title": "MAIN"}) for n in range(3)]
    assert observed(fold(*opened, *closed), "group", "MAIN") == (2, 2.0)


def test_events_go_on_to_whoever_publishes_them():
    told = []
    times, event = ServiceTimes(), sample("group.opened", group="g", ae_title="MAIN")
    measured(told.append, times, lambda: 1.0)(event)
    assert told == [event]


@given(st.lists(st.floats(-10, 1e6)))
def test_histogram_counts_every_value_once(values):
    histogram = Histogram((1, 10, 60))
    for value in values:
        histogram.observe(value)
    cumulative = list(histogram.cumulative())
    assert cumulative == [
        (bound, sum(value <= bound for value in values)) for bound in (1, 10, 60, float("inf"))
    ]


# --- space


def trend_of(samples, reserved=0):
    trend = SpaceTrend()
    for at, free in samples:
        trend.note(at, total_bytes=1000, free_bytes=free, reserved_bytes=reserved)
    return trend


def test_straight_loss_is_foreseen():
    trend = trend_of([(60.0 * n, 1000 - 10 * n) for n in range(11)], reserved=300)
    assert trend.full_in_s == pytest.approx(60 * (900 - 300) / 10)


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [(0.0, 900)],
        [(0.0, 900), (SPAN_MIN_S - 1, 100)],
        [(0.0, 900), (600.0, 900)],
        [(0.0, 100), (600.0, 900)],
    ],
)
def test_no_loss_and_too_little_to_see_are_no_forecast(samples):
    assert trend_of(samples).full_in_s == float("inf")


def test_reserve_that_is_touched_is_full_now():
    assert trend_of([(0.0, 200)], reserved=300).full_in_s == 0.0


def test_what_was_before_the_window_counts_no_more():
    fast = [(60.0 * n, 1000 - 50 * n) for n in range(10)]
    still = [(HOUR + 60.0 * n, 500) for n in range(int(WINDOW_S / 60) + 1)]
    assert trend_of(fast + still).full_in_s == float("inf")
