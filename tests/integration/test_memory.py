"""Memory does not depend on the size of an instance, in or out (F53)."""

import hashlib
import struct
from pathlib import Path

from dicom_peers import LyingDestination
from harness import eventually
from health import MakeAdapter
from wire import C_STORE, CT, DATA, Wire, data_set, pdu, pdv, request

MB = 1 << 20
INSTANCE_MB = 500
GROWTH_KB_MAX = 50_000
PIECE = 65536


def pixel_data(size: int) -> bytes:
    return struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OW", size)


def send_large(wire: Wire, uid: str, megabytes: int) -> str:
    """Store an instance of this size without holding it; return the digest of its data set."""
    head = data_set(uid, tail=pixel_data(megabytes * MB))
    digest = hashlib.sha256(head)
    block = bytes(range(256)) * (PIECE // 256)
    fragment = pdu(DATA, pdv(3, 0, block))
    count = megabytes * MB // PIECE
    wire.associate()
    wire.send(pdu(DATA, pdv(3, 3, request(C_STORE, CT, uid.encode()))))
    wire.send(pdu(DATA, pdv(3, 0, head)))
    for number in range(count):
        wire.send(pdu(DATA, pdv(3, 2, block)) if number == count - 1 else fragment)
        digest.update(block)
    assert wire.answer() == ("response", 0)
    wire.release()
    return digest.hexdigest()


def digest_of_data_set(path: Path) -> str:
    """Return the digest of what lies behind File Meta Information."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        meta_length = struct.unpack_from("<I", file.read(144), 140)[0]  # (0002,0000)
        file.seek(144 + meta_length)
        while block := file.read(MB):
            digest.update(block)
    return digest.hexdigest()


def test_large_instance_costs_one_buffer_in_and_out(make_adapter: MakeAdapter) -> None:
    """500 MB in, through a pipeline that links it, and out again: less than 50 MB above idle."""
    with LyingDestination(lambda message_id, uid: (message_id, uid)) as peer:
        adapter = make_adapter({
            "application_entities": [{
                "name": "main", "ae_title": "MAIN", "timeout_s": 1,
                "pipelines": {"link": "link"}, "destinations": ["peer"],
            }],
            "platform": {
                "engine": "command",
                "pipelines": [
                    {"id": "link", "command": ["/bin/cp", "-rl", "input/dcm", "output/"]}
                ],
            },
            "destinations": [
                {"name": "peer", "ae_title": "PEER", "host": "127.0.0.1", "port": peer.port}
            ],
        })  # fmt: skip
        with Wire(adapter.dicom_port) as wire:
            wire.associate()  # whatever is loaded late is loaded now
            wire.release()
        idle = adapter.memory_kb("VmHWM")
        with Wire(adapter.dicom_port, timeout_s=60) as wire:
            sent = send_large(wire, "1.2.3.1", INSTANCE_MB)
        received = adapter.memory_kb("VmHWM")
        assert received - idle < GROWTH_KB_MAX
        eventually(lambda: adapter.get("/api/exports?state=Completed"), 30)
        assert adapter.memory_kb("VmHWM") - idle < GROWTH_KB_MAX
        assert peer.stores == 1
        (stored,) = (p for p in adapter.instances("payloads") if "output" not in p.parts)
        assert digest_of_data_set(stored) == sent
