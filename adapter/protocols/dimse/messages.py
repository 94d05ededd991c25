"""Whole messages from the peer of an association of ours: command set and data set (PS3.7 6.3).

For the few small ones that a requestor receives; instances come to the acceptor, see `reception`.
"""

from dataclasses import dataclass

from adapter.domain.refusals import abort_words
from adapter.protocols.dimse import command_set
from adapter.protocols.dimse.command_set import Command
from adapter.protocols.dimse.connection import Connection, PeerTimeoutError
from adapter.protocols.dimse.layer_events import (
    Aborted,
    CommandReceived,
    DataFragment,
    LayerEvent,
    ProtocolViolationError,
    Signal,
)

DATA_SET_BYTES_MAX = 4 << 20
"""Of what a peer may send us on an association of ours: reports."""


class AssociationLostError(Exception):
    """The association is over; what was being sent has an unknown outcome."""


@dataclass(frozen=True, slots=True)
class PeerMessage:
    """A request or a response, and its data set."""

    context_id: int
    command: Command
    data_set: bytes


def receive_message(connection: Connection, wait_s: float, dimse_s: float) -> PeerMessage:
    """Return the next message that begins within wait_s.

    Raises:
        AssociationLostError: The association is over, or should be.
        PeerTimeoutError, ProtocolViolationError, MalformedCommandError, OSError: So it ended.
    """
    while True:
        match connection.next_event(wait_s, dimse_s):
            case CommandReceived(context_id=context_id, encoded=encoded):
                command = command_set.decode(encoded)
                data_set = b""
                if command.has_data_set:
                    connection.layer.data_context = context_id
                    data_set = _data_set(connection, dimse_s)
                return PeerMessage(context_id, command, data_set)
            case event:
                _go_on(event)


def _data_set(connection: Connection, dimse_s: float) -> bytes:
    data_set = bytearray()
    while True:
        match connection.next_event(dimse_s, dimse_s):
            case DataFragment(view=view, last=last):
                data_set += view
                if len(data_set) > DATA_SET_BYTES_MAX:
                    raise AssociationLostError("the peer sends a data set without end")
                if last:
                    return bytes(data_set)
            case event:
                _go_on(event)


def _go_on(event: LayerEvent) -> None:
    """Return if the association is not over.

    Raises:
        AssociationLostError: It is.
    """
    match event:
        case Aborted(source=source, reason=reason):
            raise AssociationLostError(abort_words(source, reason))
        case Signal.CLOSED:
            raise AssociationLostError("closed by the peer")
        case Signal.INTERRUPTED:
            raise AssociationLostError("interrupted")
        case Signal.RELEASE_REQUESTED:
            raise AssociationLostError("released by the peer")
        case _:
            pass


def checked_status(answer: Command, message_id: int, field: int, sop_instance_uid: str) -> int:
    """Return the status of a response, if it is the one to our request.

    Raises:
        AssociationLostError: It answers something else.
    """
    if answer.field != field or answer.status is None:
        raise AssociationLostError("the peer answered something else")
    if answer.message_id != message_id:
        raise AssociationLostError("the peer answered another message id")
    if answer.sop_instance_uid not in ("", sop_instance_uid):
        raise AssociationLostError("the peer answered for another SOP Instance UID")
    return answer.status


def reason(error: Exception) -> str:
    """Return what ended an association, in words."""
    match error:
        case PeerTimeoutError():
            return "timeout"
        case ProtocolViolationError(why=why):
            return why
        case OSError():
            return error.strerror or type(error).__name__
        case _:
            return str(error)
