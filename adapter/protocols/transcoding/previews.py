"""Pictures of instances (port `Previews`), each drawn by a process of its own that ends with it.

Nothing is kept: neither a picture nor a process that has seen another patient's.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio
from msgspec import Struct

from adapter.domain.previews import OUTCOMES, Instance, NoPicture
from adapter.errors import UnavailableError
from adapter.protocols.transcoding.copies import NotMadeError, WantedPicture
from adapter.protocols.transcoding.decoder_process import DecoderProcess, DecodingLimits

SIDE_MAX = 768
"""Pixels; what a page has room for."""
AT_ONCE = 1
WAITING_MAX = 8
END_S = 5.0
T = TypeVar("T")


class PreviewLimits(Struct, frozen=True, kw_only=True):
    """`preview.*`."""

    pixels_max: int
    instance_bytes_max: int
    process: DecodingLimits


class DrawnPreviews:
    """Draws pictures, one at a time; whoever comes while many wait is told to come again."""

    def __init__(self, limits: PreviewLimits, scratch: Path) -> None:
        """Draw within limits; scratch: a folder for a picture on its way."""
        self._limits = limits
        self._scratch = scratch
        self._places = trio.CapacityLimiter(AT_ONCE)
        self._threads = trio.CapacityLimiter(AT_ONCE)
        self.counts = dict.fromkeys(OUTCOMES, 0)

    async def picture(self, instance: Instance) -> bytes | NoPicture:
        """See `Previews.picture`."""
        found = await self._picture(instance)
        self.counts[found.why if isinstance(found, NoPicture) else "drawn"] += 1
        return found

    async def _picture(self, instance: Instance) -> bytes | NoPicture:
        allowed = self._limits.instance_bytes_max
        if instance.size_bytes > allowed:
            text = f"an instance of {instance.size_bytes} bytes; {allowed} are allowed"
            return NoPicture(why="size", text=text)
        if self._places.statistics().tasks_waiting >= WAITING_MAX:
            return NoPicture(why="busy", text="others are being drawn; come again")
        async with self._places:
            return await self._drawn(instance.path)

    async def _drawn(self, source: str) -> bytes | NoPicture:
        try:
            folder = await self._run(partial(tempfile.mkdtemp, dir=self._scratch))
        except OSError as error:
            raise UnavailableError(os.strerror(error.errno or 0)) from error
        target = os.path.join(folder, "picture")
        process = DecoderProcess(self._limits.process)
        wanted = WantedPicture(
            source=source, target=target, side_max=SIDE_MAX, pixels_max=self._limits.pixels_max
        )
        try:
            await process.make(wanted)
            return await self._run(Path(target).read_bytes)
        except NotMadeError as error:
            return NoPicture(why=error.why, text=str(error))
        finally:
            with trio.move_on_after(END_S, shield=True):
                await process.close()
                await self._run(partial(shutil.rmtree, folder, ignore_errors=True))

    async def _run(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._threads)
