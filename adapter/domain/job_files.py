"""The seam between a job's folder and an engine that runs the pipeline on another machine."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct


class JobFile(Struct, frozen=True, kw_only=True):
    """A file of a job: of its input, or of the results that a platform offers."""

    path: str
    """Below the input or the output folder; parts parted by `/`."""
    size: int
    """Bytes."""
    sha256: str = ""
    """In hexadecimal; empty: not known."""


class FileReading(Protocol):
    """The bytes of a file, in chunks."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class JobFiles(Protocol):
    """A job's folder, for an engine that runs the pipeline on another machine.

    Raises (all methods):
        UnavailableError: The storage is full, or fails.
    """

    async def inputs(self, job_id: str) -> list[JobFile]:
        """Return the files of the payload, without digests, in order."""

    async def digest(self, job_id: str, path: str) -> bytes:
        """Return the SHA-256 of a file of the payload."""

    def read(self, job_id: str, path: str) -> AbstractAsyncContextManager[FileReading]:
        """Hold a file of the payload open and read it."""

    async def has_results(self, job_id: str) -> bool:
        """Return whether the output folder is complete."""

    async def missing_results(self, job_id: str, results: Sequence[JobFile]) -> list[JobFile]:
        """Make room for results; return those that were not received yet.

        Raises:
            StorageFullError: They would not leave the reserve free.
        """

    async def receive(self, job_id: str, result: JobFile, chunks: AsyncIterator[bytes]) -> None:
        """Write one result durably.

        Cancel: nothing of it stays.

        Raises:
            UnavailableError: Its size or its digest is not what was offered.
        """

    async def finish_results(self, job_id: str) -> None:
        """Turn what was received into the output folder, with its flag, durably and in one step."""
