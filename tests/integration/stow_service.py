"""A STOW-RS service that does what a test wrote down; real, on loopback, on Trio."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import trio

from adapter.domain.entities import Destination

ANSWER_S = 20.0
"""For what is answered; who waits for an answer that does not come has less patience."""
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


def answer(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """Return an HTTP response."""
    size = len(body) if length is None else length
    return (
        "\r\n".join([f"HTTP/1.1 {status} X", f"Content-Length: {size}", *headers, "", ""]).encode()
        + body
    )


def listing(stored: Sequence[str] = (), failed: Mapping[str, int] | None = None) -> bytes:
    """Return the body of an answer that lists these instances."""
    return json.dumps({
        "00081199": {"vr": "SQ", "Value": [{"00081155": {"Value": [uid]}} for uid in stored]},
        "00081198": {"vr": "SQ", "Value": [
            {"00081155": {"Value": [uid]}, "00081197": {"Value": [reason]}}
            for uid, reason in (failed or {}).items()
        ]},
    }).encode()  # fmt: skip


@dataclass
class Request:
    """A request whose head was read."""

    line: str
    headers: dict[str, str]
    stream: trio.abc.Stream
    buffer: bytes = b""
    body_bytes: int = 0

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", 0))

    async def chunks(self, bytes_max: int = 1 << 62) -> AsyncIterator[bytes]:
        """Yield the body as it comes, up to so much of it."""
        while self.body_bytes < min(self.length, bytes_max):
            chunk = self.buffer or bytes(await self.stream.receive_some(1 << 20))
            self.buffer = b""
            if not chunk:
                return
            self.body_bytes += len(chunk)
            yield chunk

    async def body(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def parts(self) -> list[bytes]:
        """Return the files of a multipart/related body."""
        boundary = self.headers["content-type"].partition("boundary=")[2].encode()
        body = await self.body()
        if len(body) < self.length:
            raise trio.BrokenResourceError
        first, *parts, last = (b"\r\n" + body).split(b"\r\n--" + boundary)
        assert (first, last) == (b"", b"--\r\n")
        head = b"\r\nContent-Type: application/dicom\r\n\r\n"
        assert all(part.startswith(head) for part in parts)
        return [part.removeprefix(head) for part in parts]


Handler = Callable[[Request], Awaitable[bytes | None]]
"""Returns an answer; None: the connection is closed."""


async def _fine(request: Request) -> bytes:
    return answer(204)


@dataclass
class StowService:
    """Answers OPTIONS and POST; keeps the heads of both."""

    post: Handler
    options: Handler = _fine
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.line.startswith("POST")]

    def destination(self, **changes: object) -> Destination:
        """Return this service as a destination."""
        plain = {"url": f"http://127.0.0.1:{self.port}/dicom-web", "answer_s": ANSWER_S}
        return Destination(name="web", type="dicomweb", **{**plain, **changes})

    async def serve(self, stream: trio.abc.Stream) -> None:
        buffer = b""
        with suppress(*GONE):
            while True:
                while b"\r\n\r\n" not in buffer:
                    chunk = await stream.receive_some()
                    if not chunk:
                        return
                    buffer += chunk
                head, _, rest = buffer.partition(b"\r\n\r\n")
                first, *lines = head.decode().split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
                request = Request(first.removesuffix(" HTTP/1.1"), headers, stream, rest)
                self.requests.append(request)
                handler = self.options if first.startswith("OPTIONS") else self.post
                reply = await handler(request)
                if reply is None:
                    await trio.aclose_forcefully(stream)
                    return
                await stream.send_all(reply)
                buffer = b""


@asynccontextmanager
async def stow_service(
    post: Handler, options: Handler = _fine, tls: ssl.SSLContext | None = None
) -> AsyncIterator[StowService]:
    """Run a service until the block ends."""
    service = StowService(post, options)
    async with trio.open_nursery() as nursery:
        serve = (
            partial(trio.serve_tcp, service.serve, 0, host="127.0.0.1")
            if tls is None
            else partial(trio.serve_ssl_over_tcp, service.serve, 0, tls, host="127.0.0.1")
        )
        (listener,) = await nursery.start(serve)
        inner = listener.transport_listener if tls else listener
        service.port = inner.socket.getsockname()[1]
        yield service
        nursery.cancel_scope.cancel()
