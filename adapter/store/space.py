"""Free space of the storage, and whether it can be written at all (port `SpaceGauge`).

A file system that fails or was remounted read-only has space, and takes nothing; and one that is
not the one of the start is not ours. So each look writes a little, and compares.
"""

import errno
import os
from dataclasses import dataclass

from adapter.domain.ports import SpaceReading
from adapter.errors import StorageFaultError, UnavailableError
from adapter.store.files import DiskThreads, Durability
from adapter.store.layout import Layout

HYSTERESIS = 0.05
"""Admission re-opens when this fraction more than the reserve is free: no flapping at the edge."""
INODES_RESERVED = 1000
"""Below so many free inodes, or this fraction of all, there is no space (ext4 can run out)."""
INODES_FRACTION = 0.05
PROBE_MODE = 0o640
"""Written again and again, also by a user who may not write what is read-only."""
REPLACED = "the storage root is not the one of the start any more"


@dataclass(slots=True)
class SpaceLimits:
    """The larger of the two reserves counts."""

    watermark_percent: float
    reserve_bytes: int


class DiskSpaceGauge:
    """Measures the file system of the storage root."""

    def __init__(
        self,
        layout: Layout,
        *,
        limits: SpaceLimits,
        threads: DiskThreads,
        durability: Durability = "os",
    ) -> None:
        self.low = False
        self.fault = ""
        self._layout = layout
        self._limits = limits
        self._threads = threads
        self._durability = durability
        self._identity: tuple[int, int] | None = None
        """Of the lock file that this process holds."""

    async def measure(self) -> SpaceReading:
        """See `SpaceGauge.measure`."""
        reading = SpaceReading(total_bytes=0, free_bytes=0, reserved_bytes=0)
        fault = ""
        try:
            reading = await self.read()
            edge = reading.reserved_bytes * (1 + HYSTERESIS if self.low else 1)
            low = reading.free_bytes < edge
            if not low:  # what is tried needs room itself
                await self._threads.run(self._try_to_write)
        except UnavailableError as error:
            low, fault = True, str(error)
        self.low, self.fault = low, fault
        return reading

    async def read(self) -> SpaceReading:
        """Return what is free, and decide nothing."""
        status = await self._threads.run(os.statvfs, self._layout.root)
        total, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
        limits = self._limits
        above_watermark = int(total * (1 - limits.watermark_percent / 100))
        reserved = max(above_watermark, limits.reserve_bytes)
        inodes = min(INODES_RESERVED, int(status.f_files * INODES_FRACTION))
        if status.f_files and status.f_favail < inodes:
            free, reserved = 0, max(reserved, 1)  # nothing can be created, however much is free
        return SpaceReading(total_bytes=total, free_bytes=free, reserved_bytes=reserved)

    def _try_to_write(self) -> None:
        """Write a little where everything is written.

        Raises:
            StorageFaultError, OSError: It cannot be done.
        """
        lock = os.stat(self._layout.lock)
        self._identity = self._identity or (lock.st_dev, lock.st_ino)
        if self._identity != (lock.st_dev, lock.st_ino):
            raise StorageFaultError(REPLACED)
        new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(self._layout.probe, new, PROBE_MODE)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                return  # we have no descriptor for it now: that says nothing about the storage
            raise
        try:
            os.write(fd, b"can be written\n")
            if self._durability == "fsync":
                os.fsync(fd)
        finally:
            os.close(fd)
