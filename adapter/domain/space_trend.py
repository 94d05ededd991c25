"""When the storage will be full, if it goes on as it did: pure.

A straight line through the free space of the last half hour (least squares). A forecast is made of
`SPAN_MIN_S` at least, so that one large study is no trend.
"""

from collections import deque

WINDOW_S = 1800.0
SPAN_MIN_S = 300.0
SAMPLE_S = 20.0
"""Between two samples that are kept."""


class SpaceTrend:
    """What was measured lately; filled by the reclaimer, read by the web side."""

    def __init__(self) -> None:
        self.total_bytes = self.free_bytes = self.reserved_bytes = 0
        """As measured last; 0: not yet."""
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, at: float, *, total_bytes: int, free_bytes: int, reserved_bytes: int) -> None:
        """Take in a measurement; `at` never goes back."""
        self.total_bytes, self.free_bytes = total_bytes, free_bytes
        self.reserved_bytes = reserved_bytes
        if not self._samples or at - self._samples[-1][0] >= SAMPLE_S:
            self._samples.append((at, free_bytes))
        while self._samples[0][0] < at - WINDOW_S:
            self._samples.popleft()

    @property
    def full_in_s(self) -> float:
        """How long until the reserve is touched and admission closes; infinite: not foreseeable."""
        left = self.free_bytes - self.reserved_bytes
        if self.total_bytes and left <= 0:
            return 0.0
        loss = -self._slope()
        return left / loss if loss > 0 else float("inf")

    def _slope(self) -> float:
        """Return bytes per second."""
        if not self._samples or self._samples[-1][0] - self._samples[0][0] < SPAN_MIN_S:
            return 0.0
        first = self._samples[0][0]
        times = [at - first for at, _ in self._samples]
        frees = [free for _, free in self._samples]
        mean_time, mean_free = sum(times) / len(times), sum(frees) / len(frees)
        spread = sum((t - mean_time) ** 2 for t in times)
        joint = sum((t - mean_time) * (f - mean_free) for t, f in zip(times, frees, strict=True))
        return joint / spread
