"""Live events as Server-Sent Events (HTML, 9.2): the same messages over plain HTTP."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from harness import Adapter, eventually
from health import MakeAdapter
from wire import Wire

BLOCKS_MAX = 100


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    return make_adapter()


class Events:
    """What one request is told."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.response = response
        self.messages: list[dict[str, Any]] = []
        self.last_id = ""

    def until(self, kind: str) -> dict[str, Any]:
        """Read until a message of this type has come; return it."""
        for _ in range(BLOCKS_MAX):
            for message in self.messages:
                if message["type"] == kind:
                    return message
            assert self.read(), "the stream has ended"
        raise AssertionError(f"no {kind}")

    def read(self) -> bool:
        """Read a block; return whether there was one."""
        fields = {}
        while (line := self.response.readline().decode()) not in ("\n", ""):
            name, _, value = line.rstrip("\n").partition(": ")
            fields[name] = value
        self.last_id = fields.get("id", self.last_id)
        self.messages += json.loads(fields.get("data", "[]"))
        return bool(fields)


@contextmanager
def streaming(adapter: Adapter, query: str = "", **headers: str) -> Iterator[Events]:
    connection = http.client.HTTPConnection("127.0.0.1", adapter.api_port, timeout=40)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", f"/api/events/stream{query}", headers=named)
    response = connection.getresponse()
    assert response.status == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    try:
        yield Events(response)
    finally:
        response.close()
        connection.close()


def store(adapter: Adapter, uid: str) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store(uid) == ("response", 0)
        wire.release()


def test_story_is_told_from_a_snapshot_without_holes(adapter: Adapter) -> None:
    with streaming(adapter) as stream:
        hello = stream.until("hello")
        assert "associations" in hello["snapshot"]
        store(adapter, "1.2.3.1")
        stream.until("job.opened")
    numbers = [message["seq"] for message in stream.messages]
    assert numbers == list(range(hello["seq"], hello["seq"] + len(numbers)))


def test_topics_narrow_it(adapter: Adapter) -> None:
    with streaming(adapter, "?topics=job") as stream:
        stream.until("hello")
        store(adapter, "1.2.3.1")
        stream.until("job.opened")
    assert {message["type"].partition(".")[0] for message in stream.messages} == {"hello", "job"}


def test_last_event_id_resumes_without_a_snapshot(adapter: Adapter) -> None:
    with streaming(adapter) as stream:
        stream.until("hello")
    store(adapter, "1.2.3.1")
    with streaming(adapter, last_event_id=stream.last_id) as again:
        assert "snapshot" not in again.until("hello")
        again.until("job.opened")
    first = int(stream.last_id.rpartition(":")[2]) + 1
    assert again.messages[1]["seq"] == first


def test_id_of_another_life_gets_a_snapshot(adapter: Adapter) -> None:
    with streaming(adapter) as stream:
        stream.until("hello")
    adapter.stop()
    adapter.start()
    with streaming(adapter, last_event_id=stream.last_id) as again:
        assert "snapshot" in again.until("hello")


@pytest.mark.parametrize(
    "query", ["?topics=nonsense", "?since=yesterday", f"?since={'9' * 400}", "?since=-1"]
)
def test_what_cannot_be_meant_is_refused(adapter: Adapter, query: str) -> None:
    status, _, body = adapter.request("GET", f"/api/events/stream{query}")
    assert status == 400
    assert json.loads(body)["detail"]


def test_stop_ends_the_stream_cleanly(adapter: Adapter) -> None:
    with streaming(adapter) as stream:
        stream.until("hello")
        adapter.terminate()
        while stream.read():
            pass
        assert adapter.wait() == 0


def test_whoever_leaves_is_not_sent_to_any_more(adapter: Adapter) -> None:
    for _ in range(20):
        with streaming(adapter) as stream:
            stream.until("hello")
    store(adapter, "1.2.3.1")
    eventually(lambda: adapter.get("/api/jobs"))
    assert not adapter.events("web.connection_failed")
