"""The ledger's writer thread is one, whatever pauses there are between writes."""

import os
import threading
from contextlib import suppress

import pytest
import trio

from adapter.errors import LedgerError
from adapter.store.diskcache_engine import DiskcacheEngine
from adapter.store.group_commit import WriterThread


class Noting:
    """An engine that notes which thread writes."""

    def __init__(self):
        self.threads = set()

    def load(self):
        yield from ()

    def write(self, changes):
        if not changes:
            raise LedgerError("nothing to write")
        self.threads.add(threading.get_ident())


async def test_every_write_is_of_the_same_thread():
    writer, engine = WriterThread(), Noting()
    for _ in range(20):
        await writer.write(engine, [("key", b"")])
    assert len(engine.threads) == 1
    assert threading.get_ident() not in engine.threads


async def test_failure_is_told_to_who_waits():
    with pytest.raises(LedgerError, match="nothing to write"):
        await WriterThread().write(Noting(), [])


async def test_cancel_waits_for_the_write(tmp_path):
    engine, writer = DiskcacheEngine(tmp_path / "ledger"), WriterThread()
    with trio.CancelScope() as scope:
        scope.cancel()
        await writer.write(engine, [("job/job-1", b"row")])
    assert dict(engine.load()) == {"job/job-1": b"row"}
    writer.close(engine)


def open_below(folder):
    """Return which files below a folder this process has open, once for each descriptor."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing had a descriptor of its own
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return sorted(path for path in found if path.startswith(str(folder)))


async def test_descriptors_do_not_grow_with_the_writes(tmp_path):
    engine, writer = DiskcacheEngine(tmp_path / "ledger"), WriterThread()
    await writer.write(engine, [("first", b"row")])
    before = open_below(tmp_path)
    assert before
    for number in range(20):
        await writer.write(engine, [(f"job/{number}", b"row")])
    assert open_below(tmp_path) == before
    writer.close(engine)
    assert open_below(tmp_path) == []
