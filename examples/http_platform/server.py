"""A reference platform for `platform.engine = "http"`: docs/platform-api.yaml in some 200 lines.

    python server.py --port 8080 --root jobs --pipelines pipelines.toml --key-file key

An ASGI application on hypercorn. It knows nothing of the adapter but that contract.
"""

import argparse
import hmac
import json
import re
import signal
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from jobs import CHUNK, Jobs, Refusal

JSON_BYTES_MAX = 1 << 20
ROUTES = {
    ("PUT", "/jobs/{job}"): "create",
    ("GET", "/jobs/{job}"): "status",
    ("PUT", "/jobs/{job}/metadata"): "metadata",
    ("GET", "/jobs/{job}/input"): "inputs",
    ("PUT", "/jobs/{job}/input/{path}"): "upload",
    ("POST", "/jobs/{job}/start"): "start",
    ("POST", "/jobs/{job}/cancel"): "cancel",
    ("GET", "/jobs/{job}/output"): "results",
    ("GET", "/jobs/{job}/output/{path}"): "download",
}
PATTERNS = [
    (method, re.compile(re.sub(r"{path}", "(.+)", re.sub(r"{job}", "([^/]+)", route))), name)
    for (method, route), name in ROUTES.items()
]


class Disconnected(Exception):
    """The client has gone in the middle of its request."""


class Request:
    """One request, and its answer."""

    def __init__(self, scope: dict, receive: Callable, send: Callable) -> None:
        self.method = scope["method"]
        self.path = scope["raw_path"].decode("ascii", "replace")
        self.headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self._receive = receive
        self._send = send

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            yield message.get("body", b"")
            more = message.get("more_body", False)

    async def json(self) -> dict:
        """Return the body, a JSON object."""
        body = b""
        async for chunk in self.body():
            body += chunk
            if len(body) > JSON_BYTES_MAX:
                raise Refusal(413, "that is too long")
        try:
            value = json.loads(body)
        except ValueError as error:
            raise Refusal(400, f"not JSON: {error}") from error
        if not isinstance(value, dict):
            raise Refusal(400, "not a JSON object")
        return value

    async def answer(self, status: int, value: dict | None, kind: str = "application/json") -> None:
        """Send an answer as a whole."""
        body = b"" if value is None else json.dumps(value).encode()
        await self._head(status, kind, len(body))
        await self._send({"type": "http.response.body", "body": body})

    async def answer_file(self, file: Path) -> None:
        """Send a file."""
        with open(file, "rb") as content:
            await self._head(200, "application/octet-stream", file.stat().st_size)
            while chunk := await trio.to_thread.run_sync(content.read, CHUNK):
                message = {"type": "http.response.body", "body": chunk, "more_body": True}
                await self._send(message)
        await self._send({"type": "http.response.body", "body": b""})

    async def _head(self, status: int, kind: str, length: int) -> None:
        headers = [(b"content-length", str(length).encode())]
        if status != 204:
            headers.append((b"content-type", kind.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


class Platform:
    """Answers requests about jobs."""

    def __init__(self, jobs: Jobs, key: str, nursery: trio.Nursery) -> None:
        self._jobs = jobs
        self._key = key
        self._nursery = nursery

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Serve ASGI."""
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        request = Request(scope, receive, send)
        try:
            await self._serve(request)
        except Refusal as refusal:
            problem = {"status": refusal.status, "title": "Refused", "detail": refusal.detail}
            await request.answer(refusal.status, problem, "application/problem+json")
        except Disconnected:
            pass  # nobody listens any more

    async def _serve(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if self._key and not hmac.compare_digest(given.encode(), f"Bearer {self._key}".encode()):
            raise Refusal(401, "this key is not known here")
        for method, pattern, name in PATTERNS:
            found = pattern.fullmatch(request.path)
            if found and method == request.method:
                job, *rest = found.groups()
                parts = [unquote(part) for part in rest[0].split("/")] if rest else []
                handler: Callable[..., Awaitable[None]] = getattr(self, f"_{name}")
                return await handler(request, job, *([parts] if rest else []))
        raise Refusal(404, "there is nothing here")

    async def _create(self, request: Request, job: str) -> None:
        asked = await request.json()
        if not isinstance(asked.get("pipelineId"), str):
            raise Refusal(422, "pipelineId is missing")
        await request.answer(200, self._jobs.create(job, asked))

    async def _status(self, request: Request, job: str) -> None:
        await request.answer(200, self._jobs.status(job))

    async def _metadata(self, request: Request, job: str) -> None:
        self._jobs.metadata(job, await request.json())
        await request.answer(204, None)

    async def _inputs(self, request: Request, job: str) -> None:
        await request.answer(200, await trio.to_thread.run_sync(self._jobs.inputs, job))

    async def _upload(self, request: Request, job: str, parts: list[str]) -> None:
        await self._jobs.receive(job, parts, request.headers, request.body())
        await request.answer(204, None)

    async def _start(self, request: Request, job: str) -> None:
        await request.answer(200, self._jobs.start(job, self._nursery))

    async def _cancel(self, request: Request, job: str) -> None:
        await request.answer(200, self._jobs.cancel(job))

    async def _results(self, request: Request, job: str) -> None:
        await request.answer(200, self._jobs.results(job))

    async def _download(self, request: Request, job: str, parts: list[str]) -> None:
        await request.answer_file(self._jobs.result(job, parts))


async def main(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    pipelines = tomllib.loads(arguments.pipelines.read_text())["pipelines"]
    key = arguments.key_file.read_text().strip() if arguments.key_file else ""
    config = Config()
    config.bind = [f"{arguments.host}:{arguments.port}"]
    config.graceful_timeout = 2
    stop = trio.Event()

    async def stop_on_signal() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                stop.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_on_signal)
        jobs = Jobs(arguments.root, pipelines, arguments.at_once)
        jobs.resume(nursery)
        await serve(
            Platform(jobs, key, nursery), config, shutdown_trigger=partial(stop.wait), mode="asgi"
        )
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Reference platform of dicom-adapter")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--root", type=Path, default=Path("jobs"), help="folder for the jobs")
    parser.add_argument("--pipelines", type=Path, required=True, help="TOML: id = command")
    parser.add_argument("--key-file", type=Path, help="the API key; without it nobody is asked")
    parser.add_argument("--at-once", type=int, default=2, help="programs that run at once")
    trio.run(main, parser.parse_args())
