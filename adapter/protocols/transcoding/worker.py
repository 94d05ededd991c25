"""The process that decodes: what a hostile pixel stream can take with it.

On its input comes one line of JSON for each copy or picture wanted, on its output goes one line for
each; it ends with its input. It is given so much memory and, for each of them, so much processor
time.
"""

import os
import resource
import time
import warnings
from typing import BinaryIO

import msgspec

from adapter.protocols.transcoding.copies import Made, NotMadeError, Wanted, WantedPicture
from adapter.protocols.transcoding.decoding import transcode

NICE = 10
"""Whoever receives goes first."""


def serve(memory_bytes: int, deadline_s: float) -> None:
    """Make copies and pictures until the input ends."""
    orders = os.fdopen(os.dup(0), "rb")
    reports = os.fdopen(os.dup(1), "wb", buffering=0)
    _limit(memory_bytes)
    warnings.simplefilter("ignore")  # of values that are not as they should be: they stay so
    for line in orders:
        _limit_time(deadline_s)
        _report(
            reports, _made(msgspec.json.decode(line, type=Wanted | WantedPicture), memory_bytes)
        )


def _limit(memory_bytes: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # decoders talk to themselves
        os.dup2(nowhere, fd)
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (memory_bytes, memory_bytes))


def _limit_time(deadline_s: float) -> None:
    """Have the kernel end this process, should nobody be left who would."""
    seconds = int(time.process_time() + deadline_s) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, hard))


def _made(wanted: Wanted | WantedPicture, memory_bytes: int) -> Made:
    try:
        _make(wanted)
    except NotMadeError as error:
        return Made(error=str(error), why=error.why)
    except MemoryError:
        return Made(error=f"it needs more than {memory_bytes / 1e9:g} GB of memory", why="size")
    except OSError as error:
        words = os.strerror(error.errno or 0)
        return Made(error=f"a file cannot be read or written: {words}")
    except (
        Exception
    ) as error:  # whatever a decoder says of such a stream; its words may hold values
        return Made(error=f"it cannot be decoded ({type(error).__name__})")
    return Made()


def _make(wanted: Wanted | WantedPicture) -> None:
    if isinstance(wanted, Wanted):
        transcode(wanted.source, wanted.target, wanted.transfer_syntax_uid)
        return
    try:
        from adapter.protocols.transcoding.pictures import draw
    except ImportError as error:
        raise NotMadeError("NumPy and Pillow are not installed (extra 'transcode')") from error
    draw(wanted)


def _report(reports: BinaryIO, made: Made) -> None:
    reports.write(msgspec.json.encode(made) + b"\n")
