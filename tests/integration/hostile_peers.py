"""A destination made by hand: what it does with each connection is up to the test."""

import socket
import threading
from collections.abc import Callable

from dicom_peers import accept_everything
from wire import CT, DATA, NO_DATA, RELEASE_RP, RELEASE_RQ, Wire, command, parse_command, pdu, pdv

CONTEXT = 1


class Destination(threading.Thread):
    """Listens, and lets `act` have each connection, in a thread of its own, until it returns."""

    def __init__(self, act: "Callable[[Destination, Wire], object]") -> None:
        super().__init__()
        self._act = act
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._server.bind(("127.0.0.1", 0))
        self._server.listen(8)
        self.port = int(self._server.getsockname()[1])
        self.over = threading.Event()
        self.connections = 0
        self.released = 0
        self.confirmed = 0
        self.delivered: list[bytes] = []
        """SOP Instance UIDs, padded as they came, of what was taken."""
        self.status: Callable[[bytes], int | None] = lambda uid: 0
        """What an instance is answered; None: the connection ends instead."""
        self._children: list[threading.Thread] = []

    def __enter__(self) -> "Destination":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.join()

    def run(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                break
            self.connections += 1
            sock.settimeout(5)
            child = threading.Thread(target=self._have, args=(sock,))
            child.start()
            self._children.append(child)
        for child in self._children:
            child.join()

    def _have(self, sock: socket.socket) -> None:
        wire = Wire.__new__(Wire)
        wire.sock = sock
        with wire:
            try:
                self._act(self, wire)
            except OSError:
                pass  # it has hung up on us, or waited for us in vain

    # --- what acts are made of

    def next_pdu(self, wire: Wire) -> tuple[int, bytes] | None:
        """Return the next PDU, however long it takes."""
        while not self.over.is_set():
            try:
                return wire.read_pdu()
            except TimeoutError:
                continue
        return None

    def hold(self, wire: Wire) -> None:
        """Say nothing, and read what comes, until the other side hangs up."""
        while self.next_pdu(wire) is not None:
            pass

    def repeat(self, wire: Wire, data: bytes, pause_s: float = 0.05) -> None:
        """Send data again and again until the other side hangs up."""
        while not self.over.wait(pause_s):
            wire.sock.sendall(data)

    def drip(self, wire: Wire, data: bytes) -> None:
        """Send data a byte at a time, much too slowly."""
        for byte in data:
            if self.over.wait(0.3):
                return
            wire.sock.sendall(bytes((byte,)))

    def sip(self, wire: Wire) -> None:
        """Read a byte at a time, much too slowly."""
        while not self.over.wait(0.2) and wire.sock.recv(1):
            pass

    def accept(self, wire: Wire) -> None:
        wire.sock.sendall(accept_everything(self.asked(wire)))

    def asked(self, wire: Wire) -> bytes:
        """Return the body of the A-ASSOCIATE-RQ."""
        first = self.next_pdu(wire)
        if first is None:
            raise ConnectionAbortedError
        return first[1]

    def take(self, wire: Wire) -> bytes:
        """Take a C-STORE with its data set; return the response to it."""
        elements: dict[int, bytes] = {}
        while (got := self.next_pdu(wire)) is not None and got[0] == DATA:
            control, value = got[1][5], got[1][6:]
            if control & 1:
                elements = parse_command(value)
                value = got[1][4 + int.from_bytes(got[1][:4], "big") :]
                control = value[5] if value else 0
            if control & 2:
                break
        else:
            raise ConnectionAbortedError
        uid = elements.get(0x1000, b"")
        self.delivered.append(uid)
        status = self.status(uid)
        if status is None:
            raise ConnectionAbortedError
        return response(elements, status)

    def serve(self, wire: Wire) -> None:
        """Answer everything as it should be."""
        self.accept(wire)
        wire.sock.sendall(self.take(wire))
        self.end(wire)

    def serve_all(self, wire: Wire) -> None:
        """Answer one instance after the other, until the release."""
        self.accept(wire)
        while self._coming(wire) == DATA:
            wire.sock.sendall(self.take(wire))
        self.end(wire)

    def _coming(self, wire: Wire) -> int:
        """Return the type of the next PDU, and leave it there."""
        while not self.over.is_set():
            try:
                first = wire.sock.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                continue
            return first[0] if first else 0
        return 0

    def end(self, wire: Wire) -> None:
        """Wait for the release and confirm it."""
        if self.next_pdu(wire) == (RELEASE_RQ, bytes(4)):
            self.released += 1
            wire.sock.sendall(pdu(RELEASE_RP, bytes(4)))


def response(elements: dict[int, bytes], status: int = 0) -> bytes:
    return pdu(DATA, pdv(CONTEXT, 3, command({
        0x0002: CT.encode(), 0x0100: b"\1\x80", 0x0120: elements.get(0x0110, b"\1\0"),
        0x0800: NO_DATA.to_bytes(2, "little"), 0x0900: status.to_bytes(2, "little"),
        0x1000: elements.get(0x1000, b""),
    })))  # fmt: skip
