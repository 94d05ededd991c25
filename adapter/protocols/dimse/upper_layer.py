"""The upper layer without I/O: bytes in, events out, bytes to send back (PS3.8).

Rules: the one buffer is filled by the caller (`writable`, `received`) and read by `next_event`.
Fragments are handed out as views of that buffer, as they arrive; they are valid until the next
call of `writable` or a change of the buffer. An association therefore costs one small buffer,
whatever the size of its instances, and uses a big one that it shares while it receives in bulk.
The state table decides about every PDU but P-DATA-TF in Sta6, which is the hot path and the one
row written out here as code.
"""

from adapter.protocols.dimse import pdu
from adapter.protocols.dimse.layer_events import (
    Aborted,
    AssociatePDU,
    CommandReceived,
    DataFragment,
    LayerEvent,
    ProtocolViolationError,
    Signal,
)
from adapter.protocols.dimse.state import EVENT_OF_PDU, Action, Event, State, next_state

BUFFER_BYTES_MIN = 16 << 10
"""Of an association that is idle; with its thread it takes well below 200 kB."""
BUFFER_BYTES_MAX = 64 << 10
"""Of one that receives without a turn; see `turns` for the others."""
COMMAND_BYTES_MAX = 64 << 10
"""Ceiling of a command set; real ones are below 1 kB."""
PART_BYTES = 16 << 10
"""So much of a data set has to arrive within the deadline of a PDU, in however many PDUs."""
_COMMAND_BIT, _LAST_BIT = 1, 2  # PS3.8 E.2
_TAKES_DATA = (State.STA6, State.STA7)  # DT-2, AR-6


class UpperLayer:
    """One association's protocol state and receive buffer."""

    def __init__(self, *, acceptor: bool, max_pdu: int) -> None:
        """Start in Sta2 as acceptor of an open connection, in Sta5 as requestor that has asked.

        The longest P-DATA-TF we announce is max_pdu bytes.
        """
        self.state = State.STA1
        self.data_context: int | None = None
        """Set by the user after a command that announces a data set; None: none is due."""
        self._acceptor = acceptor
        self._max_pdu = max_pdu
        self._view = self._own = memoryview(bytearray(BUFFER_BYTES_MIN))
        self._start = self._end = 0
        self._filled = False
        self.parts_ended = 0
        """Counts what a deadline is for: a control PDU, a command set, `PART_BYTES` of data."""
        self._part_bytes = self._pdu_left = self._fragment_left = 0
        self._context_id = self._control = 0
        self._command = bytearray()
        self._inside_command = False
        for event in (Event.EVT5,) if acceptor else (Event.EVT1, Event.EVT2):
            self._fire(event)

    # --- bytes in

    def writable(self) -> memoryview:
        """Return where to receive into; never empty. Views handed out before become invalid."""
        start, end, size = self._start, self._end, len(self._view)
        if start == end:
            self._start = self._end = end = 0
        if self._filled and size < BUFFER_BYTES_MAX:
            self._resize(size * 2)
        elif end == size or (start and size - end < size // 4):
            if self._start:
                self.use(self._view)
            else:
                self._resize(size * 2)  # a control PDU longer than the buffer; its size is checked
        self._filled = False
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """Take note that count bytes were received into `writable`."""
        self._end += count
        self._filled = self._end == len(self._view)

    def use_own(self) -> None:
        """Receive into a buffer of our own again; the borrowed one is free for others."""
        if self._end - self._start > len(self._own):
            self._own = memoryview(bytearray(self._end - self._start))
        self.use(self._own)

    def give_back(self) -> None:
        """Give memory back while the peer is idle."""
        if self._start == self._end and len(self._own) > BUFFER_BYTES_MIN:
            self._resize(BUFFER_BYTES_MIN)

    def _resize(self, size: int) -> None:
        self._own = memoryview(bytearray(size))
        self.use(self._own)

    def use(self, buffer: memoryview) -> None:
        """Receive into this buffer from here on, borrowed or own; what is unread moves there."""
        rest = self.unread
        buffer[: len(rest)] = rest
        self._view, self._start, self._end = buffer, 0, len(rest)

    @property
    def unread(self) -> bytes:
        """What was received and has not become an event yet."""
        return bytes(self._view[self._start : self._end])

    @property
    def inside_part(self) -> bool:
        """Whether something has begun and not ended, see `parts_ended`."""
        return bool(self._part_bytes or self._start != self._end)

    # --- events out

    def next_event(self) -> LayerEvent:
        """Return what the received bytes mean next.

        Raises:
            ProtocolViolationError: The peer broke the protocol.
        """
        while True:
            if self._fragment_left or self._pdu_left:
                event = self._next_in_pdata()
            elif self.state is State.STA1:
                return Signal.CLOSED  # it is over: whatever still arrives means nothing
            elif self._end - self._start < 6:
                return Signal.NEED_DATA
            elif self._view[self._start] == pdu.P_DATA_TF and self.state in _TAKES_DATA:
                self._begin_pdata()
                continue
            else:
                return self._control_pdu()
            if event is not None:
                return event

    def _begin_pdata(self) -> None:
        """Take the header of a P-DATA-TF (PS3.8 9.3.5)."""
        length = pdu.HEADER.unpack_from(self._view, self._start)[1]
        if length > self._max_pdu or length < 6:
            raise self.violation(f"P-DATA-TF of {length} bytes")
        self._start += 6
        self._pdu_left = length
        self._part_bytes += length

    def _next_in_pdata(self) -> LayerEvent | None:
        available = self._end - self._start
        if not self._fragment_left:
            if available < 6:
                return Signal.NEED_DATA
            self._begin_fragment()
            available -= 6
            if self._fragment_left == 0:
                return self._take(0)
        if not available:
            return Signal.NEED_DATA
        return self._take(min(available, self._fragment_left))

    def _begin_fragment(self) -> None:
        """Take the header of a presentation data value (PS3.8 9.3.5.1, E.2)."""
        view, start = self._view, self._start
        length = int.from_bytes(view[start : start + 4], "big")
        context_id, control = view[start + 4], view[start + 5]
        if length < 2 or length + 4 > self._pdu_left:
            raise self.violation(f"PDV of {length} bytes")
        if control & _COMMAND_BIT:
            if self.data_context is not None or (
                self._inside_command and context_id != self._context_id
            ):
                raise self.violation("command where data was due", pdu.UNEXPECTED_PARAMETER)
            if len(self._command) + length > COMMAND_BYTES_MAX:
                raise self.violation("endless command set")
        elif context_id != self.data_context:
            raise self.violation("data that no command announced", pdu.UNEXPECTED_PARAMETER)
        self._context_id, self._control = context_id, control
        self._start = start + 6
        self._pdu_left -= length + 4
        self._fragment_left = length - 2
        if 0 < self._pdu_left < 6:
            raise self.violation("bytes behind the last PDV")

    def _take(self, count: int) -> LayerEvent | None:
        start = self._start
        piece = self._view[start : start + count]
        self._start = start + count
        self._fragment_left -= count
        last = self._fragment_left == 0 and bool(self._control & _LAST_BIT)
        is_command = self._control & _COMMAND_BIT
        if not (self._fragment_left or self._pdu_left) and (
            last or (self._part_bytes >= PART_BYTES and not is_command)
        ):  # a byte in a PDU now and then is no faster than the bare byte
            self._part_bytes = 0
            self.parts_ended += 1
        if not is_command:
            if last:
                self.data_context = None
            return DataFragment(self._context_id, piece, last)
        self._command += piece
        self._inside_command = not last
        if not last:
            return None
        command, self._command = bytes(self._command), bytearray()
        return CommandReceived(self._context_id, command)

    def _control_pdu(self) -> LayerEvent:
        """Take any PDU but data, once it is there as a whole; lengths are judged before."""
        kind, length = pdu.HEADER.unpack_from(self._view, self._start)
        event = EVENT_OF_PDU.get(kind, Event.EVT19)
        expected = (
            length <= pdu.ASSOCIATE_LENGTH_MAX
            if kind in (pdu.ASSOCIATE_RQ, pdu.ASSOCIATE_AC)
            else length == 4
        )
        reason = pdu.UNEXPECTED_PDU
        if event is Event.EVT19:
            reason = pdu.UNRECOGNIZED_PDU
        elif not expected and kind != pdu.P_DATA_TF:
            event, reason = Event.EVT19, pdu.INVALID_PARAMETER
        if event not in (Event.EVT19, Event.EVT10):
            if self._end - self._start < 6 + length:
                return Signal.NEED_DATA
            whole = bytes(self._view[self._start : self._start + 6 + length])
            self._start += 6 + length
            self.parts_ended += 1
        else:
            whole = b""
            self._start = self._end  # nothing behind it can be understood
        return self._act(event, whole, reason)

    def closed(self) -> LayerEvent:
        """Take note that the peer closed the transport connection."""
        return Signal.CLOSED if self.state is State.STA1 else self._act(Event.EVT17, b"", 0)

    def _act(self, event: Event, whole: bytes, reason: int) -> LayerEvent:
        action = self._fire(event)
        match action:
            case Action.AE3 | Action.AE4 | Action.AE6:
                return AssociatePDU(whole[0], whole)
            case Action.AR2 | Action.AR8:
                return Signal.RELEASE_REQUESTED
            case Action.AR3 | Action.AR10:
                return Signal.RELEASED
            case Action.AA2 | Action.AA3 if event is Event.EVT16:
                return Aborted(whole[8], whole[9])
            case Action.AA4 | Action.AA5 | Action.AR5:
                return Signal.CLOSED
            case Action.AA1:
                raise ProtocolViolationError(event.value, pdu.abort(pdu.BY_USER, 0))
            case Action.AA8:
                raise ProtocolViolationError(event.value, pdu.abort(pdu.BY_PROVIDER, reason))
            case _:
                return Signal.IGNORED

    # --- local requests: each returns the bytes to send

    def accept(self, accept_pdu: bytes) -> bytes:
        """Accept the association (Evt7)."""
        self._fire(Event.EVT7)
        return accept_pdu

    def reject(self, result: int, source: int, reason: int) -> bytes:
        """Reject the association (Evt8)."""
        self._fire(Event.EVT8)
        return pdu.associate_rj(result, source, reason)

    def release(self) -> bytes:
        """Ask for release (Evt11)."""
        self._fire(Event.EVT11)
        return pdu.RELEASE_RQ_PDU

    def confirm_release(self) -> bytes:
        """Answer the peer's release (Evt14)."""
        self._fire(Event.EVT14)
        return pdu.RELEASE_RP_PDU

    def abort(self, source: int = pdu.BY_USER, reason: int = 0) -> bytes:
        """Abort (Evt15); no bytes where there is nobody to tell."""
        if self.state in (State.STA1, State.STA13):
            return b""
        if self.state is State.STA2:  # a connection that never asked: closing says it all
            self._fire(Event.EVT18)
            return b""
        self._fire(Event.EVT15)
        self._understand_no_more()
        return pdu.abort(source, reason)

    def violation(self, why: str, reason: int = pdu.INVALID_PARAMETER) -> ProtocolViolationError:
        """Return the error for something wrong in the peer's words, here or in what they mean."""
        self._fire(Event.EVT19)
        self._understand_no_more()
        return ProtocolViolationError(why, pdu.abort(pdu.BY_PROVIDER, reason))

    def _understand_no_more(self) -> None:
        """Drop the rest of a PDU that is being read: after an abort it means nothing."""
        self._pdu_left = self._fragment_left = self._part_bytes = 0
        self._start = self._end

    def _fire(self, event: Event) -> Action:
        action, self.state = next_state(self.state, event, acceptor=self._acceptor)
        return action
