"""Every system call on the way of an instance fails once: the answer is a refusal, or it is true.

F62, F64 of the fault catalogue. Calls of the receiver process and of the main process, the first,
the second, ... of each kind until there are no more; each with every error that it may have.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Adapter, eventually
from health import MakeAdapter, crashes, missing
from system_calls import STRACE, failing
from test_receivers import receivers
from wire import Wire, associate_rq, data_set, echo_works, split_part10

REFUSALS = (("response", 0xA700), ("response", 0x0110), ("reject", 2, 3, 1))
"""The last one as long as the look at the storage, every 5 s, has been what failed."""
CALLS = {
    "openat": ("EMFILE", "ENOSPC", "EIO"),
    "writev": ("ENOSPC", "EDQUOT", "EIO"),
    "fsync": ("EIO", "ENOSPC", "EDQUOT"),
    "link,linkat": ("ENOSPC", "EIO", "EMLINK"),
    "mkdir,mkdirat": ("ENOSPC", "EDQUOT", "EIO"),
    "rename,renameat,renameat2": ("ENOSPC", "EIO"),
    "unlink,unlinkat": ("EIO", "EACCES"),
}
MANY = 12
"""Calls of one kind for one instance; more means that the sweep does not end."""


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Iterator[Adapter]:
    if not Path(STRACE).exists():
        missing("strace is not installed")
    adapter = make_adapter({
        "dicom": {"scp": {"receivers": 1}},
        "storage": {"durability": "fsync"},
        "application_entities": [
            {"name": "main", "ae_title": "MAIN", "timeout_s": 600, "pipelines": {"one": "one"}}
        ],
    })  # fmt: skip
    eventually(lambda: receivers(adapter), what="a receiver runs")
    yield adapter
    adapter.kill()


class Sweep:
    """Sends one instance after the other, each of a study of its own."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.acknowledged: list[str] = []
        self.failed = 0
        self._count = 0

    def store(self, again: str = "") -> tuple[str, tuple[object, ...]]:
        """Store a new instance, or one once more; return it with the answer."""
        self._count += 1
        uid = again or f"1.2.7.{self._count}"
        with Wire(self.adapter.dicom_port) as wire:
            wire.send(associate_rq())
            answer = wire.answer()
            if answer != ("accept",):
                return uid, answer
            answer = wire.store(uid, self.content(uid))
            wire.release()
        if answer == ("response", 0):
            self.acknowledged.append(uid)
        return uid, answer

    @staticmethod
    def content(uid: str) -> bytes:
        return data_set(uid, study=uid, series=f"{uid}.1")

    def fail_each(self, pid: int, calls: str, error: str) -> None:
        """Have the first, the second, ... of these calls fail, until there are no more."""
        for number in range(1, MANY):
            with failing([pid], calls, error, str(number)) as tracer:
                uid, answer = self.store()
                if not tracer.happened:
                    return  # there are no more
            self.failed += 1
            eventually(self.is_ready, 15, "the storage can be written, and it has been seen")
            where = f"{calls} number {number} failed with {error}"
            if answer != ("response", 0):
                assert answer in REFUSALS, where
                assert self.store(again=uid)[1] == ("response", 0), f"{where}: and again"
            assert self.store()[1] == ("response", 0), f"{where}: the next one"
            eventually(lambda: not self.parts(), 5, f"{where}: no part file is left")
        raise AssertionError(f"{calls}: no end")

    def is_ready(self) -> bool:
        return self.adapter.request("GET", "/health/ready")[0] == 200

    def parts(self) -> list[str]:
        return [p.name for p in (self.adapter.root / "incoming" / ".part").iterdir()]

    def check(self) -> None:
        """What was acknowledged is there, whole; nothing has been harmed."""
        found = {p.stem: p for p in self.adapter.instances("incoming")}
        assert set(self.acknowledged) <= set(found)
        for uid in self.acknowledged:
            assert split_part10(found[uid].read_bytes())[1] == self.content(uid)
        assert self.adapter.alive()
        assert echo_works(self.adapter.dicom_port)
        assert crashes(self.adapter) == []


@pytest.mark.parametrize("calls", CALLS)
def test_call_that_fails_in_a_receiver_refuses_the_instance(adapter: Adapter, calls: str) -> None:
    sweep = Sweep(adapter)
    (pid,) = receivers(adapter).values()
    for error in CALLS[calls]:
        sweep.fail_each(pid, calls, error)
    assert sweep.failed or calls.startswith("rename"), "nothing was made to fail"
    sweep.check()


@pytest.mark.parametrize("calls", [name for name in CALLS if not name.startswith(("link", "un"))])
def test_call_that_fails_while_a_group_opens_refuses_the_instance(
    adapter: Adapter, calls: str
) -> None:
    sweep = Sweep(adapter)
    for error in CALLS[calls]:
        sweep.fail_each(adapter.pid, calls, error)
    assert sweep.failed, "nothing was made to fail"
    sweep.check()
