"""Many connections in one thread: edge-triggered epoll, timers, PDUs in and views out.

The sender shares a machine with the receiver it measures, so nothing happens here twice: a
connection is registered once, a message leaves in one `sendmsg`, an answer comes in one `recv`.
"""

import errno
import heapq
import os
import select
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.messages import Views

VIEWS_MAX = 512
"""Views for one sendmsg; the kernel takes 1024."""
PDU_BYTES_MAX = 1 << 20
EVENTS_MAX = 256
_READ_BYTES = 4096
_OVER = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_ALL = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


@dataclass(frozen=True, slots=True)
class Target:
    """The SCP."""

    host: str
    port: int

    def resolve(self) -> tuple[int, tuple[object, ...]]:
        """Return family and address.

        Raises:
            OSError: The name is unknown.
        """
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        return found[0], found[4]


class Loop:
    """Runs connections and timers until it is stopped."""

    def __init__(self, target: Target) -> None:
        self.family, self.address = target.resolve()
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._stopped = False

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Call at that time of `time.perf_counter`; there is no way to take it back."""
        self._order += 1
        heapq.heappush(self._timers, (when, self._order, call))

    def stop(self) -> None:
        """End `run` after what is being done."""
        self._stopped = True

    def run(self) -> None:
        """Run until `stop`; at the end every connection is closed."""
        poll, connections, timers = self._epoll.poll, self._connections, self._timers
        while not self._stopped:
            wait_s = max(timers[0][0] - time.perf_counter(), 0) if timers else 1.0
            for descriptor, mask in poll(wait_s, EVENTS_MAX):
                connection = connections.get(descriptor)
                if connection is not None:
                    connection.ready(mask)
            while timers and timers[0][0] <= time.perf_counter():
                heapq.heappop(timers)[2]()
        for connection in list(connections.values()):
            connection.close()
        self._epoll.close()

    def add(self, descriptor: int, connection: "Connection") -> None:
        """Watch a socket."""
        self._connections[descriptor] = connection
        self._epoll.register(descriptor, _ALL)

    def remove(self, descriptor: int) -> None:
        """Forget a socket that is about to be closed: the kernel does its part then."""
        del self._connections[descriptor]


class Connection(ABC):
    """One TCP connection at a time; what happens on it is up to the subclass."""

    __slots__ = ("_connecting", "_index", "_rest", "_socket", "_views", "loop", "nagle")

    def __init__(self, loop: Loop, *, nagle: bool = False) -> None:
        self.loop = loop
        self.nagle = nagle
        """As stock senders are: no TCP_NODELAY, no TCP_QUICKACK, each view a write of its own."""
        self._socket: socket.socket | None = None
        self._connecting = False
        self._views: Views = []
        self._index = 0
        self._rest = b""

    @abstractmethod
    def connected(self) -> None:
        """The connection is up."""

    @abstractmethod
    def received(self, pdu: bytes) -> None:
        """A whole PDU has come."""

    @abstractmethod
    def lost(self, reason: str) -> None:
        """There is no connection, or no longer; it is closed."""

    def open(self) -> None:
        """Start to connect."""
        assert self._socket is None
        try:
            self._socket = sock = socket.socket(self.loop.family, socket.SOCK_STREAM)
        except OSError as error:
            self.lost(_words(error))
            return
        sock.setblocking(False)
        if not self.nagle:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._views, self._index, self._rest, self._connecting = [], 0, b"", True
        error_number = sock.connect_ex(self.loop.address)
        self.loop.add(sock.fileno(), self)
        if error_number not in (0, errno.EINPROGRESS):
            self._lose(OSError(error_number, os.strerror(error_number)))

    def close(self, *, reset: bool = False) -> None:
        """Close, if open; `reset` sends RST instead of FIN."""
        if self._socket is not None:
            if reset:
                linger = (1).to_bytes(4, "little") + bytes(4)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def shut_down_sending(self) -> None:
        """Say that nothing more comes, but keep receiving."""
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_WR)

    @property
    def is_open(self) -> bool:
        """Whether there is a socket."""
        return self._socket is not None

    def send(self, views: Views) -> None:
        """Send views behind those that are still waiting; the list is ours from now on."""
        self._views = [*self._views[self._index :], *views] if self._views else views
        self._index = 0
        self._flush()

    def ready(self, mask: int) -> None:
        """Something happened on the socket."""
        if self._connecting:
            assert self._socket is not None
            error_number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error_number:
                self._lose(OSError(error_number, os.strerror(error_number)))
                return
            if not mask & select.EPOLLOUT:
                return
            self._connecting = False
            self.connected()
        if mask & (select.EPOLLIN | _OVER):
            self._receive(bool(mask & _OVER))
        if self._views and self._socket is not None:
            self._flush()

    def _flush(self) -> None:
        views, sock = self._views, self._socket
        if sock is None:
            return
        step = 1 if self.nagle else VIEWS_MAX
        try:
            while self._index < len(views):
                window = views[self._index : self._index + step]
                count = sock.sendmsg(window)
                for view in window:
                    if count < len(view):
                        views[self._index] = memoryview(view)[count:]
                        break
                    count -= len(view)
                    self._index += 1
        except BlockingIOError:
            return
        except OSError as error:
            self._lose_after_reading(error)
            return
        self._views, self._index = [], 0

    def _acknowledge_at_once(self) -> None:
        """Send the ACK of half an answer: a peer with Nagle's algorithm holds back the other half.

        The option is not permanent (tcp(7)).
        """
        if not self.nagle and self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _receive(self, to_the_end: bool) -> None:
        """Receive what is there; behind a short read there can only be the end, which is said."""
        while (sock := self._socket) is not None:
            try:
                data = sock.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error)
                return
            if not data:
                self.close()
                self.lost("closed by the peer")
                return
            drained = len(data) < _READ_BYTES and not to_the_end
            if self._rest:
                data = self._rest + data
            self._rest = self._handle(data)
            if drained:
                if self._rest:
                    self._acknowledge_at_once()
                return

    def _handle(self, data: bytes) -> bytes:
        """Hand over whole PDUs; return what is behind them."""
        while len(data) >= 6:
            end = 6 + int.from_bytes(data[2:6], "big")
            if end > PDU_BYTES_MAX:
                self.close()
                self.lost(f"the peer sent a PDU of type {data[0]} with {end - 6} bytes")
                return b""
            if len(data) < end:
                break
            self.received(data[:end] if len(data) > end else data)
            data = data[end:]
            if self._socket is None:
                return b""
        return data

    def _lose_after_reading(self, error: OSError) -> None:
        """Sending failed; what the peer said before it left is more interesting than that."""
        self._views, self._index = [], 0
        self._receive(to_the_end=True)
        if self._socket is not None:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.close()
        self.lost(_words(error))


def _words(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
