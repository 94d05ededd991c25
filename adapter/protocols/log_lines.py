"""Lines of the log on their way out: nobody waits for who reads them, or fails with their disk."""

import os
import socket
import stat
import threading
from collections.abc import Callable
from typing import TextIO


class Lines:
    """Where lines go; it never waits for a reader, and nobody fails for want of room.

    A line that cannot be written now is lost, and how many were is told before the next one. Of
    a line that was written in part the rest comes first.
    """

    def __init__(self, stream: TextIO, told: Callable[[int], str]) -> None:
        """`told(lost)` is the line that says how many were."""
        self._told = told
        self._lock = threading.Lock()
        self._lost = 0
        self._rest = b""
        self._send = _sender(stream)

    def write(self, text: str) -> None:
        """Write whole lines, or lose them."""
        with self._lock:
            told = f"{self._told(self._lost)}\n" if self._lost else ""
            if self._written(f"{told}{text}".encode(errors="backslashreplace")):
                self._lost = 0
            else:
                self._lost += 1

    def flush(self) -> None:
        """Everything is written as it comes."""

    def _written(self, line: bytes) -> bool:
        """Return whether the line is on its way: all of it, or its beginning."""
        self._rest = self._rest[self._sent(self._rest) :]
        if self._rest:
            return False
        if sent := self._sent(line):
            self._rest = line[sent:]
        return sent > 0

    def _sent(self, data: bytes) -> int:
        try:
            return self._send(data) if data else 0
        except OSError:  # nobody reads, or there is no room
            return 0


def _sender(stream: TextIO) -> Callable[[bytes], int]:
    """Return what writes bytes without waiting for whoever reads them, and says how many."""
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except OSError:  # a stream of Python's own
        return lambda line: stream.write(line.decode()) and len(line)
    if stat.S_ISSOCK(mode):
        peer = socket.socket(fileno=os.dup(descriptor))
        return lambda line: peer.send(line, socket.MSG_DONTWAIT)
    if stat.S_ISFIFO(mode):
        try:  # a description of our own: others have the pipe as well, and may want to wait
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
        except OSError:
            pass  # it is somebody else's; then we wait
    return lambda line: os.write(descriptor, line)
