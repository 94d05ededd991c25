"""The live event stream seen by an independent WebSocket client (interface, section 4)."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from harness import Adapter
from health import MakeAdapter
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url
from wire import Wire

SERVICE_RESTART, POLICY_VIOLATION = 1012, 1008


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    return make_adapter()


class Stream:
    """Messages of one subscription, in order."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection
        self.messages: list[dict[str, Any]] = []

    async def until(self, kind: str) -> dict[str, Any]:
        """Read until a message of this type has come; return it."""
        seen = 0
        with trio.fail_after(30):
            while True:
                for message in self.messages[seen:]:
                    if message["type"] == kind:
                        return message
                seen = len(self.messages)
                frame = msgspec.json.decode(await self.connection.get_message())
                assert isinstance(frame, list)
                self.messages += frame

    def numbers(self) -> list[int]:
        return [message["seq"] for message in self.messages if message["type"] != "hello"]


@asynccontextmanager
async def subscribed(adapter: Adapter, query: str = "") -> AsyncIterator[Stream]:
    url = f"ws://127.0.0.1:{adapter.api_port}/api/events{query}"
    async with open_websocket_url(url) as connection:
        try:
            yield Stream(connection)
        finally:  # trio-websocket leaves the socket to the garbage when the server closed first
            await connection.aclose()
            await connection._stream.aclose()


async def in_thread(call: Any, *args: Any) -> Any:
    return await trio.to_thread.run_sync(call, *args)


def store(adapter: Adapter, *uids: str) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for uid in uids:
            assert wire.store(uid) == ("response", 0)
        assert wire.release() == ("released",)


async def test_greeting_carries_epoch_number_and_snapshot(adapter: Adapter) -> None:
    async with subscribed(adapter) as stream:
        hello = await stream.until("hello")
    assert stream.messages[0] is hello
    assert set(hello) == {"type", "epoch", "seq", "snapshot"}
    assert {"associations", "groups", "jobs", "exports", "actors", "storage"} <= set(
        hello["snapshot"]
    )


async def test_story_of_an_instance_is_told_without_holes(make_adapter: MakeAdapter) -> None:
    main = {"name": "main", "ae_title": "MAIN", "timeout_s": 4, "pipelines": {"one": "pipe-one"}}
    adapter = make_adapter({"application_entities": [main]})  # who is slow to release is in time
    async with subscribed(adapter) as stream:
        hello = await stream.until("hello")
        await in_thread(store, adapter, "1.2.3.1", "1.2.3.2")
        job = await stream.until("job.opened")
    first = hello["seq"] + 1
    assert stream.numbers() == list(range(first, first + len(stream.numbers())))
    kinds = [message["type"] for message in stream.messages]
    story = ["association.requested", "association.accepted", "group.opened", "instance.stored",
             "instance.stored", "association.released", "group.closed", "job.opened"]  # fmt: skip
    assert [kind for kind in kinds if kind in story] == story
    (stored, _) = (m for m in stream.messages if m["type"] == "instance.stored")
    assert (stored["aeTitle"], stored["data"]["sopInstanceUid"]) == ("MAIN", "1.2.3.1")
    assert stored["time"].endswith("Z")
    assert job["group"] == stored["group"]


async def test_topics_narrow_the_stream(adapter: Adapter) -> None:
    async with subscribed(adapter, "?topics=job,group") as stream:
        await in_thread(store, adapter, "1.2.3.1")
        await stream.until("job.opened")
    kinds = {message["type"].partition(".")[0] for message in stream.messages}
    assert kinds == {"hello", "group", "job"}


async def test_since_resumes_without_a_snapshot_or_a_hole(adapter: Adapter) -> None:
    async with subscribed(adapter) as stream:
        left_off = (await stream.until("hello"))["seq"]
    await in_thread(store, adapter, "1.2.3.1")
    async with subscribed(adapter, f"?since={left_off}") as stream:
        hello = await stream.until("hello")
        await stream.until("job.opened")
    assert "snapshot" not in hello
    numbers = stream.numbers()
    assert numbers == list(range(left_off + 1, left_off + 1 + len(numbers)))


async def test_since_from_another_epoch_gets_a_snapshot(adapter: Adapter) -> None:
    async with subscribed(adapter, "?since=4000000000") as stream:
        assert "snapshot" in await stream.until("hello")


@pytest.mark.parametrize("query", ["?topics=weather", "?since=yesterday", "?since=-1"])
async def test_bad_parameters_close_with_a_reason(adapter: Adapter, query: str) -> None:
    async with subscribed(adapter, query) as stream:
        with pytest.raises(ConnectionClosed) as closed:
            await stream.connection.get_message()
    assert closed.value.reason.code == POLICY_VIOLATION
    assert closed.value.reason.reason


async def test_stop_closes_with_service_restart(adapter: Adapter) -> None:
    async with subscribed(adapter) as stream:
        await stream.until("hello")
        adapter.terminate()
        with pytest.raises(ConnectionClosed) as closed:
            await stream.until("never")
    assert closed.value.reason.code == SERVICE_RESTART
    assert await in_thread(adapter.wait) == 0


def upgrade_status(adapter: Adapter, origin: str) -> int:
    """Return the HTTP status of a WebSocket handshake from a page of this origin."""
    headers = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": origin,
    }  # fmt: skip
    lines = [f"{name}: {value}" for name, value in headers.items()]
    lines = ["GET /api/events HTTP/1.1", f"Host: 127.0.0.1:{adapter.api_port}", *lines, "", ""]
    with socket.create_connection(("127.0.0.1", adapter.api_port), timeout=10) as sock:
        sock.sendall("\r\n".join(lines).encode())
        return int(sock.recv(4096).split()[1])


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://[broken", ""]
)
def test_foreign_origin_is_refused_before_the_upgrade(adapter: Adapter, origin: str) -> None:
    """F105: a page of another site cannot listen."""
    assert upgrade_status(adapter, origin) == 403


def test_own_origin_is_welcome(adapter: Adapter) -> None:
    assert upgrade_status(adapter, adapter.url) == 101


async def test_what_a_subscriber_says_is_ignored(adapter: Adapter) -> None:
    async with subscribed(adapter) as stream:
        await stream.until("hello")
        await stream.connection.send_message("DROP TABLE jobs")
        await in_thread(store, adapter, "1.2.3.1")
        await stream.until("job.opened")


async def test_fifty_subscribers_see_the_same_stream(adapter: Adapter) -> None:
    seen: list[list[int]] = []

    async def follow(ready: trio.MemorySendChannel[None]) -> None:
        async with subscribed(adapter) as stream:
            await stream.until("hello")
            await ready.send(None)
            first, last = (
                await stream.until("association.requested"),
                await stream.until("job.opened"),
            )
            story = range(first["seq"], last["seq"] + 1)  # what follows may be in the same frame
            seen.append([number for number in stream.numbers() if number in story])

    send, receive = trio.open_memory_channel[None](0)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(follow, send)
        for _ in range(50):
            await receive.receive()
        await in_thread(store, adapter, "1.2.3.1")
    assert len(seen) == 50
    assert {tuple(numbers) for numbers in seen} == {tuple(seen[0])}
