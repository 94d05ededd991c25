"""A process that decodes, as the main process has it: started when needed, killed when it hangs."""

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import trio

from adapter.protocols.transcoding.copies import Made, NotMadeError, Wanted, WantedPicture

REPORT_BYTES_MAX = 4096
END_S = 2.0
"""From SIGKILL to its end; a process that takes longer hangs in the kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingLimits:
    """`dicom.scu.transcoding.*`, or what `preview.*` allows."""

    memory_bytes: int
    deadline_s: float


class DecoderProcess:
    """One process at a time; used by one task at a time."""

    def __init__(self, limits: DecodingLimits) -> None:
        """Start nothing yet."""
        self._limits = limits
        self._process: trio.Process | None = None

    async def make(self, wanted: Wanted | WantedPicture) -> None:
        """Have a copy or a picture made.

        Cancel: the process is killed.

        Raises:
            NotMadeError: There is none.
        """
        is_whole = False
        try:
            with trio.fail_after(self._limits.deadline_s):
                made = await self._made(wanted)
            is_whole = True
        except trio.TooSlowError as error:
            words = f"it takes more than {self._limits.deadline_s:g} s"
            raise NotMadeError(words, "time") from error
        finally:
            if not is_whole:
                with trio.move_on_after(END_S, shield=True):
                    await self.close()
        if made.error:
            raise NotMadeError(made.error, made.why)

    async def _made(self, wanted: Wanted | WantedPicture) -> Made:
        process = self._process or await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        report = b""
        try:
            await process.stdin.send_all(msgspec.json.encode(wanted) + b"\n")
            while not report.endswith(b"\n") and len(report) < REPORT_BYTES_MAX:
                piece = await process.stdout.receive_some()
                if not piece:
                    break
                report += piece
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            report = b""
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(report, type=Made)
        status = await process.wait()
        how = f"signal {-status}" if status < 0 else f"status {status}"
        raise NotMadeError(f"the decoder ended by {how}")

    async def _started(self) -> trio.Process:
        limits = self._limits
        self._process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "adapter.transcoder", str(limits.memory_bytes),
             str(limits.deadline_s)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # each would reserve memory
        )  # fmt: skip
        return self._process

    async def close(self) -> None:
        """End the process, if there is one. Shield it, for END_S."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            await trio.aclose_forcefully(stream)
        await process.wait()
