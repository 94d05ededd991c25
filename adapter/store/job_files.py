"""What an engine elsewhere reads of a job's folder and writes into it (port `JobFiles`).

Results are gathered beside the output folder and take its place by one rename when all are there,
so that `output/` is either empty or complete. Below `payloads/<job>/`:

    .results/...   received, verified and synced
    .parts/<n>     being received

Rules: a path was checked by `is_relative_path` before anything is made of it.
"""

import hashlib
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from adapter.domain.identifiers import is_relative_path
from adapter.domain.job_files import JobFile
from adapter.domain.records import DONE_FLAG
from adapter.errors import StorageFullError, UnavailableError
from adapter.store.files import (
    FILE_MODE,
    FOLDER_MODE,
    DiskThreads,
    Durability,
    make_folder,
    sync_folder,
    walk_files,
    write_all,
    write_file,
)
from adapter.store.layout import Layout
from adapter.store.space import DiskSpaceGauge

CHUNK = 1 << 20
"""Bytes read or written by a thread at once; so much memory costs a transfer."""


class FolderJobFiles:
    """Job folders below one root."""

    def __init__(
        self, layout: Layout, durability: Durability, threads: DiskThreads, space: DiskSpaceGauge
    ) -> None:
        self._layout = layout
        self._durability = durability
        self._threads = threads
        self._space = space
        self._parts = itertools.count()

    # --- the payload

    async def inputs(self, job_id: str) -> list[JobFile]:
        """See `JobFiles.inputs`."""
        return await self._threads.run(_listed, self._layout.payload(job_id) / "input")

    async def digest(self, job_id: str, path: str) -> bytes:
        """See `JobFiles.digest`."""
        return await self._sha256(self._input(job_id, path))

    @asynccontextmanager
    async def read(self, job_id: str, path: str) -> AsyncIterator["Reading"]:
        """See `JobFiles.read`."""
        async with self._open(self._input(job_id, path)) as reading:
            yield reading

    def _input(self, job_id: str, path: str) -> Path:
        return below(self._layout.payload(job_id) / "input", path)

    @asynccontextmanager
    async def _open(self, path: Path) -> AsyncIterator["Reading"]:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = await self._threads.run(os.open, path, flags)
        try:
            yield Reading(fd, self._threads)
        finally:
            os.close(fd)

    async def _sha256(self, path: Path) -> bytes:
        digest = hashlib.sha256()
        async with self._open(path) as reading:
            async for chunk in reading:
                await self._threads.run(digest.update, chunk)
        return digest.digest()

    # --- results

    async def has_results(self, job_id: str) -> bool:
        """See `JobFiles.has_results`."""
        flag = self._layout.payload(job_id) / "output" / DONE_FLAG
        return await self._threads.run(flag.exists)

    async def missing_results(self, job_id: str, results: Sequence[JobFile]) -> list[JobFile]:
        """See `JobFiles.missing_results`."""
        folder = self._results(job_id)
        sizes = await self._threads.run(self._kept, job_id, {result.path for result in results})
        missing = [
            result
            for result in results
            if sizes.get(result.path) != result.size
            or (await self._sha256(below(folder, result.path))).hex() != result.sha256
        ]
        needed = sum(result.size for result in missing)
        reading = await self._space.read()
        if needed > reading.free_bytes - reading.reserved_bytes:
            raise StorageFullError(f"no space for {needed} bytes of results beside the reserve")
        return missing

    def _results(self, job_id: str) -> Path:
        return self._layout.payload(job_id) / ".results"

    def _part_folder(self, job_id: str) -> Path:
        return self._layout.payload(job_id) / ".parts"

    def _kept(self, job_id: str, paths: set[str]) -> dict[str, int]:
        """Return the sizes of what was received before; drop it all if some is not wanted."""
        parts, folder = self._part_folder(job_id), self._results(job_id)
        shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir(FOLDER_MODE)
        folder.mkdir(FOLDER_MODE, exist_ok=True)
        (folder / DONE_FLAG).unlink(missing_ok=True)  # killed just before the rename
        found = {file.path: file.size for file in _listed(folder)}
        if found.keys() <= paths:
            return found
        shutil.rmtree(folder)
        folder.mkdir(FOLDER_MODE)
        return {}

    async def receive(self, job_id: str, result: JobFile, chunks: AsyncIterator[bytes]) -> None:
        """See `JobFiles.receive`."""
        part = self._part_folder(job_id) / str(next(self._parts))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = await self._threads.run(os.open, part, flags, FILE_MODE)
        try:
            await self._write(fd, result, chunks)
        except BaseException:
            part.unlink()
            raise
        finally:
            os.close(fd)
        await self._threads.run(put, part, below(self._results(job_id), result.path))

    async def _write(self, fd: int, result: JobFile, chunks: AsyncIterator[bytes]) -> None:
        digest, size = hashlib.sha256(), 0

        def write(chunk: bytes) -> None:
            digest.update(chunk)
            write_all(fd, [chunk])

        async for chunk in chunks:
            size += len(chunk)
            if size > result.size:
                break
            await self._threads.run(write, chunk)
        if size != result.size:
            more = "more than" if size > result.size else f"{size} of"
            raise UnavailableError(f"a result came with {more} {result.size} bytes")
        if digest.hexdigest() != result.sha256:
            raise UnavailableError("a result came with another SHA-256 than was offered")
        if self._durability == "fsync":
            await self._threads.run(os.fsync, fd)

    async def finish_results(self, job_id: str) -> None:
        """See `JobFiles.finish_results`."""
        await self._threads.run(self._finish, job_id)

    def _finish(self, job_id: str) -> None:
        payload, results = self._layout.payload(job_id), self._results(job_id)
        shutil.rmtree(self._part_folder(job_id))
        write_file(results / DONE_FLAG, b"", self._durability)
        for folder, _, _ in os.walk(results, topdown=False):
            sync_folder(folder, self._durability)
        shutil.rmtree(payload / "output", ignore_errors=True)  # empty; or another engine left it
        results.rename(payload / "output")
        sync_folder(payload, self._durability)


class Reading:
    """An open file, in chunks; no generator, so nothing has to be closed if it is left."""

    def __init__(self, fd: int, threads: DiskThreads) -> None:
        self._fd = fd
        self._threads = threads

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._threads.run(os.read, self._fd, CHUNK)
        if not chunk:
            raise StopAsyncIteration
        return chunk


def _listed(folder: Path) -> list[JobFile]:
    return sorted(_files(folder), key=lambda file: file.path)


def _files(folder: Path) -> Iterator[JobFile]:
    for entry in walk_files(folder):
        size = entry.stat(follow_symlinks=False).st_size
        yield JobFile(path=os.path.relpath(entry.path, folder), size=size)


def below(folder: Path, path: str) -> Path:
    """Return the path of a file below a folder; it was checked."""
    if not is_relative_path(path):
        raise ValueError(f"not a path below a folder: {path!r}")
    return folder / path


def put(part: Path, final: Path) -> None:
    """Give a file its final name, with the folders it needs."""
    make_folder(final.parent)
    part.replace(final)
