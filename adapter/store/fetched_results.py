"""Results that were fetched from a Results Service (port `FetchedFiles`): folders of jobs.

.<job>/output/...     fetched, until all of it is there
<job>/output/...      the folder of a job like any other, with its flag
<job>/.parts/<n>      being fetched, for one that is there already
"""

import itertools
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from adapter.domain.records import DONE_FLAG
from adapter.errors import StorageFullError
from adapter.store.files import (
    FILE_MODE,
    DiskThreads,
    Durability,
    make_folder,
    sync_folder,
    write_all,
    write_file,
)
from adapter.store.instances import remove_folder
from adapter.store.job_files import below, put
from adapter.store.layout import Layout, unfinished
from adapter.store.space import DiskSpaceGauge


class FetchedResults:
    """Job folders below one root."""

    def __init__(
        self, layout: Layout, durability: Durability, threads: DiskThreads, space: DiskSpaceGauge
    ) -> None:
        self._layout = layout
        self._durability = durability
        self._threads = threads
        self._space = space
        self._parts = itertools.count()

    def _folder(self, job_id: str) -> Path:
        """Return the folder of the job, finished or not."""
        final = self._layout.payload(job_id)
        return final if final.exists() else unfinished(final)

    async def missing(self, job_id: str, files: Sequence[str]) -> list[str]:
        """See `FetchedFiles.missing`."""
        return await self._threads.run(self._missing, job_id, files)

    def _missing(self, job_id: str, files: Sequence[str]) -> list[str]:
        folder = self._folder(job_id)
        for name in ("input", "output", ".parts"):
            make_folder(folder / name)
        return [file for file in files if not below(folder / "output", file).is_file()]

    async def receive(self, job_id: str, file: str, chunks: AsyncIterator[bytes]) -> None:
        """See `FetchedFiles.receive`."""
        folder = self._folder(job_id)
        part = folder / ".parts" / str(next(self._parts))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = await self._threads.run(os.open, part, flags, FILE_MODE)
        try:
            async for chunk in chunks:
                if self._space.low:
                    raise StorageFullError("storage space is low")
                await self._threads.run(write_all, fd, [chunk])
            if self._durability == "fsync":
                await self._threads.run(os.fsync, fd)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        await self._threads.run(self._put, part, below(folder / "output", file))

    def _put(self, part: Path, final: Path) -> None:
        put(part, final)
        sync_folder(final.parent, self._durability)

    async def finish(self, job_id: str) -> None:
        """See `FetchedFiles.finish`."""
        await self._threads.run(self._finish, job_id)

    def _finish(self, job_id: str) -> None:
        final = self._layout.payload(job_id)
        if final.exists():
            return
        folder = unfinished(final)
        (folder / "output" / DONE_FLAG).unlink(missing_ok=True)
        write_file(folder / "output" / DONE_FLAG, b"", self._durability)
        for place, _, _ in os.walk(folder, topdown=False):
            sync_folder(place, self._durability)
        folder.rename(final)
        sync_folder(self._layout.payloads, self._durability)

    async def discard(self, job_id: str) -> None:
        """See `FetchedFiles.discard`."""
        await self._threads.run(self._discard, job_id)

    def _discard(self, job_id: str) -> None:
        final = self._layout.payload(job_id)
        for folder in (unfinished(final), final):
            remove_folder(self._layout, folder, self._durability)
