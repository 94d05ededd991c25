"""What a peer did instead of accepting an association, as `PeerRefusalError`."""

import os
import socket
from errno import EHOSTUNREACH, ENETUNREACH, errorcode

import trio

from adapter.domain.refusals import Cause, abort_words, rejection_words
from adapter.errors import PeerRefusalError
from adapter.protocols.dimse.trio_connection import TlsHandshakeError


def unconnected(error: BaseException) -> PeerRefusalError:
    """Return why there is no TCP or TLS connection; of several addresses, why not to the last."""
    if isinstance(error, TlsHandshakeError):
        return PeerRefusalError(f"no connection: {error}", Cause.TLS)
    while isinstance(error.__cause__, OSError | BaseExceptionGroup):
        error = error.__cause__
    if isinstance(error, BaseExceptionGroup):
        return unconnected(error.exceptions[-1])
    text = os_reason(error)
    match error:
        case socket.gaierror():
            cause = Cause.NAME_UNKNOWN
        case ConnectionRefusedError():
            cause = Cause.CONNECTION_REFUSED
        case trio.TooSlowError() | TimeoutError():
            cause, text = Cause.CONNECTION_TIMEOUT, "timeout"
        case OSError(errno=number) if number in (EHOSTUNREACH, ENETUNREACH):
            cause = Cause.UNREACHABLE
        case _:
            cause = Cause.CONNECTION_FAILED
    return PeerRefusalError(f"no connection: {text}", cause)


def unassociated(cause: Cause, why: str) -> PeerRefusalError:
    """Return the error for a connection on which no proper answer came."""
    return PeerRefusalError(f"no association: {why}", cause)


def rejected(encoded: bytes) -> PeerRefusalError:
    """Return the error for a whole A-ASSOCIATE-RJ."""
    result, source, reason = encoded[7:10]
    words = rejection_words(result, source, reason)
    return PeerRefusalError(words, Cause.REJECTED, (result, source, reason))


def aborted(source: int, reason: int) -> PeerRefusalError:
    """Return the error for A-ABORT in answer to A-ASSOCIATE-RQ."""
    words = f"no association: {abort_words(source, reason)}"
    return PeerRefusalError(words, Cause.ABORTED, (source, reason))


def os_reason(error: BaseException) -> str:
    """Return what the system says, without addresses and in one line."""
    if isinstance(error, OSError) and error.errno and error.errno in errorcode:
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
