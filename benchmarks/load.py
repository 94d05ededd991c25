"""The sender: one association, one blocking socket, nothing in its loop that can be done before it.

It must be faster than every receiver it measures. So messages are cut into PDUs of the length the
peer asked for before the clock starts, and a response is looked at with `struct` only. Every
response is checked: command, message id, status.
"""

import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import Struct

from adapter.protocols.dimse import command_set, pdu
from adapter.protocols.dimse.associate import (
    ProposedContext,
    decode_associate_ac,
    encode_associate_rq,
)
from benchmarks.instances import EXPLICIT_VR_LITTLE_ENDIAN, Template

PATIENCE_S = 60
"""Longest wait for a peer to read or to answer."""
PDU_BYTES_MAX = 1 << 20
"""Longest PDU sent to a peer that sets no limit."""
MESSAGE_ID_MAX = 0xFFFF
_TIMEVAL = Struct("@ll")
_ELEMENT = Struct("<HHI")
_US = Struct("<H")
CONTEXT = 1
Views = list[bytes | memoryview]


class SendFailedError(Exception):
    """The peer did not do what the benchmark asked of it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a run of `send_all` took."""

    instances: int
    payload_bytes: int
    seconds: float


class Sender:
    """An open association for one SOP class in Explicit VR Little Endian."""

    def __init__(self, port: int, called: str, sop_class_uid: str) -> None:
        """Connect to 127.0.0.1 and associate.

        Raises:
            SendFailedError: The peer did not accept.
            OSError: It cannot be reached.
        """
        self._socket = sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        sock.setblocking(True)  # the kernel watches the time: no poll before each call
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(PATIENCE_S, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 16)
        context = ProposedContext(CONTEXT, sop_class_uid, (EXPLICIT_VR_LITTLE_ENDIAN,))
        sock.sendall(encode_associate_rq(called, "BENCHMARK", [context], 16384))
        answer = self._receive_pdu()
        if answer[0] != pdu.ASSOCIATE_AC:
            raise SendFailedError(f"no association: PDU type {answer[0]}")
        accept = decode_associate_ac(answer)
        if accept.contexts.get(CONTEXT, (None, ""))[0] != 0:
            raise SendFailedError("the SOP class was not accepted")
        self.fragment_bytes = (min(accept.user.max_length or PDU_BYTES_MAX, PDU_BYTES_MAX) - 6) & ~1

    def send(self, views: Sequence[bytes | memoryview]) -> None:
        """Send all views."""
        left = list(views)
        while left:
            count = self._socket.sendmsg(left[:1024])
            done = 0
            while done < len(left) and count >= len(left[done]):
                count -= len(left[done])
                done += 1
            del left[:done]
            if count:
                left[0] = memoryview(left[0])[count:]

    def check_response(self, message_id: int) -> None:
        """Receive a C-STORE-RSP and check it.

        Raises:
            SendFailedError: It is not the success of this message.
        """
        answer = self._receive_pdu()
        found = {}
        position, end = 12, len(answer)
        while position + 10 <= end:
            _, element, length = _ELEMENT.unpack_from(answer, position)
            if length == 2:
                found[element] = _US.unpack_from(answer, position + 8)[0]
            position += 8 + length
        if (
            found.get(command_set.COMMAND_FIELD) != command_set.C_STORE_RSP
            or found.get(command_set.RESPONDED_MESSAGE_ID) != message_id
            or found.get(command_set.STATUS) != 0
        ):
            raise SendFailedError(f"response to message {message_id}: {found}")

    def release(self) -> None:
        """Release the association and close."""
        self._socket.sendall(pdu.RELEASE_RQ_PDU)
        if self._receive_pdu()[0] != pdu.RELEASE_RP:
            raise SendFailedError("no A-RELEASE-RP")
        self.close()

    def close(self) -> None:
        """Close without a word."""
        self._socket.close()

    def _receive_pdu(self) -> bytes:
        """Return one PDU; peers never send ahead, so nothing lies behind it."""
        view, have = memoryview(self._buffer), 0
        while have < 6 or have < 6 + int.from_bytes(view[2:6], "big"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            try:
                count = self._socket.recv_into(view[have:])
            except BlockingIOError:
                raise SendFailedError(f"no answer within {PATIENCE_S} s") from None
            if not count:
                raise SendFailedError("closed by the peer")
            have += count
        return bytes(view[:have])


def message(
    template: Template, number: int, message_id: int, tail: Views, first: memoryview, step: int
) -> Views:
    """Return one C-STORE-RQ with its data set.

    Args:
        template: What the instance is made from.
        number: Which instance.
        message_id: For the command.
        tail: PDUs behind the first one of the data set; see `shared_tail`.
        first: What of the template's tail belongs into the first one.
        step: Most bytes of data set in a PDU.
    """
    uid, head = template.instance(number)
    command = command_set.store_request(CONTEXT, message_id, template.sop_class_uid, uid)
    views: Views = [command]
    if len(head) + len(first) <= step:
        size = len(head) + len(first)
        views += [b"".join((data_header(size, last=not tail), head)), first]
    else:  # a head longer than a PDU: it is small, so it is cut by copying
        assert not first
        views += fragments(memoryview(head), step, last=not tail)
    return views + tail


def data_header(size: int, *, last: bool) -> bytes:
    """Return the headers of a P-DATA-TF with one PDV of the data set (PS3.8 9.3.5)."""
    control = 2 if last else 0
    return pdu.P_DATA_HEADER.pack(pdu.P_DATA_TF, size + 6, size + 2, CONTEXT, control)


def fragments(data: memoryview, step: int, *, last: bool) -> Views:
    """Return data as PDUs of at most `step` bytes."""
    views: Views = []
    for position in range(0, len(data), step):
        piece = data[position : position + step]
        ends = last and position + len(piece) == len(data)
        views += [data_header(len(piece), last=ends), piece]
    return views


def messages(template: Template, count: int, step: int) -> Iterable[tuple[int, Views]]:
    """Yield (message id, message) for instances 1 to count."""
    room = max(step - len(template.head), 0)
    first, rest = template.tail[:room], template.tail[room:]
    tail = fragments(rest, step, last=True)
    for number in range(1, count + 1):
        message_id = number % MESSAGE_ID_MAX + 1
        yield message_id, message(template, number, message_id, tail, first, step)


def send_all(port: int, called: str, template: Template, count: int, warm: int) -> Sent:
    """Send `warm` instances, start the clock, send `count` more; one association.

    Raises:
        SendFailedError, OSError: The peer did not take them all.
    """
    sender = Sender(port, called, template.sop_class_uid)
    try:
        ready = list(messages(template, warm + count, sender.fragment_bytes))
        started = time.perf_counter()
        for index, (message_id, views) in enumerate(ready):
            if index == warm:
                started = time.perf_counter()
            sender.send(views)
            sender.check_response(message_id)
        seconds = time.perf_counter() - started
        sender.release()
    finally:
        sender.close()
    return Sent(count, count * template.size, seconds)
