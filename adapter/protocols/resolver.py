"""Host names to addresses (port `Resolver`)."""

import socket

import trio

from adapter.errors import UnavailableError

LOOKUP_S = 5.0


async def resolve(host: str, /) -> frozenset[str]:
    """See `Resolver`."""
    try:
        with trio.fail_after(LOOKUP_S):
            found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, trio.TooSlowError) as error:
        raise UnavailableError(getattr(error, "strerror", None) or "timeout") from error
    return frozenset(str(address[0]) for _, _, _, _, address in found)
