"""How much memory does the adapter take to receive one very large instance?

The sender makes the instance while it sends it, so nobody holds it as a whole. What counts is the
highest resident size while receiving (VmHWM, reset before; proc(5)) over the resident size before.

    python -m benchmarks.memory --mb 500
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from adapter.protocols.dimse import command_set
from benchmarks.instances import CT_SIDE, ct_head, template
from benchmarks.load import CONTEXT, Sender, SendFailedError, fragments, send_all
from benchmarks.peers import RECEIVERS, PeerFailedError, running, workspace

CHUNK_BYTES = 1 << 20
FRAME_BYTES = 2 * CT_SIDE * CT_SIDE
UID = "2.25.2718281828459045235360287471352"
_RESET_PEAK = "5"  # proc(5), /proc/PID/clear_refs
WARM = 20


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident sizes in bytes."""

    instance_bytes: int
    idle: int
    """Before any association."""
    warm: int
    """After an association with small instances: code is loaded, buffers have been used."""
    peak: int
    """The highest while the large instance was received."""


def resident(pid: int, field: str) -> int:
    """Return VmRSS or VmHWM of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    assert found, f"no {field} in /proc/{pid}/status"
    return int(found[1]) * 1024


def send_large(port: int, called: str, payload_bytes: int) -> int:
    """Send one multi-frame CT of about that size; return how long its data set was."""
    frames = max(payload_bytes // FRAME_BYTES, 1)
    left = frames * FRAME_BYTES
    sop_class_uid, head = ct_head(left, frames, UID)
    chunk = memoryview(bytes(CHUNK_BYTES))
    sender = Sender(port, called, sop_class_uid)
    try:
        step = sender.fragment_bytes
        sender.send([command_set.store_request(CONTEXT, 1, sop_class_uid, UID)])
        sender.send(fragments(memoryview(head), step, last=False))
        total = len(head) + left
        while left:
            piece = chunk[: min(left, CHUNK_BYTES)]
            left -= len(piece)
            sender.send(fragments(piece, step, last=not left))
        sender.check_response(1)
        sender.release()
    finally:
        sender.close()
    return total


def measure(payload_bytes: int, work: Path) -> Memory:
    """Start an adapter, let it receive, and read its sizes.

    Raises:
        PeerFailedError, SendFailedError, OSError: It did not take the instance.
    """
    receiver = RECEIVERS[0]
    with running(receiver, work) as adapter:
        idle = resident(adapter.pid, "VmRSS")
        send_all(adapter.port, receiver.called, template("sr"), WARM, 0)
        warm = resident(adapter.pid, "VmRSS")
        Path(f"/proc/{adapter.pid}/clear_refs").write_text(_RESET_PEAK)
        sent = send_large(adapter.port, receiver.called, payload_bytes)
        peak = resident(adapter.pid, "VmHWM")
        if receiver.stored(adapter) != WARM + 1:
            raise PeerFailedError("the adapter has not stored every instance")
    return Memory(sent, idle, warm, peak)


def main(arguments: Sequence[str]) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--mb", type=int, default=500, help="size of the instance in MB")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where to store")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    with workspace(args.folder) as (work, _):
        try:
            memory = measure(args.mb * 10**6, work)
        except (PeerFailedError, SendFailedError, OSError) as error:
            print(error, file=sys.stderr)
            return 1
    growth = memory.peak - memory.warm
    for what, size in (
        ("instance", memory.instance_bytes),
        ("idle", memory.idle),
        ("after small instances", memory.warm),
        ("peak while receiving", memory.peak),
        ("growth for the instance", growth),
    ):
        print(f"{what:24} {size / 1e6:8.1f} MB")
    if args.json:
        args.json.write_text(json.dumps(asdict(memory) | {"growth": growth}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
