"""Nothing a web peer does may reach the DICOM side (adapter/protocols/web/guard.py; F106-F111).

Each case once ended a whole process: hypercorn keeps all connections in one nursery.
"""

import base64
import os
import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest
from harness import Adapter, eventually
from health import MakeAdapter, unharmed
from wire import Wire

KEY = base64.b64encode(bytes(16)).decode()
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ANSWER_S = 30.0
"""For what has to be answered; `talk` waits for nothing."""


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    return make_shared_adapter({"dicom": {"scp": {"max_associations": 5}}})


@pytest.fixture
def adapter(shared: Adapter) -> Iterator[Adapter]:
    """The adapter; an association that was open before the case still answers after it."""
    with Wire(shared.dicom_port) as wire:
        wire.associate()
        with unharmed(shared):
            yield shared
            assert shared.request("GET", "/health/live")[0] == 200
        assert wire.echo() == ("response", 0)
        assert wire.release() == ("released",)


def upgrade(extra: str = "", path: str = "/api/events", method: str = "GET") -> bytes:
    """Return a WebSocket handshake with more header lines."""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
        f"{extra}\r\n"
    ).encode("latin-1")


def http(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def frame(opcode: int, payload: bytes, *, mask: bool = True, length: bytes = b"") -> bytes:
    """Return a WebSocket frame of a client."""
    size = length or bytes((len(payload),))
    return bytes((opcode, size[0] | (0x80 if mask else 0))) + size[1:] + bytes(4 * mask) + payload


def h2(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame."""
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


def hpack(*fields: tuple[bytes, bytes]) -> bytes:
    """Return header fields as literals without indexing (RFC 7541 6.2.2)."""
    return b"".join(
        b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in fields
    )


def h2_request(*fields: tuple[bytes, bytes]) -> bytes:
    return H2_PREFACE + h2(4, 0, 0, b"") + h2(1, 5, 1, hpack(*fields))


def h2c(settings: str) -> bytes:
    return http(
        "GET / HTTP/1.1", "Host: x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
        f"HTTP2-Settings: {settings}",
    )  # fmt: skip


GET = http("GET /health/live HTTP/1.1", "Host: x")
LATIN = b"\xff\xfe"
CASES: dict[str, bytes] = {
    "deflate_window_too_small": upgrade(
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=1\r\n"),
    "deflate_window_no_number": upgrade(
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=x\r\n"),
    "deflate_twice": upgrade(
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8;"
        " server_max_window_bits=99\r\n"),
    "extension_noise": upgrade("Sec-WebSocket-Extensions: ;;,,=\r\n"),
    "protocol_non_ascii": upgrade("Sec-WebSocket-Protocol: \xff\xfe\r\n"),
    "origin_non_ascii": upgrade("Origin: http://\xff\r\n"),
    "origin_broken": upgrade("Origin: http://[::1\r\n"),
    "header_non_ascii": upgrade("X-\xe9: 1\r\n"),
    "bytes_after_upgrade": upgrade() + b"x",
    "much_after_upgrade": upgrade() + os.urandom(5000),
    "frame_after_upgrade": upgrade() + frame(0x81, b"hi"),
    "upgrade_by_post": upgrade(method="POST"),
    "upgrade_with_body": upgrade("Content-Length: 5\r\n") + b"12345",
    "upgrade_chunked": upgrade("Transfer-Encoding: chunked\r\n") + b"5\r\n12345\r\n0\r\n\r\n",
    "upgrade_without_key": upgrade().replace(f"Sec-WebSocket-Key: {KEY}\r\n".encode(), b""),
    "upgrade_bad_key": upgrade().replace(KEY.encode(), b"%%%"),
    "upgrade_version_99": upgrade().replace(b"Version: 13", b"Version: 99"),
    "upgrade_elsewhere": upgrade(path="/api/jobs"),
    "upgrade_nowhere": upgrade(path="/nothing"),
    "upgrade_path_non_ascii": upgrade(path="/api/events?topics=\xff"),
    "upgrade_http_1_0": upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "unmasked_frame": upgrade() + frame(0x81, b"hi", mask=False),
    "reserved_opcode": upgrade() + frame(0x8B, b"hi"),
    "reserved_bits": upgrade() + frame(0xF1, b"hi"),
    "text_not_utf8": upgrade() + frame(0x81, LATIN),
    "ping_too_long": upgrade() + frame(0x89, bytes(200), length=b"\x7e\x00\xc8"),
    "frame_of_16_exabytes": upgrade() + frame(0x82, b"x", length=b"\x7f" + b"\x7f" * 8),
    "message_too_big": upgrade() + frame(0x82, bytes(70_000), length=b"\x7f\0\0\0\0\0\1\x11\x70"),
    "continuation_of_nothing": upgrade() + frame(0x80, b"x"),
    "endless_fragments": upgrade() + frame(0x01, b"x") + frame(0x00, b"x") * 5000,
    "close_of_one_byte": upgrade() + frame(0x88, b"x"),
    "close_bad_code": upgrade() + frame(0x88, (5).to_bytes(2, "big")),
    "close_then_talk": upgrade() + frame(0x88, b"") + frame(0x81, b"hi"),
    "many_pings": upgrade() + frame(0x89, b"x") * 2000,
    "h2_preface_only": H2_PREFACE,
    "h2_preface_noise": H2_PREFACE + os.urandom(500),
    "h2_path_non_ascii": h2_request((b":method", b"GET"), (b":scheme", b"http"),
                                    (b":authority", b"x"), (b":path", b"/" + LATIN)),
    "h2_method_non_ascii": h2_request((b":method", LATIN), (b":scheme", b"http"),
                                      (b":authority", b"x"), (b":path", b"/")),
    "h2_connect_without_path": h2_request((b":method", b"CONNECT"), (b":authority", b"x")),
    "h2_no_headers": h2_request(),
    "h2_data_on_no_stream": H2_PREFACE + h2(4, 0, 0, b"") + h2(0, 1, 7, b"x"),
    "h2_bad_settings": H2_PREFACE + h2(4, 0, 0, b"\0\4\xff\xff\xff\xff"),
    "h2_goaway": H2_PREFACE + h2(4, 0, 0, b"") + h2(7, 0, 0, bytes(8)),
    "h2_rst_unknown": H2_PREFACE + h2(4, 0, 0, b"") + h2(3, 0, 9, bytes(4)),
    "h2c_settings_broken": h2c("!!!"),
    "h2c_settings_odd": h2c("AAM"),
    "h2c_settings_wrong": h2c(base64.urlsafe_b64encode(b"\0\4\xff\xff\xff\xff").decode()),
    "h2c_settings_empty": h2c(""),
    "noise_after_close": http("GET / HTTP/1.1", "Host: x", "Connection: close", body=b"\x80" * 999),
    "noise": bytes(range(256)) * 4,
    "tls_hello": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "dicom_request": b"\x01\x00\x00\x00\x00\x44\x00\x01" + bytes(66),
    "request_line_64k": b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "header_64k": http("GET / HTTP/1.1", "Host: x", "A: " + "b" * 65536),
    "thousand_headers": http("GET / HTTP/1.1", "Host: x", *(f"A{n}: b" for n in range(1000))),
    "no_host": http("GET / HTTP/1.1"),
    "two_lengths": http("POST /api/jobs HTTP/1.1", "Host: x", "Content-Length: 5",
                        "Content-Length: 6", body=b"12345"),
    "length_and_chunked": http("POST /api/jobs HTTP/1.1", "Host: x", "Content-Length: 5",
                               "Transfer-Encoding: chunked", body=b"0\r\n\r\nGET / HTTP/1.1\r\n"),
    "length_negative": http("POST / HTTP/1.1", "Host: x", "Content-Length: -1"),
    "length_10_gb": http("POST /api/jobs HTTP/1.1", "Host: x", "Content-Length: 10737418240"),
    "chunk_size_noise": http("POST / HTTP/1.1", "Host: x", "Transfer-Encoding: chunked",
                             body=b"zz\r\n"),
    "path_non_ascii": b"GET /" + LATIN + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "query_percent_noise": http("GET /api/jobs?limit=%ff%fe&%&== HTTP/1.1", "Host: x"),
    "absolute_target": http("GET http://evil/ HTTP/1.1", "Host: x"),
    "pipelined_100": GET * 100,
}  # fmt: skip


def talk(adapter: Adapter, data: bytes, timeout_s: float = 0.4) -> bytes:
    """Send data, read until the server closes or is silent, then leave."""
    heard = b""
    with socket.create_connection(("127.0.0.1", adapter.api_port), timeout=5) as sock:
        try:
            sock.sendall(data)
            sock.settimeout(timeout_s)
            while piece := sock.recv(65536):
                heard += piece
        except (TimeoutError, ConnectionError):
            pass
    return heard


def status_of(adapter: Adapter, request: bytes) -> int:
    """Return the status of the answer, which has to come."""
    with socket.create_connection(("127.0.0.1", adapter.api_port), timeout=ANSWER_S) as sock:
        sock.sendall(request)
        response = HTTPResponse(sock)
        response.begin()
        return response.status


@pytest.mark.parametrize("case", CASES)
def test_malformed_request_ends_its_own_connection_only(adapter: Adapter, case: str) -> None:
    talk(adapter, CASES[case])


def test_cut_off_anywhere_ends_its_own_connection_only(adapter: Adapter) -> None:
    whole = upgrade() + frame(0x81, b"hi")
    for length in range(0, len(whole), 11):
        with socket.create_connection(("127.0.0.1", adapter.api_port), timeout=5) as sock:
            sock.sendall(whole[:length])
            linger = bytes((1, 0, 0, 0, 0, 0, 0, 0))  # RST
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def test_requests_are_still_answered_in_between(adapter: Adapter) -> None:
    assert status_of(adapter, GET) == 200
    assert status_of(adapter, upgrade()) == 101


def stalled(adapter: Adapter) -> socket.socket:
    """Return a subscriber that takes the handshake and never reads again."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(ANSWER_S)
    sock.connect(("127.0.0.1", adapter.api_port))
    sock.sendall(upgrade())
    assert sock.recv(12) == b"HTTP/1.1 101"
    return sock


def make_events(adapter: Adapter, count: int) -> None:
    """Store so many instances; each is an event of about 300 bytes."""
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for number in range(count):
            assert wire.store(f"1.2.7.{number}") == ("response", 0)
        wire.release()


def test_subscriber_that_never_reads_holds_up_nobody(make_adapter: MakeAdapter) -> None:
    """Traps 2 and 5: neither the senders nor the stop wait for it."""
    adapter = make_adapter({"shutdown": {"deadline_s": 5}})
    sockets = [stalled(adapter) for _ in range(3)]
    try:
        make_events(adapter, 3000)
        begin = time.monotonic()
        adapter.terminate()
        status = adapter.wait(20)
        took = time.monotonic() - begin
    finally:
        for sock in sockets:
            sock.close()
    assert took < 5 + 5 + 1, "deadline_s and the farewell"
    assert status in (0, 1)
    assert not [line for line in adapter.log if "Traceback" in line]


def test_half_a_request_does_not_hold_a_stop(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    halves = [b"", GET[:10], http("POST /x HTTP/1.1", "Host: x", "Content-Length: 99", body=b"1")]
    sockets = []
    for half in halves:
        sock = socket.create_connection(("127.0.0.1", adapter.api_port), timeout=5)
        sock.sendall(half)
        sockets.append(sock)
    eventually(lambda: adapter.request("GET", "/health/live")[0] == 200)
    begin = time.monotonic()
    assert adapter.stop(20) == 0
    assert time.monotonic() - begin < 8
    for sock in sockets:
        sock.close()
