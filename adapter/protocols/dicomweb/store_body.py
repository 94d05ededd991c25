"""Part 10 files as the body of a STOW-RS request (PS3.18 8.6.1.2.1): read as they are sent.

The length is known before, so a service need not take chunks; what is in memory is one piece.
Preambles are zero (PS3.10 7.5), everything after them is as it is stored.
"""

import os
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence

import trio

from adapter.domain.records import OutgoingInstance
from adapter.protocols.dimse.file_meta import PREAMBLE
from adapter.protocols.http_exchange import CHUNK

_PART = b"\r\nContent-Type: application/dicom\r\n\r\n"


class UnreadableError(Exception):
    """The file of an instance is not what it was.

    Attributes:
        index: Of the instance in the request.
    """

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index


class StoreBody:
    """The body of one request."""

    def __init__(
        self, instances: Sequence[OutgoingInstance], threads: trio.CapacityLimiter
    ) -> None:
        """Nothing is read yet; `threads` read the files."""
        self._instances = instances
        self._threads = threads
        self._boundary = secrets.token_hex(16).encode()
        """Drawn, so that no instance can hold it."""
        part = len(b"--" + self._boundary + _PART) + len(b"\r\n")
        self.length = len(b"--" + self._boundary + b"--\r\n") + sum(
            part + size_of(instance) for instance in instances
        )

    @property
    def content_type(self) -> str:
        """Its Content-Type (RFC 2387)."""
        boundary = self._boundary.decode()
        return f'multipart/related; type="application/dicom"; boundary={boundary}'

    async def pieces(self, taken: Callable[[], object]) -> AsyncGenerator[bytes, None]:
        """Yield the body in pieces of about a MiB; call `taken` after the last.

        Raises:
            UnreadableError: A file cannot be read, or became shorter.
        """
        for index, instance in enumerate(self._instances):
            file = _File(instance)
            before = b"--" + self._boundary + _PART
            try:
                while file.left:
                    try:
                        piece = await trio.to_thread.run_sync(file.next, limiter=self._threads)
                    except OSError as error:
                        why = os.strerror(error.errno or 0) if error.errno else str(error)
                        raise UnreadableError(index, why) from error
                    yield before + piece
                    before = b""
            finally:
                file.close()
            yield b"\r\n"
        yield b"--" + self._boundary + b"--\r\n"
        taken()


def size_of(instance: OutgoingInstance) -> int:
    """Return the bytes of an instance's file."""
    return instance.data_set_offset + instance.data_set_bytes


class _File:
    """A file while it is read; blocking."""

    def __init__(self, instance: OutgoingInstance) -> None:
        self._path = instance.path
        self._fd = -1
        self._instead = PREAMBLE
        """Of what the file begins with: a pipeline may have put anything there."""
        self.left = size_of(instance)

    def next(self) -> bytes:
        """Return the next piece.

        Raises:
            OSError: It cannot be read, or became shorter.
        """
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        piece = os.read(self._fd, min(CHUNK, self.left))
        if not piece:
            raise OSError("the file became shorter while it was sent")
        self.left -= len(piece)
        if not self.left:
            self.close()
        piece, self._instead = self._instead + piece[len(self._instead) :], b""
        return piece

    def close(self) -> None:
        """Close it; again is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
