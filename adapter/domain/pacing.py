"""How fast instances go to a destination that has a limit (`destinations[].rate_mb_s`). Pure."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

BATCH = 16
"""Instances handed to a carrier at once; a stop waits for so many at the most."""
MB = 10**6
BURST_S = 1.0
"""What a batch may take at the rate: its instances go as fast as they can."""


class Pace:
    """Spreads bytes over time; shared by all associations with one destination."""

    def __init__(self, rate_mb_s: float, batch: int = BATCH) -> None:
        """Nothing was sent yet.

        Args:
            rate_mb_s: In 10^6 bytes a second; 0: no limit.
            batch: What the destination takes in one request, if it takes several.
        """
        self._bytes_s = rate_mb_s * MB
        self._batch = max(batch, BATCH)
        self._free_at = 0.0

    def pause_s(self, payload_bytes: int, now: float) -> float:
        """Return how long to wait before so many bytes may be sent, and count them as sent."""
        if not self._bytes_s:
            return 0.0
        begin = max(self._free_at, now)
        self._free_at = begin + payload_bytes / self._bytes_s
        return begin - now

    def batches(self, load: Sequence[T], size: Callable[[T], int]) -> Iterator[list[T]]:
        """Split what one association carries into batches: at most so many, and so long."""
        room = self._bytes_s * BURST_S or float("inf")
        batch: list[T] = []
        total = 0
        for one in load:
            if batch and (len(batch) == self._batch or total + size(one) > room):
                yield batch
                batch, total = [], 0
            batch.append(one)
            total += size(one)
        if batch:
            yield batch
