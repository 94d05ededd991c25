"""Free space of the storage (port `SpaceGauge`)."""

import os
from dataclasses import dataclass

from adapter.domain.ports import SpaceReading
from adapter.store.files import DiskThreads
from adapter.store.layout import Layout

HYSTERESIS = 0.05
"""Admission re-opens when this fraction more than the reserve is free: no flapping at the edge."""


@dataclass(slots=True)
class SpaceLimits:
    """The larger of the two reserves counts."""

    watermark_percent: float
    reserve_bytes: int


class DiskSpaceGauge:
    """Measures the file system of the storage root."""

    def __init__(self, layout: Layout, *, limits: SpaceLimits, threads: DiskThreads) -> None:
        self.low = False
        self._root = layout.root
        self._limits = limits
        self._threads = threads

    async def measure(self) -> SpaceReading:
        """See `SpaceGauge.measure`."""
        reading = await self.read()
        edge = reading.reserved_bytes * (1 + HYSTERESIS if self.low else 1)
        self.low = reading.free_bytes < edge
        return reading

    async def read(self) -> SpaceReading:
        """Return what is free, and decide nothing."""
        status = await self._threads.run(os.statvfs, self._root)
        total, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
        limits = self._limits
        above_watermark = int(total * (1 - limits.watermark_percent / 100))
        reserved = max(above_watermark, limits.reserve_bytes)
        return SpaceReading(total_bytes=total, free_bytes=free, reserved_bytes=reserved)
