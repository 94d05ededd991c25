"""`health`: what a service manager or a container runtime asks again and again; starts fast."""

import http.client
import ssl
import sys
from contextlib import closing
from typing import Literal
from urllib.parse import urlsplit

from adapter.client.trust import untrusted

TIMEOUT_S = 8.0
"""Below the deadline of the HEALTHCHECK in deploy/container, so that the reason is seen there."""
BODY_BYTES_MAX = 1024
Question = Literal["live", "ready"]


def ask_health(url: str, question: Question, certificate: str = "") -> int:
    """Print what the adapter at url answers; return 0 if it is live or ready, else 1.

    Args:
        url: Its address.
        question: What it is asked.
        certificate: The file of the certificate it has, whatever name that is for; empty: it has
            one that is trusted.
    """
    try:
        context = _context(certificate) if url.lower().startswith("https:") else None
    except OSError as error:
        sys.stderr.write(f"api.tls.certificate: {certificate}: {error.strerror or error}\n")
        return 1
    try:
        parts = urlsplit(url)
        with closing(_connection(parts.hostname or "", parts.port, context)) as connection:
            connection.request("GET", f"{parts.path.rstrip('/')}/health/{question}")
            response = connection.getresponse()
            text = response.read(BODY_BYTES_MAX).decode("ascii", "replace")
    except ssl.SSLCertVerificationError as error:
        other = f"its certificate: it is not that of {certificate}: {error.verify_message}"
        sys.stderr.write(f"{url}: {other if certificate else untrusted(error)}\n")
        return 1
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"{url}: no adapter answers there: {error}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0 if response.status == http.client.OK else 1


def _context(certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate or None)
    if certificate:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.check_hostname = False
    return context


def _connection(
    host: str, port: int | None, context: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    if context is None:
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
