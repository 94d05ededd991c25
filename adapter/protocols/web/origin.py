"""Which web pages may use this API: those that this adapter has served."""

from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler

Connection = ASGIConnection[Any, Any, Any, Any]


def is_ours(connection: Connection) -> bool:
    """Return whether no foreign page made this request; programs send no Origin."""
    origin = connection.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == connection.headers.get("host")


def ours_only(connection: Connection, _: BaseRouteHandler) -> None:
    """Refuse what changes something and comes from a foreign page.

    Raises:
        PermissionDeniedException: It does.
    """
    if not is_ours(connection):
        raise PermissionDeniedException("origin is not allowed")
