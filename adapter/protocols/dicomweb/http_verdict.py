"""What the status of an answer to STOW-RS means for the instances (PS3.18 10.5.3.1, RFC 9110)."""

from adapter.domain.dimse_ports import SendResult
from adapter.protocols.dicomweb.store_answer import unexplained

LISTING = frozenset({200, 202, 409})
"""All stored, some failed, all failed: the body says which."""
UNAVAILABLE = frozenset({408, 425, 429, 502, 503, 504, 507})
"""The service takes nothing now; 502 and 504 are a gateway's words for that."""
_OF_ALL = {
    401: "does not take our credentials",
    403: "does not let us store",
    404: "has no store service there: check url",
    405: "has no store service there: check url",
    406: "does not answer in application/dicom+json",
    407: "is behind a proxy that wants credentials",
    410: "has no store service there: check url",
}
"""Whatever is sent; an operator has to change something."""
_OF_ONE = {
    400: "cannot understand the request",
    411: "wants to know the length, and does not see it",
    413: "does not take a request of this size",
    415: "does not take this media type, or transfer syntax",
    422: "cannot process the instance",
}


def unavailable_words(status: int) -> str:
    """Say that the service takes nothing now."""
    return f"the service is not available ({status})"


def refusal(status: int) -> tuple[SendResult, bool]:
    """Return the result for instances that were refused together, and whether each is to be tried.

    What may be the fault of one of them is told from the others by sending it alone.
    """
    if 300 <= status < 400:
        words = "answers with a redirect, which is not followed: url must be where it leads to"
        return _held(words, status), False
    if status in _OF_ALL:
        return _held(_OF_ALL[status], status), False
    if 400 <= status < 500:
        return _held(_OF_ONE.get(status, "refuses the request"), status), True
    return unexplained(f"the service failed ({status})"), True


def _held(words: str, status: int) -> SendResult:
    return SendResult(status=None, permanent=True, error=f"the service {words} ({status})")
