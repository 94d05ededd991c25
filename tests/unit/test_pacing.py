"""How fast instances go."""

from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.pacing import BATCH, MB, Pace

sizes = st.lists(st.integers(0, 5 * MB), max_size=60)


@given(sizes, st.sampled_from([0.0, 0.5, 2.0]))
def test_batches_are_the_load_in_order_and_bounded(load, rate):
    batches = list(Pace(rate).batches(load, lambda size: size))
    assert [size for batch in batches for size in batch] == load
    for batch in batches:
        assert 1 <= len(batch) <= BATCH
        assert len(batch) == 1 or not rate or sum(batch) <= rate * MB


@given(st.lists(st.integers(1, 5 * MB), min_size=1))
def test_bytes_over_time_do_not_pass_the_rate(load):
    pace, now = Pace(2.0), 100.0
    for number, size in enumerate(load):
        now += pace.pause_s(size, now)
        assert sum(load[:number]) <= 2.0 * MB * (now - 100.0) + 1


def test_time_that_passed_unused_is_not_made_up_for():
    pace = Pace(1.0)
    assert pace.pause_s(MB, 0.0) == 0.0
    assert pace.pause_s(MB, 3600.0) == 0.0
    assert pace.pause_s(MB, 3600.0) == 1.0


def test_no_limit_is_no_pause():
    pace = Pace(0.0)
    assert [pace.pause_s(10**12, 0.0) for _ in range(3)] == [0.0] * 3
