"""Keeps web pages of others out: a browser says from which page a request comes (RFC 6454)."""

from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler


def origin_is_ours(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Return whether a browser may connect from the page it shows; other programs always may."""
    origin = connection.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == connection.headers.get("host")


def only_our_pages(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard of every route that changes something.

    Raises:
        PermissionDeniedException: The request comes from a page of somebody else.
    """
    if not origin_is_ours(connection):
        raise PermissionDeniedException("origin is not allowed")
