"""Web peers that are slow, many, or never done (F107-F110): they cost nobody else anything.

Deadlines are those of adapter/protocols/web/guard.py.
"""

import os
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from harness import Adapter, eventually
from health import MakeAdapter, unharmed
from test_web_hostile import GET, H2_PREFACE, frame, h2, http, status_of, talk, upgrade
from wire import Wire

PATIENCE_S = 55.0
"""More than any deadline here, on a machine that is busy, and less than hypercorn's own."""


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    return make_shared_adapter({"dicom": {"scp": {"max_associations": 5}}})


@pytest.fixture
def adapter(shared: Adapter) -> Iterator[Adapter]:
    """The adapter; afterwards an instance is stored as ever."""
    with unharmed(shared):
        yield shared
        with Wire(shared.dicom_port) as wire:
            wire.associate()
            assert wire.store(f"1.2.3.{time.time_ns()}") == ("response", 0)
            wire.release()


def connected(adapter: Adapter, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", adapter.api_port), timeout=PATIENCE_S, source_address=(address, 0)
    )


def until_closed(sock: socket.socket) -> bytes:
    heard = b""
    try:
        while piece := sock.recv(65536):
            heard += piece
    except ConnectionError:
        pass
    return heard


SLOW = {
    "header": GET[:30],
    "first line": b"GET /health/li",
    "one byte": b"G",
    "body": http("POST /api/keys HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json",
                 "Content-Length: 100", body=b'{"na'),
    "chunks": http("POST /api/keys HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json",
                   "Transfer-Encoding: chunked", body=b"5\r\n12345\r\n"),
}  # fmt: skip


def test_what_is_begun_must_be_finished_in_time(adapter: Adapter) -> None:
    """All at once, since each waits for its deadline; a byte now and then does not put it off."""
    with ExitStack() as stack:
        socks = {name: stack.enter_context(connected(adapter)) for name in SLOW}
        for name, sock in socks.items():
            sock.sendall(SLOW[name])
        dripping = stack.enter_context(connected(adapter))
        dripping.sendall(b"GET /health/live HTTP/1.1\r\nX: ")
        answers: dict[str, bytes] = {}
        dripping.settimeout(0.5)
        deadline = time.monotonic() + PATIENCE_S
        while "dripping" not in answers:
            assert time.monotonic() < deadline
            try:
                dripping.sendall(b"x")
                answers["dripping"] = dripping.recv(100)
            except TimeoutError:
                continue
            except ConnectionError:
                answers["dripping"] = b""
        for name, sock in socks.items():
            assert until_closed(sock).startswith(b"HTTP/1.1 408"), name


def test_http2_is_not_spoken(adapter: Adapter) -> None:
    by_knowledge = H2_PREFACE + h2(4, 0, 0, b"")
    assert status_of(adapter, by_knowledge) == 505
    by_upgrade = http("GET /health/live HTTP/1.1", "Host: x", "Connection: Upgrade, HTTP2-Settings",
                      "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")  # fmt: skip
    assert status_of(adapter, by_upgrade) == 200


def test_websocket_that_deflates_is_not_inflated(adapter: Adapter) -> None:
    """32 MiB of zeros would be 32 kB on the wire."""
    deflate = zlib.compressobj(wbits=-15)
    bomb = deflate.compress(bytes(32 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    before = adapter.memory_kb("VmRSS")
    with connected(adapter) as sock:
        sock.sendall(upgrade("Sec-WebSocket-Extensions: permessage-deflate\r\n"))
        heard = sock.recv(4096)
        assert heard.startswith(b"HTTP/1.1 101")
        assert b"permessage-deflate" not in heard
        sock.sendall(frame(0xC1, bomb, length=b"\x7f" + struct.pack(">Q", len(bomb))))
        until_closed(sock)
    assert adapter.memory_kb("VmRSS") < before + (16 << 10)


FLOODS = {
    "pings": frame(0x89, b"x" * 100) * 20_000,
    "pongs": frame(0x8A, b"x" * 100) * 20_000,
    "empty_fragments": frame(0x01, b"") + frame(0x00, b"") * 50_000,
    "small_messages": frame(0x81, b"x") * 50_000,
    "closes": frame(0x88, b"") * 1000,
}


@pytest.mark.parametrize("flood", FLOODS)
def test_flood_of_frames_is_only_its_senders_trouble(adapter: Adapter, flood: str) -> None:
    before = adapter.memory_kb("VmRSS")
    with connected(adapter) as sock:
        sock.sendall(upgrade())
        assert sock.recv(12) == b"HTTP/1.1 101"
        sock.settimeout(5)
        try:
            sock.sendall(FLOODS[flood])
        except (TimeoutError, ConnectionError):
            pass  # it is held back: nobody reads what it is sent
        assert adapter.request("GET", "/health/live")[0] == 200
    assert adapter.memory_kb("VmRSS") < before + (32 << 10)


def test_pipelining_is_answered_in_order_without_end(adapter: Adapter) -> None:
    count = 500
    with connected(adapter) as sock:
        sock.sendall(GET * count)
        heard = b""
        while heard.count(b"HTTP/1.1 200") < count:
            piece = sock.recv(65536)
            assert piece, heard.count(b"HTTP/1.1 200")
            heard += piece


def test_reset_in_the_middle_of_anything(adapter: Adapter) -> None:
    wholes = [GET * 50, SLOW["body"], upgrade() + frame(0x81, b"hi") * 10,
              http("GET /metrics HTTP/1.1", "Host: 127.0.0.1") * 20]  # fmt: skip
    for whole in wholes:
        for length in (1, len(whole) // 2, len(whole)):
            with connected(adapter) as sock:
                sock.sendall(whole[:length])
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


BODIES = {
    "too_large": b"[" + b"0," * (1 << 20) + b"0]",
    "deep": b'{"name":' + b"[" * 100_000,
    "giant_integer": b'{"days":' + b"9" * 100_000 + b"}",
    "not_utf8": b'{"name":"\xff"}',
    "gzip": zlib.compress(bytes(1 << 20), wbits=31),
}


@pytest.mark.parametrize("case", BODIES)
def test_body_that_is_too_much_is_refused(adapter: Adapter, case: str) -> None:
    headers = {"Content-Type": "application/json"}
    if case == "gzip":
        headers["Content-Encoding"] = "gzip"
    try:
        status, _, answer = adapter.request("POST", "/api/keys", headers, BODIES[case])
    except ConnectionError:
        return  # it said no before all was sent
    assert status in (400, 413, 415), answer


def test_body_without_a_length_is_bounded_too(adapter: Adapter) -> None:
    head = http("POST /api/keys HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json",
                "Transfer-Encoding: chunked")  # fmt: skip
    chunk = b"10000\r\n" + b"[" * 65536 + b"\r\n"
    with connected(adapter) as sock:
        sock.sendall(head)
        try:
            for _ in range(64):
                sock.sendall(chunk)
        except ConnectionError:
            return
        assert sock.recv(12) in (b"HTTP/1.1 413", b"HTTP/1.1 400", b"")


def test_connections_are_counted_by_address_and_in_all(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"api": {"max_connections": 40, "max_connections_per_address": 30}})
    with ExitStack() as stack, unharmed(adapter):
        for _ in range(30):
            stack.enter_context(connected(adapter, "127.0.0.2"))
        eventually(lambda: adapter.metrics("dicom_adapter_api_connections")[""] >= 30)
        with connected(adapter, "127.0.0.2") as one_too_many:
            assert until_closed(one_too_many).startswith(b"HTTP/1.1 503")
        assert adapter.request("GET", "/health/live")[0] == 200, "another address is served"
        more = [stack.enter_context(connected(adapter, "127.0.0.3")) for _ in range(10)]
        eventually(lambda: until_refused(adapter))
        for sock in more:
            sock.close()
        eventually(lambda: adapter.request("GET", "/health/live")[0] == 200)
        assert adapter.metrics("dicom_adapter_api_connections_refused")[""] >= 2


def until_refused(adapter: Adapter) -> bool:
    with connected(adapter) as sock:
        sock.sendall(GET)
        return until_closed_or_answered(sock).startswith(b"HTTP/1.1 503")


def until_closed_or_answered(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except ConnectionError:
        return b""


def test_thousand_idle_connections_hold_up_nobody(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"api": {"max_connections_per_address": 1000}})
    with ExitStack() as stack, unharmed(adapter):
        for _ in range(1000):
            stack.enter_context(connected(adapter, "127.0.0.2"))
        assert adapter.request("GET", "/health/live")[0] == 200
        with Wire(adapter.dicom_port) as wire:
            wire.associate()
            assert wire.store("1.2.3.4") == ("response", 0)
            wire.release()


def test_noise_in_the_log_is_bounded(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    for _ in range(200):
        talk(adapter, H2_PREFACE, 5.0)
    assert adapter.request("GET", "/health/live")[0] == 200
    assert len(adapter.events("web.connection_failed")) < 5


def test_random_bytes_end_their_own_connection_only(adapter: Adapter) -> None:
    for _ in range(20):
        talk(adapter, os.urandom(2000), 0.1)
