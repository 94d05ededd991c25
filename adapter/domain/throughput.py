"""What came in during the last hour, in buckets of ten seconds; bounded, whatever the rate."""

from typing import Any

BUCKET_S = 10
BUCKETS_MAX = 360


class Throughput:
    """Instances and bytes stored, by the number of the bucket since 1970."""

    def __init__(self) -> None:
        self._buckets: dict[int, tuple[int, int]] = {}

    def add(self, at: float, instances: int, payload_bytes: int) -> None:
        """Count what was stored at this wall time (POSIX seconds)."""
        number = int(at // BUCKET_S)
        if old := self._buckets.get(number):
            self._buckets[number] = old[0] + instances, old[1] + payload_bytes
            return
        self._buckets[number] = instances, payload_bytes
        for each in [each for each in self._buckets if each <= number - BUCKETS_MAX]:
            del self._buckets[each]

    def as_dict(self) -> dict[str, Any]:
        """Return the buckets as JSON values, oldest first: number, instances, bytes."""
        rows = [[number, *counts] for number, counts in sorted(self._buckets.items())]
        return {"bucketS": BUCKET_S, "buckets": rows}
