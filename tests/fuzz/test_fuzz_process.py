"""Fuzzes the whole program over TCP: afterwards it works as before, and holds what it acknowledged.

Each conversation is sent to its end and every answer read, so that "stored" and "answered with
success" must be the same set of instances in the end.
"""

import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fuzz_grammar import Node, broken, fuzzing, mutations, pieces
from harness import Adapter, eventually
from hypothesis import given
from test_fuzz_core import to_acceptor
from wire import Wire, echo_works, parse_command

DEADLINE_S = 2.0
CLOSE_S = 3 * DEADLINE_S + 4
"""A connection is over by then, whatever was said on it."""
SPARE = 6
"""Threads and descriptors that may be about, for reasons of their own."""
IDLE_THREADS_S = 15.0


@dataclass
class Target:
    """The program under fuzz, and what it has promised."""

    adapter: Adapter
    acknowledged: set[str] = field(default_factory=set)

    def stored(self) -> set[str]:
        return {path.stem for path in self.adapter.instances("incoming")}

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.adapter.pid}/task"))

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.adapter.pid}/fd"))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    limits = {"artim_s": DEADLINE_S, "idle_s": DEADLINE_S, "dimse_s": DEADLINE_S, "answer_s": 1.0}
    main = {"name": "main", "ae_title": "MAIN", "timeout_s": 86400, "pipelines": {"one": "one"}}
    adapter = Adapter(
        tmp_path_factory.mktemp("fuzz"),
        {"dicom": {"scp": {**limits, "max_pdu": 16384}}, "application_entities": [main]},
    )
    adapter.start()
    try:
        yield Target(adapter)
    finally:
        adapter.kill()


def answers(wire: Wire, stream: bytes, sizes: list[int]) -> list[tuple[int, bytes]]:
    """Say all of stream, in pieces, and return every PDU that comes back."""
    position = turn = 0
    while position < len(stream) and turn < len(sizes):
        wire.send(stream[position : position + sizes[turn]])
        position, turn = position + sizes[turn], turn + 1
    wire.send(stream[position:])
    wire.end()
    found = []
    while (answer := wire.read_pdu()) is not None:
        found.append(answer)
    return found


def acknowledged(answer: tuple[int, bytes]) -> str:
    """Return the SOP Instance UID of a C-STORE-RSP that says success, else an empty string."""
    elements = parse_command(answer[1][6:]) if answer[0] == 4 else {}
    if elements.get(0x0100) != b"\1\x80" or struct.unpack("<H", elements[0x0900])[0]:
        return ""
    return elements[0x1000].rstrip(b"\0").decode()


@pytest.mark.slow
def test_program_lives_on_and_holds_what_it_acknowledged(target: Target) -> None:
    adapter = target.adapter
    assert echo_works(adapter.dicom_port)
    threads, descriptors = target.threads(), target.descriptors()

    @fuzzing(200, 25)
    @given(to_acceptor(), mutations, pieces)
    def converse(
        said: tuple[list[Node], list[object]],
        changes: list[tuple[int, str, int]],
        sizes: list[int],
    ) -> None:
        begin = time.monotonic()
        with Wire(adapter.dicom_port, timeout_s=CLOSE_S) as wire:
            for answer in answers(wire, broken(said[0], changes), sizes):
                target.acknowledged.add(acknowledged(answer))
        assert time.monotonic() - begin < CLOSE_S
        assert adapter.alive()

    converse()
    assert echo_works(adapter.dicom_port)
    assert target.stored() == target.acknowledged - {""}
    assert not list((Path(adapter.root) / "incoming" / ".part").iterdir())
    eventually(lambda: target.threads() <= threads + SPARE, IDLE_THREADS_S, "threads go")
    assert target.descriptors() <= descriptors + SPARE
    signs = ('"actor.crashed"', '"process.failed"', "Traceback")
    assert [line for line in adapter.log if any(sign in line for sign in signs)] == []
    assert [line for line in adapter.log if not line.startswith("{")] == []
