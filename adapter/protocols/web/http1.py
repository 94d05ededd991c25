"""HTTP/1.1 and WebSocket, and nothing else, of what hypercorn 0.18 speaks.

It changes to HTTP/2 whenever a peer says so, also where only HTTP/1.1 was negotiated; nobody needs
that here, and each of its faults would be one of ours. And it inflates whatever a WebSocket peer
has deflated before it looks at the size; so deflation is not agreed on (it also costs more than it
saves: events are small and share frames).
"""

import h11
from hypercorn import protocol as hypercorn_protocol
from hypercorn.protocol.h11 import H11Protocol

HTTP_VERSION_NOT_SUPPORTED = 505
REQUEST_TIMEOUT = 408
_EXTENSIONS = b"sec-websocket-extensions"


class OtherProtocolError(Exception):
    """The peer speaks another one."""


class Http1Protocol(H11Protocol):
    """Requests of one connection."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Refuse HTTP/2 by prior knowledge; an upgrade to it is ignored (RFC 9110 7.8)."""
        if event.http_version not in (b"1.0", b"1.1"):
            await self._send_error_response(HTTP_VERSION_NOT_SUPPORTED)
            raise OtherProtocolError(f"HTTP/{event.http_version.decode('ascii', 'replace')}")

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(name, value) for name, value in request.headers if name != _EXTENSIONS]
        plain = h11.Request(
            method=request.method,
            target=request.target,
            headers=headers,
            http_version=request.http_version,
        )
        await super()._create_stream(plain)

    @property
    def phase(self) -> tuple[str, int]:
        """What the peer is at, and with which of its requests."""
        connection = self.connection
        if not isinstance(connection, h11.Connection):
            return "websocket", 0
        if connection.their_state is h11.SEND_BODY:
            return "body", self.keep_alive_requests
        if connection.their_state is h11.IDLE and connection.trailing_data[0]:
            return "header", self.keep_alive_requests
        return "waiting", self.keep_alive_requests

    async def tell_too_slow(self) -> None:
        """Answer 408, if there is anything to answer."""
        if self.connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._send_error_response(REQUEST_TIMEOUT)


def install() -> None:
    """Make hypercorn use this class. Again is harmless."""
    setattr(hypercorn_protocol, "H11Protocol", Http1Protocol)  # noqa: B010 - not an exported name
