"""TLS of the API: versions, renewal while it runs, noise (docs/security.md)."""

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.message import Message
from pathlib import Path

import pytest
from harness import REPOSITORY, Adapter, environment, eventually, run_cli
from health import MakeAdapter, unharmed
from test_web_hostile import GET
from tls_files import HOST, Files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("api-tls") / "files")


def settings(files: Files, name: str = "adapter", **more: str) -> dict[str, object]:
    identity = getattr(files, name)
    tls = {"certificate": str(identity.certificate), "key": str(identity.key), **more}
    return {"api": {"tls": tls}}


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter, files: Files) -> Adapter:
    return make_shared_adapter(settings(files))


@pytest.fixture
def adapter(shared: Adapter) -> Iterator[Adapter]:
    with unharmed(shared):
        yield shared


def get(adapter: Adapter, path: str, context: ssl.SSLContext) -> tuple[int, Message, bytes]:
    connection = http.client.HTTPSConnection(HOST, adapter.api_port, timeout=15, context=context)
    with closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


@contextmanager
def connected(adapter: Adapter, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection((HOST, adapter.api_port), timeout=15)
    with plain, context.wrap_socket(plain, server_hostname=HOST) as sock:
        yield sock


def serial(adapter: Adapter, files: Files) -> str:
    """Return the serial number of the certificate a new connection is shown."""
    with connected(adapter, files.client()) as sock:
        certificate = sock.getpeercert()
        assert certificate
        return str(certificate["serialNumber"])


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_api_is_served_by_tls_only(adapter: Adapter, files: Files, version: str) -> None:
    status, headers, _ = get(adapter, "/health/live", files.client(version=version))
    assert status == 200
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    with socket.create_connection((HOST, adapter.api_port), timeout=15) as plain:
        plain.sendall(GET)
        heard = b""
        try:
            while piece := plain.recv(4096):
                heard += piece
        except ConnectionError:
            pass
    assert b"HTTP" not in heard


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1.1"])
def test_old_versions_are_not_spoken(adapter: Adapter, files: Files, version: str) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(adapter, "/health/live", files.client(version=version))


def test_http2_is_not_negotiated(adapter: Adapter, files: Files) -> None:
    context = files.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with connected(adapter, context) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


def test_noise_instead_of_a_handshake_harms_nobody(adapter: Adapter, files: Files) -> None:
    alert = b"\x15\x03\x03\0\2\2\x28"
    for noise in (b"\x16\x03\x01" + os.urandom(500), os.urandom(500), alert, b""):
        with socket.create_connection((HOST, adapter.api_port), timeout=15) as sock:
            sock.sendall(noise)
    assert get(adapter, "/health/live", files.client())[0] == 200


def test_handshake_that_is_never_finished_is_given_up(adapter: Adapter) -> None:
    with socket.create_connection((HOST, adapter.api_port), timeout=45) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00")
        assert sock.recv(100) == b""


def test_commands_and_watch_speak_it(adapter: Adapter, files: Files) -> None:
    url = f"https://{HOST}:{adapter.api_port}"
    trusting = environment() | {"SSL_CERT_FILE": str(files.ca)}
    jobs = [sys.executable, "-m", "adapter", "jobs", "--json", "--url", url]
    done = subprocess.run(
        jobs, env=trusting, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    untrusting = run_cli("jobs", "--url", url)
    assert untrusting.returncode == 1
    assert "SSL_CERT_FILE" in untrusting.stderr
    watch = [sys.executable, "-m", "adapter", "watch", "--json", "--url", url]
    with subprocess.Popen(
        watch, env=trusting, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "hello"
        process.terminate()


def test_renewed_certificate_is_shown_and_a_broken_one_is_not(
    make_adapter: MakeAdapter, files: Files
) -> None:
    mine = files.issue("mine")
    tls = {"certificate": str(mine.certificate), "key": str(mine.key)}
    adapter = make_adapter({"api": {"tls": tls}})
    with connected(adapter, files.client()) as before:
        first = serial(adapter, files)
        mine.replace(files.issue("mine-renewed"))
        eventually(lambda: serial(adapter, files) != first)
        second = serial(adapter, files)
        before.sendall(GET)
        assert before.recv(12) == b"HTTP/1.1 200", "a connection goes on as it began"
    mine.certificate.write_text("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")

    def complained() -> bool:
        assert serial(adapter, files) == second
        return bool(adapter.events("tls.reload_failed"))

    eventually(complained)
    (complaint,) = adapter.events("tls.reload_failed")
    assert "api.tls.certificate" in complaint["why"]
    mine.replace(files.issue("mine-again"))
    eventually(lambda: serial(adapter, files) != second)


def test_expiry_is_a_metric(adapter: Adapter, files: Files) -> None:
    text = get(adapter, "/metrics", files.client())[2].decode()
    assert 'dicom_adapter_certificate_expiry_seconds{key="api.tls.certificate"}' in text


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"certificate": "/nowhere.pem"}, "api.tls.certificate"),
     ({"key": "/nowhere.key"}, "api.tls.key"), ({"certificate": ""}, "api.tls.certificate")],
)  # fmt: skip
def test_files_that_cannot_be_used_end_the_start(
    files: Files, tmp_path: Path, changes: dict[str, str], key: str
) -> None:
    file = tmp_path / "adapter.json"
    file.write_text(json.dumps(settings(files, **changes)))
    done = run_cli("config", "check", str(file))
    assert done.returncode == 2
    assert key in done.stderr
