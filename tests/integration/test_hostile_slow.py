"""Peers that stall: every wait for a peer has an end, and others are served meanwhile (F01-F05,
F25, F34-F36).
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from harness import Adapter, eventually, pass_time
from health import MakeAdapter, unharmed
from wire import (
    C_ECHO,
    C_STORE,
    CT,
    DATA,
    NO_DATA,
    VERIFICATION,
    Wire,
    associate_rq,
    data_set,
    echo_works,
    explicit,
    pdu,
    pdv,
    request,
)

ARTIM_S, IDLE_S, DIMSE_S = 3.0, 3.0, 2.0
SLACK_S = 12.0
"""For a machine on which much else runs; what is not ended by its deadline is not by then."""
GIVEN_UP_S = 25.0
DEAF_PEERS = 8
TRICKLERS = 4
PIECE = 20_000
ECHO = pdu(DATA, pdv(1, 3, request(C_ECHO, VERIFICATION, data=NO_DATA)))


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    limits = {"artim_s": ARTIM_S, "idle_s": IDLE_S, "dimse_s": DIMSE_S, "answer_s": 1.9}
    return make_shared_adapter({"dicom": {"scp": {**limits, "max_associations": DEAF_PEERS + 1}}})


@pytest.fixture
def adapter(shared: Adapter) -> Iterator[Adapter]:
    """The adapter; after the case it lives, answers a C-ECHO, and has no slot in use."""
    with unharmed(shared):
        yield shared
        eventually(lambda: shared.associations() == 0, 5)


def until_closed(wire: Wire, drip: bytes = b"") -> float:
    """Return how long the peer keeps the connection while `drip` is sent byte by byte."""
    begin = time.monotonic()
    wire.sock.settimeout(0.3)
    pending = iter(drip)
    while time.monotonic() - begin < GIVEN_UP_S:
        try:
            if wire.read_pdu() is None:
                return time.monotonic() - begin
        except TimeoutError:
            if (byte := next(pending, None)) is not None:
                wire.send(bytes((byte,)))
    raise AssertionError("the connection stays open")


def test_silence_after_connect_is_ended_by_artim(adapter: Adapter) -> None:
    begin = time.monotonic()  # before it can have been accepted
    with Wire(adapter.dicom_port) as wire:
        until_closed(wire)
        assert ARTIM_S <= time.monotonic() - begin < ARTIM_S + SLACK_S


def test_request_byte_by_byte_is_ended_by_artim(adapter: Adapter) -> None:
    """F02: the deadline is for the whole request."""
    with Wire(adapter.dicom_port) as wire:
        assert until_closed(wire, associate_rq()) < ARTIM_S + SLACK_S


def test_request_that_stops_half_way_is_ended_by_artim(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq()[:100])
        assert until_closed(wire) < ARTIM_S + SLACK_S


def test_silent_connections_take_no_association_slot(adapter: Adapter) -> None:
    """F05: 200 of them, far fewer slots; a sender is served while they wait."""
    silent = [Wire(adapter.dicom_port) for _ in range(200)]
    try:
        assert echo_works(adapter.dicom_port)
    finally:
        for wire in silent:
            wire.sock.close()


def test_association_that_falls_silent_is_aborted(adapter: Adapter) -> None:
    begin = time.monotonic()  # before the adapter can have waited
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.answer()[0] == "abort"
        assert IDLE_S <= time.monotonic() - begin < IDLE_S + SLACK_S


def test_pdu_that_stops_half_way_is_aborted(adapter: Adapter) -> None:
    """F03: nothing of it stays."""
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        wire.send(pdu(DATA, pdv(3, 3, request(C_STORE, CT, b"1.2.3"))))
        wire.send(pdu(DATA, pdv(3, 2, bytes(4000)))[:1000])
        begin = time.monotonic()
        assert wire.answer()[0] == "abort"
        assert time.monotonic() - begin < DIMSE_S + SLACK_S
    eventually(lambda: not list((adapter.root / "incoming" / ".part").iterdir()))


def test_announced_data_that_never_comes_is_aborted(adapter: Adapter) -> None:
    """F36."""
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        wire.send(pdu(DATA, pdv(3, 3, request(C_STORE, CT, b"1.2.3"))))
        begin = time.monotonic()
        assert wire.answer()[0] == "abort"
        assert time.monotonic() - begin < DIMSE_S + SLACK_S


def test_release_with_data_due_leaves_nothing(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        wire.send(pdu(DATA, pdv(3, 3, request(C_STORE, CT, b"1.2.3.5"))))
        wire.send(pdu(DATA, pdv(3, 0, data_set("1.2.3.5"))))
        assert wire.release()[0] in ("released", "abort")
    assert not [p for p in adapter.instances("incoming") if p.stem == "1.2.3.5"]


def test_data_byte_by_byte_is_aborted(adapter: Adapter) -> None:
    """A byte now and then prolongs nothing: one deadline for the header, one for the rest."""
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        wire.send(pdu(DATA, pdv(3, 3, request(C_STORE, CT, b"1.2.3"))))
        assert until_closed(wire, pdu(DATA, pdv(3, 2, bytes(4000)))) < 2 * DIMSE_S + SLACK_S


def until_aborted(wire: Wire, drip: bytes) -> float:
    """Return how long it takes to be aborted while `drip` is sent again and again."""
    begin = time.monotonic()
    wire.sock.settimeout(0.2)
    while time.monotonic() - begin < GIVEN_UP_S:
        wire.send(drip)
        try:
            answer = wire.answer()
        except TimeoutError:
            continue
        assert answer == ("abort", 0, 0)
        return time.monotonic() - begin
    raise AssertionError("the association goes on")


def test_command_in_endless_pieces_is_aborted(adapter: Adapter) -> None:
    """Pieces of nothing never reach the ceiling of a command set; its deadline is absolute."""
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert until_aborted(wire, pdu(DATA, pdv(3, 1, b""))) < DIMSE_S + SLACK_S


def test_data_set_in_endless_pieces_is_aborted(adapter: Adapter) -> None:
    """A byte in a PDU of its own, now and then, prolongs nothing either."""
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        wire.send(pdu(DATA, pdv(3, 3, request(C_STORE, CT, b"1.2.3"))))
        wire.send(pdu(DATA, pdv(3, 0, data_set("1.2.3"))))
        assert until_aborted(wire, pdu(DATA, pdv(3, 0, b"x"))) < 2 * DIMSE_S + SLACK_S
    eventually(lambda: not list((adapter.root / "incoming" / ".part").iterdir()))


@contextmanager
def trickling(adapter: Adapter) -> Iterator[None]:
    """Keep senders at work that are never quite silent, and never fast."""
    over = threading.Event()

    def trickle(wire: Wire) -> None:
        wire.associate()
        wire.send(pdu(DATA, pdv(3, 3, request(C_STORE, CT, b"1.2.3"))))
        drip = pdu(DATA, pdv(3, 0, data_set("1.2.3", tail=bytes(10_000))))
        position = 0
        while not over.wait(0.002) and position < len(drip):
            wire.sock.sendall(drip[position : position + 1])
            position += 1

    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(adapter.dicom_port)) for _ in range(TRICKLERS)]
        threads = [threading.Thread(target=trickle, args=(wire,)) for wire in wires]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: len(parts(adapter)) == TRICKLERS, 5, "all are at it")
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()


def parts(adapter: Adapter) -> list[Path]:
    return list((adapter.root / "incoming" / ".part").iterdir())


def test_senders_that_trickle_hold_up_nobody(make_adapter: MakeAdapter) -> None:
    """A byte every 2 ms is neither silence nor work; others are received from meanwhile.

    No deadline ends the tricklers before the answers would be given up.
    """
    adapter = make_adapter()
    with trickling(adapter), Wire(adapter.dicom_port) as wire:
        wire.associate()
        for number in range(5):
            content = data_set("1.2.3.6", tail=explicit(0x7FE00010, b"OW", bytes(200_000)))
            assert wire.store("1.2.3.6", content) == ("response", 0), number
        assert adapter.associations() == TRICKLERS + 1


def test_steady_sender_is_not_cut_off(adapter: Adapter) -> None:
    """Slower than dimse_s as a whole, but 16 KiB at least in every dimse_s of it.

    Each piece has so much, so that only a pause of almost dimse_s between two would be too long.
    """
    piece = pdu(DATA, pdv(3, 0, bytes(PIECE)))
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        wire.send(pdu(DATA, pdv(3, 3, request(C_STORE, CT, b"1.2.3.6"))))
        wire.send(pdu(DATA, pdv(3, 0, data_set("1.2.3.6", tail=b"\xe0\x7f\x10\0OB\0\0"))))
        wire.send(pdu(DATA, pdv(3, 0, (8 * PIECE).to_bytes(4, "little"))))
        for _ in range(8):
            wire.send(piece)
            pass_time(DIMSE_S / 5)
        wire.send(pdu(DATA, pdv(3, 2, b"")))
        assert wire.answer() == ("response", 0)


def test_peers_that_never_read_are_cut_off(adapter: Adapter) -> None:
    """F34: requests without end, and no answer is taken; others are served meanwhile."""
    before = timed_out(adapter)
    with ExitStack() as stack:
        for _ in range(DEAF_PEERS):
            wire = stack.enter_context(Wire(adapter.dicom_port))
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.associate()
            wire.sock.settimeout(0.2)
            with pytest.raises((TimeoutError, ConnectionError)):
                send_without_end(wire, ECHO * 1000)
        assert echo_works(adapter.dicom_port)
        eventually(lambda: timed_out(adapter) >= before + DEAF_PEERS, 3 * DIMSE_S + 2 * SLACK_S)


def send_without_end(wire: Wire, data: bytes) -> None:
    while True:
        wire.sock.sendall(data)


def timed_out(adapter: Adapter) -> int:
    """Return how many associations have ended because the peer was too slow."""
    return len([line for line in adapter.events("association.aborted") if "timeout" in line["why"]])


def test_half_closed_after_the_request_is_answered(adapter: Adapter) -> None:
    """F35."""
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq())
        wire.end()
        assert wire.answer() in (("accept",), ("closed",))


def test_connections_that_reset_are_forgotten(adapter: Adapter) -> None:
    for _ in range(20):
        Wire(adapter.dicom_port).associate().reset()
        eventually(lambda: adapter.get("/health/status")["activeDimseConnections"] < 5)
