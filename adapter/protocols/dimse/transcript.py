"""What is said on an association, written to the log: for whoever looks for a fault at night.

A line for each DIMSE message with its command set and the size of its data set, and a line for each
P-DATA-TF, if asked for. Values of data sets are never written: they are the patient's. Command sets
hold nothing of the patient (PS3.7 E.1-1).
"""

import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from adapter.protocols.dimse import command_set, pdu
from adapter.protocols.dimse.command_set import Command, MalformedCommandError
from adapter.protocols.dimse.connection import Connection
from adapter.protocols.dimse.layer_events import CommandReceived, DataFragment, LayerEvent
from adapter.protocols.dimse.tls import TlsSocket
from adapter.protocols.dimse.turns import Turns
from adapter.protocols.dimse.upper_layer import UpperLayer

log = structlog.get_logger("adapter.dimse")

Direction = Literal["received", "sent"]
NAMES = {
    command_set.C_STORE_RQ: "C-STORE-RQ",
    command_set.C_STORE_RSP: "C-STORE-RSP",
    command_set.C_ECHO_RQ: "C-ECHO-RQ",
    command_set.C_ECHO_RSP: "C-ECHO-RSP",
    command_set.C_CANCEL_RQ: "C-CANCEL-RQ",
    command_set.N_EVENT_REPORT_RQ: "N-EVENT-REPORT-RQ",
    command_set.N_EVENT_REPORT_RSP: "N-EVENT-REPORT-RSP",
    command_set.N_ACTION_RQ: "N-ACTION-RQ",
    command_set.N_ACTION_RSP: "N-ACTION-RSP",
}
"""Of the command fields our services know (PS3.7 E.1-1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcription:
    """What is to be written of the associations of one role."""

    messages: bool = False
    """A line for each DIMSE message (`log_dimse_datasets`)."""
    pdus: bool = False
    """A line for each P-DATA-TF (`log_data_pdus`)."""

    @property
    def wanted(self) -> bool:
        """Whether there is anything to write."""
        return self.messages or self.pdus

    def of(self, **who: str) -> "Transcript | None":
        """Return the transcript of an association, if any; `who` is in each of its lines."""
        return Transcript(self, who) if self.wanted else None


class Transcript:
    """Of one association; used by its thread."""

    def __init__(self, transcription: Transcription, who: dict[str, str]) -> None:
        self._transcription = transcription
        self._log = log.bind(**who)
        self._bytes: dict[Direction, int] = {"received": 0, "sent": 0}
        self._command = bytearray()

    def received(self, event: LayerEvent) -> None:
        """Write down what came."""
        match event:
            case CommandReceived(context_id=context_id, encoded=encoded):
                self._message("received", context_id, encoded)
            case DataFragment(context_id=context_id, view=view, last=last):
                self._fragment("received", context_id, len(view), last=last)
            case _:
                pass  # what begins and ends an association is in the log anyway

    def sent(self, views: Iterable[bytes | memoryview]) -> None:
        """Write down whole PDUs of ours."""
        for context_id, control, value in _pdvs(b"".join(views)):
            if not control & 1:  # PS3.8 E.2
                self._fragment("sent", context_id, len(value), last=bool(control & 2))
                continue
            self._command += value
            if control & 2:
                encoded, self._command = bytes(self._command), bytearray()
                self._message("sent", context_id, encoded)

    def _fragment(self, direction: Direction, context_id: int, size: int, *, last: bool) -> None:
        if self._transcription.pdus:
            self._log.info("dimse.data", direction=direction, context=context_id, bytes=size,
                           last=last)  # fmt: skip
        self._bytes[direction] += size
        if last:
            if self._transcription.messages:
                self._log.info("dimse.data_set", direction=direction, context=context_id,
                               bytes=self._bytes[direction])  # fmt: skip
            self._bytes[direction] = 0

    def _message(self, direction: Direction, context_id: int, encoded: bytes) -> None:
        if not self._transcription.messages:
            return
        try:
            facts = _facts(command_set.decode(encoded))
        except MalformedCommandError as error:
            facts = {"malformed": str(error), "bytes": len(encoded)}
        self._log.info("dimse.message", direction=direction, context=context_id, **facts)


def _facts(command: Command) -> dict[str, object]:
    facts: dict[str, object] = {
        "command": NAMES.get(command.field, f"0x{command.field:04X}"),
        "message_id": command.message_id,
        "sop_class_uid": command.sop_class_uid,
        "sop_instance_uid": command.sop_instance_uid,
        "data_set": command.has_data_set,
    }
    if command.status is not None:
        facts["status"] = f"0x{command.status:04X}"
    if command.field == command_set.C_STORE_RQ:
        facts["priority"] = command.priority
    if command.move_originator is not None:
        facts["move_originator"] = command.move_originator.ae_title
    return facts


def _pdvs(pdus: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield context id, control header and value of the PDVs in whole PDUs (PS3.8 9.3.5)."""
    at = 0
    while at < len(pdus):
        kind, length = pdu.HEADER.unpack_from(pdus, at)
        at += pdu.HEADER.size
        end = at + length
        while kind == pdu.P_DATA_TF and at < end:
            size = int.from_bytes(pdus[at : at + 4], "big")
            yield pdus[at + 4], pdus[at + 5], pdus[at + 6 : at + 4 + size]
            at += 4 + size
        at = end


class TranscribedConnection(Connection):
    """A connection that writes down what is said on it."""

    def __init__(
        self,
        sock: socket.socket | TlsSocket,
        layer: UpperLayer,
        turns: Turns | None,
        transcript: Transcript,
    ) -> None:
        """Take over a connected socket; see `Connection`."""
        super().__init__(sock, layer, turns)
        self.transcript = transcript

    def next_event(self, wait_s: float, pdu_s: float) -> LayerEvent:
        """See `Connection.next_event`."""
        event = super().next_event(wait_s, pdu_s)
        self.transcript.received(event)
        return event

    def send(self, data: bytes, timeout_s: float) -> None:
        """See `Connection.send`."""
        self.transcript.sent([data])
        super().send(data, timeout_s)

    def send_views(self, views: Sequence[bytes | memoryview], timeout_s: float) -> None:
        """See `Connection.send_views`."""
        self.transcript.sent(views)
        super().send_views(views, timeout_s)
