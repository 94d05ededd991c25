"""Exports by STOW-RS: to Orthanc's DICOMweb plug-in, and to a service that is away for a while."""

import base64
import http.server
import io
import json
import queue
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from dicom_peers import ORTHANC_DICOMWEB, Orthanc, free_port, orthanc
from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from tls_files import Files
from wire import Wire

COPY = ["/bin/cp", "-r", "input/dcm", "output/"]
NAMES = ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "SC_rgb_rle.dcm")
PASSWORD = "s3cret-of-the-tests"


def exporting(make_adapter: MakeAdapter, **web: Any) -> Adapter:
    """Start an adapter that exports what it receives to a DICOMweb service."""
    return make_adapter({
        "dicom": {"scu": {"export": {"max_retries": 1, "retry_delay_s": 0.2}}},
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1, "grouping": "association",
            "pipelines": {"copy": "copy"}, "destinations": ["web"],
        }],
        "platform": {"engine": "command", "pipelines": [{"id": "copy", "command": COPY}]},
        "destinations": [{"name": "web", "type": "dicomweb", **web}],
    })  # fmt: skip


def ended(adapter: Adapter, state: str = "Completed") -> dict[str, Any]:
    """Wait until the one export is in this state; return it with its outcomes."""
    (row,) = eventually(lambda: adapter.get(f"/api/exports?state={state}"), 20, state)
    found: dict[str, Any] = adapter.get(f"/api/exports/{row['id']}")
    return found


def described(instances: Iterable[Dataset]) -> dict[str, tuple[str, bytes]]:
    """Return transfer syntax and pixels by SOP Instance UID."""
    return {
        one.SOPInstanceUID: (one.file_meta.TransferSyntaxUID, one.PixelData) for one in instances
    }


@contextmanager
def dicomweb_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Run Orthanc with its plug-in and one user."""
    options: dict[str, Any] = {
        "Plugins": [ORTHANC_DICOMWEB], "DicomWeb": {"Enable": True},
        "AuthenticationEnabled": True, "RegisteredUsers": {"adapter": PASSWORD},
    }  # fmt: skip
    with orthanc(folder, **options) as server:
        credentials = base64.b64encode(f"adapter:{PASSWORD}".encode()).decode()
        server.headers = {"Authorization": f"Basic {credentials}"}
        yield server


@contextmanager
def in_front_of(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Take TLS for a server that has none, as a reverse proxy does; yield the port.

    Debian's Orthanc 1.10.1 ends with a segmentation fault at the first handshake of its own.
    """

    async def relay(outside: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", port) as inside:

                async def copy(source: trio.abc.Stream, target: trio.abc.Stream) -> None:
                    async for piece in source:
                        await target.send_all(piece)
                    nursery.cancel_scope.cancel()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(copy, outside, inside)
                    nursery.start_soon(copy, inside, outside)

    async def run() -> None:
        scopes.append(trio.CancelScope())
        with scopes[0]:
            async with trio.open_nursery() as nursery:
                serve = partial(trio.serve_ssl_over_tcp, relay, 0, context, host="127.0.0.1")
                (listener,) = await nursery.start(partial(serve, https_compatible=True))
                tokens.append(trio.lowlevel.current_trio_token())
                bound.put(listener.transport_listener.socket.getsockname()[1])

    scopes: list[trio.CancelScope] = []
    tokens: list[trio.lowlevel.TrioToken] = []
    bound: queue.Queue[int] = queue.Queue()
    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    try:
        yield bound.get(timeout=10)
    finally:
        tokens[0].run_sync_soon(scopes[0].cancel)
        thread.join()


@pytest.mark.peer("orthanc-dicomweb")
@pytest.mark.parametrize("encrypted", [False, True], ids=["http", "https"])
def test_orthanc_has_the_instances_as_they_were_sent(
    make_adapter: MakeAdapter, tmp_path: Path, *, encrypted: bool
) -> None:
    files = [get_testdata_file(name) for name in NAMES]
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    web: dict[str, Any] = {
        "authentication": "basic", "user": "adapter", "batch_size": 3,
        "password_file": str(tmp_path / "password"),
    }  # fmt: skip
    with dicomweb_orthanc(tmp_path / "orthanc") as archive, ExitStack() as fronts:
        web["url"] = f"{archive.url}/dicom-web"
        if encrypted:
            certificates = Files(tmp_path / "tls")
            context = certificates.server(certificates.sender)
            port = fronts.enter_context(in_front_of(archive.http_port, context))
            web |= {
                "url": f"https://127.0.0.1:{port}/dicom-web", "tls": {"ca": str(certificates.ca)},
            }  # fmt: skip
        adapter = exporting(make_adapter, **web)
        echo = run_cli("echo", "web", "-c", str(adapter.file))
        assert run_cli("send", adapter.destination(), *map(str, files)).returncode == 0
        export = ended(adapter)
        found = map(dcmread, map(io.BytesIO, archive.instances()))
    assert echo.returncode == 0, echo.stderr
    assert described(found) == described(dcmread(str(file)) for file in files)
    assert export["sent"] == len(files)
    assert [outcome["status"] for outcome in export["outcomes"]] == [0] * len(files)
    assert not any(PASSWORD in line for line in adapter.log)


@pytest.mark.peer("orthanc-dicomweb")
def test_wrong_password_holds_the_export_and_says_so(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("wrong")
    with dicomweb_orthanc(tmp_path / "orthanc") as archive:
        adapter = exporting(
            make_adapter, url=f"{archive.url}/dicom-web", authentication="basic", user="adapter",
            password_file=str(tmp_path / "password"),
        )  # fmt: skip
        file = str(get_testdata_file("CT_small.dcm"))
        assert run_cli("send", adapter.destination(), file).returncode == 0
        export = ended(adapter, "Failed")
        echo = run_cli("echo", "web", "-c", str(adapter.file))
    words = "the service does not take our credentials (401)"
    assert [outcome["error"] for outcome in export["outcomes"]] == [words]
    assert echo.returncode == 1
    assert f"web: {words}" in echo.stderr


@pytest.mark.peer("orthanc-dicomweb")
def test_what_orthanc_cannot_read_fails_alone(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    with dicomweb_orthanc(tmp_path / "orthanc") as archive:
        adapter = exporting(
            make_adapter, url=f"{archive.url}/dicom-web", authentication="basic", user="adapter",
            password_file=str(tmp_path / "password"),
        )  # fmt: skip
        with Wire(adapter.dicom_port) as wire:
            wire.associate()
            for uid in ("1.2.3.1", "1.2.3.2"):
                assert wire.store(uid) == ("response", 0)
            torn = b"\x08\x00\x16\x00UI\x1a\x00" + b"1.2.840.10008.5.1.4.1.1.2\0"
            torn += b"\x08\x00\x18\x00UI\x08\x00" + b"1.2.3.3\0" + b"\x10\x00\x10\x00PN\xff\x7fX"
            wire.store("1.2.3.3", torn)
            wire.release()
        states = {"Completed", "Failed"}
        (row,) = eventually(
            lambda: [row for row in adapter.get("/api/exports") if row["state"] in states], 20
        )
        export = adapter.get(f"/api/exports/{row['id']}")
        found = {dcmread(io.BytesIO(one)).SOPInstanceUID for one in archive.instances()}
    delivered = {o["sopInstanceUid"] for o in export["outcomes"] if o["delivered"]}
    assert delivered == found
    assert all(o["delivered"] or o["error"] for o in export["outcomes"])


# --- a service that comes and goes


class Handler(http.server.BaseHTTPRequestHandler):
    """Stores nothing, and says that it stored what the test tells it."""

    protocol_version = "HTTP/1.1"
    uids: tuple[str, ...] = ()
    busy = 0

    def do_OPTIONS(self) -> None:
        self._answer(204, b"")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if type(self).busy:
            type(self).busy -= 1
            self._answer(503, b"")
            return
        items = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in self.uids]
        self._answer(200, json.dumps({"00081199": {"vr": "SQ", "Value": items}}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def web_service(port: int, *, uids: tuple[str, ...], busy: int = 0) -> Iterator[type[Handler]]:
    kind = type("Told", (Handler,), {"uids": uids, "busy": busy})
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), kind) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield kind
        finally:
            server.shutdown()
            thread.join()


def test_service_that_is_away_and_then_busy_costs_no_retry(make_adapter: MakeAdapter) -> None:
    port = free_port()
    adapter = exporting(make_adapter, url=f"http://127.0.0.1:{port}/web")
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.3.1") == ("response", 0)
        wire.release()
    eventually(
        lambda: [e for e in adapter.get("/api/exports") if "no connection" in e["error"]], 15
    )
    with web_service(port, uids=("1.2.3.1",), busy=3) as kind:
        export = ended(adapter)
    assert kind.busy == 0
    assert export["tryCount"] == 0
    assert [outcome["attempts"] for outcome in export["outcomes"]] == [1]


def test_secret_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "adapter.json"
    missing = str(tmp_path / "token")
    file.write_text(json.dumps({
        "storage": {"root": str(tmp_path / "root")},
        "destinations": [{
            "name": "web", "type": "dicomweb", "url": "https://web.example.org",
            "authentication": "bearer", "token_file": missing,
        }],
    }))  # fmt: skip
    ended = run_cli("serve", "-c", str(file))
    assert ended.returncode == 2
    assert "destinations.web.token_file: No such file or directory" in ended.stderr
