"""What the integration tests ask of an adapter besides their own question: that it is unharmed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
from harness import Adapter
from wire import echo_works

MakeAdapter = Callable[..., Adapter]
"""The fixtures `make_adapter` and `make_shared_adapter`."""


def required() -> bool:
    """Return whether a missing peer is a failure."""
    return os.environ.get("REQUIRE_PEERS") == "1"


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where everything has to be there."""
    if required():
        pytest.fail(f"{what} (REQUIRE_PEERS=1)", pytrace=False)
    pytest.skip(what)


def crashes(adapter: Adapter) -> list[str]:
    """Return the log lines that no peer may cause."""
    signs = ('"actor.crashed"', '"process.failed"', '"web.handler_failed"', "Traceback")
    return [line for line in adapter.log if any(sign in line for sign in signs)]


def actors(adapter: Adapter) -> dict[str, dict[str, Any]]:
    """Return the nodes of the tree of supervision by name."""
    left, found = [adapter.get("/api/actors")], dict[str, dict[str, Any]]()
    while left:
        node = left.pop()
        found[node["name"]] = node
        left += node["children"]
    return found


@contextmanager
def unharmed(adapter: Adapter, **request: Any) -> Iterator[Adapter]:
    """After the block the adapter lives, answers a C-ECHO, and nothing in it has crashed.

    `request`: what the A-ASSOCIATE-RQ of that C-ECHO has to say to be accepted.
    """
    before = crashes(adapter)
    yield adapter
    assert adapter.alive()
    assert crashes(adapter) == before
    assert echo_works(adapter.dicom_port, **request)
