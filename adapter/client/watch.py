"""`watch`: tails the live events of a running adapter."""

import sys
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import trio
from rich.console import Console
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    open_websocket_url,
)

from adapter.client.api import Access, credentials

FRAME_BYTES_MAX = 64 << 20
"""A greeting carries the whole snapshot."""


async def follow_events(
    url: str,
    handle: Callable[[dict[str, Any]], None],
    topics: str = "",
    since: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Hand every message of the event stream to `handle`, the greeting first, until it ends.

    Raises:
        OSError, HandshakeError: The adapter cannot be reached.
    """
    parts = urlsplit(url)
    query = {"topics": topics} if topics else {}
    if since is not None:
        query["since"] = str(since)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    address = f"{scheme}://{parts.netloc}/api/events?{urlencode(query)}"
    extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    async with open_websocket_url(
        address, extra_headers=extra, max_message_size=FRAME_BYTES_MAX
    ) as socket:
        while True:
            try:
                frame = await socket.get_message()
            except ConnectionClosed:
                return
            for message in msgspec.json.decode(frame):
                handle(message)


def watch_events(access: Access, topics: str, since: int | None, *, as_json: bool) -> int:
    """Print events until the adapter stops; return the exit code."""
    console = Console()

    def show(message: dict[str, Any]) -> None:
        if as_json:
            sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
            sys.stdout.flush()
        else:
            console.print(_line(message), highlight=False, soft_wrap=True, markup=False)

    try:
        trio.run(follow_events, access.url, show, topics, since, credentials(access))
    except ConnectionRejected as error:
        sys.stderr.write(f"{access.url}: refused (HTTP status {error.status_code})\n")
        return 1
    except (OSError, HandshakeError):
        sys.stderr.write(f"{access.url}: no adapter answers there\n")
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
