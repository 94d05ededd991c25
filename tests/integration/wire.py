"""DICOM by hand: PDUs, command sets and data sets as bytes, right and wrong ones (PS3.8, PS3.7).

Shares no code with the adapter, so that both cannot be wrong in the same way.
"""

import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
RQ, AC, RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
NO_DATA, WITH_DATA = 0x0101, 1
C_STORE, C_FIND, C_ECHO = 0x0001, 0x0020, 0x0030
SILENCE_S = 25.0
"""For what is to come; below the adapter's own limits, unless a test has changed them."""

Answer = tuple[Any, ...]


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """Return a PDU; `length` lies about the body's."""
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def item(kind: int, value: bytes) -> bytes:
    """Return an item of an A-ASSOCIATE PDU."""
    return struct.pack(">BxH", kind, len(value)) + value


def context(number: int, abstract: str, *syntaxes: str) -> bytes:
    """Return a proposed presentation context."""
    inner = item(0x30, abstract.encode()) + b"".join(item(0x40, s.encode()) for s in syntaxes)
    return item(0x20, bytes((number, 0, 0, 0)) + inner)


CONTEXTS = (context(1, VERIFICATION, IMPLICIT), context(3, CT, EXPLICIT))


def associate_rq(
    contexts: Sequence[bytes] = CONTEXTS,
    *,
    called: bytes = b"MAIN",
    calling: bytes = b"TEST",
    version: int = 1,
    application_context: bytes = b"1.2.840.10008.3.1.1.1",
    user: bytes = b"",
    max_length: int = 16384,
) -> bytes:
    """Return A-ASSOCIATE-RQ."""
    user_items = item(0x51, max_length.to_bytes(4, "big")) + item(0x52, b"1.2.3.4.5") + user
    return pdu(
        RQ,
        struct.pack(">HH", version, 0) + called.ljust(16) + calling.ljust(16) + bytes(32)
        + item(0x10, application_context) + b"".join(contexts) + item(0x50, user_items),
    )  # fmt: skip


def pdv(context_id: int, control: int, data: bytes, length: int | None = None) -> bytes:
    """Return a presentation data value; control 3: last command fragment, 2: last data, 0, 1."""
    size = len(data) + 2 if length is None else length
    return struct.pack(">IBB", size, context_id, control) + data


def element(tag: int, value: bytes) -> bytes:
    """Return an element in Implicit VR Little Endian, padded."""
    value += b"\0" * (len(value) & 1)
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def command(elements: Mapping[int, bytes]) -> bytes:
    """Return a command set with its group length."""
    body = b"".join(element(tag, elements[tag]) for tag in sorted(elements))
    return element(0, struct.pack("<I", len(body))) + body


def request(
    field: int,
    sop_class: str,
    instance: bytes | None = None,
    *,
    message_id: int = 1,
    data: int = WITH_DATA,
) -> bytes:
    """Return a request's command set."""
    elements = {
        0x0002: sop_class.encode(), 0x0100: struct.pack("<H", field),
        0x0110: struct.pack("<H", message_id), 0x0700: b"\0\0", 0x0800: struct.pack("<H", data),
    }  # fmt: skip
    if instance is not None:
        elements[0x1000] = instance
    return command(elements)


def parse_command(data: bytes) -> dict[int, bytes]:
    """Return the elements of a command set by tag."""
    found, position = {}, 0
    while position + 8 <= len(data):
        group, number, length = struct.unpack_from("<HHI", data, position)
        found[group << 16 | number] = data[position + 8 : position + 8 + length]
        position += 8 + length
    return found


def explicit(tag: int, vr: bytes, value: bytes) -> bytes:
    """Return an element in Explicit VR Little Endian."""
    value += (b" " if vr in (b"LO", b"CS", b"PN") else b"\0") * (len(value) & 1)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return head + struct.pack("<xxI", len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def data_set(
    instance: str,
    *,
    sop_class: str = CT,
    study: str = "1.2.3",
    series: str = "1.2.3.1",
    tail: bytes = b"",
) -> bytes:
    """Return a small data set in Explicit VR Little Endian; `tail` is what follows the UIDs."""
    return (
        explicit(0x00080016, b"UI", sop_class.encode())
        + explicit(0x00080018, b"UI", instance.encode())
        + explicit(0x0020000D, b"UI", study.encode())
        + explicit(0x0020000E, b"UI", series.encode())
        + tail
    )


def part10(instance: str, data: bytes, syntax: str = EXPLICIT) -> bytes:
    """Return a Part 10 file of a CT instance."""
    meta = (
        explicit(0x00020001, b"OB", b"\0\1") + explicit(0x00020002, b"UI", CT.encode())
        + explicit(0x00020003, b"UI", instance.encode())
        + explicit(0x00020010, b"UI", syntax.encode()) + explicit(0x00020012, b"UI", b"1.2.3.4")
    )  # fmt: skip
    length = explicit(0x00020000, b"UL", struct.pack("<I", len(meta)))
    return bytes(128) + b"DICM" + length + meta + data


def split_part10(content: bytes) -> tuple[dict[int, bytes], bytes]:
    """Return the File Meta elements and the data set of a Part 10 file."""
    assert content[128:132] == b"DICM"
    meta, position = {}, 132
    while position + 8 <= len(content) and content[position : position + 2] == b"\2\0":
        group, number, vr, length = struct.unpack_from("<HH2sH", content, position)
        position += 8
        if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
            length = int.from_bytes(content[position : position + 4], "little")
            position += 4
        meta[group << 16 | number] = content[position : position + length]
        position += length
    return meta, content[position:]


class Wire:
    """One TCP connection to a DICOM port."""

    def __init__(
        self, port: int, source: str = "", *, host: str = "127.0.0.1", timeout_s: float = SILENCE_S
    ) -> None:
        address = (source, 0) if source else None
        self.sock = socket.create_connection(
            (host, port), timeout=timeout_s, source_address=address
        )

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, *pieces: bytes) -> None:
        """Send; a peer that has closed is found out by `answer`."""
        try:
            self.sock.sendall(b"".join(pieces))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def end(self) -> None:
        """Say that nothing more will come."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # closed by the other side

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            if not piece:
                break
            data += piece
        return data

    def read_pdu(self) -> tuple[int, bytes] | None:
        """Return (type, body), or None when the connection is closed; silence is TimeoutError."""
        try:
            head = self._read(6)
            if len(head) < 6:
                return None
            return head[0], self._read(int.from_bytes(head[2:6], "big"))
        except ConnectionResetError:
            return None

    def answer(self) -> Answer:
        """Return what comes next: accept, reject, abort, released, closed, response."""
        match self.read_pdu():
            case None:
                return ("closed",)
            case (2, _):
                return ("accept",)
            case (3, body):
                return ("reject", *body[1:4])
            case (6, _):
                return ("released",)
            case (7, body):
                return ("abort", *body[2:4])
            case (4, body):
                found = parse_command(body[6:])
                return ("response", struct.unpack("<H", found[0x0900])[0])
            case (kind, _):
                return ("pdu", kind)
        raise AssertionError

    def associate(self, contexts: Sequence[bytes] = CONTEXTS, **changes: Any) -> "Wire":
        """Associate; the peer must accept."""
        self.send(associate_rq(contexts, **changes))
        answer = self.answer()
        assert answer == ("accept",)
        return self

    def message(self, context_id: int, command_set: bytes, data: bytes | None = None) -> None:
        """Send a command set and perhaps a data set, in PDUs of at most 16 kB."""
        self.send(pdu(DATA, pdv(context_id, 3, command_set)))
        if data is not None:
            step = 16000
            starts = range(0, max(len(data), 1), step)
            self.send(*(
                pdu(DATA, pdv(context_id, 2 if i + step >= len(data) else 0, data[i : i + step]))
                for i in starts
            ))  # fmt: skip

    def store(self, instance: str, data: bytes | None = None, **changes: Any) -> Answer:
        """C-STORE a CT instance on context 3; return the answer."""
        content = data_set(instance) if data is None else data
        self.message(3, request(C_STORE, CT, instance.encode(), **changes), content)
        return self.answer()

    def echo(self) -> Answer:
        """C-ECHO on context 1; return the answer."""
        self.message(1, request(C_ECHO, VERIFICATION, data=NO_DATA))
        return self.answer()

    def abort(self) -> None:
        """Abort, as a user of the service."""
        self.send(pdu(ABORT, bytes(4)))

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def release(self) -> Answer:
        """Release; return the answer."""
        self.send(pdu(RELEASE_RQ, bytes(4)))
        return self.answer()


def echo_works(port: int, **changes: Any) -> bool:
    """Return whether a C-ECHO on a new association succeeds."""
    with Wire(port) as wire:
        wire.associate((context(1, VERIFICATION, IMPLICIT),), **changes)
        ok = wire.echo() == ("response", 0)
        return wire.release() == ("released",) and ok
