"""A TLS session without I/O, which moves from Trio to a thread with its association, and the
blocking socket around it (PS3.15 B.12).

Rules: a session is used by one task or thread at a time. Bytes that are not a whole record yet do
not count as received, but the time they take does. The end of the stream without close_notify is
an end like any other: the upper layer knows whether something was due.
"""

import socket
import ssl
from collections.abc import Sequence

RECORDS_BYTES = 64 << 10
"""Ciphertext taken from the socket at once: four records."""
PLAINTEXT_BYTES_MAX = 256 << 10
"""Encrypted at once when sending; what an association needs besides its buffer."""

_WORDS = {
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS",
    "HTTP_REQUEST": "the peer does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "no TLS version in common",
    "NO_SHARED_CIPHER": "no cipher suite in common",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate",
    "UNEXPECTED_EOF_WHILE_READING": "the peer closed the connection",
}
"""Where OpenSSL's reason would not help."""
_ALERT = "_ALERT_"


def reason(error: ssl.SSLError) -> str:
    """Return what is wrong, in words, and without the place in OpenSSL's source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate: {error.verify_message.rstrip('.')}"
    text = error.reason or type(error).__name__
    _, alert, said = text.partition(_ALERT)
    words = _WORDS.get(text) or (said or text).lower().replace("_", " ")
    return f"the peer says: {words}" if alert else words


def broken(error: ssl.SSLError) -> OSError:
    """Return the error of a connection whose bytes make no sense any more."""
    return ConnectionAbortedError(None, f"TLS: {reason(error)}")


class TlsSession:
    """One TLS connection between bytes and bytes; no I/O."""

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        self._ended = False

    @property
    def version(self) -> str:
        """E.g. `TLSv1.3`, once shaken hands."""
        return self._tls.version() or ""

    def shake_hands(self) -> bool:
        """Go on with the handshake; False: more of the peer's bytes are needed.

        Raises:
            ssl.SSLError: There will be no connection; `to_send` has the alert.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            if not self._ended:
                return False
            self._incoming.write_eof()
            self._tls.do_handshake()
        return True

    def received(self, ciphertext: bytes | memoryview) -> None:
        """Take bytes from the peer; none: it closed."""
        if ciphertext:
            self._incoming.write(ciphertext)
        else:
            self._ended = True  # OpenSSL is not told: it would let us say nothing more

    def to_send(self) -> bytes:
        """Return, once, the bytes for the peer."""
        return self._outgoing.read()

    def read_into(self, view: memoryview) -> int | None:
        """Decrypt into view, as much as there is; 0: closed, None: nothing there yet.

        Raises:
            ssl.SSLError: Not what the peer encrypted.
        """
        count = 0
        try:
            while count < len(view):
                piece = int(self._tls.read(len(view) - count, view[count:]))
                if not piece:
                    break
                count += piece
        except ssl.SSLWantReadError:
            return count if count or self._ended else None
        except ssl.SSLZeroReturnError:
            pass
        return count

    def write(self, plaintext: bytes | bytearray) -> None:
        """Encrypt; `to_send` has the result."""
        self._tls.write(plaintext)

    def close(self) -> None:
        """Say goodbye (close_notify); `to_send` has it."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, OSError):
            pass  # what the peer still sends is not waited for


class TlsSocket:
    """A blocking socket behind a session, with the calls `connection` needs of a plain one."""

    def __init__(self, sock: socket.socket, session: TlsSession) -> None:
        self._socket = sock
        self._session = session
        self._records = bytearray(RECORDS_BYTES)
        self._unsent = memoryview(b"")
        self._unsent_plaintext = 0
        self.setsockopt = sock.setsockopt
        self.setblocking = sock.setblocking
        self.fileno = sock.fileno
        self.detach = sock.detach

    def recv_into(self, view: memoryview, _nbytes: int = 0, flags: int = 0) -> int:
        """See `socket.recv_into`.

        Raises:
            InterruptedError: Bytes came, but no whole record yet; look at the time, and call again.
            ConnectionAbortedError: They cannot be decrypted.
        """
        try:
            count = self._session.read_into(view)
            if count is None:
                got = self._socket.recv_into(self._records, 0, flags)
                self._session.received(memoryview(self._records)[:got])
                count = self._session.read_into(view)
        except ssl.SSLError as error:
            raise broken(error) from error
        if count is None:
            self._answer()
            raise InterruptedError
        return count

    def _answer(self) -> None:
        """Send what TLS itself has to say while we read: that it does not renegotiate."""
        words = self._session.to_send()
        try:
            taken = self._socket.send(words)
        except BlockingIOError:
            taken = -1
        if taken < len(words):
            raise ConnectionAbortedError(None, "TLS: the peer does not read")

    def sendmsg(self, views: Sequence[bytes | memoryview]) -> int:
        """See `socket.sendmsg`; 0: call again with the same views, the peer took only a part."""
        if not self._unsent:
            plaintext = bytearray()
            for view in views:
                plaintext += view[: PLAINTEXT_BYTES_MAX - len(plaintext)]
            try:
                self._session.write(plaintext)
            except ssl.SSLError as error:
                raise broken(error) from error
            self._unsent = memoryview(self._session.to_send())
            self._unsent_plaintext = len(plaintext)
        self._unsent = self._unsent[self._socket.send(self._unsent) :]
        return 0 if self._unsent else self._unsent_plaintext

    def shutdown(self, how: int) -> None:
        """See `socket.shutdown`; from any thread with SHUT_RD, which leaves the session alone."""
        if how == socket.SHUT_WR:
            self._say_goodbye()
        self._socket.shutdown(how)

    def close(self) -> None:
        """See `socket.close`."""
        self._say_goodbye()
        self._socket.close()

    def _say_goodbye(self) -> None:
        """Tell a peer that takes it at once. Never raises, never waits."""
        if self._unsent:
            return  # in the middle of a record nothing else can be said
        self._session.close()
        try:
            self._socket.send(self._session.to_send(), socket.MSG_DONTWAIT)
        except OSError:
            pass  # gone, or deaf
