"""Destinations that stall or break the protocol, at every step of an export and all at once: each
is cut off by its deadline and tried again, and those that behave are served meanwhile (F86-F95).
"""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import accept_everything
from harness import Adapter, eventually, run_cli
from health import MakeAdapter, crashes
from hostile_peers import CONTEXT, Destination
from wire import (
    AC,
    DATA,
    RELEASE_RP,
    RELEASE_RQ,
    Wire,
    command,
    data_set,
    echo_works,
    explicit,
    item,
    pdu,
    pdv,
)

CONNECT_S, ACSE_S, DIMSE_S = 3.0, 3.0, 4.0
"""Those that behave have to be in time, all at once and in threads of one process."""
ROUND_S = CONNECT_S + ACSE_S + 2 * DIMSE_S + ACSE_S + 2.0
"""What one try may take at the most, and some seconds for a busy machine."""
COPY = ["/bin/cp", "-r", "input/dcm", "output/"]
UID = "1.2.3.1"
PIXELS = 3 << 20
ABORT_PDU = pdu(7, bytes(4))


def accept_with(user: bytes, *, contexts: bool = True) -> "Callable[[Destination, Wire], None]":
    """Return an act that accepts with these user items, and behaves ever after."""

    def act(peer: Destination, wire: Wire) -> None:
        body = peer.asked(wire)
        whole = accept_everything(body)[6:]
        names = whole[: 68 + 25]  # with the application context
        context = whole[len(names) :].partition(b"\x50\x00")[0] if contexts else b""
        wire.sock.sendall(pdu(AC, names + context + item(0x50, user)))
        wire.sock.sendall(peer.take(wire))
        peer.end(wire)

    return act


def max_length(value: int) -> bytes:
    return item(0x51, value.to_bytes(4, "big")) + item(0x52, b"1.2.3")


def associated(then: "Callable[[Destination, Wire], object]") -> Any:
    """Return an act that accepts the association first."""

    def act(peer: Destination, wire: Wire) -> None:
        peer.accept(wire)
        then(peer, wire)

    return act


def with_data(then: "Callable[[Destination, Wire, bytes], object]") -> Any:
    """Return an act that takes the instance first, and has the right response in its hand."""
    return associated(lambda peer, wire: then(peer, wire, peer.take(wire)))


def in_the_middle(words: bytes) -> Any:
    """Return an act that says something when the first PDU of the instance has come."""

    def act(peer: Destination, wire: Wire) -> None:
        peer.next_pdu(wire)
        wire.sock.sendall(words)
        peer.hold(wire)

    return associated(act)


NOTHING = pdu(DATA, pdv(CONTEXT, 1, b""))
FAILING: dict[str, Callable[[Destination, Wire], object]] = {
    "hangs_after_connect": lambda peer, wire: peer.over.wait(),
    "hangs_at_associate": Destination.hold,
    "accepts_byte_by_byte": lambda peer, wire: peer.drip(wire, accept_everything(peer.asked(wire))),
    "accepts_with_junk": lambda peer, wire: wire.sock.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 9),
    "accepts_and_leaves": associated(lambda peer, wire: None),
    "accepts_no_context": accept_with(max_length(0), contexts=False),
    "accepts_length_1": accept_with(max_length(1)),
    "accepts_length_6": accept_with(max_length(6)),
    "accepts_length_7": accept_with(max_length(7)),
    "accepts_twice": associated(lambda peer, wire: (
        wire.sock.sendall(pdu(AC, bytes(68))), peer.hold(wire)
    )),
    "accepts_items_that_lie": lambda peer, wire: (
        wire.sock.sendall(pdu(AC, peer.asked(wire)[:68] + b"\x21\0\xff\xff")), peer.hold(wire)
    ),
    "never_reads": associated(lambda peer, wire: peer.over.wait()),
    "reads_byte_by_byte": associated(Destination.sip),
    "hangs_at_response": with_data(lambda peer, wire, _: peer.hold(wire)),
    "answers_byte_by_byte": with_data(lambda peer, wire, answer: peer.drip(wire, answer)),
    "answers_nothing_for_ever": with_data(lambda peer, wire, _: peer.repeat(wire, NOTHING)),
    "answers_noise": with_data(
        lambda peer, wire, _: (wire.sock.sendall(b"\xff" * 100), peer.hold(wire))
    ),
    "answers_empty_command": with_data(
        lambda peer, wire, _: (wire.sock.sendall(pdu(DATA, pdv(1, 3, b""))), peer.hold(wire))
    ),
    "answers_with_a_request": with_data(
        lambda peer, wire, _: (
            wire.sock.sendall(pdu(DATA, pdv(1, 3, command({
                0x0100: b"\1\0", 0x0110: b"\1\0", 0x0800: b"\1\1",
            })))), peer.hold(wire),
        )
    ),
    "answers_with_data": with_data(
        lambda peer, wire, _: (wire.sock.sendall(pdu(DATA, pdv(1, 2, b"data"))), peer.hold(wire))
    ),
    "answers_without_a_status": with_data(
        lambda peer, wire, _: (
            wire.sock.sendall(pdu(DATA, pdv(1, 3, command({
                0x0100: b"\1\x80", 0x0120: b"\1\0", 0x0800: b"\1\1",
            })))), peer.hold(wire),
        )
    ),
    "aborts_in_the_middle": in_the_middle(ABORT_PDU),
    "releases_in_the_middle": in_the_middle(pdu(RELEASE_RQ, bytes(4))),
    "rejects_in_the_middle": in_the_middle(pdu(3, bytes(4))),
    "leaves_in_the_middle": associated(lambda peer, wire: peer.next_pdu(wire)),
}  # fmt: skip


def collides(peer: Destination, wire: Wire, answer: bytes) -> None:
    """Ask for release as the other side does; the requestor confirms first (PS3.8 9.2.2)."""
    wire.sock.sendall(answer)
    if peer.next_pdu(wire) == (RELEASE_RQ, bytes(4)):
        peer.released += 1
        wire.sock.sendall(pdu(RELEASE_RQ, bytes(4)))
        if peer.next_pdu(wire) == (RELEASE_RP, bytes(4)):
            peer.confirmed += 1
            wire.sock.sendall(pdu(RELEASE_RP, bytes(4)))
            peer.hold(wire)


DELIVERING: dict[str, Callable[[Destination, Wire], object]] = {
    "behaves": Destination.serve,
    "takes_small_fragments": accept_with(max_length(4096)),
    "hangs_at_release": with_data(
        lambda peer, wire, answer: (wire.sock.sendall(answer), peer.hold(wire))
    ),
    "answers_for_ever_at_release": with_data(
        lambda peer, wire, answer: (
            wire.sock.sendall(answer), peer.next_pdu(wire), peer.repeat(wire, answer),
        )
    ),
    "confirms_byte_by_byte": with_data(
        lambda peer, wire, answer: (
            wire.sock.sendall(answer), peer.next_pdu(wire),
            peer.drip(wire, pdu(RELEASE_RP, bytes(4))),
        )
    ),
    "aborts_at_release": with_data(
        lambda peer, wire, answer: (
            wire.sock.sendall(answer), peer.next_pdu(wire), wire.sock.sendall(ABORT_PDU),
        )
    ),
    "collides_at_release": with_data(collides),
    "answers_twice": with_data(
        lambda peer, wire, answer: (wire.sock.sendall(answer * 2), peer.end(wire))
    ),
    "answers_in_pieces": with_data(
        lambda peer, wire, answer: (
            [wire.sock.sendall(answer[at : at + 1]) for at in range(len(answer))], peer.end(wire),
        )
    ),
}  # fmt: skip


@dataclass
class Crowd:
    """An adapter that exports one instance to all of them at once."""

    adapter: Adapter
    peers: dict[str, Destination]

    def export(self, name: str) -> dict[str, Any]:
        (row,) = [
            r for r in self.adapter.get("/api/exports") if r["destination"] == wire_name(name)
        ]
        found: dict[str, Any] = self.adapter.get(f"/api/exports/{row['id']}")
        return found


def wire_name(name: str) -> str:
    return name.replace("_", "-")


@pytest.fixture(scope="module")
def crowd(make_shared_adapter: MakeAdapter) -> Iterator[Crowd]:
    with ExitStack() as stack:
        peers = {
            name: stack.enter_context(Destination(act))
            for name, act in (FAILING | DELIVERING).items()
        }
        adapter = make_shared_adapter({
            "dicom": {"scu": {
                "export": {"max_retries": 1000, "retry_delay_s": 0.1}, "connect_s": CONNECT_S,
                "acse_s": ACSE_S, "dimse_s": DIMSE_S, "max_associations": 100,
            }},
            "application_entities": [{
                "name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"copy": "copy"},
                "destinations": [wire_name(name) for name in peers],
            }],
            "platform": {"engine": "command", "pipelines": [{"id": "copy", "command": COPY}]},
            "destinations": [
                {"name": wire_name(name), "ae_title": "PEER", "host": "127.0.0.1", "port": p.port}
                for name, p in peers.items()
            ],
        })  # fmt: skip
        with Wire(adapter.dicom_port) as wire:
            wire.associate()
            content = data_set(UID, tail=explicit(0x7FE00010, b"OW", bytes(PIXELS)))
            assert wire.store(UID, content) == ("response", 0)
            wire.release()
        eventually(lambda: len(adapter.get("/api/exports")) == len(peers), 20, "exports")
        yield Crowd(adapter, peers)
        assert crashes(adapter) == []
        assert echo_works(adapter.dicom_port)
        assert adapter.stop() in (0, 1)


@pytest.mark.parametrize("name", DELIVERING)
def test_answered_for_is_delivered_whatever_the_manners(crowd: Crowd, name: str) -> None:
    """What was answered stays answered; the end of an association changes nothing (PS3.4 B.4)."""
    eventually(lambda: crowd.export(name)["state"] == "Completed", 2 * ROUND_S, name)
    assert crowd.export(name)["sent"] == 1
    assert crowd.peers[name].delivered == [UID.encode() + b"\0"]
    assert crowd.peers[name].connections == 1


@pytest.mark.parametrize("name", FAILING)
def test_destination_is_cut_off_and_tried_again(crowd: Crowd, name: str) -> None:
    """A second try means that the first has ended: the exporter was free."""
    eventually(lambda: crowd.peers[name].connections >= 2, 2 * ROUND_S, name)
    export = crowd.export(name)
    assert export["state"] != "Completed"
    assert export["sent"] == 0


def test_connection_that_is_never_made_is_given_up(tmp_path: Path) -> None:
    """The queue of a listener that accepts nobody is full: nobody answers the SYN."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        settings = tmp_path / "adapter.json"
        settings.write_text(json.dumps({"dicom": {"scu": {"connect_s": CONNECT_S}}}))
        done = run_cli("echo", f"PEER@127.0.0.1:{address[1]}", "-c", str(settings))
        assert done.returncode == 1
        assert "no connection: timeout" in done.stderr


def test_release_collision_is_confirmed(crowd: Crowd) -> None:
    peer = crowd.peers["collides_at_release"]
    eventually(lambda: peer.confirmed == 1, ROUND_S, "A-RELEASE-RP")


def test_no_thread_is_left_behind(crowd: Crowd) -> None:
    """Every one of them has been tried a few times by now."""
    eventually(lambda: min(crowd.peers[name].connections for name in FAILING) >= 2, 2 * ROUND_S)
    status = f"/proc/{crowd.adapter.pid}/status"
    with open(status) as file:
        (threads,) = (int(line.split()[1]) for line in file if line.startswith("Threads:"))
    assert threads < len(FAILING) + len(DELIVERING) + 30
