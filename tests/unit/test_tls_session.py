"""TLS without I/O: two sessions, and whatever may happen to the bytes between them."""

import datetime
import ssl
from collections.abc import Iterator

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.protocols.dimse.strangers import PLAIN, TLS, stranger
from adapter.protocols.dimse.tls import TlsSession, reason

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
IDENTITY = AUTHORITY.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
TEXT = bytes(range(256)) * 300
"""Several records."""


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    IDENTITY.configure_cert(context)
    return context


def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = version
    AUTHORITY.configure_trust(context)
    return context


SERVER, CLIENT, CLIENT_1_2 = (
    server_context(), client_context(), client_context(ssl.TLSVersion.TLSv1_2),
)  # fmt: skip


def pieces(data: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        size = next(sizes, 1000)
        yield data[position : position + size]
        position += size


def shake_hands(client: TlsSession, server: TlsSession, sizes: Iterator[int]) -> None:
    """Let both shake hands over a line that cuts bytes into pieces of these sizes."""
    shaken = {client: False, server: False}
    client_says = server_says = b""
    for _ in range(10):
        for session, said in ((client, server_says), (server, client_says)):
            for piece in pieces(said, sizes):
                session.received(piece)
                shaken[session] = shaken[session] or session.shake_hands()
            shaken[session] = shaken[session] or session.shake_hands()
            if session is client:
                client_says, server_says = session.to_send(), b""
            else:
                server_says = session.to_send()
        if all(shaken.values()) and not server_says:
            return
    raise AssertionError("no end of shaking hands")


def connected(
    context: ssl.SSLContext = CLIENT, server: ssl.SSLContext = SERVER, *sizes: int
) -> tuple[TlsSession, TlsSession]:
    """Return a client and a server that have shaken hands."""
    sessions = (
        TlsSession(context, server_side=False, server_name="localhost"),
        TlsSession(server, server_side=True),
    )
    shake_hands(*sessions, iter(sizes))
    return sessions


def read(session: TlsSession, size: int = 1000) -> bytes:
    """Return what the session has, read in views of this size."""
    buffer = memoryview(bytearray(size))
    found = b""
    while count := session.read_into(buffer):
        found += buffer[:count]
    return found


def text_or_why(session: TlsSession) -> tuple[bytes, str]:
    """Return what the session has to read, and what is wrong with it."""
    try:
        return read(session), ""
    except ssl.SSLError as error:
        return b"", reason(error)


VERSIONS = pytest.mark.parametrize(
    ("context", "version"), [(CLIENT, "TLSv1.3"), (CLIENT_1_2, "TLSv1.2")], ids=["1.3", "1.2"]
)


@VERSIONS
@settings(max_examples=30)
@given(sizes=st.lists(st.integers(1, 2000), max_size=200), view=st.integers(1, 40_000))
def test_any_split_of_the_bytes_gives_the_same_text(
    context: ssl.SSLContext, version: str, sizes: list[int], view: int
) -> None:
    cuts = iter(sizes)
    client, server = connected(context, SERVER, *sizes)
    assert client.version == server.version == version
    for sender, receiver in ((client, server), (server, client)):
        sender.write(TEXT)
        found = b""
        for piece in pieces(sender.to_send(), cuts):
            receiver.received(piece)
            found += read(receiver, view)
        assert found == TEXT


def test_byte_by_byte_there_is_nothing_until_a_record_is_whole() -> None:
    client, server = connected(CLIENT, SERVER, *[1] * 5000)
    client.write(b"whole")
    *most, last = client.to_send()
    view = memoryview(bytearray(100))
    for byte in most:
        server.received(bytes((byte,)))
        assert server.read_into(view) is None
    server.received(bytes((last,)))
    assert server.read_into(view) == 5


@VERSIONS
def test_close_notify_is_an_end(context: ssl.SSLContext, version: str) -> None:
    client, server = connected(context)
    client.write(b"last words")
    client.close()
    server.received(client.to_send())
    view = memoryview(bytearray(100))
    assert server.read_into(view) == 10
    assert server.read_into(view) == 0
    assert server.read_into(view) == 0, "and stays one"
    server.close()
    assert server.to_send(), "the answer to it"


@VERSIONS
def test_end_without_close_notify_is_an_end(context: ssl.SSLContext, version: str) -> None:
    client, server = connected(context)
    client.write(b"text")
    server.received(client.to_send())
    server.received(b"")
    view = memoryview(bytearray(100))
    assert [server.read_into(view) for _ in range(3)] == [4, 0, 0]


def test_end_within_a_record_is_an_end_without_its_text() -> None:
    client, server = connected()
    client.write(TEXT)
    server.received(client.to_send()[:20_000])
    server.received(b"")
    assert len(read(server)) == 16_384, "one whole record"


@VERSIONS
@given(position=st.integers(0, 200), bit=st.integers(0, 7))
def test_changed_bit_gives_no_text(
    context: ssl.SSLContext, version: str, position: int, bit: int
) -> None:
    """An error or, where a length now promises more, waiting for it."""
    client, server = connected(context)
    client.write(b"x" * 150)
    encrypted = bytearray(client.to_send())
    encrypted[position % len(encrypted)] ^= 1 << bit
    server.received(bytes(encrypted))
    assert text_or_why(server)[0] == b""


@given(junk=st.binary(min_size=1, max_size=200))
def test_junk_is_no_handshake(junk: bytes) -> None:
    session = TlsSession(SERVER, server_side=True)
    session.received(junk)
    session.received(b"")
    with pytest.raises(ssl.SSLError):
        session.shake_hands()


@given(junk=st.binary(min_size=5, max_size=200))
def test_junk_behind_the_handshake_is_no_text(junk: bytes) -> None:
    _, server = connected()
    server.received(junk)
    server.received(b"")
    assert text_or_why(server)[0] == b""


def test_nothing_written_is_nothing_sent() -> None:
    client, _ = connected()
    client.write(b"")
    assert client.to_send() == b""


def refused(client: ssl.SSLContext, server: ssl.SSLContext) -> list[str]:
    """Return what the one who refuses says of it, and what the other one then hears."""
    try:
        left, right = connected(client, server)
    except ssl.SSLError as error:
        return [reason(error)]
    right.received(left.to_send())
    return []


def test_reasons_are_words() -> None:
    strict = server_context()
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.load_verify_locations(cadata=AUTHORITY.cert_pem.bytes().decode())
    assert refused(CLIENT_1_2, strict) == ["the peer shows no certificate"]
    newest = server_context()
    newest.minimum_version = ssl.TLSVersion.TLSv1_3
    assert refused(CLIENT_1_2, newest) == ["no TLS version in common"]
    stranger_authority = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trustme.CA().configure_trust(stranger_authority)
    assert refused(stranger_authority, SERVER) == [
        "the peer's certificate: unable to get local issuer certificate"
    ]
    past = AUTHORITY.issue_cert(
        "localhost",
        not_before=datetime.datetime(2020, 1, 1),
        not_after=datetime.datetime(2020, 2, 1),
    )
    expired = server_context()
    past.configure_cert(expired)
    assert refused(CLIENT, expired) == ["the peer's certificate: certificate has expired"]
    other = server_context()
    AUTHORITY.issue_cert("elsewhere").configure_cert(other)
    (why,) = refused(CLIENT, other)
    assert "localhost" in why


def test_alert_of_the_peer_is_told_as_its_words() -> None:
    client = TlsSession(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), server_side=False, server_name="a")
    server = TlsSession(SERVER, server_side=True)
    client.shake_hands()
    server.received(client.to_send())
    server.shake_hands()
    client.received(server.to_send())
    with pytest.raises(ssl.SSLError):
        client.shake_hands()
    server.received(client.to_send())
    with pytest.raises(ssl.SSLError) as heard:
        server.shake_hands()
    assert reason(heard.value) == "the peer says: unknown ca"


@pytest.mark.parametrize(
    ("opening", "on_plain", "on_tls"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "TLS", ""),
        (b"\x80\x2e\x01\x03\x01", "TLS", ""),
        (b"GET / HT", "HTTP", "HTTP"),
        (b"PRI * HT", "HTTP", "HTTP"),
        (b"SSH-2.0-", "SSH", "SSH"),
        (b"\x01\x00\x00\x00\x00\xce", "", "DICOM without TLS"),
        (b"\x01", "", ""),
        (b"", "", ""),
        (b"\xff" * 8, "", ""),
    ],
)
def test_stranger_is_told_by_its_first_bytes(opening: bytes, on_plain: str, on_tls: str) -> None:
    assert stranger(opening, PLAIN) == on_plain
    assert stranger(opening, TLS) == on_tls
