"""A wall around each HTTP connection: nothing a web peer does may reach the DICOM side.

Hypercorn 0.18 keeps all connections in one nursery and lets an exception of one of them out, so one
malformed upgrade request would cancel the whole process (its issues 203, 225, 329). It also sends
in a shielded scope without a deadline, so one client that stops reading would hold a shutdown for
ever. Both are mended here, on the class that handles one connection; tests/integration/
test_web_hostile.py holds the cases. Only this module knows hypercorn's insides: the version is
pinned.
"""

import structlog
import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio import run as hypercorn_run
from hypercorn.trio.tcp_server import TCPServer

log = structlog.get_logger("adapter.web")

SEND_PIECE_BYTES = 64 << 10
SEND_PIECE_S = 15.0
"""A peer that takes no 64 KiB in this time has stopped reading."""


class GuardedTCPServer(TCPServer):
    """One HTTP or WebSocket connection that can only end itself."""

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

    def _close_socket(self) -> None:
        transport = getattr(self.stream, "transport_stream", self.stream)  # below TLS, if any
        transport.socket.close()

    async def _close_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self._close_socket()  # wakes a send that is shielded
            raise

    async def run(self) -> None:
        """Serve the connection; let nothing out but a cancel."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._close_when_cancelled)
                try:
                    await super().run()
                finally:
                    nursery.cancel_scope.cancel()
        except Exception as error:  # the wall: hypercorn's and the peer's faults end here
            log.warning("web.connection_failed", error=type(error).__name__)
        except BaseExceptionGroup as group:
            cancelled, rest = group.split(trio.Cancelled)
            if rest is not None:
                log.warning("web.connection_failed", error=repr(rest.exceptions[0]))
            if cancelled is not None:
                raise cancelled from None


def install() -> None:
    """Make hypercorn use the guarded class. Again is harmless."""
    setattr(hypercorn_run, "TCPServer", GuardedTCPServer)  # noqa: B010 - not an exported name
