"""The link between an association in a receiver process and its actors in the main process.

A stream socket of its own for each association, with messages in MessagePack behind their length.
Its end is a message as well: towards the receiver "abort it", towards the main process "the
receiver is gone". So nothing has to be numbered, and nothing can be meant for somebody else.
"""

import socket
from collections.abc import Sequence
from typing import TypeVar

import msgspec
import trio
from msgspec import Struct

from adapter.domain.commitment import CommitmentReport, CommitmentRequest
from adapter.domain.dimse_ports import AssociationReport, AssociationService
from adapter.domain.messages import (
    CommitmentAnswer,
    InstanceSettled,
    ReceivedInstance,
    ReportEnded,
    StoreAnswer,
)
from adapter.protocols.dimse.scp import Agreement
from adapter.protocols.dimse.service_link import LinkCutError

LOST = "lost with its receiver process"
_LENGTH_BYTES = 4
_CHUNK_BYTES = 64 << 10
T = TypeVar("T")


class Handover(Struct, frozen=True, kw_only=True):
    """Main process -> receiver: the first message, about the connection that came with the link."""

    agreement: Agreement
    max_pdu: int
    received: bytes
    """From the peer so far, A-ASSOCIATE-RQ first."""


class Place(Struct, frozen=True, tag=True):
    """Answered by a `StoreAnswer`."""

    instance: ReceivedInstance


class Settled(Struct, frozen=True, tag=True):
    """Not answered."""

    settled: Sequence[InstanceSettled]


class Released(Struct, frozen=True, tag=True):
    """Answered by a truth value."""


class Ended(Struct, frozen=True, tag=True):
    """Answered by None."""


class CommitmentAsked(Struct, frozen=True, tag=True):
    """Answered by a `CommitmentAnswer`."""

    request: CommitmentRequest


class OwnReportEnded(Struct, frozen=True, tag=True):
    """Not answered."""

    ended: ReportEnded


class ReportReceived(Struct, frozen=True, tag=True):
    """Answered by a status."""

    report: CommitmentReport


class Over(Struct, frozen=True, tag=True):
    """The last message."""

    report: AssociationReport


class Crashed(Struct, frozen=True, tag=True):
    """The last message, after a bug."""

    error: str
    traceback: str


Message = (
    Place
    | Settled
    | Released
    | Ended
    | CommitmentAsked
    | OwnReportEnded
    | ReportReceived
    | Over
    | Crashed
)
_encode = msgspec.msgpack.Encoder().encode
_message: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def _framed(value: object) -> bytes:
    encoded = _encode(value)
    return len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded


class ReceiverLink:
    """The receiver's end, used by one association thread (port `ServiceLink`)."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def handover(self) -> Handover:
        """Return the first message.

        Raises:
            LinkCutError: There will be none.
        """
        return self._receive(Handover)

    def is_cut(self) -> bool:
        """Return whether the association is to be aborted."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def last_message(self, message: Over | Crashed) -> None:
        """Tell how it went, and close."""
        self._send(message)
        self._socket.close()

    def _send(self, message: Message) -> None:
        try:
            self._socket.sendall(_framed(message))
        except ConnectionError:
            pass  # the main process is gone: nobody is left to tell

    def _receive(self, kind: type[T]) -> T:
        length = int.from_bytes(self._exactly(_LENGTH_BYTES), "big")
        return msgspec.msgpack.decode(self._exactly(length), type=kind)

    def _exactly(self, count: int) -> bytes:
        try:
            data = self._socket.recv(count, socket.MSG_WAITALL)
        except ConnectionError as error:
            raise LinkCutError from error
        if len(data) < count:
            raise LinkCutError
        return data

    # --- port ServiceLink

    def place(self, instance: ReceivedInstance) -> StoreAnswer:
        """See `ServiceLink`."""
        self._send(Place(instance))
        return self._receive(StoreAnswer)  # type: ignore[arg-type]  # a union is no type[T]

    def settled(self, settled: Sequence[InstanceSettled]) -> None:
        """See `ServiceLink`."""
        self._send(Settled(settled))

    def released(self) -> bool:
        """See `ServiceLink`."""
        self._send(Released())
        return self._receive(bool)

    def ended(self) -> None:
        """See `ServiceLink`."""
        self._send(Ended())
        try:
            self._receive(type(None))
        except LinkCutError:
            pass  # it is over for the main process too

    def commitment_asked(self, request: CommitmentRequest) -> CommitmentAnswer:
        """See `ServiceLink`."""
        self._send(CommitmentAsked(request))
        return self._receive(CommitmentAnswer)

    def report_ended(self, ended: ReportEnded) -> None:
        """See `ServiceLink`."""
        self._send(OwnReportEnded(ended))

    def report_received(self, report: CommitmentReport) -> int:
        """See `ServiceLink`."""
        self._send(ReportReceived(report))
        return self._receive(int)


class ReceiverLostError(Exception):
    """The receiver process ended before the association did; with what is known of that."""

    def __init__(self, instances: int, payload_bytes: int) -> None:
        super().__init__(LOST)
        self.report = AssociationReport(
            released=False, why=LOST, instances=instances, payload_bytes=payload_bytes, refused=0
        )


class ReceiverCrashError(Exception):
    """A bug in the receiver process, with its traceback."""


class MainLink:
    """The main process's end, in Trio."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._received = bytearray()
        self._instances = self._payload_bytes = 0

    async def hand_over(self, handover: Handover) -> None:
        """Send the first message."""
        await self._send(handover)

    async def serve(self, service: AssociationService) -> AssociationReport:
        """Answer until the association is over.

        Raises:
            ReceiverLostError: The receiver process ended before.
            ReceiverCrashError: The association's thread in it has crashed.
        """
        while True:
            match _message.decode(await self._receive()):
                case Settled(settled=settled):
                    self._count(settled)
                    service.settled(settled)
                case Place(instance=instance):
                    await self._send(await service.place(instance))
                case Released():
                    await self._send(await service.released())
                case Ended():
                    service.ended()
                    await self._send(None)
                case CommitmentAsked(request=request):
                    await self._send(await service.commitment_asked(request))
                case OwnReportEnded(ended=ended):
                    service.report_ended(ended)
                case ReportReceived(report=report):
                    await self._send(await service.report_received(report))
                case Over(report=report):
                    return report
                case Crashed(error=error, traceback=traceback):
                    raise ReceiverCrashError(f"{error}\n{traceback}")

    def _count(self, settled: Sequence[InstanceSettled]) -> None:
        stored = [one.instance.payload_bytes for one in settled if one.stored]
        self._instances += len(stored)
        self._payload_bytes += sum(stored)

    async def _send(self, value: object) -> None:
        view = memoryview(_framed(value))
        try:
            while view:
                view = view[await self._socket.send(view) :]
        except ConnectionError:
            pass  # cut by us, or the receiver is gone: what is received next says which

    async def _receive(self) -> bytes:
        received = self._received
        while len(received) < _LENGTH_BYTES or len(received) < self._frame_end():
            try:
                chunk = await self._socket.recv(_CHUNK_BYTES)
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise ReceiverLostError(self._instances, self._payload_bytes)
            received += chunk
        end = self._frame_end()
        frame = bytes(received[_LENGTH_BYTES:end])
        del received[:end]
        return frame

    def _frame_end(self) -> int:
        return _LENGTH_BYTES + int.from_bytes(self._received[:_LENGTH_BYTES], "big")

    def cut(self) -> None:
        """Have the association aborted; it is still told how that went."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the receiver is gone

    def close(self) -> None:
        """Close; again is harmless."""
        self._socket.close()
