"""A stream of events does not outlast the key it was opened with (docs/security.md)."""

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio
from harness import Adapter
from health import MakeAdapter, unharmed
from test_api_keys import Keyed, offline
from test_event_stream import streaming
from test_events import POLICY_VIOLATION, in_thread
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Keyed:
    adapter = make_shared_adapter({"api": {"auth": "api-key"}}, start=False)
    adapter.file.write_text(json.dumps(adapter.settings))
    token = offline(adapter, "root", "administrator").stdout.strip()
    return Keyed(adapter.start(), {"administrator": token})


@pytest.fixture
def keyed(shared: Keyed) -> Iterator[Keyed]:
    with unharmed(shared.adapter):
        yield shared


def make(keyed: Keyed, name: str) -> tuple[str, str]:
    """Return id and token of a new key of a viewer."""
    made = keyed.ask("POST", "/api/keys", "administrator", {"name": name, "role": "viewer"})
    return made["id"], made["key"]


def revoke(keyed: Keyed, key_id: str) -> None:
    keyed.ask("DELETE", f"/api/keys/{key_id}", "administrator")


def events_url(adapter: Adapter) -> str:
    return f"ws://127.0.0.1:{adapter.api_port}/api/events"


def bearer(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"Authorization", f"Bearer {token}".encode())]


async def end(connection: WebSocketConnection) -> tuple[int, str | None]:
    """Read until the adapter closes the connection; return its code and reason."""
    with trio.fail_after(30), suppress(ConnectionClosed):
        while True:
            await connection.get_message()
    await connection._stream.aclose()  # trio-websocket leaves it to the garbage
    assert connection.closed is not None
    return connection.closed.code, connection.closed.reason


async def test_revoked_key_ends_its_websocket_with_a_reason(keyed: Keyed) -> None:
    key_id, token = make(keyed, "of a websocket")
    url = events_url(keyed.adapter)
    async with open_websocket_url(url, extra_headers=bearer(token)) as connection:
        await connection.get_message()
        await in_thread(revoke, keyed, key_id)
        assert await end(connection) == (POLICY_VIOLATION, "the key was revoked")


def test_revoked_key_ends_its_server_sent_events(keyed: Keyed) -> None:
    key_id, token = make(keyed, "of server-sent events")
    with streaming(keyed.adapter, Authorization=f"Bearer {token}") as stream:
        stream.until("hello")
        revoke(keyed, key_id)
        rest = stream.response.read()
    assert rest.endswith(b"\n: the key was revoked\n\n")


async def test_streams_of_other_keys_go_on(keyed: Keyed) -> None:
    key_id, token = make(keyed, "revoked")
    mine = bearer(keyed.tokens["administrator"])
    url = events_url(keyed.adapter)
    async with open_websocket_url(url, extra_headers=mine) as going_on:
        async with open_websocket_url(url, extra_headers=bearer(token)) as ending:
            await in_thread(revoke, keyed, key_id)
            await end(ending)
        other, _ = await in_thread(make, keyed, "made afterwards")
        with trio.fail_after(30):
            while other not in await going_on.get_message():
                pass
