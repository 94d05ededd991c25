"""Requests about AE Titles, sources and destinations, as an operator makes them."""

import json
from typing import Any
from urllib.parse import quote

from harness import Adapter

AE_TITLES = "/api/config/claraaetitle"
SOURCES = "/api/config/sourceaetitle"
DESTINATIONS = "/api/config/destinationaetitle"
Answer = tuple[int, Any, dict[str, str]]


def call(
    adapter: Adapter,
    method: str,
    path: str,
    document: object = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Return status, decoded body and headers."""
    body = None if document is None else json.dumps(document).encode()
    kind = {} if document is None else {"Content-Type": "application/json"}
    status, answered, raw = adapter.request(method, path, kind | (headers or {}), body)
    return status, json.loads(raw) if raw else None, dict(answered)


def make(adapter: Adapter, route: str, document: dict[str, Any]) -> dict[str, Any]:
    """Make one, which must succeed; return it."""
    status, made, _ = call(adapter, "POST", route, document)
    assert status == 201, made
    return dict(made)


def names(adapter: Adapter, route: str) -> list[str]:
    """Return the names of all."""
    return [row["name"] for row in call(adapter, "GET", route)[1]]


def of(route: str, name: str) -> str:
    """Return the route of one."""
    return f"{route}/{quote(name, safe='')}"
