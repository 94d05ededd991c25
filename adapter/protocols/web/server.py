"""The HTTP server as an actor of our nursery: hypercorn behind the connection guard."""

import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from hypercorn.trio import serve
from litestar.types import ASGIApp

from adapter.errors import PortUnavailableError
from adapter.protocols.web import guard
from adapter.protocols.web.guard import GuardedConfig
from adapter.protocols.web.places import Places

BACKLOG = 256
GRACEFUL_S = 1.0
"""For requests in hand at a stop. Short: hypercorn keeps the TCP connection of a WebSocket for so
long after its close frame, and requests of this API take milliseconds."""
KEEP_ALIVE_S = 60.0
"""From a connection to its first request, and from an answer to the next request."""
HANDSHAKE_S = 10.0
PING_S = 20.0
USER_TIMEOUT_MS = 60_000
"""Unacknowledged data this old means that the peer is dead (TCP_USER_TIMEOUT, RFC 5482)."""


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket for the server; port 0 takes a free one.

    Raises:
        PortUnavailableError: The address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise PortUnavailableError(f"{host} port {port}: {error.strerror}") from error
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    return sock


@dataclass(slots=True, kw_only=True)
class WebServer:
    """Serves the application until its stop is set.

    Consumes: HTTP requests. Produces: answers. Owns: the listening socket. Rebuilds from: nothing.
    Restart policy: essential.
    """

    app: ASGIApp
    sock: socket.socket
    stop: trio.Event
    places: Places
    tls_context: Callable[[], ssl.SSLContext] | None = None
    """Returns the one for a new connection; None: there is no TLS."""
    began: Callable[[], Awaitable[None]]
    """Called at the start, before anything is served."""
    name: str = "web"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        guard.install()
        await self.began()
        config = GuardedConfig()
        config.places = self.places
        config.tls_context = self.tls_context
        config.ssl_handshake_timeout = HANDSHAKE_S
        config.bind = [f"fd://{self.sock.dup().detach()}"]
        config.backlog = BACKLOG
        config.graceful_timeout = GRACEFUL_S
        config.keep_alive_timeout = KEEP_ALIVE_S
        config.h11_max_incomplete_size = 32 << 10
        config.websocket_max_message_size = 64 << 10
        config.websocket_ping_interval = PING_S
        config.include_server_header = False
        config.errorlog = None
        async with trio.open_nursery() as nursery:
            await nursery.start(self._serve, config)
            task_status.started()

    async def _serve(
        self,
        config: GuardedConfig,
        *,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        await serve(
            self.app,  # type: ignore[arg-type]
            config,
            shutdown_trigger=self.stop.wait,
            task_status=task_status,
            mode="asgi",
        )

    def close(self) -> None:
        """See `Actor.close`."""
        self.sock.close()
