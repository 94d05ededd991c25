"""What a thing was before it is changed: a GET of it, asked by ourselves for the caller."""

from typing import Any

import msgspec

BODY_BYTES_MAX = 256 << 10
"""Of an answer that is looked into."""
BEFORE = "before"
"""In the state of a connection: what there was."""
_ASKED_WITH = (b"host", b"authorization", b"x-api-key")


class Answer:
    """An answer that is kept until it is whole; of a long one only that there is one."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.status = 0
        self.body = b""
        self.is_whole = False

    def take(self, message: Any) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            self.is_whole = not message.get("more_body", False)

    async def collect(self, message: Any) -> None:
        self.take(message)

    def document(self) -> dict[str, Any]:
        """Return the JSON object that it is; empty: it is none."""
        if not 0 < len(self.body) <= BODY_BYTES_MAX:
            return {}
        try:
            document = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


async def looked_at(scope: Any) -> dict[str, Any]:
    """Return what a request is about, as it is now: the thing of its path, or above its order."""
    path: str = scope["path"].rstrip("/")
    above = path.rpartition("/")[0]
    for each in (path, above) if scope["method"] in ("PUT", "DELETE") else (above,):
        answer = Answer()
        headers = [header for header in scope["headers"] if header[0] in _ASKED_WITH]
        asked = {
            **scope, "method": "GET", "path": each, "raw_path": each.encode(), "headers": headers,
            "query_string": b"", "state": {},
        }  # fmt: skip
        await scope["litestar_app"](asked, _nothing, answer.collect)
        if answer.status == 200 and (document := answer.document()):
            return document
    return {}


async def _nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}
