"""The REST API of a running adapter, as a client sees it."""

import http.client
from typing import Any
from urllib.parse import urlsplit

import msgspec

TIMEOUT_S = 30.0
BODY_BYTES_MAX = 64 << 20


class ApiError(Exception):
    """The adapter said no, or nobody said anything; the text is one line for a person."""


def call(url: str, method: str, path: str, document: Any = None) -> Any:
    """Return the decoded answer of the adapter at url; document is what it is sent as JSON.

    Raises:
        ApiError: There is none, or it is a problem (RFC 9457).
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ApiError(f"{url!r} is no address such as http://127.0.0.1:5000")
    secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    try:
        connection = connect(parts.hostname, parts.port, timeout=TIMEOUT_S)
        try:
            body, headers = None, {}
            if document is not None:
                body, headers = msgspec.json.encode(document), {"Content-Type": "application/json"}
            connection.request(method, parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            status, body = response.status, response.read(BODY_BYTES_MAX)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        raise ApiError(f"{url}: no adapter answers there") from None
    try:
        answer = msgspec.json.decode(body)
        if status >= 400:
            raise ApiError(str(answer["detail"]))
    except (msgspec.DecodeError, KeyError, TypeError):
        raise ApiError(f"{url}: what answers there is no adapter (HTTP status {status})") from None
    return answer
