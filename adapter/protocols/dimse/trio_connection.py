"""An association's connection while it is being set up: in Trio, for both roles.

TCP, TLS and the exchange of A-ASSOCIATE PDUs need no thread, whatever the peer does or does not do,
and end at once when cancelled. Once both sides have agreed, the socket, the TLS session and the
upper layer move on to a thread (`into_blocking`).
"""

import os
import socket
import ssl

import trio

from adapter.protocols.dimse.connection import LINGER_S, Connection
from adapter.protocols.dimse.layer_events import LayerEvent, Signal
from adapter.protocols.dimse.strangers import OPENING_BYTES
from adapter.protocols.dimse.tls import RECORDS_BYTES, TlsSession, TlsSocket, broken, reason
from adapter.protocols.dimse.transcript import TranscribedConnection, Transcript
from adapter.protocols.dimse.turns import Turns
from adapter.protocols.dimse.upper_layer import UpperLayer

LAST_WORDS_S = 0.1
"""For an A-ABORT to a peer that has stopped talking to us."""


class TlsHandshakeError(Exception):
    """There is no TLS connection; with a reason fit for a log."""


class TrioConnection:
    """A connected socket and the upper layer of its association."""

    def __init__(self, sock: trio.socket.SocketType, layer: UpperLayer) -> None:
        self._socket = sock
        self.layer = layer
        self.opening = b""
        """The peer's first bytes; behind TLS those that were encrypted. See `strangers`."""
        self._tls: TlsSession | None = None

    @property
    def tls_version(self) -> str:
        """E.g. `TLSv1.3`; empty without TLS."""
        return "" if self._tls is None else self._tls.version

    async def shake_hands(self, session: TlsSession) -> None:
        """Put TLS under everything that follows. The caller sets the deadline.

        Raises:
            TlsHandshakeError: The peer is not, or not trusted as, the one we want to talk to.
            OSError: The connection broke.
        """
        refused: ssl.SSLError | None = None
        try:
            while not session.shake_hands():
                await self._send(session.to_send())
                ciphertext = await self._records()
                self.opening = self.opening or ciphertext[:OPENING_BYTES]
                session.received(ciphertext)
            await self._send(session.to_send())
        except ssl.SSLError as error:
            refused = error
        if refused is not None:
            await self.last_words(session.to_send())  # the alert that tells the peer why
            raise TlsHandshakeError(f"TLS: {reason(refused)}") from refused
        self._tls = session
        self.opening = b""

    async def _records(self) -> bytes:
        # A stock sender has Nagle on: its request waits for the ACK of its last handshake message,
        # which is 40 ms late unless we hurry.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return await self._socket.recv(RECORDS_BYTES)

    async def next_event(self) -> LayerEvent:
        """Return the next event; the caller sets the deadline.

        Raises:
            ProtocolViolationError: The peer broke the protocol.
            OSError: The connection broke.
        """
        while (event := self.layer.next_event()) is Signal.NEED_DATA:
            count = await self._recv_into(self.layer.writable())
            if not count:
                return self.layer.closed()
            self.layer.received(count)
        return event

    async def _recv_into(self, view: memoryview) -> int:
        tls = self._tls
        if tls is None:
            count = await self._socket.recv_into(view)
        else:
            try:
                while (decrypted := tls.read_into(view)) is None:
                    await self._send(tls.to_send())  # that it does not renegotiate
                    tls.received(await self._records())
            except ssl.SSLError as error:
                raise broken(error) from error
            count = decrypted
        self.opening = self.opening or bytes(view[: min(count, OPENING_BYTES)])
        return count

    async def send(self, data: bytes) -> None:
        """Send all of data; the caller sets the deadline.

        Raises:
            OSError: The connection broke.
        """
        if self._tls is not None:
            self._tls.write(data)
            data = self._tls.to_send()
        await self._send(data)

    async def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[await self._socket.send(view) :]

    async def farewell(self, data: bytes) -> None:
        """Send last words and `see_off`. Never raises."""
        with trio.move_on_after(LINGER_S):
            try:
                await self.send(data)
                if self._tls is not None:
                    self._tls.close()
                    await self._send(self._tls.to_send())
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                return  # gone already: nobody is left to tell
            await self.see_off()

    async def see_off(self) -> None:
        """Give the peer a moment to read our last words and close (Sta13). Never raises."""
        with trio.move_on_after(LINGER_S):
            try:
                while await self._socket.recv(RECORDS_BYTES):
                    pass
            except OSError:
                pass  # closed as well

    async def last_words(self, data: bytes) -> None:
        """Send data if the peer takes it at once. Never raises."""
        with trio.move_on_after(LAST_WORDS_S):
            try:
                await self.send(data)
            except OSError:
                pass  # gone already

    def into_blocking(
        self, turns: Turns | None = None, transcript: Transcript | None = None
    ) -> Connection:
        """Return the connection for a thread; what is said on it goes into the transcript."""
        raw = socket.socket(fileno=self._socket.detach())
        sock = raw if self._tls is None else TlsSocket(raw, self._tls)
        if transcript is not None:
            return TranscribedConnection(sock, self.layer, turns, transcript)
        return Connection(sock, self.layer, turns)

    def take_back(self, connection: Connection) -> None:
        """Take the socket back from a thread that is done, to `see_off` the peer without it."""
        raw = socket.socket(fileno=connection.detach())
        self._socket = trio.socket.from_stdlib_socket(raw)

    def fileno(self) -> int:
        """Return the descriptor, for another process to serve the association on."""
        return self._socket.fileno()

    def interrupt(self) -> None:
        """End a blocked receive of whoever serves the association."""
        try:
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # closed already

    def resume(self) -> None:
        """Use the connection again after another process, which has made it block, is done."""
        os.set_blocking(self._socket.fileno(), False)

    def close(self) -> None:
        """Close without a word; harmless after `into_blocking`."""
        self._socket.close()
