"""Peers that get TLS wrong (F24, F25): no association without a handshake that ends in time, and
whoever does it right is served meanwhile.
"""

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Adapter
from health import MakeAdapter, unharmed
from wire import (
    DATA,
    NO_DATA,
    SILENCE_S,
    VERIFICATION,
    Wire,
    associate_rq,
    pdu,
    pdv,
    request,
)

OPENSSL = "/usr/bin/openssl"
ARTIM_S = 3.0
SLACK_S = 15.0
"""For a machine on which much else runs; without ARTIM it would be `idle_s`, a minute."""
ECHO = pdu(DATA, pdv(1, 3, request(0x0030, VERIFICATION, data=NO_DATA)))


def certificate(folder: Path, name: str, *options: str) -> tuple[str, str]:
    """Make a self-signed certificate; return its file and that of its key."""
    files = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    subprocess.run(
        [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1],
         "-days", "2", *options],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return files


class Keys:
    """Who is who: the adapter, a sender it trusts, and one it does not."""

    def __init__(self, folder: Path) -> None:
        self.adapter = certificate(folder, "adapter")
        self.sender = certificate(folder, "sender")
        self.stranger = certificate(folder, "stranger")

    def client(self, identity: tuple[str, str] | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.adapter[0])
        if identity is not None:
            context.load_cert_chain(*identity)
        return context


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    if not Path(OPENSSL).exists():
        pytest.skip(f"not installed: {OPENSSL}")
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter, keys: Keys) -> Adapter:
    tls = {
        "mode": "beside", "port": 0, "certificate": keys.adapter[0], "key": keys.adapter[1],
        "ca": keys.sender[0],
    }  # fmt: skip
    return make_shared_adapter({"dicom": {"scp": {"artim_s": ARTIM_S, "tls": tls}}})


@pytest.fixture
def adapter(shared: Adapter, keys: Keys) -> Iterator[Adapter]:
    """The adapter; after the case it answers a C-ECHO, with TLS and without."""
    with unharmed(shared):
        yield shared
    assert echo_over_tls(shared, keys.client(keys.sender))


def tls_port(adapter: Adapter) -> int:
    (ready,) = adapter.events("process.ready")
    (port,) = set(ready["dicom_ports"]) - {ready["dicom_port"]}
    return int(port)


def echo_over_tls(adapter: Adapter, context: ssl.SSLContext) -> bool:
    """Return whether a C-ECHO is answered; TLS errors are the caller's."""
    plain = socket.create_connection(("127.0.0.1", tls_port(adapter)), timeout=SILENCE_S)
    with Wire.__new__(Wire) as wire:
        wire.sock = context.wrap_socket(plain, server_hostname="127.0.0.1")
        wire.sock.sendall(associate_rq())
        if wire.answer() != ("accept",):
            return False
        wire.sock.sendall(ECHO)
        return wire.answer() == ("response", 0) and wire.release() == ("released",)


def test_sender_with_its_certificate_is_served(adapter: Adapter, keys: Keys) -> None:
    assert echo_over_tls(adapter, keys.client(keys.sender))


@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_sender_without_a_trusted_certificate_is_refused(
    adapter: Adapter, keys: Keys, who: str
) -> None:
    identity = keys.stranger if who == "stranger" else None
    try:
        served = echo_over_tls(adapter, keys.client(identity))
    except (ssl.SSLError, ConnectionError):
        served = False  # with TLS 1.3 the sender may hear of it only when it reads
    assert not served


def test_old_protocol_versions_are_refused(adapter: Adapter, keys: Keys) -> None:
    """PS3.15 B.12: TLS 1.2 at least."""
    done = subprocess.run(
        [OPENSSL, "s_client", "-connect", f"127.0.0.1:{tls_port(adapter)}", "-tls1_1",
         "-cipher", "ALL:@SECLEVEL=0"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Cipher is (NONE)" in done.stdout


FIRST_WORDS = {
    "plain_request": associate_rq(),
    "noise": bytes(range(256)) * 4,
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "record_that_lies": bytes.fromhex("160301ffff") + bytes(100),
    "alert": bytes.fromhex("15030300020228"),
}


@pytest.mark.parametrize("case", FIRST_WORDS)
def test_what_is_no_handshake_is_closed(adapter: Adapter, case: str) -> None:
    with Wire(tls_port(adapter)) as wire:
        begin = time.monotonic()
        wire.send(FIRST_WORDS[case])
        assert ended(wire, begin) < ARTIM_S + SLACK_S


def ended(wire: Wire, begin: float) -> float:
    """Read to the end, whatever it is; return how long it took from `begin`."""
    try:
        while wire.sock.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - begin


def hello(keys: Keys) -> bytes:
    """Return a true ClientHello."""
    outgoing = ssl.MemoryBIO()
    client = keys.client(keys.sender).wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1"
    )
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("length", [0, 1, 5, 60])
def test_handshake_that_stops_is_ended_by_artim(adapter: Adapter, keys: Keys, length: int) -> None:
    with Wire(tls_port(adapter)) as wire:
        begin = time.monotonic()
        wire.send(hello(keys)[:length])
        assert ended(wire, begin) < ARTIM_S + SLACK_S


def test_handshake_byte_by_byte_is_ended_by_artim(adapter: Adapter, keys: Keys) -> None:
    """F25: the deadline is for handshake and request together."""
    with Wire(tls_port(adapter)) as wire:
        begin = time.monotonic()
        wire.sock.settimeout(0.2)
        for byte in hello(keys):
            wire.send(bytes((byte,)))
            try:
                if not wire.sock.recv(4096):
                    break
            except TimeoutError:
                assert time.monotonic() - begin < ARTIM_S + SLACK_S
            except ConnectionResetError:
                break


def test_handshake_without_a_request_is_ended_by_artim(adapter: Adapter, keys: Keys) -> None:
    plain = socket.create_connection(("127.0.0.1", tls_port(adapter)), timeout=SILENCE_S)
    with keys.client(keys.sender).wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        begin = time.monotonic()
        try:
            assert secure.recv(10) == b""
        except (ssl.SSLError, ConnectionError):
            pass
        assert time.monotonic() - begin < ARTIM_S + SLACK_S


def test_noise_inside_tls_is_aborted(adapter: Adapter, keys: Keys) -> None:
    """A violation under TLS is answered under TLS (PS3.8 Table 9-10, Sta2: AA-1)."""
    plain = socket.create_connection(("127.0.0.1", tls_port(adapter)), timeout=SILENCE_S)
    with Wire.__new__(Wire) as wire:
        wire.sock = keys.client(keys.sender).wrap_socket(plain, server_hostname="127.0.0.1")
        wire.sock.sendall(b"\xff" * 100)
        assert wire.answer() == ("abort", 0, 0)


def test_ciphertext_that_is_tampered_with_ends_the_association(
    adapter: Adapter, keys: Keys
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = keys.client(keys.sender).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", tls_port(adapter)), timeout=SILENCE_S) as sock:
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        sock.sendall(outgoing.read())
        session.write(associate_rq())
        damaged = bytearray(outgoing.read())
        damaged[-1] ^= 1
        sock.sendall(damaged)
        begin = time.monotonic()
        while sock.recv(65536):
            pass
        assert time.monotonic() - begin < ARTIM_S + SLACK_S
