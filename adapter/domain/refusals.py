"""Why a peer does not take an association, in the Standard's words and with what to check.

Codes are those of A-ASSOCIATE-RJ (PS3.8 9.3.4), A-ABORT (PS3.8 9.3.8) and of presentation contexts
(PS3.8 9.3.3.2). They stay in the text: whoever reads it may know them by heart.
"""

from enum import StrEnum
from typing import NamedTuple


class Cause(StrEnum):
    """What kept a peer and us apart; for programs."""

    NAME_UNKNOWN = "name-unknown"
    CONNECTION_REFUSED = "connection-refused"
    CONNECTION_TIMEOUT = "connection-timeout"
    UNREACHABLE = "unreachable"
    CONNECTION_FAILED = "connection-failed"
    TLS = "tls"
    REJECTED = "rejected"
    ABORTED = "aborted"
    CLOSED = "closed"
    TIMEOUT = "timeout"
    NOT_DICOM = "not-dicom"
    CONTEXT_REFUSED = "context-refused"
    LOST = "lost"
    """The association ended before the answer to a message."""
    FOLDER = "folder"
    """A folder cannot be used."""
    HTTP = "http"
    """A web service gives no answer, or none of use."""


class Parties(NamedTuple):
    """Who called whom, where."""

    calling_ae_title: str
    called_ae_title: str
    host: str
    port: int


RESULTS = {1: "permanent", 2: "transient"}
SOURCES = {
    1: "service user",
    2: "service provider, ACSE",
    3: "service provider, presentation",
}
REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE Title not recognized",
    (1, 7): "called AE Title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""By source and reason of A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

ABORT_SOURCES = {0: "service user", 2: "service provider"}
ABORT_REASONS = {
    0: "reason not specified",
    1: "unrecognized PDU",
    2: "unexpected PDU",
    4: "unrecognized PDU parameter",
    5: "unexpected PDU parameter",
    6: "invalid PDU parameter value",
}
"""Of the service provider's A-ABORT; the service user's says nothing (PS3.8 Table 9-26)."""

CONTEXT_RESULTS = {
    1: "user rejection",
    2: "no reason given",
    3: "abstract syntax not supported",
    4: "transfer syntaxes not supported",
}
"""Of a presentation context in A-ASSOCIATE-AC (PS3.8 Table 9-18)."""

_RESERVED = "a reserved value"


def rejection_words(result: int, source: int, reason: int) -> str:
    """Spell out A-ASSOCIATE-RJ."""
    words = REASONS.get((source, reason), _RESERVED)
    by = SOURCES.get(source, _RESERVED)
    kind = RESULTS.get(result, _RESERVED)
    return f"association rejected: {words} ({kind}, by the {by}; {result}/{source}/{reason})"


def abort_words(source: int, reason: int) -> str:
    """Spell out A-ABORT."""
    by = ABORT_SOURCES.get(source, _RESERVED)
    words = f": {ABORT_REASONS.get(reason, _RESERVED)}" if source == 2 else ""
    return f"aborted by the peer's {by}{words} ({source}/{reason})"


def context_words(result: int) -> str:
    """Spell out the result of a presentation context; -1: it was not answered at all."""
    if result == -1:
        return "presentation context not answered"
    return f"presentation context refused: {CONTEXT_RESULTS.get(result, _RESERVED)} ({result})"


_ADVICE = {
    Cause.NAME_UNKNOWN: "check the spelling of {host!r}, and the name server of this machine",
    Cause.CONNECTION_REFUSED: "nothing listens on {host}:{port}: check the port, and that the "
    "program there runs",
    Cause.CONNECTION_TIMEOUT: "{host}:{port} does not answer: check the address, and the firewalls "
    "in between",
    Cause.UNREACHABLE: "there is no way to {host}: check the address and the network",
    Cause.CONNECTION_FAILED: "check address and port",
    Cause.TLS: "check that {host}:{port} expects TLS, and that each side trusts the other's "
    "certificate",
    Cause.ABORTED: "its own log says why",
    Cause.CLOSED: "it may expect TLS, know neither this machine nor {calling!r}, or not be DICOM",
    Cause.TIMEOUT: "it took the connection but does not answer: it may be overloaded, expect TLS, "
    "or not be DICOM",
    Cause.NOT_DICOM: "what answers on {host}:{port} is not plain DICOM: check the port, and "
    "whether it expects TLS",
    Cause.LOST: "its own log says why",
    Cause.FOLDER: "check that the folder is there, has room, and that this program may write in it",
    Cause.HTTP: "check its url, tls and authentication; its own log says why",
    Cause.CONTEXT_REFUSED: "{called!r} knows us but does not offer this service: check what is "
    "enabled there",
}
_TRY_LATER = "it is busy or at its limit of associations: try again later"
_REJECTION_ADVICE = {
    (1, 1): "its own log says why; most often it does not know the calling AE Title {calling!r}",
    (1, 2): "it does not offer the service that was asked for",
    (1, 3): "add our AE Title {calling!r}, with the address of this machine, to the peers "
    "that {called!r} knows; case matters",
    (1, 7): "check which AE Title is configured at {host}:{port}: {called!r} is not; case matters",
    (2, 1): "its own log says why",
    (2, 2): "it does not speak version 1 of the upper layer protocol",
    (3, 1): _TRY_LATER,
    (3, 2): _TRY_LATER,
}


def advice(cause: Cause, codes: tuple[int, ...], parties: Parties) -> str:
    """Return what to check, in one sentence without a full stop.

    Args:
        cause: What happened.
        codes: With REJECTED: result, source and reason of A-ASSOCIATE-RJ.
        parties: Who called whom.
    """
    if cause is Cause.REJECTED:
        result, source, reason = codes
        default = _TRY_LATER if result == 2 else "its own log says why"
        text = _REJECTION_ADVICE.get((source, reason), default)
    else:
        text = _ADVICE[cause]
    calling, called, host, port = parties
    return text.format(calling=calling, called=called, host=host, port=port)
