"""How often something took how long; bounded, whatever happens."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence


class Histogram:
    """Counts by bucket, as OpenMetrics has them."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Nothing was observed; a value belongs to the first bucket whose bound is not below it."""
        self._bounds = (*bounds, float("inf"))
        self._counts = [0] * len(self._bounds)
        self.total = 0.0
        """Sum of what was observed."""

    def observe(self, value: float) -> None:
        """Count a value; less than nothing counts as nothing: a clock was set."""
        value = max(value, 0.0)
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Yield each bound, and how many values are not above it."""
        count = 0
        for bound, more in zip(self._bounds, self._counts, strict=True):
            count += more
            yield bound, count
