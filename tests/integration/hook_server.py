"""A receiver of webhooks that checks signatures by the specification's words, and has moods."""

import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from http_lives import HttpLives

SECRET = "whsec_" + base64.b64encode(b"a secret of the hook server").decode()


class HookServer(HttpLives):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(_Handler)
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
        return f"{super().url}/hook"

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

    def let_go(self) -> None:
        self.hangs.set()


class _Handler(BaseHTTPRequestHandler):
    server_side: HookServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status = self.server_side.take(self.headers, body)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
