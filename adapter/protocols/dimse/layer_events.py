"""What the upper layer tells its user (`upper_layer.UpperLayer.next_event`)."""

from dataclasses import dataclass
from enum import Enum, auto


class Signal(Enum):
    """Events that carry nothing."""

    NEED_DATA = auto()
    RELEASE_REQUESTED = auto()
    RELEASED = auto()
    """The peer confirmed our release."""
    CLOSED = auto()
    """The transport connection ended without release or abort."""
    INTERRUPTED = auto()
    """We are to end it ourselves (`connection.Connection.interrupt`)."""
    IGNORED = auto()
    """Something arrived that the state says to ignore."""


@dataclass(frozen=True, slots=True)
class AssociatePDU:
    """A whole A-ASSOCIATE-RQ (as acceptor), -AC or -RJ (as requestor)."""

    type: int
    encoded: bytes


@dataclass(slots=True)
class CommandReceived:
    """A whole command set (PS3.7 6.3.1)."""

    context_id: int
    encoded: bytes


@dataclass(slots=True)
class DataFragment:
    """A piece of a data set; `view` is valid until the next `writable`."""

    context_id: int
    view: memoryview
    last: bool


@dataclass(frozen=True, slots=True)
class Aborted:
    """A-ABORT from the peer (PS3.8 9.3.8)."""

    source: int
    reason: int


LayerEvent = Signal | AssociatePDU | CommandReceived | DataFragment | Aborted


class ProtocolViolationError(Exception):
    """The peer broke the protocol; the association is over once `reply` has been sent."""

    def __init__(self, why: str, reply: bytes) -> None:
        super().__init__(why)
        self.why = why
        self.reply = reply
