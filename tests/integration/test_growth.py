"""No thread, descriptor or memory grows with the number of associations, good or bad (F07).

`GROWTH_ASSOCIATIONS` says how many: 10000, about 10 s, unless told otherwise.
"""

import os
from pathlib import Path

from harness import Adapter, eventually
from health import MakeAdapter, crashes
from wire import C_STORE, CONTEXTS, CT, DATA, Wire, associate_rq, data_set, pdu, pdv, request

ASSOCIATIONS = int(os.environ.get("GROWTH_ASSOCIATIONS") or 10_000)
IDLE_THREADS_S = 15.0
"""Trio's threads end when they had nothing to do for 10 s."""
GROWTH_KB_MAX = 3000
"""In the second half. What is kept is bounded and full by then: 10 000 events that can be asked for
again, 200 ended associations, the threads of the pool.
"""


def visit(adapter: Adapter, number: int) -> None:
    """Associate number of an endless row of senders, every one of another kind."""
    port = adapter.dicom_port
    with Wire(port) as wire:
        match number % 8:
            case 0:
                return  # a probe
            case 1:
                wire.reset()
                return
            case 2:
                wire.send(associate_rq(called=b"NOBODY"))
                assert wire.answer() == ("reject", 1, 1, 7)
                return
            case 3:
                wire.send(b"GET / HTTP/1.1\r\n\r\n")
                assert wire.answer()[0] == "abort"
                return
        wire.associate(CONTEXTS)
        match number % 8:
            case 4:
                assert wire.echo() == ("response", 0)
                assert wire.release() == ("released",)
            case 5:
                assert wire.store(f"1.2.3.{number % 50}") == ("response", 0)
                assert wire.release() == ("released",)
            case 6:
                wire.send(pdu(DATA, pdv(3, 3, request(C_STORE, CT, b"1.2.9"))))
                wire.send(pdu(DATA, pdv(3, 0, data_set("1.2.9"))))
                wire.abort()
            case 7:
                wire.reset()


class Size:
    """What the process holds when it has nothing to do."""

    def __init__(self, adapter: Adapter) -> None:
        eventually(lambda: adapter.associations() == 0)
        eventually(lambda: adapter.metrics("dicom_adapter_half_open") == {"": 0})
        process = Path(f"/proc/{adapter.pid}")
        self.threads = len(os.listdir(process / "task"))
        self.descriptors = len(os.listdir(process / "fd"))
        self.memory_kb = adapter.memory_kb("VmRSS")


def test_nothing_grows_with_the_number_of_associations(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"application_entities": [
        {"name": "main", "ae_title": "MAIN", "timeout_s": 600, "pipelines": {"one": "one"}}
    ]})  # fmt: skip
    for number in range(ASSOCIATIONS // 2):
        visit(adapter, number)
    before = Size(adapter)
    for number in range(ASSOCIATIONS // 2, ASSOCIATIONS):
        visit(adapter, number)

    def settled() -> Size | None:
        """Return the size; None: threads are left that had much to do at once a moment ago."""
        now = Size(adapter)
        more = now.threads - before.threads, now.descriptors - before.descriptors
        return now if more[0] <= 1 and more[1] <= 2 else None

    after = eventually(settled, IDLE_THREADS_S, "as few threads and descriptors as before")
    assert after is not None
    assert after.memory_kb - before.memory_kb < GROWTH_KB_MAX
    assert crashes(adapter) == []
    assert not list((adapter.root / "incoming" / ".part").iterdir())
