"""`watch`: tails the live events of a running adapter, through its restarts.

Rules: a plain request goes before each WebSocket, for a handshake cannot say why it is refused and
waits long for a peer whose certificate is not trusted. The first connection has to come about; one
that is lost is tried again for ever, unless the adapter says no. It goes on behind the last event
that was seen, or with a snapshot if the adapter no longer knows that number (docs/events.md).
Silence is no proof of a connection: after some of it the adapter has to answer a ping.
"""

import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import msgspec
import trio
from msgspec import Struct
from rich.console import Console
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)

from adapter.client.api import (
    TIMEOUT_S,
    Access,
    ApiError,
    UnansweredError,
    address,
    call,
    credentials,
)

FRAME_BYTES_MAX = 64 << 20
"""A greeting carries the whole snapshot."""
POLICY_VIOLATION = 1008
"""RFC 6455 7.4.1; the reason says what is wrong."""
SILENCE_S = 15.0
"""Then the adapter is asked whether it is still there,"""
PONG_S = 10.0
"""and has so long to answer."""
FRAMES_MAX = 64
"""Frames that may come before the answer: it is one of them, so they have to be taken in."""
CLOSE_S = 2.0
"""For the peer's close frame."""
PAUSE_S = 0.5
"""Doubled with each failure."""
PAUSE_MAX_S = 10.0
Handle = Callable[[dict[str, Any]], None]


class Place(Struct):
    """Up to where the stream was seen, and what is wanted of it."""

    topics: str = ""
    since: int | None = None
    epoch: str = ""

    @property
    def query(self) -> dict[str, str]:
        """Of the address that goes on from here."""
        wanted = {"topics": self.topics, "epoch": self.epoch}
        if self.since is not None:
            wanted["since"] = str(self.since)
        return {name: value for name, value in wanted.items() if value}

    def take(self, message: dict[str, Any]) -> None:
        """Go on to behind a message."""
        match message["type"]:
            case "hello":
                self.epoch = message["epoch"]
                if "snapshot" in message:  # without one, what was missed follows
                    self.since = message["seq"]
            case "gap":
                self.since = message["to"]
            case _:
                self.since = message["seq"]


async def follow_events(access: Access, handle: Handle, place: Place) -> None:
    """Hand every message of the event stream to `handle`, the greeting first, until it ends.

    Raises:
        UnansweredError: The adapter cannot be reached, or the connection is lost.
        ApiError: It says no.
    """
    call(access, "GET", "/api/caller")
    parts = address(access)
    scheme = {"http": "ws", "https": "wss"}[parts.scheme]
    path = f"{parts.path.rstrip('/')}/api/events?{urlencode(place.query)}"
    headers = [(name.encode(), value.encode()) for name, value in credentials(access).items()]
    lost = UnansweredError(f"{access.url}: the connection was lost")
    try:
        async with open_websocket_url(
            f"{scheme}://{parts.netloc}{path}",
            extra_headers=headers,
            max_message_size=FRAME_BYTES_MAX,
            message_queue_size=FRAMES_MAX,
            connect_timeout=TIMEOUT_S,
            disconnect_timeout=CLOSE_S,
        ) as socket:
            while True:
                for message in msgspec.json.decode(await _next_frame(socket)):
                    handle(message)
                    place.take(message)
    except ConnectionClosed as closed:
        if closed.reason is not None and closed.reason.code == POLICY_VIOLATION:
            raise ApiError(str(closed.reason.reason)) from None
        raise lost from None
    except ConnectionRejected as error:
        kind = UnansweredError if error.status_code >= 500 else ApiError
        said = f"no WebSocket comes through (HTTP status {error.status_code})"
        raise kind(f"{access.url}: {said}") from None
    except (HandshakeError, trio.TooSlowError):
        raise lost from None


async def _next_frame(socket: WebSocketConnection) -> str | bytes:
    """Return the next frame, however long it takes.

    Raises:
        TooSlowError: There is nobody any more.
    """
    while True:
        with trio.move_on_after(SILENCE_S):
            return await socket.get_message()
        with trio.fail_after(PONG_S):
            await socket.ping()


class Watch:
    """Follows the stream again and again; says on stderr when it is lost and when it is back."""

    def __init__(self, access: Access, show: Handle, place: Place) -> None:
        self._access = access
        self._show = show
        self._place = place
        self._began = self._lost = False
        self._pause_s = PAUSE_S

    async def run(self) -> None:
        """Watch until the adapter says no.

        Raises:
            ApiError: It does; or nobody answers the first time.
        """
        while True:
            try:
                await follow_events(self._access, self._take, self._place)
            except UnansweredError as error:
                if not self._began:
                    raise
                if not self._lost:
                    sys.stderr.write(f"{error}; trying again\n")
                self._lost = True
            await trio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)

    def _take(self, message: dict[str, Any]) -> None:
        if self._lost:
            missed = "; what happened meanwhile is not told" if "snapshot" in message else ""
            sys.stderr.write(f"{self._access.url}: connected again{missed}\n")
        self._began, self._lost, self._pause_s = True, False, PAUSE_S
        self._show(message)


def watch_events(access: Access, topics: str, since: int | None, *, as_json: bool) -> int:
    """Print events until Ctrl+C, or until the adapter says no; return the exit code."""
    console = Console()

    def show(message: dict[str, Any]) -> None:
        if as_json:
            sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
            sys.stdout.flush()
        else:
            console.print(_line(message), highlight=False, soft_wrap=True, markup=False)

    try:
        trio.run(Watch(access, show, Place(topics, since)).run)
    except ApiError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _line(message: dict[str, Any]) -> str:
    if message["type"] in ("hello", "gap"):
        return msgspec.json.encode({k: v for k, v in message.items() if k != "snapshot"}).decode()
    ids = [
        f"{key}={message[key]}"
        for key in ("aeTitle", "association", "group", "job", "export", "destination")
        if key in message
    ]
    data = [f"{key}={value}" for key, value in message.get("data", {}).items() if value != ""]
    return f"{message['time']} {message['type']:<22} {' '.join(ids + data)}"
