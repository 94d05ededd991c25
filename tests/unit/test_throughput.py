"""What came in during the last hour, in buckets."""

from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.throughput import BUCKET_S, BUCKETS_MAX, Throughput


def test_bucket_adds_up():
    throughput = Throughput()
    for at in (1000.0, 1009.9, 1010.0):
        throughput.add(at, 2, 5)
    assert throughput.as_dict() == {"bucketS": BUCKET_S, "buckets": [[100, 4, 10], [101, 2, 5]]}


@given(st.lists(st.floats(min_value=0, max_value=2e9), max_size=50))
def test_nothing_is_kept_longer_than_an_hour_before_the_latest(times):
    throughput = Throughput()
    for at in sorted(times):
        throughput.add(at, 1, 1)
    numbers = [number for number, _, _ in throughput.as_dict()["buckets"]]
    assert numbers == sorted(set(numbers))
    assert len(numbers) <= BUCKETS_MAX
    if numbers:
        assert numbers[-1] - numbers[0] < BUCKETS_MAX
