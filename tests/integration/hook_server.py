"""A receiver of webhooks that checks signatures by the specification's words, and has moods."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dicom_peers import free_port

SECRET = "whsec_" + base64.b64encode(b"a secret of the hook server").decode()


class HookServer:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.port = free_port()
        self.deliveries: list[tuple[str, list[dict[str, Any]]]] = []
        """Id and messages of those that were signed and taken."""
        self.refused: list[str] = []
        """Ids of those that were not taken."""
        self.unsigned: list[str] = []
        self.statuses: list[int] = []
        """Of the next answers; then 200."""
        self.hangs = threading.Event()
        self.hangs.set()
        """Cleared: it takes requests and says nothing."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def messages(self) -> list[dict[str, Any]]:
        return [message for _, messages in self.deliveries for message in messages]

    def kinds(self) -> set[str]:
        return {message["type"] for message in self.messages()}

    def take(self, headers: Any, body: bytes) -> int:
        """Return the status of the answer."""
        self.hangs.wait(60)
        identity, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        signed = f"{identity}.{timestamp}.".encode() + body
        digest = hmac.digest(b"a secret of the hook server", signed, hashlib.sha256)
        if headers["webhook-signature"] != f"v1,{base64.b64encode(digest).decode()}":
            self.unsigned.append(identity)
        if self.statuses:
            self.refused.append(identity)
            return self.statuses.pop(0)
        self.deliveries.append((identity, json.loads(body)))
        return 200

    @contextmanager
    def running(self) -> Iterator["HookServer"]:
        """Answer on its port."""
        server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.hangs.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = hook.take(self.headers, body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
