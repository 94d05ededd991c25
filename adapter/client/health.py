"""`health`: what a service manager or a container runtime asks again and again; starts fast."""

import http.client
import sys
from typing import Literal
from urllib.parse import urlsplit

TIMEOUT_S = 8.0
"""Below the deadline of the HEALTHCHECK in deploy/container, so that the reason is seen there."""
BODY_BYTES_MAX = 1024
Question = Literal["live", "ready"]


def ask_health(url: str, question: Question) -> int:
    """Print what the adapter at url answers; return 0 if it is live or ready, else 1."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    try:
        connection = connect(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", f"{parts.path.rstrip('/')}/health/{question}")
            response = connection.getresponse()
            text = response.read(BODY_BYTES_MAX).decode("ascii", "replace")
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"{url}: no adapter answers there: {error}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0 if response.status == http.client.OK else 1
