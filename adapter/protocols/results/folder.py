"""Results that lie in a job's output folder (port `ResultSource`).

The flag `output/job.done` says that they are complete; only then are they read. A file counts as a
result if it is a DICOM Part 10 instance; anything else is reported as skipped and left alone.
"""

import os
from pathlib import Path

import trio

from adapter.domain.identifiers import is_id
from adapter.domain.records import DONE_FLAG, Results
from adapter.errors import UnavailableError
from adapter.protocols.dimse.file_meta import NotPart10Error
from adapter.protocols.dimse.part10 import describe


class FolderResults:
    """Reads the output folders below the payload root."""

    def __init__(self, payloads: Path, threads: trio.CapacityLimiter) -> None:
        self._payloads = payloads
        self._threads = threads

    def _output(self, job_id: str) -> Path:
        assert is_id(job_id)
        return self._payloads / job_id / "output"

    async def results(self, job_id: str) -> Results:
        """See `ResultSource.results`.

        Raises:
            UnavailableError: The folder cannot be read now.
        """
        return await trio.to_thread.run_sync(self._read, job_id, limiter=self._threads)

    async def inputs(self, job_id: str) -> set[str]:
        """See `ResultSource.inputs`.

        Raises:
            UnavailableError: The folder cannot be read now.
        """
        return await trio.to_thread.run_sync(self._inputs, job_id, limiter=self._threads)

    def _inputs(self, job_id: str) -> set[str]:
        folder = self._output(job_id).with_name("input")
        try:
            found = os.walk(folder, onerror=_raise)
            return {name.removesuffix(".dcm") for _, _, names in found for name in names}
        except OSError as error:
            raise UnavailableError(f"input folder: {error.strerror}") from error

    def _read(self, job_id: str) -> Results:
        results = Results()
        output = self._output(job_id)
        try:
            for folder, folders, names in os.walk(output, onerror=_raise):
                folders.sort()
                for name in sorted(names):
                    path = Path(folder, name)
                    if name != DONE_FLAG or path.parent != output:
                        self._judge(path, str(path.relative_to(output)), results)
        except OSError as error:
            raise UnavailableError(f"output folder: {error.strerror}") from error
        return results

    def _judge(self, path: Path, file: str, results: Results) -> None:
        if path.is_symlink():  # may lead anywhere
            results.skipped.append(file)
            return
        try:
            results.files[file] = describe(str(path))
        except NotPart10Error:
            results.skipped.append(file)


def _raise(error: OSError) -> None:
    """A folder that cannot be read is not an empty one."""
    raise error
