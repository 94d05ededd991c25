"""TLS around an association (PS3.15 B.12, BCP 195): contexts that follow their files, and a session
without I/O that moves from Trio to a thread with the association.

Rules: TLS 1.2 at least, forward secrecy and authenticated encryption only. Certificates are looked
at again for each new association, so a renewed one is used without a restart; one that cannot be
loaded changes nothing but the log, and the last good one stays.
"""

import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence

import structlog

from adapter.errors import ConfigurationError

log = structlog.get_logger("adapter.tls")

CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
"""For TLS 1.2 (RFC 9325 4.2); the suites of 1.3 are all good."""
RECORDS_BYTES = 64 << 10
"""Ciphertext taken from the socket at once: four records."""
PLAINTEXT_BYTES_MAX = 256 << 10
"""Encrypted at once when sending; what an association needs besides its buffer."""
LOOK_AGAIN_S = 1.0

Build = Callable[[], ssl.SSLContext]


class TlsContext:
    """A context that is built anew when one of its files has changed."""

    def __init__(self, key_path: str, files: Sequence[str], build: Build) -> None:
        """Build it for the first time.

        Args:
            key_path: Of the configuration, for messages.
            files: Certificates and keys it is built from.
            build: Reads the files.

        Raises:
            ConfigurationError: The files cannot be used.
        """
        self._key_path = key_path
        self._files = files
        self._build = build
        self._seen = self._versions()
        self._looked_at = time.monotonic()
        try:
            self._context = build()
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError([f"{key_path}: {reason(error)}"]) from error

    def _versions(self) -> list[tuple[int, int, int] | None]:
        return [_version(path) for path in self._files]

    def current(self) -> ssl.SSLContext:
        """Return the context for a new association."""
        if time.monotonic() - self._looked_at >= LOOK_AGAIN_S:
            self._looked_at = time.monotonic()
            seen = self._versions()
            if seen != self._seen:
                self._rebuild(seen)
        return self._context

    def _rebuild(self, seen: list[tuple[int, int, int] | None]) -> None:
        try:
            self._context = self._build()
        except (OSError, ssl.SSLError) as error:
            # Perhaps half of the files are new: looked at again with the next association.
            log.error("tls.reload_failed", key=self._key_path, why=reason(error))
            return
        self._seen = seen
        log.info("tls.reloaded", key=self._key_path)


def _version(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def reason(error: OSError) -> str:
    """Return what TLS or the file system says, without the place in OpenSSL's source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return error.strerror or type(error).__name__


class TlsSession:
    """One TLS connection between bytes and bytes; no I/O."""

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )

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
            return False
        return True

    def received(self, ciphertext: bytes | memoryview) -> None:
        """Take bytes from the peer; none: it closed."""
        if ciphertext:
            self._incoming.write(ciphertext)
        else:
            self._incoming.write_eof()

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
            return count or None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass  # closed, with or without a word: the upper layer knows what was due
        return count

    def write(self, plaintext: bytes) -> None:
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
        self.close = sock.close
        self.detach = sock.detach
        self.detach = sock.detach

    def recv_into(self, view: memoryview | bytearray) -> int:
        """See `socket.recv_into`; a peer whose bytes cannot be decrypted has closed."""
        try:
            while (count := self._session.read_into(memoryview(view))) is None:
                got = self._socket.recv_into(self._records)
                self._session.received(memoryview(self._records)[:got])
        except ssl.SSLError as error:
            raise ConnectionAbortedError(None, f"TLS: {reason(error)}") from error
        return count

    def sendmsg(self, views: Sequence[bytes | memoryview]) -> int:
        """See `socket.sendmsg`; 0: call again with the same views, the peer took only a part."""
        if not self._unsent:
            plaintext = b"".join(views)[:PLAINTEXT_BYTES_MAX]
            self._session.write(plaintext)
            self._unsent = memoryview(self._session.to_send())
            self._unsent_plaintext = len(plaintext)
        self._unsent = self._unsent[self._socket.send(self._unsent) :]
        return 0 if self._unsent else self._unsent_plaintext

    def shutdown(self, how: int) -> None:
        """See `socket.shutdown`; a peer that can still be told is told."""
        if how == socket.SHUT_WR and not self._unsent:
            self._session.close()
            self._socket.send(self._session.to_send())
        self._socket.shutdown(how)
