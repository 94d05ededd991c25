"""`echo`: how long each step took, or what was refused, in words, and what to check."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import ScriptedDestination, free_port
from harness import run_cli
from health import MakeAdapter
from wire import ABORT, AC, CT, EXPLICIT, IMPLICIT, RJ, item
from wire import pdu as make_pdu


@contextmanager
def peer(answer: bytes | Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen, take one A-ASSOCIATE-RQ, answer with these bytes, close; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            sock, _ = server.accept()
            with sock:
                sock.settimeout(10)
                sock.recv(65536)
                if callable(answer):
                    answer(sock)
                    return
                sock.sendall(answer)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)
        assert not thread.is_alive()


def echo(port: int, *more: str) -> tuple[int, dict[str, Any]]:
    done = run_cli("echo", f"PACS@127.0.0.1:{port}", "--json", *more)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_echo_tells_status_and_the_time_of_each_step(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    done = run_cli("echo", adapter.destination())
    assert done.returncode == 0
    assert done.stdout.startswith("MAIN: status 0x0000 success in ")
    assert all(word in done.stdout for word in ("connect", "associate", "echo"))
    document = json.loads(run_cli("echo", adapter.destination(), "--json").stdout)
    assert (document["ok"], document["status"]) == (True, 0)
    assert all(document[key] > 0 for key in ("connectMs", "associateMs", "echoMs"))


def test_echo_of_nobody_says_why_and_what_to_check() -> None:
    port = free_port()
    done = run_cli("echo", f"NOBODY@127.0.0.1:{port}")
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error == "NOBODY: no connection: Connection refused"
    assert f"nothing listens on 127.0.0.1:{port}" in hint


def test_echo_of_an_unknown_name_says_so() -> None:
    done = run_cli("echo", "PACS@no-such-host.invalid:104", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["cause"] == "name-unknown"


def test_unknown_called_title_is_spelled_out(make_adapter: MakeAdapter) -> None:
    done = run_cli("echo", make_adapter().destination("OTHER"))
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert "called AE Title not recognized (permanent, by the service user; 1/1/7)" in error
    assert "'OTHER'" in hint


def test_unknown_calling_title_names_ours(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"dicom": {"scp": {"reject_unknown_sources": True}}})
    done = run_cli("echo", adapter.destination(), "--set", "dicom.scu.ae_title=STATION7")
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert "calling AE Title not recognized" in error
    assert "'STATION7'" in hint


REJECTIONS = {
    (2, 3, 2): ("local limit exceeded (transient", "try again later"),
    (2, 3, 1): ("temporary congestion (transient", "try again later"),
    (2, 1, 1): ("no reason given (transient", "log"),
    (1, 1, 2): ("application context name not supported", "service"),
    (1, 2, 2): ("protocol version not supported", "version"),
    (9, 9, 9): ("a reserved value", "log"),
}


@pytest.mark.parametrize("codes", REJECTIONS)
def test_rejection_is_spelled_out(codes: tuple[int, int, int]) -> None:
    with peer(make_pdu(RJ, bytes((0, *codes)))) as port:
        status, document = echo(port)
    words, hint = REJECTIONS[codes]
    assert (status, document["cause"], document["codes"]) == (1, "rejected", list(codes))
    assert words in document["error"]
    assert hint in document["advice"]


def test_abort_is_spelled_out() -> None:
    with peer(make_pdu(ABORT, bytes((0, 0, 2, 6)))) as port:
        status, document = echo(port)
    assert (status, document["cause"], document["codes"]) == (1, "aborted", [2, 6])
    assert "service provider: invalid PDU parameter value (2/6)" in document["error"]


TLS_ALERT = bytes((0x15, 3, 1, 0, 2, 2, 70))


@pytest.mark.parametrize("answer", [TLS_ALERT, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_port_that_is_not_dicom_is_told_from_a_refusal(answer: bytes) -> None:
    with peer(answer) as port:
        status, document = echo(port)
    assert (status, document["cause"]) == (1, "not-dicom")
    assert "TLS" in document["advice"]


def test_destination_with_tls_on_a_plain_port_says_so(tmp_path: Path) -> None:
    with peer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        file = tmp_path / "my.json"
        there = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port, "tls": {}}
        file.write_text(json.dumps({"destinations": [there]}))
        done = run_cli("echo", "pacs", "-c", str(file), "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["cause"]) == (1, "tls")
    assert "TLS" in document["error"]
    assert "certificate" in document["advice"]


def test_peer_that_closes_is_told_from_a_refusal() -> None:
    with peer(b"") as port:
        status, document = echo(port)
    assert (status, document["cause"]) == (1, "closed")
    assert "TLS" in document["advice"]


def test_peer_that_says_nothing_is_a_timeout() -> None:
    def wait(sock: socket.socket) -> None:
        sock.recv(65536)

    with peer(wait) as port:
        status, document = echo(port, "--set", "dicom.scu.acse_s=0.3")
    assert (status, document["cause"]) == (1, "timeout")


@pytest.mark.parametrize(("result", "words"), [(3, "abstract syntax"), (4, "transfer syntaxes")])
def test_peer_without_verification_is_told_from_an_unknown_one(result: int, words: str) -> None:
    context = item(0x21, bytes((1, 0, result, 0)) + item(0x40, b"1.2.840.10008.1.2"))
    user = item(0x50, item(0x51, bytes(4)) + item(0x52, b"1.2.3"))
    head = bytes((0, 1, 0, 0)) + b"PACS".ljust(16) + b"ADAPTER".ljust(16) + bytes(32)
    answer = make_pdu(AC, head + item(0x10, b"1.2.840.10008.3.1.1.1") + context + user)
    with peer(answer) as port:
        status, document = echo(port)
    assert (status, document["cause"], document["codes"]) == (1, "context-refused", [result])
    assert f"{words} not supported" in document["error"]
    assert "does not offer this service" in document["advice"]


def test_storage_peer_that_verifies_is_fine() -> None:
    with ScriptedDestination({CT: [EXPLICIT, IMPLICIT]}).listening() as destination:
        status, document = echo(destination.port)
    assert (status, document["statusText"]) == (0, "0x0000 success")
