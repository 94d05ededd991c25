"""A wall around each HTTP connection: nothing a web peer does may reach the DICOM side.

Hypercorn 0.18 keeps all connections in one nursery and lets an exception of one of them out, so one
malformed upgrade request would cancel the whole process (its issues 203, 225, 329). It also sends
in a shielded scope without a deadline, so one client that stops reading would hold a shutdown for
ever, and waits for slow requests between any two bytes anew. All of it is mended here, on the class
that handles one connection; tests/integration/test_web_hostile.py and test_web_slow.py hold the
cases. Only this package's `guard` and `http1` know hypercorn's insides: the version is pinned.
"""

import math
import ssl
from collections.abc import Callable

import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio import run as hypercorn_run
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer

from adapter.domain.repetition import Repetition
from adapter.protocols.web import http1
from adapter.protocols.web.http1 import Http1Protocol
from adapter.protocols.web.places import Places

log = structlog.get_logger("adapter.web")

SEND_PIECE_BYTES = 64 << 10
SEND_PIECE_S = 15.0
"""A peer that takes no 64 KiB in this time has stopped reading."""
PHASE_S = {"header": 10.0, "body": 30.0, "websocket": 60.0, "waiting": math.inf}
"""From its first byte to its last, for a WebSocket between two (it answers pings). A peer that has
asked may wait for its answer as long as it likes: hypercorn ends connections that are idle."""
_TOLD_S = 60.0
_TOLD_MAX = 100
_told = Repetition(_TOLD_S, _TOLD_MAX)
_FULL = b"HTTP/1.1 503 \r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FollowingContext(ssl.SSLContext):
    """Hands each new connection to the context that is current then."""

    current: Callable[[], ssl.SSLContext]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """See `ssl.SSLContext.wrap_bio`."""
        context = self.current()
        return context.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


class GuardedConfig(Config):
    """What hypercorn is told, and what this guard has to know."""

    places: Places
    tls_context: Callable[[], ssl.SSLContext] | None = None

    @property
    def ssl_enabled(self) -> bool:
        """See `Config.ssl_enabled`."""
        return self.tls_context is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """See `Config.create_ssl_context`."""
        if self.tls_context is None:
            return None
        context = FollowingContext(ssl.PROTOCOL_TLS_SERVER)
        context.current = self.tls_context
        return context


class GuardedTCPServer(TCPServer):
    """One HTTP or WebSocket connection that can only end itself."""

    config: GuardedConfig

    async def protocol_send(self, event: Event) -> None:
        """Send in pieces, each with a deadline."""
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            try:
                await self._send(memoryview(event.data))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self.protocol.handle(Closed())

    async def _send(self, data: memoryview) -> None:
        with trio.CancelScope(shield=True) as scope:  # a cancel must not tear a frame
            for first in range(0, len(data), SEND_PIECE_BYTES):
                scope.deadline = trio.current_time() + SEND_PIECE_S
                await self.stream.send_all(data[first : first + SEND_PIECE_BYTES])
        if scope.cancelled_caught:
            self._close_socket()
            raise trio.BrokenResourceError

    async def _read_data(self) -> None:
        """Read until the peer ends, or is too slow with what it has begun."""
        phase, begun_at = ("waiting", 0), trio.current_time()
        while True:
            if self._http is not None and self._http.phase != phase:
                phase, begun_at = self._http.phase, trio.current_time()
            deadline = begun_at + PHASE_S[phase[0]]
            try:
                with trio.fail_at(deadline):
                    data = await self.stream.receive_some(MAX_RECV)
            except trio.TooSlowError:
                if self._http is not None:
                    await self._http.tell_too_slow()
                break
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                break
            if phase[0] == "websocket":
                begun_at = trio.current_time()
            await self.protocol.handle(RawData(bytes(data)))
            if data == b"":
                break
        await self.protocol.handle(Closed())
        await self.idle_task.stop()  # it would keep the connection until its time is over

    @property
    def _http(self) -> Http1Protocol | None:
        protocol = self.protocol.protocol
        return protocol if isinstance(protocol, Http1Protocol) else None

    @property
    def _transport(self) -> trio.SocketStream:
        stream: trio.abc.Stream = self.stream
        below = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        assert isinstance(below, trio.SocketStream)
        return below

    def _close_socket(self) -> None:
        self._transport.socket.close()

    async def _close_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self._close_socket()  # wakes a send that is shielded
            raise

    async def run(self) -> None:
        """Serve the connection; let nothing out but a cancel."""
        try:
            address = self._transport.socket.getpeername()[0]
        except OSError:
            return  # it has gone
        with self.config.places.place(address) as has_place:
            if has_place:
                await self._serve()
            else:
                await self._turn_away()

    async def _turn_away(self) -> None:
        if self.config.tls_context is None:  # no handshake only to say no
            with trio.move_on_after(1.0):
                try:
                    await self.stream.send_all(_FULL)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

    async def _serve(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._close_when_cancelled)
                try:
                    await super().run()
                finally:
                    nursery.cancel_scope.cancel()
        except Exception as error:  # the wall: hypercorn's and the peer's faults end here
            _tell(error)
        except BaseExceptionGroup as group:
            cancelled, rest = group.split(trio.Cancelled)
            if rest is not None:
                _tell(rest.exceptions[0])
            if cancelled is not None:
                raise cancelled from None


def _tell(error: BaseException) -> None:
    name = type(error).__name__
    if _told.is_news(name, trio.current_time()):
        log.warning("web.connection_failed", error=name)


def install() -> None:
    """Make hypercorn use the guarded class. Again is harmless."""
    setattr(hypercorn_run, "TCPServer", GuardedTCPServer)  # noqa: B010 - not an exported name
    http1.install()
