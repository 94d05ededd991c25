"""A blocking TCP connection with deadlines, driving one `UpperLayer`; used by worker threads only.

Rules: a deadline is absolute and covers a whole PDU or more, so a peer that sends one byte a second
is cut off as surely as one that sends nothing. The kernel watches the time (SO_RCVTIMEO): one
system call for each receive.
"""

import math
import socket
import time
from collections.abc import Callable, Sequence
from struct import Struct

from adapter.protocols.dimse.layer_events import LayerEvent, Signal
from adapter.protocols.dimse.tls import TlsSocket
from adapter.protocols.dimse.turns import Turn, Turns
from adapter.protocols.dimse.upper_layer import UpperLayer

_TIMEVAL = Struct("@ll")
_IOV_MAX = 1024
QUIET_S = 0.005
"""A peer that sends nothing for so long is no longer received from in a turn (`turns`)."""
IDLE_S = 1.0
"""A peer that sends nothing for so long gets by with the smallest buffer."""
LINGER_S = 2.0
"""How long to wait for the peer to close after release, reject or abort, when we are done."""


class PeerTimeoutError(Exception):
    """The peer was silent, or too slow, for longer than allowed."""


def _nothing() -> None:
    return


class Connection:
    """Socket and upper layer of one association, owned by one thread."""

    def __init__(
        self, sock: socket.socket | TlsSocket, layer: UpperLayer, turns: Turns | None = None
    ) -> None:
        """Take over a connected socket; turns are shared by those that receive in bulk."""
        self._socket = sock
        self.layer = layer
        self.before_receive: Callable[[], None] = _nothing
        """Called before the buffer that fragments are views of is used again."""
        self._when_quiet: Callable[[], None] | None = None
        self._turn = Turn(turns or Turns(1))
        self._has_sent = True
        self._receive_timeout = math.inf
        self._deadline = 0.0
        self._interrupted = False
        self.is_interrupted: Callable[[], bool] = lambda: self._interrupted
        """Whether an end of what can be received is our own doing."""
        self._phase: tuple[bool, int] | None = None
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def next_event(self, wait_s: float, pdu_s: float) -> LayerEvent:
        """Return the next event.

        Args:
            wait_s: How long the peer may stay silent before a PDU begins.
            pdu_s: How long a PDU may take from its first byte to its last; a command set as well,
                in however many PDUs, and every 16 KiB of a data set.

        Raises:
            PeerTimeoutError: It took longer.
            ProtocolViolationError: The peer broke the protocol.
            OSError: The connection broke.
        """
        layer = self.layer
        while (event := layer.next_event()) is Signal.NEED_DATA:
            phase = (layer.inside_part, layer.parts_ended)
            if phase != self._phase:
                self._phase = phase
                self._deadline = time.monotonic() + (pdu_s if layer.inside_part else wait_s)
            if not self._receive():
                return Signal.INTERRUPTED if self.is_interrupted() else layer.closed()
        return event

    def _receive(self) -> int:
        self.before_receive()
        if self._turn.is_over:
            self._lend_turn()
        elif self._turn.due:
            self._take_turn()
        if self._has_sent:
            # After we have sent, the kernel delays ACKs, and a stock sender (Nagle) waits for them.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            self._has_sent = False
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                self._phase = None  # whoever asks again waits anew
                raise PeerTimeoutError
            if self._receive_timeout > left:
                self._limit_receive(left)
            now = socket.MSG_DONTWAIT if self._turn.wanted else 0
            try:
                count = self._socket.recv_into(self.layer.writable(), 0, now)
                break
            except InterruptedError:
                continue  # a part of a TLS record: it brings nothing, and takes its time
            except BlockingIOError:
                self._peer_is_quiet()
                if now:
                    continue  # others go on at once, we when there is something
                if self._receive_timeout < IDLE_S:
                    self._limit_receive(min(left, IDLE_S))
                else:
                    self.layer.give_back()
                    self._limit_receive(left)
        self.layer.received(count)
        self._turn.received(count)
        if self._turn.lent:
            self._take_turn()
        return count

    def _peer_is_quiet(self) -> None:
        if self._when_quiet is not None:
            self._when_quiet()
            self._when_quiet = None
        if self._turn.taken:
            self._lend_turn()

    def _notice_quiet(self) -> None:
        if self._receive_timeout != QUIET_S:  # it stays until the peer has been quiet once
            self._limit_receive(QUIET_S)

    def call_when_quiet(self, call: Callable[[], None]) -> None:
        """Call once, when the peer has sent nothing for `QUIET_S`."""
        self._when_quiet = call
        self._notice_quiet()

    def want_turn(self) -> None:
        """A data set begins: what is not here yet is received in a turn (`turns`)."""
        self._turn.want()

    def _take_turn(self) -> None:
        begin = time.monotonic()
        self.layer.use(self._turn.take())
        self._deadline += time.monotonic() - begin  # it is not the peer that kept us waiting
        self._notice_quiet()

    def _lend_turn(self) -> None:
        self.layer.use_own()
        self._turn.lend()

    def give_turn(self) -> None:
        """Let another association receive; views of fragments become invalid. Else harmless."""
        if self._turn.taken:
            self.layer.use_own()
        self._turn.give()

    def _limit_receive(self, timeout_s: float) -> None:
        self._set_timeout(socket.SO_RCVTIMEO, timeout_s)
        self._receive_timeout = timeout_s

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send all of data.

        Raises:
            PeerTimeoutError: The peer does not read.
            OSError: The connection broke.
        """
        self._has_sent = True
        try:
            sent = self._socket.sendmsg((data,))
        except BlockingIOError as timeout:
            raise PeerTimeoutError from timeout
        if sent < len(data):
            self._send_all([memoryview(data)[sent:]], timeout_s)

    def send_views(self, views: Sequence[bytes | memoryview], timeout_s: float) -> None:
        """Send all views, gathered; see `send`. The time is for the whole."""
        self._has_sent = True
        self._send_all(views, timeout_s)

    def _send_all(self, views: Sequence[bytes | memoryview], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        pending = list(views)
        while pending:
            try:
                sent = self._socket.sendmsg(pending[:_IOV_MAX])
            except BlockingIOError as timeout:
                raise PeerTimeoutError from timeout
            while pending and sent >= len(pending[0]):
                sent -= len(pending.pop(0))
            if pending and sent:
                pending[0] = memoryview(pending[0])[sent:]
            if pending and time.monotonic() > deadline:
                raise PeerTimeoutError

    def set_send_timeout(self, timeout_s: float) -> None:
        """Let one system call of `send` wait at most so long."""
        self._set_timeout(socket.SO_SNDTIMEO, timeout_s)

    def _set_timeout(self, option: int, timeout_s: float) -> None:
        seconds, fraction = divmod(max(timeout_s, 0.001), 1)
        value = _TIMEVAL.pack(int(seconds), int(fraction * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, option, value)

    def farewell(self, data: bytes) -> None:
        """Send last words; the peer should close now. Never raises."""
        try:
            if data:
                self.send(data, LINGER_S)
            self._socket.shutdown(socket.SHUT_WR)
        except (OSError, PeerTimeoutError):
            pass  # the peer is gone, or deaf: nobody is left to tell

    def detach(self) -> int:
        """Return the descriptor, which is the caller's from here on."""
        return self._socket.detach()

    def interrupt(self) -> None:
        """From any thread: end a blocked receive; the owner is told to abort the association."""
        self._interrupted = True
        try:
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # closed already

    def close(self) -> None:
        """Close without a word."""
        self._socket.close()
